"""Flips of spins as events, and their moments from counts of sites.

The flip of a spin s whose z neighbours add up to S changes the sum of spins by -2 s, and the sum of
the wall densities by 2 s S / z: each bond has a part s s' in the density of either of its sites.
What lies beyond an open edge counts 0. All flips of equal s and S are alike, so that the moments
of a window follow from the number of its sites in each class (s, S).

Shape vocabulary::

    rates    (2 z + 1, 2)    rates at which a down and an up spin flip, for S = -z ... z
    counts   (m, 2, 2 z + 1) number of sites with a spin down or up, and S = -z ... z
"""

import numpy as np
from numba import uint64

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.simulators.events import Events, sum_events
from sklmacro.simulators.glauber.rings import window_tables
from sklmacro.simulators.glauber.square import band_rows, load_ring
from sklmacro.simulators.glauber.tables import neighbour_table, pad_spins, window_sites

_BITS, _MOST = 7, 127  # of a packed count of one class; nine of them fit into a word


def flips(x: np.ndarray, lattice: Lattice, window: Window, rates: np.ndarray) -> Events:
    """Return the flips of all spins of a window."""
    if lattice.kind == "square":
        flat, sites, table, _ = window_tables(x, *window, lattice.boundary == "periodic")
        cells = np.broadcast_arrays(*lattice.mesh(*window))
        numbers = np.ravel_multi_index(cells, lattice.cells).ravel()
    else:
        flat, table, sites = pad_spins(x), neighbour_table(lattice), window_sites(lattice, *window)
        numbers = sites.astype(np.int64)
    z = table.shape[1]
    spins, sums = flat[sites].astype(int), flat[table[sites]].sum(axis=1, dtype=int)
    return Events(
        rates[sums + z, (spins + 1) // 2],
        numbers[:, np.newaxis],
        -flat[sites][:, np.newaxis],
        np.column_stack([-2.0 * spins, 2.0 * spins * sums / z]),
    )


def flip_moments(
    X: np.ndarray,
    lattice: Lattice,
    origins: np.ndarray,
    extent: tuple[int, ...],
    rates: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return b (n, p, 2) and A (n, p, 2, 2) of p windows of each snapshot of X."""
    z = lattice.coordination
    counts = np.zeros((*origins.shape[:2], 2, 2 * z + 1), np.int64)
    if lattice.kind == "square":
        X = np.ascontiguousarray(X)  # snapshots within pairs are not
        count_square(X, origins, *extent, lattice.boundary == "periodic", counts)
    else:
        table = neighbour_table(lattice)
        for x, own, results in zip(X, origins.tolist(), counts, strict=True):
            flat = pad_spins(x)
            for origin, result in zip(own, results, strict=True):
                count_tables(flat, window_sites(lattice, tuple(origin), extent), table, result)
    spins, sums = np.meshgrid([-1.0, 1.0], np.arange(-z, z + 1.0), indexing="ij")
    changes = np.column_stack([-2.0 * spins.ravel(), (2.0 * spins * sums / z).ravel()])
    b, A = sum_events((counts * rates.T).reshape(-1, len(changes)), changes)
    return b.reshape(*origins.shape[:2], 2), A.reshape(*origins.shape[:2], 2, 2)


@njit(nogil=True)
def count_tables(
    spins: np.ndarray, sites: np.ndarray, table: np.ndarray, counts: np.ndarray
) -> None:
    """Add the sites of a window to `counts` (2, 2 z + 1); layouts as in `tables`."""
    z = table.shape[1]
    for k in range(sites.shape[0]):
        total = z
        for q in range(z):
            total += spins[table[sites[k], q]]
        counts[(spins[sites[k]] + 1) // 2, total] += 1
        if k % STEPS == STEPS - 1:
            heed()


@njit(nogil=True)
def count_square(
    X: np.ndarray, origins: np.ndarray, e0: int, e1: int, periodic: bool, counts: np.ndarray
) -> None:
    """Add the sites of windows of snapshots X (n, n0, n1) to `counts` (n, p, 2, 9).

    Up to 127 sites are counted in two words of nine counts, of all spins and of those that are up:
    a shift and an addition each, and no write to memory that the next site would wait for.
    """
    since = 0
    for k in range(origins.shape[0]):
        for q in range(origins.shape[1]):
            o0, o1 = origins[k, q]
            for start in range(0, e0, band_rows(e1)):
                rows = min(band_rows(e1), e0 - start)
                ring = load_ring(X[k], (o0 + start) % X.shape[1], o1, rows, e1, periodic)
                _count_ring(ring, counts[k, q])
                since += rows * e1
                if since >= STEPS:
                    heed()
                    since = 0


@njit(nogil=True)
def _count_ring(ring: np.ndarray, counts: np.ndarray) -> None:
    """Add the sites within a ring to `counts` (2, 9)."""
    e0, e1 = ring.shape[0] - 2, ring.shape[1] - 2
    flat, width = ring.ravel(), e1 + 2
    everyone, ups, held = uint64(0), uint64(0), 0
    for i in range(1, e0 + 1):
        first = 1
        while first <= e1:
            size = min(_MOST - held, e1 + 1 - first)
            more, more_up = _count_stretch(flat, i * width + first, size, width)
            everyone, ups = everyone + more, ups + more_up
            first, held = first + size, held + size
            if held == _MOST or (i == e0 and first > e1):
                _unpack(everyone, ups, counts)
                everyone, ups, held = uint64(0), uint64(0), 0


@njit(nogil=True)
def _count_stretch(flat: np.ndarray, place: int, size: int, width: int) -> tuple[int, int]:
    """Return the packed counts of `size` sites of a row, from a place in a ring on."""
    everyone, ups, start, row = uint64(0), uint64(0), uint64(place), uint64(width)
    for c in range(uint64(size)):
        p = start + c
        total = uint64(flat[p - row]) + uint64(flat[p + row])
        total += uint64(flat[p - uint64(1)]) + uint64(flat[p + uint64(1)])
        one = uint64(1) << (uint64(_BITS) * total)
        everyone += one
        ups += one * uint64(flat[p] >> 1)  # cells are 0 and 2
    return everyone, ups


@njit(nogil=True)
def _unpack(everyone: int, ups: int, counts: np.ndarray) -> None:
    """Add packed counts to `counts` (2, 9)."""
    for t in range(9):
        shift = uint64(_BITS * t)
        up = np.int64((ups >> shift) & uint64(_MOST))
        counts[0, t] += np.int64((everyone >> shift) & uint64(_MOST)) - up
        counts[1, t] += up
