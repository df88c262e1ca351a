"""The code and the commands on every page run as they stand, and what pages name is there."""

import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn import config_context

from sklmacro.__main__ import build_parser
from sklmacro.scoring import mean_path_error

ROOT = Path(__file__).resolve().parents[1]
MADE = {"_build", "api", "gallery"}  # by the documentation's own build
PAGES = ["README.md"] + [
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if not MADE & set(path.relative_to(ROOT / "docs").parts)
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = {"ruff", "mypy", "asv", "."}  # commands with nothing of ours in them


def blocks_of(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(page, folder, monkeypatch):
    """Run the Python blocks of a page in order, in one namespace and an empty folder."""
    monkeypatch.chdir(folder)
    names = {}
    with config_context():  # pages may set it
        for block in blocks_of(page, "python"):
            exec(compile(block, page, "exec"), names)
    plt.close("all")
    return names


WITH_CODE = [page for page in PAGES if blocks_of(page, "python")]
WITH_CHECKS_OF_THEIR_OWN = {"README.md", "docs/start.md", "docs/howto/alloys.md"}


def test_pages_are_found():
    assert len(PAGES) > 20
    assert len(WITH_CODE) > 12
    assert set(WITH_CODE) >= WITH_CHECKS_OF_THEIR_OWN


@pytest.mark.parametrize("page", sorted(set(WITH_CODE) - WITH_CHECKS_OF_THEIR_OWN))
def test_code_runs(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch)


@pytest.mark.statistical
def test_readme_predicts_the_large_system(tmp_path, monkeypatch):
    names = run("README.md", tmp_path, monkeypatch)
    times = np.arange(0.0, 101.0, 1.0)
    truth = names["ising"].simulate(names["start"], times, observe=True, random_state=3)
    predicted = names["paths"][:, ::2, :2]
    # eight single paths: two true sets differ by 0.0020, at most by 0.0074 (20 seeds)
    assert mean_path_error(predicted, truth) < 0.01
    assert names["search"].get_params()["estimator"] is names["model"]


@pytest.mark.statistical
def test_first_model_is_as_good_as_its_page_says(tmp_path, monkeypatch):
    names = run("docs/start.md", tmp_path, monkeypatch)
    assert mean_path_error(names["paths"], names["truth"]) < 0.0005
    assert (tmp_path / "first-model.png").stat().st_size > 10_000


@pytest.mark.statistical
def test_alloy_orders(tmp_path, monkeypatch, capsys):
    names = run("docs/howto/alloys.md", tmp_path, monkeypatch)
    assert "Ta-Ta order" in capsys.readouterr().out
    cu_cu, cu_au, au_au = names["ordering"].observe(names["Y"]).mean(axis=0)
    assert cu_au > 0 > max(cu_cu, au_au)  # unlike pairs are favoured


# --- commands ------------------------------------------------------------------------------------


def check_command(command):
    """Raise unless a command names programs, options, extras and files that exist."""
    program, *arguments = shlex.split(command)
    if program == "sklmacro":
        try:
            build_parser().parse_args(arguments)
        except SystemExit as end:
            raise AssertionError(f"{command}: not a command of ours") from end
    elif program in ("python", "python3"):
        if arguments[0] != "-m":
            assert (ROOT / arguments[0]).is_file(), f"{command}: no such file"
        elif arguments[1] == "pip":
            check_installation(command, arguments)
        elif arguments[1] not in required():
            assert find_spec(arguments[1]), f"{command}: no such module"
    else:
        assert program in TOOLS, f"{command}: what is {program}?"


def required():
    """Packages that an extra of ours installs."""
    extras = PROJECT["optional-dependencies"].values()
    return {re.split(r"[>=\[]", line)[0] for lines in extras for line in lines}


def check_installation(command, arguments):
    for extra in re.findall(r"\.\[(.*?)\]", " ".join(arguments)):
        assert extra in PROJECT["optional-dependencies"], f"{command}: no extra {extra}"
    constraints = ROOT / arguments[arguments.index("-c") + 1]
    exact = constraints.read_text().splitlines()
    assert all(a in exact for a in arguments if "==" in a), f"{command}: other versions"


def commands_of(page):
    """Commands of the shell blocks of a page, and those of ours that stand within a line."""
    for block in blocks_of(page, "bash"):
        for line in block.splitlines():
            yield from (part.strip() for part in line.split("&&"))
    for command in re.findall(r"`((?:sklmacro|python[3]?) [^`]+)`", (ROOT / page).read_text()):
        if not re.search(r"\||\[|\bNAME\b", command):  # of these it says what stands for them
            yield " ".join(command.split())


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    for command in commands_of(page):
        check_command(command)


@pytest.mark.parametrize(
    "wrong",
    [
        "sklmacro run no-such-experiment",
        "sklmacro run ising --no-such-option",
        "python docs/no_such_file.py",
        "python3 -m no_such_module",
        "python3 -m pip install -c constraints.txt -e '.[no-such-extra]'",
        "python3 -m pip install torch==0.1 -c constraints.txt",
        "unheard-of",
    ],
)
def test_wrong_commands_are_found(wrong, capsys):
    """Negative control."""
    with pytest.raises(AssertionError):
        check_command(wrong)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    named = re.findall(r"`([\w/-]+\.(?:py|md|txt|json|toml))`", (ROOT / page).read_text())
    written = {"result.json"}  # by `sklmacro run`
    places = (ROOT, ROOT / "sklmacro", ROOT / "docs", (ROOT / page).parent)
    for name in set(named) - written:
        assert any((place / name).is_file() for place in places), name


def test_every_public_estimator_has_a_guide_and_a_reference():
    import sklmacro

    folders = (ROOT / "docs" / "guide", ROOT / "docs" / "howto")
    guide = "".join(path.read_text() for folder in folders for path in folder.glob("*.md"))
    reference = (ROOT / "docs" / "api.md").read_text()
    for name in sklmacro.__all__:
        public = getattr(sklmacro, name)
        if not isinstance(public, type):
            continue
        titles = (f"# {name}", f" and {name}:")
        parts = (f"{name}(", f"`{name}`", f".{name}`")  # of an estimator stand on its page
        assert any(text in guide for text in (titles if hasattr(public, "fit") else parts)), name
        assert f"   {name}\n" in reference, name
