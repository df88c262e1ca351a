"""An Ising torus of 16 spins, small enough for the laws of all of its states."""

import numpy as np

from sklmacro.simulators import Ising
from tests.problems import fixed_rng

ISING = Ising(temperature=2.27)
SHORT = 2.0 ** np.arange(-8, -4)
STATES = np.where(fixed_rng(3).random((3, 4, 4)) < 0.5, 1, -1).astype(np.int8)


def slope(times, values):
    return np.polyfit(np.log(times), np.log(np.abs(values)), 1)[0]


def patches_of(grid):
    numbers = np.arange(grid.lattice.n_sites).reshape(grid.lattice.site_shape)
    return [numbers[grid.lattice.mesh(tuple(o), grid.cells)].ravel() for o in grid.origins]
