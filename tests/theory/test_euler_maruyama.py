"""Paths of dz = mu dt + Sigma^1/2 dB, Eq. 4, in Euler-Maruyama steps.

Geometric Brownian motion, dz = a z dt + b z dB, and the Ornstein-Uhlenbeck process are solved
exactly by their Brownian paths; the orders 1/2 and 1 are those of Kloeden and Platen (1992),
Sec. 10.2.

Thresholds PASS and FAIL: see tests/naive.py.
"""

import numpy as np
import pytest
from sklearn.base import clone

from sklmacro.sde.path_record import PathRecord
from sklmacro.sde.rollout import Steps, advance_by_calls
from tests import naive
from tests.naive import FAIL, PASS
from tests.problems import exact_pairs
from tests.theory.sdes import SDES


@pytest.mark.statistical
@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")
@pytest.mark.parametrize("name", SDES)
def test_increments_of_paths_are_those_of_the_sde(name):
    """(dz - mu dt) of every step is N(0, Sigma dt), mu and Sigma taken where the step begins."""
    model, dt = clone(SDES[name]).fit(exact_pairs(n=200)[0]), 0.2
    z = model.simulate([0.6, -0.4], 10, dt, n_paths=1000, random_state=0)
    before, dz = z[:, :-1].reshape(-1, 2), np.diff(z, axis=1).reshape(-1, 2)
    mu, Sigma = model.drift(before), model.diffusion(before)
    spread = np.sqrt(np.einsum("nii->ni", Sigma))

    def p_values(dt, mu, Sigma, n_columns=2):
        noise = np.linalg.solve(np.linalg.cholesky(Sigma * dt), (dz - mu * dt)[..., np.newaxis])
        return naive.gaussian(noise.reshape(-1, n_columns), np.zeros(n_columns), np.eye(n_columns))

    assert min(p_values(dt, mu, Sigma)) > PASS
    assert min(p_values(dt, mu, Sigma, n_columns=20)) > PASS  # ten steps of a path: independent
    assert p_values(dt, mu + 0.3 * spread, Sigma)[0] < FAIL  # negative controls: another drift,
    assert p_values(dt, mu, 1.1 * Sigma)[1] < FAIL  # another diffusion


def mean_errors(coefficients, solution, n_steps, n_paths=1000, z0=1.0):
    """Mean distance from the solution at time 1, for the same Brownian paths cut into steps."""
    finest = max(n_steps)
    dB = np.random.default_rng(0).normal(scale=finest**-0.5, size=(n_paths, finest, 1))
    expected, errors = solution(z0, dB[..., 0]), []
    for n in n_steps:
        z, paths = np.full((n_paths, 1), z0), np.empty((n_paths, 2, 1))
        contacts = PathRecord.of(n_paths, 1, 2, 1.0).contacts()
        noise = dB.reshape(n_paths, n, -1, 1).sum(axis=2)
        advance_by_calls(coefficients, z, noise, Steps.of(1 / n, (), 1, n), 0, paths, contacts)
        errors.append(np.abs(paths[:, 1, 0] - expected).mean())
    return errors


def geometric(z):
    return -0.5 * z, z[..., np.newaxis]


def of_geometric(z0, dB):
    return z0 * np.exp(-1.0 + dB.sum(axis=1))


def ornstein_uhlenbeck(z):
    return -z, np.full((len(z), 1, 1), 0.5)


def of_ornstein_uhlenbeck(z0, dB):
    """Solution for noise that is spread evenly over its interval, the finest of all."""
    decay = np.exp(-np.arange(dB.shape[1], -1, -1) / dB.shape[1])
    return decay[0] * z0 + 0.5 * dB @ np.diff(decay) * dB.shape[1]


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("coefficients", "solution", "order"),
    [(geometric, of_geometric, 0.5), (ornstein_uhlenbeck, of_ornstein_uhlenbeck, 1.0)],
)
def test_strong_order(coefficients, solution, order):
    """0.53(2) and 1.005(10) over 20 seeds."""
    n_steps = [32, 64, 128, 256, 4096]
    errors = mean_errors(coefficients, solution, n_steps)[:-1]
    slope = -np.polyfit(np.log(n_steps[:-1]), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)

    def other(z):
        drift, factor = coefficients(z)
        return drift - 0.2 * z, factor

    wrong = mean_errors(other, solution, n_steps)[:-1]
    assert wrong[-1] > 0.5 * wrong[0]  # negative control: another drift does not converge
