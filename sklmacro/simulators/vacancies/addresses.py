"""Addresses of sites around a site, on every kind of lattice, in kernels.

A site of a snapshot held flat is `((i * n1 + j) * n2 + k) * n_basis + b`; lattices of fewer than
three dimensions have axes of one cell in front. The address of a site at a given offset is a sum of
three table entries, wrapped on a periodic axis, negative beyond an open edge.

Cells of a site are a row (c0, c1, c2, b) of integers.

Shape vocabulary::

    Map.shape      (4,)                 n0, n1, n2, n_basis
    Map.wrap       (3, n + 2 reach)     what a cell, counted from -reach, adds to the address
    Map.reach      (3,)                 largest offset along each axis
    Shell.steps    (n_basis, 4, m)      offsets of m sites around each basis site, plus the reach
    Shell.flat     (n_basis, m)         what they add to the address away from all edges
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import uint64

from sklmacro._base.kernels import njit
from sklmacro.lattice.lattice import Lattice, offsets_within

BEYOND = -(2**60)  # an address beyond an open edge is negative whatever is added to it


class Map(NamedTuple):
    """Addresses of the sites of one lattice."""

    shape: np.ndarray
    wrap: np.ndarray
    reach: np.ndarray
    is_open: bool


class Shell(NamedTuple):
    """Sites around each basis site, on one lattice."""

    steps: np.ndarray
    flat: np.ndarray


class Geometry(NamedTuple):
    """What vacancies look at: a map, and shells around a site.

    where : Map
    halo : Shell
        Sites within the radius of the barriers.
    nearest : Shell
        Nearest neighbours.
    behind : Shell
        Those of the halo that are too far away after jump d from basis site b, in row b z + d.
    """

    where: Map
    halo: Shell
    nearest: Shell
    behind: Shell


@lru_cache(maxsize=64)
def address_map(lattice: Lattice, radius: float) -> Map:
    """Return the addresses of a lattice for offsets of at most `radius` lattice constants."""
    cells = (1,) * (3 - lattice.ndim) + lattice.cells
    reach = _reach(lattice, radius)
    strides = [cells[1] * cells[2] * lattice.n_basis, cells[2] * lattice.n_basis, lattice.n_basis]
    wrap = np.full((3, max(cells) + 2 * int(reach.max())), BEYOND, np.int64)
    for axis in range(3):
        cell = np.arange(-reach[axis], cells[axis] + reach[axis])
        row = (cell % cells[axis]) * strides[axis]
        if lattice.boundary == "open" and axis >= 3 - lattice.ndim:
            row = np.where((cell < 0) | (cell >= cells[axis]), BEYOND, row)
        wrap[axis, : len(row)] = row
    shape = np.array([*cells, lattice.n_basis], np.int64)
    return Map(shape, wrap, reach, lattice.boundary == "open")


@lru_cache(maxsize=64)
def shell(lattice: Lattice, radius: float, map_radius: float) -> Shell:
    """Return the sites within `radius` lattice constants, for a map of `map_radius`."""
    steps = _steps(lattice, radius)
    n1, n2, nb = (1, 1, *lattice.cells)[-2], lattice.cells[-1], lattice.n_basis
    own = np.arange(nb)[:, np.newaxis]
    flat = ((steps[..., 0] * n1 + steps[..., 1]) * n2 + steps[..., 2]) * nb + steps[..., 3] - own
    steps[..., :3] += _reach(lattice, map_radius)
    # Unsigned, so that the compiler need not think of negative subscripts.
    return Shell(np.ascontiguousarray(steps.transpose(0, 2, 1).astype(np.uint64)), flat)


def _reach(lattice: Lattice, radius: float) -> np.ndarray:
    return np.abs(_steps(lattice, radius)[..., :3]).max(axis=(0, 1))


def _steps(lattice: Lattice, radius: float) -> np.ndarray:
    """Return the offsets (n_basis, m, 4) of `offsets_within`, padded to three axes."""
    offsets = offsets_within(lattice.kind, radius)
    steps = np.zeros((*offsets.shape[:2], 4), np.int64)
    steps[..., -offsets.shape[2] :] = offsets
    return steps


@njit(nogil=True)
def address(steps: np.ndarray, e: int, cell: np.ndarray, where: Map) -> int:
    """Return the address of neighbour e of a site, given the steps (4, m) of its basis site.

    It is negative beyond an open edge.
    """
    wrap = where.wrap
    return (
        wrap[0, uint64(cell[0]) + steps[0, e]]
        + wrap[1, uint64(cell[1]) + steps[1, e]]
        + wrap[2, uint64(cell[2]) + steps[2, e]]
        + np.int64(steps[3, e])
    )


@njit(nogil=True)
def locate(site: int, shape: np.ndarray, cell: np.ndarray) -> None:
    """Write the cell and the basis number of a site to `cell` (4,)."""
    rest, cell[3] = site // shape[3], site % shape[3]
    rest, cell[2] = rest // shape[2], rest % shape[2]
    cell[0], cell[1] = rest // shape[1], rest % shape[1]


@njit(nogil=True)
def move(cell: np.ndarray, steps: np.ndarray, e: int, where: Map) -> None:
    """Change `cell` (4,) to that of neighbour e of the site, on the lattice."""
    for axis in range(3):
        c = cell[axis] + np.int64(steps[axis, e]) - where.reach[axis]
        n = where.shape[axis]
        while c < 0:
            c += n
        while c >= n:
            c -= n
        cell[axis] = c
    cell[3] = np.int64(steps[3, e])


@njit(nogil=True, inline="always")
def read(
    x: np.ndarray, site: int, cell: np.ndarray, where: Map, sites: Shell, row: int, out: np.ndarray
) -> None:
    """Read the sites in one row of a shell around a site of the flat snapshot x.

    Beyond an open edge there is 0.
    """
    steps, flat = sites.steps[row], sites.flat[row]
    reach, n, wrap = where.reach, where.shape, where.wrap
    inside = True
    for axis in range(3):
        inside &= reach[axis] <= cell[axis] < n[axis] - reach[axis]
    if inside:
        for e in range(out.shape[0]):
            out[e] = x[uint64(site + flat[e])]
    elif where.is_open:
        for e in range(out.shape[0]):
            other = address(steps, e, cell, where)
            out[e] = x[other] if other >= 0 else 0
    else:
        w0, w1, w2 = wrap[0, cell[0] :], wrap[1, cell[1] :], wrap[2, cell[2] :]
        s0, s1, s2, s3 = steps[0], steps[1], steps[2], steps[3]
        for e in range(out.shape[0]):
            out[e] = x[uint64(w0[s0[e]] + w1[s1[e]] + w2[s2[e]]) + s3[e]]
