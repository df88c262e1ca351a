"""Rows filled batch by batch: every row once, whatever the batches, and few files."""

import time

import cloudpickle
import numpy as np
import pytest
from joblib import parallel_config

from sklmacro import (
    HierarchicalUpsampler,
    PartialEvolutionSampler,
    PatchAutoencoder,
    Patches,
    StreamedPairs,
)
from sklmacro._base import workers as _parallel
from sklmacro._base.workers import LARGEST_BATCH, fill_rows, map_batches
from sklmacro.checkpoint import rows as _rows
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.checkpoint.rows import Saver
from sklmacro.scoring import dt_plateau, mmd2_paths
from sklmacro.simulators import LinearChain


@pytest.fixture
def always(monkeypatch):
    """Write whenever something is ready."""
    monkeypatch.setattr(_rows, "INTERVAL", 0.0)
    monkeypatch.setattr(_rows, "SHARE", np.inf)


def checkpoint(folder):
    return Checkpoint(folder, "test", {}, 0)


def numbers(start, stop):
    return start, stop


class Work:
    """Squares of row numbers, and which rows were made; fails at a row."""

    def __init__(self, fails_at=None, error=RuntimeError):
        self.fails_at, self.error, self.made = fails_at, error, []

    def __call__(self, start, stop):
        if self.fails_at is not None and start <= self.fails_at < stop:
            raise self.error
        self.made += range(start, stop)
        k = np.arange(start, stop)
        return {"square": k**2, "pair": np.stack([k, -k], axis=1).astype(float)}


def check(arrays, n):
    k = np.arange(n)
    np.testing.assert_array_equal(arrays["square"], k**2)
    np.testing.assert_array_equal(arrays["pair"], np.stack([k, -k], axis=1))


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(("n", "together"), [(1, 1), (7, 3), (400, 1), (400, 64), (3000, 1)])
def test_all_rows_are_filled(n, together, n_jobs):
    work = Work()
    check(fill_rows(work, numbers, n, together=together, n_jobs=n_jobs), n)
    assert sorted(work.made) == list(range(n))


def test_given_arrays_are_filled_in_place():
    table = np.zeros(50, [("square", int), ("other", int), ("pair", float, (2,))])
    out = {name: table[name] for name in ("square", "pair")}
    fill_rows(Work(), numbers, 50, out=out)
    check(table, 50)
    assert not table["other"].any()


def test_a_single_row_is_not_copied():
    row = np.zeros((1, 5))
    assert fill_rows(lambda start, stop: {"x": row}, numbers, 1)["x"] is row


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("together", [1, 4])
def test_what_is_finished_before_an_error_is_saved(tmp_path, error, together):
    broken = Work(fails_at=30, error=error)
    with pytest.raises(error):
        fill_rows(broken, numbers, 50, checkpoint(tmp_path), together=together)
    assert 24 <= len(broken.made) <= 30
    work = Work()
    check(fill_rows(work, numbers, 50, checkpoint(tmp_path), together=together), 50)
    assert work.made == list(range(len(broken.made), 50))
    nothing = Work()
    check(fill_rows(nothing, numbers, 50, checkpoint(tmp_path), together=together, n_jobs=2), 50)
    assert not nothing.made


@pytest.mark.usefixtures("always")
def test_rows_under_way_are_deleted_when_they_are_saved(tmp_path):
    saved = checkpoint(tmp_path)
    for k in (0, 3, 70):
        saved.save(f"row-{k}", {"x": np.zeros(1)})
    with pytest.raises(RuntimeError):
        fill_rows(Work(fails_at=60), numbers, 80, saved)
    assert [saved.load(f"row-{k}") is None for k in (0, 3, 70)] == [True, True, False]


def test_thousands_of_rows_are_few_files(tmp_path):
    check(fill_rows(Work(), numbers, 5000, checkpoint(tmp_path)), 5000)
    assert len(list(tmp_path.iterdir())) == 2  # the head, and all rows together


@pytest.mark.parametrize("n", [0, 6])
def test_a_part_without_rows_or_with_too_many_is_refused(tmp_path, n):
    saved = checkpoint(tmp_path)
    saved.save("rows-0", {"square": np.zeros(n)})
    with pytest.raises(ValueError, match=f"rows-0.safetensors.*Expected 1 to 5 rows .* got {n}"):
        fill_rows(Work(), numbers, 5, saved)


def test_writing_takes_a_small_part_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    class Slow(Checkpoint):
        def save(self, *part):
            now[0] += 6.0

    saver = Saver(Slow(tmp_path, "test", {}, 0))
    assert not saver.is_due()
    now[0] = _rows.INTERVAL
    assert saver.is_due()
    saver.save("part", {})
    now[0] += 119.0
    assert not saver.is_due()  # 6 seconds are 5 % of 120
    now[0] += 1.0
    assert saver.is_due()


# --- batches -------------------------------------------------------------------------------------


def sizes(n, seconds=0.0, **options):
    def work(start, stop):
        time.sleep(seconds * (stop - start))
        return stop - start

    found = list(map_batches(work, numbers, n, **options))
    rows = [k for some, _ in found for k in range(some.start, some.stop)]
    assert rows == list(range(options.get("first", 0), n))
    return [size for _, size in found]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_batches(n_jobs):
    assert max(sizes(5000, n_jobs=n_jobs)) == LARGEST_BATCH
    assert max(sizes(5000, n_jobs=n_jobs, largest=10)) == 10
    assert max(sizes(5000, n_jobs=n_jobs, first=4900)) <= 13
    assert not sizes(5000, n_jobs=n_jobs, first=5000)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_batches_do_not_take_long(n_jobs):
    assert max(sizes(200, seconds=1e-3, n_jobs=n_jobs, longest=3e-3)) <= 4  # the probe has 4
    assert max(sizes(20, seconds=1e-3, n_jobs=n_jobs, longest=3e-3)) == 1
    assert max(sizes(200, seconds=1e-3, n_jobs=n_jobs)) > 4


# --- what travels --------------------------------------------------------------------------------

CHAIN = LinearChain()
SNAPSHOTS = np.random.default_rng(0).normal(size=(400, 200))
PATHS = np.random.default_rng(1).normal(size=(2, 100, 200, 2))


@pytest.fixture
def travelled(monkeypatch):
    """Bytes of each batch that would go to another process, as a list that grows."""
    sizes = []

    def run(tasks):
        for function, args, kwargs in tasks:
            sizes.append(len(cloudpickle.dumps((function, args, kwargs))))
            yield function(*args, **kwargs)

    monkeypatch.setattr(_parallel, "Parallel", lambda **options: run)
    with parallel_config("loky", n_jobs=2):
        yield sizes


def sampler(n_joint=0):
    return PartialEvolutionSampler(CHAIN, patch=Patches(5, n_joint=n_joint), random_state=0)


def streamed(X):
    upsampler = HierarchicalUpsampler(CHAIN, relaxation=None, random_state=0)
    steps = upsampler, sampler(), PatchAutoencoder(CHAIN, n_closure=0)
    return StreamedPairs(*steps, batch_size=50).fit(X[:2]).transform(X)


WORKS = {
    "advance": lambda X: CHAIN.advance(X, duration=0.1),
    "simulate": lambda X: CHAIN.simulate(X, [0.1], observe=True),
    "moments": CHAIN.moments,
    "plateau": lambda X: dt_plateau(CHAIN, X, [0.1, 0.2], patch=5, n_replicas=2),
    "upsample": lambda X: HierarchicalUpsampler(CHAIN, relaxation=None).fit_transform(X),
    "evolve": lambda X: sampler().fit_transform(X),
    "evolve jointly": lambda X: sampler(n_joint=len(X)).fit(X),
    "stream": streamed,
}


@pytest.mark.parametrize("name", WORKS)
def test_batches_carry_their_own_rows(travelled, name):
    WORKS[name](SNAPSHOTS)
    assert len(travelled) >= 8
    assert max(travelled) < SNAPSHOTS.nbytes / 5


def test_batches_carry_their_own_times(travelled):
    mmd2_paths(*PATHS)
    assert len(travelled) == 16
    assert max(travelled) < PATHS.nbytes / 10


def test_rows_that_every_batch_holds_are_found(travelled):
    """Negative control."""
    list(map_batches(lambda start, stop: SNAPSHOTS[start:stop], numbers, len(SNAPSHOTS)))
    assert min(travelled) > SNAPSHOTS.nbytes
