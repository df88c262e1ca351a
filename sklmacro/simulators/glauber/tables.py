"""Attempts on any lattice, by tables of neighbours: spins drawn anew, one after the other.

Shape vocabulary::

    spins     (n + 1,) int8      a whole lattice in C order; the last, 0, is the neighbour of those
                                 that lack one
    table     (n, z) uint32      the neighbours of all sites, n where there is none
    sites     (m,) uint32        the sites of a window
    inside    (m, z) unsigned    their neighbours as places in `sites`, m outside the window
    up        (2 z + 1,) uint64  words of the probability of an up spin, by the sum of its
                                 neighbours, -z ... z
"""

from functools import lru_cache

import numpy as np
from numba import uint64

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators.glauber.attempts import evolution_by
from sklmacro.simulators.machine.random_words import LOW32


@lru_cache(maxsize=8)
def neighbour_table(lattice: Lattice) -> np.ndarray:
    """Return `table` of a lattice."""
    neighbours = lattice.neighbors()
    table = np.where(neighbours < 0, lattice.n_sites, neighbours).astype(np.uint32)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=8)
def _numbers(lattice: Lattice) -> np.ndarray:
    return np.arange(lattice.n_sites, dtype=np.uint32).reshape(lattice.site_shape)


def window_sites(lattice: Lattice, origin: tuple[int, ...], extent: tuple[int, ...]) -> np.ndarray:
    """Return `sites` of a window."""
    return _numbers(lattice)[lattice.mesh(origin, extent)].ravel()


def places_inside(sites: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return `inside` of a window."""
    small = np.uint16 if len(sites) < 1 << 16 else np.uint32  # unsigned: no test for a negative
    places = np.full(len(table) + 1, len(sites), small)
    places[sites] = np.arange(len(sites))
    return places[table[sites]]


def pad_spins(x: np.ndarray) -> np.ndarray:
    """Return a snapshot x of n spins as `spins` (n + 1,), a copy."""
    spins = np.zeros(x.size + 1, np.int8)
    spins[:-1] = x.ravel()
    return spins


@njit(nogil=True)
def table_sums(spins: np.ndarray, sites: np.ndarray, table: np.ndarray) -> tuple[int, int]:
    """Return the sum of a window's spins and their number of unequal neighbours."""
    total, unequal = 0, 0
    for k in range(sites.shape[0]):
        spin = int(spins[sites[k]])
        total += spin
        for q in range(table.shape[1]):
            unequal += spin * spins[table[sites[k], q]] < 0
        if k % STEPS == STEPS - 1:
            heed()
    return total, unequal


@njit(nogil=True)
def _place(box: tuple, words: np.ndarray) -> None:
    """Put the site into the upper half of every word."""
    sites = box[1]
    m = uint64(sites.shape[0])
    for k in range(words.shape[0]):
        site = uint64(sites[((words[k] >> uint64(32)) * m) >> uint64(32)])
        words[k] = (site << uint64(32)) | (words[k] & LOW32)


@njit(nogil=True)
def _update(box: tuple, words: np.ndarray, at: int) -> int:
    """Do one attempt a word; return the number of flips."""
    spins, _, table, up = box
    z, flips = table.shape[1], 0
    for k in range(words.shape[0]):
        site = words[k] >> uint64(32)
        total = z
        for q in range(z):
            total += spins[uint64(table[site, uint64(q)])]
        spin = 2 * np.int64((words[k] & LOW32) < up[uint64(total)]) - 1
        flips += spin != spins[site]
        spins[site] = spin
    return flips


# The window is (spins, sites, table, up).
evolve_tables = evolution_by(_place, _update, _update)
