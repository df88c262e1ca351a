"""Attempts on a window, whatever its layout: spins drawn anew, one after the other, in blocks.

Each block has two stages. `place` turns random words into sites, in vector loops. `update` goes
from attempt to attempt. `count` does what `update` does, and returns the number of flips.

Shape vocabulary::

    words   (n,) uint64   one attempt each: the site in the upper half, the spin in the lower
    box                   tuple of the spins and of all that place(box, words) and
                          update(box, words, at) need, `at` being the place of these words in
                          their block
"""

from collections.abc import Callable

import numpy as np
from numba import uint64

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.simulators.glauber.rates import attempts_cost_more
from sklmacro.simulators.machine.random_words import LOW32
from sklmacro.simulators.machine.word_blocks import WordSource, draw_words, round_to_lanes

BLOCK = 512  # attempts; their words stay in the first cache
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(nogil=True)
def row_and_column(
    word: np.uint64, rows: np.uint64, columns: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Return the row and the column of a site drawn by the upper half h of a word.

    They come from two products in the place of a division: with h 2**-32 uniform on (0, 1), the
    integer part of `rows` times it is the row, that of `columns` times the rest the column.
    """
    product = (word >> uint64(32)) * rows
    return product >> uint64(32), ((product & LOW32) * columns) >> uint64(32)


@njit(nogil=True)
def torus_neighbours(
    i: np.uint64, j: np.uint64, rows: np.uint64, columns: np.uint64
) -> tuple[np.uint64, ...]:
    """Return the number of a site of a periodic lattice, of the left, right, above and below."""
    n, site = rows * columns, i * columns + j
    left = site - _ONE + (columns if j == _ZERO else _ZERO)
    right = site + _ONE - (columns if j == columns - _ONE else _ZERO)
    above = site - columns + (n if i == _ZERO else _ZERO)
    below = site + columns - (n if site + columns >= n else _ZERO)
    return site, left, right, above, below


@njit(nogil=True)
def do_attempts(
    box: tuple,
    n_sites: int,
    place: Callable,
    update: Callable,
    n_attempts: int,
    source: WordSource,
    words: np.ndarray,
) -> int:
    """Do `n_attempts` attempts; return the sum of what `update` returns."""
    flips, left = 0, n_attempts
    while left > 0:
        size = min(left, words.shape[0])
        draw_words(source, words[: round_to_lanes(size)], n_sites)
        place(box, words[:size])
        flips += update(box, words[:size], 0)
        left -= size
        if left >= STEPS and left % STEPS < words.shape[0]:
            heed()
    return flips


@njit(nogil=True)
def _do_events(
    box: tuple,
    n_sites: int,
    place: Callable,
    count: Callable,
    n_events: int,
    source: WordSource,
    words: np.ndarray,
) -> tuple[int, int]:
    """Flip up to `n_events` spins; return the numbers of flips and of attempts.

    As many attempts are made at once as flips are missing, so that there is never one too many. It
    ends early where rejection-free events would be faster; that is judged by what has happened, not
    by what will, and leaves the law as it is.
    """
    flips, attempts, at, size, heeded = 0, 0, 0, 0, 0
    while flips < n_events:
        missing = n_events - flips
        if at == size:
            if attempts_cost_more(n_sites, missing * (attempts + 1) / (flips + 1), missing):
                break
            at, size = 0, min(round_to_lanes(8 * missing), words.shape[0])
            draw_words(source, words[:size], n_sites)
            place(box, words[:size])
            if attempts - heeded >= STEPS:
                heed()
                heeded = attempts
        end = min(at + missing, size)
        flips += count(box, words[at:end], at)
        attempts += end - at
        at = end
    return flips, attempts


def evolution_by(place: Callable, update: Callable, count: Callable) -> Callable:
    """Return the kernel that evolves a window by attempts, compiled for one layout."""

    @njit(nogil=True)
    def evolve(
        box: tuple, n_sites: int, plan: tuple, source: WordSource, words: np.ndarray
    ) -> tuple[bool, int, int]:
        """Evolve a window in place, until it should continue without rejections.

        `plan` is (probe, rest, n_events): the window evolves by `n_events` flips, or if that is
        negative by attempts: `probe` of them, whose flips are counted, then `rest`.

        Returns
        -------
        ready : bool
            If not, the probe or some of the events are done, and what is left is faster without
            rejections.
        flips, attempts : int
            Numbers of events, or of the probe.
        """
        probe, rest, n_events = plan
        if n_events >= 0:
            flips, attempts = _do_events(box, n_sites, place, count, n_events, source, words)
            return flips == n_events, flips, attempts
        if rest == 0:
            do_attempts(box, n_sites, place, update, probe, source, words)
            return True, 0, probe
        flips = do_attempts(box, n_sites, place, count, probe, source, words)
        if attempts_cost_more(n_sites, rest, rest * (flips + 1) / (probe + 1)):
            return False, flips, probe
        do_attempts(box, n_sites, place, update, rest, source, words)
        return True, flips, probe

    return evolve
