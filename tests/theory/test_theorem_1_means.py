"""Mean increments of lattice and patches differ by O(dt^2): Eq. 17, which leads to Eq. 18.

Exactly, from the laws of all states of a small torus, and by the coupled replicas that measure it.
"""

import numpy as np
import pytest
from scipy import stats

from sklmacro.experiments._truth.coupled import coupled_increments, evolve_coupled, first_order
from sklmacro.lattice import PatchGrid
from tests import naive
from tests.theory.torus import ISING, STATES, patches_of

TIMES = (1e-3, 2e-3, 1.0)


@pytest.fixture(scope="module")
def enumerated():
    """Means (n_times, 2) of the lattice's and of the patches' increments, from laws of all states.

    Laws by `naive`, with its generators and its energies.
    """
    x = STATES[1]
    X = naive.spin_states(x.shape)
    grid = PatchGrid(ISING.lattice(x.shape), (2, 2))
    energies, start = naive.ising_energy(X, 1.0, 0.0, True), naive.spin_numbers(x[None])[0]
    phi = np.column_stack([X.mean(axis=(1, 2)), (1 + energies / (2 * x.size)) / 2])
    free = [np.isin(np.arange(x.size), sites) for sites in patches_of(grid)]

    def means(mask):
        Q = naive.glauber_generator(energies, ISING.temperature, mask)
        return np.array([naive.law_at(Q, start, t) @ phi - phi[start] for t in TIMES])

    return means(None), sum(means(mask) for mask in free)


@pytest.mark.parametrize("seed", range(3))
def test_coupled_kernel_is_its_slow_twin(seed):
    rng = np.random.default_rng(seed)
    x = ISING.sample_initial(1, (4, 6), random_state=seed)[0]
    lattice = ISING.lattice(x.shape)
    grid = PatchGrid(lattice, (2, 3))
    patch_of = np.empty(24, np.int64)
    for k, sites in enumerate(patches_of(grid)):
        patch_of[sites] = k
    counts, up = np.array([30, 0, 50]), ISING.rates()[:, 0].copy()
    sites, u = rng.integers(24, size=80), rng.random(80)
    joint, apart = np.zeros((3, 2)), np.zeros((3, 4, 2))
    evolve_coupled(
        x.ravel().astype(np.int64), patch_of, lattice.neighbors(), up, counts, sites, u, joint,
        apart,
    )  # fmt: skip
    for r, rows in enumerate((slice(0, 30), slice(30, 30), slice(30, 80))):
        expected = naive.coupled_glauber(x, patches_of(grid), up, sites[rows], u[rows])
        assert np.allclose(joint[r], expected[0])
        assert np.allclose(apart[r], expected[1])


@pytest.mark.statistical
def test_coupled_replicas_have_the_means_of_all_states(enumerated):
    """z of six means; the false-alarm rate of a correct code is 1e-4."""
    x, t, n = STATES[1], TIMES[2], 40_000
    grid = PatchGrid(ISING.lattice(x.shape), (2, 2))
    joint, apart = coupled_increments(ISING, x, grid, t, n, np.random.default_rng(0))
    lattice, alone = (means[2] for means in enumerated)
    each = apart.mean(axis=1)
    for found, expected in ((joint, lattice), (each, alone), (each - joint, alone - lattice)):
        z = (found.mean(axis=0) - expected) / (found.std(axis=0) / n**0.5)
        assert np.abs(z).max() < stats.norm.isf(1e-4 / 12)
    z = (joint.mean(axis=0) - alone) / (joint.std(axis=0) / n**0.5)
    assert np.abs(z).max() > 10  # negative control


def test_first_order_of_the_difference_is_exact(enumerated):
    x, (lattice, alone) = STATES[1], enumerated
    rate = (alone - lattice) / np.array(TIMES)[:, np.newaxis] ** 2
    grid = PatchGrid(ISING.lattice(x.shape), (2, 2))
    assert first_order(ISING, x, grid) == pytest.approx(2 * rate[0] - rate[1], rel=1e-4, abs=1e-6)
