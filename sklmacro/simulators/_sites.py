"""Addresses of sites around a site, on every kind of lattice, in kernels.

A site of a snapshot held flat is `((i * n1 + j) * n2 + k) * n_basis + b`; lattices of fewer than
three dimensions have axes of one cell in front. The address of a site at a given offset is a sum of
three table entries, wrapped on a periodic axis, negative beyond an open edge.

Shape vocabulary::

    Map.shape      (4,)                 n0, n1, n2, n_basis
    Map.wrap       (3, n + 2 reach)     what a cell, counted from -reach, adds to the address
    Map.reach      (3,)                 largest offset along each axis
    Shell.steps    (n_basis, m, 4)      offsets of m sites around each basis site
    Shell.flat     (n_basis, m)         what they add to the address away from all edges
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from sklmacro.lattice import Lattice, surroundings_of

BEYOND = -(2**60)  # an address beyond an open edge is negative whatever is added to it


class Map(NamedTuple):
    """Addresses of the sites of one lattice."""

    shape: np.ndarray
    wrap: np.ndarray
    reach: np.ndarray


class Shell(NamedTuple):
    """Sites around each basis site, on one lattice."""

    steps: np.ndarray
    flat: np.ndarray


@lru_cache(maxsize=64)
def address_map(lattice: Lattice, radius: float) -> Map:
    """Return the addresses of a lattice for offsets of at most `radius` lattice constants."""
    cells = (1,) * (3 - lattice.ndim) + lattice.cells
    shape = np.array([*cells, lattice.n_basis], np.int64)
    steps = _steps(lattice, radius)
    reach = np.abs(steps[..., :3]).max(axis=(0, 1))
    strides = [cells[1] * cells[2] * lattice.n_basis, cells[2] * lattice.n_basis, lattice.n_basis]
    wrap = np.full((3, max(cells) + 2 * int(reach.max())), BEYOND, np.int64)
    for axis in range(3):
        cell = np.arange(-reach[axis], cells[axis] + reach[axis])
        row = (cell % cells[axis]) * strides[axis]
        if lattice.boundary == "open":
            row = np.where((cell < 0) | (cell >= cells[axis]), BEYOND, row)
        wrap[axis, : len(row)] = row
    return Map(shape, wrap, reach)


@lru_cache(maxsize=64)
def shell(lattice: Lattice, radius: float) -> Shell:
    """Return the sites within `radius` lattice constants of each basis site."""
    steps = _steps(lattice, radius)
    n1, n2, nb = (1, 1, *lattice.cells)[-2], lattice.cells[-1], lattice.n_basis
    own = np.arange(nb)[:, np.newaxis]
    flat = ((steps[..., 0] * n1 + steps[..., 1]) * n2 + steps[..., 2]) * nb + steps[..., 3] - own
    return Shell(steps, flat)


def _steps(lattice: Lattice, radius: float) -> np.ndarray:
    """Return the offsets (n_basis, m, 4) of `surroundings_of`, padded to three axes."""
    offsets = surroundings_of(lattice.kind, radius)
    steps = np.zeros((*offsets.shape[:2], 4), np.int64)
    steps[..., -offsets.shape[2] :] = offsets
    return steps


@njit(nogil=True)
def address(step: np.ndarray, c0: int, c1: int, c2: int, wrap: np.ndarray, reach: np.ndarray) -> int:
    """Return the address of the site at an offset from cell (c0, c1, c2), or a negative number."""
    return (
        wrap[0, c0 + step[0] + reach[0]]
        + wrap[1, c1 + step[1] + reach[1]]
        + wrap[2, c2 + step[2] + reach[2]]
        + step[3]
    )


@njit(nogil=True)
def locate(site: int, shape: np.ndarray) -> tuple[int, int, int, int]:
    """Return the cell and the basis number (c0, c1, c2, b) of a site."""
    cell, b = site // shape[3], site % shape[3]
    row, c2 = cell // shape[2], cell % shape[2]
    return row // shape[1], row % shape[1], c2, b


@njit(nogil=True)
def gather(x: np.ndarray, site: int, where: Map, around: Shell, out: np.ndarray) -> None:
    """Read the sites around a site of the flat snapshot x; 0 beyond an open edge."""
    c0, c1, c2, b = locate(site, where.shape)
    reach, n = where.reach, where.shape
    steps, flat = around.steps[b], around.flat[b]
    inside = (
        reach[0] <= c0 < n[0] - reach[0]
        and reach[1] <= c1 < n[1] - reach[1]
        and reach[2] <= c2 < n[2] - reach[2]
    )
    if inside:
        for e in range(out.shape[0]):
            out[e] = x[site + flat[e]]
    else:
        for e in range(out.shape[0]):
            other = address(steps[e], c0, c1, c2, where.wrap, reach)
            out[e] = x[other] if other >= 0 else 0
