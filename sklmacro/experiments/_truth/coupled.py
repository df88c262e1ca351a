"""A lattice and its patches among frozen neighbours, evolved with the same random numbers.

Every attempt, a site and a uniform number u, acts on both: a spin is up afterwards where u is below
its heat-bath probability. In the first state neighbours are what they have become. In the second,
those beyond the edge of the patch are what they were at time 0: its patches are all evolved apart.
Each state has its exact law, and the two differ so little that their difference is known well.
"""

import numpy as np

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.lattice.patches import PatchGrid
from sklmacro.simulators import Ising
from sklmacro.simulators.glauber.tables import neighbour_table

CHUNK = 1e6  # attempts drawn at a time


@njit(nogil=True)
def evolve_coupled(
    x: np.ndarray,
    patch_of: np.ndarray,
    table: np.ndarray,
    up: np.ndarray,
    counts: np.ndarray,
    sites: np.ndarray,
    u: np.ndarray,
    joint: np.ndarray,
    apart: np.ndarray,
) -> None:
    """Evolve replicas, each by some of the attempts; add up changes.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Spins at time 0; not changed.
    patch_of : ndarray of shape (n,)
        Patch of each site.
    table : ndarray of shape (n, z)
        Neighbours.
    up : ndarray of shape (2 z + 1,)
        Probability of an up spin for neighbour sums -z ... z.
    counts : ndarray of shape (n_replicas,)
        Attempts of each replica.
    sites, u : ndarray of shape (sum of counts,)
        Sites of the attempts, and uniform numbers that decide them.
    joint : ndarray of shape (n_replicas, 2)
    apart : ndarray of shape (n_replicas, K, 2)
        Changes of the sums of spins and of wall densities, of the lattice, and by the spins of
        each patch among frozen neighbours.
    """
    full, ghost = x.copy(), x.copy()
    z, first = table.shape[1], 0
    for r in range(counts.shape[0]):
        last = first + counts[r]
        for k in range(first, last):
            if k % STEPS == STEPS - 1:
                heed()
            i = sites[k]
            own = patch_of[i]
            neighbours, frozen = 0, 0
            for q in range(z):
                j = table[i, q]
                neighbours += full[j]
                frozen += ghost[j] if patch_of[j] == own else x[j]
            s = 1 if u[k] < up[neighbours + z] else -1
            if s != full[i]:
                joint[r, 0] += 2 * s
                joint[r, 1] -= 2.0 * s * neighbours / z  # unequal bonds, seen from both ends
                full[i] = s
            s = 1 if u[k] < up[frozen + z] else -1
            if s != ghost[i]:
                apart[r, own, 0] += 2 * s
                apart[r, own, 1] -= 2.0 * s * frozen / z
                ghost[i] = s
        for k in range(first, last):  # back to the state at time 0
            full[sites[k]] = x[sites[k]]
            ghost[sites[k]] = x[sites[k]]
        first = last


def coupled_increments(
    ising: Ising, x: np.ndarray, grid: PatchGrid, duration: float, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return increments of magnetisation and wall density from x, in n replicas.

    Returns
    -------
    joint : ndarray of shape (n, 2)
        Of the lattice.
    apart : ndarray of shape (n, K, 2)
        Of its patches, each among frozen neighbours.
    """
    lattice, spins = grid.lattice, x.ravel().astype(np.int64)
    patch_of = np.empty(lattice.site_shape, np.int64)
    for k, origin in enumerate(grid.origins):
        patch_of[lattice.mesh(tuple(origin), grid.cells)] = k
    table, up = neighbour_table(lattice).astype(np.int64), ising.rates()[:, 0].copy()
    joint, apart = np.zeros((n, 2)), np.zeros((n, grid.n_patches, 2))
    step = max(1, int(CHUNK / (duration * spins.size)))
    for first in range(0, n, step):
        rows = slice(first, min(first + step, n))
        counts = rng.poisson(duration * spins.size, rows.stop - first)
        sites = rng.integers(spins.size, size=counts.sum())
        evolve_coupled(
            spins, patch_of.ravel(), table, up, counts, sites, rng.random(len(sites)),
            joint[rows], apart[rows],
        )  # fmt: skip
    return joint / spins.size, apart / grid.sites_per_patch


def first_order(ising: Ising, x: np.ndarray, grid: PatchGrid) -> np.ndarray:
    """Return lim (mu_dagger - mu*) / dt (2,) as dt -> 0, for magnetisation and wall density.

    With L_J the generator of the flips in patch J and b_I the drift by those in I, the lattice has
    the mean increment dt sum_I b_I + dt^2/2 sum_IJ L_J b_I, and patches apart the terms I = J.
    """
    lattice, z = grid.lattice, grid.lattice.coordination
    s, table = x.ravel().astype(int), lattice.neighbors()
    patch_of = np.empty(lattice.site_shape, int)
    for k, origin in enumerate(grid.origins):
        patch_of[lattice.mesh(tuple(origin), grid.cells)] = k
    patch_of, sums, rates = patch_of.ravel(), s[table].sum(axis=1), ising.rates()

    def drift(i: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
        rate = rates[neighbours + z, (s[i] + 1) // 2]
        return np.stack([-2 * s[i] * rate, 2 / z * s[i] * neighbours * rate])

    j = np.repeat(np.arange(s.size), z)
    i = table.ravel()
    j, i = j[patch_of[i] != patch_of[j]], i[patch_of[i] != patch_of[j]]
    change = drift(i, sums[i] - 2 * s[j]) - drift(i, sums[i])
    flips = rates[sums[j] + z, (s[j] + 1) // 2]
    return -0.5 * (flips * change).sum(axis=1) / s.size
