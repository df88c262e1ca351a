"""Attempts on 64 replicas of a periodic square lattice at once, one in each bit of a word.

The replicas share the times and the sites of the attempts, never the random bits that decide them.
Each replica by itself therefore has the exact law; together they are not independent: given the
sites, they are.

Shape vocabulary::

    spins   (n,) uint64      bit r of a word: replica r is up at that site
    up      (9,) uint64      words of the probability of an up spin, as in square
    words   (n,) uint64      one attempt each: the site in the upper half
    noise   (8 n,) uint64    one random byte for each attempt and replica

A spin is up if its random number is below the threshold that belongs to the number of neighbours
that are up. The first 8 bits of the number settle that for 255 replicas of 256; those whose byte
equals that of the threshold draw the other 24 bits, so that probabilities are kept to 2**-32.
"""

from typing import Any

import numpy as np
from numba import uint64

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.simulators.glauber.attempts import row_and_column, torus_neighbours
from sklmacro.simulators.machine.instructions import bytes_below, bytes_equal, count_ones, prefetch
from sklmacro.simulators.machine.random_words import LOW32, next_word
from sklmacro.simulators.machine.word_blocks import (
    WordSource,
    draw_words,
    fill_words,
    round_to_lanes,
    word_source,
)
from sklmacro.simulators.trajectories import Trajectory

N_REPLICAS = 64
BLOCK = 256
AHEAD = 8
_ZERO, _ONE, _TWO, _THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_LOW24 = np.uint64(0xFFFFFF)


@njit(nogil=True)
def pack(X: np.ndarray) -> np.ndarray:
    """Return the spins (n,) of up to 64 replicas X (n_replicas, n)."""
    spins = np.zeros(X.shape[1], np.uint64)
    for r in range(X.shape[0]):
        if X.shape[1] >= STEPS:
            heed()
        for k in range(uint64(X.shape[1])):
            spins[k] |= uint64(X[r, k] > 0) << uint64(r)
    return spins


@njit(nogil=True)
def unpack(spins: np.ndarray, X: np.ndarray) -> None:
    """Write the spins of the first replicas to X (n_replicas, n)."""
    for r in range(X.shape[0]):
        if X.shape[1] >= STEPS:
            heed()
        for k in range(uint64(X.shape[1])):
            X[r, k] = 2 * np.int8((spins[k] >> uint64(r)) & _ONE) - 1


@njit(nogil=True)
def _transpose(square: np.ndarray) -> None:
    """Transpose 64 x 64 bits in place: swap ever smaller blocks beside the diagonal."""
    width, mask = 32, np.uint64(0xFFFFFFFF)
    while width > 0:
        shift = uint64(width)
        for start in range(0, 64, 2 * width):
            for k in range(start, start + width):
                t = ((square[k] >> shift) ^ square[k + width]) & mask
                square[k] ^= t << shift
                square[k + width] ^= t
        width //= 2
        mask ^= mask << uint64(width)


@njit(nogil=True)
def _add_counts(square: np.ndarray, counts: np.ndarray) -> None:
    """Add the bits set of each replica in 64 words to `counts`; the words are lost."""
    _transpose(square)
    for r in range(64):
        counts[r] += np.int64(count_ones(square[r]))


@njit(nogil=True)
def count(spins: np.ndarray, n0: int, n1: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers (64,) of spins that are up and of unequal bonds, for every replica."""
    ups, unequal = np.zeros(64, np.int64), np.zeros(64, np.int64)
    own, right, below = np.empty(64, np.uint64), np.empty(64, np.uint64), np.empty(64, np.uint64)
    since = 0
    for i in range(n0):
        row, next_row = i * n1, ((i + 1) % n0) * n1
        since += n1
        if since >= STEPS:
            heed()
            since = 0
        for start in range(0, n1, 64):
            own[:], right[:], below[:] = _ZERO, _ZERO, _ZERO
            for k in range(min(64, n1 - start)):
                j = start + k
                own[k] = spins[row + j]
                right[k] = own[k] ^ spins[row + (j + 1 if j + 1 < n1 else 0)]
                below[k] = own[k] ^ spins[next_row + j]
            _add_counts(own, ups)
            _add_counts(right, unequal)
            _add_counts(below, unequal)
    return ups, unequal


@njit(nogil=True)
def _place(
    words: np.ndarray, beside: np.ndarray, above_below: np.ndarray, n0: int, n1: int
) -> None:
    """Put the site into every word and its neighbours into the others, each half a word."""
    rows, columns = uint64(n0) & LOW32, uint64(n1) & LOW32
    for k in range(words.shape[0]):
        i, j = row_and_column(words[k], rows, columns)
        site, left, right, above, below = torus_neighbours(i, j, rows, columns)
        beside[k] = left | (right << uint64(32))
        above_below[k] = above | (below << uint64(32))
        words[k] = site


@njit(nogil=True)
def _settle(
    ties: np.uint64,
    odd: np.uint64,
    two: np.uint64,
    four: np.uint64,
    up: np.ndarray,
    side: np.ndarray,
) -> np.uint64:
    """Return which of the replicas in `ties` are up by the other 24 bits of their numbers."""
    ups = _ZERO
    while ties != _ZERO:
        lowest = ties & (~ties + _ONE)
        ties ^= lowest
        k = uint64((odd & lowest) != _ZERO) + _TWO * uint64((two & lowest) != _ZERO)
        k += uint64(4) * uint64((four & lowest) != _ZERO)
        if (next_word(side) >> uint64(40)) < (up[k] & _LOW24):
            ups |= lowest
    return ups


@njit(nogil=True)
def _update(
    spins: np.ndarray,
    words: np.ndarray,
    beside: np.ndarray,
    above_below: np.ndarray,
    noise: np.ndarray,
    up: np.ndarray,
    side: np.ndarray,
) -> None:
    """Do one attempt a word on all replicas; `up` (5,) goes by the number of neighbours up."""
    b0, b1, b2, b3, b4 = up[0] >> 24, up[1] >> 24, up[2] >> 24, up[3] >> 24, up[4] >> 24
    for k in range(words.shape[0]):
        ahead = min(k + AHEAD, words.shape[0] - 1)
        prefetch(spins, words[ahead])
        prefetch(spins, above_below[ahead] & LOW32)
        prefetch(spins, above_below[ahead] >> uint64(32))
        a, b = spins[beside[k] & LOW32], spins[beside[k] >> uint64(32)]
        c, d = spins[above_below[k] & LOW32], spins[above_below[k] >> uint64(32)]
        # The number of neighbours that are up is odd + 2 two + 4 four, replica by replica.
        x, y = a ^ b, c ^ d
        odd, four = x ^ y, (a & b) & (c & d)
        two = (a & b) ^ (c & d) ^ (x & y)
        is_3, is_2, is_1 = odd & two, two & ~odd, odd & ~two
        is_0 = ~(odd | two | four)
        at = uint64(8 * k)
        ups = is_0 & bytes_below(noise, at, b0) | is_1 & bytes_below(noise, at, b1)
        ups |= is_2 & bytes_below(noise, at, b2) | is_3 & bytes_below(noise, at, b3)
        ups |= four & bytes_below(noise, at, b4)
        ties = is_0 & bytes_equal(noise, at, b0) | is_1 & bytes_equal(noise, at, b1)
        ties |= is_2 & bytes_equal(noise, at, b2) | is_3 & bytes_equal(noise, at, b3)
        ties |= four & bytes_equal(noise, at, b4)
        if ties != _ZERO:
            ups |= _settle(ties, odd, two, four, up, side)
        spins[words[k]] = ups


@njit(nogil=True)
def evolve_replicas(
    spins: np.ndarray,
    n0: int,
    n1: int,
    up: np.ndarray,
    n_attempts: int,
    source: WordSource,
) -> None:
    """Draw `n_attempts` random spins of every replica anew, in place."""
    words, noise = np.empty(BLOCK, np.uint64), np.empty(8 * BLOCK, np.uint64)
    beside, above_below = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    by_number = np.empty(5, np.uint64)
    for k in range(5):
        by_number[k] = min(up[2 * k], LOW32)
    left = n_attempts
    while left > 0:
        size = min(left, BLOCK)
        draw_words(source, words[: round_to_lanes(size)], n0 * n1)
        fill_words(source.lanes, noise[: 8 * size])
        _place(words[:size], beside, above_below, n0, n1)
        _update(spins, words[:size], beside, above_below, noise, by_number, source.side)
        left -= size
        if left >= STEPS and left % STEPS < BLOCK:
            heed()


class Replicas(Trajectory):
    """Snapshots on a periodic square lattice, on their way together.

    Parameters
    ----------
    up : ndarray of shape (9,)
        Words of the probability of an up spin, as in `square`.
    *start
        Parameters of `Trajectory`, x of shape (n_replicas, n0, n1).
    """

    def __init__(self, up: np.ndarray, *start: Any):
        super().__init__(*start)
        self._source, self._up = word_source(self.rng), up
        self._spins = pack(np.ascontiguousarray(self.x).reshape(len(self.x), -1))

    def advance(self, duration: float) -> None:
        n_attempts = self.rng.poisson(duration * self.lattice.n_sites)
        evolve_replicas(self._spins, *self.lattice.cells, self._up, n_attempts, self._source)

    def record(self, observe: bool) -> np.ndarray:
        n, n_sites = len(self.x), self.lattice.n_sites
        if observe:
            ups, unequal = count(self._spins, *self.lattice.cells)
            return np.column_stack([2.0 * ups - n_sites, unequal / 2.0])[:n] / n_sites
        X = np.empty((n, n_sites), np.int8)
        unpack(self._spins, X)
        return X.reshape(self.x.shape)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"spins": self._spins, **self._source._asdict()}
