"""Theorem 1: drift and diffusion of patches differ from those of the lattice by O(dt): Eq. 18."""

import numpy as np
import pytest

from sklmacro import PartialEvolutionSampler, Patches
from sklmacro.experiments._truth.exact_laws import chain_differences
from sklmacro.simulators import LinearChain
from tests.theory.torus import SHORT, slope


def test_chain_has_errors_of_first_order():
    found = chain_differences(LinearChain(), 40, 10, SHORT)
    for name in ("mu difference", "Sigma difference, frozen", "Sigma difference, unlike patches"):
        assert slope(SHORT, found[name]) == pytest.approx(1, abs=0.05)
    assert found["Sigma"] == pytest.approx(1 / 40, rel=0.01)


def test_chain_without_coupling_has_none():
    found = chain_differences(LinearChain(kappa=0.0), 40, 10, SHORT)
    assert np.abs(found["mu difference"]).max() < 1e-12
    assert np.abs(found["Sigma difference, frozen"]).max() < 1e-12
    assert found["Sigma"] == pytest.approx(1 / 40 * -np.expm1(-0.2 * SHORT) / (0.2 * SHORT))
    assert (found["Sigma difference, unlike patches"] > 1e-8).all()  # the force acts on one of them


def test_chain_differences_are_those_of_evolved_patches():
    """Without noise, from the state of rest, by the sampler itself."""
    chain, t = LinearChain(sigma=0.0), 0.5
    rest = chain.transition(20, 1e5)[1][np.newaxis]
    patch = Patches(5, n_evolved=4)
    sampler = PartialEvolutionSampler(chain, patch=patch, dt=t, random_state=0)
    expected = abs(sampler.fit_transform(rest)["d_obs"][0, 0]) / t  # the lattice stays
    found = chain_differences(chain, 20, 5, [t])
    assert found["mu difference"][0] == pytest.approx(expected, rel=1e-9)
    assert found["mu"][0] == pytest.approx(0, abs=1e-12)
