"""Imports point one way, files stay short, and everything public has a docstring."""

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


@pytest.mark.parametrize("name", MODULES)
def test_files_are_short(name):
    assert len(MODULES[name].read_text().splitlines()) <= 450


def prints(source):
    """Lines on which a module prints, by the name `print` or by writing to a stream."""
    for node in ast.walk(ast.parse(source)):
        names = isinstance(node, ast.Name) and node.id == "print"
        streams = isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr")
        if names or streams:
            yield node.lineno


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"sklmacro.__main__"}))
def test_the_library_logs_and_does_not_print(name):
    assert not list(prints(MODULES[name].read_text()))


def test_what_prints_is_found():
    """Negative control."""
    source = "import sys\nprint(1)\nsink = print\nsys.stderr.write('2')\nlogger.info('3')\n"
    assert sorted(prints(source)) == [2, 3, 4]
    assert list(prints(MODULES["sklmacro.__main__"].read_text()))


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


@pytest.mark.parametrize("name", [name for name in sklmacro.__all__ if name[0].isupper()])
def test_estimators_and_their_parts_document_every_parameter(name):
    cls = getattr(sklmacro, name)
    text, parameters = inspect.getdoc(cls), inspect.signature(cls).parameters
    documented = text[: text.index("Attributes" if hasattr(cls, "fit") else "Examples")]
    documented = documented[documented.index("Parameters") if parameters else 0 :]
    for parameter in parameters:
        assert parameter in documented, parameter
    assert "Examples" in text
