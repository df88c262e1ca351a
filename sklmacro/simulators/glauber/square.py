"""Attempts on the square lattice: spins drawn anew from their heat-bath law, one after the other.

Shape vocabulary::

    cells   (n,) uint8        0 for a spin down, 2 for one up, 1 where nothing is
    up      (9,) uint64       words of the probability of an up spin, by the sum of the neighbours
                              in `cells`, 0 ... 8
    words   (n,) uint64       one attempt each: the site in the upper half, the spin in the lower

Two layouts. A ring: a window in C order with a ring of one cell around it, its frozen surroundings;
along an axis that closes on itself the ring mirrors the other side. A torus: a whole periodic
lattice in C order, without a ring, of at most 2**16 sites.

Each block of attempts has two stages. The first turns random words into sites, in vector loops. The
second goes from attempt to attempt: four neighbours, a threshold, a spin, with no branch that could
be mispredicted, and no arithmetic that depends on the size of the lattice.
"""

import numpy as np
from numba import njit, uint8, uint64

from sklmacro.simulators.glauber.rates import attempts_cost_more
from sklmacro.simulators.machine.random_words import LOW32
from sklmacro.simulators.machine.word_blocks import WordSource, draw_words, round_to_lanes

BLOCK = 512  # attempts; their words stay in the first cache
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


@njit(nogil=True)
def _place_in_ring(words: np.ndarray, e0: int, e1: int) -> None:
    """Put the place in the ring into the upper half of every word, its top bit set at an edge.

    Row and column come from two products in the place of a division: with h 2**-32 uniform on
    (0, 1), the integer part of e0 h is the row, that of e1 times the rest the column.
    """
    rows, columns = uint64(e0) & LOW32, uint64(e1) & LOW32
    width = columns + _TWO
    for k in range(words.shape[0]):
        word = words[k]
        m0 = (word >> uint64(32)) * rows
        m1 = (m0 & LOW32) * columns
        i, j = m0 >> uint64(32), m1 >> uint64(32)
        edge = (i - _ONE) | (rows - _TWO - i) | (j - _ONE) | (columns - _TWO - j)
        place = i * width + j + width + _ONE
        words[k] = (edge & _TOP) | (place << uint64(32)) | (word & LOW32)


@njit(nogil=True)
def _place_on_torus(words: np.ndarray, neighbours: np.ndarray, e0: int, e1: int) -> None:
    """Put the site into the upper half of every word, and its four neighbours into `neighbours`."""
    rows, columns = uint64(e0) & LOW32, uint64(e1) & LOW32
    n, last = rows * columns, columns - _ONE
    for k in range(words.shape[0]):
        word = words[k]
        m0 = (word >> uint64(32)) * rows
        m1 = (m0 & LOW32) * columns
        i, j = m0 >> uint64(32), m1 >> uint64(32)
        site = i * columns + j
        left = site - _ONE + (columns if j == _ZERO else _ZERO)
        right = site + _ONE - (columns if j == last else _ZERO)
        above = site - columns + (n if i == _ZERO else _ZERO)
        below = site + columns - (n if site + columns >= n else _ZERO)
        neighbours[k] = left | (right << uint64(16)) | (above << uint64(32)) | (below << uint64(48))
        words[k] = (site << uint64(32)) | (word & LOW32)


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


@njit(nogil=True)
def _update_ring(
    flat: np.ndarray, words: np.ndarray, up: np.ndarray, e0: int, e1: int, wrap: tuple
) -> None:
    width, wraps = uint64(e1 + 2), wrap[0] or wrap[1]
    for k in range(words.shape[0]):
        word = words[k]
        p = (word >> uint64(32)) & _PLACE
        total = uint64(flat[p - _ONE]) + uint64(flat[p + _ONE])
        total += uint64(flat[p - width]) + uint64(flat[p + width])
        cell = uint8(_TWO * uint64((word & LOW32) < up[total]))
        flat[p] = cell
        if word >= _TOP and wraps:
            _mirror(flat, np.int64(p), cell, e0, e1, wrap)


@njit(nogil=True)
def _update_ring_counting(
    flat: np.ndarray, words: np.ndarray, up: np.ndarray, e0: int, e1: int, wrap: tuple
) -> np.int64:
    width, wraps = uint64(e1 + 2), wrap[0] or wrap[1]
    changes = _ZERO
    for k in range(words.shape[0]):
        word = words[k]
        p = (word >> uint64(32)) & _PLACE
        total = uint64(flat[p - _ONE]) + uint64(flat[p + _ONE])
        total += uint64(flat[p - width]) + uint64(flat[p + width])
        cell = _TWO * uint64((word & LOW32) < up[total])
        changes += cell ^ uint64(flat[p])
        flat[p] = uint8(cell)
        if word >= _TOP and wraps:
            _mirror(flat, np.int64(p), cell, e0, e1, wrap)
    return np.int64(changes >> _ONE)


@njit(nogil=True)
def _update_torus(
    flat: np.ndarray, words: np.ndarray, neighbours: np.ndarray, up: np.ndarray
) -> None:
    for k in range(words.shape[0]):
        word, four = words[k], neighbours[k]
        total = uint64(flat[four & _LOW16]) + uint64(flat[(four >> uint64(16)) & _LOW16])
        total += uint64(flat[(four >> uint64(32)) & _LOW16]) + uint64(flat[four >> uint64(48)])
        flat[word >> uint64(32)] = uint8(_TWO * uint64((word & LOW32) < up[total]))


@njit(nogil=True)
def _update_torus_counting(
    flat: np.ndarray, words: np.ndarray, neighbours: np.ndarray, up: np.ndarray
) -> np.int64:
    changes = _ZERO
    for k in range(words.shape[0]):
        word, four = words[k], neighbours[k]
        total = uint64(flat[four & _LOW16]) + uint64(flat[(four >> uint64(16)) & _LOW16])
        total += uint64(flat[(four >> uint64(32)) & _LOW16]) + uint64(flat[four >> uint64(48)])
        cell = _TWO * uint64((word & LOW32) < up[total])
        changes += cell ^ uint64(flat[word >> uint64(32)])
        flat[word >> uint64(32)] = uint8(cell)
    return np.int64(changes >> _ONE)


@njit(nogil=True)
def _place(words: np.ndarray, neighbours: np.ndarray, e0: int, e1: int, torus: bool) -> None:
    if torus:
        _place_on_torus(words, neighbours, e0, e1)
    else:
        _place_in_ring(words, e0, e1)


@njit(nogil=True)
def attempts_in(
    flat: np.ndarray,
    box: tuple,
    up: np.ndarray,
    n_attempts: int,
    counting: bool,
    source: WordSource,
    scratch: tuple,
) -> int:
    """Do `n_attempts` attempts; return the number of flips if `counting`, else 0.

    `box` is (e0, e1, wrap, torus), `scratch` two arrays (BLOCK,) of words.
    """
    (e0, e1, wrap, torus), (words, neighbours) = box, scratch
    flips, left = 0, n_attempts
    while left > 0:
        size = min(left, words.shape[0])
        draw_words(source, words[: round_to_lanes(size)], e0 * e1)
        _place(words[:size], neighbours, e0, e1, torus)
        if torus and counting:
            flips += _update_torus_counting(flat, words[:size], neighbours, up)
        elif torus:
            _update_torus(flat, words[:size], neighbours, up)
        elif counting:
            flips += _update_ring_counting(flat, words[:size], up, e0, e1, wrap)
        else:
            _update_ring(flat, words[:size], up, e0, e1, wrap)
        left -= size
    return flips


@njit(nogil=True)
def _events(
    flat: np.ndarray, box: tuple, up: np.ndarray, n_events: int, source: WordSource, scratch: tuple
) -> tuple[int, int]:
    """Flip up to `n_events` spins; return the numbers of flips and of attempts.

    As many attempts are made at once as flips are missing, so that there is never one too many. It
    ends early where rejection-free events would be faster; that is judged by what has happened, not
    by what will, and leaves the law as it is.
    """
    (e0, e1, wrap, torus), (words, neighbours) = box, scratch
    flips, attempts, at, size = 0, 0, 0, 0
    while flips < n_events:
        if at == size:
            missing = n_events - flips
            if attempts_cost_more(e0 * e1, missing * (attempts + 1) / (flips + 1), missing):
                break
            size = min(round_to_lanes(8 * missing), words.shape[0])
            draw_words(source, words[:size], e0 * e1)
            _place(words[:size], neighbours, e0, e1, torus)
            at = 0
        end = min(at + n_events - flips, size)
        if torus:
            flips += _update_torus_counting(flat, words[at:end], neighbours[at:end], up)
        else:
            flips += _update_ring_counting(flat, words[at:end], up, e0, e1, wrap)
        attempts += end - at
        at = end
    return flips, attempts


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

    `plan` is (probe, rest, n_events). Window w evolves by `n_events` flips, or if that is negative
    by attempts: `probe[w]` of them, whose flips are counted, then `rest[w]`.

    Returns
    -------
    done : int
        Windows that are ready. The next one, if any, has had its probe, or some of its events, and
        continues faster without rejections.
    flips, attempts : int
        Those of the window that was evolved last.
    """
    (e0, e1), (probe, rest, n_events) = extent, plan
    wrap = (periodic and e0 == x.shape[0], periodic and e1 == x.shape[1])
    torus = wrap[0] and wrap[1] and x.size <= TORUS_SITES
    box, scratch = (e0, e1, wrap, torus), (np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64))
    flips, attempts = 0, 0
    for w in range(origins.shape[0]):
        o0, o1 = origins[w, 0], origins[w, 1]
        if torus:
            cells = np.empty(x.shape, np.uint8)
            for i in range(x.shape[0]):
                _copy_row(x, (i, 0), cells, (i, 0), x.shape[1], np.int8(1))
        else:
            cells = load_ring(x, o0, o1, e0, e1, periodic)
        flat = cells.ravel()
        if n_events >= 0:
            flips, attempts = _events(flat, box, up, n_events, source, scratch)
            ready = flips == n_events
        else:
            attempts, left = probe[w], rest[w]
            counting = left > 0
            flips = attempts_in(flat, box, up, attempts, counting, source, scratch)
            expected = left * (flips + 1) / (attempts + 1)
            ready = not (counting and attempts_cost_more(e0 * e1, left, expected))
            if ready:
                attempts_in(flat, box, up, left, False, source, scratch)
        if torus:
            for i in range(x.shape[0]):
                _copy_row(cells, (i, 0), x, (i, 0), x.shape[1], np.uint8(255))
        else:
            store_ring(cells, x, o0, o1)
        if not ready:
            return w, flips, attempts
    return origins.shape[0], flips, attempts
