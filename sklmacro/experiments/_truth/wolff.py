"""Equilibrium of the Ising model without a field, by clusters (U. Wolff, PRL 62, 361 (1989)).

A cluster grows from a random site over bonds of equal spins, each taken with probability
1 - exp(-2 J / T), J = 1, and is flipped whole: no step is rejected, the Boltzmann law is kept, and
near the critical point a few flips forget the state, where local dynamics takes L^2.17 sweeps.

Shape vocabulary::

    spins    (n_sites,)        one state, flat
    table    (n_sites, z)      nearest neighbours of every site
    series   (n_samples, 2)    magnetisation and domain wall density of states of one chain
"""

import math

import numpy as np

from sklmacro._base.checks import check_integer, check_real
from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators.machine.random_words import (
    below,
    next_word,
    probability_words,
    random_words,
)

# The slowest observable of L = 512 at T_c forgets within some 20 clusters; 1000 leave nothing.
BURN_IN = 1000


@njit(nogil=True)
def flip_cluster(
    spins: np.ndarray, table: np.ndarray, join: np.uint64, stack: np.ndarray, state: np.ndarray
) -> int:
    """Flip one cluster in place and return its size; `stack` (n_sites,) is scratch."""
    site = below(spins.shape[0], state)
    old = spins[site]
    spins[site] = -old
    stack[0] = site
    size, waiting = 1, 1
    while waiting > 0:
        waiting -= 1
        site = stack[waiting]
        for q in range(table.shape[1]):
            other = table[site, q]
            if spins[other] == old and (next_word(state) >> np.uint64(32)) < join:
                spins[other] = -old
                stack[waiting] = other
                waiting += 1
                size += 1
    return size


@njit(nogil=True)
def run_chain(
    spins: np.ndarray,
    table: np.ndarray,
    join: np.uint64,
    n_between: int,
    state: np.ndarray,
    series: np.ndarray,
    snapshots: np.ndarray,
) -> int:
    """Fill `series`, and the rows that `snapshots` (n, n_sites) has; return the flips in all.

    A record is turned upside down with probability 1/2, which the law without a field allows.
    """
    n_sites, z = table.shape
    stack = np.empty(n_sites, table.dtype)
    flips, since = 0, 0
    for k in range(series.shape[0]):
        for _ in range(n_between):
            size = flip_cluster(spins, table, join, stack, state)
            flips, since = flips + size, since + size + 1
            if since >= STEPS:
                heed()
                since = 0
        since += n_sites  # to look at all sites takes as long as to flip them
        sign = 1 if next_word(state) >> np.uint64(63) else -1
        total, unequal = 0, 0
        for i in range(n_sites):
            total += spins[i]
            for q in range(z):
                unequal += spins[table[i, q]] != spins[i]
        series[k, 0] = sign * total / n_sites
        series[k, 1] = unequal / (z * n_sites)
        if k < snapshots.shape[0]:
            for i in range(n_sites):
                snapshots[k, i] = sign * spins[i]
    return flips


def equilibrium_series(
    side: int, temperature: float, n_samples: int, n_between: int, rng: np.random.Generator
) -> np.ndarray:
    """Return observables of a chain of states, each with the law of equilibrium.

    Parameters
    ----------
    side : int
        Sites along each of the two axes of the periodic square lattice, at least 2.
    temperature : float
        Temperature in units of J/k_B.
    n_samples : int
        States recorded.
    n_between : int
        Clusters flipped between two of them. Neighbouring states are correlated.
    rng : numpy.random.Generator

    Returns
    -------
    series : ndarray of shape (n_samples, 2)
        Magnetisation and domain wall density (Eq. 24).
    """
    return _equilibrium(side, temperature, n_samples, 0, n_between, rng)[0]


def equilibrium_snapshots(
    side: int, temperature: float, n_samples: int, n_between: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a chain of states, each with the law of equilibrium.

    Parameters
    ----------
    side, temperature, n_samples, n_between, rng : as in :func:`equilibrium_series`

    Returns
    -------
    X : ndarray of int8, shape (n_samples, side, side)
    """
    return _equilibrium(side, temperature, n_samples, n_samples, n_between, rng)[1]


def _equilibrium(
    side: int,
    temperature: float,
    n_samples: int,
    n_kept: int,
    n_between: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return series (n_samples, 2) and snapshots (n_kept, side, side) of one chain."""
    check_integer(side, "side", low=2)
    check_real(temperature, "temperature", low=0.0, strict=True)
    check_integer(n_samples, "n_samples", low=1)
    check_integer(n_between, "n_between", low=1)
    table = Lattice("square", (side, side)).neighbors().astype(np.int32)
    join = probability_words(np.array(-math.expm1(-2.0 / temperature)))[()]
    spins, state = np.ones(side * side, np.int8), random_words(rng)
    none = np.empty((0, side * side), np.int8)
    run_chain(spins, table, join, BURN_IN, state, np.empty((1, 2)), none)
    series, X = np.empty((n_samples, 2)), np.empty((n_kept, side * side), np.int8)
    run_chain(spins, table, join, n_between, state, series, X)
    return series, X.reshape(n_kept, side, side)
