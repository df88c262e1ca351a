"""Jumps of vacancies as events: rates, sites, and changes of the numbers of pairs.

An atom a that jumps from site j into the vacancy on i leaves the neighbours N(j) and meets N(i).
For each species c the number of ordered pairs (a, c) grows by #c in N(i) - #c in N(j), without the
pair of the two sites themselves, and so does that of the pairs (c, a).
"""

import numpy as np

from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators.glauber.tables import neighbour_table, pad_spins
from sklmacro.simulators.vacancies.walk import VacancyWalk


def vacancy_jumps(
    x: np.ndarray, lattice: Lattice, walk: VacancyWalk
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the possible jumps of the vacancies of x that are in the window of their walk.

    Returns
    -------
    rates : ndarray of shape (n,)
    ends : ndarray of int, shape (n, 2)
        Site that the vacancy leaves, and site that it goes to.
    atoms : ndarray of shape (n,)
        Species that jumps.
    pairs : ndarray of shape (n, n_species + 1, n_species + 1)
        Changes of the numbers of ordered nearest-neighbour pairs.
    """
    sites, environments, basis = walk.environments()
    flat, table = pad_spins(x), neighbour_table(lattice)
    none = np.empty((0, table.shape[1]))
    barriers = walk.model.evaluate(environments, basis) if len(sites) else none
    v, d = np.nonzero(flat[table[sites]])  # a jump needs an atom to jump
    rates = walk.scale.attempt * np.exp(-walk.scale.beta * barriers[v, d])
    here, there = sites[v], table[sites[v], d].astype(np.int64)
    n_species = walk.n_species
    gains = _beside(flat, table[here], there, n_species)
    gains -= _beside(flat, table[there], there, n_species)
    atoms, pairs = flat[there], np.zeros((len(v), n_species + 1, n_species + 1), np.int64)
    pairs[np.arange(len(v)), atoms] = gains
    return rates, np.column_stack([here, there]), atoms, pairs + pairs.swapaxes(1, 2)


def _beside(
    flat: np.ndarray, neighbours: np.ndarray, without: np.ndarray, n_species: int
) -> np.ndarray:
    """Return the numbers (n, n_species + 1) of species on neighbours (n, z), one site left out."""
    species = np.where(neighbours == without[:, np.newaxis], 0, flat[neighbours])
    return (species[..., np.newaxis] == np.arange(n_species + 1)).sum(axis=1)
