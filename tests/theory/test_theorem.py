"""Theorem 1: exact laws of small lattices, rates in dt, and the replicas that measure them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sklmacro import PartialEvolutionSampler
from sklmacro.experiments._engine.run import Run
from sklmacro.experiments._truth.coupled import coupled_increments, evolve_coupled, first_order
from sklmacro.experiments._truth.exact_laws import (
    chain_differences,
    distance,
    laws,
    number_of,
    spin_states,
    total_variations,
)
from sklmacro.experiments.theorem_1 import EXPERIMENT, _predator_prey
from sklmacro.lattice import PatchGrid
from sklmacro.simulators import Ising, LinearChain
from tests import naive
from tests.problems import fixed_rng

ISING = Ising(temperature=2.27)
SHORT = 2.0 ** np.arange(-8, -4)
STATES = np.where(fixed_rng(3).random((3, 4, 4)) < 0.5, 1, -1).astype(np.int8)


def slope(times, values):
    return np.polyfit(np.log(times), np.log(np.abs(values)), 1)[0]


def patches_of(grid):
    numbers = np.arange(grid.lattice.n_sites).reshape(grid.lattice.site_shape)
    return [numbers[grid.lattice.mesh(tuple(o), grid.cells)].ravel() for o in grid.origins]


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


# --- Eq. 16: the law of an evolved patch ----------------------------------------------------------


def test_laws_are_those_of_the_naive_generator():
    x, t = STATES[1], 0.7
    found = {name: values[0] for name, values in total_variations(ISING, x, 2, [t]).items()}
    X = naive.spin_states(x.shape)
    energies, start = naive.ising_energy(X, 1.0, 0.0, True), naive.spin_numbers(x[None])[0]
    own, other = patches_of(PatchGrid(ISING.lattice(x.shape), (2, 2)))[:2]
    first, second = (naive.spin_numbers(X.reshape(-1, 16)[:, sites]) for sites in (own, other))
    whole = naive.law_at(naive.glauber_generator(energies, 2.27), start, t)
    mask = np.isin(np.arange(16), own)
    ghost = naive.law_at(naive.glauber_generator(energies, 2.27, mask), start, t)
    p, q = (np.bincount(first, law, 16) for law in (whole, ghost))
    assert found["ghost"] == pytest.approx(np.abs(p - q).sum() / 2, rel=1e-10)
    both = np.bincount(16 * first + second, whole, 256).reshape(16, 16)
    product = np.outer(both.sum(axis=1), both.sum(axis=0))
    assert found["dependence"] == pytest.approx(np.abs(both - product).sum() / 2, rel=1e-10)


def test_a_law_is_one():
    rates = np.random.default_rng(0).uniform(0, 1, (8, 3))
    p = laws(rates, 5, [0.0, 0.3, 50.0, 100.0])
    assert np.allclose(p.sum(axis=1), 1, atol=1e-14)
    assert p[0, 5] == 1
    assert distance(p[2:3], p[3:4])[0] < 1e-12  # at rest
    assert [number_of(s) for s in spin_states(3)] == list(range(8))


@pytest.mark.parametrize("x", STATES)
def test_total_variation_is_of_second_order(x):
    """Theorem 1 assumes dt^2 (Eq. 16), and independent neighbours."""
    found = total_variations(ISING, x, 2, SHORT)
    assert slope(SHORT, found["ghost"]) == pytest.approx(2, abs=0.05)
    assert slope(SHORT, found["dependence"]) == pytest.approx(2, abs=0.05)
    constant = found["ghost"] / SHORT**2
    assert constant.max() < 1.1 * constant.min()


def test_a_patch_closed_on_itself_violates_it():
    """Negative control: first order, unless all neighbours sum up alike on both sides."""
    found = total_variations(ISING, STATES[1], 2, SHORT)["periodic"]
    assert slope(SHORT, found) == pytest.approx(1, abs=0.05)
    up = np.ones((4, 4), np.int8)
    assert slope(SHORT, total_variations(ISING, up, 2, SHORT)["periodic"]) > 1.9


# --- Eq. 18: drift and diffusion ------------------------------------------------------------------


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
    sampler = PartialEvolutionSampler(chain, patch=5, dt=t, n_patches_evolved=4, random_state=0)
    expected = abs(sampler.fit_transform(rest)["d_obs"][0, 0]) / t  # the lattice stays
    found = chain_differences(chain, 20, 5, [t])
    assert found["mu difference"][0] == pytest.approx(expected, rel=1e-9)
    assert found["mu"][0] == pytest.approx(0, abs=1e-12)


# --- replicas -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_coupled_kernel_is_its_slow_twin(seed):
    rng = np.random.default_rng(seed)
    x = ISING.sample_initial(1, (4, 6), random_state=seed)[0]
    lattice = ISING.lattice(x.shape)
    grid = PatchGrid(lattice, (2, 3))
    patch_of = np.empty(24, np.int64)
    for k, sites in enumerate(patches_of(grid)):
        patch_of[sites] = k
    counts, up = np.array([30, 0, 50]), ISING._rates()[:, 0].copy()
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


# --- Appendix E -----------------------------------------------------------------------------------


def test_predator_prey_satisfies_the_assumptions_exactly():
    """False-alarm rate 6e-5 for a correct code, by the six values of p."""
    few = replace(
        EXPERIMENT.presets["smoke"], predator_replicas=2000, control_replicas=1000,
        control_steps=100,
    )  # fmt: skip
    found = _predator_prey(few, Run(0, 1, False))
    tests = {name: v["p"] for name, v in found.items() if isinstance(v, dict) and "p" in v}
    control = tests.pop("control: means after many steps")
    assert len(tests) == 6
    assert min(tests.values()) > 1e-5
    assert control < 1e-6
    ratio = found["Sigma with lam = 1, over Sigma*"]
    assert np.abs(ratio["measured"] - 4).max() < 4.5 * ratio["standard error"].max()
