"""Sites of a lattice in space, and the atom on each of them.

A site lies at o + a (R + b): the position o of the first site, the lattice constant a, the cell R
and the place b in it. Every atom belongs to its nearest site, which is that of an infinite
lattice: one cell and its neighbors give the nearest place, and the cell where it lies is wrapped
along periodic axes. Along an open axis a place beyond the last cell is no site.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from sklmacro._base.checks import (
    check_cells,
    check_choice,
    check_finite_numbers,
    check_integer,
    check_real,
)
from sklmacro.crystal.frames import Block, Frame
from sklmacro.lattice.lattice import KINDS, Lattice, n_axes, nearest_distance

# How far an edge of the box may be from a whole number of cells, and the corners of two frames
# from each other, in lattice constants. It is room for rounded numbers in files, not for strain.
CELL_TOLERANCE = 0.02
FARTHEST = 1e9  # cells from the first: what is farther has no place, because floats are too coarse
CHUNK = 1 << 16  # sites that are looked at together


def unit_cell(kind: str) -> np.ndarray:
    """Edges of the unit cell in space as rows, (3, 3), in lattice constants."""
    unit, ndim = np.eye(3), n_axes(check_choice(kind, "kind", KINDS))
    unit[:ndim, :ndim] = Lattice(kind, (1,) * ndim).cell_vectors
    return unit


def in_space(points: np.ndarray) -> np.ndarray:
    """Points (n, ndim) with zeros along the axes that a lattice lacks, (n, 3)."""
    return np.pad(points, ((0, 0), (0, 3 - points.shape[1])))


def site_place(site: int, lattice: Lattice) -> tuple[int, ...]:
    """Index of a site in a snapshot (*site_shape)."""
    return tuple(int(i) for i in np.unravel_index(site, lattice.site_shape))


def vector(numbers: Any, digits: int = 3) -> str:
    """Text of a few numbers."""
    return "(" + ", ".join(f"{value + 0.0:.{digits}f}" for value in numbers) + ")"


def _point(value: Any, name: str) -> np.ndarray:
    point = check_finite_numbers(value, name)
    if point.shape != (3,):
        raise ValueError(
            f"Expected {name} to have 3 coordinates in Angstrom, but got {value!r}; pass for "
            "instance (0, 0, 0)."
        )
    return point


class Sites:
    """The sites to which the atoms of frames are assigned, a snapshot for every frame.

    Parameters are those of `from_atoms`, with `species` as `species_map` returns it. `allowance`
    is the number of bytes that the states of all frames may take where `max_sites` is None.
    """

    def __init__(
        self,
        kind: str,
        *,
        lattice_constant: float,
        species: dict[int, str | None],
        cells: int | Sequence[int] | None,
        tolerance: float,
        origin: Sequence[float],
        corner: Sequence[float] | None,
        max_sites: int | None,
        allowance: int,
    ):
        a = check_real(lattice_constant, "lattice_constant", low=0.0, strict=True)
        self._unit = a * unit_cell(kind)
        self.kind, self.ndim, self.lattice_constant = kind, n_axes(kind), a
        self.tolerance = check_real(tolerance, "tolerance", low=0.0, high=0.5, strict=True)
        self.limit = self.tolerance * a * nearest_distance(kind)
        self.origin = _point(origin, "origin")
        self.corner = None if corner is None else _point(corner, "corner")
        self.cells = None if cells is None else check_cells(cells, "cells", self.ndim)
        self.symbols = species
        # The signed type that holds -n - 1 holds n.
        self.dtype = np.min_scalar_type(min(*species, -max(species) - 1))
        self.n_sites, self.max_sites = 0, self._max_sites(max_sites, allowance)
        self._inverse = np.linalg.inv(self._unit)
        self._first_corner: np.ndarray | None = None
        self._box, self._lattice, self._start = b"", Lattice(kind, (1,) * self.ndim), np.zeros(3)
        self._near = np.array(list(product((-1, 0, 1), repeat=self.ndim)))
        places = (self._near[:, None] + self._lattice.basis).reshape(-1, self.ndim)
        self._tree = KDTree(in_space(places) @ self._unit)

    def _max_sites(self, max_sites: int | None, allowance: int) -> int:
        if max_sites is not None:
            return check_integer(max_sites, "max_sites", low=1)
        wished = 0 if self.cells is None else Lattice(self.kind, self.cells).n_sites
        return max(allowance // self.dtype.itemsize, wished)

    @np.errstate(over="ignore", invalid="ignore")  # of numbers that are then found too large
    def snapshot(self, frame: Frame) -> np.ndarray:
        """Return the states (*site_shape,) that the atoms of a frame give the sites."""
        self._enter(frame)
        lattice, shift = self._lattice, self._start
        vacancies = [state for state, symbol in self.symbols.items() if symbol is None]
        x = np.full(lattice.n_sites, vacancies[0] if vacancies else 0, self.dtype)
        taken = np.zeros(lattice.n_sites, bool)
        takers: list[tuple[np.ndarray, Any]] = []
        for block in frame.blocks:
            if not takers and self.corner is None and len(block.positions):
                shift = self._plane(frame, shift, block.positions[0])
            site, distance = self._nearest(block.positions - shift, lattice, frame.pbc)
            again = np.ones(len(site), bool)
            again[np.unique(site, return_index=True)[1]] = False
            wrong = (distance > self.limit) | taken[site] | again
            takers.append((site, block.numbers))
            if wrong.any():
                raise self._error(int(np.argmax(wrong)), frame, block, shift, takers, distance)
            x[site], taken[site] = block.states, True
        if not vacancies and not taken.all():
            raise ValueError(
                f"Expected an atom on each of the {len(x)} sites, because no state of species is "
                f"a vacancy, but got none on {np.count_nonzero(~taken)} of them, the first at "
                f"{site_place(int(np.argmin(taken)), lattice)}; give vacancies a state with the "
                "symbol None."
            )
        return x.reshape(lattice.site_shape)

    # -- the box ------------------------------------------------------------------------------

    def _enter(self, frame: Frame) -> None:
        """Find the lattice in a box and where it starts; refuse what is no lattice or too large."""
        box = b"".join(array.tobytes() for array in frame[:3]) + frame.follows.tobytes()
        if box != self._box:
            self._lattice = Lattice(self.kind, self._cells(frame))
            self._start, self._box = self._shift(frame, self._lattice), box
        self.n_sites += self._lattice.n_sites
        if self.n_sites > self.max_sites:
            raise ValueError(
                f"Expected at most {self.max_sites} sites in all snapshots, as max_sites or the "
                f"number of atoms and the size of the file allow, but got {self.n_sites} with "
                f"these {' x '.join(map(str, self._lattice.cells))} cells; correct the box, or "
                f"pass max_sites={self.n_sites} or more."
            )

    def _cells(self, frame: Frame) -> tuple[int, ...]:
        """Return the cells along each axis of the lattice."""
        edges = np.where(np.isfinite(frame.cell), frame.cell, 0.0)[: self.ndim]
        multiples = self._multiples(edges)
        lengths = np.diagonal(multiples)
        counts = tuple(max(round(length), 1) for length in lengths.tolist())
        expected, checked = "a whole number of", np.ones(self.ndim, dtype=bool)
        if self.cells is not None:
            counts, checked = self.cells, frame.pbc[: self.ndim]
            expected = " x ".join(map(str, counts))
        size = np.array(counts, dtype=float)[:, None]
        misfit = np.linalg.norm(edges - size * self._unit[: self.ndim], axis=1)
        if (misfit[checked] > CELL_TOLERANCE * self.lattice_constant).any():
            actual = f"edges of {', '.join(vector(edge, 2) for edge in multiples)} unit cell edges"
            if np.allclose(multiples[:, : self.ndim], np.diag(lengths), atol=1e-3):
                numbers = (f"{length:.3f}".rstrip("0").rstrip(".") for length in lengths)
                actual = f"one of {' x '.join(numbers)} cells"
            raise ValueError(
                f"Expected a box of {expected} {self.kind} cells with the lattice constant "
                f"{self.lattice_constant:g} Angstrom, but got {actual}; pass the structure's own "
                "lattice_constant, cells and kind, in the orientation of Lattice."
            )
        return counts

    def _multiples(self, edges: np.ndarray) -> np.ndarray:
        """Edges of the box in edges of the unit cell; what is too long for that is 0."""
        return np.where(np.abs(edges) < 1e100 * self.lattice_constant, edges, 0.0) @ self._inverse

    def _shift(self, frame: Frame, lattice: Lattice) -> np.ndarray:
        """Return the position (3,) of the first site; refuse a corner that tells nothing of it."""
        if self.corner is not None:
            return self.corner + self.origin
        if self._first_corner is None:
            self._first_corner = frame.corner
        away = np.abs(frame.corner - self._first_corner)[: self.ndim]
        if (away > CELL_TOLERANCE * self.lattice_constant).any():
            raise ValueError(
                f"Expected boxes with one lower corner, that of frame 0 at "
                f"{vector(self._first_corner)} Angstrom, but got {vector(frame.corner)}, so that "
                "the lattice could stand in either place; pass corner, where it is for all frames, "
                "or keep these frames in different files."
            )
        if frame.follows[: self.ndim].any():
            self._check_surface(frame, lattice)
        return frame.corner + self.origin

    def _check_surface(self, frame: Frame, lattice: Lattice) -> None:
        """Refuse a box that follows the atoms where it leaves a layer of sites out."""
        lengths = np.diagonal(self._multiples(frame.cell[: self.ndim]))
        layers = np.array(lattice.cells) - 1 + lattice.basis.max(axis=0)
        room = 2 * self.limit / np.linalg.norm(self._unit[: self.ndim], axis=1)
        short = frame.follows[: self.ndim] & (lengths < layers - room)
        if short.any():
            axis = int(np.argmax(short))
            raise ValueError(
                f"Expected a box over all {lattice.cells[axis]} cells along axis {axis}, where it "
                f"follows the atoms (shrink-wrapped), but got one of {lengths[axis]:.3f}, which "
                "could begin at any of their layers; pass corner, where the lattice begins."
            )

    def _plane(self, frame: Frame, shift: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Return the position of the first site with that of its plane along missing axes.

        In two dimensions LAMMPS and SPPARKS have a box about z = 0 and atoms at z = 0. There the
        plane is the one of z = 0 and the corner that is nearer to the first atom: this tells
        nothing of which site it is on.
        """
        low = np.where(np.arange(3) < self.ndim, 0.0, frame.corner)
        about = (low < 0) & (low + np.diagonal(frame.cell) > 0)
        middle = np.where(about, self.origin, shift)
        return np.where(np.abs(position - middle) < np.abs(position - shift), middle, shift)

    # -- the sites ----------------------------------------------------------------------------

    def _nearest(
        self, positions: np.ndarray, lattice: Lattice, pbc: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return every atom's nearest site and its distance, inf where there is no site."""
        fractions, known = self._fractions(positions)
        cell = np.floor(fractions[:, : self.ndim])
        fractions[:, : self.ndim] -= cell
        distance, nearest = self._tree.query(fractions @ self._unit)
        image, basis = np.divmod(nearest, lattice.n_basis)
        cell = cell.astype(np.int64) + self._near[image]
        outside = ~known
        for axis, (n, periodic) in enumerate(zip(lattice.cells, pbc, strict=False)):
            if not periodic:
                outside |= (cell[:, axis] < 0) | (cell[:, axis] >= n)
        flat = np.ravel_multi_index(tuple(cell.T), lattice.cells, mode="wrap")
        return flat * lattice.n_basis + basis, np.where(outside, np.inf, distance)

    def _fractions(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return positions in edges of the unit cell, and which of them are near enough to tell."""
        known = (np.abs(positions) < FARTHEST * self.lattice_constant).all(axis=1)
        return np.where(known[:, None], positions, 0.0) @ self._inverse, known

    def _nearest_of_all(
        self, position: np.ndarray, lattice: Lattice, pbc: np.ndarray
    ) -> tuple[int, float]:
        """Return the site nearest to a position, which may be beyond an open boundary."""
        (fraction,), (known,) = self._fractions(position[None])
        if not known:
            return 0, math.inf
        periodic, best = np.flatnonzero(pbc[: self.ndim]), (0, math.inf)
        fraction[periodic] %= np.take(lattice.cells, periodic)
        shifts = np.zeros((3 ** len(periodic), 3))
        around = list(product((-1, 0, 1), repeat=len(periodic)))
        shifts[:, periodic] = np.array(around).reshape(len(around), -1)
        shifts[:, : self.ndim] *= lattice.cells
        for start in range(0, lattice.n_sites, CHUNK):
            site = np.arange(start, min(start + CHUNK, lattice.n_sites))
            cell, basis = np.divmod(site, lattice.n_basis)
            places = np.stack(np.unravel_index(cell, lattice.cells), axis=-1) + lattice.basis[basis]
            for away in in_space(places) - fraction + shifts[:, None]:
                distances = np.linalg.norm(away @ self._unit, axis=1)
                k = int(np.argmin(distances))
                best = min(best, (int(site[k]), float(distances[k])), key=lambda pair: pair[1])
        return best

    def _error(
        self,
        k: int,
        frame: Frame,
        block: Block,
        shift: np.ndarray,
        takers: list[tuple[np.ndarray, Any]],
        distance: np.ndarray,
    ) -> ValueError:
        """Return the error that names atom k of a block, which has no site or a taken one."""
        lattice, position = self._lattice, block.positions[k]
        symbol = self.symbols[int(block.states[k])]
        atom = (
            f"atom {block.numbers[k]} ({symbol}) at {vector(position)} Angstrom"
            f"{_on_line(frame, block.numbers[k])}"
        )
        if distance[k] > self.limit:
            site, away = self._nearest_of_all(position - shift, lattice, frame.pbc)
            return ValueError(
                f"Expected every atom within {self.limit:.3f} Angstrom of a site of the "
                f"{lattice.kind} lattice, {self.tolerance:g} of the distance between neighbors, "
                f"but got {atom}, {away:.3f} Angstrom from the nearest site "
                f"{site_place(site, lattice)}; relax the structure, correct lattice_constant, "
                "origin, corner or pbc, or raise tolerance."
            )
        site = int(takers[-1][0][k])
        taker = next(n[np.argmax(sites == site)] for sites, n in takers if site in sites)
        return ValueError(
            f"Expected one atom on a site, but got {atom}, {distance[k]:.3f} Angstrom from site "
            f"{site_place(site, lattice)}, which atom {taker}{_on_line(frame, taker)} has taken; "
            "remove one of them."
        )


def _on_line(frame: Frame, atom: int) -> str:
    return "" if frame.first_line is None else f" on line {frame.first_line + atom}"
