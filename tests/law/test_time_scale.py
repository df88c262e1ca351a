"""The factor on time: recovered within its error, and 1 where nothing is slower.

dz = -z dt + sqrt(2) s dB,     a run that is slower by c is z(c t)
"""

import numpy as np
import pytest

from sklmacro import PatchSDERegressor
from sklmacro.law.time_scale import N_PATHS, Runs, TimeFactor, estimate_time_factor, factor_at
from sklmacro.pairs import latent_pairs

N, T, DT, S = 16, 1.0, 0.05, 0.1
N_SEEDS = 60


def ou(z0, times, rng, rate=1.0):
    """Exact paths (..., n_times) from z0 (...) at equally spaced times from 0."""
    z, step = [z0], np.exp(-rate * times[1])
    for _ in times[1:]:
        z.append(step * z[-1] + S * np.sqrt(1 - step**2) * rng.standard_normal(z0.shape))
    return np.stack(z, axis=-1)


def estimates(c, n_seeds=N_SEEDS, t=T):
    """Factors, errors and gains (n_seeds, 3) of runs of two components."""
    found = []
    for seed in range(n_seeds):
        rng = np.random.default_rng([seed, round(100 * c)])
        z0 = rng.uniform(-1, 1, (N, 2))
        times = np.arange(round(1.5 * T / DT) + 1) * DT * t
        paths = ou(np.repeat(z0[:, None], N_PATHS, axis=1), times, rng).swapaxes(2, 3)
        y = ou(z0, np.array([0.0, c * t]), rng)[..., -1] - z0
        found.append(factor_at(y, paths, DT * t, t))
    return np.array(found)


def as_factor(found):
    return TimeFactor((T,), *((float(value),) for value in found))


@pytest.mark.statistical
def test_a_slower_run_is_recovered_within_its_error():
    factors, errors, _ = (found := estimates(0.4)).T
    deviations = (factors - 0.4) / errors
    assert abs(deviations.mean()) < 4.5 / np.sqrt(N_SEEDS)
    assert 0.6 < np.sqrt(np.mean(deviations**2)) < 1.6
    assert all(as_factor(one).in_use == one[0] for one in found)


@pytest.mark.statistical
def test_a_run_that_is_not_slower_leaves_time_as_it_is():
    factors, errors, _ = (found := estimates(1.0, 4 * N_SEEDS)).T
    assert abs(np.mean((factors - 1) / errors)) < 4.5 / np.sqrt(4 * N_SEEDS)
    assert all(as_factor(one).in_use == 1 for one in found)


@pytest.mark.statistical
def test_runs_that_have_come_to_rest_say_nothing():
    assert all(as_factor(one).in_use == 1 for one in estimates(1.0, t=8.0))


def test_a_factor_of_chance_is_not_in_use():
    assert TimeFactor((4.0, 16.0), (0.5, 0.8), (0.01, 0.05), (1e3, 1e3)).in_use == 1.0
    assert TimeFactor((4.0, 16.0), (0.9, 0.8), (0.01, 0.01), (1e3, 20.0)).in_use == 1.0
    assert TimeFactor((4.0, 16.0), (1.0, 0.8), (0.01, 0.01), (0.0, 1e3)).in_use == 0.8


@pytest.mark.statistical
def test_a_fitted_law_is_compared_with_runs_at_all_times():
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 1, (200, 1))
    pairs = latent_pairs(z, -0.1 * z, 0.1, cov=np.full((200, 1, 1), 0.1 * 2 * S**2), group=0)
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant").fit(pairs)
    z0, times, c = rng.uniform(-1, 1, (40, 1)), np.array([0.5, 2.0]), 0.4
    y = ou(z0[:, 0], np.arange(5) * c * 0.5, rng)[:, [1, 4], None] - z0[:, None]
    runs = Runs(z0, y, np.empty((40, 0)), 0.0)
    factor = estimate_time_factor(runs, times, sde, 0.02, 0)
    assert factor.times == (0.5, 2.0)
    assert factor.factors == pytest.approx([c, c], abs=0.15)  # at most 0.07 off in 12 seeds
    joined = runs.join(runs)
    assert joined.y.shape == (80, 2, 1)
