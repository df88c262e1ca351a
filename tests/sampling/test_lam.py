"""The estimated factor lam: against exact chains, its limit, its error, and its use in the SDE."""

import numpy as np
import pytest

from sklmacro import PartialEvolutionSampler, PatchAutoencoder, Patches, PatchSDERegressor
from sklmacro._base.jackknife import jackknife_error
from sklmacro.pairs import latent_pairs
from sklmacro.simulators import EventCount, Ising, LinearChain
from tests import naive
from tests.problems import exact_pairs

CHAIN = LinearChain(force=0.0)
PATCH, DT = 4, 0.5


def chain_increment(start, stop, n):
    """Mean increment of the sites [start, stop) as a row (n,) times x, and its noise's variance."""
    matrix, response, factor = CHAIN.propagator(stop - start, start == 0, stop == n, DT)
    row = np.zeros(n)
    row[start:stop] = (matrix - np.eye(stop - start)).mean(axis=0)
    if start > 0:
        row[start - 1] = CHAIN.kappa * response[:, 0].mean()
    if stop < n:
        row[stop] = CHAIN.kappa * response[:, -1].mean()
    return row, (factor @ factor.T).mean()


def exact_lam(K, given_x=False):
    """Ratio of the variances of one patch, drawn at random, and of the chain, given its mean."""
    n = K * PATCH
    x = np.eye(n) + 100 / 3  # covariance of the sites: common displacement and white noise
    mean = np.full(n, 1 / n)

    def variance(parts):
        rows, noises = np.array([row for row, _ in parts]), [noise for _, noise in parts]
        explained = (rows @ x @ mean).mean() ** 2 / (mean @ x @ mean)
        spread = np.einsum("ki,ij,kj->k", rows, x, rows).mean() - explained
        return np.mean(noises) + (0 if given_x else spread)

    patches = [chain_increment(k * PATCH, (k + 1) * PATCH, n) for k in range(K)]
    return variance(patches) / variance([chain_increment(0, n, n)])


def sampler(K, n, seed=0, n_evolved=1, **options):
    X = CHAIN.sample_initial(n, K * PATCH, random_state=seed + 1)
    patch = Patches(PATCH, n_joint=n, n_evolved=n_evolved)
    options = {"patch": patch, "dt": DT, "random_state": seed} | options
    return PartialEvolutionSampler(CHAIN, **options), X


@pytest.mark.statistical
@pytest.mark.parametrize("K", [2, 6, 8])
def test_estimate_is_that_of_exact_transitions(K):
    evolve, X = sampler(K, 2000)
    evolve.fit(X)
    truth = exact_lam(K)
    assert abs(evolve.lam_ - truth) < 4.5 * evolve.lam_error_
    assert evolve.lam_error_ < 0.03 * truth
    assert abs(evolve.lam_ - exact_lam(K, given_x=True)) > 5 * evolve.lam_error_  # control
    assert evolve.lam_of_observables_ == pytest.approx([evolve.lam_])


@pytest.mark.statistical
def test_all_patches_apart_have_less_than_K_over_p():
    """Sums over all patches: the means given x, which differ for each, nearly cancel."""
    every, X = sampler(6, 500, n_evolved=6)
    one, _ = sampler(6, 500)
    assert every.fit(X).lam_ < 0.95 < one.fit(X).lam_ / 6


def test_pairs_carry_it():
    evolve, X = sampler(6, 60)
    pairs = evolve.fit_transform(X)
    assert (pairs["lam"] == evolve.lam_).all()
    assert (pairs["lam_error"] == evolve.lam_error_).all()
    plain = evolve.set_params(patch__n_joint=0).fit_transform(X)
    assert "lam" not in plain.dtype.names
    assert np.array_equal(plain["d_obs"], pairs["d_obs"])


@pytest.mark.statistical
def test_standard_errors_are_of_the_right_size():
    """The truth lies within two errors in 92 % of 500 runs measured; bounds at 4.5 sigma of 150."""
    truth = exact_lam(6)
    estimates = []
    for seed in range(150):
        evolve, X = sampler(6, 20, seed)
        evolve.fit(X)
        estimates.append((evolve.lam_ - truth, evolve.lam_error_))
    off, error = np.transpose(estimates)
    assert 0.82 < np.mean(np.abs(off) < 2 * error) < 0.99
    assert np.mean(np.abs(off) < error) < 0.85  # negative control: errors half as large
    assert abs(off.mean()) < 4.5 * off.std() / np.sqrt(len(off))


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=(30, 2))
    left_out = (values.sum(axis=0) - values) / 29
    assert np.allclose(jackknife_error(left_out), values.std(axis=0, ddof=1) / np.sqrt(30))


@pytest.mark.parametrize("n_jobs", [2, 3])
@pytest.mark.parametrize("how", [{}, {"boundary": 1}])
def test_number_of_workers_changes_no_bit(n_jobs, how):
    X = Ising().sample_initial(40, 12, random_state=0)
    options = {"patch": Patches(4, n_joint=30), "dt": 0.3, "random_state": 2} | how
    one = PartialEvolutionSampler(Ising(), n_jobs=1, **options).fit(X)
    more = PartialEvolutionSampler(Ising(), n_jobs=n_jobs, **options).fit(X)
    assert (one.lam_, one.lam_error_) == (more.lam_, more.lam_error_)
    assert np.array_equal(one.lam_of_observables_, more.lam_of_observables_)
    assert one.set_params(random_state=3).fit(X).lam_ != more.lam_


# --- Ising: K as dt -> 0, less at long dt ---------------------------------------------------------


@pytest.fixture(scope="module")
def critical():
    ising = Ising(temperature=2.27)
    start = ising.sample_initial(2400, 32, random_state=0)
    return ising, ising.simulate(start, [100.0], packed=True, random_state=1)[:, 0]


def ising_lam(critical, n_evolved=1, **how):
    ising, X = critical
    patch = Patches(8, n_joint=len(X), n_evolved=n_evolved)
    return PartialEvolutionSampler(ising, patch=patch, random_state=0, **how).fit(X)


@pytest.mark.statistical
def test_lam_of_spins_tends_to_K(critical):
    short = ising_lam(critical, dt=0.05)
    assert abs(short.lam_ - 16) < 4.5 * short.lam_error_
    assert short.lam_error_ < 0.8
    long = ising_lam(critical, dt=8.0)
    assert 16 - long.lam_ > 4 * long.lam_error_  # negative control
    few = ising_lam(critical, dt=0.05, n_evolved=2)
    assert abs(few.lam_ - 8) < 4.5 * few.lam_error_


@pytest.mark.statistical
def test_lam_of_spins_is_the_ratio_of_variances(critical):
    """Windows and whole lattices evolved one by one, and regressions on z."""
    estimate = ising_lam(critical, dt=8.0).lam_of_observables_
    ising, X = critical
    many = np.tile(X, (4, 1, 1))
    ratio = naive.variance_ratio(ising, many, ((8, 16), (8, 8)), 8.0, seed=5)
    assert ratio == pytest.approx(estimate[0], rel=4 / np.sqrt(len(X)))
    assert ratio < 13  # of K = 16
    short = naive.variance_ratio(ising, many, ((8, 16), (8, 8)), 0.5, seed=7)
    assert short != pytest.approx(estimate[0], rel=4 / np.sqrt(len(X)))  # negative control


@pytest.mark.statistical
def test_events_are_shared_by_the_patches_of_the_box(critical):
    """As many a patch as apart: lam is near K, not K times it or over it."""
    estimate = ising_lam(critical, dt=EventCount(4))
    assert estimate.lam_ == pytest.approx(16, abs=4)
    assert estimate.lam_error_ < 0.5


# --- the way to the SDE ---------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [12.0, 7.5])
def test_auto_uses_the_estimate_of_the_pairs(lam):
    plain, _, Sigma = exact_pairs(K=16)
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


@pytest.mark.statistical
def test_auto_finds_the_diffusion_of_a_chain():
    """sigma^2 / N up to the decay within dt; with patches apart, lam = K/p misses it."""
    evolve, X = sampler(6, 12_000, n_evolved=6)
    pairs = PatchAutoencoder(CHAIN, n_closure=0).fit_transform(evolve.fit_transform(X))
    options = {"drift_model": "linear", "diffusion_model": "constant"}
    truth = chain_increment(0, 24, 24)[1] / DT
    diffusion = {
        lam: PatchSDERegressor(lam=lam, **options).fit(pairs).diffusion([[0.0]])[0, 0, 0]
        for lam in ("auto", "K")
    }
    spread = truth * np.hypot(np.sqrt(2 / 12_000), evolve.lam_error_ / evolve.lam_)
    assert abs(diffusion["auto"] - truth) < 4.5 * spread
    assert abs(diffusion["K"] - truth) > 4.5 * spread  # negative control
