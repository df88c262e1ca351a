"""Every equation of the paper that the library names is named by a test of it."""

import ast
import re
from pathlib import Path

import pytest

import sklmacro

LIBRARY, TESTS = Path(sklmacro.__file__).parent, Path(__file__).parent
NUMBERS = r"\d+(?:\s*(?:-|,|and|or|to)\s*\d+)*"
OTHER_PAPERS = re.compile(
    rf"(?:\(\d{{4}}\)|et al\.),\s+Eqs?\.\s+{NUMBERS}"
)  # Gretton et al., Eq. 5


def equations(text):
    """Numbers that a text names: "Eq. 7", "Eqs. 14-15", "Eqs. 1-3, 9-10", "Eqs. 26 and 28"."""
    named = set()
    for match in re.finditer(rf"\bEqs?\.\s+({NUMBERS})", OTHER_PAPERS.sub("", text)):
        for first, last in re.findall(r"(\d+)(?:\s*(?:-|to)\s*(\d+))?", match[1]):
            named.update(range(int(first), int(last or first) + 1))
    return named


def descriptions(source):
    """Docstrings of a module of tests and of the tests in it."""
    tree = ast.parse(source)
    for node in (tree, *ast.walk(tree)):
        if isinstance(node, ast.Module) or getattr(node, "name", "").startswith("test_"):
            yield ast.get_docstring(node) or ""


NAMED = {path: equations(path.read_text()) for path in sorted(LIBRARY.rglob("*.py"))}
TESTED = set().union(
    *(
        equations(text)
        for path in TESTS.rglob("test_*.py")
        for text in descriptions(path.read_text())
        if path != Path(__file__)
    )
)


def untested(named, tested):
    """Equations without a test, with the files that name them."""
    return {
        number: [str(path) for path, numbers in named.items() if number in numbers]
        for number in sorted(set().union(*named.values()) - tested)
    }


def test_every_equation_of_the_library_is_named_by_a_test():
    assert not untested(NAMED, TESTED)
    assert set().union(*NAMED.values()) >= {1, 2, 4, 5, 7, 10, 16, 20, 24, 30}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Eq. 2.", {2}),
        ("(Eqs. 4-7, 31)", {4, 5, 6, 7, 31}),
        ("Eqs. 1-3,\n    9-10).", {1, 2, 3, 9, 10}),
        ("Eqs. 26 and 28; Eq. 9, p = 1", {26, 28, 9}),
        ("Eqs. 20 to 22", {20, 21, 22}),
        ("Gretton et al. (2012), Eq. 3, or 5", set()),
        ("Fig. 2, Sec. 3, Eq. A1, equation of state 5", set()),
    ],
)
def test_equations_are_read(text, numbers):
    assert equations(text) == numbers


def test_an_equation_without_a_test_is_found():
    """Negative control."""
    assert untested({"nets.py": {5, 99}}, TESTED) == {99: ["nets.py"]}
    assert list(untested(NAMED, TESTED - {24})) == [24]
    source = 'def helper():\n    "Eq. 98."\n\ndef test_it():\n    "Eq. 7."\n    # Eq. 97\n'
    assert set().union(*map(equations, descriptions(source))) == {7}
