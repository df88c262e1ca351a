"""Vacancies in the windows of one snapshot: one window after the other, in one call.

A window that opens makes the vacancies in it active; the others are frozen. Windows either follow
one another, as in LocalRelax, or each starts from the same snapshot, as in partial evolution.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sklmacro._base.kernels import heed, njit
from sklmacro.simulators.vacancies.addresses import Geometry, Map, locate
from sklmacro.simulators.vacancies.hash_table import enter
from sklmacro.simulators.vacancies.kernel import ASK, DONE, Scale, Walk, run


class Tour(NamedTuple):
    """Windows of one extent on three axes, and what comes of them.

    Where `patches` has a row for each window, each starts from the same snapshot.
    """

    origins: np.ndarray  # (n_windows, 3)
    extent: np.ndarray  # (3,)
    at: np.ndarray  # (1,) the window that is next
    before: np.ndarray  # (n_sites of a window,) what is to be put back
    home: np.ndarray  # (n_vacancies,) where the vacancies are to go back to
    patches: np.ndarray  # (n_windows, n_sites of a window), or (0, 0)
    elapsed: np.ndarray  # (n_windows,)
    pairs: np.ndarray  # (n_windows, n_species + 1, n_species + 1) as those of the walk


@njit(nogil=True)
def settle(walk: Walk, where: Map) -> None:
    """Enter the vacancies `walk.sites` into the hash table, and find their cells."""
    walk.slots[:] = -1
    for v in range(walk.sites.shape[0]):
        locate(walk.sites[v], where.shape, walk.cells[v])
        enter(v, walk.sites, walk.slots)


@njit(nogil=True)
def open_window(walk: Walk, where: Map, origin: np.ndarray, extent: np.ndarray) -> None:
    """Let the vacancies of a window of cells jump from now on; the barriers of all are pending."""
    inside, reach = walk.inside, where.reach
    for axis in range(3):
        n = where.shape[axis]
        for c in range(n + 2 * reach[axis]):
            inside[axis, c] = (c - reach[axis] - origin[axis]) % n < extent[axis]
    walk.tree[:] = 0.0
    walk.clock[0], walk.counters[:] = 0.0, 0
    for v in range(walk.sites.shape[0]):
        cell = walk.cells[v]
        walk.active[v] = (
            inside[0, cell[0] + reach[0]]
            and inside[1, cell[1] + reach[1]]
            and inside[2, cell[2] + reach[2]]
        )
        if walk.active[v]:
            walk.pending[walk.counters[0]] = v
            walk.counters[0] += 1
    walk.counters[3] = walk.counters[0]


@njit(nogil=True)
def _copy_box(
    x: np.ndarray, where: Map, origin: np.ndarray, extent: np.ndarray, box: np.ndarray, back: bool
) -> None:
    """Copy a window of the flat snapshot x to `box`, or back."""
    n, k = where.shape, 0
    for a0 in range(extent[0]):
        c0 = (origin[0] + a0) % n[0]
        for a1 in range(extent[1]):
            row = c0 * n[1] + (origin[1] + a1) % n[1]
            for a2 in range(extent[2]):
                site = (row * n[2] + (origin[2] + a2) % n[2]) * n[3]
                for b in range(n[3]):
                    if back:
                        x[site + b] = box[k]
                    else:
                        box[k] = x[site + b]
                    k += 1


@njit(nogil=True)
def run_windows(
    x: np.ndarray,
    geometry: Geometry,
    evaluate: Callable,
    law: tuple[Any, Scale],
    walk: Walk,
    limits: tuple[float, int],
    state: np.ndarray,
    tour: Tour,
) -> int:
    """Let vacancies jump in the windows that are left; the other arguments are those of `run`.

    It returns ASK where `run` does, and continues in the same window.
    """
    apart, where, since = tour.patches.shape[0] > 0, geometry.where, 0
    while tour.at[0] < tour.origins.shape[0]:
        w = tour.at[0]
        origin = tour.origins[w]
        if walk.counters[1] == 0:  # not in the middle of a window
            open_window(walk, where, origin, tour.extent)
            if apart:
                _copy_box(x, where, origin, tour.extent, tour.before, False)
                walk.pairs[:] = 0
        if run(x, geometry, evaluate, law, walk, limits, state) == ASK:
            return ASK
        since += 1 + walk.counters[2]
        if since >= 64:
            heed()
            since = 0
        tour.elapsed[w] = walk.clock[0]
        if apart:
            _copy_box(x, where, origin, tour.extent, tour.patches[w], False)
            _copy_box(x, where, origin, tour.extent, tour.before, True)
            tour.pairs[w] = walk.pairs
            walk.sites[:] = tour.home
            settle(walk, where)
        tour.at[0] += 1
    return DONE
