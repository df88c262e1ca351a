"""Sigma of Eq. 4 is symmetric and positive definite, whatever the macrostate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from tests.problems import sampled_pairs
from tests.theory.sdes import SDES


@pytest.fixture(scope="module")
def fitted():
    pairs = sampled_pairs(
        lambda z: -z,
        lambda z: np.array([[0.3, 0.0], [0.2, 0.1]]) * (1 + z[:, :1, None] ** 2),
        n=500, dt=0.1, K=4, d=2,
    )  # fmt: skip
    return {name: clone(model).fit(pairs) for name, model in SDES.items()}


@given(z=st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=2))
@pytest.mark.parametrize("name", SDES)
def test_diffusion_is_positive_definite_for_any_input(fitted, name, z):
    Sigma = fitted[name].diffusion([z])[0]
    assert np.isfinite(Sigma).all()
    assert np.array_equal(Sigma, Sigma.T)
    scale = np.sqrt(np.diag(Sigma))
    assert (scale > 0).all()
    assert np.linalg.eigvalsh(Sigma / np.outer(scale, scale))[0] > 0
