"""One law for every size of the lattice: covariance in the ratio of the sizes, drift with 1/n."""

import numpy as np
import pytest

from sklmacro import PatchSDERegressor, SDEEnsemble, load, save
from sklmacro.pairs import latent_pairs

RNG = np.random.default_rng(0)
Z = RNG.uniform(-1, 1, (400, 1))


def moments(n_sites, n_patches=4, correction=0.0):
    """Moments of dz = (-z + correction / n) dt + (0.5 / n)^{1/2} dB, of one patch of n_patches."""
    drift = -Z + correction / n_sites
    cov = np.full((len(Z), 1, 1), n_patches * 0.5 / n_sites)
    return latent_pairs(
        Z, 0.1 * drift, 0.1, cov=0.1 * cov, n_patches=n_patches, n_sites=n_sites, group=0
    )


@pytest.fixture(params=["linear", "gp"])
def sde(request):
    return PatchSDERegressor(drift_model=request.param, diffusion_model="constant")


def test_the_covariance_goes_with_the_inverse_of_the_size(sde):
    sde.fit(moments(100))
    assert sde.n_sites_ == 100
    assert sde.diffusion(Z[:1]).item() == pytest.approx(0.005)
    large = sde.at_size(10_000)
    assert large.n_sites_ == 10_000
    assert large.diffusion(Z[:1]).item() == pytest.approx(0.00005)
    np.testing.assert_array_equal(large.drift(Z), sde.drift(Z))
    paths = sde.simulate([0.0], 4000, 0.01, n_paths=20, n_sites=10_000, random_state=0)
    np.testing.assert_array_equal(
        paths, large.simulate([0.0], 4000, 0.01, n_paths=20, random_state=0)
    )
    assert paths[:, 1000:].var() == pytest.approx(0.5 / 2 / 10_000, rel=0.1)


def test_pairs_of_another_size_are_those_of_one_law(sde):
    """The drift and the covariance per site are the same, and so is the likelihood's optimum."""
    sde.fit(np.concatenate([moments(100), moments(400)]))
    assert sde.n_sites_ == 400
    assert sde.sizes_.n_sites == (100, 400)
    for n_sites in (100, 400, 10**6):
        own = sde.at_size(n_sites)
        assert own.diffusion(Z[:1]).item() == pytest.approx(0.5 / n_sites)
        np.testing.assert_allclose(own.drift(Z), -Z, atol=1e-4)


def test_two_sizes_tell_the_correction(sde):
    sde.fit(np.concatenate([moments(100, correction=10.0), moments(400, correction=10.0)]))
    for n_sites in (100, 400):
        np.testing.assert_allclose(sde.at_size(n_sites).drift(Z), -Z + 10 / n_sites, atol=1e-3)
    np.testing.assert_allclose(sde.at_size(10**6).drift(Z), -Z, atol=5e-3)


def test_one_size_tells_none(sde):
    """Control."""
    sde.fit(moments(100, correction=10.0))
    assert np.abs(sde.at_size(10**6).drift(Z) + Z).min() > 0.09


def test_the_likelihood_is_that_of_the_size_of_each_pair(sde):
    sde.fit(moments(100))
    other = moments(400)
    large = sde.at_size(400)
    assert sde.score(other) == pytest.approx(large.score(other))
    blind = other.copy()
    blind["n_sites"] = 100  # control
    assert sde.score(blind) < sde.score(other) - 0.1


def test_predictions_have_the_size_of_their_pairs(sde):
    pairs = np.concatenate([moments(100, correction=10.0), moments(400, correction=10.0)])
    np.testing.assert_allclose(sde.fit(pairs).predict(pairs), pairs["dz"], atol=1e-4)


def test_a_law_that_does_not_know_its_size_is_asked_for_none():
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
    sde.fit(moments(100))
    sde.fit(Z, -Z + 0.1 * RNG.standard_normal(Z.shape))
    assert sde.n_sites_ is None
    with pytest.raises(ValueError, match="does not know how large its lattices were"):
        sde.simulate([0.0], 1, 0.1, n_sites=100)


def test_the_size_is_kept_in_files(sde, tmp_path):
    sde.fit(np.concatenate([moments(100), moments(400)]))
    save(sde, tmp_path / "law")
    loaded = load(tmp_path / "law")
    np.testing.assert_array_equal(loaded.at_size(900).drift(Z), sde.at_size(900).drift(Z))


def test_members_of_an_ensemble_take_the_size():
    pairs = moments(100)
    pairs["group"] = np.arange(len(pairs))
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
    ensemble = SDEEnsemble(sde, n_members=2, random_state=0).fit(pairs)
    assert ensemble.at_size(400).diffusion(Z[:1]).item() == pytest.approx(0.5 / 400)
    paths = ensemble.simulate([0.0], 3, 0.1, n_paths=2, n_sites=400, random_state=0)
    same = ensemble.at_size(400).simulate([0.0], 3, 0.1, n_paths=2, random_state=0)
    np.testing.assert_array_equal(paths, same)
