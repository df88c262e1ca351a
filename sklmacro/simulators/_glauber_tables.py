"""Attempts on any lattice, by tables of neighbours: spins drawn anew, one after the other.

Shape vocabulary::

    spins     (n + 1,) int8      a whole lattice in C order; the last, 0, is the neighbour of those
                                 that lack one
    sites     (m,) uint32        the sites of a window
    around    (m, z) uint32      their neighbours, n where there is none
    inside    (m, z) unsigned    the same as places in `sites`, m outside the window
    up        (2 z + 1,) uint64  words of the probability of an up spin, by the sum of its
                                 neighbours, -z ... z
"""

from functools import lru_cache

import numpy as np
from numba import njit, uint64

from sklmacro.lattice import Lattice
from sklmacro.simulators._glauber_cost import attempts_cost_more
from sklmacro.simulators._kmc import LOW32
from sklmacro.simulators._word_blocks import draw_words, whole_lanes

BLOCK = 512
_ONE = np.uint64(1)


@lru_cache(maxsize=8)
def _neighbours(lattice: Lattice) -> np.ndarray:
    table = lattice.neighbors()
    return np.where(table < 0, lattice.n_sites, table).astype(np.uint32)


@lru_cache(maxsize=256)
def window_tables(
    lattice: Lattice, origin: tuple[int, ...], extent: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `sites`, `around` and `inside` of a window."""
    numbers = np.arange(lattice.n_sites, dtype=np.uint32).reshape(lattice.site_shape)
    sites = numbers[lattice.mesh(origin, extent)].ravel()
    around = _neighbours(lattice)[sites]
    small = np.uint16 if len(sites) < 1 << 16 else np.uint32
    places = np.full(lattice.n_sites + 1, len(sites), small)
    places[sites] = np.arange(len(sites))
    tables = (sites, around, places[around])
    for table in tables:
        table.flags.writeable = False
    return tables


def padded(x: np.ndarray) -> np.ndarray:
    """Return a snapshot x of n spins as `spins` (n + 1,), a copy."""
    spins = np.zeros(x.size + 1, np.int8)
    spins[:-1] = x.ravel()
    return spins


@njit(nogil=True)
def table_sums(spins: np.ndarray, sites: np.ndarray, around: np.ndarray) -> tuple[int, int]:
    """Return the sum of a window's spins and their number of unequal neighbours."""
    total, unequal = 0, 0
    for k in range(sites.shape[0]):
        spin = int(spins[sites[k]])
        total += spin
        for q in range(around.shape[1]):
            unequal += spin * spins[around[k, q]] < 0
    return total, unequal


@njit(nogil=True)
def _update(
    spins: np.ndarray, sites: np.ndarray, around: np.ndarray, up: np.ndarray, words: np.ndarray
) -> int:
    """Do one attempt a word; return the number of flips."""
    m, z, flips = uint64(sites.shape[0]), around.shape[1], 0
    for k in range(words.shape[0]):
        site = ((words[k] >> uint64(32)) * m) >> uint64(32)
        total = z
        for q in range(z):
            total += spins[uint64(around[site, uint64(q)])]
        spin = 2 * np.int64((words[k] & LOW32) < up[uint64(total)]) - 1
        place = uint64(sites[site])
        flips += spin != spins[place]
        spins[place] = spin
    return flips


@njit(nogil=True)
def _attempts(
    spins: np.ndarray,
    sites: np.ndarray,
    around: np.ndarray,
    up: np.ndarray,
    n_attempts: int,
    lanes: np.ndarray,
    side: np.ndarray,
    words: np.ndarray,
) -> int:
    """Do `n_attempts` attempts; return the number of flips."""
    flips, left = 0, n_attempts
    while left > 0:
        size = min(left, words.shape[0])
        draw_words(lanes, side, words[: whole_lanes(size)], sites.shape[0])
        flips += _update(spins, sites, around, up, words[:size])
        left -= size
    return flips


@njit(nogil=True)
def _events(
    spins: np.ndarray,
    sites: np.ndarray,
    around: np.ndarray,
    up: np.ndarray,
    n_events: int,
    lanes: np.ndarray,
    side: np.ndarray,
    words: np.ndarray,
) -> tuple[int, int]:
    """Flip up to `n_events` spins, as `_glauber_square._events`; return flips and attempts."""
    flips, attempts, at, size = 0, 0, 0, 0
    while flips < n_events:
        missing = n_events - flips
        if at == size:
            tries = missing * (attempts + 1) / (flips + 1)
            if attempts_cost_more(sites.shape[0], tries, missing):
                break
            at, size = 0, min(whole_lanes(8 * missing), words.shape[0])
            draw_words(lanes, side, words[:size], sites.shape[0])
        end = min(at + missing, size)
        flips += _update(spins, sites, around, up, words[at:end])
        attempts += end - at
        at = end
    return flips, attempts


@njit(nogil=True)
def evolve_tables(
    spins: np.ndarray,
    sites: np.ndarray,
    around: np.ndarray,
    up: np.ndarray,
    probe: int,
    rest: int,
    n_events: int,
    lanes: np.ndarray,
    side: np.ndarray,
) -> tuple[bool, int, int]:
    """Evolve a window in place, as `evolve_square` does; return if it is ready, flips, attempts."""
    words = np.empty(BLOCK, np.uint64)
    if n_events >= 0:
        flips, attempts = _events(spins, sites, around, up, n_events, lanes, side, words)
        return flips == n_events, flips, attempts
    flips = _attempts(spins, sites, around, up, probe, lanes, side, words)
    expected = rest * (flips + 1) / (probe + 1)
    if rest > 0 and attempts_cost_more(sites.shape[0], rest, expected):
        return False, flips, probe
    _attempts(spins, sites, around, up, rest, lanes, side, words)
    return True, flips, probe
