"""Paths on plain arrays against the plain Euler-Maruyama loop."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from sklmacro import MLP, GaussianProcess, OnsagerSDE, PatchSDERegressor, Polynomial, Training
from sklmacro._base.streams import Stage, stream
from sklmacro.sde import simulation
from sklmacro.sde.compiled.paths import array_model
from sklmacro.sde.compiled.perceptron import LANES
from sklmacro.sde.regressions import monomial_factors
from tests import naive

# what is asked here has nothing to do with what the data cover
pytestmark = pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")

TRAINING = Training(max_epochs=3, batch_size=64)


def mlp(hidden, **params):
    return PatchSDERegressor(drift_model=MLP(hidden, training=TRAINING), random_state=0, **params)


SHORT = {"training": TRAINING, "random_state": 0}
MODELS = {
    "mlp": mlp((9, 6)),
    "mlp-diagonal": mlp((), diffusion_model="diagonal"),
    "mlp-constant": mlp((4,), diffusion_model="constant"),
    "onsager": OnsagerSDE(hidden=(7, 5), **SHORT),
    "onsager-free": OnsagerSDE(forcing=False, hidden=(), diffusion_model="diagonal", **SHORT),
    "linear": PatchSDERegressor(drift_model="linear", diffusion_model="constant"),
    "polynomial": PatchSDERegressor(drift_model=Polynomial(degree=3)),
    "gp": PatchSDERegressor(drift_model="gp"),
    "gp-diagonal": PatchSDERegressor(drift_model=GaussianProcess(9), diffusion_model="diagonal"),
    "polynomial-diagonal": PatchSDERegressor(drift_model="polynomial", diffusion_model="diagonal"),
}


def fitted(name, d, n_context, **params):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, d + n_context))
    dz = -0.1 * X[:, :d] + 0.2 * (1.5 + np.tanh(X[:, :1])) * rng.normal(size=(200, d))
    return clone(MODELS[name]).set_params(**params).fit(X, dz)


def plain_paths(model, z0, n_steps, dt, n_paths, seed, context=None, bounds=()):
    low, high = np.full(len(z0), -np.inf), np.full(len(z0), np.inf)
    for i, (a, b) in enumerate(bounds):
        low[i], high[i] = a, b

    def coefficients(z):
        Sigma = model.diffusion(z, context)[0]
        return model.drift(z, context)[0], np.linalg.cholesky(Sigma)

    rngs = [stream(seed, Stage.ROLLOUT, k) for k in range(n_paths)]
    noise = [rng.standard_normal((n_steps, len(z0))) * np.sqrt(dt) for rng in rngs]
    return np.array([naive.path(coefficients, z0, xi, dt, low, high) for xi in noise])


@pytest.mark.parametrize(("d", "n_context"), [(3, 0), (2, 1), (1, 2)])
@pytest.mark.parametrize("name", MODELS)
def test_paths_are_those_of_the_plain_loop(name, d, n_context):
    bounds = [(-0.2, 0.15)]
    model = fitted(name, d, n_context, bounds=bounds)
    z0, context = np.linspace(0.1, -1.5, d), np.linspace(0.2, 0.5, n_context)
    context = context if n_context else None
    paths = model.simulate(z0, 40, 0.1, n_paths=3, context=context, random_state=7)
    expected = plain_paths(model, z0, 40, 0.1, 3, 7, context, bounds)
    assert expected[:, :, 0].max() == 0.15  # bounds are met
    np.testing.assert_allclose(paths, expected, rtol=1e-11, atol=1e-12)
    other = plain_paths(model, z0, 40, 0.1001, 3, 7, context, bounds)  # negative control
    assert not np.allclose(paths, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_path_is_the_same_among_any_others(name):
    """Bit by bit, whatever block it is in and wherever it stands there."""
    model = fitted(name, 2, 0)
    starts = np.random.default_rng(1).normal(size=(2 * LANES + 5, 2))
    many = model.simulate(starts, 30, 0.1, random_state=3)
    for n in (1, 7, LANES - 1, LANES + 40):
        assert np.array_equal(model.simulate(starts[:n], 30, 0.1, random_state=3), many[:n])
    moved = starts.copy()
    moved[::2] += 1.0
    assert np.array_equal(model.simulate(moved, 30, 0.1, random_state=3)[1::2], many[1::2])


@pytest.mark.parametrize("name", MODELS)
def test_calls_of_the_torch_modules_give_the_same_paths(name, monkeypatch):
    """The way of nets on another device; diverged paths are NaN from the same step on."""
    model = fitted(name, 2, 0, bounds=[(-2.0, np.inf)])
    starts = np.array([[0.1, 0.2], [0.5, -1.0]])

    def simulate(dt):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            paths = model.simulate(starts, 150, dt, n_paths=2, store_every=3, random_state=0)
        return paths, [str(w.message) for w in caught]

    by_blocks = [simulate(dt) for dt in (0.05, 1e9)]
    monkeypatch.setattr(simulation, "array_model", lambda model: None)
    for dt, (paths, messages) in zip((0.05, 1e9), by_blocks, strict=True):
        expected, same = simulate(dt)
        assert messages == same
        assert len(messages) == 2 * (dt > 1)
        np.testing.assert_array_equal(np.isnan(paths), np.isnan(expected))
        np.testing.assert_allclose(paths, expected, rtol=1e-10 if dt < 1 else 1e-3, atol=1e-11)


def test_nets_on_another_device_stay_there():
    model = fitted("mlp", 2, 0)
    assert array_model(model.model_) is not None
    model.model_.net.to("meta")
    assert array_model(model.model_) is None


def test_every_monomial_is_there_once():
    for n_columns, degree, number in [(1, 4, 5), (3, 2, 10), (2, 3, 10)]:
        factors = monomial_factors(n_columns, degree)
        exponents = [np.zeros(n_columns, int)]
        for before, column in factors[1:]:
            exponents.append(exponents[before] + np.eye(n_columns, dtype=int)[column])
        assert len({tuple(e) for e in exponents}) == number == len(factors)
        assert max(e.sum() for e in exponents) == degree
