"""Embedded barriers of NbMoTa on the BCC lattice: a cluster expansion with its coefficients.

The barrier of a jump is a sum over the sites around the vacancy, for each species that jumps, and
over pairs of second-nearest sites in the ring of six around the saddle. The mirror planes and the
three-fold axis of the jump exchange sites: 112 sites fall into 31 orbits, the six pairs are one.
The coefficients were fitted to the barriers of a published network, over environments that
simulations with it met between 400 and 3000 K, and their nearest-neighbour energies adjusted to its
order parameters; `python docs/embedded_barriers.py FILE` makes them, and keeps the errors beside.
"""

import json
from functools import lru_cache
from importlib.resources import files
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

from sklmacro.lattice.lattice import offsets_within
from sklmacro.simulators.vacancies.barriers import ClusterBarriers

RADIUS = 7.5 / 3.24  # cutoff over lattice constant, both in Angstrom
JUMP = (1, 1, 1)  # of the frame in which orbits are defined, in half lattice constants
SECOND = 4  # squared distance of second-nearest sites, in squared half lattice constants


class Orbits(NamedTuple):
    """Sites and pairs that the symmetry of a jump makes equal.

    sites : ndarray of shape (8, 112)
        Reflected so that jump d points along (1, 1, 1), site k of the frame is `sites[d, k]`.
    place : ndarray of shape (112, 3)
        Sites of the frame, in half lattice constants.
    point : ndarray of shape (112,)
        Orbit of each site of the frame.
    pairs : list of ndarray of shape (m, 2)
        Pairs of sites of the frame in each orbit, their sites in the order of the first pair.
    """

    sites: np.ndarray
    place: np.ndarray
    point: np.ndarray
    pairs: list[np.ndarray]


@lru_cache(maxsize=1)
def orbits() -> Orbits:
    """Return the orbits under permutations of the axes, which keep (1, 1, 1)."""
    offsets = offsets_within("bcc", RADIUS)[0]
    place = 2 * offsets[:, :3] + offsets[:, 3:]
    points = [tuple(p) for p in place.tolist()]
    number = {p: k for k, p in enumerate(points)}
    signs = [p for p in points if set(map(abs, p)) == {1}]
    sites = [
        [number[tuple(s * c for s, c in zip(sign, p, strict=True))] for p in points]
        for sign in signs
    ]
    classes = sorted({tuple(sorted(p)) for p in points})
    saddle = np.array(JUMP) / 2
    from_saddle = ((place - saddle) ** 2).sum(axis=1)
    ring = np.flatnonzero(np.isclose(from_saddle, np.unique(from_saddle)[1]))  # behind the jumper
    orders = list(permutations(range(3)))
    turned = [[number[tuple(p[i] for i in order)] for p in points] for order in orders]
    pairs: dict[tuple[int, ...], np.ndarray] = {}
    for one, other in combinations(ring.tolist(), 2):
        if ((place[one] - place[other]) ** 2).sum() <= SECOND:
            images = {tuple(sorted((t[one], t[other]))): (t[one], t[other]) for t in turned}
            pairs.setdefault(min(images), np.array(list(images.values())))
    point = np.array([classes.index(tuple(sorted(p))) for p in points])
    return Orbits(np.array(sites), place, point, list(pairs.values()))


def expand(points: np.ndarray, pairs: np.ndarray) -> ClusterBarriers:
    """Return barriers from coefficients by orbit.

    Parameters
    ----------
    points : ndarray of shape (3, 31, 4)
        eV, for the species that jumps, the orbit of a site, and the species on it.
    pairs : ndarray of shape (1, 4, 4)
        eV, for the orbit of a pair and the species on its sites.
    """
    frame = orbits()
    point_table = np.zeros((len(frame.point), 4, len(frame.sites), 3))
    pair_table: dict[tuple[int, int], np.ndarray] = {}
    for d, sites in enumerate(frame.sites):
        point_table[sites, :, d] = points[:, frame.point].transpose(1, 2, 0)
        for orbit, values in zip(frame.pairs, pairs, strict=True):
            for one, other in sites[orbit].tolist():
                key, value = ((one, other), values) if one < other else ((other, one), values.T)
                pair_table.setdefault(key, np.zeros((4, 4, len(frame.sites), 3)))[..., d, :] += (
                    value[..., np.newaxis]  # whatever jumps
                )
    number, joint = np.array(list(pair_table)), np.array(list(pair_table.values()))
    # Both sites of the unit cell have the same surroundings.
    return ClusterBarriers("bcc", RADIUS, *(np.stack([t, t]) for t in (point_table, number, joint)))


@lru_cache(maxsize=1)
def nbmota_barriers() -> ClusterBarriers:
    """Return the embedded barriers of Nb, Mo and Ta (species 1, 2, 3)."""
    stored = json.loads(
        (files("sklmacro.simulators.vacancies") / "nbmota_barriers.json").read_text()
    )
    return expand(np.array(stored["points"]), np.array(stored["pairs"]))
