"""Streams of samples against numpy's SeedSequence; laws of choices and Poisson numbers.

Thresholds PASS and FAIL: see tests/naive.py.
"""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from sklmacro._base.streams import Stage, Streams, choose, stream
from sklmacro.simulators.machine.random_words import poisson
from tests.naive import FAIL, PASS


@pytest.mark.parametrize("entropy", [0, 5, 2**32, 2**40 + 3, 2**128 + 17, 2**200 + 1])
def test_states_are_those_of_the_seed_sequence(entropy):
    streams = Streams(entropy, Stage.EVOLVE, range(3, 9))
    for k, rng in enumerate(streams):
        sequence = np.random.SeedSequence(entropy, spawn_key=(int(Stage.EVOLVE), 3 + k))
        words = sequence.generate_state(8, np.uint64)
        np.testing.assert_array_equal(streams.states[k], words[:4])
        np.testing.assert_array_equal(streams.keys[k], words[4:])
        assert rng.random() == stream(entropy, Stage.EVOLVE, 3 + k).random()
    assert len(streams) == k + 1 == 6


@pytest.mark.statistical
def test_choices_are_different_and_uniform():
    chosen = choose(5, 2, Streams(0, Stage.EVOLVE, range(20_000)).keys[:, 0])
    assert (chosen[:, 0] != chosen[:, 1]).all()
    pairs = np.bincount(5 * chosen[:, 0] + chosen[:, 1], minlength=25)
    assert stats.chisquare(pairs[np.arange(25) % 6 > 0]).pvalue > PASS
    assert stats.chisquare(pairs).pvalue < FAIL  # negative control: equal pairs never come


@pytest.mark.statistical
@pytest.mark.parametrize("mean", [0.3, 4.0, 12.0, 128.0, 3000.0])
def test_poisson_numbers(mean):
    @njit
    def draw(n, state):
        return np.array([poisson(mean, state) for _ in range(n)])

    drawn = draw(20_000, Streams(1, Stage.ADVANCE, [0]).states[0])
    edges = np.unique(stats.poisson.ppf(np.linspace(0.05, 0.95, 19), mean))

    def pvalue(law):
        counts = np.histogram(drawn, np.r_[-np.inf, edges + 0.5, np.inf])[0]
        expected = np.diff(np.r_[0, law.cdf(edges), 1]) * len(drawn)
        return stats.chisquare(counts, expected).pvalue

    assert pvalue(stats.poisson(mean)) > PASS
    assert pvalue(stats.poisson(mean + 12 * np.sqrt(mean / len(drawn)))) < FAIL
