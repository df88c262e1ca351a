"""Other random numbers for all tests, and the count of false alarms."""

import json
import sys
from collections import Counter

import numpy as np

from sklmacro._base.streams import Stage, Streams, stream
from tests import flakes
from tests.reseed import HIGHEST, reseed

SEEDS = [0, 7, 2**40 + 3, 2**128 + 17, [3, 1]]


def drawn(seed):
    """First numbers of the generator of a seed, and of its streams where it is an entropy."""
    found = [np.random.default_rng(seed).random()]
    if isinstance(seed, int):
        streams = Streams(seed, Stage.EVOLVE, [0, 5])
        words = np.random.SeedSequence(seed, spawn_key=(Stage.EVOLVE, 5)).generate_state(
            8, np.uint64
        )
        np.testing.assert_array_equal(np.r_[streams.states[1], streams.keys[1]], words)
        assert streams[1].random() == stream(seed, Stage.EVOLVE, 5).random()
        found += [stream(seed, Stage.EVOLVE, k).random() for k in (0, 5)]
    return found


def test_other_streams_for_every_K_and_the_same_ones_again():
    before, seen = [drawn(seed) for seed in SEEDS], []
    for K in (1, 2, 17, HIGHEST, 1):
        undo = reseed(K)
        try:
            seen.append([drawn(seed) for seed in SEEDS])
            kept = np.random.default_rng(np.random.PCG64(4)).random()
        finally:
            undo()
        assert kept == np.random.default_rng(np.random.PCG64(4)).random()  # no seed, no change
    assert [drawn(seed) for seed in SEEDS] == before
    assert seen.pop() == seen[0]
    numbers = Counter(x for part in (before, *seen) for numbers in part for x in numbers)
    assert set(numbers.values()) == {1}


def test_the_statistical_tests_of_other_seeds_are_counted(tmp_path, monkeypatch, capsys):
    """A test that fails for one K of four, one that never does, and a run that was killed."""
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--reseed', type=int)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = statistical\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n@pytest.mark.statistical\n@pytest.mark.parametrize('bad', [3, 9])\n"
        "def test_draw(request, bad):\n    assert request.config.getoption('reseed') != bad\n\n"
        "def test_other():\n    assert False\n"
    )
    monkeypatch.setattr(flakes, "TESTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules, out = dict(sys.modules), tmp_path / "flakes.jsonl"
    try:
        flakes.main(["--seeds", "2-3", "--out", str(out)])
        lines = out.read_text().splitlines(keepends=True)
        assert len(lines) == 6
        assert json.loads(lines[3])["failed"].startswith("AssertionError: assert 3 != 3")
        out.write_text("".join(lines[:4]) + lines[4][:5])
        capsys.readouterr()
        flakes.main(["--seeds", "1-4", "--out", str(out)])
    finally:
        sys.modules.update(modules)
    assert len(out.read_text().splitlines()) == 12
    failed, every, seeds, _ = capsys.readouterr().out.splitlines()
    assert failed.startswith("   1 / 4 ")
    assert failed.endswith("[3]  more than 0.0001 explains")
    assert every.split(" (")[0] == "   1 / 8     "
    assert seeds.split(" (")[0] == "   1 / 4     "


def test_slow_tests_are_left_out_after_two_runs():
    records = [{"test": name, "cpu": s} for name, s in [("a", 9), ("a", 6), ("b", 9), ("b", 1)]]
    assert flakes.slow(records, 5) == {"a"}
    assert flakes.slow(records[:1], 5) == set()
