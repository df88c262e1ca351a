"""What increments obey exactly, models of Eqs. 4, 5, 7 and 31 obey exactly: constants, sums."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from sklmacro import MLP, OnsagerSDE, PatchSDERegressor, Polynomial, SDEEnsemble, Training
from sklmacro.pairs import latent_pairs
from sklmacro.scoring import stationary_density

# what is asked here has nothing to do with what the data cover
pytestmark = pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")

N = 300
RNG = np.random.default_rng(1)
DT = 0.1
Z = RNG.uniform(-1, 1, (N, 1))
DZ = -0.5 * Z * DT + 0.2 * np.sqrt(DT) * RNG.normal(size=(N, 1))
VARYING = RNG.uniform(0.5, 1, (N, 1))
NOTHING = np.zeros((N, 1))
NET = {"training": Training(max_epochs=2, batch_size=100), "hidden": (4,)}


def net(**options):
    return PatchSDERegressor(
        drift_model=MLP(NET["hidden"], training=NET["training"]), random_state=0, **options
    )


MODELS = {
    "linear": PatchSDERegressor(drift_model="linear", diffusion_model="constant"),
    "linear, diagonal": PatchSDERegressor(drift_model="linear", diffusion_model="diagonal"),
    "polynomial": PatchSDERegressor(drift_model=Polynomial(3)),
    "auto": PatchSDERegressor(
        drift_model=Polynomial("auto"), diffusion_model="constant", random_state=0
    ),
    "mlp": net(),
    "mlp, constant": net(diffusion_model="constant"),
    "gp": PatchSDERegressor(drift_model="gp"),
    "gp, constant": PatchSDERegressor(drift_model="gp", diffusion_model="constant"),
    "onsager": OnsagerSDE(**NET, random_state=0),
    "onsager, diagonal": OnsagerSDE(
        **NET, forcing=False, diffusion_model="diagonal", random_state=0
    ),
    "ensemble": SDEEnsemble(PatchSDERegressor(drift_model="linear"), n_members=2, random_state=0),
}
every_model = pytest.mark.parametrize("name", MODELS)


def fractions():
    """Macrostates of three fractions, increments that sum up to 0 but for rounding, and moments."""
    z = RNG.dirichlet([5, 5, 5], N)
    root = np.sqrt(z)
    factor = 0.1 * (root[:, :, np.newaxis] * np.eye(3) - z[:, :, np.newaxis] * root[:, np.newaxis])
    mean = 0.3 * (1 / 3 - z) * DT
    noise = np.sqrt(DT) * np.einsum("nij,nj->ni", factor, RNG.normal(size=z.shape))
    return z, (z + mean + noise) - z, mean, DT * factor @ factor.mT


FRACTIONS, CHANGES, MEANS, COVARIANCES = fractions()


def fit(name, z, dz, **fields):
    return clone(MODELS[name]).fit(latent_pairs(z, dz, DT, **fields))


@every_model
def test_constants_do_not_change_and_have_no_influence(name):
    """A constant, a conserved component, and a context at one temperature."""
    z = np.hstack([np.full_like(Z, 14.62), Z, VARYING])
    dz = np.hstack([NOTHING, DZ, NOTHING])
    sde = fit(name, z, dz, context=np.full((N, 1), 2.269))
    one, other = [14.62, 0.5, 0.7], [14.6, 0.5, 0.7]
    drift = sde.drift([one, other], [[2.269], [2.27]])
    np.testing.assert_array_equal(drift[0], drift[1])
    np.testing.assert_array_equal(drift[:, [0, 2]], 0)
    Sigma = sde.diffusion([one], [np.float32(2.269)])[0]
    assert Sigma[1, 1] > 0
    assert np.count_nonzero(Sigma) == 1
    paths = sde.simulate([one, other], 100, 0.1, context=[2.3], random_state=0)
    np.testing.assert_array_equal(paths[0, :, [0, 2]], np.transpose([[14.62, 0.7]] * 101))
    assert np.abs(paths[..., 1]).max() < 2
    assert np.isfinite(sde.score(latent_pairs(z, dz, DT, context=np.full((N, 1), 2.269))))


@pytest.mark.parametrize("name", ["linear", "mlp", "gp"])
def test_a_conserved_component_that_varies_is_seen(name):
    """It is a parameter of the dynamics, as context is."""
    dz = np.hstack([DZ + 4 * VARYING * DT, NOTHING])
    sde = fit(name, np.hstack([Z, VARYING]), dz)
    np.testing.assert_array_equal(sde.relations_.free, [0])
    low, high = sde.drift([[0.0, 0.5], [0.0, 1.0]])[:, 0]
    assert 1.5 < high - low < 2.5
    as_context = fit(name, Z, dz[:, :1], context=VARYING)
    np.testing.assert_array_equal(
        sde.drift(np.hstack([Z, VARYING]))[:, :1], as_context.drift(Z, VARYING)
    )


@every_model
@pytest.mark.parametrize("moments", [False, True], ids=["sampled", "moments"])
def test_fractions_sum_up_to_one(name, moments):
    fields = {"cov": COVARIANCES} if moments else {}
    sde = fit(name, FRACTIONS, MEANS if moments else CHANGES, **fields)
    z = np.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])
    drift, Sigma = sde.drift(z), sde.diffusion(z)
    assert np.abs(drift.sum(axis=1)).max() < 1e-15
    assert np.abs(Sigma.sum(axis=2)).max() < 1e-15
    assert np.diagonal(Sigma, axis1=1, axis2=2).min() > 1e-5
    paths = sde.simulate(z, 200, DT, random_state=0)
    np.testing.assert_array_equal(paths[:, 0], z)
    assert np.abs(paths.sum(axis=2) - 1).max() < 1e-14
    assert paths.std(axis=1).min() > 1e-3


def test_ten_thousand_steps_keep_sums():
    sde = fit("linear", FRACTIONS, CHANGES)
    np.testing.assert_array_equal(sde.relations_.free, [0, 1])
    np.testing.assert_array_equal(sde.relations_.matrix, [[-1, -1]])
    paths = sde.simulate([0.2, 0.3, 0.5], 10_000, DT, n_paths=3, store_every=100, random_state=0)
    assert np.abs(paths.sum(axis=2) - 1).max() < 1e-14
    kept = fit("linear", FRACTIONS[:, :2], CHANGES[:, :2])  # the model of the free ones alone
    others = kept.simulate([0.2, 0.3], 10_000, DT, n_paths=3, store_every=100, random_state=0)
    np.testing.assert_array_equal(paths[..., :2], others)


def test_relations_in_any_unit():
    unit = np.array([2.0**300, 1e-40, 3.0])
    sde, own = (fit("polynomial", u * FRACTIONS, u * CHANGES) for u in (unit, np.ones(3)))
    z = FRACTIONS[:5]
    np.testing.assert_allclose(sde.drift(unit * z) / unit, own.drift(z), rtol=1e-9, atol=1e-12)
    paths = sde.simulate(unit * z, 100, DT, random_state=0) / unit
    assert np.abs(paths.sum(axis=2) - 1).max() < 1e-13


def test_what_is_nearly_a_relation_is_none():
    """Control: a sum that changes by 1e-6 of its parts is free, and so is one of few pairs."""
    noisy = CHANGES + 1e-8 * RNG.normal(size=CHANGES.shape)
    assert fit("linear", FRACTIONS, noisy).relations_ is None
    with pytest.warns(UserWarning, match="different states"):
        assert fit("linear", FRACTIONS[:2], CHANGES[:2]).relations_ is None
    dz = CHANGES[:, [0, 1, 1]]
    np.testing.assert_array_equal(fit("linear", FRACTIONS, dz).relations_.matrix, [[0, 1]])
    odd = clone(MODELS["linear"]).set_params(parity=(1, 1, -1))
    assert odd.fit(latent_pairs(FRACTIONS, dz, DT)).relations_ is None  # of another symmetry


def test_what_changes_now_and_then_is_free():
    """Though most pairs, those that are asked first among them, do not show it."""
    z, dz = RNG.uniform(size=(2, 4000, 2))
    dz[:, 1] = 0
    dz[[501, 1502, 3003, 3999], 1] = 0.1
    assert fit("linear", z, dz).relations_ is None
    dz[[501, 1502, 3003, 3999], 1] = 0
    np.testing.assert_array_equal(fit("linear", z, dz).relations_.free, [0])  # control


def test_rounding_of_what_is_conserved_is_no_noise():
    z = np.hstack([Z, 0.1 + 0 * Z])
    dz = np.hstack([DZ, 1e-17 * RNG.normal(size=Z.shape)])
    sde = fit("linear", z, dz)
    np.testing.assert_array_equal(sde.diffusion(z[:3])[:, 1], 0)
    cov = np.zeros((N, 2, 2))
    cov[:, 0, 0], cov[:, 1, 1] = 0.04, 1e-34
    sde = fit("linear", z, dz * 1e-20, cov=cov * 1e-20)  # of moments at however short a time
    np.testing.assert_array_equal(sde.relations_.free, [0])
    dz[:, 1] = 1e-12 * RNG.normal(size=N)
    assert fit("linear", z, dz).relations_ is None  # control


@every_model
def test_where_nothing_changes_there_is_nothing_to_fit(name):
    z, dz = np.hstack([Z, VARYING]), np.zeros((N, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sde = fit(name, z, dz)
    np.testing.assert_array_equal(sde.drift(z), 0)
    np.testing.assert_array_equal(sde.diffusion(z), np.zeros((N, 2, 2)))
    np.testing.assert_array_equal(sde.predict(z), 0)
    np.testing.assert_array_equal(sde.simulate(z, 3, 0.1)[:, 3], z)
    assert sde.score(latent_pairs(z, dz, DT)) == 0
    if isinstance(sde, OnsagerSDE):
        np.testing.assert_array_equal(sde.potential(z), np.zeros(N))
        np.testing.assert_array_equal(sde.dissipation(z), np.zeros((N, 2, 2)))
        np.testing.assert_array_equal(sde.potential_gradient(z), 0 * z)


def test_a_state_that_never_changes_has_no_stationary_density():
    sde = fit("linear", VARYING, NOTHING)
    with pytest.raises(ValueError, match="SDE with noise, but got one whose state never changes"):
        stationary_density(sde, [0.0, 1.0])


@pytest.mark.parametrize("name", ["onsager", "onsager, diagonal"])
def test_the_structure_of_the_drift_holds_along_relations(name):
    """Eq. 5: mu = -(M + W) grad V + f, M semidefinite and W skew, neither along a relation."""
    z = np.hstack([FRACTIONS, VARYING])
    sde = fit(name, z, np.hstack([CHANGES, NOTHING]))
    z = z[:5]
    M, W, slope = sde.dissipation(z), sde.conservation(z), sde.potential_gradient(z)
    np.testing.assert_allclose(W, -W.mT, atol=1e-15)
    assert np.linalg.eigvalsh(M).min() > -1e-15
    for matrix in (M, W):
        assert np.abs(matrix[:, :3, :3].sum(axis=1)).max() < 1e-12
        np.testing.assert_array_equal(matrix[:, 3], 0)
    mu = sde.force(z) - np.einsum("nij,nj->ni", M + W, slope)
    np.testing.assert_allclose(mu, sde.drift(z), atol=1e-12)
    step = 1e-5 * np.array([1, 0, -1, 0])  # V has this slope along what can change
    ahead, behind = sde.potential(z + step), sde.potential(z - step)
    np.testing.assert_allclose((ahead - behind) / 2, slope @ step, rtol=1e-4, atol=1e-12)


def test_a_free_component_that_starts_from_one_value():
    """It has no influence, though it changes, and Eq. 5 holds in the net's own unit of it."""
    z, dz = np.hstack([Z, 0 * Z + 0.3]), np.hstack([DZ, DZ[::-1]])
    sde = fit("onsager", z, dz)
    one, other = np.array([[0.5, 0.3]]), np.array([[0.5, 7.0]])
    np.testing.assert_array_equal(sde.drift(one), sde.drift(other))
    flow = np.einsum(
        "nij,nj->ni", sde.dissipation(one) + sde.conservation(one), sde.potential_gradient(one)
    )
    np.testing.assert_allclose(sde.force(one) - flow, sde.drift(one))


def test_bounds_cut_off_what_follows():
    """Free components are kept within bounds at every step, those that follow where stored."""
    bounds = [(0, 1), (0, 1), (0.45, 1)]
    sde = clone(MODELS["linear"]).set_params(bounds=bounds)
    paths = sde.fit(latent_pairs(FRACTIONS, CHANGES, DT)).simulate(
        [0.2, 0.3, 0.5], 300, DT, random_state=0
    )
    assert paths[..., 2].min() == 0.45
    within = paths[..., 2] > 0.45
    assert within.any()
    assert np.abs(paths[within].sum(axis=1) - 1).max() < 1e-14
