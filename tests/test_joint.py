"""The estimated factor lam: against exact chains, its limit K, its error, and its way to the SDE."""

import numpy as np
import pytest

from sklmacro import PartialEvolutionSampler, PatchAutoencoder, PatchSDERegressor
from sklmacro._jackknife import jackknife_error
from sklmacro.joint import joint_box
from sklmacro.lattice import Lattice
from sklmacro.pairs import latent_pairs
from sklmacro.patches import PatchGrid
from sklmacro.simulators import Ising, LinearChain
from tests import naive
from tests.problems import exact_pairs

CHAIN = LinearChain(force=0.0)
PATCH, DT = 4, 0.5


def exact_lam(K, reach, dt=DT):
    """K V_apart / sum_J Cov, from the transitions of windows that reach so many patches around."""
    apart, jointly = [], []
    for k in range(K):
        own = CHAIN._parts(PATCH, k == 0, k == K - 1, dt)[2]
        apart.append((own @ own.T).sum() / PATCH**2)
        first, last = max(0, k - reach), min(K - 1, k + reach)
        box = CHAIN._parts((last - first + 1) * PATCH, first == 0, last == K - 1, dt)[2]
        sums = (box @ box.T).sum(axis=1) / PATCH  # covariance of a site with the sum of the box
        jointly.append(sums[(k - first) * PATCH :][:PATCH].sum() / PATCH)
    return K * np.mean(apart) / np.mean(jointly)


def sampler(K, n, seed=0, **options):
    X = CHAIN.sample_initial(n, K * PATCH, random_state=1)
    options = {"patch": PATCH, "dt": DT, "n_joint": n, "random_state": seed} | options
    return PartialEvolutionSampler(CHAIN, **options), X


@pytest.mark.parametrize(("K", "reach"), [(2, 2), (6, 6), (8, 1)])
def test_estimate_is_that_of_exact_transitions(K, reach):
    evolve, X = sampler(K, 2000)
    evolve.fit(X)
    truth = exact_lam(K, reach)
    assert abs(evolve.lam_ - truth) < 3 * evolve.lam_error_  # fails once in 370 choices of the seed
    assert evolve.lam_error_ < 0.02 * K
    assert abs(evolve.lam_ - K) > 5 * evolve.lam_error_  # negative control
    assert evolve.lam_of_observables_ == pytest.approx([evolve.lam_])


def test_what_lies_beyond_the_neighbours_is_little():
    assert exact_lam(8, 1) == pytest.approx(exact_lam(8, 8), rel=2e-3)
    assert exact_lam(8, 0) != pytest.approx(exact_lam(8, 8), rel=0.1)  # negative control


def test_p_patches_divide_it_and_pairs_carry_it():
    one, X = sampler(6, 60)
    three, _ = sampler(6, 60, n_patches_evolved=3)
    pairs = three.fit_transform(X)
    assert three.lam_ == pytest.approx(one.fit(X).lam_ / 3)
    assert (pairs["lam"] == three.lam_).all()
    assert (pairs["lam_error"] == three.lam_error_).all()
    none = one.set_params(n_joint=0).fit_transform(X)
    assert "lam" not in none.dtype.names
    assert np.array_equal(one.set_params(n_joint=60).fit_transform(X)["d_obs"], none["d_obs"])


def test_standard_errors_are_of_the_right_size():
    """The truth lies within two errors in 92 % of 500 runs measured; bounds at 3 sigma of 150."""
    truth = exact_lam(6, 6)
    found = []
    for seed in range(150):
        evolve, X = sampler(6, 20, seed)
        evolve.fit(X)
        found.append((evolve.lam_ - truth, evolve.lam_error_))
    off, error = np.transpose(found)
    assert 0.85 < np.mean(np.abs(off) < 2 * error) < 0.99
    assert np.mean(np.abs(off) < error) < 0.85  # negative control: errors half as large
    assert abs(off.mean()) < 3 * off.std() / np.sqrt(len(off))


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=(30, 2))
    left_out = (values.sum(axis=0) - values) / 29
    assert np.allclose(jackknife_error(left_out), values.std(axis=0, ddof=1) / np.sqrt(30))


@pytest.mark.parametrize("n_jobs", [2, 3])
@pytest.mark.parametrize("how", [{}, {"boundary": "buffer", "buffer": 1}])
def test_number_of_workers_changes_no_bit(n_jobs, how):
    X = Ising().sample_initial(40, 12, random_state=0)
    options = {"patch": 4, "dt": 0.3, "n_joint": 30, "random_state": 2} | how
    one = PartialEvolutionSampler(Ising(), n_jobs=1, **options).fit(X)
    more = PartialEvolutionSampler(Ising(), n_jobs=n_jobs, **options).fit(X)
    assert (one.lam_, one.lam_error_) == (more.lam_, more.lam_error_)
    assert np.array_equal(one.lam_of_observables_, more.lam_of_observables_)
    assert one.set_params(random_state=3).fit(X).lam_ != more.lam_


# --- Ising: K as dt -> 0, less at long dt ---------------------------------------------------------


@pytest.fixture(scope="module")
def critical():
    ising = Ising(temperature=2.27)
    start = ising.sample_initial(600, 32, random_state=0)
    return ising, ising.simulate(start, [100.0], packed=True, random_state=1)[:, 0]


def ising_lam(critical, **how):
    ising, X = critical
    return PartialEvolutionSampler(ising, patch=8, n_joint=len(X), random_state=0, **how).fit(X)


def test_lam_of_spins_tends_to_K(critical):
    short = ising_lam(critical, dt=0.05)
    assert abs(short.lam_ - 16) < 3 * short.lam_error_
    assert short.lam_error_ < 0.8
    long = ising_lam(critical, dt=8.0)
    assert 16 - long.lam_ > 10 * long.lam_error_  # negative control
    few = ising_lam(critical, dt=None or "auto", n_events=None, n_patches_evolved=2)
    assert abs(few.lam_ - 8) < 4 * few.lam_error_


def test_lam_of_spins_is_the_ratio_of_variances(critical):
    """Windows and whole lattices evolved one by one, and variances over replicas."""
    estimate = ising_lam(critical, dt=8.0)
    ising, X = critical
    ratio, error = naive.variance_ratio(ising, X, ((8, 16), (8, 8)), 8.0, n_replicas=6, seed=5)
    off = estimate.lam_of_observables_[0] - ratio
    assert abs(off) < 3 * np.hypot(error, estimate.lam_error_ * 1.3)
    assert error < 0.5
    assert ratio < 12  # of K = 16


def test_events_are_shared_by_the_patches_of_the_box(critical):
    """As many a patch as apart: lam is near K, not K over the number of patches or times it."""
    estimate = ising_lam(critical, n_events=4)
    assert estimate.lam_ == pytest.approx(16, abs=3)


# --- boxes ----------------------------------------------------------------------------------------


def test_boxes_hold_a_patch_and_its_neighbours_once():
    long = PatchGrid(Lattice("square", (28, 12)), (4, 3))  # 7 patches by 4: a shell, and all
    assert joint_box(long, (0, 6)) == (((0, 0), (4, 12)), ((24, 0), (12, 12)), 12)
    assert joint_box(long, (8, 6)) == (((8, 0), (4, 12)), ((4, 0), (12, 12)), 12)
    chain = PatchGrid(Lattice("chain", (28,), "open"), (4,))
    assert joint_box(chain, (0,)) == (((0,), (4,)), ((0,), (8,)), 2)
    assert joint_box(chain, (24,)) == (((24,), (4,)), ((20,), (8,)), 2)
    for n in range(1, 7):
        grid = PatchGrid(Lattice("chain", (4 * n,)), (4,))
        assert joint_box(grid, (0,)) == (((0,), (4 * n,)), ((0,), (4 * n,)), n)


# --- the way to the SDE ---------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [12.0, 7.5])
def test_auto_uses_the_estimate_of_the_pairs(lam):
    plain, A, Sigma = exact_pairs(K=16)
    fields = {name: plain[name] for name in ("n_patches", "n_evolved", "group")}
    pairs = latent_pairs(plain["z"], plain["dz"], plain["dt"], lam=lam, lam_error=0.3, **fields)
    options = {"drift_model": "linear", "diffusion_model": "constant"}
    model = PatchSDERegressor(lam="auto", **options).fit(pairs)
    assert model.lam_ == pytest.approx(lam)
    assert model.lam_error_ == pytest.approx(0.3)
    assert np.allclose(model.diffusion([[0.1, 0.2]]), Sigma * 16 / lam, rtol=1e-10)
    fixed = PatchSDERegressor(lam="K", **options).fit(pairs)
    assert (fixed.lam_, fixed.lam_error_) == (16, 0)
    assert np.allclose(fixed.diffusion([[0.1, 0.2]]), Sigma, rtol=1e-10)


def test_auto_finds_the_diffusion_of_a_chain():
    """sigma^2 / N: with lam = K at this dt it comes out too small."""
    evolve, X = sampler(6, 3000)
    pairs = PatchAutoencoder(CHAIN, n_closure=0).fit_transform(evolve.fit_transform(X))
    options = {"drift_model": "linear", "diffusion_model": "constant"}
    matrix, _, covariance = CHAIN.transition(24, DT)
    truth = covariance.sum() / 24**2 / DT
    found = {
        lam: PatchSDERegressor(lam=lam, **options).fit(pairs).diffusion([[0.0]])[0, 0, 0]
        for lam in ("auto", "K")
    }
    spread = truth * np.hypot(np.sqrt(2 / 3000), evolve.lam_error_ / evolve.lam_)
    assert abs(found["auto"] - truth) < 4 * spread
    assert abs(found["K"] - truth) > 4 * spread  # negative control
