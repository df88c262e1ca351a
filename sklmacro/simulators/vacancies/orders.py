"""Short-range-order parameters as sums over sites (Eq. 30), of a whole snapshot and of parts.

With N_a of the n sites in state a and f_a = N_a / n, the density of delta_ab is, up to a constant,

    1 / f_a  sum_{j next to i} ([x_i = a] - f_a) ([x_j = b] - f_b)

Over the whole lattice it adds up to (n / N_a) #(ab) - n z c_b, as the plain (n / N_a) [x_i = a]
#(b next to i) - z c_b does. But an atom that moves from one patch to another takes nothing of the
centred density along on average, and z of the plain one: with it the variances of the patches'
increments add up to that of the whole (Eq. 14), with the plain one to 1.6 times as much (8x8x8
cells, 4000 jumps).
"""

import numpy as np

from sklmacro.simulators.vacancies.kernel import species_counts


def normalisation(flat: np.ndarray, n_species: int, z: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n / N_a and z c_b of each species in a whole snapshot; an absent one has 0."""
    counts = species_counts(flat, n_species)[1:]
    weight = np.divide(flat.size, counts, out=np.zeros(len(counts)), where=counts > 0)
    return weight, z * counts / max(counts.sum(), 1)


def centred_sums(
    pairs: np.ndarray,
    inside: np.ndarray,
    n_sites: int,
    flat: np.ndarray,
    of: np.ndarray,
    z: int,
) -> np.ndarray:
    """Return the sums of the densities over parts of a snapshot, shape (..., n_observables).

    Parameters
    ----------
    pairs : ndarray of shape (..., n_species + 1, n_species + 1)
        Ordered pairs of a site of the part and a nearest neighbour, by their states.
    inside : ndarray of shape (..., n_species + 1)
        Sites of the part, by their states.
    n_sites : int
        Sites of a part.
    flat : ndarray of shape (n,)
        The whole snapshot.
    of : ndarray of shape (n_observables, 2)
        Species a and b of each observable, from 0.
    z : int
        Nearest neighbours of a site.
    """
    a, b = np.transpose(of)
    weight, random = normalisation(flat, inside.shape[-1] - 1, z)
    f = np.divide(1.0, weight, out=np.zeros(len(weight)), where=weight > 0)
    # beyond an open edge a site has itself as neighbours: both sums then add up to z N_b
    beside = (pairs.sum(axis=-2) + z * inside - pairs.sum(axis=-1))[..., 1:]
    excess = pairs[..., a + 1, b + 1] - f[a] * beside[..., b] - f[b] * z * inside[..., a + 1]
    constant = (f[a] > 0) * z * f[b] - random[b]
    return weight[a] * (excess + z * f[a] * f[b] * n_sites) + constant * n_sites
