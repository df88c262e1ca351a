"""Embedded barriers of NbMoTa on the BCC lattice: a cluster expansion with its coefficients.

The barrier of a jump is a sum over the sites around the vacancy, for each species that jumps.
Mirror planes and three-fold axis of the jump make one of sites that they exchange: 31 orbits of 112
sites. The coefficients were fitted to the barriers of a published network, over environments that
simulations with it met between 400 and 3000 K; `python docs/embedded_barriers.py FILE` makes them.
"""

import json
from functools import lru_cache
from importlib.resources import files

import numpy as np

from sklmacro.lattice import surroundings_of
from sklmacro.simulators.barriers import ClusterBarriers

RADIUS = 7.5 / 3.24  # cutoff over lattice constant, both in Angstrom
SPECIES = ("Nb", "Mo", "Ta")


def jump_frames() -> tuple[np.ndarray, np.ndarray]:
    """Return, for each jump, the sites seen from it, and the orbit of each.

    Returns
    -------
    sites : ndarray of shape (8, 112)
        Reflected so that jump d points along (1, 1, 1), site k of the frame is `sites[d, k]`.
    orbit : ndarray of shape (112,)
        Sites k that permutations of the axes, which keep (1, 1, 1), turn into one another.
    """
    offsets = surroundings_of("bcc", RADIUS)[0]
    place = 2 * offsets[:, :3] + offsets[:, 3:]  # in half lattice constants
    number = {tuple(p): k for k, p in enumerate(place.tolist())}
    signs = [p for p in place.tolist() if set(map(abs, p)) == {1}]
    sites = [[number[tuple(s * c for s, c in zip(sign, p))] for p in place.tolist()] for sign in signs]
    classes = sorted({tuple(sorted(p)) for p in place.tolist()})
    orbit = [classes.index(tuple(sorted(p))) for p in place.tolist()]
    return np.array(sites), np.array(orbit)


def expand(coefficients: np.ndarray) -> np.ndarray:
    """Return the table (2, 112, 4, 8, 3) of `ClusterBarriers` from coefficients by orbit.

    Parameters
    ----------
    coefficients : ndarray of shape (3, 31, 4)
        eV, for the species that jumps, the orbit of a site, and the species on it.
    """
    sites, orbit = jump_frames()
    table = np.zeros((len(orbit), 4, len(sites), 3))
    for d, frame in enumerate(sites):
        table[frame, :, d] = coefficients[:, orbit].transpose(1, 2, 0)
    return np.stack([table, table])  # both sites of the cell have the same surroundings


@lru_cache(maxsize=1)
def nbmota_barriers() -> ClusterBarriers:
    """Return the embedded barriers of Nb, Mo and Ta (species 1, 2, 3)."""
    text = (files("sklmacro.simulators") / "nbmota_barriers.json").read_text()
    return ClusterBarriers("bcc", RADIUS, expand(np.array(json.loads(text)["coefficients"])))
