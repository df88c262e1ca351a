"""What the theory promises exactly: Eqs. 1, 5, 7, 9, 10, 14, 15, and the laws of upsampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.base import clone

from sklmacro import (
    MLP,
    HierarchicalUpsampler,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchSDERegressor,
    Polynomial,
    Training,
)
from sklmacro.likelihood import transition_log_likelihood
from sklmacro.pairs import latent_pairs
from sklmacro.simulators import CurieWeiss, Ising, LinearChain, PredatorPrey
from tests.problems import exact_pairs, sampled_pairs

SEEDS = st.integers(0, 2**32 - 1)
ISING = Ising(temperature=2.5)
MODELS = {
    "mlp": PatchSDERegressor(
        drift_model=MLP(hidden=(8,), training=Training(max_epochs=3)), random_state=0
    ),
    "mlp-diagonal": PatchSDERegressor(
        drift_model=MLP(hidden=(8,), training=Training(max_epochs=3)),
        diffusion_model="diagonal",
        random_state=0,
    ),
    "linear": PatchSDERegressor(drift_model="linear", diffusion_model="constant"),
    "linear-full": PatchSDERegressor(drift_model="linear"),
    "polynomial": PatchSDERegressor(drift_model=Polynomial(degree=3)),
    "polynomial-diagonal": PatchSDERegressor(drift_model="polynomial", diffusion_model="diagonal"),
    "onsager": OnsagerSDE(training=Training(max_epochs=3), hidden=(8,), random_state=0),
    "onsager-free": OnsagerSDE(
        training=Training(max_epochs=3), hidden=(8, 8), forcing=False, random_state=0
    ),
}


# --- patch averages (Eq. 1) ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoders():
    """Fitted on snapshots of one size; the patch is 4 cells wide."""
    fitted = {}
    for name, simulator, cells in [("spins", ISING, 8), ("fields", PredatorPrey(), 12)]:
        X = simulator.sample_initial(30, cells, random_state=0)
        encoder = PatchAutoencoder(
            simulator, patch=4, training=Training(max_epochs=2), hidden=(8,), random_state=0
        )
        fitted[name] = encoder.fit(X)
    return fitted


@given(counts=st.tuples(st.integers(1, 4), st.integers(1, 4)), seed=SEEDS)
@settings(max_examples=20)
@pytest.mark.parametrize("name", ["spins", "fields"])
def test_closures_are_the_mean_over_patches(encoders, name, counts, seed):
    """zhat(x) = (1/K) sum_I phihat(x_I), for any number of patches."""
    encoder = encoders[name]
    simulator = encoder.simulator_
    cells = tuple(4 * n for n in counts[: encoder.grid_.lattice.ndim])
    X = simulator.sample_initial(2, cells, random_state=seed)
    z = encoder.transform(X)
    grid = type(encoder.grid_)(simulator.lattice(X.shape[1:]), encoder.grid_.cells)
    patches = grid.split(X)
    alone = encoder.transform(patches.reshape(-1, *patches.shape[2:]))
    n_obs = simulator.n_observables
    means = alone.reshape(2, grid.n_patches, -1).mean(axis=1)
    assert np.allclose(z[:, n_obs:], means[:, n_obs:], atol=1e-5)  # convolutions: single precision
    assert np.allclose(z[:, :n_obs], simulator.observe(X))


@given(
    counts=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    patch=st.tuples(st.integers(2, 4), st.integers(2, 5)),
    seed=SEEDS,
)
@settings(max_examples=30)
def test_observables_are_the_mean_over_patches(counts, patch, seed):
    """Eq. 14 holds exactly, since densities see their true neighbours across the edge."""
    cells = tuple(n * c for n, c in zip(counts, patch, strict=True))
    X = ISING.sample_initial(1, cells, random_state=seed)
    grid = PartialEvolutionSampler(ISING, patch=patch).fit(X).grid_
    means = [ISING.observe_window(X[0], (tuple(o), patch)) for o in grid.origins.tolist()]
    assert np.allclose(np.mean(means, axis=0), ISING.observe(X)[0])


# --- increments (Eqs. 9, 10, 15) -----------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=20)
def test_magnetisation_increments_add_up_over_patches(seed):
    """Eq. 15, with every patch evolved from the same snapshot."""
    X = ISING.sample_initial(3, (8, 12), random_state=seed)
    sampler = PartialEvolutionSampler(
        ISING, patch=4, dt=1.0, n_patches_evolved=6, random_state=seed
    )
    pairs = sampler.fit_transform(X)
    for pair in pairs:
        after = pair["x"].copy()
        for origin, patch in zip(pair["origin"].tolist(), pair["x_next"], strict=True):
            after[sampler.grid_.lattice.window(tuple(origin), (4, 4))] = patch
        change = ISING.observe(after[None]) - ISING.observe(pair["x"][None])
        assert pair["d_obs"][0] == pytest.approx(change[0, 0], abs=1e-12)


@given(seed=SEEDS, boundary=st.sampled_from(["ghost", "buffer"]))
@settings(max_examples=20)
def test_one_patch_changes_the_whole_by_its_increment_over_K(seed, boundary):
    """The change of all observables, walls across the edge included, is d_obs / K."""
    X = ISING.sample_initial(2, 12, random_state=seed)
    options = {"buffer": 1} if boundary == "buffer" else {}
    sampler = PartialEvolutionSampler(
        ISING, patch=4, dt=1.0, boundary=boundary, random_state=seed, **options
    )
    for pair in sampler.fit_transform(X):
        after = pair["x"].copy()
        window = sampler.grid_.lattice.window(tuple(pair["origin"][0].tolist()), (4, 4))
        after[window] = pair["x_next"][0]
        change = ISING.observe(after[None])[0] - ISING.observe(pair["x"][None])[0]
        n_checked = 2 if boundary == "ghost" else 1  # a buffer moves walls on both sides
        assert np.allclose(pair["d_obs"][:n_checked] / 9, change[:n_checked], atol=1e-12)


@pytest.mark.statistical
def test_a_patch_closed_on_itself_does_not():
    """Negative control: walls of a periodic patch are not those of the lattice."""
    X = ISING.sample_initial(100, 12, random_state=0)
    sampler = PartialEvolutionSampler(ISING, patch=4, dt=1.0, boundary="periodic", random_state=0)
    wrong = 0
    for pair in sampler.fit_transform(X):
        after = pair["x"].copy()
        window = sampler.grid_.lattice.window(tuple(pair["origin"][0].tolist()), (4, 4))
        after[window] = pair["x_next"][0]
        change = ISING.observe(after[None])[0] - ISING.observe(pair["x"][None])[0]
        wrong += not np.allclose(pair["d_obs"] / 9, change, atol=1e-12)
    assert wrong > 20


@pytest.mark.parametrize("n_evolved", [1, 3])
@pytest.mark.parametrize("name", ["spins", "fields"])
def test_increments_are_their_definitions(encoders, name, n_evolved):
    """Eq. 10: patch against patch; Eq. 9: patch against the whole."""
    encoder = encoders[name]
    simulator = encoder.simulator_
    X = simulator.sample_initial(10, 8 if name == "spins" else 12, random_state=1)
    pairs = PartialEvolutionSampler(
        simulator, patch=4, dt=0.5, n_patches_evolved=n_evolved, random_state=2
    ).fit_transform(X)
    site = 1 if name == "spins" else 2  # observables that are means over sites: all but walls
    columns = [*range(site), -2, -1]

    def phi(patches):
        flat = patches.reshape(-1, *patches.shape[2:])
        return encoder.transform(flat).reshape(*patches.shape[:2], -1)[..., columns]

    window = encoder.grid_.lattice.window
    before = np.stack(
        [
            [x[window(tuple(o), encoder.grid_.cells)] for o in origins]
            for x, origins in zip(pairs["x"], pairs["origin"].tolist(), strict=True)
        ]
    )
    whole = encoder.transform(X)[:, columns]
    after = phi(pairs["x_next"]).mean(axis=1)
    patch = encoder.set_params(increments="patch").transform(pairs)
    naive = encoder.set_params(increments="naive").transform(pairs)
    encoder.set_params(increments="patch")
    assert np.allclose(patch["z"][:, columns], whole)
    assert np.allclose(patch["dz"][:, columns], after - phi(before).mean(axis=1), atol=1e-5)
    assert np.allclose(naive["dz"][:, columns], after - whole, atol=1e-5)
    assert np.allclose(naive["dz"], patch["dz"]) == (n_evolved == pairs["n_patches"][0])
    for field in ("dt", "n_patches", "n_evolved", "group"):
        assert np.array_equal(patch[field], pairs[field])


@pytest.mark.statistical
def test_variance_of_p_patches_is_K_over_p():
    """The mean over p patches has 1/p of the variance of one, and K/p of that of the whole."""
    chain = LinearChain(force=0.0)
    X = chain.sample_initial(4000, 24, random_state=0)
    K, dt = 6, 1e-3
    variance = {}
    for p in (1, 2, 3, 6):
        sampler = PartialEvolutionSampler(
            chain, patch=4, dt=dt, n_patches_evolved=p, random_state=p
        )
        pairs = sampler.fit_transform(X)
        assert set(pairs["n_evolved"]) == {p}
        variance[p] = pairs["d_obs"].var()
        expected = (K / p) * dt / 24  # sigma^2 dt / N for the whole
        assert variance[p] == pytest.approx(expected, rel=5 * np.sqrt(2 / 4000))
    assert variance[1] / variance[6] > 5  # negative control: they do differ


# --- likelihood (Eqs. 6, 7) ----------------------------------------------------------------------


@given(seed=SEEDS, d=st.integers(1, 4), lam=st.floats(0.1, 50))
def test_likelihood_is_that_of_scipy(seed, d, lam):
    rng = np.random.default_rng(seed)
    dz, mu, dt = rng.normal(size=(3, d)), rng.normal(size=(3, d)), rng.uniform(0.1, 2, 3)
    factor = np.tril(rng.normal(size=(3, d, d)))
    factor[:, range(d), range(d)] = rng.uniform(0.2, 2, (3, d))
    expected = [
        multivariate_normal(m * t, lam * t * L @ L.T).logpdf(x)
        for x, m, t, L in zip(dz, mu, dt, factor, strict=True)
    ]
    assert np.allclose(transition_log_likelihood(dz, dt, mu, factor, lam), expected)
    per_sample = transition_log_likelihood(dz, dt, mu, factor, np.full(3, lam))
    assert np.allclose(per_sample, expected)


@pytest.mark.parametrize("name", MODELS)
def test_score_is_the_mean_likelihood(name):
    pairs, _, _ = exact_pairs(n=200)
    model = clone(MODELS[name]).fit(pairs)
    mu, Sigma = model.drift(pairs["z"]), model.diffusion(pairs["z"])
    expected = [
        multivariate_normal(m * t, 16 * t * S).logpdf(x)
        for x, m, t, S in zip(pairs["dz"], mu, pairs["dt"], Sigma, strict=True)
    ]
    assert model.score(pairs) == pytest.approx(np.mean(expected), abs=1e-9)
    assert np.allclose(model.predict(pairs), mu * pairs["dt"][:, None])


# --- the minimiser of Eq. 7 ----------------------------------------------------------------------

CLOSED = {
    "linear": {"drift_model": "linear", "diffusion_model": "constant"},
    "polynomial": {"drift_model": Polynomial(3), "diffusion_model": "constant"},
}


@pytest.mark.parametrize("p", [1, 4])
@pytest.mark.parametrize("options", CLOSED.values(), ids=CLOSED)
@pytest.mark.parametrize("lam", ["K", 16.0, 1.0, 5.5, 0.1])
def test_minimiser_on_exact_gaussian_data(options, lam, p):
    """mu* for every lam; Sigma* for lam = K / p, and Sigma* K / (p lam) otherwise."""
    pairs, A, Sigma = exact_pairs(K=16, p=p)
    model = PatchSDERegressor(lam=lam, **options).fit(pairs)
    z = np.array([[0.0, 0.0], [0.5, -0.5], [0.9, 0.2]])
    used = 16 / p if lam == "K" else lam
    assert model.lam_ == pytest.approx(used)
    assert np.allclose(model.drift(z), z @ A.T, atol=1e-10)
    assert np.allclose(model.diffusion(z), Sigma * 16 / p / used, rtol=1e-10)


@pytest.mark.parametrize("options", CLOSED.values(), ids=CLOSED)
def test_the_minimiser_is_one(options):
    """Every other drift or diffusion of the family has a smaller likelihood."""
    pairs, _, _ = exact_pairs()
    model = PatchSDERegressor(**options).fit(pairs)
    best = model.score(pairs)
    rng = np.random.default_rng(0)
    for name in ("B", "phi", "g"):
        array = getattr(model.model_, name)
        for _ in range(10):
            change = 1e-2 * rng.normal(size=array.shape)
            change[..., 1:] *= name == "B"  # a constant diffusion
            if name == "phi":
                change *= np.tri(2, k=-1)[:, :, None]
            array += change
            assert model.score(pairs) < best
            array -= change


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lam", [1.0, 5.5, 0.1, 123.4])
def test_the_drift_does_not_depend_on_lam(name, lam):
    """To the last bit, and neither does lam Sigma; hence no likelihood can choose lam."""
    pairs, _, _ = exact_pairs(n=100)
    z = pairs["z"][:20]
    reference = clone(MODELS[name]).fit(pairs)
    other = clone(MODELS[name]).set_params(lam=lam).fit(pairs)
    assert np.array_equal(other.drift(z), reference.drift(z))
    assert np.allclose(other.diffusion(z) * lam, reference.diffusion(z) * 16, rtol=1e-12, atol=0)
    assert other.score(pairs) == pytest.approx(reference.score(pairs), abs=1e-10)


def test_random_elapsed_times_are_used_pair_by_pair():
    pairs, A, Sigma = exact_pairs(n=400)
    options = CLOSED["linear"]
    z = np.array([[0.9, -0.8]])
    model = PatchSDERegressor(**options).fit(pairs)
    assert np.allclose(model.drift(z), z @ A.T, atol=1e-10)
    pairs["dt"] = pairs["dt"].mean()  # negative control
    wrong = PatchSDERegressor(**options).fit(pairs)
    assert not np.allclose(wrong.drift(z), z @ A.T, atol=1e-3)
    assert not np.allclose(wrong.diffusion(z), Sigma, rtol=1e-3)


def test_lam_is_read_from_every_pair():
    """Pairs of lattices with other K: each counts with its own factor."""
    few, A, Sigma = exact_pairs(K=4, seed=1)
    many, _, _ = exact_pairs(K=64, p=2, seed=2)
    both = np.concatenate([few, many])
    model = PatchSDERegressor(**CLOSED["linear"]).fit(both)
    z = np.array([[0.9, -0.8]])
    assert model.lam_ == (4 + 32) / 2
    assert np.allclose(model.drift(z), z @ A.T, atol=1e-10)
    assert np.allclose(model.diffusion(z), Sigma, rtol=1e-10)
    wrong = PatchSDERegressor(lam=18.0, **CLOSED["linear"]).fit(both)
    assert np.allclose(wrong.diffusion(z), Sigma)  # by chance the same mean of lam ...
    unequal = np.concatenate([few, many, many])
    wrong = PatchSDERegressor(lam=18.0, **CLOSED["linear"]).fit(unequal)
    assert not np.allclose(wrong.diffusion(z), Sigma, rtol=0.1)  # ... but not in general


# --- positive definite diffusion -----------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    pairs = sampled_pairs(
        lambda z: -z,
        lambda z: np.array([[0.3, 0.0], [0.2, 0.1]]) * (1 + z[:, :1, None] ** 2),
        n=500, dt=0.1, K=4, d=2,
    )  # fmt: skip
    return {name: clone(model).fit(pairs) for name, model in MODELS.items()}


@given(z=st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=2))
@pytest.mark.parametrize("name", MODELS)
def test_diffusion_is_positive_definite_for_any_input(fitted, name, z):
    Sigma = fitted[name].diffusion([z])[0]
    assert np.isfinite(Sigma).all()
    assert np.array_equal(Sigma, Sigma.T)
    scale = np.sqrt(np.diag(Sigma))
    assert (scale > 0).all()
    assert np.linalg.eigvalsh(Sigma / np.outer(scale, scale))[0] > 0


# --- OnsagerNet (Eq. 5) --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onsager():
    """Fitted with coordinates of unlike scale, and a context."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2)) * [1.0, 30.0] + [0.5, -10.0]
    c = rng.uniform(1, 2, (600, 1))
    dz = -c * (z - [0.5, -10]) * 0.1 + rng.normal(size=z.shape) * [0.1, 3.0]
    pairs = latent_pairs(z, dz, 0.1, context=c)
    return {
        forcing: OnsagerSDE(
            forcing=forcing,
            training=Training(max_epochs=8, batch_size=64, lr=1e-2),
            hidden=(16,),
            random_state=1,
        ).fit(pairs)
        for forcing in (True, False)
    }


STATES = st.tuples(st.floats(-5, 5), st.floats(-150, 150))


@given(z=STATES, c=st.floats(0.5, 3), forcing=st.booleans())
def test_onsager_drift_is_its_parts(onsager, z, c, forcing):
    """mu = -(M + W) grad V + f, in the units of z."""
    model, z, c = onsager[forcing], np.array([z]), [c]
    M, W = model.dissipation(z, c)[0], model.conservation(z, c)[0]
    f, gradient = model.force(z, c)[0], model.potential_gradient(z, c)[0]
    assert np.allclose(model.drift(z, c)[0], -(M + W) @ gradient + f, rtol=1e-9, atol=1e-12)
    assert np.allclose(M, M.T, rtol=1e-12)
    scale = np.sqrt(np.diag(M))
    assert np.linalg.eigvalsh(M / np.outer(scale, scale))[0] > 0
    assert np.allclose(W, -W.T, rtol=1e-12, atol=0)
    assert f.any() == forcing


@given(z=STATES, c=st.floats(0.5, 3))
def test_potential_gradient_is_that_of_finite_differences(onsager, z, c):
    model, z = onsager[True], np.array([z])
    for axis, step in enumerate((1e-5, 3e-4)):
        h = step * np.eye(2)[axis]
        slope = (model.potential(z + h, [c]) - model.potential(z - h, [c])) / (2 * step)
        assert model.potential_gradient(z, [c])[0, axis] == pytest.approx(
            slope[0], rel=1e-5, abs=1e-7
        )


def flow(model, z, c, dt, n_steps):
    """Noise-free paths by classical Runge-Kutta steps."""
    path = [z]
    for _ in range(n_steps):
        k1 = model.drift(z, c)
        k2 = model.drift(z + dt / 2 * k1, c)
        k3 = model.drift(z + dt / 2 * k2, c)
        k4 = model.drift(z + dt * k3, c)
        z = z + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(z)
    return path


@given(z=STATES, c=st.floats(1, 2))
@settings(max_examples=10)
def test_potential_never_increases_without_forcing(onsager, z, c):
    path = flow(onsager[False], np.array([z]), [c], 0.01, 60)
    V = np.array([onsager[False].potential(z, [c])[0] for z in path])
    assert (np.diff(V) <= 1e-12 * (1 + V[:-1])).all()
    assert V[-1] < V[0]


def test_forcing_can_raise_the_potential(onsager):
    """Negative control."""
    model = onsager[True]
    z = np.random.default_rng(0).normal(size=(400, 2)) * [2.0, 60.0]
    power = (model.drift(z, [1.5]) * model.potential_gradient(z, [1.5])).sum(axis=1)
    assert (power > 0).any()
    free = onsager[False]
    power = (free.drift(z, [1.5]) * free.potential_gradient(z, [1.5])).sum(axis=1)
    assert (power < 0).all()


# --- upsampling (Alg. 1) -------------------------------------------------------------------------


@given(
    cells=st.tuples(st.integers(2, 5), st.integers(2, 5)),
    factor=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    n_iter=st.integers(0, 2),
    seed=SEEDS,
)
@settings(max_examples=25)
def test_replicated_spins_keep_their_magnetisation(cells, factor, n_iter, seed):
    for simulator in (ISING, CurieWeiss()):
        X = simulator.sample_initial(2, cells, random_state=seed)
        up = HierarchicalUpsampler(
            simulator, factor=factor, n_iter=n_iter, relax_duration=None, method="replicate"
        )
        large = up.fit_transform(X)
        assert large.shape[1:] == up.lattice_.cells
        assert np.allclose(simulator.observe(large)[:, 0], simulator.observe(X)[:, 0])


@given(cells=st.integers(1, 6), factor=st.integers(1, 3), seed=SEEDS)
@settings(max_examples=25)
def test_means_of_fields_are_kept(cells, factor, seed):
    simulator = PredatorPrey()
    X = np.random.default_rng(seed).normal(size=(2, cells, 2))
    for method in ("replicate", "tile"):
        up = HierarchicalUpsampler(
            simulator, factor=factor, relax_duration=None, method=method
        ).fit_transform(X)
        assert np.allclose(simulator.observe(up), simulator.observe(X))


@given(cells=st.tuples(st.integers(2, 5), st.integers(2, 5)), seed=SEEDS)
@settings(max_examples=25)
def test_tiled_spins_keep_all_observables(cells, seed):
    """Composition and, on a periodic lattice, walls."""
    X = ISING.sample_initial(2, cells, random_state=seed)
    options = {"factor": 2, "relax_duration": None}
    tiled = HierarchicalUpsampler(ISING, method="tile", **options).fit_transform(X)
    assert np.allclose(ISING.observe(tiled), ISING.observe(X))
    blocks = HierarchicalUpsampler(ISING, method="replicate", **options).fit_transform(X)
    assert np.allclose(ISING.observe(blocks)[:, 1], ISING.observe(X)[:, 1] / 2)  # and half of them


@pytest.mark.statistical
def test_relaxation_puts_the_walls_back():
    """Replicated critical spins have half the walls; LocalRelax restores equilibrium."""
    hot = Ising(temperature=3.5)
    X, _ = hot.advance(hot.sample_initial(60, 8, random_state=0), duration=30.0, random_state=1)
    large = HierarchicalUpsampler(hot, relax_duration=6.0, random_state=2).fit_transform(X)
    start = hot.sample_initial(60, 16, random_state=3)
    truth, _ = hot.advance(start, duration=30.0, random_state=4)
    walls, expected = hot.observe(large)[:, 1], hot.observe(truth)[:, 1]
    error = np.hypot(walls.std(), expected.std()) / np.sqrt(60)
    assert abs(walls.mean() - expected.mean()) < 5 * error
    raw = HierarchicalUpsampler(hot, relax_duration=None).fit_transform(X)
    assert abs(hot.observe(raw)[:, 1].mean() - expected.mean()) > 20 * error
