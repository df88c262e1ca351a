"""Linear chain: the exact Gaussian transition against matrix exponentials and plain Euler steps.

Thresholds PASS and FAIL: see tests/naive.py.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from sklmacro.simulators import LinearChain
from sklmacro.simulators.linear_chain import _affine_step
from tests import naive
from tests.naive import FAIL, PASS

MODELS = {
    "default": {},
    "no friction": {"gamma": 0.0, "force": -2.0},
    "no coupling": {"kappa": 0.0, "gamma": 0.4},
    "a walk": {"gamma": 0.0, "kappa": 0.0},
    "stiff": {"gamma": 1e-3, "kappa": 4.0, "sigma": 0.3},
}


def drift_of(model, n, window=None, x=None):
    """Matrix A and push b of dx = (A x + b) dt + sigma dW on a window, from the plain step."""
    start, extent = window or (0, n)
    x = np.zeros(n) if x is None else x

    def drift(inside):
        state = x.copy()
        state[start : start + extent] = inside
        after = naive.linear_chain_step(
            state, 1.0, np.zeros(n), model.gamma, model.kappa, model.force, 0.0
        )
        return (after - state)[start : start + extent]

    b = drift(np.zeros(extent))
    return np.column_stack([drift(e) - b for e in np.eye(extent)]), b


def van_loan(A, b, sigma, t):
    """exp(A t), integral of exp(A s) b and covariance (C. Van Loan, IEEE TAC 23, 395 (1978))."""
    n = len(A)
    affine = expm(np.block([[A, b[:, np.newaxis]], [np.zeros((1, n + 1))]]) * t)
    block = expm(np.block([[-A, sigma**2 * np.eye(n)], [np.zeros((n, n)), A.T]]) * t)
    return affine[:n, :n], affine[:n, n], block[n:, n:].T @ block[:n, n:]


@pytest.mark.parametrize("parameters", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("t", [1e-3, 0.3])
def test_transition_is_the_matrix_exponential(parameters, n, t):
    model = LinearChain(**parameters)
    A, b = drift_of(model, n)
    parts = model.transition(n, t)
    for part, expected in zip(parts, van_loan(A, b, model.sigma, t), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())
    assert not np.allclose(parts[2], van_loan(A, b, model.sigma, 1.01 * t)[2], rtol=1e-3)


def test_transition_solves_the_moment_equations():
    model, n, t = LinearChain(gamma=0.3, kappa=0.8, sigma=0.7), 4, 1.3
    A, b = drift_of(model, n)
    x = np.array([3.0, -1.0, 0.5, 2.0])

    def moments(_, y):
        mean, P = y[:n], y[n:].reshape(n, n)
        return np.concatenate([A @ mean + b, (A @ P + P @ A.T + 0.49 * np.eye(n)).ravel()])

    start = np.concatenate([x, np.zeros(n * n)])
    y = solve_ivp(moments, (0, t), start, rtol=1e-10, atol=1e-12).y[:, -1]
    matrix, offset, covariance = model.transition(n, t)
    np.testing.assert_allclose(matrix @ x + offset, y[:n], rtol=1e-7)
    np.testing.assert_allclose(covariance, y[n:].reshape(n, n), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("parameters", MODELS.values(), ids=MODELS.keys())
def test_two_steps_are_one_step(parameters):
    model, n = LinearChain(**parameters), 6
    (M1, c1, P1), (M2, c2, P2) = model.transition(n, 0.2), model.transition(n, 0.5)
    M, c, P = model.transition(n, 0.7)
    np.testing.assert_allclose(M2 @ M1, M, atol=1e-12)
    np.testing.assert_allclose(M2 @ c1 + c2, c, atol=1e-11)
    np.testing.assert_allclose(M2 @ P1 @ M2.T + P2, P, atol=1e-12)


@pytest.mark.parametrize("n", [1, 5, 12])
def test_the_mean_is_closed(n):
    # dm = (-gamma m + F / N) dt + sigma / sqrt(N) dB, an Ornstein-Uhlenbeck process.
    gamma, force, sigma, t = 0.3, 15.0, 1.2, 0.9
    matrix, offset, covariance = LinearChain(gamma, 1.7, force, sigma).transition(n, t)
    decay = np.exp(-gamma * t)
    np.testing.assert_allclose(matrix.mean(axis=0), decay / n, rtol=1e-12)
    assert offset.mean() == pytest.approx(force / n * (1 - decay) / gamma, rel=1e-12)
    variance = sigma**2 / n * (1 - decay**2) / (2 * gamma)
    assert covariance.mean() == pytest.approx(variance, rel=1e-12)


def test_drift_and_diffusion_of_the_mean_at_short_times():
    model, n, t = LinearChain(), 8, 1e-6
    matrix, offset, covariance = model.transition(n, t)
    assert (n * matrix.mean(axis=0) - 1) / t == pytest.approx(-model.gamma, rel=1e-3)
    assert offset.mean() / t == pytest.approx(model.force / n, rel=1e-5)
    assert covariance.mean() / t == pytest.approx(model.sigma**2 / n, rel=1e-5)


@pytest.mark.statistical
def test_moments_of_advance():
    model, n, t = LinearChain(sigma=0.8), 6, 0.4
    x = np.linspace(2.0, -1.0, n)
    X, elapsed = model.advance(np.broadcast_to(x, (20_000, n)), duration=t, random_state=0)
    assert (elapsed == t).all()
    matrix, offset, covariance = model.transition(n, t)
    mean = matrix @ x + offset
    assert min(naive.gaussian(X, mean, covariance)) > PASS
    assert naive.gaussian(X, mean + 0.03, covariance)[0] < FAIL
    assert naive.gaussian(X, mean, 1.06 * covariance)[1] < FAIL
    uncorrelated = np.diag(np.diag(covariance))
    assert naive.gaussian(X, mean, uncorrelated)[1] < FAIL


@pytest.mark.statistical
def test_successive_times_of_a_trajectory():
    # Joint law of (X(0.2), X(0.5)): the second given the first is one more transition.
    model, n = LinearChain(gamma=0.5, force=3.0), 3
    x = np.array([1.0, 0.0, -1.0])
    paths = model.simulate(np.broadcast_to(x, (20_000, n)), [0.0, 0.2, 0.5], random_state=1)
    assert (paths[:, 0] == x).all()
    M, c, P = model.transition(n, 0.3)
    assert min(naive.gaussian(paths[:, 2] - paths[:, 1] @ M.T, c, P)) > PASS
    first = model.transition(n, 0.2)
    assert min(naive.gaussian(paths[:, 1], first[0] @ x + first[1], first[2])) > PASS
    left = (paths[:, 1] - first[0] @ x - first[1]) @ np.linalg.inv(np.linalg.cholesky(first[2])).T
    right = (paths[:, 2] - paths[:, 1] @ M.T - c) @ np.linalg.inv(np.linalg.cholesky(P)).T
    both = np.hstack([left, right])  # independent standard normal numbers
    assert min(naive.gaussian(both, np.zeros(6), np.eye(6))) > PASS


@pytest.mark.statistical
@pytest.mark.parametrize(("start", "extent"), [(0, 3), (2, 4), (5, 3), (3, 1), (0, 8)])
def test_windows_among_frozen_neighbours(start, extent):
    model, n, t = LinearChain(gamma=0.2, kappa=1.5, force=4.0, sigma=0.6), 8, 0.5
    x = np.random.default_rng(2).normal(0, 3, n)
    X, _ = model.advance(
        np.broadcast_to(x, (10_000, n)), duration=t, window=((start,), (extent,)), random_state=3
    )
    inside = slice(start, start + extent)
    A, b = drift_of(model, n, (start, extent), x)
    matrix, offset, covariance = van_loan(A, b, model.sigma, t)
    assert min(naive.gaussian(X[:, inside], matrix @ x[inside] + offset, covariance)) > PASS
    others = np.delete(np.arange(n), np.arange(n)[inside])
    assert (X[:, others] == x[others]).all()
    if extent < n:  # neighbours count: without them the mean is another
        alone = LinearChain(0.2, 1.5, 4.0 * (start == 0), 0.6).transition(extent, t)
        assert naive.gaussian(X[:, inside], alone[0] @ x[inside] + alone[1], covariance)[0] < FAIL


@pytest.mark.parametrize(("start", "extent"), [(0, 3), (2, 3), (0, 6)])
def test_window_is_the_limit_of_plain_euler_steps(start, extent):
    model, n, t = LinearChain(gamma=0.2, kappa=1.5, force=4.0, sigma=0.0), 6, 0.5
    x = np.random.default_rng(4).normal(0, 3, n)
    exact = model.advance(x[np.newaxis], duration=t, window=((start,), (extent,)))[0][0]
    errors = []
    for n_steps in (200, 400):
        y = x.copy()
        for _ in range(n_steps):
            after = naive.linear_chain_step(
                y, t / n_steps, np.zeros(n), model.gamma, model.kappa, model.force, 0.0
            )
            y[start : start + extent] = after[start : start + extent]
        errors.append(np.abs(y - exact).max())
    assert errors[0] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)  # of first order, to this limit


def test_kernel_is_its_definition():
    rng = np.random.default_rng(5)
    x, noise = rng.normal(size=(2, 7))
    matrix, response, factor = rng.normal(size=(3, 7, 7))
    push = np.zeros(7)
    push[[0, -1]] = 1.5, -0.5
    expected = matrix @ x + response @ push + factor @ noise
    step = _affine_step(x, 1.5, -0.5, matrix, response, factor, noise)
    np.testing.assert_allclose(step, expected, rtol=1e-13, atol=1e-13)
    alone = _affine_step(x[:1], 1.5, -0.5, *(m[:1, :1] for m in (matrix, response, factor)), noise)
    single = matrix[0, 0] * x[0] + response[0, 0] * 1.0 + factor[0, 0] * noise[0]
    assert alone[0] == pytest.approx(single)


@pytest.mark.statistical
def test_observable_and_initial_snapshots():
    model = LinearChain(initial_spread=5.0)
    X = model.sample_initial(20_000, 4, random_state=0)
    np.testing.assert_allclose(model.observe(X)[:, 0], X.mean(axis=1), rtol=1e-12, atol=1e-14)
    shared = 25 / 3  # variance of U(-5, 5)
    products = np.cov(X.T)
    np.testing.assert_allclose(products, shared + np.eye(4), rtol=0.05)
    assert np.abs(X.mean(axis=1)).max() < 5 + 6 / np.sqrt(4)


def test_no_events():
    with pytest.raises(ValueError, match="Expected a duration for LinearChain, but got n_events=3"):
        LinearChain().advance(np.zeros((1, 5)), n_events=3)


@pytest.mark.parametrize("name", ["gamma", "kappa", "sigma", "initial_spread"])
def test_wrong_parameters_are_refused(name):
    with pytest.raises(ValueError, match=f"Expected {name} to be .* 0 <= {name}, but got -1"):
        LinearChain(**{name: -1}).advance(np.zeros((1, 5)), duration=1.0)
    with pytest.raises(ValueError, match="Expected force to be a finite real number, but got inf"):
        LinearChain(force=np.inf).sample_initial(1, 5)
