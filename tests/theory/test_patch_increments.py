"""Increments of patches: their definitions, Eqs. 3 and 9 to 12, and their sum, Eq. 15."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklmacro import PartialEvolutionSampler, Patches
from sklmacro.simulators import Ising

SEEDS = st.integers(0, 2**32 - 1)
ISING = Ising(temperature=2.5)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_magnetisation_increments_add_up_over_patches(seed):
    """Eq. 15, with every patch evolved from the same snapshot."""
    X = ISING.sample_initial(3, (8, 12), random_state=seed)
    sampler = PartialEvolutionSampler(
        ISING, patch=Patches(4, n_evolved=6), dt=1.0, random_state=seed
    )
    pairs = sampler.fit_transform(X)
    for pair in pairs:
        after = pair["x"].copy()
        for origin, patch in zip(pair["origin"].tolist(), pair["x_next"], strict=True):
            after[sampler.grid_.lattice.window(tuple(origin), (4, 4))] = patch
        change = ISING.observe(after[None]) - ISING.observe(pair["x"][None])
        assert pair["d_obs"][0] == pytest.approx(change[0, 0], abs=1e-12)


@given(seed=SEEDS, boundary=st.sampled_from(["ghost", 1]))
@settings(max_examples=20)
def test_one_patch_changes_the_whole_by_its_increment_over_K(seed, boundary):
    """The change of all observables, walls across the edge included, is d_obs / K."""
    X = ISING.sample_initial(2, 12, random_state=seed)
    sampler = PartialEvolutionSampler(ISING, patch=4, dt=1.0, boundary=boundary, random_state=seed)
    for pair in sampler.fit_transform(X):
        after = pair["x"].copy()
        window = sampler.grid_.lattice.window(tuple(pair["origin"][0].tolist()), (4, 4))
        after[window] = pair["x_next"][0]
        change = ISING.observe(after[None])[0] - ISING.observe(pair["x"][None])[0]
        n_checked = 2 if boundary == "ghost" else 1  # a buffer moves walls on both sides
        assert np.allclose(pair["d_obs"][:n_checked] / 9, change[:n_checked], atol=1e-12)


@pytest.mark.statistical
def test_a_patch_closed_on_itself_does_not():
    """Negative control: walls of a periodic patch are not those of the lattice."""
    X = ISING.sample_initial(100, 12, random_state=0)
    sampler = PartialEvolutionSampler(ISING, patch=4, dt=1.0, boundary="periodic", random_state=0)
    wrong = 0
    for pair in sampler.fit_transform(X):
        after = pair["x"].copy()
        window = sampler.grid_.lattice.window(tuple(pair["origin"][0].tolist()), (4, 4))
        after[window] = pair["x_next"][0]
        change = ISING.observe(after[None])[0] - ISING.observe(pair["x"][None])[0]
        wrong += not np.allclose(pair["d_obs"] / 9, change, atol=1e-12)
    assert wrong > 20


@pytest.mark.parametrize("n_evolved", [1, 3])
@pytest.mark.parametrize("name", ["spins", "fields"])
def test_increments_are_their_definitions(encoders, name, n_evolved):
    """Eq. 10: patch against patch; Eq. 9: patch against the whole."""
    encoder = encoders[name]
    simulator = encoder.simulator_
    X = simulator.sample_initial(10, 8 if name == "spins" else 12, random_state=1)
    pairs = PartialEvolutionSampler(
        simulator, patch=Patches(4, n_evolved=n_evolved), dt=0.5, random_state=2
    ).fit_transform(X)
    site = 1 if name == "spins" else 2  # observables that are means over sites: all but walls
    columns = [*range(site), -2, -1]

    def phi(patches):
        flat = patches.reshape(-1, *patches.shape[2:])
        return encoder.transform(flat).reshape(*patches.shape[:2], -1)[..., columns]

    window = encoder.grid_.lattice.window
    before = np.stack(
        [
            [x[window(tuple(o), encoder.grid_.cells)] for o in origins]
            for x, origins in zip(pairs["x"], pairs["origin"].tolist(), strict=True)
        ]
    )
    whole = encoder.transform(X)[:, columns]
    after = phi(pairs["x_next"]).mean(axis=1)
    patch = encoder.set_params(increments="patch").transform(pairs)
    naive = encoder.set_params(increments="naive").transform(pairs)
    encoder.set_params(increments="patch")
    assert np.allclose(patch["z"][:, columns], whole)
    assert np.allclose(patch["dz"][:, columns], after - phi(before).mean(axis=1), atol=1e-5)
    assert np.allclose(naive["dz"][:, columns], after - whole, atol=1e-5)
    assert np.allclose(naive["dz"], patch["dz"]) == (n_evolved == pairs["n_patches"][0])
    for field in ("dt", "n_patches", "n_evolved", "group"):
        assert np.array_equal(patch[field], pairs[field])
