"""Crystals: snapshots as atoms in space, in the form that ASE works with.

A snapshot gives every lattice site an integer state, and a species map says which chemical symbol
a state stands for. Sites become positions when the lattice constant a, the lattice's unit of
length, is given in Angstrom. In the other direction every atom is assigned to its nearest site.

Shape vocabulary::

    snapshot x    (*site_shape,)     states: cells, then n_basis where it exceeds 1
    positions     (n_atoms, 3)       Angstrom, in Cartesian axes
    cell          (3, 3)             edges of the box as rows, Angstrom

Chains and squares are put into space with one spacing a along the axes that they lack, where
they are not periodic.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro._base.checks import check_real
from sklmacro.crystal.frames import Block, Frame
from sklmacro.crystal.sites import Sites, in_space, site_place, unit_cell, vector
from sklmacro.crystal.species import Species, import_ase, species_map
from sklmacro.lattice.lattice import Lattice, n_axes

if TYPE_CHECKING:
    from ase import Atoms

# Sites that a structure may have without max_sites: so many bytes of states, and so many an atom.
FREE_BYTES, BYTES_PER_ATOM = 10_000_000, 100
BLOCK = 1 << 15  # atoms that find their sites together


def to_atoms(
    x: Any, kind: str, *, lattice_constant: float, species: Species, boundary: str = "periodic"
) -> "Atoms":
    """Return the atoms of one snapshot.

    Parameters
    ----------
    x : array-like of shape (*site_shape,)
        States of the sites.
    kind : str
        Kind of lattice, see `Lattice`.
    lattice_constant : float
        Lattice constant in Angstrom.
    species : sequence of str, or mapping of int to str or None
        Chemical symbols of the states, see `species_map`.
    boundary : {"periodic", "open"}, default="periodic"
        What the atoms' `pbc` says of the axes of the lattice.

    Returns
    -------
    ase.Atoms
        Atoms in the order of the sites, in Angstrom; vacancies are left out. The box is that of
        all cells for either boundary.

    Raises
    ------
    ValueError
        If x does not have the shape of a snapshot, or holds a state that `species` lacks.

    Examples
    --------
    >>> from sklmacro.crystal import to_atoms
    >>> atoms = to_atoms([[1, 2], [0, 1]], "square", lattice_constant=3.0, species=["Nb", "Mo"])
    >>> atoms.get_chemical_formula(), atoms.positions.tolist()
    ('MoNb2', [[0.0, 0.0, 0.0], [0.0, 3.0, 0.0], [3.0, 3.0, 0.0]])
    """
    symbols = species_map(species)
    lattice_constant = check_real(lattice_constant, "lattice_constant", low=0.0, strict=True)
    unit, x = unit_cell(kind), np.asarray(x)
    ndim = n_axes(kind)
    tail = Lattice(kind, (1,) * ndim, boundary).site_shape[ndim:]
    if x.shape[ndim:] != tail or x.ndim != ndim + len(tail) or 0 in x.shape:
        axes = ", ".join([*(f"n_cells_{axis}" for axis in range(ndim)), *map(str, tail)])
        raise ValueError(
            f"Expected a snapshot of shape ({axes}) of a {kind} lattice, but got shape "
            f"{x.shape}; reshape it, or choose another kind."
        )
    lattice = Lattice(kind, x.shape[:ndim], boundary)
    unknown = ~np.isin(x, list(symbols))
    if unknown.any():
        first = np.flatnonzero(unknown)[0]
        raise ValueError(
            f"Expected the states {', '.join(map(str, symbols))} that species names, but got "
            f"{x.flat[first]!s} on site {site_place(first, lattice)}; add it to species."
        )
    ase, numbers = import_ase(), np.full(lattice.n_sites, -1)
    for state, symbol in symbols.items():
        if symbol is not None:
            numbers[x.ravel() == state] = ase.data.atomic_numbers[symbol]
    present = numbers >= 0
    repeats = np.array([*lattice.cells, 1, 1][:3])
    return ase.Atoms(
        numbers=numbers[present],
        positions=lattice_constant * in_space(lattice.positions())[present],
        cell=lattice_constant * unit * repeats[:, None],
        pbc=[axis < ndim and boundary == "periodic" for axis in range(3)],
    )


def from_atoms(
    atoms: "Atoms",
    kind: str,
    *,
    lattice_constant: float,
    species: Species,
    cells: int | Sequence[int] | None = None,
    tolerance: float = 0.3,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    corner: Sequence[float] | None = None,
    max_sites: int | None = None,
) -> np.ndarray:
    """Return the snapshot of a structure: every atom on the lattice site nearest to it.

    The atoms may be displaced, in any order and, along the axes on which `atoms.pbc` is set,
    outside the box. They may not be rotated against the lattice, and only `origin` shifts them:
    a shift is not guessed, because a guess could change which site an atom belongs to.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure, in Angstrom.
    kind, lattice_constant, species
        As in `to_atoms`; the box consists of unit cells of `Lattice`. Sites without an atom get
        the state that has no symbol.
    cells : int or sequence of int, default=None
        Cells along each axis; None takes them from the atoms' box. Where cells are given, the box
        counts only along periodic axes: along others it may have any length, or none.
    tolerance : float, default=0.3
        Largest distance of an atom from its site, as a fraction of the distance between nearest
        neighbors, between 0 and 0.5. (A crystal melts at thermal displacements of 0.1 or so.)
    origin : sequence of float, (3,), default=(0, 0, 0)
        Position of the first site of the lattice, in Angstrom from the lower corner of the box.
    corner : sequence of float, (3,), default=None
        Lower corner of the box in Angstrom; None takes that of the atoms, their
        `get_celldisp()`, or Origin in `info`, where ASE keeps that of extended XYZ. (Of a dump
        with scaled coordinates ASE sets the corner, but leaves the positions relative to it: pass
        corner=(0, 0, 0), or read the file by `read_snapshots`.)
    max_sites : int, default=None
        Largest number of sites. None is that of `cells`, or, where these are taken from the box,
        10 million and 100 an atom, with states of one byte.

    Returns
    -------
    x : ndarray of shape (*site_shape,)
        States, int8 where they fit.

    Raises
    ------
    ValueError
        If the box is not a whole number of unit cells, or has more sites than `max_sites`; if an
        atom, the first one is named, is of an unknown species, too far from every site or on a
        site that another one has taken; or if a site has no atom and no state is a vacancy.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from sklmacro.crystal import from_atoms
    >>> atoms = bulk("Nb", "bcc", a=3.3, cubic=True).repeat((2, 1, 1))
    >>> atoms.symbols[1] = "Mo"
    >>> atoms.rattle(0.05, seed=0)
    >>> from_atoms(atoms[:3], "bcc", lattice_constant=3.3, species=["Nb", "Mo"]).tolist()
    [[[[1, 2]]], [[[1, 0]]]]
    """
    symbols = species_map(species)
    sites = Sites(
        kind,
        lattice_constant=lattice_constant,
        species=symbols,
        cells=cells,
        tolerance=tolerance,
        origin=origin,
        corner=corner,
        max_sites=max_sites,
        allowance=FREE_BYTES + BYTES_PER_ATOM * len(atoms),
    )
    own = _corner(atoms) if corner is None else np.zeros(3)
    return sites.snapshot(
        Frame(np.asarray(atoms.cell), own, np.asarray(atoms.pbc), _blocks(atoms, symbols))
    )


def _corner(atoms: "Atoms") -> np.ndarray:
    """Return the lower corner (3,) of the box, which OVITO's files call Origin."""
    corner = np.asarray(atoms.get_celldisp(), dtype=float).reshape(3)
    origin = np.asarray(atoms.info.get("Origin", corner))
    if origin.shape != (3,) or origin.dtype.kind not in "fi" or not np.isfinite(origin).all():
        raise ValueError(
            f"Expected Origin to have 3 coordinates in Angstrom, but got {origin!r}; repair it."
        )
    if corner.any() and (origin != corner).any():
        raise ValueError(
            f"Expected one lower corner of the box, but got {corner} from get_celldisp and "
            f"{origin} as Origin; remove one of them."
        )
    return origin.astype(float)


def _blocks(atoms: "Atoms", symbols: dict[int, str | None]) -> Iterator[Block]:
    """Yield the atoms up to the first that is of no known species; refuse that one."""
    states = {symbol: state for state, symbol in symbols.items() if symbol is not None}
    elements, inverse = np.unique(atoms.numbers, return_inverse=True)
    names = [import_ase().data.chemical_symbols[z] for z in elements]
    known = np.array([name in states for name in names], dtype=bool)[inverse]
    end = len(atoms) if known.all() else int(np.argmin(known))
    values = np.array([states.get(name, 0) for name in names], dtype=np.int64)[inverse]
    for start in range(0, end, BLOCK):
        part = slice(start, min(start + BLOCK, end))
        yield Block(range(part.start, part.stop), values[part], atoms.positions[part])
    if end < len(atoms):
        symbol = atoms.symbols[end]
        raise ValueError(
            f"Expected atoms of {', '.join(states)}, but got atom {end} ({symbol}) at "
            f"{vector(atoms.positions[end])} Angstrom; add {symbol} to species."
        )
