"""Experiments and command line: every smoke preset runs, results are whole or absent."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
from matplotlib.figure import Figure

from sklmacro.__main__ import main
from sklmacro.experiments import EXPERIMENTS, run_experiment

# models trained for seconds may send single paths astray; the numbers say so
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklmacro.DivergedPathsWarning"),
    pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning"),
    pytest.mark.filterwarnings("ignore:Expected pairs of at least .* different states"),
]


def blank(*args):
    """Draw nothing, where a test does not look at the figure."""
    return Figure()


CHAIN = replace(EXPERIMENTS["linear-chain"], draw=blank)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke_preset_leaves_a_whole_result(name, tmp_path, capsys, monkeypatch):
    seeded = np.random.SeedSequence

    def refuse_fresh_entropy(entropy=None, **kwargs):
        assert entropy is not None, "something is random whatever the seed"
        return seeded(entropy, **kwargs)

    monkeypatch.setattr(np.random, "SeedSequence", refuse_fresh_entropy)
    out, pieces = tmp_path / "result", tmp_path / "pieces"
    command = ["run", name, "--preset", "smoke", "--seed", "3", "--out", str(out)]
    command += ["--checkpoint-dir", str(pieces)]
    assert main([*command, "--n-jobs", "1"]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["arrays.npz", "figure.png", "result.json"]
    result = json.loads((out / "result.json").read_text())
    assert result["experiment"] == name
    assert result["seed"] == 3
    settings = asdict(EXPERIMENTS[name].presets["smoke"])
    assert result["settings"] == json.loads(json.dumps(settings))
    assert {"numpy", "torch", "numba", "python"} <= set(result["versions"])
    assert result["seconds"]["total"] > 0
    with np.load(out / "arrays.npz") as arrays:
        first = dict(arrays)
    assert first
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "result.json" in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == [pieces, out]

    kept = {path.name: path.stat().st_mtime_ns for path in pieces.iterdir()}
    assert len(kept) > 2
    drawn_once = {name: replace(EXPERIMENTS[name], draw=blank)}
    monkeypatch.setattr("sklmacro.__main__.EXPERIMENTS", drawn_once)
    assert main(command) == 0  # from its pieces
    again = json.loads((out / "result.json").read_text())
    assert json.dumps(again["numbers"]) == json.dumps(result["numbers"])  # NaN is NaN
    assert again["seconds"].keys() == result["seconds"].keys()
    with np.load(out / "arrays.npz") as arrays:
        assert arrays.files == list(first)
        for key, array in first.items():
            assert arrays[key].dtype == array.dtype
            np.testing.assert_array_equal(arrays[key], array)
    assert kept == {path.name: path.stat().st_mtime_ns for path in pieces.iterdir()}


def test_numbers_do_not_depend_on_workers(tmp_path):
    results = [
        run_experiment(CHAIN, n_jobs=n_jobs, out=tmp_path / str(n_jobs)) for n_jobs in (1, 2)
    ]
    assert results[0]["numbers"] == results[1]["numbers"]


def test_list_names_every_experiment(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in EXPERIMENTS)


def test_an_earlier_result_is_replaced(tmp_path):
    out = tmp_path / "result"
    run_experiment(CHAIN, seed=0, out=out)
    run_experiment(CHAIN, seed=1, out=out)
    assert json.loads((out / "result.json").read_text())["seed"] == 1


def test_other_files_beside_a_result_stay(tmp_path):
    quick = replace(CHAIN, compute=lambda settings, run: ({}, {}), draw=lambda *args: Figure())
    run_experiment(quick, out=tmp_path / "result")
    mine = {name: tmp_path / "result" / name for name in ("thesis.tex", ".hidden", "other.npz")}
    for name, path in mine.items():
        path.write_text(name)
    mine["folder"] = tmp_path / "result" / "folder" / "file"
    mine["folder"].parent.mkdir()
    mine["folder"].write_text("folder")
    run_experiment(quick, seed=1, out=tmp_path / "result")
    assert json.loads((tmp_path / "result" / "result.json").read_text())["seed"] == 1
    assert {name: path.read_text() for name, path in mine.items()} == {n: n for n in mine}
    assert len([*(tmp_path / "result").iterdir()]) == 3 + len(mine)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills processes")
@pytest.mark.parametrize("n_moves", range(3))
def test_a_kill_between_two_files_leaves_no_result_that_looks_whole(tmp_path, n_moves):
    """Nor one that the same command refuses to replace; what lies beside it stays."""
    quick = replace(CHAIN, compute=lambda settings, run: ({}, {}), draw=lambda *args: Figure())
    out = tmp_path / "result"
    run_experiment(quick, out=out)
    (out / "thesis.tex").write_text("years of work")
    child = os.fork()
    if child == 0:
        moves, move = [], os.replace

        def replaced(*args):
            if len(moves) == n_moves:
                os._exit(0)
            moves.append(move(*args))

        os.replace = replaced
        run_experiment(quick, seed=1, out=out)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert not (out / "result.json").exists()
    run_experiment(quick, seed=2, out=out)
    names = {"result.json", "arrays.npz", "figure.png", "thesis.tex"}
    assert {path.name for path in out.iterdir()} == names
    assert json.loads((out / "result.json").read_text())["seed"] == 2


@pytest.mark.parametrize("text", ['{"mine": 1}', "[]", "years of work", "[" * 10**5])
def test_a_result_of_something_else_is_not_replaced(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match="Expected out to be a new folder or an earlier result"):
        run_experiment(CHAIN, out=tmp_path)
    assert (tmp_path / "result.json").read_text() == text


def test_a_folder_with_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["run", "linear-chain", "--out", str(tmp_path)]) == 2
    assert "Expected out to be a new folder or an earlier result" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("failing", ["compute", "draw"])
def test_a_failure_leaves_nothing(failing, tmp_path):
    def fail(*args):
        raise KeyboardInterrupt

    experiment = replace(CHAIN, **{failing: fail})
    with pytest.raises(KeyboardInterrupt):
        run_experiment(experiment, out=tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_earlier_result(tmp_path):
    def fail(*args):
        raise RuntimeError("no figure")

    out = tmp_path / "result"
    run_experiment(CHAIN, out=out)
    before = (out / "result.json").read_bytes()
    with pytest.raises(RuntimeError, match="no figure"):
        run_experiment(replace(CHAIN, draw=fail), out=out)
    assert (out / "result.json").read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_says_so_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "sklmacro", "run", "ising", "--preset", "paper"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "result")],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell may ignore it
    )
    assert process.stderr is not None
    while "simulate" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; nothing was written" in err
    assert list(tmp_path.iterdir()) == []


def interrupted(*args):
    raise KeyboardInterrupt


def test_ctrl_c_names_the_command_that_resumes(tmp_path, capsys, monkeypatch):
    broken = {"linear-chain": replace(CHAIN, compute=interrupted)}
    monkeypatch.setattr("sklmacro.__main__.EXPERIMENTS", broken)
    out, pieces = str(tmp_path / "result"), str(tmp_path / "my pieces")
    command = ["run", "linear-chain", "--out", out, "--checkpoint-dir", pieces]
    assert main(command) == 130
    again = f"sklmacro run linear-chain --out {out} --checkpoint-dir '{pieces}'"
    assert f"interrupted; resume with: {again}" in capsys.readouterr().err
    monkeypatch.setattr("sklmacro.__main__.EXPERIMENTS", {"linear-chain": CHAIN})
    assert main(command) == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": 1}, "seed=0, not 1"),
        ({"preset": "paper"}, "preset='smoke', not 'paper'"),
        ({"changes": {"n_seeds": 3}}, "n_seeds=2, not 3"),
    ],
)
def test_pieces_of_other_settings_are_refused_and_named(options, named, tmp_path):
    pieces = tmp_path / "pieces"
    run_experiment(CHAIN, out=tmp_path / "result", checkpoint_dir=pieces)
    before = (tmp_path / "result" / "result.json").read_bytes()
    with pytest.raises(ValueError, match="Expected a checkpoint of the same work") as error:
        run_experiment(CHAIN, out=tmp_path / "result", checkpoint_dir=pieces, **options)
    assert named in str(error.value)
    assert (tmp_path / "result" / "result.json").read_bytes() == before


def unreached(settings, run):
    raise AssertionError("computed before settings were checked")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"n_seed": 3}, "Expected settings of ising-critical, but got n_seed; choose from temp"),
        ({"learning": {"n": 3}}, "Expected settings of ising-critical: learning, but got n; choo"),
        ({"learning": 3}, "Expected learning of ising-critical to be a mapping of settings, or L"),
        ({"sides": {16, 32}}, "numbers, texts and sequences of them, but set does not belong in"),
        ({"sides": unreached}, "sequences of them, but function does not belong in a result; ch"),
    ],
)
def test_settings_are_checked_before_anything_is_computed(changes, wanted, tmp_path):
    experiment = replace(EXPERIMENTS["ising-critical"], compute=unreached)
    with pytest.raises(ValueError, match=re.escape(wanted)):
        run_experiment(experiment, changes=changes, out=tmp_path / "new" / "result")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("as_mapping", [True, False])
def test_settings_within_settings_can_be_changed(as_mapping, tmp_path):
    found = {}

    def compute(settings, run):
        found["settings"] = settings
        return {}, {"x": np.ones(1)}

    experiment = EXPERIMENTS["ising-critical"]
    learning = experiment.presets["smoke"].learning
    changed = {"degree": 5} if as_mapping else replace(learning, degree=5)
    experiment = replace(experiment, compute=compute, draw=blank)
    result = run_experiment(experiment, changes={"learning": changed}, out=tmp_path / "result")
    assert found["settings"].learning == replace(learning, degree=5)
    assert result["changed settings"]["learning"]["degree"] == 5
    assert (
        json.loads((tmp_path / "result" / "result.json").read_text())["settings"]
        == (result["settings"])
    )


def test_run_all_runs_every_experiment_and_names_those_without_a_result(
    tmp_path, capsys, monkeypatch
):
    def refuse(*args):
        raise ValueError("Expected more.")

    several = {"chain": CHAIN, "refused": replace(CHAIN, compute=refuse), "again": CHAIN}
    monkeypatch.setattr("sklmacro.__main__.EXPERIMENTS", several)
    assert main(["run", "all", "--quiet", "--out", str(tmp_path)]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again-smoke", "chain-smoke"]
    assert "no result of refused" in capsys.readouterr().err
