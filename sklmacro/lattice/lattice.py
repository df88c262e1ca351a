"""Lattices: boxes of unit cells, and who is next to whom.

Shape vocabulary::

    cells         (n_x, n_y, ...)               unit cells along each axis, of n_basis sites each
    site_shape    cells, or (*cells, n_basis) where n_basis > 1
    snapshot x    (*site_shape, *trailing)      trailing: nothing, or the fields of a site
    batch X       (n_samples, *site_shape, *trailing)
    box           origin (ndim,) its first cell, cells (ndim,) its size

Sites and cells are numbered in C order: the last axis runs fastest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sklmacro._base.checks import check_cells, check_choice, check_integer
from sklmacro.lattice.windows import Window


class _Geometry(NamedTuple):
    """Unit cell of a lattice: edge vectors as rows, and its sites in fractions of the edges."""

    cell_vectors: np.ndarray
    basis: np.ndarray


_CUBE = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_HEXAGON = ((1, 0, 0), (-1 / 2, math.sqrt(3) / 2, 0), (0, 0, math.sqrt(8 / 3)))
_FCC = ((0, 0, 0), (0, 1 / 2, 1 / 2), (1 / 2, 0, 1 / 2), (1 / 2, 1 / 2, 0))

# Conventional cubic cells (Ashcroft & Mermin, Solid State Physics, ch. 4); hcp has its primitive
# cell with the axial ratio of touching spheres. The unit of length is the lattice constant a.
_GEOMETRIES = {
    kind: _Geometry(np.array(vectors, float), np.array(basis, float))
    for kind, vectors, basis in (
        ("chain", ((1,),), ((0,),)),
        ("square", ((1, 0), (0, 1)), ((0, 0),)),
        ("cubic", _CUBE, ((0, 0, 0),)),
        ("bcc", _CUBE, ((0, 0, 0), (1 / 2, 1 / 2, 1 / 2))),
        ("fcc", _CUBE, _FCC),
        ("hcp", _HEXAGON, ((0, 0, 0), (1 / 3, 2 / 3, 1 / 2))),
        ("diamond", _CUBE, (*_FCC, *(np.array(_FCC) + 1 / 4))),
    )
}
KINDS = tuple(_GEOMETRIES)


def n_axes(kind: str) -> int:
    """Return the number of space dimensions of a kind of lattice."""
    return len(_GEOMETRIES[kind].cell_vectors)


def nearest_distance(kind: str) -> float:
    """Return the distance of nearest sites in lattice constants."""
    geometry = _GEOMETRIES[kind]
    *cell, site = _first_shell(kind)[0, 0]
    step = cell + geometry.basis[site] - geometry.basis[0]
    return float(np.linalg.norm(step @ geometry.cell_vectors))


def _separations(kind: str, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells (n_cells, ndim) up to `reach` away, and where their sites are.

    The sites are given by the displacements (n_basis, n_cells, n_basis, ndim) from each basis site.
    """
    vectors, basis = _GEOMETRIES[kind]
    ndim = len(vectors)
    cells = np.indices((2 * reach + 1,) * ndim).reshape(ndim, -1).T - reach
    return cells, (cells[:, None] + basis - basis[:, None, None]) @ vectors


@lru_cache
def _first_shell(kind: str) -> np.ndarray:
    """Offsets from each basis site to its nearest sites, (n_basis, z, ndim + 1), read-only."""
    cells, separation = _separations(kind, 1)  # nearest sites lie in cells that touch
    distance = np.linalg.norm(separation, axis=-1)
    _, cell, site = np.nonzero(np.isclose(distance, distance[distance > 0].min()))
    offsets = np.column_stack([cells[cell], site]).reshape(len(separation), -1, n_axes(kind) + 1)
    offsets.flags.writeable = False
    return offsets


@lru_cache
def offsets_within(kind: str, radius: float) -> np.ndarray:
    """Return the offsets to all sites within a radius, in lattice constants, of each basis site.

    They are int64 (n_basis, n_sites, ndim + 1), read-only, as `Lattice.neighbor_offsets`, but in
    lexicographic order of the displacements, so that sites with equal surroundings list them in one
    order. A radius with no site within is a ValueError.
    """
    # A cell further away than this has no site within the radius, whatever its own shape.
    widths = np.linalg.norm(np.linalg.inv(_GEOMETRIES[kind].cell_vectors), axis=0)
    cells, separation = _separations(kind, math.ceil(radius * widths.max()) + 1)
    distance = np.linalg.norm(separation, axis=-1)
    offsets_of: list[np.ndarray] = []
    for own, distances in zip(separation, distance, strict=True):
        cell, site = np.nonzero((distances > 1e-9) & (distances <= radius + 1e-9))
        order = np.lexsort(own[cell, site].round(6).T[::-1])
        offsets_of.append(np.column_stack([cells[cell], site])[order])
    if not len(offsets_of[0]):
        raise ValueError(
            f"Expected a radius that reaches the nearest sites of a {kind} lattice, but got "
            f"{radius:g} lattice constants; use a larger one."
        )
    offsets = np.stack(offsets_of)
    offsets.flags.writeable = False
    return offsets


@lru_cache(maxsize=1 << 14)
def _mesh(
    lattice_cells: tuple[int, ...], origin: tuple[int, ...], cells: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    boxes = zip(origin, cells, lattice_cells, strict=True)
    mesh = np.ix_(*(np.arange(o, o + c) % n for o, c, n in boxes))
    for axis in mesh:
        axis.setflags(write=False)
    return mesh


@lru_cache(maxsize=1 << 14)
def _grow(
    lattice: "Lattice", origin: tuple[int, ...], extent: tuple[int, ...], width: int
) -> Window:
    origin, extent = lattice.box(origin, extent)
    check_integer(width, "width", low=0, remedy="pass 0 for no margin")
    spans = []
    for o, e, n in zip(origin, extent, lattice.cells, strict=True):
        start, stop = o - width, o + e + width
        if lattice.boundary == "open":
            start, stop = max(start, 0), min(stop, n)
        elif stop - start >= n:
            start, stop = 0, n
        spans.append((start % n, stop - start))
    return Window(tuple(start for start, _ in spans), tuple(size for _, size in spans))


@dataclass(frozen=True)
class Lattice:
    """A box of unit cells with its sites and nearest neighbours.

    Parameters
    ----------
    kind : {"chain", "square", "cubic", "bcc", "fcc", "hcp", "diamond"}
        Crystal structure. bcc, fcc and diamond have the conventional cubic cell of 2, 4 and 8
        sites, hcp the primitive hexagonal cell of 2 sites with c/a = sqrt(8/3).
    cells : int or tuple of int, (ndim,)
        Number of unit cells along each axis.
    boundary : {"periodic", "open"}, default="periodic"
        What lies beyond the last cell: the first cell again, or nothing. On an open lattice
        (zero flux) a missing neighbour is simply missing.

    Raises
    ------
    ValueError
        If `kind` or `boundary` is unknown, or `cells` are not positive integers.

    Examples
    --------
    >>> from sklmacro.lattice import Lattice
    >>> lattice = Lattice("bcc", (4, 4, 4))
    >>> lattice.site_shape, lattice.n_sites, lattice.coordination
    ((4, 4, 4, 2), 128, 8)
    >>> Lattice("chain", (4,), boundary="open").neighbors().tolist()
    [[-1, 1], [0, 2], [1, 3], [2, -1]]
    """

    kind: str
    cells: tuple[int, ...]
    boundary: str = "periodic"

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", KINDS)
        check_choice(self.boundary, "boundary", ("periodic", "open"))
        cells = check_cells(self.cells, f"cells of a {self.kind} lattice", self.ndim)
        object.__setattr__(self, "cells", cells)

    @property
    def ndim(self) -> int:
        """Number of space dimensions."""
        return n_axes(self.kind)

    @property
    def n_basis(self) -> int:
        """Number of sites in a unit cell."""
        return len(_GEOMETRIES[self.kind].basis)

    @property
    def n_sites(self) -> int:
        """Number of sites in the lattice."""
        return math.prod(self.cells) * self.n_basis

    @property
    def site_shape(self) -> tuple[int, ...]:
        """Shape of an array with one value per site: `cells`, then `n_basis` where it exceeds 1."""
        return self.cells if self.n_basis == 1 else (*self.cells, self.n_basis)

    @property
    def cell_vectors(self) -> np.ndarray:
        """Edges of the unit cell as rows, (ndim, ndim), in lattice constants."""
        return _GEOMETRIES[self.kind].cell_vectors.copy()

    @property
    def basis(self) -> np.ndarray:
        """Sites of the unit cell, (n_basis, ndim), in fractions of `cell_vectors`."""
        return _GEOMETRIES[self.kind].basis.copy()

    @property
    def coordination(self) -> int:
        """Number z of nearest neighbours of a site in the bulk."""
        return self.neighbor_offsets.shape[1]

    @property
    def neighbor_offsets(self) -> np.ndarray:
        """Nearest neighbours in the bulk, int (n_basis, z, ndim + 1), read-only.

        Neighbour q of basis site b in cell c is basis site `[b, q, -1]` of cell
        c + `[b, q, :ndim]`. The neighbours of a site are in lexicographic order.
        """
        return _first_shell(self.kind)

    def neighbors(self) -> np.ndarray:
        """Return the nearest neighbours of every site, int64 (n_sites, z).

        They are flat site numbers, in the order of `neighbor_offsets`; -1 where an open boundary
        cuts. A periodic axis of one or two cells can name the same neighbour twice.
        """
        offsets = self.neighbor_offsets
        firsts = enumerate(np.ogrid[tuple(slice(n) for n in self.cells)])
        axes = [first[..., None, None] + offsets[..., axis] for axis, first in firsts]
        shape = (*self.cells, self.n_basis)
        sites = np.ravel_multi_index((*axes, offsets[..., -1]), shape, mode="wrap")
        if self.boundary == "open":
            for cell, n in zip(axes, self.cells, strict=True):
                sites = np.where((cell < 0) | (cell >= n), -1, sites)
        return sites.reshape(self.n_sites, -1).astype(np.int64, copy=False)

    def positions(self) -> np.ndarray:
        """Return the positions of all sites, (n_sites, ndim), in lattice constants."""
        cells = np.indices(self.cells).reshape(self.ndim, -1).T
        return (cells[:, None] + self.basis).reshape(-1, self.ndim) @ self.cell_vectors

    def window(self, origin: tuple[int, ...], cells: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Return the index of the box of `cells` (ndim,) cells from cell `origin` (ndim,).

        It is an open mesh as from `numpy.ix_`: `x[lattice.window(origin, cells)]` reads, or assigns
        to, the box of a snapshot (*site_shape, *trailing). A periodic lattice wraps it. A box that
        is larger than the lattice, or sticks out of an open one, is a ValueError.
        """
        return self.mesh(*self.box(origin, cells))

    def mesh(self, origin: tuple[int, ...], cells: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Return what `window` returns, unchecked and from a cache: for loops over samples."""
        return _mesh(self.cells, origin, cells)

    def mesh_within(self, box: Window, window: Window) -> tuple[np.ndarray, ...]:
        """Return the index of a window in the array that `mesh` cuts out of a box around it."""
        places = zip(window.origin, box.origin, self.cells, strict=True)
        return _mesh(box.extent, tuple((o - s) % n for o, s, n in places), window.extent)

    @property
    def full_window(self) -> Window:
        """Window of all cells."""
        return Window((0,) * self.ndim, self.cells)

    def check_window(self, window: tuple[Sequence[int], Sequence[int]]) -> Window:
        """Return a window (origin, extent) of integers, checked as in `window`."""
        origin = check_cells(window[0], "window origin", self.ndim, low=0)
        extent = check_cells(window[1], "window extent", self.ndim)
        self.box(origin, extent)
        return Window(origin, extent)

    def grow(self, origin: tuple[int, ...], cells: tuple[int, ...], width: int) -> Window:
        """Enlarge the box of `cells` cells from `origin` by `width` cells on every side.

        The larger box ends at the edges of an open lattice. On a periodic lattice, an axis on which
        it would meet itself becomes the whole axis, from cell 0. A box that does not fit into the
        lattice, or a negative `width`, is a ValueError.
        """
        return _grow(self, tuple(origin), tuple(cells), width)

    def box(self, origin: Sequence[int], cells: Sequence[int]) -> Window:
        """Return a checked box of cells; on a periodic lattice its origin is wrapped inside."""
        origin = check_cells(origin, "origin", self.ndim, low=None)
        cells = check_cells(cells, "cells", self.ndim)
        if any(c > n for c, n in zip(cells, self.cells, strict=True)):
            raise ValueError(
                f"Expected a box of at most {self.cells} cells, the whole lattice, "
                f"but got {cells}; take a smaller box."
            )
        if self.boundary == "periodic":
            origin = tuple(o % n for o, n in zip(origin, self.cells, strict=True))
        elif any(o < 0 or o + c > n for o, c, n in zip(origin, cells, self.cells, strict=True)):
            raise ValueError(
                f"Expected a box inside the open lattice of {self.cells} cells, but got {cells} "
                f"cells from origin {origin}; move the origin or take a smaller box."
            )
        return Window(origin, cells)
