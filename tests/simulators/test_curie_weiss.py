"""Curie-Weiss: exact in law, shown against the birth-and-death chain of the magnetisation.

Thresholds PASS and FAIL: see tests/naive.py.
"""

import numpy as np
import pytest
from scipy import sparse, special, stats

from sklmacro.simulators import CurieWeiss
from sklmacro.simulators.curie_weiss import _rates
from tests import naive
from tests.naive import FAIL, PASS
from tests.problems import fixed_rng

MODEL = {"temperature": 1.2, "field": 0.1, "coupling": 1.1}


def levels(model, n, m, outside):
    """Generator on the number k = 0 ... m of up spins among m that move, S = 2 k - m + outside."""
    S = 2.0 * np.arange(m + 1) - m + outside
    H = -model.coupling * S**2 / (2 * n) - model.field * S
    rise = np.arange(m, 0, -1) / (1 + np.exp(np.diff(H) / model.temperature))
    fall = np.arange(1, m + 1) / (1 + np.exp(-np.diff(H) / model.temperature))
    Q = sparse.diags_array([rise, fall], offsets=[1, -1]).tocsr()
    return Q - sparse.diags_array(Q.sum(axis=1))


def equilibrium(n, temperature, field, coupling):
    """P(k up of n), proportional to C(n, k) exp(-H / T)."""
    k = np.arange(n + 1)
    S = 2 * k - n
    H = -coupling * S**2 / (2 * n) - field * S
    weight = np.log(special.comb(n, k)) - H / temperature
    return np.exp(weight - weight.max())


def start_of(shape, n_up, seed=0):
    x = np.full(int(np.prod(shape)), -1, np.int8)
    x[:n_up] = 1
    return fixed_rng(seed).permutation(x).reshape(shape)


def many(x, n):
    return np.broadcast_to(x, (n, *x.shape))


def ups(X):
    return (X > 0).sum(axis=(1, 2))


@pytest.mark.statistical
@pytest.mark.parametrize("shape", [(4, 4), (5, 7), (1, 3)])
def test_magnetisation_has_the_boltzmann_law(shape):
    model, n, size = CurieWeiss(**MODEL), 20_000, int(np.prod(shape))
    X = model.sample_initial(n, shape, random_state=0)
    X, _ = model.advance(X, duration=60.0, random_state=1)
    counts = np.bincount(ups(X), minlength=size + 1)
    assert naive.pearson(counts, equilibrium(size, **MODEL)) > PASS
    assert naive.pearson(counts, equilibrium(size, **{**MODEL, "temperature": 1.5})) < FAIL


@pytest.mark.statistical
def test_events_weighted_by_their_waiting_time_have_the_boltzmann_law():
    model, n, size = CurieWeiss(**MODEL), 20_000, 20
    X = model.sample_initial(n, (4, 5), random_state=0)
    X = np.concatenate(
        [
            model.advance(X[X_up % 2 == parity], n_events=300 + parity, random_state=2)[0]
            for X_up in [ups(X)]
            for parity in (0, 1)
        ]
    )
    # An even start has made an even number of events, an odd one an odd number: all are even now.
    assert (ups(X) % 2 == 0).all()
    law = equilibrium(size, **MODEL)
    visits = law * -levels(model, size, size, 0).diagonal() * (np.arange(size + 1) % 2 == 0)
    counts = np.bincount(ups(X), minlength=size + 1)
    assert naive.pearson(counts, visits) > PASS
    assert naive.pearson(counts, law * (np.arange(size + 1) % 2 == 0)) < FAIL


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("shape", "n_up", "window"),
    [
        ((4, 4), 5, None),
        ((3, 7), 17, None),
        ((6, 5), 20, ((1, 2), (3, 2))),
        ((6, 5), 9, ((5, 4), (2, 3))),
        ((4, 4), 4, ((3, 0), (1, 1))),
    ],
)
def test_law_after_a_time_and_after_events(shape, n_up, window):
    model, x, n = CurieWeiss(**MODEL), start_of(shape, n_up), 10_000
    inside = model.lattice(shape).window(*(window or ((0, 0), shape)))
    size, outside = x[inside].size, int(x.sum()) - int(x[inside].sum())
    Q, start = levels(model, x.size, size, outside), int((x[inside] > 0).sum())

    X, elapsed = model.advance(many(x, n), duration=0.6, window=window, random_state=3)
    assert (elapsed == 0.6).all()
    counts = np.bincount(ups(X[(slice(None), *inside)]), minlength=size + 1)
    assert naive.pearson(counts, naive.law_at(Q, start, 0.6)) > PASS
    assert naive.pearson(counts, naive.law_at(Q, start, 0.8)) < FAIL

    times = np.array([0.4, 1.1]) * 5 / -Q.diagonal()[start]
    Y, elapsed = model.advance(many(x, n), n_events=5, window=window, random_state=4)
    cells = np.searchsorted(times, elapsed) * (size + 1) + ups(Y[(slice(None), *inside)])
    counts = np.bincount(cells, minlength=3 * (size + 1))
    law = naive.law_of_events(Q, start, 5, times)
    assert naive.pearson(counts, law.ravel()) > PASS
    late = naive.law_of_events(Q, start, 5, 1.2 * times)
    assert naive.pearson(counts, late.ravel()) < FAIL

    for changed in (X, Y):
        changed[(slice(None), *inside)] = x[inside]
        assert (changed == x).all()  # the outside is frozen


@pytest.mark.statistical
@pytest.mark.parametrize("how", [{"n_events": 6}, {"duration": 0.5}], ids=["events", "time"])
def test_states_agree_with_their_slow_twin(how):
    # Beyond the magnetisation: which spins are up. 2 x 3 spins have 64 states.
    model, x, n = CurieWeiss(**MODEL), start_of((2, 3), 2), 1500
    rng = np.random.default_rng(5)

    def energy(X):
        return naive.curie_weiss_energy(X, MODEL["coupling"], MODEL["field"])

    slow = [naive.glauber(x, energy, MODEL["temperature"], rng, **how) for _ in range(n)]
    fast, times = model.advance(many(x, 10 * n), **how, random_state=6)
    slow_numbers = naive.spin_numbers(np.array([s for s, _ in slow]))
    fast_numbers = naive.spin_numbers(fast)
    assert naive.two_samples(slow_numbers, fast_numbers) > PASS
    assert naive.two_samples(slow_numbers, naive.spin_numbers(fast[:, ::-1])) < FAIL
    if "n_events" in how:
        slow_times = np.array([t for _, t in slow])
        assert stats.ks_2samp(slow_times, times).pvalue > PASS
        assert stats.ks_2samp(slow_times, 1.3 * times).pvalue < FAIL
    # The twin's generator gives the law exactly.
    Q = naive.glauber_generator(energy(naive.spin_states((2, 3))), MODEL["temperature"])
    start = int(naive.spin_numbers(x[np.newaxis])[0])
    law = (
        naive.law_at(Q, start, how["duration"])
        if "duration" in how
        else naive.law_of_events(Q, start, how["n_events"], []).sum(axis=0)
    )
    assert naive.pearson(np.bincount(fast_numbers, minlength=64), law) > PASS


@pytest.mark.parametrize("temperature", [0.02, 0.9, 30.0])
def test_rates_obey_detailed_balance(temperature):
    model, n = CurieWeiss(temperature, 0.2, 0.8), 12
    rates, _ = _rates(n, model.temperature, model.field, model.coupling)
    for n_up in range(n + 1):
        x = start_of((3, 4), n_up)
        costs = naive.flip_costs(x, lambda X: naive.curie_weiss_energy(X, 0.8, 0.2))
        others = (int(x.sum()) - x + n - 1) // 2
        there, back = rates[others, (x > 0).astype(int)], rates[others, (x < 0).astype(int)]
        np.testing.assert_allclose(there, 1 / (1 + np.exp(costs / temperature)), rtol=1e-10)
        np.testing.assert_allclose(there / back, np.exp(-costs / temperature), rtol=1e-10)
        wrong = -costs / (1.01 * temperature)
        assert not np.allclose(np.log(there / back), wrong, rtol=1e-3, atol=0)


def test_the_observable_is_the_magnetisation():
    X = CurieWeiss().sample_initial(5, (3, 4), random_state=0)
    np.testing.assert_allclose(CurieWeiss().observe(X)[:, 0], X.mean(axis=(1, 2)), rtol=1e-14)
    x = X[0]
    assert CurieWeiss().observe_window(x, ((2, 3), (2, 2))) == pytest.approx(
        x[np.ix_([2, 0], [3, 0])].mean()
    )


@pytest.mark.statistical
def test_initial_magnetisation_is_uniform():
    counts = np.bincount(ups(CurieWeiss().sample_initial(10_000, (2, 3), random_state=0)))
    assert naive.pearson(counts, np.ones(7)) > PASS


def test_frozen_spins_have_no_events():
    X = np.ones((1, 4, 4), np.int8)
    with pytest.raises(ValueError, match="some spin can flip, but got one whose rates all vanish"):
        CurieWeiss(temperature=1e-3).advance(X, n_events=1, random_state=0)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"temperature": -1.0}, r"Expected temperature to be .* 0 < temperature, but got -1\.0"),
        ({"field": np.nan}, "Expected field to be a finite real number, but got nan"),
        ({"coupling": None}, "Expected coupling to be a finite real number, but got None"),
    ],
)
def test_wrong_parameters_are_refused(parameters, text):
    with pytest.raises(ValueError, match=text):
        CurieWeiss(**parameters).advance(np.ones((1, 4, 4)), duration=1.0)
