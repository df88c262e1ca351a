"""Few packages, imports one way, short files and signatures, docstrings for what is public."""

import ast
import importlib
import inspect
import pkgutil
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sklmacro

ROOT = Path(sklmacro.__file__).parent

# A package or module imports from those above it only. Within one package there is no order, but no
# cycle either.
ORDER = [
    "_base",
    "lattice",
    "checkpoint",
    "simulators",
    "training",
    "crystal",
    "sampling",
    "pairs",
    "closure",
    "sde",
    "likelihood",
    "law",
    "persistence",
    "measures",
    "scoring",
    "plots",
    "sklmacro",  # the public names
    "experiments",
    "__main__",
]


def module_name(path):
    parts = ("sklmacro", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(name, source):
    """Modules of the package that a module names, wherever in it the import stands."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level]
            origin = ".".join([*base, node.module or ""][node.level == 0 :]).rstrip(".")
            origin = node.module if node.level == 0 else origin
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                if inner in MODULES or origin in MODULES:
                    yield inner if inner in MODULES else origin


GRAPH = {name: set(imports(name, path.read_text())) - {name} for name, path in MODULES.items()}


def place(name):
    """Rank of a module: that of its first part below the package."""
    parts = name.split(".")
    return ORDER.index(parts[1] if len(parts) > 1 else "sklmacro")


def cycle(graph):
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return error.args[1]
    return None


def wrong_way(graph):
    return [
        (name, other)
        for name, others in graph.items()
        for other in others
        if place(other) > place(name)
    ]


def test_every_module_has_its_place():
    missing = {name.split(".")[1] for name in MODULES if "." in name} - set(ORDER)
    assert not missing, f"add {missing} to ORDER where they belong"
    assert len(ORDER) <= 20


def test_imports_have_no_cycle():
    assert cycle(GRAPH) is None
    assert sum(map(len, GRAPH.values())) > 40  # the graph is not empty


def test_imports_point_one_way():
    assert not wrong_way(GRAPH)


def test_a_wrong_import_is_found():
    """Negative control."""
    bad = GRAPH | {"sklmacro.lattice.lattice": {"sklmacro.closure.autoencoder"}}
    assert cycle(bad)
    assert wrong_way(bad) == [("sklmacro.lattice.lattice", "sklmacro.closure.autoencoder")]
    source = "def f():\n    from sklmacro import closure\n    from sklmacro.sde import PatchSDE\n"
    found = {"sklmacro.closure", "sklmacro.sde"}
    assert set(imports("sklmacro.lattice.lattice", source)) == found
    relative = "from . import pairs\nfrom .simulators import Ising\n"
    found = {"sklmacro.pairs", "sklmacro.simulators"}
    assert set(imports("sklmacro.scoring", relative)) == found


def listing(modules):
    """Packages and single files that a reader sees who lists the library."""
    packages = {
        n for n, path in modules.items() if path.name == "__init__.py" and n.count(".") == 1
    }
    files = {n for n, path in modules.items() if path.parent == ROOT}
    return packages, files


def without_concept(sources):
    """Packages whose `__init__` does not say what enters, what leaves and what lives there."""
    return [name for name, text in sources.items() if not ast.get_docstring(ast.parse(text))]


def test_the_library_is_listed_at_a_glance():
    packages, files = listing(MODULES)
    assert 8 < len(packages) <= 16
    assert 0 < len(files) <= 5


def test_every_package_says_what_lives_there():
    inits = {n: path.read_text() for n, path in MODULES.items() if path.name == "__init__.py"}
    assert len(inits) > 15
    assert not without_concept(inits)


def test_a_crowded_listing_and_a_silent_package_are_found():
    """Negative control."""
    more = {f"sklmacro.p{k}": ROOT / f"p{k}" / "__init__.py" for k in range(16)}
    more |= {f"sklmacro.f{k}": ROOT / f"f{k}.py" for k in range(5)}
    packages, files = listing(MODULES | more | {"sklmacro.p1.q": ROOT / "p1" / "q" / "__init__.py"})
    assert len(packages) == 16 + len(listing(MODULES)[0])
    assert len(files) == 5 + len(listing(MODULES)[1])
    assert without_concept({"told": '"""Lattices."""', "silent": "x = 1\n"}) == ["silent"]


LONG, LONGEST, LONGEST_KERNEL = 8, 12, 16  # arguments


def signatures(source):
    """(name, number of arguments but self or cls, whether compiled) of every function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [
                a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            ]
            compiled = any("njit" in ast.unparse(d) for d in node.decorator_list)
            yield node.name, len(names) - (names[:1] in (["self"], ["cls"])), compiled


def too_long(found):
    """Functions with more arguments than may be."""
    limit = {False: LONGEST, True: LONGEST_KERNEL}
    return [(name, n) for name, n, compiled in found if n > limit[compiled]]


def share_of_long(found):
    return sum(n >= LONG for _, n, _ in found) / len(found)


SIGNATURES = [
    (f"{name}.{function}", n, compiled)
    for name, path in MODULES.items()
    for function, n, compiled in signatures(path.read_text())
]


def test_no_signature_is_too_long():
    """Constructors included: what has more parameters is composed of parts."""
    assert len(SIGNATURES) > 1000
    assert any(compiled for _, _, compiled in SIGNATURES)
    assert not too_long(SIGNATURES)


def test_few_signatures_are_long():
    assert share_of_long(SIGNATURES) <= 0.02


def test_long_signatures_are_found():
    """Negative control."""
    names = ", ".join(f"a{k}" for k in range(13))
    source = f"""class A:
    def __init__(self, {names}): pass
    def f(self, *args, **kwargs): pass
@njit(nogil=True)
def kernel({names}):
    def inner({names.replace(", ", ", *, ", 1)}): pass
def short(a, /, b, *, c): pass
"""
    found = sorted(signatures(source))
    counts = {name: n for name, n, _ in found}
    assert counts == {"__init__": 13, "f": 0, "inner": 13, "kernel": 13, "short": 3}
    assert too_long(found) == [("__init__", 13), ("inner", 13)]
    assert share_of_long(found) == 0.6


def test_files_are_short():
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert not {name: n for name, n in lines.items() if n > 450}


def prints(source):
    """Lines on which a module prints, by the name `print` or by writing to a stream."""
    for node in ast.walk(ast.parse(source)):
        names = isinstance(node, ast.Name) and node.id == "print"
        streams = isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr")
        if names or streams:
            yield node.lineno


def test_the_library_logs_and_does_not_print():
    lines = {name: list(prints(path.read_text())) for name, path in MODULES.items()}
    assert [name for name in lines if lines[name]] == ["sklmacro.__main__"]


def test_what_prints_is_found():
    """Negative control."""
    source = "import sys\nprint(1)\nsink = print\nsys.stderr.write('2')\nlogger.info('3')\n"
    assert sorted(prints(source)) == [2, 3, 4]


def test_nothing_is_a_drawer():
    assert not {"utils", "core", "helpers", "misc", "common"} & {p.stem for p in MODULES.values()}


def public_objects():
    """Public modules, and the functions, classes, methods and properties defined in them."""
    names = [info.name for info in pkgutil.walk_packages([str(ROOT)], "sklmacro.")]
    for name in ["sklmacro", *(n for n in names if not n.endswith("__main__"))]:
        module = importlib.import_module(name)
        yield name, module
        for key, value in vars(module).items():
            if key.startswith("_") or getattr(value, "__module__", None) != name:
                continue
            if inspect.isclass(value) or callable(value):
                yield f"{name}.{key}", value
            if inspect.isclass(value):
                for inner, member in vars(value).items():
                    documented = inspect.isfunction(member) or isinstance(
                        member, (property, cached_property, classmethod, staticmethod)
                    )
                    if documented and not inner.startswith("_"):
                        yield f"{name}.{key}.{inner}", getattr(value, inner)


def test_everything_public_has_a_docstring():
    objects = dict(public_objects())
    assert len(objects) > 120
    missing = [name for name, value in objects.items() if not inspect.getdoc(value)]
    assert not missing


@pytest.mark.parametrize(
    "name", [name for name in sklmacro.__all__ if hasattr(getattr(sklmacro, name), "get_params")]
)
def test_estimators_and_their_parts_document_every_parameter(name):
    cls = getattr(sklmacro, name)
    text, parameters = inspect.getdoc(cls), inspect.signature(cls).parameters
    documented = text[: text.index("Attributes" if hasattr(cls, "fit") else "Examples")]
    documented = documented[documented.index("Parameters") if parameters else 0 :]
    for parameter in parameters:
        assert parameter in documented, parameter
    assert "Examples" in text
