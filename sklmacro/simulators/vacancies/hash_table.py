"""Which vacancy is on a site: a hash table with linear probing (Knuth, TAOCP 3, 6.4).

`slots` (2**k,) holds numbers of vacancies, -1 where it is empty; `sites` (n_vacancies,) where they
are. At most a quarter of the slots is taken, and no site of the lattice needs memory of its own.
"""

import numpy as np
from numba import uint64

from sklmacro._base.kernels import njit

HASH = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio


@njit(nogil=True)
def _slot(site: int, slots: np.ndarray) -> np.int64:
    """Return where the search for a site starts in the hash table."""
    return np.int64(((uint64(site) * HASH) >> uint64(32)) & uint64(slots.shape[0] - 1))


@njit(nogil=True)
def find(site: int, sites: np.ndarray, slots: np.ndarray) -> int:
    """Return the vacancy at a site, or -1."""
    h = _slot(site, slots)
    while slots[h] >= 0 and sites[slots[h]] != site:
        h = (h + 1) & (slots.shape[0] - 1)
    return slots[h]


@njit(nogil=True)
def enter(vacancy: int, sites: np.ndarray, slots: np.ndarray) -> None:
    """Put a vacancy into the hash table."""
    h = _slot(sites[vacancy], slots)
    while slots[h] >= 0:
        h = (h + 1) & (slots.shape[0] - 1)
    slots[h] = vacancy


@njit(nogil=True)
def leave(vacancy: int, sites: np.ndarray, slots: np.ndarray) -> None:
    """Take a vacancy out of the hash table; later ones of its run move up (Knuth 6.4, Alg. R)."""
    mask = slots.shape[0] - 1
    hole = _slot(sites[vacancy], slots)
    while slots[hole] != vacancy:
        hole = (hole + 1) & mask
    h = hole
    while True:
        h = (h + 1) & mask
        if slots[h] < 0:
            break
        home = _slot(sites[slots[h]], slots)
        if ((h - home) & mask) >= ((h - hole) & mask):
            slots[hole] = slots[h]
            hole = h
    slots[hole] = -1
