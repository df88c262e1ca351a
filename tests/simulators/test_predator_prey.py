"""Predator-prey: the kernel against a plain step, its moments, zero flux, order and stability.

Thresholds PASS and FAIL: see tests/naive.py.
"""

from functools import partial

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sklmacro.lattice.windows import Window
from sklmacro.simulators import Duration, EventCount, Evolution, PredatorPrey
from sklmacro.simulators import predator_prey as module
from tests import naive
from tests.naive import FAIL, PASS


class Recorded:
    """A generator that hands out given normal numbers."""

    def __init__(self, noise):
        self.noise, self.used = noise, 0

    def standard_normal(self, shape):
        first, self.used = self.used, self.used + shape[0]
        assert shape[1:] == self.noise.shape[1:]
        return self.noise[first : self.used]


def step_of(model):
    names = ("a", "b", "c", "sigma_u", "sigma_v", "spacing")
    return partial(naive.predator_prey_step, **{name: getattr(model, name) for name in names})


def state(n, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 0.8, (n, 2))


MODEL = {"a": 2.5, "b": 0.3, "c": 0.7, "sigma_u": 0.05, "sigma_v": 0.08, "spacing": 0.8}


@pytest.mark.parametrize("n", [1, 2, 9])
def test_kernel_is_the_plain_step(n):
    """Eq. 20."""
    model = PredatorPrey(**MODEL, step=0.02)
    x, noise = state(n), np.random.default_rng(1).normal(size=(25, n, 2))
    expected = x.copy()
    for k in range(25):
        expected = step_of(model)(expected, 0.02, noise[k])
    rng = Recorded(noise)
    elapsed = model.advance_window(
        x, model.lattice(x.shape), Evolution(Window((0,), (n,)), EventCount(25), rng)
    )
    assert rng.used == 25
    assert elapsed == pytest.approx(0.5)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-13)
    wrong = step_of(PredatorPrey(**{**MODEL, "a": 2.5 + 1e-6}))(expected, 0.02, noise[0])
    right = step_of(model)(expected, 0.02, noise[0])
    assert np.abs(wrong - right).max() > 1e-11  # what 1e-13 can tell apart


@pytest.mark.parametrize(("start", "extent"), [(0, 4), (3, 4), (6, 4), (5, 1), (0, 10)])
def test_windows_among_frozen_neighbours(start, extent):
    model, x = PredatorPrey(**MODEL, step=0.02), state(10)
    noise = np.random.default_rng(2).normal(size=(30, extent, 2))
    inside, expected, full = slice(start, start + extent), x.copy(), np.zeros((10, 2))
    for k in range(30):
        full[inside] = noise[k]
        expected[inside] = step_of(model)(expected, 0.02, full)[inside]
    before = x.copy()
    window = ((start,), (extent,))
    evolution = Evolution(Window(*window), EventCount(30), Recorded(noise))
    model.advance_window(x, model.lattice(x.shape), evolution)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-13)
    outside = np.delete(np.arange(10), inside)
    assert (x[outside] == before[outside]).all()


def test_noise_in_chunks_is_the_same_noise(monkeypatch):
    model, X = PredatorPrey(), state(6)[np.newaxis]
    whole, _ = model.advance(X, n_events=50, random_state=0)
    monkeypatch.setattr(module, "NOISE_CHUNK", 7 * 12)
    np.testing.assert_array_equal(model.advance(X, n_events=50, random_state=0)[0], whole)
    assert not np.array_equal(model.advance(X, n_events=50, random_state=1)[0], whole)


@pytest.mark.statistical
@pytest.mark.parametrize("step", [0.01, 0.04])
@pytest.mark.parametrize("spacing", [0.5, 2.0])
def test_moments_of_one_step(step, spacing):
    model = PredatorPrey(**{**MODEL, "spacing": spacing}, step=step)
    x, n = state(4), 20_000
    X, elapsed = model.advance(np.broadcast_to(x, (n, 4, 2)), n_events=1, random_state=3)
    assert (elapsed == step).all()
    mean = step_of(model)(x, step, np.zeros((4, 2))).ravel()
    covariance = np.diag(np.tile([0.05**2, 0.08**2], 4)) * step / spacing
    X = X.reshape(n, -1)
    assert min(naive.gaussian(X, mean, covariance)) > PASS
    assert naive.gaussian(X, x.ravel(), covariance)[0] < FAIL  # the drift is seen
    assert naive.gaussian(X, mean, 1.05 * covariance)[1] < FAIL
    assert naive.gaussian(X, mean, covariance * spacing)[1] < FAIL  # as if sigma^2 step


@pytest.mark.statistical
def test_mean_noise_does_not_depend_on_the_spacing():
    # A domain of length 4 in 4 and in 8 cells: the mean of the white noise has one variance.
    variances = []
    for n, spacing in ((4, 1.0), (8, 0.5)):
        model = PredatorPrey(a=0.0, sigma_v=0.1, spacing=spacing, step=0.01)
        X = np.broadcast_to(np.full((n, 2), 0.5), (20_000, n, 2))
        z = model.observe(model.advance(X, n_events=4, random_state=4)[0])
        variances.append(z[:, 1].var())
    expected = 0.1**2 * 0.04 / 4  # sigma^2 t / length
    assert variances == pytest.approx([expected] * 2, rel=0.05)  # 5 standard errors


def test_zero_flux_keeps_the_mean():
    """Eq. 21."""
    model = PredatorPrey(a=0.0, sigma_u=0.0, sigma_v=0.0)
    X = state(12)[np.newaxis]
    X_next, _ = model.advance(X, duration=20.0, random_state=0)
    assert X_next[0, :, 1].mean() == pytest.approx(X[0, :, 1].mean(), abs=1e-14)
    assert X_next[0, :, 1].std() < 0.3 * X[0, :, 1].std()
    # Not so where neighbours outside are frozen: there is a flux through the window's edge.
    inside, _ = model.advance(X, duration=20.0, window=((3,), (6,)), random_state=0)
    assert abs(inside[0, :, 1].mean() - X[0, :, 1].mean()) > 1e-3


def test_a_cosine_decays_at_the_discrete_rate():
    # v_t = v_xx: mode k of a chain of n cells has the eigenvalue -4 sin(pi k / 2 n)^2 / spacing^2.
    n, k, step, spacing = 16, 3, 0.05, 0.7
    model = PredatorPrey(a=0.0, sigma_u=0.0, sigma_v=0.0, spacing=spacing, step=step)
    mode = np.cos(np.pi * k * (np.arange(n) + 0.5) / n)
    X = np.stack([np.zeros(n), 0.5 + 0.1 * mode], axis=-1)[np.newaxis]
    X_next, _ = model.advance(X, n_events=40, random_state=0)
    growth = (1 - step * 4 * np.sin(np.pi * k / (2 * n)) ** 2 / spacing**2) ** 40
    np.testing.assert_allclose(X_next[0, :, 1], 0.5 + 0.1 * growth * mode, atol=1e-13)


def test_deterministic_part_is_of_first_order():
    parameters = {**MODEL, "sigma_u": 0.0, "sigma_v": 0.0, "spacing": 1.0}
    model, x, t = PredatorPrey(**parameters), state(8), 2.0
    flat = solve_ivp(
        lambda _, y: (step_of(model)(y.reshape(8, 2), 1.0, np.zeros((8, 2))) - y.reshape(8, 2))
        .ravel(),
        (0, t), x.ravel(), rtol=1e-11, atol=1e-13,
    ).y[:, -1]  # fmt: skip
    steps = 0.04 / 2.0 ** np.arange(4)
    errors = [
        np.abs(
            PredatorPrey(**parameters, step=h).advance(x[np.newaxis], duration=t)[0].ravel() - flat
        ).max()
        for h in steps
    ]
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(1.0, abs=0.05)


def test_duration_and_events_are_the_same_steps():
    model, X = PredatorPrey(step=0.02), state(6)[np.newaxis]
    by_events, elapsed = model.advance(X, n_events=15, random_state=0)
    by_time, duration = model.advance(X, duration=0.3, random_state=0)
    np.testing.assert_allclose(by_time, by_events, rtol=1e-13)
    assert elapsed == pytest.approx(duration)
    # A duration that is no multiple of the step is cut into equal, shorter steps.
    noise = np.random.default_rng(5).normal(size=(4, 6, 2))
    x, expected = X[0].copy(), X[0]
    for k in range(4):
        expected = step_of(model)(expected, 0.07 / 4, noise[k])
    evolution = Evolution(Window((0,), (6,)), Duration(0.07), Recorded(noise))
    elapsed = model.advance_window(x, model.lattice(x.shape), evolution)
    assert elapsed == pytest.approx(0.07, rel=1e-14)
    np.testing.assert_allclose(x, expected, atol=1e-13)


@pytest.mark.parametrize("duration", [1e-15, 1e-13, 1e-3])
def test_a_short_duration_is_one_short_step(duration):
    X, elapsed = PredatorPrey().advance(np.full((1, 3, 2), 0.5), duration=duration, random_state=0)
    assert elapsed == pytest.approx(duration, rel=1e-12, abs=0)
    assert (X != 0.5).all()


@pytest.mark.parametrize(("c", "spacing", "limit"), [(0.0, 1.0, 0.5), (4.0, 0.4, 0.02)])
def test_unstable_step_is_refused(c, spacing, limit):
    X = state(6)[np.newaxis]
    stable = PredatorPrey(a=0.0, c=c, spacing=spacing, step=limit, sigma_u=0.0, sigma_v=0.0)
    assert np.abs(stable.advance(X, n_events=500, random_state=0)[0]).max() < 2
    unstable = PredatorPrey(c=c, spacing=spacing, step=1.02 * limit)
    text = rf"Expected a stable explicit step.*step={1.02 * limit:g}.*use a step of at most {limit}"
    with pytest.raises(ValueError, match=text):
        unstable.advance(X, n_events=1)
    with pytest.raises(ValueError, match=text):
        unstable.sample_initial(1, 5)


def test_a_step_above_the_limit_grows():
    # The same diffusion in plain steps: at 0.5 it stays bounded, at 0.6 the zigzag grows.
    n = 12
    x = np.stack([np.zeros(n), 0.5 + 0.01 * (-1.0) ** np.arange(n)], axis=-1)
    for step, grows in ((0.5, False), (0.6, True)):
        y = x
        for _ in range(60):
            y = naive.predator_prey_step(y, step, np.zeros((n, 2)), 0, 0, 0, 0, 0, 1.0)
        assert (np.abs(y[:, 1] - 0.5).max() > 0.1) == grows


@pytest.mark.statistical
def test_observables_and_initial_snapshots():
    """Eq. 22: a cosine of five periods, and v = 1 - u."""
    x = (np.arange(40) + 0.5) / 40
    expected = 0.5 + 0.1 * np.cos(10 * np.pi * x), 0.5 - 0.1 * np.cos(10 * np.pi * x)
    np.testing.assert_allclose(PredatorPrey.initial_state(40, 0.1, 0.5).T, expected, atol=1e-14)
    model = PredatorPrey(amplitude_range=(0.1, 0.2), mean_range=(0.4, 0.5))
    X = model.sample_initial(500, 40, random_state=0)
    np.testing.assert_allclose(X.sum(axis=2), 1.0, rtol=1e-14)
    z = model.observe(X)
    np.testing.assert_allclose(z, X.mean(axis=1), rtol=1e-13)
    assert 0.4 <= z[:, 0].min() < 0.405
    assert 0.495 < z[:, 0].max() <= 0.5
    wave = np.cos(10 * np.pi * (np.arange(40) + 0.5) / 40)
    amplitude = 2 * ((X[:, :, 0] - z[:, :1]) * wave).mean(axis=1)
    assert 0.1 <= amplitude.min() < 0.105
    assert 0.195 < amplitude.max() <= 0.2
    np.testing.assert_allclose(
        X[7], model.initial_state(40, amplitude[7], z[7, 0]), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"a": np.nan}, "Expected a to be a finite real number, but got nan"),
        ({"b": "0"}, "Expected b to be a finite real number, but got '0'"),
        ({"c": -1.0}, r"Expected c to be .* 0 <= c, but got -1\.0"),
        ({"sigma_u": -0.1}, r"Expected sigma_u to be .* 0 <= sigma_u, but got -0\.1"),
        ({"spacing": 0.0}, r"Expected spacing to be .* 0 < spacing, but got 0\.0"),
        ({"step": 0.0}, r"Expected step to be .* 0 < step, but got 0\.0"),
    ],
)
def test_wrong_parameters_are_refused(parameters, text):
    with pytest.raises(ValueError, match=text):
        PredatorPrey(**parameters).advance(state(4)[np.newaxis], duration=1.0)
