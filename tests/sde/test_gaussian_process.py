"""A Gaussian process as drift: what it learns, how far it is off, and where it has no data."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.base import clone

from sklmacro import GaussianProcess, PatchSDERegressor, Polynomial
from sklmacro.pairs import latent_pairs
from sklmacro.sde.compiled.paths import array_model
from sklmacro.sde.evidence import Evidence, Rows
from sklmacro.sde.gaussian_process import cells_of
from sklmacro.sde.kernels import KernelSDE
from sklmacro.sde.regressions import monomials
from tests import naive
from tests.problems import sampled_pairs

# what is asked here has nothing to do with what the data cover
pytestmark = pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")

GP = PatchSDERegressor(drift_model="gp")


def waves(z):
    return np.column_stack([np.sin(2 * z[:, 0]) - z[:, 1], np.cos(2 * z[:, 1]) - z[:, 0]])


def moments(n=300, seed=0, scatter=0.0, d=2, **fields):
    rng = np.random.default_rng(seed)
    z = rng.uniform(-1.5, 1.5, (n, d))
    b = waves(z) + scatter * rng.normal(size=(n, 2))
    cov = 0.02 * np.exp(z[:, :1, None] * 0.5) * np.array([[1.0, 0.3], [0.3, 0.5]])
    return latent_pairs(z, 0.1 * b, 0.1, cov=cov, **fields)


def noisy(n=4000, seed=0, K=4):
    def factor(z):
        return np.array([[0.3, 0.0], [0.1, 0.2]]) * (1 + 0.5 * z[:, :1, None] ** 2)

    return sampled_pairs(waves, factor, n=n, dt=0.1, K=K, d=2, seed=seed, width=1.5), factor


def rms(x):
    return float(np.sqrt(np.mean(x**2)))


@pytest.fixture(scope="module")
def of_moments():
    return clone(GP).fit(moments())


Q = np.random.default_rng(5).uniform(-1.4, 1.4, (400, 2))


def test_moments_without_scatter_are_interpolated(of_moments):
    assert rms(of_moments.drift(Q) - waves(Q)) < 0.01
    cubic = PatchSDERegressor(drift_model=Polynomial(3)).fit(moments())
    assert rms(cubic.drift(Q) - waves(Q)) > 0.05  # control: what is no polynomial of low degree
    Sigma = of_moments.diffusion(Q)  # log Sigma is linear in z
    np.testing.assert_allclose(Sigma[:, 0, 0], 0.2 * np.exp(Q[:, 0] * 0.5), rtol=1e-6)


def test_far_from_the_data_it_is_linear(of_moments):
    far = np.array([[400.0, -300.0], [600.0, -450.0], [800.0, -600.0]])
    drift = of_moments.drift(far)
    np.testing.assert_allclose(drift[2] - drift[1], drift[1] - drift[0], rtol=1e-9)
    np.testing.assert_array_equal(of_moments.diffusion(far)[0], of_moments.diffusion(far)[1])
    errors = of_moments.drift_error(np.vstack([Q[:1], [[3.0, 3.0]], far]))
    assert (np.diff(errors, axis=0) > 0).all()


@pytest.mark.statistical
@pytest.mark.parametrize("sampled", [False, True])
def test_the_error_is_told(sampled):
    found = []
    for seed in range(3):
        pairs = noisy(seed=seed)[0] if sampled else moments(400, seed, scatter=0.3)
        sde = clone(GP).fit(pairs)
        found.append((sde.drift(Q) - waves(Q)) / sde.drift_error(Q))
    assert 0.5 < rms(np.array(found)) < 2.0


@pytest.mark.statistical
def test_sampled_increments_give_drift_and_covariance():
    pairs, factor = noisy(20_000)
    sde = clone(GP).fit(pairs)
    Sigma = factor(Q) @ factor(Q).mT
    assert rms(sde.diffusion(Q) - Sigma) < 0.1 * rms(Sigma)
    assert rms(sde.drift(Q) - waves(Q)) < 0.2 * rms(waves(Q))
    polynomial = PatchSDERegressor(drift_model=Polynomial(2)).fit(pairs)
    assert rms(polynomial.drift(Q) - waves(Q)) > 0.2 * rms(waves(Q))  # control


def test_drawn_drifts_have_the_error(of_moments):
    for pairs in (moments(60, scatter=0.3), noisy(500)[0]):
        sde = clone(GP).fit(pairs)
        drawn = np.array([sde.sample(k).drift(Q[:5]) for k in range(300)])
        known = [
            np.diagonal(sde.model_.drift_covariance((Q[:5] - sde.mean_) / sde.scale_), 0, 1, 2)
        ]
        np.testing.assert_allclose(drawn.std(axis=0), np.sqrt(known[0]), rtol=0.25)
        np.testing.assert_allclose(drawn.mean(axis=0), sde.drift(Q[:5]), atol=0.3 * drawn.std())
        np.testing.assert_array_equal(sde.sample(3).drift(Q), sde.sample(3).drift(Q))
        assert isinstance(sde.sample(0).model_, KernelSDE)
    other = PatchSDERegressor(drift_model="linear").fit(moments())
    assert not hasattr(other, "drift_error")
    with pytest.raises(AttributeError) as caught:
        other.drift_error(Q)
    assert "Expected a Gaussian process as drift" in str(caught.value.__cause__)


def relaxing(seed, n_groups=30, n_steps=20):
    """Moments along trajectories of which each has a slow variable that z does not see."""
    rng = np.random.default_rng(seed)
    z, hidden = rng.uniform(-1.5, 1.5, (n_groups, 2)), 0.4 * rng.normal(size=(n_groups, 2))
    rows, rates = [], []
    for _ in range(n_steps):
        rows.append(z)
        rates.append(waves(z) + hidden)
        z = z + 0.05 * rates[-1] + 0.05 * rng.normal(size=z.shape)
        hidden = 0.95 * hidden + 0.4 * np.sqrt(1 - 0.95**2) * rng.normal(size=z.shape)
    group = np.tile(np.arange(n_groups), n_steps)
    z, b = np.concatenate(rows), np.concatenate(rates)
    return latent_pairs(
        z, 0.1 * b, 0.1, cov=np.tile(0.001 * np.eye(2), (len(z), 1, 1)), group=group
    )


@pytest.mark.statistical
def test_what_a_trajectory_has_of_its_own_is_no_signal():
    together, apart = [], []
    for seed in range(2):
        pairs = relaxing(seed)
        single = pairs.copy()
        single["group"] = np.arange(len(pairs))
        for errors, rows in ((together, pairs), (apart, single)):
            errors.append(rms(clone(GP).fit(rows).drift(Q) - waves(Q)))
    assert np.mean(together) < 0.85 * np.mean(apart)


def test_rows_may_come_in_any_order_of_groups():
    pairs = relaxing(0, 10, 10)
    shuffled = pairs[np.argsort(pairs["group"], kind="stable")]
    first, second = (clone(GP).fit(rows).drift(Q) for rows in (pairs, shuffled))
    assert rms(first - second) < 0.3 * rms(first - waves(Q))


@pytest.mark.parametrize("sampled", [False, True])
def test_a_symmetry_holds_to_the_last_bit(sampled):
    pairs = noisy(500)[0] if sampled else moments(80)
    sde = clone(GP).set_params(parity=(-1, 1)).fit(pairs)
    P = np.array([-1.0, 1.0])
    np.testing.assert_array_equal(sde.drift(Q * P), sde.drift(Q) * P)
    np.testing.assert_array_equal(sde.diffusion(Q * P), sde.diffusion(Q) * np.outer(P, P))
    np.testing.assert_array_equal(sde.drift_error(Q * P), sde.drift_error(Q))
    drawn = sde.sample(0)
    np.testing.assert_array_equal(drawn.drift(Q * P), drawn.drift(Q) * P)


@pytest.mark.parametrize("parity", [None, (-1, 1)])
def test_paths_and_kernels_are_those_of_plain_loops(parity):
    sde = clone(GP).set_params(parity=parity).fit(moments(60))
    model, u = sde.model_, (Q[:3] - sde.mean_) / sde.scale_
    expected = [
        naive.kernel_drift(one, model.centres, model.lengths, model.weights, model.parity)
        for one in u
    ]
    found = model.coefficients(u)[0] - model.polynomial.coefficients(u)[0]
    np.testing.assert_allclose(found, np.array(expected) * model.drift_scale, rtol=1e-9, atol=1e-10)
    assert array_model(model) is not None
    start, dt = Q[:2], 0.01
    paths = sde.simulate(start, 20, dt, random_state=0)
    once = sde.simulate(start, 1, dt, random_state=0)
    np.testing.assert_array_equal(paths[:, :2], once)
    quiet = clone(sde).fit(moments(60))
    quiet.model_.polynomial.g[:] = 0
    quiet.model_.polynomial.g[:, 0] = -500  # no noise: paths follow the drift
    quiet.model_.polynomial.limits[:] = [[[-np.inf]], [[np.inf]]]
    z = start.copy()
    for _ in range(20):
        z = z + quiet.drift(z) * dt
    np.testing.assert_allclose(quiet.simulate(start, 20, dt)[:, -1], z, rtol=1e-9)


def test_the_gradient_of_the_evidence_is_right():
    rng = np.random.default_rng(0)
    u, y, group = rng.normal(size=(25, 3)), rng.normal(size=(25, 2)), rng.integers(0, 6, 25)
    f = monomials(u, 2)
    for parity in ([1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]):
        P = np.array(parity)
        used = monomials(P[None], 2)[0] == P[:2, None]
        for same in (None, group[:, None] == group):
            noise = rng.uniform(0.5, 2, (25, 2))
            rows = Rows(
                u, y, noise, same, same is None, P, [f[:, :4], f[:, 4:]],
                [used[:, :4], used[:, 4:]],
            )  # fmt: skip
            loss, p = Evidence(rows), 0.3 * rng.normal(size=7 if same is None else 11)
            numeric = approx_fprime(p, lambda q, loss=loss: loss(q)[0], 1e-6)
            np.testing.assert_allclose(loss(p)[1], numeric, rtol=1e-4, atol=1e-4)


def test_cells_have_equal_numbers():
    u = np.random.default_rng(0).normal(size=(1000, 3))
    numbers = np.bincount(cells_of(u, 400))
    assert len(numbers) == 256
    assert set(numbers) <= {3, 4}
    assert len(np.unique(cells_of(u[:1], 400))) == 1


def test_few_centres_serve_where_the_drift_is_smooth():
    z = moments()["z"]
    pairs = latent_pairs(z, -0.1 * z, 0.1, cov=moments()["cov"])
    assert len(clone(GP).fit(pairs).model_.centres) < 50
    assert len(clone(GP).fit(moments()).model_.centres) > 100
    sde = clone(GP).set_params(drift_model=GaussianProcess(n_centres=7)).fit(moments())
    assert len(sde.model_.centres) == 7
    with pytest.raises(ValueError, match="n_centres"):
        clone(GP).set_params(drift_model__n_centres=0).fit(moments())
