"""Experiments and command line: every smoke preset runs, results are whole or absent."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest

from sklmacro.cli import main
from sklmacro.experiments import EXPERIMENTS, run_experiment

pytestmark = pytest.mark.filterwarnings(
    # models trained for seconds may send single paths astray; the numbers say so
    "ignore::sklmacro.rollout.DivergedPathsWarning"
)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke_preset_leaves_a_whole_result(name, tmp_path, capsys, monkeypatch):
    seeded = np.random.SeedSequence

    def refuse_fresh_entropy(entropy=None, **kwargs):
        assert entropy is not None, "something is random whatever the seed"
        return seeded(entropy, **kwargs)

    monkeypatch.setattr(np.random, "SeedSequence", refuse_fresh_entropy)
    out = tmp_path / "result"
    assert main(["run", name, "--preset", "smoke", "--seed", "3", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["arrays.npz", "figure.png", "result.json"]
    result = json.loads((out / "result.json").read_text())
    assert result["experiment"] == name
    assert result["seed"] == 3
    settings = asdict(EXPERIMENTS[name].presets["smoke"])
    assert result["settings"] == json.loads(json.dumps(settings))
    assert {"numpy", "torch", "numba", "python"} <= set(result["versions"])
    assert result["seconds"]["total"] > 0
    with np.load(out / "arrays.npz") as arrays:
        assert arrays.files
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "result.json" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]


def test_numbers_do_not_depend_on_workers(tmp_path):
    experiment = EXPERIMENTS["linear-chain"]
    results = [
        run_experiment(experiment, n_jobs=n_jobs, out=tmp_path / str(n_jobs)) for n_jobs in (1, 2)
    ]
    assert results[0]["numbers"] == results[1]["numbers"]


def test_list_names_every_experiment(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in EXPERIMENTS)


def test_an_earlier_result_is_replaced(tmp_path):
    out = tmp_path / "result"
    experiment = EXPERIMENTS["linear-chain"]
    run_experiment(experiment, seed=0, out=out)
    run_experiment(experiment, seed=1, out=out)
    assert json.loads((out / "result.json").read_text())["seed"] == 1


def test_a_folder_with_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["run", "linear-chain", "--out", str(tmp_path)]) == 2
    assert "Expected out to be a new folder or an earlier result" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("failing", ["compute", "draw"])
def test_a_failure_leaves_nothing(failing, tmp_path):
    def fail(*args):
        raise KeyboardInterrupt

    experiment = replace(EXPERIMENTS["linear-chain"], **{failing: fail})
    with pytest.raises(KeyboardInterrupt):
        run_experiment(experiment, out=tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_earlier_result(tmp_path):
    def fail(*args):
        raise RuntimeError("no figure")

    experiment, out = EXPERIMENTS["linear-chain"], tmp_path / "result"
    run_experiment(experiment, out=out)
    before = (out / "result.json").read_bytes()
    with pytest.raises(RuntimeError, match="no figure"):
        run_experiment(replace(experiment, draw=fail), out=out)
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


def test_run_all_runs_every_experiment_and_names_those_without_a_result(
    tmp_path, capsys, monkeypatch
):
    def refuse(*args):
        raise ValueError("Expected more.")

    chain = EXPERIMENTS["linear-chain"]
    several = {"chain": chain, "refused": replace(chain, compute=refuse), "again": chain}
    monkeypatch.setattr("sklmacro.cli.EXPERIMENTS", several)
    assert main(["run", "all", "--quiet", "--out", str(tmp_path)]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again-smoke", "chain-smoke"]
    assert "no result of refused" in capsys.readouterr().err
