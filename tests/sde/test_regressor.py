"""The SDE estimators recover what made the data; paths, bounds and contexts."""

import numpy as np
import pytest
from scipy.stats import chi2
from sklearn.base import clone

from sklmacro import (
    MLP,
    DivergedPathsWarning,
    OnsagerSDE,
    PatchSDERegressor,
    Training,
    UncoveredPathsWarning,
)
from sklmacro.pairs import latent_pairs
from sklmacro.sde.nets import OnsagerDrift
from sklmacro.sde.rollout import NOISE_STEPS
from tests.problems import exact_increments, exact_pairs, sampled_pairs

LINEAR = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
POLYNOMIAL = PatchSDERegressor(drift_model="polynomial")


def net(name, hidden, **training):
    """SDE of a kind of net."""
    training = Training(**training)
    if name == "mlp":
        return PatchSDERegressor(drift_model=MLP(hidden, training=training), random_state=0)
    return OnsagerSDE(hidden=hidden, training=training, random_state=0)


def constant(value):
    return lambda z: np.full((len(z), 1, 1), value)


# --- recovery ------------------------------------------------------------------------------------


def recover_ou(seed, stretch=1.0):
    """Fit dz = -0.8 (z - 0.3) dt + 0.5 dB from 2000 patch increments; scores in standard errors."""
    n, dt, K = 2000, 0.1, 9
    pairs = sampled_pairs(
        lambda z: -0.8 * (z - 0.3), constant(0.5), n=n, dt=dt, K=K, seed=seed, width=2.0
    )
    z = pairs["z"][:, 0]
    pairs["dt"] *= stretch
    model = clone(LINEAR).fit(pairs)
    at_mean, beyond = model.drift([[z.mean()], [z.mean() + 1]])[:, 0]
    error = 0.5 * np.sqrt(K / (n * dt))  # of the drift at the mean; its slope's is over std z
    return [
        (at_mean + 0.8 * (z.mean() - 0.3)) / error,
        (beyond - at_mean + 0.8) / (error / z.std()),
        (model.diffusion([[0.0]]).item() / 0.25 - 1) / np.sqrt(2 / n),
    ]


@pytest.mark.statistical
def test_ornstein_uhlenbeck_is_recovered_within_standard_errors():
    """The errors of drift, slope and diffusion over 40 seeds are standard normal."""
    scores = np.array([recover_ou(seed) for seed in range(40)])
    low, high = chi2(40).ppf([1e-6, 1 - 1e-6])
    assert ((low < (scores**2).sum(axis=0)) & ((scores**2).sum(axis=0) < high)).all()
    assert (np.abs(scores.mean(axis=0)) < 5 / np.sqrt(40)).all()


@pytest.mark.statistical
def test_wrong_elapsed_times_are_found_out():
    """Negative control: 50 % more time shows in the slope and in the diffusion."""
    scores = np.array([recover_ou(seed, stretch=1.5) for seed in range(40)])
    assert ((scores**2).sum(axis=0)[1:] > chi2(40).ppf(1 - 1e-6)).all()


def state_dependent(z):
    """L of Sigma = T^{-1} D T^{-T}, log-linear variances and a linear regression."""
    L = np.zeros((len(z), 2, 2))
    L[:, 0, 0] = 0.3 * np.exp(0.4 * z[:, 0])
    L[:, 1, 1] = 0.2 * np.exp(-0.3 * z[:, 1] + 0.2 * z[:, 0])
    L[:, 1, 0] = (0.5 + 0.6 * z[:, 1]) * L[:, 0, 0]
    return L


def polynomial_drift(z):
    x, y = z.T
    return np.column_stack([-x + 0.5 * x * y, 0.3 - y - 0.4 * x**2])


GRID = np.stack(np.meshgrid([-0.8, 0.0, 0.8], [-0.8, 0.0, 0.8]), -1).reshape(-1, 2)


@pytest.mark.statistical
def test_polynomial_drift_and_full_diffusion_are_recovered():
    pairs = sampled_pairs(polynomial_drift, state_dependent, n=100_000, dt=0.05, K=4, d=2)
    model = clone(POLYNOMIAL).fit(pairs)
    Sigma = state_dependent(GRID) @ state_dependent(GRID).mT
    scale = np.sqrt(np.einsum("nii->ni", Sigma))
    size = scale[:, :, None] * scale[:, None, :]
    assert (np.abs(model.diffusion(GRID) - Sigma) / size).max() < 0.08
    # Six coefficients, as many as a mean has; each grid point sees about a tenth of the data.
    error = scale * np.sqrt(4 / (0.05 * 10_000))
    assert (np.abs(model.drift(GRID) - polynomial_drift(GRID)) < 4 * error).all()
    for wrong in ("constant", "diagonal"):  # negative control
        model = clone(POLYNOMIAL).set_params(diffusion_model=wrong).fit(pairs)
        assert (np.abs(model.diffusion(GRID) - Sigma) / size).max() > 0.2


@pytest.mark.statistical
def test_mlp_recovers_a_double_well_and_its_diffusion():
    def drift(z):
        return z - z**3

    def factor(z):
        return (0.4 + 0.2 * np.tanh(2 * z))[:, :, None]

    pairs = sampled_pairs(drift, factor, n=40_000, dt=0.1, K=4, width=1.6)
    model = net("mlp", (32, 32), max_epochs=15, batch_size=512, lr=5e-3).fit(pairs)
    z = np.linspace(-1.4, 1.4, 15)[:, None]
    error = np.sqrt(np.mean((model.drift(z) - drift(z)) ** 2))
    assert error < 0.2
    ratio = model.diffusion(z)[:, 0, 0] / factor(z)[:, 0, 0] ** 2
    assert np.abs(ratio - 1).max() < 0.15
    line = clone(LINEAR).fit(pairs)  # negative control
    assert np.sqrt(np.mean((line.drift(z) - drift(z)) ** 2)) > 0.4


@pytest.mark.statistical
def test_onsager_recovers_a_damped_oscillator():
    A = np.array([[-0.5, 1.0], [-1.0, -0.5]])
    pairs = sampled_pairs(
        lambda z: z @ A.T, lambda z: np.broadcast_to(0.2 * np.eye(2), (len(z), 2, 2)),
        n=8000, dt=0.1, d=2,
    )  # fmt: skip
    model = OnsagerSDE(
        training=Training(max_epochs=20, batch_size=256, lr=1e-2),
        hidden=(32,),
        forcing=False,
        random_state=0,
    ).fit(pairs)
    assert np.sqrt(np.mean((model.drift(GRID) - GRID @ A.T) ** 2)) < 0.1
    assert np.abs(model.diffusion(GRID) - 0.04 * np.eye(2)).mean() < 0.01


# --- context (Eq. 31) ----------------------------------------------------------------------------


def context_pairs(n=600):
    """dz = -c z dt + 0.3 dB with exact sample moments, at contexts c in [0.5, 2]."""
    rng = np.random.default_rng(0)
    z, c, dt = rng.uniform(-1, 1, (n, 1)), rng.uniform(0.5, 2, (n, 1)), rng.uniform(0.1, 0.3, n)
    columns = np.hstack([z, c])
    dz = exact_increments(columns, np.hstack([-c * z, 0 * z]), 0.3 * np.eye(2), dt)[:, :1]
    return latent_pairs(z, dz, dt, context=c)


def test_context_is_recovered():
    """Eq. 31: one SDE for all values of a context, such as the temperature."""
    model = clone(POLYNOMIAL).set_params(diffusion_model="constant").fit(context_pairs())
    assert model.n_features_in_ == 2
    assert model.n_state_ == 1
    z = np.array([[-0.5], [0.8]])
    for c in (0.7, 1.4):
        assert np.allclose(model.drift(z, [c]), -c * z, atol=1e-10)
    assert np.allclose(model.drift(z, [[0.7], [1.4]]), -np.array([[0.7], [1.4]]) * z, atol=1e-10)
    assert np.allclose(model.diffusion(z, [1.0]), 0.09)
    pairs = context_pairs()
    blind = latent_pairs(pairs["z"], pairs["dz"], pairs["dt"])  # negative control
    wrong = clone(POLYNOMIAL).set_params(diffusion_model="constant").fit(blind)
    assert not np.allclose(wrong.drift(z), -0.7 * z, atol=0.1)


@pytest.mark.parametrize(
    "model",
    [
        clone(POLYNOMIAL),
        PatchSDERegressor(drift_model=MLP(training=Training(max_epochs=2))),
        OnsagerSDE(training=Training(max_epochs=2)),
    ],
)
def test_context_in_columns_is_context_in_pairs(model):
    pairs = context_pairs()
    pairs["dt"] = 0.2
    model = clone(model).set_params(dt=0.2, random_state=0)
    by_pairs = clone(model).fit(pairs)
    columns = np.hstack([pairs["z"], pairs["context"]])
    by_columns = clone(model).fit(columns, pairs["dz"])
    assert np.array_equal(by_pairs.predict(pairs), by_columns.predict(columns))
    assert by_pairs.score(pairs) == by_columns.score(columns, pairs["dz"])
    flat = clone(model).fit(columns, pairs["dz"][:, 0])
    assert np.array_equal(flat.predict(columns), by_pairs.predict(pairs)[:, 0])


@pytest.mark.statistical
def test_context_is_constant_along_paths():
    model = clone(POLYNOMIAL).fit(context_pairs())
    starts, contexts = np.array([[0.9], [0.9]]), np.array([[0.5], [2.0]])
    paths = model.simulate(starts, 20, 0.1, context=contexts, n_paths=300, random_state=0)
    assert paths.shape == (600, 21, 1)
    means = paths.reshape(2, 300, 21).mean(axis=1)[:, -1]
    assert means == pytest.approx(0.9 * np.exp(-contexts[:, 0] * 2), abs=0.1)
    assert means[0] > means[1] + 0.15


# --- fitting -------------------------------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["mlp", "onsager"])
def test_training_falls_stops_early_and_repeats(name):
    pairs = sampled_pairs(
        lambda z: -z, lambda z: 0.3 * np.exp(1.5 * z[:, :1, None]) * np.eye(2), n=300, dt=0.1, d=2
    )  # whose noise varies, which the start of the nets does not know
    model = net(name, (16,), lr=2e-2, batch_size=32, max_epochs=60, patience=3)
    model.set_params(random_state=3)
    first, second = clone(model).fit(pairs), clone(model).fit(pairs)
    trained = [epoch["train_loss"] for epoch in first.history_]
    assert trained[-1] < trained[0]
    losses = [epoch["valid_loss"] for epoch in first.history_]
    assert len(losses) < 60  # patience
    assert len(losses) - 1 - int(np.argmin(losses)) <= 3
    assert first.history_ == second.history_
    assert np.array_equal(first.drift(GRID), second.drift(GRID))
    other = clone(model).set_params(random_state=4).fit(pairs)
    assert not np.array_equal(first.drift(GRID), other.drift(GRID))


def test_the_net_starts_from_the_linear_drift():
    pairs, A, _ = exact_pairs()
    model = net("mlp", (8,), max_epochs=1, lr=1e-12).fit(pairs)
    assert np.allclose(model.drift(GRID), GRID @ A.T, atol=1e-8)


@pytest.mark.parametrize("hidden", [(), (4,), [8, 4], np.array([4])])
@pytest.mark.parametrize("name", ["mlp", "onsager"])
def test_hidden_layers(name, hidden):
    pairs, _, _ = exact_pairs(n=50)
    model = net(name, hidden, max_epochs=1).fit(pairs)
    assert model.drift(GRID).shape == (9, 2)


def test_onsager_potential_is_bounded_below():
    model = net("onsager", (8,), max_epochs=2).fit(exact_pairs(n=100)[0])
    z = np.random.default_rng(0).normal(size=(100, 2)) * 1e3
    u = (z - model.mean_) / model.scale_
    least = 0.5 * OnsagerDrift.BETA * (u**2).sum(axis=1) / model.model_.gauge
    assert (model.potential(z) >= least).all()


@pytest.mark.parametrize(
    "model",
    [
        clone(LINEAR),
        clone(POLYNOMIAL).set_params(drift_model__degree=3),
        net("mlp", (4,), max_epochs=2),
        net("onsager", (4,), max_epochs=2),
    ],
    ids=["linear", "polynomial", "mlp", "onsager"],
)
def test_degenerate_data_give_finite_models(model):
    """Increments that vanish or follow the drift without noise, a component that never moves."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(12, 2))
    still = np.column_stack([z[:, 0], np.ones(12)])
    for X, y in [(z, 0 * z), (z, -z), (still, rng.normal(size=(12, 2)))]:
        fitted = clone(model).fit(X, y)
        Sigma = fitted.diffusion(X)
        assert np.isfinite(fitted.drift(X)).all()
        assert np.isfinite(Sigma).all()
        if not y.any():  # nothing changes, ever
            np.testing.assert_array_equal(Sigma, 0)
        else:
            assert (np.linalg.eigvalsh(Sigma) > 0).all()


# --- paths ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models():
    pairs, _, _ = exact_pairs(n=200)
    return {
        "linear": clone(LINEAR).fit(pairs),
        "polynomial": clone(POLYNOMIAL).fit(pairs),
        "mlp": net("mlp", (8,), max_epochs=2).fit(pairs),
        "onsager": net("onsager", (8,), max_epochs=2).fit(pairs),
    }


@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")
@pytest.mark.parametrize("name", ["linear", "polynomial", "mlp", "onsager"])
def test_a_path_does_not_depend_on_the_others(models, name):
    """Path k has its own stream: more paths, or more steps, leave it as it is."""
    model, z0 = models[name], [0.3, -0.2]
    many = model.simulate(z0, 40, 0.1, n_paths=9, random_state=5)
    few = model.simulate(z0, 40, 0.1, n_paths=4, random_state=5)
    assert many.shape == (9, 41, 2)
    assert np.allclose(many[:4], few, rtol=1e-9, atol=1e-12)
    assert not np.allclose(many[0], many[1])
    assert np.array_equal(many, model.simulate(z0, 40, 0.1, n_paths=9, random_state=5))
    assert not np.allclose(many, model.simulate(z0, 40, 0.1, n_paths=9, random_state=6))
    longer = model.simulate(z0, NOISE_STEPS + 10, 0.1, n_paths=9, random_state=5)
    assert np.allclose(longer[:, :41], many, rtol=1e-9, atol=1e-12)


def test_stored_states_are_every_so_manieth(models):
    options = {"n_paths": 3, "random_state": 0}
    every = models["linear"].simulate([0.1, 0.2], 300, 0.05, **options)
    for stride in (1, 3, 7, 300, 301):
        stored = models["linear"].simulate([0.1, 0.2], 300, 0.05, store_every=stride, **options)
        assert stored.shape == (3, 300 // stride + 1, 2)
        assert np.array_equal(stored, every[:, ::stride][:, : 300 // stride + 1])


def test_paths_of_a_start_stand_together(models):
    starts = np.array([[0.5, 0.0], [-0.5, 0.1]])
    paths = models["linear"].simulate(starts, 2, 0.1, n_paths=3, random_state=0)
    assert np.array_equal(paths[:, 0], np.repeat(starts, 3, axis=0))
    none = models["linear"].simulate(starts, 0, 0.1)
    assert np.array_equal(none, starts[:, None])


@pytest.mark.statistical
def test_one_step_has_the_mean_and_variance_of_the_model(models):
    z0, dt, n = np.array([0.4, -0.6]), 0.3, 20_000
    for model in models.values():
        step = model.simulate(z0, 1, dt, n_paths=n, random_state=0)[:, 1] - z0
        Sigma = model.diffusion(z0)[0] * dt
        error = np.sqrt(np.diag(Sigma) / n)
        assert (np.abs(step.mean(axis=0) - model.drift(z0)[0] * dt) < 5 * error).all()
        assert np.allclose(np.cov(step.T), Sigma, atol=5 * np.sqrt(2 / n) * Sigma.max())


@pytest.mark.statistical
def test_stationary_law_of_an_ornstein_uhlenbeck_process():
    pairs = sampled_pairs(lambda z: -z, constant(0.6), n=50_000, dt=0.1, seed=1)
    model = clone(LINEAR).fit(pairs)
    theta, sigma2 = -np.diff(model.drift([[0.0], [1.0]])[:, 0])[0], model.diffusion([[0.0]]).item()
    options = {"outside": "ignore", "random_state": 0}
    z = model.simulate([0.0], 400, 0.02, n_paths=2000, **options)[:, -1, 0]
    expected = sigma2 / (theta * (2 - theta * 0.02))  # of the Euler-Maruyama chain
    assert z.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / 2000))


@pytest.mark.filterwarnings("ignore::sklmacro.DivergedPathsWarning")  # bounds within the data
@pytest.mark.parametrize("name", ["linear", "polynomial", "mlp", "onsager"])
def test_bounds_are_respected(models, name):
    options = {"n_paths": 20, "outside": "ignore", "random_state": 0}
    free = models[name].simulate([0.0, 0.0], 200, 0.1, **options)
    assert np.abs(free).max() > 0.1
    bounded = clone(models[name]).set_params(bounds=[(-0.1, 0.1)]).fit(exact_pairs(n=200)[0])
    with pytest.warns(UncoveredPathsWarning, match="20 of 20 paths start outside of their bounds"):
        paths = bounded.simulate([0.5, 0.0], 200, 0.1, **options)
    assert np.abs(paths[..., 0]).max() == 0.1
    assert np.abs(paths[..., 1]).max() > 0.1  # no bounds for the second component
    half = clone(LINEAR).set_params(bounds=[(-np.inf, np.inf), (0.0, np.inf)])
    paths = half.fit(exact_pairs(n=200)[0]).simulate([0.0, 0.1], 100, 0.1, n_paths=5)
    assert paths[..., 1].min() == 0
    assert paths[..., 0].min() < 0


def exploding():
    """dz = 5 z dt + noise: in 60 steps of 0.1 a path grows by 1.5^60 = 4e10."""
    rng = np.random.default_rng(0)
    z, dt = rng.uniform(-2, 2, (200, 1)), np.full(200, 0.1)
    pairs = latent_pairs(z, exact_increments(z, 5 * z, 1e-3 * np.eye(1), dt), dt)
    return clone(LINEAR).fit(pairs)


def test_diverged_paths_are_counted():
    model = exploding()
    starts = [[0.0], [0.0], [1e300], [-1e300], [1e300]]
    with pytest.warns(DivergedPathsWarning, match="3 of 5 simulated paths diverged") as caught:
        paths = model.simulate(starts, 60, 0.1, outside="ignore", random_state=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # it points at the caller
    assert np.isfinite(paths[:2]).all()
    assert np.isnan(paths[2:, -1]).all()
    assert np.isfinite(paths[:, :4]).all()
    lost = np.isnan(paths[..., 0])
    assert (lost[:, 1:] >= lost[:, :-1]).all()  # NaN from there on


def test_bounds_hold_a_path_that_would_diverge():
    model = exploding().set_params(bounds=[(-3.0, 3.0)])
    with pytest.warns(DivergedPathsWarning, match="0 are NaN .* 1 were held by their bounds"):
        paths = model.simulate([[2.0]], 60, 0.1, outside="ignore", random_state=0)
    assert np.isfinite(paths).all()
    assert paths.max() == 3.0
