"""Patches of many snapshots on the square lattice, each evolved by itself, in one call.

Layouts and words are those of `square`. A patch is a window narrower than the lattice,
held with its frozen surroundings in a ring.
"""

import numpy as np

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.simulators.glauber.attempts import BLOCK, do_attempts
from sklmacro.simulators.glauber.square import Box, load_ring, place_in_ring, update_ring
from sklmacro.simulators.machine.random_words import next_word, poisson
from sklmacro.simulators.machine.word_blocks import N_LANES, WordSource


@njit(nogil=True)
def _ring_sums(ring: np.ndarray) -> tuple[int, int]:
    """Return the sum of the cells in a ring, and its number of unequal bonds, edges included."""
    rows, columns = ring.shape[0] - 1, ring.shape[1] - 1
    ups, unequal = 0, 0
    for i in range(1, rows):
        for j in range(1, columns):  # cells of unlike spins, 0 and 2, differ by two
            ups += ring[i, j]
            unequal += (ring[i, j] ^ ring[i - 1, j]) == 2
        for j in range(1, columns + 1):
            unequal += (ring[i, j] ^ ring[i, j - 1]) == 2
    for j in range(1, columns):
        unequal += (ring[rows, j] ^ ring[rows - 1, j]) == 2
    return ups, unequal


@njit(nogil=True)
def evolve_patches(
    X: np.ndarray,
    origins: np.ndarray,
    periodic: bool,
    law: tuple,
    states: np.ndarray,
    patches: np.ndarray,
    changes: np.ndarray,
) -> None:
    """Evolve patches of snapshots X (n, n0, n1) by a Poisson number of attempts.

    `law` is (up, mean number of attempts). The random `states` (n, 4) are stepped, `patches`
    (n, p, e0, e1) filled, and `changes` (n, p, 2) with what the evolved patch changes in the
    lattice: the sum of spins, and the number of unequal bonds.
    """
    (e0, e1), (up, mean) = patches.shape[2:], law
    words = np.empty(BLOCK, np.uint64)
    lanes, since = np.empty((4, N_LANES), np.uint64), 0
    for k in range(X.shape[0]):
        side = states[k]
        for row in range(4):
            for lane in range(N_LANES):
                lanes[row, lane] = next_word(side)
        for q in range(origins.shape[1]):
            o0, o1 = origins[k, q]
            ring = load_ring(X[k], o0, o1, e0, e1, periodic)
            spins, unequal = _ring_sums(ring)
            source, n_attempts = WordSource(lanes, side), poisson(mean, side)
            box = Box(ring.ravel(), up, e0, e1, (False, False), words)
            do_attempts(box, e0 * e1, place_in_ring, update_ring, n_attempts, source, words)
            spins_after, unequal_after = _ring_sums(ring)
            changes[k, q, 0], changes[k, q, 1] = spins_after - spins, unequal_after - unequal
            for i in range(e0):
                for j in range(e1):
                    patches[k, q, i, j] = np.int8(ring[i + 1, j + 1]) - 1
            since += e0 * e1 + n_attempts
            if since >= STEPS:
                heed()
                since = 0
