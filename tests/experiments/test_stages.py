"""Stages and pieces of experiments: computed once, with the time that they took."""

import logging
from collections import namedtuple

import numpy as np
import pytest

from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.checkpoint.reading import decode
from sklmacro.checkpoint.writing import encode
from sklmacro.experiments._engine import stages as _stages
from sklmacro.experiments._engine.stages import Run
from sklmacro.pairs import latent_pairs


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(_stages.time, "perf_counter", lambda: self.now)

    def work(self, seconds):
        self.now += seconds
        return {"seconds": seconds, "x": np.arange(3)}


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def run(folder=None, n_jobs=1):
    return Run(0, n_jobs, False, None if folder is None else Checkpoint(folder, "test", {}))


# What a piece may return --------------------------------------------------------------------------


def test_values_come_back():
    pairs = latent_pairs(np.ones((3, 2)), np.ones((3, 2)), 0.1, cov=np.ones((3, 2, 2)))
    value = {
        "pairs": pairs, "nothing": pairs[:0], "spins": np.ones((2, 2), np.int8),
        "numbers": (1, 2.5, np.float64(0.1), np.nan, True, None, np.bool_(False), 2**70),
        "inner": [{"x": np.array(2.0)}, "text"], "named": namedtuple("Named", "x")(1),
    }  # fmt: skip
    found = decode(*encode(value))
    for key in ("pairs", "nothing", "spins"):
        np.testing.assert_array_equal(found[key], value[key])
        assert found[key].dtype == value[key].dtype
    assert repr(found["numbers"]) == repr(value["numbers"])
    assert found["inner"] == [{"x": np.array(2.0)}, "text"]
    assert found["named"] == (1,)


def test_arrays_have_one_order_in_memory_saved_or_not(tmp_path):
    """A sum depends on it in the last bits."""
    X = np.asfortranarray(np.random.default_rng(0).normal(size=(500, 300)))
    assert X.mean() != np.ascontiguousarray(X).mean()
    for A in (X, X.T[::2, ::3]):
        once, again = (run(tmp_path).once("piece", lambda A=A: A) for _ in range(2))
        assert once.mean() == again.mean()
        (tmp_path / "piece.safetensors").unlink()


@pytest.mark.parametrize("value", [{"f": len}, [object()], np.random.default_rng(0)])
def test_what_is_not_simple_is_refused(value):
    with pytest.raises(ValueError, match=r"Expected numbers, texts, arrays.* for value"):
        encode(value)


# Pieces -------------------------------------------------------------------------------------------


def test_a_piece_is_computed_once(tmp_path, clock):
    first, second = run(tmp_path), run(tmp_path)
    found = first.once("piece", clock.work, 2.0)
    clock.work = None
    again = second.once("piece", clock.work, 2.0)
    np.testing.assert_array_equal(found["x"], again["x"])
    assert found["seconds"] == again["seconds"] == 2.0


def test_two_pieces_of_one_name_are_refused(clock):
    one = run()
    one.once("piece", clock.work, 1.0)
    with pytest.raises(ValueError, match="two of 'piece'; rename one"):
        one.each(clock.work, {"piece": (1.0,)})


def staged(run, clock):
    """An experiment: a piece within a stage, stages within a piece, and what is no piece."""

    def of_seed():
        for _ in range(2):
            with run.stage("learn"):
                clock.work(3.0)
        with run.stage("compare"):
            clock.work(0.5)
        return 1

    start = run.clock()
    with run.stage("truth"):
        run.once("truth", clock.work, 10.0)
        clock.work(1.0)
    with run.stage("learn"):
        clock.work(1.0)
    run.once("seed", of_seed)
    return {**run.seconds, "total": run.clock() - start}


def test_the_time_of_a_piece_is_that_it_took_when_it_was_computed(tmp_path, clock):
    expected = {"truth": 11.0, "learn": 7.0, "compare": 0.5, "total": 18.5}
    assert staged(run(), clock) == expected
    assert staged(run(tmp_path), clock) == expected
    before = clock.now
    assert staged(run(tmp_path), clock) == expected
    assert clock.now - before == 2.0  # what is no piece


def test_pieces_side_by_side_count_their_share(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(_stages, "effective_n_jobs", lambda n_jobs: 2)
    pieces = {"one": (2.0,), "two": (3.0,)}
    assert [f["seconds"] for f in run(tmp_path).each(clock.work, pieces)] == [2.0, 3.0]
    later = run(tmp_path)
    with later.stage("both"):
        later.each(clock.work, pieces)
    assert later.seconds["both"] == 2.5


def square(x):
    return {"square": x**2, "x": np.full(2, x)}


def test_pieces_do_not_depend_on_processes(tmp_path):
    pieces = {f"x = {x}": (x,) for x in range(4)}
    alone = run().each(square, pieces)
    run(tmp_path).once("x = 2", square, 2)
    for folder in (tmp_path, tmp_path):  # some are there, then all
        together = run(folder, n_jobs=2).each(square, pieces)
        assert [f["square"] for f in together] == [f["square"] for f in alone] == [0, 1, 4, 9]
    assert len(list(tmp_path.iterdir())) == 1 + 4


def test_stages_and_pieces_are_logged(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO, "sklmacro.experiments")
    for _ in range(2):
        one = run(tmp_path)
        with one.stage("work"):
            one.once("piece", clock.work, 1.0)
    assert caplog.messages == ["  work ...", "  work ...", "    piece: from the checkpoint"]
