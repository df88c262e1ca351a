"""Theorem 1 assumes that an evolved patch has the law of a patch in the lattice, to dt^2: Eq. 16.

Laws of all states of a small torus (Eq. 13 is the same without its error).
"""

import numpy as np
import pytest

from sklmacro.experiments._truth.exact_laws import (
    distance,
    laws,
    number_of,
    spin_states,
    total_variations,
)
from sklmacro.lattice import PatchGrid
from tests import naive
from tests.theory.torus import ISING, SHORT, STATES, patches_of, slope


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
