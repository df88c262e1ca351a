"""Memory: it does not grow with the number of snapshots, and a large snapshot is not held twice."""

import tracemalloc

import numpy as np
import pytest

from benchmarks import size
from sklmacro.lattice.windows import Window
from sklmacro.simulators import Duration, Evolution, Ising, ising
from sklmacro.simulators.glauber.rings import window_tables
from sklmacro.simulators.glauber.square import band_rows
from sklmacro.simulators.glauber.tables import (
    neighbour_table,
    pad_spins,
    places_inside,
    window_sites,
)

SIDE, BATCH = 256, 6
N = 50, 500  # snapshots, both of more than 8 batches: with fewer they would be smaller


def peak(run):
    """Return the bytes that numpy and Python hold at most while `run` runs, beyond those before."""
    run()  # compiles, and fills caches
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("moments", [False, True])
def test_streamed_path_takes_no_more_for_more_snapshots(moments):
    few, many = (peak(lambda n=n: size.stream(n, SIDE, moments, batch_size=BATCH)) for n in N)
    assert BATCH * SIDE**2 < few < 4 * BATCH * SIDE**2  # snapshots, pairs, and what checks them
    assert many < 1.1 * few


def test_all_snapshots_at_once_take_more():
    small = size.small_snapshots(size.N_SMALL, SIDE)
    few, many = (
        peak(lambda k=n // size.N_SMALL: size.upsampler(n_repeats=k).fit_transform(small))
        for n in N
    )
    assert N[1] * SIDE**2 < many
    assert 8 * few < many


def test_upsampling_one_snapshot_takes_its_size():
    small = size.small_snapshots(1, 2048)
    whole = peak(lambda: size.upsampler().fit_transform(small))
    assert 2048**2 < whole < 1.2 * 2048**2


def test_cold_windows_take_no_memory_of_the_lattice(monkeypatch):
    used = []
    monkeypatch.setattr(ising, "window_tables", lambda *a: used.append(a) or window_tables(*a))
    cold, x, rng = Ising(temperature=1.5), np.ones((1024, 1024), np.int8), np.random.default_rng(0)
    window = Window((1000, 1000), (32, 32))  # across the edges
    evolution = Evolution(window, Duration(64.0), rng)
    lattice = cold.lattice(x.shape)
    taken = peak(lambda: cold.advance_window(x, lattice, evolution))
    assert used  # it went on without rejections
    assert taken < x.size / 4


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize(
    ("origin", "extent"), [((0, 0), (6, 7)), ((0, 3), (6, 4)), ((2, 1), (3, 5)), ((4, 0), (2, 7))]
)
def test_tables_of_a_window_are_those_of_the_lattice(boundary, origin, extent):
    lattice = Ising(boundary=boundary).lattice((6, 7))
    x = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), lattice.site_shape)
    spins, sites, table, inside = window_tables(x, origin, extent, boundary == "periodic")
    of_all, all_sites = neighbour_table(lattice), window_sites(lattice, origin, extent)
    np.testing.assert_array_equal(spins[sites], pad_spins(x)[all_sites])
    np.testing.assert_array_equal(spins[table[sites]], pad_spins(x)[of_all[all_sites]])
    missing = table[sites] == len(table)
    np.testing.assert_array_equal(missing, of_all[all_sites] == len(of_all))
    np.testing.assert_array_equal(inside, places_inside(all_sites, of_all))


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_what_is_read_in_bands_adds_up(boundary):
    shape, width = (5, 600_000), 100_000
    assert band_rows(shape[1]) < shape[0] <= band_rows(width)
    model = Ising(temperature=2.3, field=0.1, boundary=boundary)
    X = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (1, *shape))
    windows = [((0, first), (shape[0], width)) for first in range(0, shape[1], width)]
    parts = [model.observe_window(X[0], window) for window in windows]
    np.testing.assert_allclose(np.mean(parts, axis=0), model.observe(X)[0], rtol=1e-12)
    drifts, covariances = zip(*(model.moments(X, window=w) for w in windows), strict=True)
    drift, covariance = model.moments(X)
    np.testing.assert_allclose(np.sum(drifts, axis=0), drift, rtol=1e-10)
    np.testing.assert_allclose(np.sum(covariances, axis=0), covariance, rtol=1e-10)
