"""What the upsampling of Algorithm 1 keeps, and what LocalRelax puts back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklmacro import HierarchicalUpsampler, LocalRelax
from sklmacro.simulators import CurieWeiss, Ising, PredatorPrey

SEEDS = st.integers(0, 2**32 - 1)
ISING = Ising(temperature=2.5)


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
            simulator, factor=factor, n_iter=n_iter, relaxation=None, method="replicate"
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
            simulator, factor=factor, relaxation=None, method=method
        ).fit_transform(X)
        assert np.allclose(simulator.observe(up), simulator.observe(X))


@given(cells=st.tuples(st.integers(2, 5), st.integers(2, 5)), seed=SEEDS)
@settings(max_examples=25)
def test_tiled_spins_keep_all_observables(cells, seed):
    """Composition and, on a periodic lattice, walls."""
    X = ISING.sample_initial(2, cells, random_state=seed)
    options = {"factor": 2, "relaxation": None}
    tiled = HierarchicalUpsampler(ISING, method="tile", **options).fit_transform(X)
    assert np.allclose(ISING.observe(tiled), ISING.observe(X))
    blocks = HierarchicalUpsampler(ISING, method="replicate", **options).fit_transform(X)
    assert np.allclose(ISING.observe(blocks)[:, 1], ISING.observe(X)[:, 1] / 2)  # and half of them


@pytest.mark.statistical
def test_relaxation_puts_the_walls_back():
    """Replicated critical spins have half the walls; LocalRelax restores equilibrium."""
    hot = Ising(temperature=3.5)
    X, _ = hot.advance(hot.sample_initial(60, 8, random_state=0), duration=30.0, random_state=1)
    large = HierarchicalUpsampler(
        hot, relaxation=LocalRelax(duration=6.0), random_state=2
    ).fit_transform(X)
    start = hot.sample_initial(60, 16, random_state=3)
    truth, _ = hot.advance(start, duration=30.0, random_state=4)
    walls, expected = hot.observe(large)[:, 1], hot.observe(truth)[:, 1]
    error = np.hypot(walls.std(), expected.std()) / np.sqrt(60)
    assert abs(walls.mean() - expected.mean()) < 5 * error
    raw = HierarchicalUpsampler(hot, relaxation=None).fit_transform(X)
    assert abs(hot.observe(raw)[:, 1].mean() - expected.mean()) > 20 * error
