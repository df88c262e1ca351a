"""Stationary measures against a two-state Markov chain of known rate, and known laws."""

import numpy as np
import pytest
from scipy.linalg import solve_banded
from scipy.stats import binom, chi2

from sklmacro import PatchSDERegressor, Polynomial
from sklmacro.pairs import latent_pairs
from sklmacro.scoring import (
    autocorrelation_time,
    passage_time,
    reversal_time,
    stationary_density,
    wasserstein,
)

DT, P = 0.5, 0.02  # a chain of +-1 that changes sign with probability P every DT
MEAN = DT / P


def chain(n_paths, n_times, seed):
    rng = np.random.default_rng(seed)
    flips = rng.random((n_paths, n_times)) < P
    flips[:, 0] = rng.random(n_paths) < 0.5
    return 1 - 2 * (flips.cumsum(axis=1) % 2)


def test_reversals_of_known_paths():
    paths = [
        [0.0, 0.5, 0.2, -0.2, 0.2, -0.3, 0.0, 0.3, 0.1],  # up at 1, down at 5, up at 7
        [-0.9, -0.1, 0.29, -0.29, 0.29, -0.5, 0.2, 0.2, 0.2],  # down from 0 to the end
        [0.1] * 9,  # never in either state
    ]
    result = reversal_time(paths, 2.0)
    assert result.value == pytest.approx(2 * (7 + 8) / 2)
    residuals = np.array([14 - 15 * 2, 16, 0])
    assert result.error == pytest.approx(np.sqrt(3 / 2 * (residuals**2).sum()) / 2)
    assert reversal_time(np.negative(paths), 2.0) == result
    never = reversal_time(paths[1:], 2.0)
    assert (never.value, never.error) == (np.inf, np.inf)


@pytest.mark.statistical
def test_reversal_time_of_a_chain_and_its_error_bar():
    """Short paths, most of which are cut off before they reverse, for 400 repetitions."""
    n = 400
    result = [reversal_time(chain(100, 40, seed), DT) for seed in range(n)]
    # The rate is what the counts estimate without bias; its error follows by the delta rule.
    scores = np.array([(1 / f.value - 1 / MEAN) / (f.error / f.value**2) for f in result])
    low, high = binom.interval(1 - 1e-5, n, 0.95)
    assert low <= (np.abs(scores) < 1.96).sum() <= high
    assert not low <= (np.abs(scores) < 1.2).sum() <= high  # negative control: bars too short
    assert np.mean([1 / f.value for f in result]) == pytest.approx(
        1 / MEAN, abs=5 * np.std(scores) * np.mean([f.error / f.value**2 for f in result]) / n**0.5
    )
    # Negative control: completed times alone are too short.
    ends = [np.flatnonzero(np.diff(path)) for path in chain(2000, 40, 0)]
    completed = DT * np.concatenate([np.diff(np.r_[-1, e]) for e in ends])
    assert completed.mean() < 0.7 * MEAN


@pytest.mark.statistical
def test_hysteresis_leaves_out_what_is_noise():
    paths = 0.7 * chain(50, 2000, 1) + 0.25 * np.random.default_rng(2).normal(size=(50, 2000))
    rough = reversal_time(paths, DT, threshold=1e-9)
    firm = reversal_time(paths, DT, threshold=0.6)
    assert abs(firm.value - MEAN) < 0.1 * MEAN  # noise beyond 0.6 on the other side: 1e-7 a step
    assert abs(firm.value - MEAN) < 5 * firm.error
    assert rough.value < MEAN - 4 * rough.error


@pytest.mark.statistical
def test_autocorrelation_time_of_a_chain():
    """C(k) = (1 - 2 P)^k, so that the sum is (1 - P) / (2 P)."""
    exact = DT * (1 - P) / (2 * P)
    result = np.array([autocorrelation_time(chain(40, 2000, seed), DT) for seed in range(40)])
    # Sokal's variance 2 (2 W + 1) tau^2 / n for the window W, and his bias of exp(-WINDOW)
    steps = exact / DT
    relative = np.sqrt(2 * (2 * 5 * steps + 1) / (40 * 2000))
    scores = (result / exact - 1 + np.exp(-5)) / relative
    assert abs(scores.mean()) < 5 / np.sqrt(40)
    assert (scores**2).sum() < chi2(40).ppf(1 - 1e-6)
    slower = np.repeat(chain(40, 2000, 0), 4, axis=1)
    assert autocorrelation_time(slower, DT) > exact * 1.5  # negative control
    white = np.random.default_rng(0).normal(size=(20, 5000))
    assert autocorrelation_time(white, 1.0) == pytest.approx(0.5, abs=0.03)  # 5 standard errors


@pytest.mark.statistical
def test_wasserstein_distance_of_known_laws():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 200))
    assert wasserstein(x, x.T) == 0
    assert wasserstein(x, 3 * x + 1) > 1
    assert wasserstein(x, x + 0.5) == pytest.approx(0.5)
    # Of N(0, 1) and N(0, s^2): |s - 1| sqrt(2 / pi)
    assert wasserstein(x, 2 * rng.normal(size=20_000)) == pytest.approx(0.798, abs=0.05)
    assert wasserstein([-1, 1], [1]) == 1


class DoubleWell:
    """dz = c 4 a z (1 - z^2) dt + sqrt(c (1 + z^2 / 2)) dB."""

    n_state_ = 1

    def __init__(self, a=1.0, c=1.0):
        self.a, self.c = a, c

    def drift(self, z, context=None):
        return self.c * 4 * self.a * z * (1 - z**2)

    def diffusion(self, z, context=None):
        return self.c * (1 + z**2 / 2)[:, :, None]


GRID = np.linspace(-2.5, 2.5, 2001)


def test_passage_time_solves_the_backward_equation():
    """mu t' + Sigma t'' / 2 = -1 with t' = 0 at the wall and t = 0 at the end, by differences."""
    sde, z, stop = DoubleWell(), np.linspace(-2.5, 0.5, 3001), 0.5
    h, mu, sigma = z[1] - z[0], sde.drift(z), sde.diffusion(z[:, None])[:, 0, 0]
    A = np.zeros((3, len(z)))  # in bands: above, on and below the diagonal
    A[0, 1:] = (mu / (2 * h) + sigma / (2 * h**2))[:-1]
    A[1] = -sigma / h**2
    A[2, :-1] = (-mu / (2 * h) + sigma / (2 * h**2))[1:]
    A[0, 1], A[1, 0] = 1.0, -1.0  # the wall: t_0 = t_1
    A[1, -1], A[2, -2] = 1.0, 0.0
    right = np.full(len(z), -1.0)
    right[0] = right[-1] = 0.0
    times = solve_banded((1, 1), A, right)
    result = passage_time(sde, GRID, -0.5, stop)
    assert result == pytest.approx(np.interp(-0.5, z, times), rel=3e-3)
    assert passage_time(DoubleWell(c=0.5), GRID, -0.5, stop) == pytest.approx(2 * result)
    assert passage_time(DoubleWell(a=1.2), GRID, -0.5, stop) > 1.2 * result  # negative control


@pytest.mark.statistical
def test_passage_and_reversal_times_agree():
    sde, rng, dt = DoubleWell(), np.random.default_rng(0), 1e-3
    z, path = np.tile([1.0, -1.0], 500), []
    for step in range(30_000):
        noise = np.sqrt(sde.diffusion(z[:, None])[:, 0, 0] * dt) * rng.standard_normal(len(z))
        z = z + sde.drift(z) * dt + noise
        if step % 10 == 0:
            path.append(z)
    measured = reversal_time(np.transpose(path), 10 * dt, threshold=0.5)
    # Crossings between records are missed, as if the threshold were 0.5826 of a step's standard
    # deviation further out (M. Broadie, P. Glasserman and S. Kou, Math. Finance 7, 325 (1997)).
    end = 0.5 + 0.5826 * np.sqrt(1.125 * 10 * dt)
    expected = passage_time(sde, GRID, -end, end)
    assert abs(measured.value - expected) < 5 * measured.error < 0.1 * expected
    assert passage_time(DoubleWell(a=1000.0), GRID, -0.5, 0.5) == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: passage_time(DoubleWell(), GRID, 0.5, -0.5), r"start < stop within the grid"),
        (lambda: passage_time(DoubleWell(), GRID, -0.5, 3.0), r"-2.5 to 2.5, but got -0.5 and 3"),
        (lambda: wasserstein([], [1.0]), "values x, but got none; pass"),
        (lambda: wasserstein([np.nan], [1.0]), "finite x"),
        (lambda: reversal_time(np.zeros((2, 3, 1)), 1.0), r"one component of shape .* \(2, 3, 1\)"),
        (lambda: reversal_time(np.zeros((2, 3)), 0.0), "dt to be a finite real number"),
        (lambda: reversal_time(np.zeros((2, 3)), 1.0, threshold=0), "threshold to be a finite"),
        (lambda: autocorrelation_time(np.ones((2, 3)), 1.0), "paths that vary"),
        (lambda: autocorrelation_time([[1, 1, 1], [-1, -1, -1]], 1.0), "use longer paths"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_density_of_one_component_is_that_of_fokker_planck():
    """An OU process is Gaussian; with Sigma = 1 + z^2 and mu = -a z, p ~ (1 + z^2)^(-1 - a)."""

    class Exact:
        n_state_ = 1

        def __init__(self, sigma):
            self.sigma = sigma

        def drift(self, z, context):
            return -2.0 * z

        def diffusion(self, z, context):
            return self.sigma(z)[:, :, None]

    z = np.linspace(-8, 8, 4001)
    result = stationary_density(Exact(lambda z: 0 * z + 0.5), z)
    np.testing.assert_allclose(result, np.exp(-4 * z**2) * np.sqrt(4 / np.pi), atol=1e-5)
    heavy = (1 + z**2) ** -3.0
    result = stationary_density(Exact(lambda z: 1 + z**2), z)
    np.testing.assert_allclose(result, heavy / np.trapezoid(heavy, z), rtol=1e-4)


def test_density_of_a_fitted_sde_and_what_it_refuses():
    z = np.random.default_rng(0).normal(size=(500, 1))
    pairs = latent_pairs(z, -z, 1.0, cov=np.full((500, 1, 1), 2.0))
    sde = PatchSDERegressor(drift_model=Polynomial(degree=3)).fit(pairs)
    grid = np.linspace(-2, 2, 401)
    normal = np.exp(-(grid**2) / 2)
    np.testing.assert_allclose(
        stationary_density(sde, grid), normal / np.trapezoid(normal, grid), rtol=1e-4
    )
    with pytest.raises(ValueError, match=r"at least 2 increasing values, but got one of shape"):
        stationary_density(sde, grid[::-1])
    sde.n_state_ = 2
    with pytest.raises(ValueError, match="one component, but got one of 2; simulate"):
        stationary_density(sde, grid)
