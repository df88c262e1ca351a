"""Rejection-free kinetic Monte Carlo of vacancies that jump to nearest-neighbour sites.

    k_ij = k0 exp(-E_ij / (k_B T)),     R = sum_ij k_ij,     dt ~ Exp(R) or its mean 1/R

A jump exchanges a vacancy with an atom; a jump into a vacancy, out of the window or beyond an open
edge has no rate. Barriers depend on the sites around a vacancy: after a jump those of the vacancy
that moved are evaluated again, and those of vacancies that saw one of the two sites, no others. A
sum tree over the vacancies finds the next event, so that its cost does not grow with the lattice,
and with the number of vacancies as a logarithm.

Shape vocabulary, with that of `addresses`::

    x           (n_sites,) int8          0 a vacancy, 1 ... n_species an atom
    sites       (n_vacancies,)           where the vacancies of the snapshot are
    cells       (n_vacancies, 4)         the same as cell and basis number
    slots       (2**k,)                  hash table from site to vacancy, -1 where empty
    seen        (n_vacancies, R, 8 w)    the last R surroundings of each vacancy, m sites and ones
    words       (n_vacancies, R, w)      the same memory, eight sites in a word
    kept        (n_vacancies, R, z)      their k_ij, or E_ij until turned into rates
    stood       (n_vacancies, R)         the basis sites that they were seen from
    now         (n_vacancies,)           which of the R are the present ones
    active      (n_vacancies,)           whether a vacancy is in the window, and may jump
    rates       (n_vacancies, z)         present k_ij, 0 where the jump leads out of the window
    tree        (2 P,)                   node q is the sum of 2q and 2q + 1; leaf P + v is vacancy v
    pairs       (n_species + 1,) * 2     change of the number of nearest-neighbour pairs, in the row
                                         of the atom that jumped

A vacancy that jumps straight back, as every third does at 2000 K and nearly all do at 500 K, finds
its surroundings among the last ones.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import uint64

from sklmacro._base.kernels import heed, njit
from sklmacro.simulators.machine.instructions import borrow
from sklmacro.simulators.machine.random_words import uniform
from sklmacro.simulators.vacancies.addresses import (
    Geometry,
    Map,
    Shell,
    address,
    move,
    read,
)
from sklmacro.simulators.vacancies.hash_table import enter, find, leave

EVENTS = 1 << 14  # between two calls of `heed`; each takes a microsecond, or 20 with a net
DONE, ASK = 0, 1  # why the kernel returns: all is done, or barriers have to be evaluated outside


class Walk(NamedTuple):
    """State of the vacancies of one snapshot."""

    sites: np.ndarray
    cells: np.ndarray
    slots: np.ndarray
    seen: np.ndarray
    words: np.ndarray
    kept: np.ndarray
    stood: np.ndarray
    now: np.ndarray
    active: np.ndarray
    rates: np.ndarray
    tree: np.ndarray
    pairs: np.ndarray
    pending: np.ndarray  # vacancies whose surroundings may have changed
    asked: np.ndarray  # those among them whose barriers are evaluated outside
    counters: np.ndarray  # (4,) number pending, number asked, events done, number active
    clock: np.ndarray  # (1,) elapsed time
    inside: np.ndarray  # (3, n + 2 reach) which cells, from -reach on, belong to the window
    jumps: np.ndarray  # (n_basis, z) where the nearest sites stand among the m around
    environment: np.ndarray  # (8 w,) int8, what is around the vacancy at hand, and ones
    environment_words: np.ndarray  # (w,) the same memory
    left: np.ndarray  # (4,) the cell that a vacancy has left
    departed: np.ndarray  # (q,) int8, what was around there and is not around the new place


class Scale(NamedTuple):
    """Rates: attempt frequency, 1 / (k_B T) in 1/eV, and whether waiting times are means."""

    attempt: float
    beta: float
    mean_times: bool


@njit(nogil=True, inline="always")
def _recall(v: int, words: np.ndarray, walk: Walk) -> bool:
    """Look for an environment among the last of a vacancy; make room for it if it is new."""
    n_kept, b = walk.words.shape[1], walk.cells[v, 3]
    for r in range(n_kept):
        different = uint64(0)
        for e in range(words.shape[0]):  # no early end, so that it is vectorised
            different |= words[e] ^ walk.words[v, r, e]
        if different == 0 and walk.stood[v, r] == b:
            walk.now[v] = r
            return True
    r = (walk.now[v] + 1) % n_kept
    walk.now[v] = r
    for e in range(words.shape[0]):
        walk.words[v, r, e] = words[e]
    walk.stood[v, r] = b
    return False


@njit(nogil=True, inline="always")
def _to_rates(v: int, walk: Walk, scale: Scale) -> None:
    """Turn the barriers just found for a vacancy into rates; a jump needs an atom to jump."""
    r = walk.now[v]
    jumps = walk.jumps[walk.cells[v, 3]]
    for d in range(jumps.shape[0]):
        rate = 0.0
        if walk.seen[v, r, jumps[d]] != 0:
            rate = scale.attempt * np.exp(-scale.beta * walk.kept[v, r, d])
        walk.kept[v, r, d] = rate


@njit(nogil=True, inline="always")
def _enroll(v: int, nearest: Shell, walk: Walk) -> None:
    """Put the rates of a vacancy in force, without those that lead out of the window."""
    cell, kept = walk.cells[v], walk.kept[v, walk.now[v]]
    steps, inside = nearest.steps[cell[3]], walk.inside
    total = 0.0
    for d in range(kept.shape[0]):
        stays = (
            inside[0, uint64(cell[0]) + steps[0, d]]
            and inside[1, uint64(cell[1]) + steps[1, d]]
            and inside[2, uint64(cell[2]) + steps[2, d]]
        )
        walk.rates[v, d] = kept[d] if stays else 0.0
        total += walk.rates[v, d]
    node = walk.tree.shape[0] // 2 + v
    walk.tree[node] = total
    while node > 1:
        node //= 2
        walk.tree[node] = walk.tree[2 * node] + walk.tree[2 * node + 1]


@njit(nogil=True, inline="always")
def _draw(walk: Walk, state: np.ndarray) -> tuple[int, int]:
    """Return a vacancy and a direction with probability k_ij / R."""
    half, z = walk.tree.shape[0] // 2, walk.rates.shape[1]
    target, node = uniform(state) * walk.tree[1], 1
    while node < half:
        node *= 2
        # The second test guards against round-off: an empty branch is never taken.
        right = target >= walk.tree[node] and walk.tree[node + 1] > 0.0
        target -= walk.tree[node] if right else 0.0
        node += 1 if right else 0
    v, chosen, total = node - half, 0, 0.0
    for d in range(z):  # no early end: a branch that cannot be predicted costs more
        total += walk.rates[v, d]
        chosen += target >= total
    chosen = min(chosen, z - 1)
    while walk.rates[v, chosen] == 0.0:  # after round-off
        chosen = (chosen + z - 1) % z
    return v, chosen


@njit(nogil=True)
def _mark_pending(
    mover: int, cell: np.ndarray, x: np.ndarray, where: Map, halo: Shell, walk: Walk
) -> None:
    """Make the vacancies around a place pending, except the one that moved."""
    steps = halo.steps[cell[3]]
    for e in range(steps.shape[1]):
        other = address(steps, e, cell, where)
        if other >= 0 and x[other] == 0:
            v = find(other, walk.sites, walk.slots)
            known = v == mover or not walk.active[v]  # the frozen are seen anew later
            for p in range(walk.counters[0]):
                known = known or walk.pending[p] == v
            if not known:
                walk.pending[walk.counters[0]] = v
                walk.counters[0] += 1


@njit(nogil=True, inline="always")
def _any_zero(words: np.ndarray) -> bool:
    """Say whether a byte of some words is 0."""
    ones, tops = uint64(0x0101010101010101), uint64(0x8080808080808080)
    borrows = uint64(0)
    for e in range(words.shape[0]):
        borrows |= (words[e] - ones) & ~words[e] & tops  # the first is at a byte that is 0
    return borrows != 0


@njit(nogil=True, inline="always")
def _mark_all_pending(
    v: int, d: int, here: int, x: np.ndarray, geometry: Geometry, walk: Walk
) -> None:
    """Make pending what sees one of the two sites of a jump: mostly nothing but the one that moved.

    What is around the old place, `here`, and not around the new one has been left behind.
    """
    where, halo, _, behind = geometry
    left, departed = walk.left, walk.departed
    if _any_zero(walk.environment_words):
        _mark_pending(v, walk.cells[v], x, where, halo, walk)
    row = left[3] * walk.rates.shape[1] + d
    read(x, here, left, where, behind, row, departed)
    vacant = False
    for e in range(departed.shape[0]):
        vacant |= departed[e] == 0
    if vacant:
        _mark_pending(v, left, x, where, halo, walk)


@njit(nogil=True, inline="always")
def _count_pairs(atom: int, sign: int, environment: np.ndarray, b: int, walk: Walk) -> None:
    """Count the nearest neighbours that an atom has, or had, in the place that is surrounded."""
    for d in range(walk.jumps.shape[1]):
        walk.pairs[atom, environment[walk.jumps[b, d]]] += sign


@njit(nogil=True, inline="always")
def _jump(x: np.ndarray, v: int, d: int, where: Map, nearest: Shell, walk: Walk) -> None:
    """Exchange vacancy v with its neighbour d; `walk.left` becomes the cell that it leaves."""
    cell, left = walk.cells[v], walk.left
    for axis in range(4):
        left[axis] = cell[axis]
    here, there = walk.sites[v], address(nearest.steps[cell[3]], d, cell, where)
    alone = walk.sites.shape[0] == 1
    if not alone:
        leave(v, walk.sites, walk.slots)
    x[here], x[there] = x[there], 0
    move(cell, nearest.steps[left[3]], d, where)
    walk.sites[v] = there
    if not alone:
        enter(v, walk.sites, walk.slots)


@njit(nogil=True)
def run(
    x: np.ndarray,
    geometry: Geometry,
    evaluate: Callable,
    law: tuple[Any, Scale],
    walk: Walk,
    limits: tuple[float, int],
    state: np.ndarray,
) -> int:
    """Let vacancies jump until `limits`, a duration and a number of events; x changes in place.

    `evaluate(environment, b, out, params)` fills barriers and returns True; where it returns False
    the kernel returns ASK, and is called again once the barriers of the vacancies asked about stand
    in `walk.kept`. `law` is (params, scale). The clock is infinite if nothing can happen and events
    are counted.
    """
    x, geometry, walk, state = borrow((x, geometry, walk, state))
    (params, scale), (duration, n_events) = borrow(law), limits
    where, halo, nearest, _ = geometry
    known = walk.counters[1] > 0  # those asked about before
    environment, words = walk.environment[: halo.steps.shape[2]], walk.environment_words
    gathered = False  # whether `environment` holds what is around the first pending vacancy
    while True:
        for p in range(0 if known else walk.counters[0]):
            v = walk.pending[p]
            if not gathered:
                read(x, walk.sites[v], walk.cells[v], where, halo, walk.cells[v, 3], environment)
            gathered = False
            if not _recall(v, words, walk):
                if evaluate(environment, walk.cells[v, 3], walk.kept[v, walk.now[v]], params):
                    _to_rates(v, walk, scale)
                else:
                    walk.asked[walk.counters[1]] = v
                    walk.counters[1] += 1
        if walk.counters[1] > 0 and not known:
            return ASK
        for p in range(walk.counters[1]):
            _to_rates(walk.asked[p], walk, scale)
        for p in range(walk.counters[0]):
            _enroll(walk.pending[p], nearest, walk)
        known = False
        walk.counters[0], walk.counters[1] = 0, 0
        if walk.counters[2] >= n_events:
            return DONE
        total = walk.tree[1]
        if total <= 0.0:
            walk.clock[0] = duration
            return DONE
        waiting = (1.0 if scale.mean_times else -np.log(uniform(state))) / total
        if walk.clock[0] + waiting > duration:
            walk.clock[0] = duration
            return DONE
        walk.clock[0] += waiting
        v, d = _draw(walk, state)
        here, before = walk.sites[v], walk.seen[v, walk.now[v]]
        atom = before[walk.jumps[walk.cells[v, 3], d]]
        _jump(x, v, d, where, nearest, walk)
        read(x, walk.sites[v], walk.cells[v], where, halo, walk.cells[v, 3], environment)
        gathered = True
        # Each counts the pair of the two sites as one of two such atoms: that cancels.
        _count_pairs(atom, 1, before, walk.left[3], walk)
        _count_pairs(atom, -1, environment, walk.cells[v, 3], walk)
        walk.counters[2] += 1
        if walk.counters[2] % EVENTS == 0:
            heed()
        walk.pending[0], walk.counters[0] = v, 1
        if walk.counters[3] > 1:
            _mark_all_pending(v, d, here, x, geometry, walk)


@njit(nogil=True)
def gather_all(x: np.ndarray, where: Map, halo: Shell, walk: Walk) -> np.ndarray:
    """Return the surroundings (n_vacancies, m) of all vacancies."""
    environments = np.empty((walk.sites.shape[0], halo.steps.shape[2]), np.int8)
    for v in range(walk.sites.shape[0]):
        read(x, walk.sites[v], walk.cells[v], where, halo, walk.cells[v, 3], environments[v])
        if v % EVENTS == EVENTS - 1:
            heed()
    return environments


@njit(nogil=True)
def species_counts(x: np.ndarray, n_species: int) -> np.ndarray:
    """Return the number of vacancies and of atoms of each species, (n_species + 1,).

    One pass for each over the flat snapshot, without a copy of it: such loops are vectorised, and a
    single one over all is not.
    """
    counts = np.empty(n_species + 1, np.int64)
    for state in range(n_species + 1):
        n = 0
        for site in range(x.shape[0]):
            n += x[site] == state
        counts[state] = n
    return counts


@njit(nogil=True)
def vacant_sites(x: np.ndarray) -> np.ndarray:
    """Return the numbers of the vacant sites of a flat snapshot."""
    sites, n = np.empty(species_counts(x, 0)[0], np.int64), 0
    for site in range(x.shape[0]):
        if x[site] == 0:
            sites[n] = site
            n += 1
    return sites


@njit(nogil=True)
def count_pairs(
    x: np.ndarray,
    where: Map,
    nearest: Shell,
    origin: np.ndarray,
    extent: np.ndarray,
    n_species: int,
) -> np.ndarray:
    """Count ordered pairs (site of the window, nearest neighbour) by their species."""
    n, cell, since = where.shape, np.empty(4, np.int64), 0
    pairs = np.zeros((n_species + 1, n_species + 1), np.int64)
    for a0 in range(extent[0]):
        cell[0] = (origin[0] + a0) % n[0]
        for a1 in range(extent[1]):
            since += extent[2]
            if since >= EVENTS:
                heed()
                since = 0
            cell[1] = (origin[1] + a1) % n[1]
            for a2 in range(extent[2]):
                cell[2] = (origin[2] + a2) % n[2]
                site = ((cell[0] * n[1] + cell[1]) * n[2] + cell[2]) * n[3]
                for b in range(n[3]):
                    steps = nearest.steps[b]
                    for d in range(steps.shape[1]):
                        other = address(steps, d, cell, where)
                        if other >= 0:
                            pairs[x[site + b], x[other]] += 1
    return pairs
