"""Attempts on the square lattice: spins drawn anew from their heat-bath law, one after the other.

Shape vocabulary::

    cells   (n,) uint8        0 for a spin down, 2 for one up, 1 where nothing is
    up      (9,) uint64       words of the probability of an up spin, by the sum of the neighbours
                              in `cells`, 0 ... 8

Two layouts. A ring: a window in C order with a ring of one cell around it, its frozen surroundings;
along an axis that closes on itself the ring mirrors the other side. A torus: a whole periodic
lattice in C order, without a ring, of at most 2**16 sites.

An attempt takes four neighbours, a threshold and a spin, with no branch that could be mispredicted,
and no arithmetic that depends on the size of the lattice.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import uint8, uint64

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.simulators.glauber.attempts import (
    BLOCK,
    evolution_by,
    row_and_column,
    torus_neighbours,
)
from sklmacro.simulators.machine.random_words import LOW32
from sklmacro.simulators.machine.word_blocks import WordSource

TORUS_SITES = 1 << 16
BAND = 1 << 20  # sites of a window that are copied at a time, to be read only
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
_LOW16, _TOP = np.uint64(0xFFFF), np.uint64(1 << 63)
_PLACE = np.uint64(0x7FFFFFFF)


@njit(nogil=True)
def _copy_row(
    source: np.ndarray, start: tuple, target: np.ndarray, to: tuple, size: int, shift: int
) -> None:
    """Copy `size` cells from source[start] on to target[to] on, plus `shift`.

    Indices are unsigned, since numba would look for negative ones and make no vector loop.
    """
    (i, j), (k, m) = start, to
    row, column, there, at = uint64(i), uint64(j), uint64(k), uint64(m)
    for c in range(uint64(size)):
        target[there, at + c] = source[row, column + c] + shift


@njit(nogil=True)
def _copy_rows(source: np.ndarray, target: np.ndarray, shift: int) -> None:
    """Copy all cells of a whole lattice, plus `shift`."""
    for i in range(source.shape[0]):
        _copy_row(source, (i, 0), target, (i, 0), source.shape[1], shift)


@njit(nogil=True)
def load_ring(x: np.ndarray, o0: int, o1: int, e0: int, e1: int, periodic: bool) -> np.ndarray:
    """Return a window of spins x as cells with a ring around them, (e0 + 2, e1 + 2)."""
    n0, n1 = x.shape
    ring = np.ones((e0 + 2, e1 + 2), np.uint8)
    for i in range(e0 + 2):
        a = o0 + i - 1
        if periodic or 0 <= a < n0:
            a += n0 if a < 0 else -n0 if a >= n0 else 0
            first = 0 if periodic else max(1 - o1, 0)
            last = e1 + 2 if periodic else min(n1 + 1 - o1, e1 + 2)
            b = (o1 + first - 1) % n1
            while first < last:  # a stretch of the row up to the lattice's edge
                size = min(last - first, n1 - b)
                _copy_row(x, (a, b), ring, (i, first), size, np.int8(1))
                first, b = first + size, 0
    return ring


@njit(nogil=True)
def store_ring(ring: np.ndarray, x: np.ndarray, o0: int, o1: int) -> None:
    """Write a window without its ring back to the spins x."""
    n0, n1 = x.shape
    e0, e1 = ring.shape[0] - 2, ring.shape[1] - 2
    head = min(e1, n1 - o1)
    for i in range(e0):
        a = o0 + i - (n0 if o0 + i >= n0 else 0)
        _copy_row(ring, (i + 1, 1), x, (a, o1), head, np.uint8(255))
        if head < e1:
            _copy_row(ring, (i + 1, head + 1), x, (a, 0), e1 - head, np.uint8(255))


@njit(nogil=True)
def band_rows(e1: int) -> int:
    """Return the rows of a window of width e1 that are copied at a time, to be read only."""
    return max(1, BAND // e1)


@njit(nogil=True)
def window_sums(
    x: np.ndarray, o0: int, o1: int, e0: int, e1: int, periodic: bool
) -> tuple[int, int]:
    """Return the sum of a window's spins and their number of unequal neighbours."""
    ups, unequal = 0, 0
    for start in range(0, e0, band_rows(e1)):
        if start > 0:
            heed()
        rows = min(band_rows(e1), e0 - start)
        ring = load_ring(x, (o0 + start) % x.shape[0], o1, rows, e1, periodic)
        for i in range(1, rows + 1):
            for j in range(1, e1 + 1):  # cells of unlike spins, 0 and 2, differ by two
                cell = ring[i, j]
                ups += cell
                unequal += (cell ^ ring[i - 1, j]) == 2
                unequal += (cell ^ ring[i + 1, j]) == 2
                unequal += (cell ^ ring[i, j - 1]) == 2
                unequal += (cell ^ ring[i, j + 1]) == 2
    return ups - e0 * e1, unequal


class Box(NamedTuple):
    """A window of e0 x e1 sites as a ring or a torus, and a block of attempts on it.

    flat : ndarray of shape (n,)
        `cells`.
    up : ndarray of shape (9,)
    e0, e1 : int
    wrap : (bool, bool)
        Whether a ring mirrors the other side, along either axis.
    neighbours : ndarray of uint64, shape (BLOCK,)
        The four neighbours on a torus of the sites of the attempts.
    """

    flat: np.ndarray
    up: np.ndarray
    e0: int
    e1: int
    wrap: tuple[bool, bool]
    neighbours: np.ndarray


@njit(nogil=True)
def place_in_ring(box: Box, words: np.ndarray) -> None:
    """Put the place in the ring into the upper half of every word, its top bit set at an edge."""
    rows, columns = uint64(box.e0) & LOW32, uint64(box.e1) & LOW32
    width = columns + _TWO
    for k in range(words.shape[0]):
        i, j = row_and_column(words[k], rows, columns)
        edge = (i - _ONE) | (rows - _TWO - i) | (j - _ONE) | (columns - _TWO - j)
        place = i * width + j + width + _ONE
        words[k] = (edge & _TOP) | (place << uint64(32)) | (words[k] & LOW32)


@njit(nogil=True)
def _place_on_torus(box: Box, words: np.ndarray) -> None:
    """Put the site into the upper half of every word, its neighbours into `box.neighbours`."""
    rows, columns = uint64(box.e0) & LOW32, uint64(box.e1) & LOW32
    neighbours = box.neighbours
    for k in range(words.shape[0]):
        i, j = row_and_column(words[k], rows, columns)
        site, left, right, above, below = torus_neighbours(i, j, rows, columns)
        neighbours[k] = left | (right << uint64(16)) | (above << uint64(32)) | (below << uint64(48))
        words[k] = (site << uint64(32)) | (words[k] & LOW32)


@njit(nogil=True)
def _mirror(flat: np.ndarray, place: int, cell: int, e0: int, e1: int, wrap: tuple) -> None:
    """Copy a cell at an edge to the ring, along axes that close on themselves."""
    width = e1 + 2
    i = place // width
    j = place - i * width
    if wrap[0]:
        if i == 1:
            flat[place + e0 * width] = cell
        if i == e0:
            flat[place - e0 * width] = cell
    if wrap[1]:
        if j == 1:
            flat[place + e1] = cell
        if j == e1:
            flat[place - e1] = cell


def _update(torus: bool, counting: bool) -> Callable:
    """Return the loop over the attempts of a block; both arguments are constants to its compiler.

    It returns the number of flips, or 0 unless `counting`, which would make it slower.
    """

    @njit(nogil=True)
    def update(box: Box, words: np.ndarray, at: int) -> np.int64:
        """Do one attempt a word."""
        flat, up, e0, e1, wrap = box.flat, box.up, box.e0, box.e1, box.wrap
        width, wraps, neighbours = uint64(e1 + 2), wrap[0] or wrap[1], box.neighbours[at:]
        changes = _ZERO
        for k in range(words.shape[0]):
            word = words[k]
            if torus:
                p, four = word >> uint64(32), neighbours[k]
                total = uint64(flat[four & _LOW16]) + uint64(flat[(four >> uint64(16)) & _LOW16])
                total += uint64(flat[(four >> uint64(32)) & _LOW16])
                total += uint64(flat[four >> uint64(48)])
            else:
                p = (word >> uint64(32)) & _PLACE
                total = uint64(flat[p - _ONE]) + uint64(flat[p + _ONE])
                total += uint64(flat[p - width]) + uint64(flat[p + width])
            cell = _TWO * uint64((word & LOW32) < up[total])
            if counting:
                changes += cell ^ uint64(flat[p])
            flat[p] = uint8(cell)
            if not torus and word >= _TOP and wraps:
                _mirror(flat, np.int64(p), cell, e0, e1, wrap)
        return np.int64(changes >> _ONE)

    return update


update_ring = _update(torus=False, counting=False)
_evolve_ring = evolution_by(place_in_ring, update_ring, _update(torus=False, counting=True))
_evolve_torus = evolution_by(
    _place_on_torus, _update(torus=True, counting=False), _update(torus=True, counting=True)
)


@njit(nogil=True)
def evolve_square(
    x: np.ndarray,
    origins: np.ndarray,
    extent: tuple,
    periodic: bool,
    up: np.ndarray,
    plan: tuple,
    source: WordSource,
) -> tuple[int, int, int]:
    """Evolve windows of the spins x one after the other, in place, until one should be left.

    `plan` is (probe, rest, n_events) as in `evolution_by`, the first two of shape (n_windows,).

    Returns
    -------
    done : int
        Windows that are ready. The next one, if any, continues faster without rejections.
    flips, attempts : int
        Those of the window that was evolved last.
    """
    (e0, e1), (probe, rest, n_events), (n0, n1) = extent, plan, x.shape
    wrap = (periodic and e0 == n0, periodic and e1 == n1)
    torus = wrap[0] and wrap[1] and x.size <= TORUS_SITES
    words, neighbours = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    flips, attempts, since = 0, 0, 0
    for w in range(origins.shape[0]):
        o0, o1 = origins[w, 0], origins[w, 1]
        now = probe[w], rest[w], n_events
        if torus:
            cells = np.empty(x.shape, np.uint8)
            _copy_rows(x, cells, np.int8(1))
            box = Box(cells.ravel(), up, e0, e1, wrap, neighbours)
            ready, flips, attempts = _evolve_torus(box, x.size, now, source, words)
            _copy_rows(cells, x, np.uint8(255))
        else:
            cells = load_ring(x, o0, o1, e0, e1, periodic)
            box = Box(cells.ravel(), up, e0, e1, wrap, neighbours)
            ready, flips, attempts = _evolve_ring(box, e0 * e1, now, source, words)
            store_ring(cells, x, o0, o1)
        if not ready:
            return w, flips, attempts
        since += e0 * e1 + attempts + rest[w]
        if since >= STEPS:
            heed()
            since = 0
    return origins.shape[0], flips, attempts
