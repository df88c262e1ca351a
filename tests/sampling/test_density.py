"""Densities of a simulator of one's own: where they are computed, and that it does not show."""

import numpy as np
import pytest

from sklmacro import HierarchicalUpsampler, LocalRelax, PartialEvolutionSampler
from sklmacro.lattice.windows import Window
from sklmacro.simulators import Simulator

SEEN = []  # cells of the arrays that densities were computed of


class Slopes(Simulator):
    """Real field whose densities look one cell ahead, unlike along the two axes."""

    kind = "square"
    observable_names = ("mean", "slope")
    observable_units = ("1", "1")
    observable_bounds = ((-np.inf, np.inf),) * 2
    observable_range = 1
    relax_time = 1.0

    def __init__(self, boundary="periodic"):
        self.boundary = boundary

    def draw_initial(self, lattice, rng):
        return rng.random(lattice.cells)

    def advance_window(self, x, lattice, evolution):
        window, span, rng = evolution
        box = lattice.mesh(*window)
        x[box] += 0.1 * rng.standard_normal(x[box].shape)
        return span.time

    def density(self, x):
        SEEN.append(x.size)
        wide = np.pad(x, 1, mode="wrap" if self.boundary == "periodic" else "edge")
        middle = wide[1:-1, 1:-1]
        slope = (wide[2:, 1:-1] - middle) ** 2 + 0.3 * np.abs(middle - wide[1:-1, :-2])
        return np.stack([x, slope], axis=-1)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_a_window_sees_what_the_whole_lattice_does(boundary):
    simulator, rng = Slopes(boundary), np.random.default_rng(0)
    x = simulator.sample_initial(1, (7, 9), random_state=0)[0]
    density = simulator.density(x)
    for _ in range(60):
        extent = tuple(int(rng.integers(1, n + 1)) for n in x.shape)
        free = [
            n - e + 1 if boundary == "open" else n for n, e in zip(x.shape, extent, strict=True)
        ]
        origin = tuple(int(rng.integers(n)) for n in free)
        box = simulator.lattice(x.shape).window(origin, extent)
        expected = density[box].sum(axis=(0, 1)) / np.prod(extent)
        np.testing.assert_array_equal(simulator.observe_window(x, Window(origin, extent)), expected)


def test_a_density_that_looks_further_than_it_says_is_seen():
    """Negative control."""

    class TooShort(Slopes):
        observable_range = 0

    x = TooShort().sample_initial(1, 8, random_state=0)[0]
    window = Window((2, 2), (4, 4))
    assert TooShort().observe_window(x, window)[1] != Slopes().observe_window(x, window)[1]


@pytest.mark.parametrize("boundary", ["ghost", 2])
def test_the_cost_of_a_patch_does_not_grow_with_the_lattice(boundary):
    seen = []
    for side in (20, 80):
        X = Slopes().sample_initial(2, side, random_state=0)
        SEEN.clear()
        options = {"patch": 10, "dt": 0.1, "boundary": boundary, "random_state": 0}
        PartialEvolutionSampler(Slopes(), **options).fit_transform(X)
        seen.append(sum(SEEN))
    assert seen[0] == seen[1] <= 2 * 2 * 14**2


@pytest.mark.parametrize("boundary", ["ghost", 2, "periodic"])
def test_relaxation_computes_no_densities(boundary):
    relaxation = LocalRelax(boundary=boundary)
    X = Slopes().sample_initial(2, 6, random_state=0)
    SEEN.clear()
    HierarchicalUpsampler(Slopes(), n_iter=1, relaxation=relaxation, random_state=0).fit_transform(
        X
    )
    assert not SEEN
