"""Order parameters of patches: centred densities, whose variances over patches add up."""

import numpy as np
import pytest

from sklmacro.simulators import Alloy
from sklmacro.simulators.vacancies.walk import window_pairs


def centred(x, lattice, n_species):
    """Sum over neighbours of ([x_i = a] - f_a) ([x_j = b] - f_b) / f_a, site by site."""
    flat, neighbours = x.ravel(), lattice.neighbors()
    is_of = np.array([flat == a + 1 for a in range(n_species)], float)
    is_of -= is_of.mean(axis=1, keepdims=True)
    f = np.array([(flat == a + 1).mean() for a in range(n_species)])
    found = []
    for a in range(n_species):
        for b in range(a, n_species):
            found.append([
                sum(is_of[a, i] * is_of[b, j] for j in neighbours[i]) / f[a]
                for i in range(flat.size)
            ])  # fmt: skip
    return np.array(found).T


def test_densities_are_the_centred_products():
    alloy = Alloy(2000.0, vacancy_fraction=0.05)
    x = alloy.sample_initial(1, 3, random_state=0)[0]
    difference = alloy.density(x).reshape(-1, 6) - centred(x, alloy.lattice(x.shape), 3)
    np.testing.assert_allclose(difference - difference[0], 0, atol=1e-12)  # up to a constant


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_windows_have_the_mean_of_their_densities(boundary):
    alloy = Alloy(2000.0, vacancy_fraction=0.05, boundary=boundary, composition=(1, 2, 0))
    x = alloy.sample_initial(1, 4, random_state=0)[0]
    lattice, density = alloy.lattice(x.shape), alloy.density(x)
    for origin in ((0, 0, 0), (1, 2, 0), (2, 2, 2)):
        inside = density[lattice.window(origin, (2, 2, 2))]
        np.testing.assert_allclose(
            alloy.observe_window(x, (origin, (2, 2, 2))),
            inside.reshape(-1, 6).mean(axis=0),
            atol=1e-12,
        )
    np.testing.assert_allclose(
        alloy.observe_window(x, ((0, 0, 0), (4, 4, 4))),
        density.reshape(-1, 6).mean(axis=0),
        atol=1e-12,
    )


@pytest.mark.statistical
def test_variances_of_patches_add_up_to_that_of_the_lattice():
    """Eq. 14, with the plain density as a control, whose patches are anticorrelated.

    Over four seeds the ratio was 0.948 +- 0.015, and 1.91 +- 0.02 for the control. It is below 1
    since pairs across an edge are counted half in either patch.
    """
    alloy = Alloy(2000.0, vacancy_fraction=1 / 128)
    X = alloy.sample_initial(300, 8, random_state=0)
    lattice = alloy.lattice(X.shape[1:])
    Y, _ = alloy.advance(X, duration=100 * alloy.jump_time(), random_state=1)
    origins = [(a, b, c) for a in (0, 4) for b in (0, 4) for c in (0, 4)]

    def whole_densities(x, origin):
        return alloy.observe_window(x, (origin, (4, 4, 4)))

    def plain(x, origin):
        pairs = window_pairs(x.reshape(-1), lattice, (origin, (4, 4, 4)), 3)
        return 3 / 128 * pairs[[1, 1, 1, 2, 2, 3], [1, 2, 3, 2, 3, 3]]

    def increments(observe):
        return np.array([[observe(y, o) - observe(x, o) for o in origins]
                         for x, y in zip(X, Y, strict=True)])  # fmt: skip

    def ratio(d):
        return (d.var(axis=0).sum(axis=0) / d.sum(axis=1).var(axis=0)).mean()

    assert abs(ratio(increments(whole_densities)) - 0.95) < 0.2
    assert ratio(increments(plain)) > 1.7
