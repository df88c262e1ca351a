"""Sums of clusters over a lattice, and how they change with the states of its sites.

    S_c = n_basis / n_c  sum_cells sum_instances  prod_k F_k(site_k),        zhat_c = S_c / n_sites

with n_c the instances of cluster c that start in one cell. The sites of an instance differ, so that
S_c is linear in the functions of each site: where those of site i change by dF,

    dS_c = sum over the instances through i of  weight * dF_k(i) * prod of the others.

Several sites change one after the other. On an open lattice an instance that sticks out is 0.

Shape vocabulary::

    F           (n_sites, n_products)     functions of all sites, see `site_functions`
    entry       one factor of an instance: cluster, product of letters, weight, and the others
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.closure.clusters import Cluster, Instance, instances
from sklmacro.closure.site_functions import Products, SiteFunctions
from sklmacro.lattice.lattice import Lattice, n_axes

OUTSIDE = -(2**60)  # place of a cell beyond an open edge
N_AXES = 3  # lattices of fewer axes have axes of one cell in front


class Entries(NamedTuple):
    """Factors of instances, those of each basis site together, and the other factors of each.

    `first` (n_basis + 1,) are the first entries of the basis sites; `cluster`, `product` and
    `weight` (n_entries,) belong to an entry; its others are `first_other` (n_entries + 1,) on, with
    `offset` (n_others, 3), `basis` and `other` (n_others,), their products of letters.
    """

    first: np.ndarray
    cluster: np.ndarray
    product: np.ndarray
    weight: np.ndarray
    first_other: np.ndarray
    offset: np.ndarray
    basis: np.ndarray
    other: np.ndarray


class Frame(NamedTuple):
    """A lattice for kernels: `cells` (3,), and for each axis the `places` of cells from -reach on.

    A neighbour's number is the sum of the places of its cells and of its basis site.
    """

    cells: np.ndarray
    n_basis: int
    reach: np.ndarray
    places: np.ndarray


# Kernels ------------------------------------------------------------------------------------------


@njit(nogil=True)
def add_response(
    F: np.ndarray, site: int, change: np.ndarray, entries: Entries, frame: Frame, out: np.ndarray
) -> None:
    """Add to `out` (n_clusters,) what a change (n_products,) of a site does to the sums."""
    cells, n_basis, reach, places = frame
    basis, cell = site % n_basis, site // n_basis
    c2 = cell % cells[2] + reach[2]
    cell //= cells[2]
    c1, c0 = cell % cells[1] + reach[1], cell // cells[1] + reach[0]
    for e in range(entries.first[basis], entries.first[basis + 1]):
        value = entries.weight[e] * change[entries.product[e]]
        if value == 0.0:
            continue
        for k in range(entries.first_other[e], entries.first_other[e + 1]):
            place = places[0, c0 + entries.offset[k, 0]] + places[1, c1 + entries.offset[k, 1]]
            place += places[2, c2 + entries.offset[k, 2]] + entries.basis[k]
            if place < 0:
                value = 0.0
                break
            value *= F[place, entries.other[k]]
        out[entries.cluster[e]] += value


@njit(nogil=True)
def add_sums(F: np.ndarray, entries: Entries, frame: Frame, out: np.ndarray) -> None:
    """Add the sums over the lattice to `out`; the entries are the first of each instance."""
    for site in range(F.shape[0]):
        add_response(F, site, F[site], entries, frame, out)
        if site % (STEPS >> 6) == (STEPS >> 6) - 1:
            heed()


@njit(nogil=True)
def add_changes(
    F: np.ndarray,
    sites: np.ndarray,
    values: np.ndarray,
    entries: Entries,
    frame: Frame,
    out: np.ndarray,
) -> None:
    """Add to `out` (n, n_clusters) what n events do, each by itself; F comes back as it was.

    `sites` (n, s) of an event get `values` (n, s, n_products), one after the other.
    """
    n, s = sites.shape
    before, change = np.empty((s, F.shape[1])), np.empty(F.shape[1])
    since = 0
    for e in range(n):
        for u in range(s):
            site = sites[e, u]
            before[u] = F[site]
            change[:] = values[e, u] - before[u]
            add_response(F, site, change, entries, frame, out[e])
            F[site] = values[e, u]
        for u in range(s - 1, -1, -1):
            F[sites[e, u]] = before[u]
        since += s
        if since >= STEPS >> 6:
            heed()
            since = 0


@njit(nogil=True)
def add_responses(
    F: np.ndarray,
    sites: np.ndarray,
    changes: np.ndarray,
    entries: Entries,
    frame: Frame,
    out: np.ndarray,
) -> None:
    """Add to `out` (n, n_clusters) the responses to changes (n, n_products) of sites (n,)."""
    for k in range(len(sites)):
        add_response(F, sites[k], changes[k], entries, frame, out[k])
        if k % (STEPS >> 6) == (STEPS >> 6) - 1:
            heed()


# Tables -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClusterSums:
    """Sums of clusters on lattices of a kind.

    Parameters
    ----------
    clusters : tuple of Cluster
    functions : SiteFunctions
    kind : str
        Kind of lattice.
    isotropic : bool
        Whether turns and reflections of a cluster count as well.
    """

    clusters: tuple[Cluster, ...]
    functions: SiteFunctions
    kind: str
    isotropic: bool

    def check(self, lattice: Lattice) -> None:
        """Raise ValueError unless all clusters fit in, and none meets itself across an edge."""
        spread = self.spread
        if any(n <= width for n, width in zip(lattice.cells, spread, strict=True)):
            raise ValueError(
                f"Expected lattices of more than {spread} cells, over which clusters reach, but "
                f"got {lattice.cells}; use larger snapshots, or a smaller max_distance."
            )

    @cached_property
    def spread(self) -> tuple[int, ...]:
        """Largest distance in cells of two sites of an instance along each axis, (ndim,)."""
        return tuple(self._through.reach[N_AXES - n_axes(self.kind) :].tolist())

    def sums(self, x: np.ndarray, lattice: Lattice) -> np.ndarray:
        """Return the sums (n_clusters,) over the lattice of a snapshot."""
        out = np.zeros(len(self.clusters))
        add_sums(self.values(x, lattice), self._anchors.entries, self._frame(lattice), out)
        return out

    def densities(self, x: np.ndarray, lattice: Lattice) -> np.ndarray:
        """Return densities (n_sites, n_clusters) of a snapshot, which add up to the sums.

        The sites of an instance have equal parts of it.
        """
        F = self.values(x, lattice)
        n_parts = np.array([len(images[0]) for images in self.images])
        return self.responses(F, np.arange(lattice.n_sites), F, lattice) / n_parts

    def values(self, x: np.ndarray, lattice: Lattice) -> np.ndarray:
        """Return the functions F of all sites of a snapshot."""
        return self.functions.values(x.reshape(lattice.n_sites, -1), self.products)

    def changes(
        self, F: np.ndarray, sites: np.ndarray, states: np.ndarray, lattice: Lattice
    ) -> np.ndarray:
        """Return the changes (n, n_clusters) of the sums by events.

        Event e puts sites (n, s) into new states (n, s[, n_fields]).
        """
        flat = states.reshape(sites.size, math.prod(states.shape[2:]))
        values = self.functions.values(flat, self.products).reshape(*sites.shape, F.shape[1])
        out = np.zeros((len(sites), len(self.clusters)))
        sites = np.ascontiguousarray(sites, np.int64)
        add_changes(F, sites, values, self._through.entries, self._frame(lattice), out)
        return out

    def responses(
        self, F: np.ndarray, sites: np.ndarray, changes: np.ndarray, lattice: Lattice
    ) -> np.ndarray:
        """Return the responses (n, n_clusters) of the sums to small changes of sites (n,)."""
        out = np.zeros((len(sites), len(self.clusters)))
        changes = np.ascontiguousarray(changes)
        add_responses(F, sites, changes, self._through.entries, self._frame(lattice), out)
        return out

    @cached_property
    def products(self) -> Products:
        """Products of letters at one site that clusters are made of."""
        found = {own for images in self.images for one in images for _, _, own in one}
        return tuple(sorted(found))

    @cached_property
    def images(self) -> list[list[Instance]]:
        """Instances of each cluster."""
        return [instances(c, self.kind, self.isotropic, self.functions) for c in self.clusters]

    @cached_property
    def _through(self) -> "Table":
        return _table(self, every_factor=True)

    @cached_property
    def _anchors(self) -> "Table":
        return _table(self, every_factor=False)

    def _frame(self, lattice: Lattice) -> Frame:
        return _frame(lattice, tuple(self._through.reach.tolist()))


class Table(NamedTuple):
    """Entries, and how far (3,) their others reach."""

    entries: Entries
    reach: np.ndarray


def _table(sums: ClusterSums, *, every_factor: bool) -> Table:
    """Return the entries of all factors of the instances, or of the first of each."""
    n_basis = Lattice(sums.kind, (1,) * n_axes(sums.kind)).n_basis
    of_basis = defaultdict(list)
    for number, images in enumerate(sums.images):
        weight = n_basis / len(images)
        for image in images:
            for k, (cell, basis, own) in enumerate(image if every_factor else image[:1]):
                others = [(np.subtract(c, cell), b, o) for c, b, o in image[:k] + image[k + 1 :]]
                of_basis[basis].append((number, sums.products.index(own), weight, others))
    rows = [row for basis in range(n_basis) for row in of_basis[basis]]
    others = [other for row in rows for other in row[3]]
    offset = np.zeros((len(others), N_AXES), np.int64)
    for k, (step, _, _) in enumerate(others):
        offset[k, N_AXES - len(step) :] = step
    entries = Entries(
        np.cumsum([0, *(len(of_basis[basis]) for basis in range(n_basis))]),
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], float),
        np.cumsum([0, *(len(row[3]) for row in rows)]),
        offset,
        np.array([basis for _, basis, _ in others], np.int64),
        np.array([sums.products.index(own) for _, _, own in others], np.int64),
    )
    return Table(entries, np.abs(offset).max(axis=0, initial=0))


@lru_cache(maxsize=64)
def _frame(lattice: Lattice, reach: tuple[int, ...]) -> Frame:
    """Return a lattice for kernels, whose neighbours are up to `reach` (3,) cells away."""
    cells = (1,) * (N_AXES - lattice.ndim) + lattice.cells
    places = np.full((N_AXES, max(n + 2 * r for n, r in zip(cells, reach, strict=True))), OUTSIDE)
    for axis, (n, r) in enumerate(zip(cells, reach, strict=True)):
        cell = np.arange(-r, n + r)
        inside = ((cell >= 0) & (cell < n)) | (lattice.boundary == "periodic")
        place = cell % n * math.prod(cells[axis + 1 :]) * lattice.n_basis
        places[axis, : len(cell)] = np.where(inside, place, OUTSIDE)
    return Frame(np.array(cells), lattice.n_basis, np.array(reach), places)
