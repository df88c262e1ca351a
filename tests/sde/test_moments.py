"""SDEs fitted to the moments of increments, with a parity, and with the degree chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_continuous_lyapunov
from sklearn.base import clone

from sklmacro import MLP, OnsagerSDE, PatchSDERegressor, Training
from sklmacro.likelihood import Increments, covariance_root, expected_nll, scaled_nll, whiten
from sklmacro.pairs import latent_pairs
from sklmacro.sde import polynomial, rollout
from sklmacro.sde.compiled.paths import array_model
from sklmacro.sde.regressions import monomials
from tests.problems import fixed_rng, sampled_pairs
from tests.sde.test_regressor import (
    GRID,
    LINEAR,
    POLYNOMIAL,
    net,
    polynomial_drift,
    state_dependent,
)

# what is asked here has nothing to do with what the data cover
pytestmark = pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")

TRAINING = Training(max_epochs=2, batch_size=64)
SMALL = {"training": TRAINING, "hidden": (6,), "random_state": 0}
SMALL_MLP = {"drift_model": MLP((6,), training=TRAINING), "random_state": 0}
MODELS = {
    "linear": LINEAR,
    "polynomial": clone(POLYNOMIAL).set_params(drift_model__degree=3),
    "diagonal": clone(POLYNOMIAL).set_params(diffusion_model="diagonal"),
    "mlp": PatchSDERegressor(**SMALL_MLP),
    "onsager": OnsagerSDE(**SMALL),
    "onsager constant": OnsagerSDE(forcing=False, diffusion_model="constant", **SMALL),
}


def moment_pairs(drift, factor, *, n=400, dt=0.1, K=1, d=2, spread=0.0, seed=0):
    """Moments of dz = (drift(z) + spread * xi) dt + L dB, with K patches of which one evolved."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-1, 1, (n, d))
    b, L = drift(z) + spread * rng.normal(size=(n, d)), factor(z)
    return latent_pairs(z, b * dt, dt, cov=K * dt * L @ L.mT, n_patches=K)


def cubature(pairs):
    """Sampled pairs with the same mean and covariance: dz +- sqrt(d) times each column of a root.

    The mean of every quadratic function of dz is that over all increments of these moments.
    """
    d = pairs["z"].shape[1]
    root = np.sqrt(d) * np.linalg.cholesky(pairs["cov"]).mT
    steps = np.concatenate([root, -root], axis=1)
    names = ("dt", "n_patches", "n_evolved", "group")
    rest = {name: np.repeat(pairs[name], 2 * d) for name in names}
    dz = (pairs["dz"][:, None] + steps).reshape(-1, d)
    return latent_pairs(np.repeat(pairs["z"], 2 * d, axis=0), dz, **rest)


# --- the stationary law of a small Ising model ---------------------------------------------------


def ising_3x3():
    """All states of a periodic 3x3 lattice at exp(-2 J / kT) = 1/2, Glauber rates.

    Returns z = (M, rho_DW), the drift b and covariance A of z per unit time, and the walls. The
    weight of a state is 2^-walls: 2^(12 - walls) copies of it make an exact sample.
    """
    spins = 1.0 - 2.0 * (np.arange(512)[:, None] >> np.arange(9) & 1)
    site = np.arange(9).reshape(3, 3)
    neighbours = np.array([np.roll(site, s, a).ravel() for a in (0, 1) for s in (1, -1)])
    field = spins[:, neighbours].sum(axis=1)
    walls = ((18 - (spins * field).sum(axis=1) / 2) / 2).astype(int)
    rate = 1 / (1 + 2.0 ** (spins * field))  # of a flip; walls change by spin * field
    jump = np.stack([-2 * spins / 9, spins * field / 18], axis=2)
    b = np.einsum("ni,nik->nk", rate, jump)
    A = np.einsum("ni,nik,nil->nkl", rate, jump, jump)
    return np.column_stack([spins.mean(axis=1), walls / 18]), b, A, walls


@pytest.fixture(scope="module")
def equilibrium():
    z, b, A, walls = ising_3x3()
    return np.repeat(np.arange(512), 2 ** (12 - walls)), z, b, A


def stationary(model):
    """Mean and covariance of the stationary law of dz = (a + B z) dt + C^{1/2} dW."""
    a = model.drift([[0.0, 0.0]])[0]
    B = (model.drift(np.eye(2)) - a).T
    C = model.diffusion([[0.0, 0.0]])[0]
    return -np.linalg.solve(B, a), solve_continuous_lyapunov(B, -C)


def test_equilibrium_balances_drift_and_diffusion(equilibrium):
    """d/dt E[z z^T] = E[z b^T + b z^T + A] = 0, and E[b] = 0."""
    rows, z, b, A = equilibrium
    change = np.einsum("ni,nj->nij", z, b)
    change = (change + change.mT + A)[rows].mean(axis=0)
    assert np.abs(change).max() < 1e-14
    assert np.abs(b[rows].mean(axis=0)).max() < 1e-14
    assert np.abs(A[rows].mean(axis=0)).max() > 0.05  # it is not small by itself


@pytest.mark.parametrize("parity", [None, (-1, 1)])
@pytest.mark.parametrize("lam", ["K", 3.0])
def test_the_fit_has_the_exact_stationary_mean_and_covariance(equilibrium, parity, lam):
    """With b and A of states at equilibrium given z (Legoll and Lelievre, Nonlinearity 2010).

    B Cov(z) = Cov(b, z), hence B S + S B^T + E[A] = 0 is solved by S = Cov(z).
    """
    rows, z, b, A = equilibrium
    K = 1 if lam == "K" else 3
    pairs = latent_pairs(z, b * 1e-3, 1e-3, cov=K * A * 1e-3, n_patches=K)[rows]
    model = clone(LINEAR).set_params(parity=parity, lam=lam).fit(pairs)
    mean, covariance = stationary(model)
    assert np.allclose(mean, z[rows].mean(axis=0), rtol=1e-9, atol=1e-12)
    assert np.allclose(covariance, np.cov(z[rows].T, bias=True), rtol=1e-9, atol=1e-12)


def test_states_off_equilibrium_have_another_law(equilibrium):
    """Negative control: every state once, and states whose walls are too many for their M."""
    rows, z, b, A = equilibrium
    pairs = latent_pairs(z, b * 1e-3, 1e-3, cov=A * 1e-3)
    for wrong in (np.arange(512), np.repeat(rows, 1 + (18 * z[rows, 1] > 7))):
        covariance = stationary(clone(LINEAR).fit(pairs[wrong]))[1]
        expected = np.cov(z[rows].T, bias=True)
        assert np.abs(covariance / expected - 1)[[0, 1], [0, 1]].max() > 0.02


# --- the expectation of the likelihood -----------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_score_is_the_expected_likelihood(name):
    """Exactly that of increments of the same first and second moments."""
    pairs = moment_pairs(polynomial_drift, state_dependent, spread=0.5, K=4)
    model = clone(MODELS[name]).fit(pairs)
    assert model.score(pairs) == pytest.approx(model.score(cubature(pairs)), rel=1e-11)
    tight = pairs.copy()
    tight["cov"] = 0  # negative control
    assert model.score(tight) > model.score(pairs) + 0.5
    assert np.array_equal(model.predict(pairs), model.predict(cubature(pairs))[::4])


@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 3), rank=st.integers(0, 3))
def test_roots_of_covariances(seed, d, rank):
    """Of any rank, with components of unlike scale."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-9, 9, d)
    half = rng.normal(size=(5, d, min(rank, d))) * scale[:, None]
    c = half @ half.mT
    root = covariance_root(c)
    assert root.shape == (5, d, d)
    assert np.abs((root.mT @ root - c) / np.outer(scale, scale)).max() < 1e-12


def test_expected_likelihood_is_its_trace():
    rng = np.random.default_rng(0)
    L = np.tril(rng.uniform(0.2, 2, (6, 3, 3)))
    residual, half = rng.normal(size=(6, 3)), rng.normal(size=(6, 3, 3))
    c = half @ half.mT
    excess = expected_nll(L, residual, covariance_root(c)) - scaled_nll(L, residual)
    assert np.allclose(excess, np.trace(np.linalg.solve(L @ L.mT, c), axis1=1, axis2=2) / 2)
    w = np.stack(whiten(L, residual), axis=1)
    assert np.allclose(np.einsum("nij,nj->ni", L, w), residual)


# --- recovery ------------------------------------------------------------------------------------


def test_polynomials_are_recovered_from_moments():
    pairs = moment_pairs(polynomial_drift, state_dependent, K=4)
    model = clone(POLYNOMIAL).fit(pairs)
    expected = state_dependent(GRID) @ state_dependent(GRID).mT
    assert np.allclose(model.drift(GRID), polynomial_drift(GRID), atol=1e-9)
    assert np.allclose(model.diffusion(GRID), expected, rtol=1e-4)
    model = clone(POLYNOMIAL).set_params(lam=1.0).fit(pairs)  # negative control
    assert np.allclose(model.diffusion(GRID), 4 * expected, rtol=1e-4)


@pytest.mark.parametrize("diffusion", ["full", "diagonal", "constant"])
def test_moments_and_increments_of_one_process_agree(diffusion):
    pairs = moment_pairs(polynomial_drift, state_dependent, K=4)
    model = clone(POLYNOMIAL).set_params(diffusion_model=diffusion)
    by_moments, by_increments = clone(model).fit(pairs), clone(model).fit(cubature(pairs))
    assert np.allclose(by_moments.drift(GRID), by_increments.drift(GRID), atol=1e-7)
    assert np.allclose(by_moments.diffusion(GRID), by_increments.diffusion(GRID), rtol=1e-5)


@pytest.mark.parametrize("diffusion", ["full", "diagonal", "constant"])
def test_pairs_of_one_state_are_fitted_as_one(diffusion, monkeypatch):
    """Each of 40 states has a weight of its own, and pairs of different drift and noise."""
    rng = np.random.default_rng(0)
    state = rng.choice(40, 600, p=rng.dirichlet(np.ones(40)))
    pairs = moment_pairs(polynomial_drift, state_dependent, n=600, spread=0.3, K=4)
    pairs["z"] = rng.uniform(-1, 1, (40, 2))[state]
    merge_states = Increments.merge_states
    sizes, model = [], clone(POLYNOMIAL).set_params(diffusion_model=diffusion)

    def counting(self, u):
        result = merge_states(self, u)
        sizes.append(len(result[0]))
        return result

    monkeypatch.setattr(Increments, "merge_states", counting)
    as_one = clone(model).fit(pairs)
    assert sizes == [len(np.unique(state))]
    monkeypatch.setattr(Increments, "merge_states", lambda self, u: (u, self, np.ones(len(u))))
    each = clone(model).fit(pairs)
    assert np.allclose(as_one.drift(GRID), each.drift(GRID), rtol=1e-5, atol=1e-8)
    assert np.allclose(as_one.diffusion(GRID), each.diffusion(GRID), rtol=1e-5)
    monkeypatch.setattr(
        Increments, "merge_states", lambda self, u: (*merge_states(self, u)[:2], np.ones(sizes[0]))
    )
    uncounted = clone(model).fit(pairs)  # negative control
    assert not np.allclose(uncounted.diffusion(GRID), each.diffusion(GRID), rtol=1e-3)


@pytest.mark.statistical
def test_sampled_increments_tend_to_the_moments():
    """Within standard errors, at a dt so small that its bias is far below them."""
    n, dt, factor = 40_000, 1e-3, np.array([[0.5, 0.0], [0.2, 0.3]])

    def constant(z):
        return np.broadcast_to(factor, (len(z), 2, 2))

    sampled = sampled_pairs(lambda z: -z, constant, n=n, dt=dt, d=2)
    exact = clone(LINEAR).fit(moment_pairs(lambda z: -z, constant, n=n, dt=dt))
    Sigma = factor @ factor.T
    assert np.allclose(exact.diffusion(GRID), Sigma, rtol=1e-9)
    by_increments = clone(LINEAR).fit(sampled).diffusion(GRID)[0]
    assert np.abs(by_increments - Sigma).max() < 5 * np.sqrt(2 / n) * Sigma.max()


@pytest.mark.statistical
@pytest.mark.parametrize("diffusion", ["constant", "full"])
def test_unlike_patches_do_not_widen_the_diffusion(diffusion):
    """Sigma of moments is C; that of increments over dt is C + dt Var(b | z)."""
    n, dt, factor = 4000, 0.2, 0.3 * np.eye(2)
    pairs = moment_pairs(
        lambda z: -z, lambda z: np.broadcast_to(factor, (len(z), 2, 2)), n=n, dt=dt, spread=1.5
    )
    model = clone(POLYNOMIAL).set_params(diffusion_model=diffusion, drift_model__degree=1)
    assert np.allclose(clone(model).fit(pairs).diffusion(GRID), 0.09 * np.eye(2), rtol=1e-9)
    wide = clone(model).fit(cubature(pairs)).diffusion(GRID).mean(axis=0)
    b = pairs["dz"] / dt
    f = np.column_stack([np.ones(n), pairs["z"]])
    rest = b - f @ np.linalg.lstsq(f, b, rcond=None)[0]
    expected = 0.09 * np.eye(2) + dt * rest.T @ rest / n
    assert expected[0, 0] > 5 * 0.09
    tolerance = 1e-9 if diffusion == "constant" else 0.05
    assert np.allclose(wide, expected, atol=tolerance * expected[0, 0])


@given(power=st.integers(-40, 40), lam=st.sampled_from([0.1, 1.0, 5.5]))
@settings(max_examples=15)
@pytest.mark.parametrize("name", MODELS)
def test_neither_the_length_of_dt_nor_lam_matters(name, power, lam):
    """The drift stays to the last bit, and lam Sigma to rounding; dt times a power of two."""
    pairs = moment_pairs(polynomial_drift, state_dependent, n=100, spread=0.3, K=4)
    reference = clone(MODELS[name]).fit(pairs)
    for field in ("dz", "cov", "dt"):
        pairs[field] *= 2.0**power
    other = clone(MODELS[name]).set_params(lam=lam).fit(pairs)
    assert np.array_equal(other.drift(GRID), reference.drift(GRID))
    assert np.allclose(other.diffusion(GRID) * lam, reference.diffusion(GRID) * 4, rtol=1e-12)


@pytest.mark.statistical
def test_drift_of_moments_is_weighted_by_the_inverse_diffusion():
    """A noisy half of the pairs, known by its diffusion alone, hardly counts."""
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 1, (2000, 1))
    Sigma = np.exp(4 * z)  # the log-linear family has it exactly
    b = 2 * z + rng.normal(size=z.shape) * np.sqrt(Sigma)
    pairs = latent_pairs(z, b * 0.1, 0.1, cov=Sigma[:, :, None] * 0.1)
    model = clone(POLYNOMIAL).set_params(drift_model__degree=1).fit(pairs)
    f = np.hstack([np.ones_like(z), z])
    weight = 1 / Sigma
    line = np.linalg.solve((f * weight).T @ f, (f * weight).T @ b)
    assert np.allclose(model.drift([[0.0], [1.0]]), [line[0], line[0] + line[1]], atol=1e-6)
    plain = np.linalg.lstsq(f, b, rcond=None)[0]
    # Negative control: the two differ by 0.06, and by less than a hundredth of that (both
    # coefficients) once in 1e4.
    assert abs(plain - line).max() > 5e-4


def test_singular_covariances():
    """One noise for both components; one without noise; none at all."""
    along = np.array([[0.4, 0.0], [0.8, 0.0]])
    for factor in (along, np.diag([0.3, 0.0]), np.diag([0.0, 0.3]), np.zeros((2, 2))):
        pairs = moment_pairs(lambda z: -z, lambda z, L=factor: np.tile(L, (len(z), 1, 1)))
        for diffusion in ("constant", "full"):
            model = clone(POLYNOMIAL).set_params(diffusion_model=diffusion).fit(pairs)
            Sigma = model.diffusion(GRID)
            assert np.allclose(model.drift(GRID), -GRID, atol=1e-6)
            assert np.allclose(Sigma, factor @ factor.T, atol=1e-9)
            assert np.isfinite(model.score(pairs))
            assert (np.linalg.eigvalsh(Sigma) >= 0).all()
        mlp = PatchSDERegressor(**SMALL_MLP).fit(pairs)
        assert np.isfinite(mlp.drift(GRID)).all()


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["mlp", "onsager"])
def test_nets_recover_drift_and_diffusion_from_moments(name):
    A = np.array([[-0.5, 1.0], [-1.0, -0.5]])

    def factor(z):
        return (0.3 + 0.1 * np.tanh(z[:, :1, None])) * np.eye(2)

    pairs = moment_pairs(lambda z: z @ A.T, factor, n=4000, dt=1e-3, K=9, spread=0.5)
    model = net(name, (24,), max_epochs=30, batch_size=128, lr=1e-2)
    model.set_params(**({"forcing": False} if name == "onsager" else {})).fit(pairs)
    # Root mean square errors, relative: up to 0.28 and 0.053 at 30 seeds, most of them below 0.1
    # and 0.02.
    z, drift = pairs["z"], pairs["z"] @ A.T
    assert np.linalg.norm(model.drift(z) - drift) < 0.6 * np.linalg.norm(drift)
    assert np.linalg.norm(model.drift(z) - z @ A) > np.linalg.norm(drift)  # negative control
    expected = factor(z) @ factor(z).mT
    error = np.linalg.norm(model.diffusion(z) - expected)
    assert error < 0.2 * np.linalg.norm(expected)


# --- parity --------------------------------------------------------------------------------------

P = np.array([-1.0, 1.0])


def lopsided(n=150, seed=0):
    """Moments of a process of parity P, at states with mostly positive first component."""
    rng = np.random.default_rng(seed)
    z = rng.uniform([-0.4, 0.1], [1, 0.9], (n, 2))
    x, y = z.T
    b = np.column_stack([x * y - x**3, 0.5 - y + 0.3 * x**2]) + 0.2 * rng.normal(size=(n, 2))
    L = np.zeros((n, 2, 2))
    L[:, 0, 0], L[:, 1, 1], L[:, 1, 0] = 0.3 * np.exp(0.3 * y), 0.2 + 0.1 * x**2, 0.1 * x
    return latent_pairs(z, b * 0.1, 0.1, cov=0.1 * L @ L.mT)


def mirrored(pairs):
    other = pairs.copy()
    other["z"], other["dz"] = other["z"] * P, other["dz"] * P
    if "cov" in pairs.dtype.names:
        other["cov"] *= np.outer(P, P)
    return other


@pytest.fixture(scope="module")
def symmetric():
    pairs = lopsided()
    return {
        (name, kind): clone(model).set_params(parity=tuple(P)).fit(data)
        for name, model in MODELS.items()
        for kind, data in (("moments", pairs), ("sampled", cubature(pairs)))
    }


@given(z=st.lists(st.floats(-3, 3), min_size=2, max_size=2))
@settings(max_examples=10)
@pytest.mark.parametrize("kind", ["moments", "sampled"])
@pytest.mark.parametrize("name", MODELS)
def test_drift_and_diffusion_have_the_parity(symmetric, name, kind, z):
    model, z = symmetric[name, kind], np.array([z])
    size = 1e-12 * (1 + np.abs(model.drift(z)).max())
    assert np.allclose(model.drift(P * z), P * model.drift(z), rtol=1e-12, atol=size)
    Sigma = model.diffusion(z)
    turned = np.outer(P, P) * Sigma
    assert np.allclose(model.diffusion(P * z), turned, rtol=1e-11, atol=1e-12 * Sigma.max())


@pytest.mark.parametrize("name", MODELS)
def test_without_parity_there_is_none(name):
    """Negative control."""
    model = clone(MODELS[name]).fit(lopsided())
    assert np.abs(model.drift(P * GRID) - P * model.drift(GRID)).max() > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_a_mirrored_start_and_noise_give_the_mirrored_path(symmetric, name, monkeypatch):
    model = symmetric[name, "moments"]
    z0 = np.array([[0.6, 0.4], [0.1, 0.8]])
    paths = model.simulate(z0, 60, 0.05, random_state=0)
    draw = np.random.Generator.standard_normal

    class Mirrored:
        def __init__(self, rng):
            self.rng = rng

        def standard_normal(self, out):
            draw(self.rng, out=out)
            out *= P

    stream = rollout.stream
    monkeypatch.setattr(rollout, "stream", lambda *key: Mirrored(stream(*key)))
    assert np.allclose(model.simulate(P * z0, 60, 0.05, random_state=0), P * paths, atol=1e-9)
    assert not np.allclose(model.simulate(z0, 60, 0.05, random_state=0), paths, atol=1e-3)


@pytest.mark.parametrize("name", ["linear", "polynomial"])
def test_parity_is_a_fit_to_pairs_and_their_images(name):
    pairs = lopsided()
    both = np.concatenate([pairs, mirrored(pairs)])
    for data, doubled in ((pairs, both), (cubature(pairs), cubature(both))):
        half = clone(MODELS[name]).set_params(parity=(-1, 1)).fit(data)
        whole = clone(MODELS[name]).fit(doubled)
        assert np.allclose(half.drift(GRID), whole.drift(GRID), atol=1e-5)
        assert np.allclose(half.diffusion(GRID), whole.diffusion(GRID), rtol=1e-4, atol=1e-7)


def test_coefficients_of_the_wrong_parity_are_zero(symmetric):
    model = symmetric["polynomial", "moments"]
    assert model.mean_[0] == 0
    assert model.model_.low[0] == -model.model_.high[0]
    odd = (np.round(model.model_.B[0], 12) != 0).sum()
    assert odd == (model.model_.B[0] != 0).sum() == 4  # x, xy, x^3, xy^2
    assert (model.model_.B[1] != 0).sum() == 6  # 1, y, x^2, y^2, x^2 y, y^3
    assert (model.model_.phi[1, 0] != 0).sum() == 4
    assert (model.model_.g != 0).sum() == 12


def test_parity_leaves_the_context_alone():
    pairs = lopsided()
    c = np.random.default_rng(1).uniform(1, 2, (len(pairs), 1))
    data = latent_pairs(pairs["z"], pairs["dz"] * c, 0.1, cov=pairs["cov"], context=c)
    for model in MODELS.values():
        model = clone(model).set_params(parity=P).fit(data)
        at = [1.3]
        assert np.allclose(model.drift(P * GRID, at), P * model.drift(GRID, at), atol=1e-11)
        assert not np.allclose(model.drift(GRID, at), model.drift(GRID, [1.9]), rtol=1e-6)


def test_onsager_keeps_its_structure_under_parity(symmetric):
    model, z = symmetric["onsager", "moments"], GRID + np.array([0.1, 0.3])
    M, W, f = model.dissipation(z), model.conservation(z), model.force(z)
    gradient = model.potential_gradient(z)
    drift = f - np.einsum("nij,nj->ni", M + W, gradient)
    assert np.allclose(model.drift(z), drift, rtol=1e-9, atol=1e-12)
    assert np.allclose(model.potential(P * z), model.potential(z), rtol=1e-12)
    assert np.allclose(model.potential_gradient(P * z), P * gradient, rtol=1e-9, atol=1e-12)
    assert np.allclose(model.conservation(P * z), np.outer(P, P) * W, rtol=1e-9, atol=1e-12)
    assert np.allclose(model.force(P * z), P * f, rtol=1e-9, atol=1e-12)
    assert np.allclose(M, M.mT, rtol=1e-12)
    scale = np.sqrt(np.einsum("nii->ni", M))
    assert (np.linalg.eigvalsh(M / (scale[:, :, None] * scale[:, None])) > 0).all()


def test_all_signs_positive_are_no_parity():
    pairs = lopsided()
    for model in (MODELS["polynomial"], MODELS["mlp"], MODELS["onsager"]):
        plain, same = clone(model).fit(pairs), clone(model).set_params(parity=[1, 1]).fit(pairs)
        assert np.array_equal(plain.drift(GRID), same.drift(GRID))
        assert array_model(same.model_) is not None


# --- degree --------------------------------------------------------------------------------------


def cubic(kind, spread=0.5, n=3000, seed=0):
    """dz = (z - 2 z^3) dt + (0.4 + cubic terms) dB as pairs, sampled or moments."""
    pairs = moment_pairs(
        lambda z: z - 2 * z**3,
        lambda z: 0.4 * np.exp(0.3 * z - 0.4 * z**3)[:, :, None],
        n=n, d=1, spread=spread, seed=seed,
    )  # fmt: skip
    if kind == "moments":
        return pairs
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, 1)) * np.sqrt(pairs["cov"][:, 0])
    return latent_pairs(pairs["z"], pairs["dz"] + noise, 0.1)


AUTO = clone(POLYNOMIAL).set_params(drift_model__degree="auto", random_state=0)


@pytest.mark.statistical
def test_the_degree_of_a_cubic_process_is_found():
    """Exactly where there is no noise; with noise not below, and close to, the true one."""
    assert clone(AUTO).fit(cubic("moments", spread=0.0)).degree_ == 3
    for kind in ("moments", "sampled"):
        degrees = [
            clone(AUTO).set_params(diffusion_model="constant").fit(cubic(kind, seed=seed)).degree_
            for seed in range(6)
        ]
        assert min(degrees) == 3
        assert np.mean(degrees) < 7  # each 3.9 with a standard deviation of 1.6
    line = moment_pairs(lambda z: -z, lambda z: np.full((len(z), 1, 1), 0.4), d=1)
    assert clone(AUTO).fit(line).degree_ == 1


def along_a_curve(seed=0, n=300):
    """Moments of the process (sin 3x, x^2 - y) along the parabola, and one beside it, the first."""
    rng = fixed_rng(seed)
    x = np.append(0.8, rng.uniform(-1, 1, n))
    z = np.column_stack([x, x**2 + 0.02 * rng.normal(size=len(x))])
    z[0, 1] = 0.0
    b = np.column_stack([np.sin(3 * x), x**2 - z[:, 1]])
    return latent_pairs(z, 0.1 * b, 0.1, cov=np.tile(0.01 * np.eye(2), (len(x), 1, 1)))


@pytest.mark.statistical
def test_one_pair_beside_all_others_does_not_choose_the_degree(monkeypatch):
    model, pairs = clone(AUTO).set_params(diffusion_model="constant"), along_a_curve()
    without = model.fit(pairs[1:]).degree_
    assert 5 <= without <= 7
    assert abs(model.fit(pairs).degree_ - without) <= 1
    monkeypatch.setattr(polynomial, "TRIMMED", 0.0)  # negative control
    assert abs(model.fit(pairs).degree_ - without) > 1


def test_the_chosen_degree_is_the_one_fitted():
    pairs = cubic("moments", spread=0.0, n=400)
    chosen = clone(AUTO).fit(pairs)
    given = clone(POLYNOMIAL).set_params(drift_model__degree=3).fit(pairs)
    assert np.array_equal(chosen.drift(GRID[:, :1]), given.drift(GRID[:, :1]))
    assert given.degree_ == 3
    assert clone(LINEAR).fit(pairs).degree_ == 1
    again = [clone(AUTO).fit(cubic("sampled", n=200)).degree_ for _ in range(2)]
    assert again[0] == again[1]


def test_degrees_with_too_few_pairs_or_groups():
    pairs = cubic("sampled", n=6)
    assert clone(AUTO).fit(pairs).degree_ <= 4  # five pairs to fit to
    pairs["group"] = 0
    with pytest.raises(ValueError, match=r"at least 2 groups .*but got 1; pass more source"):
        clone(AUTO).fit(pairs)


@pytest.mark.statistical
def test_held_out_pairs_of_one_group_do_not_tell():
    """Negative control: with every pair in two groups, the likelihood only grows."""
    model, apart, together = clone(AUTO).set_params(diffusion_model="constant"), [], []
    for seed in range(8):
        pairs = cubic("sampled", n=60, seed=seed)
        twice = np.concatenate([pairs, pairs])
        twice["group"] = np.repeat([0, 1], 60)
        apart.append(model.fit(twice).degree_)
        twice["group"] = np.tile(np.arange(60), 2)
        together.append(model.fit(twice).degree_)
    assert np.mean(apart) > 7  # all are 9, the largest on offer
    assert np.mean(together) < 5  # 2.3 with a standard deviation of 0.5


@pytest.mark.parametrize("tail", ["normal", "lognormal", "cauchy"])
def test_high_degrees_are_well_conditioned(tail):
    """Powers up to the eighth of heavy-tailed z: a cubic drift is found to rounding.

    Negative control: the normal equations of the monomials themselves lose five digits more.
    """
    rng = np.random.default_rng(0)
    draw = {"normal": rng.normal, "lognormal": rng.lognormal, "cauchy": rng.standard_cauchy}
    z = draw[tail](size=(3000, 2))
    u = (z - z.mean(axis=0)) / z.std(axis=0)
    b = np.column_stack([u[:, 0] - u[:, 1] ** 3, u[:, 0] * u[:, 1]])
    pairs = latent_pairs(z, b * 0.1, 0.1, cov=np.tile(0.01 * np.eye(2), (3000, 1, 1)))
    model = (
        clone(POLYNOMIAL).set_params(drift_model__degree=8, diffusion_model="constant").fit(pairs)
    )
    error = np.abs(model.drift(z) - b).max(axis=0) / np.abs(b).max(axis=0)
    assert error.max() < 1e-6
    bulk = np.abs(u).max(axis=1) < 1
    assert np.abs(model.drift(z) - b)[bulk].max() < 1e-8
    if tail == "cauchy":
        f = monomials(u, 8)
        plain = f @ np.linalg.solve(f.T @ f, f.T @ b)
        assert np.abs(plain - b)[bulk].max() > 1e-6


# --- malformed inputs ----------------------------------------------------------------------------


def test_malformed_inputs():
    pairs = lopsided(20)
    for wrong in ((1,), (1, 2), (1, 0), "+-", 1, (1, np.nan), [[1, 1]], (True, True)):
        for model in (LINEAR, OnsagerSDE(**SMALL)):
            with pytest.raises(ValueError, match=r"parity to be None or 1 or -1 for each of the 2"):
                clone(model).set_params(parity=wrong).fit(pairs)
    for wrong in ("best", 0, 1.5, None):
        with pytest.raises(ValueError, match=r"Expected degree .*pass an integer or 'auto'"):
            clone(POLYNOMIAL).set_params(drift_model__degree=wrong).fit(pairs)
    for change, message in (
        (np.nan, "Expected finite covariances"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric and positive semidefinite, but got 1 that"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "the first of pair 3"),
        (-np.eye(2), "the first of pair 3"),
    ):
        bad = pairs.copy()
        bad["cov"][3] = change
        with pytest.raises(ValueError, match=message):
            clone(LINEAR).fit(bad)
