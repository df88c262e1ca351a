"""Equilibrium by clusters: the Boltzmann law by enumeration, and errors that are what they say.

Thresholds PASS and FAIL: see tests/naive.py.
"""

import numpy as np
import pytest

from sklmacro.experiments._critical.statistics import NAMES, criticality
from sklmacro.experiments._truth.wolff import (
    equilibrium_series,
    equilibrium_snapshots,
    flip_cluster,
)
from sklmacro.lattice import Lattice
from sklmacro.simulators import Ising
from sklmacro.simulators.machine.random_words import probability_words, random_words
from tests import naive
from tests.naive import FAIL, PASS

STATES = naive.spin_states((4, 4))
ENERGY = naive.ising_energy(STATES, 1.0, 0.0, True)


def boltzmann(temperature):
    weight = np.exp(-(ENERGY - ENERGY.min()) / temperature)
    return weight / weight.sum()


@pytest.mark.statistical
def test_4x4_has_the_boltzmann_law():
    # Ten clusters of about half the lattice each leave no memory that 100,000 states could show.
    X = equilibrium_snapshots(4, 2.5, 100_000, 10, np.random.default_rng(0))
    counts = np.bincount(naive.spin_numbers(X), minlength=2**16)
    for least in (5, 200):  # the second pools states of like energy, which sharpens the control
        assert naive.pearson(counts, boltzmann(2.5), least) > PASS
    for wrong in (2.45, 2.55):
        assert naive.pearson(counts, boltzmann(wrong), 200) < FAIL
    signs = np.sign(X.sum(axis=(1, 2), dtype=np.int64))
    assert abs(signs.mean()) < 5 / np.sqrt(len(signs))  # both signs alike, one after the other too
    assert abs((signs[1:] * signs[:-1]).mean()) < 5 / np.sqrt(len(signs))


@pytest.mark.statistical
def test_clusters_agree_with_their_slow_twin():
    n = 4000
    x = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (3, 4))
    table = Lattice("square", x.shape).neighbors().astype(np.int32)
    rng, stack, fast, hot = np.random.default_rng(2), np.empty(x.size, np.int32), [], []
    for join, kept in ((0.55, fast), (0.4, hot)):
        word, state = probability_words(np.array(join))[()], random_words(rng)
        for _ in range(5 * n):
            y = x.ravel().copy()
            assert flip_cluster(y, table, word, stack, state) == (y != x.ravel()).sum()
            kept.append(y)
    slow = naive.spin_numbers([naive.wolff(x.ravel(), table, 0.55, rng) for _ in range(n)])
    assert naive.two_samples(slow, naive.spin_numbers(fast)) > PASS
    assert naive.two_samples(slow, naive.spin_numbers(hot)) < FAIL


def test_series_are_the_observables_of_the_snapshots():
    arguments = 6, 2.27, 50, 2
    X = equilibrium_snapshots(*arguments, np.random.default_rng(3))
    z = equilibrium_series(*arguments, np.random.default_rng(3))
    np.testing.assert_allclose(z, Ising().observe(X), rtol=1e-13)


def exact(temperature):
    """The four statistics of the 4x4 lattice by summation over its states."""
    z, p = Ising().observe(STATES[: 2**16]), boltzmann(temperature)
    m, m2, m4, walls = (p @ f for f in (abs(z[:, 0]), z[:, 0] ** 2, z[:, 0] ** 4, z[:, 1]))
    return np.array([m, 16 / temperature * (m2 - m**2), 1 - m4 / (3 * m2**2), walls])


@pytest.mark.statistical
def test_statistics_and_their_errors():
    """Of 100 runs the deviations in units of the error have mean square 1."""
    truth, rng = exact(2.4), np.random.default_rng(4)
    z = equilibrium_series(4, 2.4, 100 * 640, 1, rng).reshape(100, 640, 2)
    runs = [criticality(one, 16, 2.4, n_blocks=32) for one in z]
    scores = np.array([(run.values - truth) / run.errors for run in runs])
    # t with 31 degrees of freedom: mean square 1.07, standard error of it 0.16 over 100 runs; as
    # of 1.07 chi2(100) / 100 each bound is passed at a rate below 1e-5.
    mean_square = (scores**2).mean(axis=0)
    assert ((mean_square > 0.5) & (mean_square < 1.85)).all()
    assert (abs(scores.mean(axis=0)) < 0.5).all()
    paths = criticality(z, 16, 2.4)  # as independent paths
    assert (abs(paths.values - truth) < 5 * paths.errors).all()
    assert (abs(paths.values - exact(2.5)) > 6 * paths.errors).any()
    assert str(paths).startswith(f"{NAMES[0]} 0.")


def test_a_series_too_short_for_its_blocks_is_refused():
    with pytest.raises(ValueError, match=r"one sample for each block .* but got \(10, 2\); pass"):
        criticality(np.zeros((10, 2)), 16, 2.4)
    with pytest.raises(ValueError, match="side to be an integer of at least 2, but got 1"):
        equilibrium_series(1, 2.4, 1, 1, np.random.default_rng(0))
