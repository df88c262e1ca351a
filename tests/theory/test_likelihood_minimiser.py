"""The minimiser of Eqs. 7 and 8: the drift for every lam, the diffusion for lam = K / p."""

import numpy as np
import pytest
from sklearn.base import clone

from sklmacro import PatchSDERegressor, Polynomial
from tests.problems import exact_pairs
from tests.theory.sdes import SDES

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


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("lam", [1.0, 5.5, 0.1, 123.4])
def test_the_drift_does_not_depend_on_lam(name, lam):
    """To the last bit, and neither does lam Sigma; hence no likelihood can choose lam."""
    pairs, _, _ = exact_pairs(n=100)
    z = pairs["z"][:20]
    reference = clone(SDES[name]).fit(pairs)
    other = clone(SDES[name]).set_params(lam=lam).fit(pairs)
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
