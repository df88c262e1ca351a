"""Packed replicas: every path exact in law, its random bits its own.

Thresholds PASS and FAIL: see tests/naive.py.
"""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from sklmacro.simulators import Ising, LinearChain
from sklmacro.simulators.glauber.replicas import count, evolve_replicas, pack, unpack
from sklmacro.simulators.machine.instructions import bytes_below, bytes_equal, count_ones
from sklmacro.simulators.machine.random_words import probability_words
from sklmacro.simulators.machine.word_blocks import word_source
from tests import naive
from tests.naive import FAIL, PASS
from tests.problems import start_spins

MODEL = Ising(temperature=2.2, field=0.15, coupling=0.9)


@pytest.mark.parametrize("n", [1, 7, 64])
def test_packing_there_and_back(n):
    X = start_spins((n, 35))
    spins, Y = pack(X), np.zeros_like(X)
    assert spins.shape == (35,)
    unpack(spins, Y)
    np.testing.assert_array_equal(X, Y)


@pytest.mark.parametrize("cells", [(3, 5), (8, 64), (5, 130), (2, 2)])
def test_counts_are_the_observables(cells):
    X = start_spins((64, *cells))
    ups, unequal = count(pack(X.reshape(64, -1)), *cells)
    np.testing.assert_array_equal(ups, (X > 0).sum(axis=(1, 2)))
    np.testing.assert_allclose(unequal / (2 * X[0].size), [naive.ising_walls(x, True) for x in X])


def test_bytes_are_compared_as_written():
    @njit
    def compare(words, first, byte):
        return bytes_below(words, first, byte), bytes_equal(words, first, byte)

    words = np.random.default_rng(0).integers(0, 2**64, 10, np.uint64)
    seen = words[1:9].view(np.uint8)
    for byte in (0, 1, 100, 128, 255, int(seen[5])):
        below, equal = compare(words, np.uint64(1), np.uint64(byte))
        np.testing.assert_array_equal(naive.bits_of(below), seen < byte)
        np.testing.assert_array_equal(naive.bits_of(equal), seen == byte)
    assert njit(lambda w: count_ones(w))(words[0]) == naive.bits_of(words[0]).sum()


@pytest.mark.statistical
@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
def test_every_path_has_the_exact_law(shape):
    # 64 different starts in a block, so that the replicas must not get mixed up.
    n_blocks, starts = 8000, start_spins((64, *shape))
    X = np.tile(starts, (n_blocks, 1, 1))
    paths = MODEL.simulate(X, [0.7], packed=True, random_state=0)[:, 0]
    numbers = naive.spin_numbers(paths).reshape(n_blocks, 64)
    Q = naive.glauber_generator(
        naive.ising_energy(naive.spin_states(shape), 0.9, 0.15, True), MODEL.temperature
    )
    for r in (0, 1, 31, 63):
        counts = np.bincount(numbers[:, r], minlength=Q.shape[0])
        start = int(naive.spin_numbers(starts[r : r + 1])[0])
        assert naive.pearson(counts, naive.law_at(Q, start, 0.7)) > PASS
        assert naive.pearson(counts, naive.law_at(Q, start, 1.3)) < FAIL
        other = int(naive.spin_numbers(starts[r - 1 : r] if r else starts[63:])[0])
        assert naive.pearson(counts, naive.law_at(Q, other, 0.7)) < FAIL


@pytest.mark.statistical
@pytest.mark.parametrize("up", [0.0, 0.0215, 0.5, 0.998, 1.0 / 256, 1.0])
def test_probabilities_are_kept_to_the_last_bit_that_can_be_seen(up):
    # All thresholds alike: spins are independent coins. Ties of the first byte must be settled.
    rng = np.random.default_rng(1)
    words = probability_words(np.full(9, up))
    total = 0
    spins = np.full(4096, ~np.uint64(0) if up < 0.5 else np.uint64(0))
    for _ in range(100):
        evolve_replicas(spins, 64, 64, words, 80_000, word_source(rng))
        total += sum(int(s).bit_count() for s in spins)
    n = 100 * 64 * 4096
    if up in (0.0, 1.0):
        assert abs(total - up * n) <= 1
        return
    assert stats.binomtest(total, n, up).pvalue > PASS
    assert stats.binomtest(total, n, np.floor(up * 256 + 1) / 256).pvalue < FAIL


@pytest.mark.statistical
def test_replicas_are_independent_given_the_sites():
    # One attempt on one site: two replicas' new spins, in a field that makes up and down equally
    # likely. The same number for all replicas would make them equal.
    free = probability_words(np.full(9, 0.5))
    rng, outcomes = np.random.default_rng(2), []
    source = word_source(rng)
    for _ in range(20_000):
        spins = np.zeros(1, np.uint64)
        evolve_replicas(spins, 1, 1, free, 1, source)
        outcomes.append(spins[0])
    bits = np.array([naive.bits_of(o) for o in outcomes]).astype(int)
    assert stats.binomtest(int(bits.sum()), bits.size).pvalue > PASS
    n, ups = len(bits), 2 * bits - 1
    products = np.triu(ups.T @ ups, 1)[np.triu_indices(64, 1)]  # sums of n signs for every pair
    assert stats.chi2.sf((products**2 / n).sum(), len(products)) > PASS
    copied = ups.copy()
    copied[:, 1] = copied[:, 0]
    wrong = np.triu(copied.T @ copied, 1)[np.triu_indices(64, 1)]
    assert stats.chi2.sf((wrong**2 / n).sum(), len(wrong)) < FAIL
    later = np.einsum("ij,ij->j", ups[1:], ups[:-1])  # nor does an attempt tell the next
    assert stats.chi2.sf((later**2 / (n - 1)).sum(), 64) > PASS


@pytest.mark.statistical
def test_paths_agree_with_those_that_are_not_packed():
    # Paths of one block share the sites of their attempts: one of each of the 640 is independent.
    X, times = np.broadcast_to(start_spins((20, 23)), (64 * 640, 20, 23)), [1.0, 3.0]
    slow = MODEL.simulate(X[:640], times, observe=True, random_state=0)
    fast, hot = (
        model.simulate(X, times, observe=True, packed=True, random_state=1)[::64]
        for model in (MODEL, Ising(2.6, 0.15, 0.9))
    )
    for j in range(2):
        for k in range(2):
            assert stats.ks_2samp(slow[:, j, k], fast[:, j, k]).pvalue > PASS
        assert stats.ks_2samp(slow[:, j, 1], hot[:, j, 1]).pvalue < FAIL


def test_the_result_does_not_depend_on_the_workers():
    X, times = start_spins((150, 6, 10)), [0.0, 0.5, 2.0]
    one = MODEL.simulate(X, times, packed=True, random_state=3)
    np.testing.assert_array_equal(one[:, 0], X)
    assert one.shape == (150, 3, 6, 10)
    assert one.dtype == np.int8
    for jobs in (2, 3):
        two = MODEL.simulate(X, times, packed=True, random_state=3, n_jobs=jobs)
        np.testing.assert_array_equal(one, two)
    seen = MODEL.simulate(X, times, packed=True, observe=True, random_state=3)
    expected = np.array([MODEL.observe(one[:, j]) for j in range(3)]).swapaxes(0, 1)
    np.testing.assert_allclose(seen, expected, rtol=1e-13, atol=1e-15)
    block = MODEL.simulate(X[:64], times, packed=True, random_state=3)
    np.testing.assert_array_equal(block, one[:64])
    assert not np.array_equal(block, MODEL.simulate(X[:64], times, random_state=3))


@pytest.mark.parametrize("model", [Ising(boundary="open"), Ising(kind="cubic"), LinearChain()])
def test_others_are_refused(model):
    X = model.sample_initial(2, 4, random_state=0)
    with pytest.raises(ValueError, match=f"for packed=True, but got {type(model).__name__}"):
        model.simulate(X, [1.0], packed=True)
