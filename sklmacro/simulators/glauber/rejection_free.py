"""Rejection-free Glauber dynamics on any lattice: spins of equal rate in one list each.

An event draws a list with probability rate times length, then a member (Bortz, Kalos and Lebowitz,
J. Comput. Phys. 17, 10 (1975)): O(1) whatever the lattice and however cold it is.

Shape vocabulary::

    spins, sites, table, inside    as in tables
    rates  (2 z + 1, 2)            of a down and an up spin by the sum of its neighbours, -z ... z
"""

import numpy as np
from numba import uint64

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.simulators.machine.random_words import LOW32, TO_UNIT, below
from sklmacro.simulators.machine.word_blocks import WordSource, fill_times, fill_words

BLOCK = 256  # events between two fillings of the blocks of random numbers
_ONE = np.uint64(1)


@njit(nogil=True)
def _move(
    site: np.uint64,
    change: np.uint64,
    kinds: np.ndarray,
    members: np.ndarray,
    place: np.ndarray,
    count: np.ndarray,
) -> None:
    """Move a site to the list `change` places further; the last member takes its place."""
    old = uint64(kinds[site])
    new = old + change
    n_old, n_new = count[old] - _ONE, count[new]
    hole, last = place[site], members[old, n_old]
    members[old, uint64(hole)] = last
    place[uint64(last)] = hole
    members[new, n_new] = site
    place[site] = n_new
    count[old], count[new] = n_old, n_new + _ONE
    kinds[site] = new


@njit(nogil=True)
def _draw(count: np.ndarray, pace: np.ndarray, u: float) -> tuple[float, np.uint64]:
    """Return the total rate, and the list at the fraction u of it."""
    total = 0.0
    for kind in range(count.shape[0]):
        total += np.int64(count[kind]) * pace[kind]
    target, before, drawn = u * total, 0.0, uint64(0)
    for kind in range(count.shape[0] - 1):
        before += np.int64(count[kind]) * pace[kind]
        drawn += uint64(target >= before)
    return total, drawn


@njit(nogil=True)
def _draw_of_ten(count: np.ndarray, pace: np.ndarray, u: float) -> tuple[float, np.uint64]:
    """Do what `_draw` does, without loops: a sixth faster, for four neighbours."""
    w0, w1 = np.int64(count[0]) * pace[0], np.int64(count[1]) * pace[1]
    w2, w3 = np.int64(count[2]) * pace[2], np.int64(count[3]) * pace[3]
    w4, w5 = np.int64(count[4]) * pace[4], np.int64(count[5]) * pace[5]
    w6, w7 = np.int64(count[6]) * pace[6], np.int64(count[7]) * pace[7]
    w8, w9 = np.int64(count[8]) * pace[8], np.int64(count[9]) * pace[9]
    two = w0 + w1
    four = two + (w2 + w3)
    six = four + (w4 + w5)
    eight = six + (w6 + w7)
    total = eight + (w8 + w9)
    target = u * total
    drawn = uint64(target >= w0) + uint64(target >= two) + uint64(target >= two + w2)
    drawn += uint64(target >= four) + uint64(target >= four + w4) + uint64(target >= six)
    drawn += uint64(target >= six + w6) + uint64(target >= eight) + uint64(target >= eight + w8)
    return total, drawn


@njit(nogil=True)
def evolve_classes(
    spins: np.ndarray,
    sites: np.ndarray,
    table: np.ndarray,
    inside: np.ndarray,
    rates: np.ndarray,
    limits: tuple,
    source: WordSource,
) -> float:
    """Flip spins in place; return the elapsed time.

    `limits` are the number of flips and the duration after which it ends.

    Each is flipped with probability r_i / R after a time of mean 1 / R. The time is that of the
    last event, infinite if nothing can happen, but no longer than `duration`.
    """
    (m, z), (n_events, duration) = inside.shape, limits
    # Where no neighbour is missing, the sums have the parity of z and half as many values.
    step = 2
    for k in range(m):
        for q in range(z):
            if table[sites[k], q] == table.shape[0]:
                step = 1
    n_kinds = 2 * (2 * z // step + 1)  # list 2 f + (1 if up) for the sum f step - z
    pace = np.empty(n_kinds, np.float64)
    for f in range(n_kinds // 2):
        pace[2 * f], pace[2 * f + 1] = rates[f * step, 0], rates[f * step, 1]
    members = np.empty((n_kinds, m), inside.dtype)
    place, kinds = np.empty(m, inside.dtype), np.empty(m, np.uint8)
    count = np.zeros(n_kinds, np.uint64)
    for k in range(m):
        total = 0
        for q in range(z):
            total += spins[table[sites[k], q]]
        kind = 2 * ((total + z) // step) + (1 if spins[sites[k]] > 0 else 0)
        kinds[k], place[k] = kind, count[kind]
        members[kind, count[kind]] = k
        count[kind] += _ONE
        if k % STEPS == STEPS - 1:
            heed()
    words, times = np.empty(2 * BLOCK, np.uint64), np.empty(BLOCK)
    scratch = np.empty(BLOCK, np.uint64)
    elapsed, done, outside = 0.0, 0, uint64(m)
    while done < n_events:
        at = done % BLOCK
        if at == 0:
            if done % STEPS == 0 and done > 0:
                heed()
            fill_times(source.lanes, scratch, times)
            fill_words(source.lanes, words)
        u = (np.float64(words[2 * at] >> uint64(11)) + 0.5) * TO_UNIT
        if n_kinds == 10:
            total_rate, drawn = _draw_of_ten(count, pace, u)
        else:
            total_rate, drawn = _draw(count, pace, u)
        if total_rate <= 0.0:
            return min(np.inf, duration)
        elapsed += times[at] / total_rate  # Alg. 2, line 12
        if elapsed > duration:
            return duration
        if count[drawn] == 0:  # round-off at the border of two lists
            drawn = _busiest(count, pace)
        n = count[drawn]
        product = (words[2 * at + 1] >> uint64(32)) * n
        member, rest = product >> uint64(32), product & LOW32
        if rest < n and rest < (_ONE << uint64(32)) % n:  # rejected (Lemire 2019)
            member = uint64(below(n, source.side))
        k = uint64(members[drawn, member])
        up = np.int64(drawn & _ONE)
        spins[uint64(sites[k])] = 1 - 2 * up
        _move(k, uint64(1 - 2 * up), kinds, members, place, count)
        change = uint64((1 - 2 * up) * (2 if step == 2 else 4))
        for q in range(z):
            j = uint64(inside[k, q])
            if j < outside:
                _move(j, change, kinds, members, place, count)
        done += 1
    return elapsed


@njit(nogil=True)
def _busiest(count: np.ndarray, pace: np.ndarray) -> np.uint64:
    """Return the list of the largest rate."""
    best = 0
    for kind in range(count.shape[0]):
        if count[kind] * pace[kind] > count[best] * pace[best]:
            best = kind
    return uint64(best)
