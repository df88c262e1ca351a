"""Attempts on a large periodic square lattice, held in bits so that it fits the cache.

A word holds 62 sites of a row at its bits 1 ... 62, and at 0 and 63 copies of the sites beside
them; in the last word of a row, which may be shorter, the copy stands after the last site. Eight
rows of one word are one cache line, in which two of three attempts find all their neighbours. The
others ask for the second line early. A lattice of 8192 x 8192 takes 9 MB in place of 67.

Shape vocabulary::

    tiles   (8 t0 t1,) uint64   word (i, t) of row i at 8 (i // 8 * t1 + t) + i % 8
    up      (9,) uint64         words of the probability of an up spin, as in square
    words   (n,) uint64         one attempt each: the site in the upper half, the spin in the lower
"""

import numpy as np
from numba import uint64

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.simulators.glauber.attempts import row_and_column
from sklmacro.simulators.machine.instructions import bytes_below, count_ones, prefetch
from sklmacro.simulators.machine.random_words import LOW32
from sklmacro.simulators.machine.word_blocks import WordSource, draw_words, round_to_lanes

WIDTH = 62  # sites a word
AHEAD = 16  # attempts between asking for a cache line and its use
BLOCK = 1024
LEAST_SITES = 1 << 22  # of lattices that this pays for; smaller ones fit the cache as bytes
_ZERO, _ONE, _TWO, _FIVE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(5)
_MAGIC = np.uint64((1 << 32) // WIDTH + 1)  # j // 62 is the upper half of its product with j


@njit(nogil=True)
def _load(x: np.ndarray) -> np.ndarray:
    """Return the tiles of a lattice of spins x."""
    n0, n1 = x.shape
    t1 = -(-n1 // WIDTH)
    tiles = np.zeros(8 * (-(-n0 // 8)) * t1, np.uint64)
    for i in range(n0):
        for t in range(t1):
            first, size = WIDTH * t, min(WIDTH, n1 - WIDTH * t)
            if t > 0 and first + size < n1:  # the word is 64 bytes of x; 1 is below 2, -1 is 255
                bits = bytes_below(x[i], uint64(first - 1), _TWO)
            else:
                bits = uint64(x[i, first - 1 if t > 0 else n1 - 1] > 0)
                for c in range(size):
                    bits |= uint64(x[i, first + c] > 0) << uint64(c + 1)
                bits |= uint64(x[i, (first + size) % n1] > 0) << uint64(size + 1)
            tiles[8 * (i // 8 * t1 + t) + i % 8] = bits
    return tiles


@njit(nogil=True)
def _store(tiles: np.ndarray, x: np.ndarray) -> None:
    """Write the sites of the tiles to the spins x."""
    n0, n1 = x.shape
    t1 = -(-n1 // WIDTH)
    for i in range(n0):
        for t in range(t1):
            bits = tiles[8 * (i // 8 * t1 + t) + i % 8] >> _ONE
            for c in range(min(WIDTH, n1 - WIDTH * t)):
                x[i, WIDTH * t + c] = 2 * np.int8((bits >> uint64(c)) & _ONE) - 1


@njit(nogil=True)
def _place(words: np.ndarray, beside: np.ndarray, n0: int, n1: int) -> None:
    """Put (word, bit) into the upper part of every word, the words above and below in `beside`."""
    rows, columns = uint64(n0) & LOW32, uint64(n1) & LOW32
    t1, last = uint64(-(-n1 // WIDTH)), rows - _ONE
    for k in range(words.shape[0]):
        word = words[k]
        i, j = row_and_column(word, rows, columns)
        t = (j * _MAGIC) >> uint64(32)
        bit = j - uint64(WIDTH) * t + _ONE
        above = (last if i == _ZERO else i - _ONE) & LOW32
        below = (_ZERO if i == last else i + _ONE) & LOW32
        here = (((i >> uint64(3)) * t1 + t) << uint64(3)) | (i & uint64(7))
        there = (((above >> uint64(3)) * t1 + t) << uint64(3)) | (above & uint64(7))
        yonder = (((below >> uint64(3)) * t1 + t) << uint64(3)) | (below & uint64(7))
        beside[k] = there | (yonder << uint64(32))
        words[k] = (here << uint64(38)) | (bit << uint64(32)) | (word & LOW32)


@njit(nogil=True)
def _flip_copies(tiles: np.ndarray, here: int, bit: int, n1: int) -> None:
    """Flip the copies of a site that stand in the words beside its own."""
    t1 = -(-n1 // WIDTH)
    t = here // 8 % t1
    if bit == 1:
        left = t - 1 if t > 0 else t1 - 1
        tiles[here + 8 * (left - t)] ^= _ONE << uint64(min(WIDTH, n1 - WIDTH * left) + 1)
    if bit == min(WIDTH, n1 - WIDTH * t):
        tiles[here + 8 * ((t + 1 if t + 1 < t1 else 0) - t)] ^= _ONE


@njit(nogil=True)
def _update(
    tiles: np.ndarray, words: np.ndarray, beside: np.ndarray, n: int, up: np.ndarray, n1: int
) -> None:
    """Do `n` attempts; the blocks are longer by AHEAD, so that none has to look where they end."""
    shared = _TWO | (_ONE << uint64(WIDTH)) | (_ONE << uint64((n1 - 1) % WIDTH + 1))
    for k in range(n):
        ahead = beside[k + AHEAD]
        prefetch(tiles, ahead & LOW32)
        prefetch(tiles, ahead >> uint64(32))
        word, two = words[k], beside[k]
        here, bit = word >> uint64(38), (word >> uint64(32)) & uint64(63)
        bits = tiles[here]
        ups = count_ones((bits >> (bit - _ONE)) & _FIVE)
        ups += (tiles[two & LOW32] >> bit) & _ONE
        ups += (tiles[two >> uint64(32)] >> bit) & _ONE
        flip = uint64((word & LOW32) < up[_TWO * ups]) ^ ((bits >> bit) & _ONE)
        flip <<= bit
        tiles[here] = bits ^ flip
        if flip & shared:
            _flip_copies(tiles, np.int64(here), np.int64(bit), n1)


@njit(nogil=True)
def evolve_bits(x: np.ndarray, up: np.ndarray, n_attempts: int, source: WordSource) -> None:
    """Draw `n_attempts` random spins of a periodic lattice x anew, in place."""
    n0, n1 = x.shape
    tiles = _load(x)
    words, beside = np.zeros(BLOCK, np.uint64), np.zeros(BLOCK + AHEAD, np.uint64)
    left = n_attempts
    while left > 0:
        size = min(left, BLOCK)
        draw_words(source, words[: round_to_lanes(size)], n0 * n1)
        _place(words[:size], beside[:size], n0, n1)
        _update(tiles, words, beside, size, up, n1)
        left -= size
        if left >= STEPS and left % STEPS < BLOCK:
            heed()
    _store(tiles, x)
