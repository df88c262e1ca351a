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

# A module imports from those above it only. A package stands for all of its modules.
ORDER = [
    "_validation",
    "_random",
    "_set_output",
    "_doc_link",
    "_elementary",
    "_discrepancy",
    "_jackknife",
    "_parallel",
    "_callbacks",
    "checkpoint",
    "_rows",
    "mapped",
    "lattice",
    "crystal",
    "patches",
    "pairs",
    "enlarge",
    "simulators",
    "surroundings",
    "symmetry",
    "relaxation",
    "structure",
    "fidelity",
    "joint",
    "plateau",
    "visits",
    "increments",
    "upsampling",
    "evolution",
    "nets",
    "epochs",
    "training",
    "codec",
    "moments",
    "closure",
    "streaming",
    "likelihood",
    "perceptron",
    "fused",
    "equivariant",
    "polynomial",
    "degree",
    "neural",
    "rollout",
    "steps",
    "sde",
    "regressor",
    "onsager",
    "ensemble",
    "persistence",
    "checkpointed",
    "scoring",
    "scaling",
    "stationary",
    "potential",
    "plots",
    "sklmacro",  # the public names
    "experiments",
    "cli",
    "__main__",
]
SIMULATORS = [
    "_windows",
    "_events",
    "_hooks",
    "_trajectories",
    "_base",
    "_kmc",
    "_word_blocks",
    "_instructions",
    "_glauber_cost",
    "_glauber_square",
    "_glauber_patches",
    "_glauber_bits",
    "_glauber_replicas",
    "_replicas",
    "_glauber_tables",
    "_glauber_rings",
    "_glauber_classes",
    "_glauber_rates",
    "_glauber_moments",
    "linear_chain",
    "predator_prey",
    "ising",
    "curie_weiss",
    "_vectors",
    "_site_table",
    "_sites",
    "_vacancies",
    "barriers",
    "_vacancy_events",
    "barrier_network",
    "nbmota",
    "_vacancy_windows",
    "_walk",
    "_vacancy_trajectory",
    "_orders",
    "alloy",
    "_choice",
    "simulators",
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
    """Rank of a module: that of its first part below the package, then within simulators."""
    parts = name.split(".")
    rank = ORDER.index(parts[1] if len(parts) > 1 else "sklmacro")
    if parts[1:2] != ["simulators"]:
        return (rank, 0)
    return (rank, SIMULATORS.index(parts[-1]))


def cycle(graph):
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return error.args[1]
    return None


def within(name, other):
    """Whether both are modules of one package with no order of its own; cycles are found anyway."""
    groups = ("crystal", "persistence", "plots", "experiments")
    return name.split(".")[1] == other.split(".")[1] in groups


def wrong_way(graph):
    return [
        (name, other)
        for name, others in graph.items()
        for other in others
        if place(other) > place(name) or (place(other) == place(name) and not within(name, other))
    ]


def test_every_module_has_its_place():
    missing = {name.split(".")[1] for name in MODULES if "." in name} - set(ORDER)
    assert not missing, f"add {missing} to ORDER where they belong"
    inner = {name.split(".")[-1] for name in MODULES if name.startswith("sklmacro.simulators")}
    assert inner <= set(SIMULATORS)


def test_imports_have_no_cycle():
    assert cycle(GRAPH) is None
    assert sum(map(len, GRAPH.values())) > 40  # the graph is not empty


def test_imports_point_one_way():
    assert not wrong_way(GRAPH)


def test_a_wrong_import_is_found():
    """Negative control."""
    bad = GRAPH | {"sklmacro.lattice": {"sklmacro.closure"}}
    assert cycle(bad)
    assert wrong_way(bad) == [("sklmacro.lattice", "sklmacro.closure")]
    source = "def f():\n    from sklmacro import closure\n    from sklmacro.sde import PatchSDE\n"
    assert set(imports("sklmacro.lattice", source)) == {"sklmacro.closure", "sklmacro.sde"}
    relative = "from . import pairs\nfrom .simulators import Ising\n"
    assert set(imports("sklmacro.lattice", relative)) == {"sklmacro.pairs", "sklmacro.simulators"}


@pytest.mark.parametrize("name", MODULES)
def test_files_are_short(name):
    assert len(MODULES[name].read_text().splitlines()) <= 400


def prints(source):
    """Lines on which a module prints, by the name `print` or by writing to a stream."""
    for node in ast.walk(ast.parse(source)):
        names = isinstance(node, ast.Name) and node.id == "print"
        streams = isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr")
        if names or streams:
            yield node.lineno


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"sklmacro.cli"}))
def test_the_library_logs_and_does_not_print(name):
    assert not list(prints(MODULES[name].read_text()))


def test_what_prints_is_found():
    """Negative control."""
    source = "import sys\nprint(1)\nsink = print\nsys.stderr.write('2')\nlogger.info('3')\n"
    assert sorted(prints(source)) == [2, 3, 4]
    assert list(prints(MODULES["sklmacro.cli"].read_text()))


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
def test_estimators_document_every_parameter(name):
    estimator = getattr(sklmacro, name)
    text = inspect.getdoc(estimator)
    documented = text[text.index("Parameters") : text.index("Attributes")]
    for parameter in inspect.signature(estimator).parameters:
        assert parameter in documented, parameter
    assert "Examples" in text
