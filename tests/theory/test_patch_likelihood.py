"""The likelihood of increments of the whole, Eq. 6, and of patches, whose factor is K: Eq. 7."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.base import clone

from sklmacro import PartialEvolutionSampler, Patches
from sklmacro.likelihood import transition_log_likelihood
from sklmacro.simulators import LinearChain
from tests.problems import exact_pairs
from tests.theory.sdes import SDES

SEEDS = st.integers(0, 2**32 - 1)


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


@pytest.mark.parametrize("name", SDES)
def test_score_is_the_mean_likelihood(name):
    pairs, _, _ = exact_pairs(n=200)
    model = clone(SDES[name]).fit(pairs)
    mu, Sigma = model.drift(pairs["z"]), model.diffusion(pairs["z"])
    expected = [
        multivariate_normal(m * t, 16 * t * S).logpdf(x)
        for x, m, t, S in zip(pairs["dz"], mu, pairs["dt"], Sigma, strict=True)
    ]
    assert model.score(pairs) == pytest.approx(np.mean(expected), abs=1e-9)
    assert np.allclose(model.predict(pairs), mu * pairs["dt"][:, None])


@pytest.mark.statistical
def test_variance_of_p_patches_is_K_over_p():
    """The mean over p patches has 1/p of the variance of one, and K/p of that of the whole."""
    chain = LinearChain(force=0.0)
    X = chain.sample_initial(4000, 24, random_state=0)
    K, dt = 6, 1e-3
    variance = {}
    for p in (1, 2, 3, 6):
        sampler = PartialEvolutionSampler(
            chain, patch=Patches(4, n_evolved=p), dt=dt, random_state=p
        )
        pairs = sampler.fit_transform(X)
        assert set(pairs["n_evolved"]) == {p}
        variance[p] = pairs["d_obs"].var()
        expected = (K / p) * dt / 24  # sigma^2 dt / N for the whole
        assert variance[p] == pytest.approx(expected, rel=5 * np.sqrt(2 / 4000))
    assert variance[1] / variance[6] > 5  # negative control: they do differ
