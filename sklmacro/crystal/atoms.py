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

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import KDTree

from sklmacro._base.checks import check_cells, check_choice, check_finite, check_numbers, check_real
from sklmacro.crystal.species import Species, import_ase, species_map
from sklmacro.lattice.lattice import KINDS, Lattice, n_axes

if TYPE_CHECKING:
    from ase import Atoms

# How far an edge of the box may be from a whole number of cells, in lattice constants. It is
# room for rounded numbers in files, not for strain.
CELL_TOLERANCE = 0.02


def _unit_cell(kind: str) -> np.ndarray:
    """Edges of the unit cell in space as rows, (3, 3), in lattice constants."""
    unit, ndim = np.eye(3), n_axes(check_choice(kind, "kind", KINDS))
    unit[:ndim, :ndim] = Lattice(kind, (1,) * ndim).cell_vectors
    return unit


def _in_space(points: np.ndarray) -> np.ndarray:
    return np.pad(points, ((0, 0), (0, 3 - points.shape[1])))


def _vector(numbers: Any, digits: int = 3) -> str:
    return "(" + ", ".join(f"{number + 0.0:.{digits}f}" for number in numbers) + ")"


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
    ImportError
        If ASE is not installed.

    Examples
    --------
    >>> from sklmacro.crystal import to_atoms
    >>> atoms = to_atoms([[1, 2], [0, 1]], "square", lattice_constant=3.0, species=["Nb", "Mo"])
    >>> atoms.get_chemical_formula(), atoms.positions.tolist()
    ('MoNb2', [[0.0, 0.0, 0.0], [0.0, 3.0, 0.0], [3.0, 3.0, 0.0]])
    """
    symbols = species_map(species)
    lattice_constant = check_real(lattice_constant, "lattice_constant", low=0.0, strict=True)
    unit, x = _unit_cell(kind), np.asarray(x)
    probe = Lattice(kind, (1,) * n_axes(kind), boundary)
    tail = probe.site_shape[probe.ndim :]
    if x.shape[probe.ndim :] != tail or x.ndim != probe.ndim + len(tail) or 0 in x.shape:
        axes = ", ".join([f"n_cells_{a}" for a in range(probe.ndim)] + [str(t) for t in tail])
        raise ValueError(
            f"Expected a snapshot of shape ({axes}) of a {kind} lattice, but got shape "
            f"{x.shape}; reshape it, or choose another kind."
        )
    lattice = Lattice(kind, x.shape[: probe.ndim], boundary)
    unknown = ~np.isin(x, list(symbols))
    if unknown.any():
        site = tuple(int(i) for i in np.argwhere(unknown)[0])
        raise ValueError(
            f"Expected the states {', '.join(map(str, symbols))} that species names, but got "
            f"{x[site]!s} on site {site}; add it to species."
        )
    ase, numbers = import_ase(), np.full(lattice.n_sites, -1)
    for state, symbol in symbols.items():
        if symbol is not None:
            numbers[x.ravel() == state] = ase.data.atomic_numbers[symbol]
    present = numbers >= 0
    repeats = np.array([*lattice.cells, 1, 1][:3])
    return ase.Atoms(
        numbers=numbers[present],
        positions=lattice_constant * _in_space(lattice.positions())[present],
        cell=lattice_constant * unit * repeats[:, None],
        pbc=[axis < lattice.ndim and boundary == "periodic" for axis in range(3)],
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
        Position of the first site of the lattice in Angstrom.

    Returns
    -------
    x : ndarray of shape (*site_shape,)
        States, int8 where they fit.

    Raises
    ------
    ValueError
        If the box is not a whole number of unit cells; if an atom, the first one is named, is of
        an unknown species, too far from every site or on a site that another one has taken; or if
        a site has no atom and no state is a vacancy.
    ImportError
        If ASE is not installed.

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
    lattice_constant = check_real(lattice_constant, "lattice_constant", low=0.0, strict=True)
    tolerance = check_real(tolerance, "tolerance", low=0.0, high=0.5, strict=True)
    shift = check_finite(check_numbers(origin, "origin"), "origin")
    if shift.shape != (3,):
        raise ValueError(
            f"Expected origin to have 3 coordinates in Angstrom, but got {origin!r}; pass for "
            "instance (0, 0, 0)."
        )
    unit = lattice_constant * _unit_cell(kind)
    lattice = Lattice(kind, _cells(atoms, kind, unit, lattice_constant, cells))
    site, distance = _nearest_sites(atoms.positions - shift, lattice, unit, atoms.pbc)
    scale = tolerance, lattice_constant
    states = _states(atoms, lattice, symbols, (site, distance), scale)
    vacancies = [state for state, symbol in symbols.items() if symbol is None]
    # The signed type that holds -n - 1 holds n.
    dtype = np.min_scalar_type(min(*symbols, -max(symbols) - 1))
    x = np.empty(lattice.n_sites, dtype)
    if vacancies:
        x[:] = vacancies[0]
    elif len(site) < len(x):
        free = np.setdiff1d(np.arange(len(x)), site)
        first = tuple(int(i) for i in np.unravel_index(free[0], lattice.site_shape))
        raise ValueError(
            f"Expected an atom on each of the {len(x)} sites, because no state of species is a "
            f"vacancy, but got none on {len(free)} of them, the first at {first}; give vacancies "
            "a state with the symbol None."
        )
    x[site] = states
    return x.reshape(lattice.site_shape)


def _cells(
    atoms: "Atoms",
    kind: str,
    unit: np.ndarray,
    lattice_constant: float,
    cells: int | Sequence[int] | None,
) -> tuple[int, ...]:
    """Return the cells along each axis of the lattice; refuse a box that is not made of them."""
    ndim = n_axes(kind)
    edges = np.asarray(atoms.cell)[:ndim]
    edges = np.where(np.isfinite(edges), edges, 0.0)
    multiples = edges @ np.linalg.inv(unit)  # of the unit cell's edges
    whole = np.maximum(np.rint(np.diagonal(multiples)), 1).astype(int)
    expected = "a whole number of"
    checked = np.ones(ndim, dtype=bool)
    if cells is not None:
        whole = np.array(check_cells(cells, "cells", ndim))
        expected, checked = " x ".join(map(str, whole)), atoms.pbc[:ndim]
    misfit = np.linalg.norm(edges - whole[:, None] * unit[:ndim], axis=1)
    if (misfit[checked] > CELL_TOLERANCE * lattice_constant).any():
        if np.allclose(multiples[:, :ndim], np.diag(np.diagonal(multiples)), atol=1e-3):
            actual = " x ".join(f"{m:.3f}".rstrip("0").rstrip(".") for m in np.diagonal(multiples))
            actual = f"one of {actual} cells"
        else:
            actual = f"edges of {', '.join(_vector(edge, 2) for edge in multiples)} unit cell edges"
        raise ValueError(
            f"Expected a box of {expected} {kind} cells with the lattice constant "
            f"{lattice_constant:g} Angstrom, but got {actual}; pass the structure's own "
            "lattice_constant, cells and kind, in the orientation of Lattice."
        )
    return tuple(int(n) for n in whole)


def _nearest_sites(
    positions: np.ndarray, lattice: Lattice, unit: np.ndarray, pbc: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return every atom's nearest site and its distance, inf where the position is not finite."""
    finite = np.isfinite(positions).all(axis=1)
    fractions = np.where(finite[:, None], positions, 0.0) @ np.linalg.inv(unit)
    axes = []
    for axis, n in enumerate(lattice.cells):
        margin = 0
        if pbc[axis]:
            fractions[:, axis] %= n
            margin = 1  # cells on either side that repeat those of the other
        axes.append(np.arange(-margin, n + margin))
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, lattice.ndim)
    images = (mesh + lattice.basis).reshape(-1, lattice.ndim)
    flat = np.ravel_multi_index(tuple(np.moveaxis(mesh, -1, 0)), lattice.cells, mode="wrap")
    number = (flat * lattice.n_basis + np.arange(lattice.n_basis)).ravel()
    tree = KDTree(_in_space(images) @ unit, balanced_tree=False, compact_nodes=False)
    distance, nearest = tree.query(fractions @ unit)
    return number[nearest], np.where(finite, distance, np.inf)


def _states(
    atoms: "Atoms",
    lattice: Lattice,
    symbols: dict[int, str | None],
    places: tuple[np.ndarray, np.ndarray],
    scale: tuple[float, float],
) -> np.ndarray:
    """Return the state of every atom; refuse the first atom that has none or no place.

    `places` are the sites and distances of `_nearest_sites`, `scale` the tolerance and the lattice
    constant.
    """
    (site, distance), order = places, np.arange(len(atoms))
    neighbor = lattice.neighbor_offsets[0, 0]
    bond = (neighbor[:-1] + lattice.basis[neighbor[-1]] - lattice.basis[0]) @ lattice.cell_vectors
    limit = scale[0] * scale[1] * float(np.linalg.norm(bond))
    states = {symbol: state for state, symbol in symbols.items() if symbol is not None}
    elements, inverse = np.unique(atoms.numbers, return_inverse=True)
    names = [import_ase().data.chemical_symbols[z] for z in elements]
    unknown = np.array([name not in states for name in names], dtype=bool)[inverse]
    first_on_site = np.full(lattice.n_sites, len(atoms))
    np.minimum.at(first_on_site, site, order)
    wrong = unknown | (distance > limit) | (first_on_site[site] < order)
    if not wrong.any():
        return np.array([states[name] for name in names], dtype=np.int64)[inverse]

    def describe(atom: int) -> str:
        return f"atom {atom} ({atoms.symbols[atom]}) at {_vector(atoms.positions[atom])} Angstrom"

    k = int(np.argmax(wrong))
    place = tuple(int(i) for i in np.unravel_index(site[k], lattice.site_shape))
    if unknown[k]:
        raise ValueError(
            f"Expected atoms of {', '.join(states)}, but got {describe(k)}; add {atoms.symbols[k]} "
            "to species."
        )
    if distance[k] > limit:
        raise ValueError(
            f"Expected every atom within {limit:.3f} Angstrom of a site of the {lattice.kind} "
            f"lattice, {scale[0]:g} of the distance between neighbors, but got {describe(k)}, "
            f"{distance[k]:.3f} Angstrom from the nearest site {place}; relax the structure, "
            "correct lattice_constant, origin or pbc, or raise tolerance."
        )
    raise ValueError(
        f"Expected one atom on a site, but got {describe(k)} {distance[k]:.3f} Angstrom from site "
        f"{place}, which {describe(int(first_on_site[site[k]]))} has taken; remove one of them."
    )
