"""Macroscopic observables and closures are means over patches: Eqs. 1 and 14."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklmacro import PartialEvolutionSampler
from sklmacro.simulators import Ising

SEEDS = st.integers(0, 2**32 - 1)
ISING = Ising(temperature=2.5)


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
