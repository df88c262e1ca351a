"""Files of crystals: batches of snapshots as extended XYZ or as a LAMMPS text dump.

===============  ================================  ===============================================
format           endings                           an atom is written as
===============  ================================  ===============================================
``extxyz``       .extxyz .xyz                      symbol x y z
``lammps-dump``  .lammpstrj .lammpsdump .dump      id type x y z, where the type is the state
===============  ================================  ===============================================

A frame of a file is one snapshot of the batch X (n_samples, *site_shape). Frames are written and
read one at a time, and errors name the frame, counted from 0. Atoms find their sites by the rules
of `from_atoms`.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from sklmacro._base.checks import check_choice
from sklmacro.checkpoint.atomic import atomic_write
from sklmacro.crystal._lines import Lines, count_atoms, parse
from sklmacro.crystal.atoms import from_atoms, to_atoms
from sklmacro.crystal.lammps_dump import read_frame, write_frame
from sklmacro.crystal.species import Species, species_map
from sklmacro.lattice.lattice import n_axes

if TYPE_CHECKING:
    from ase import Atoms

ENDINGS = {
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".lammpstrj": "lammps-dump",
    ".lammpsdump": "lammps-dump",
    ".dump": "lammps-dump",
}


def _format(path: Path, name: str | None) -> str:
    if name is not None:
        return check_choice(name, "format", ("extxyz", "lammps-dump"))
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(
            f"Expected a file that ends in {', '.join(ENDINGS)}, but got {path.name!r}; rename it, "
            "or pass format='extxyz' or format='lammps-dump'."
        )
    return ENDINGS[path.suffix.lower()]


def _write_extxyz(
    stream: TextIO, atoms: "Atoms", frame: int, symbols: dict[int, str | None]
) -> None:
    from ase.io import write

    write(stream, atoms, format="extxyz")


def _read_extxyz(lines: Lines, symbols: dict[int, str | None]) -> "Atoms | None":
    """Read one frame, or return None at the end of the file."""
    header = lines.next_line()
    if not header:
        return None
    n_atoms = count_atoms(header)
    rows = lines.take(n_atoms + 1, f"a comment and {n_atoms} atoms")
    what = f"a comment and {n_atoms} atoms in extended XYZ format"
    atoms = parse([header, *rows], "extxyz", what)
    corner = np.asarray(atoms.info.get("Origin", np.zeros(3)))  # of the box, as OVITO writes it
    if corner.shape != (3,) or corner.dtype.kind not in "fi":
        raise ValueError(
            f"Expected Origin to have 3 coordinates in Angstrom, but got {corner!r}; repair it."
        )
    atoms.positions -= corner
    return atoms


WRITERS = {"extxyz": _write_extxyz, "lammps-dump": write_frame}
READERS = {"extxyz": _read_extxyz, "lammps-dump": read_frame}


def write_snapshots(
    path: str | os.PathLike[str],
    X: Any,
    kind: str,
    *,
    lattice_constant: float,
    species: Species,
    boundary: str = "periodic",
    format: str | None = None,
) -> None:
    """Write a batch of snapshots to a file, one frame each.

    The file appears when it is complete: after an error there is what was there before.

    Parameters
    ----------
    path : str or path-like
        File to write; an existing one is replaced.
    X : array-like of shape (n_samples, *site_shape)
        States of the sites.
    kind, lattice_constant, species, boundary
        As in `to_atoms`. A LAMMPS dump has the states as types, so those with a symbol are 1 or
        more. Vacancies are left out of either format.
    format : {"extxyz", "lammps-dump"}, default=None
        Format of the file; None goes by its ending.

    Raises
    ------
    ValueError
        If X is empty, a snapshot has the wrong shape or a state that `species` lacks, or the
        format is unknown or cannot hold the states.
    ImportError
        If ASE is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklmacro.crystal import write_snapshots
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "alloy.lammpstrj")
    ...     write_snapshots(path, [[[[[1, 2]]]]], "bcc", lattice_constant=3, species=["Nb", "Mo"])
    ...     print(path.read_text()[-112:])
    ITEM: ATOMS id type x y z
    1 1 0.0000000000 0.0000000000 0.0000000000
    2 2 1.5000000000 1.5000000000 1.5000000000
    <BLANKLINE>
    """
    target = Path(path)
    write, symbols, X = WRITERS[_format(target, format)], species_map(species), np.asarray(X)
    scale: dict[str, Any] = {"lattice_constant": lattice_constant, "species": symbols}
    if X.ndim == 0 or len(X) == 0:
        raise ValueError(
            f"Expected at least one snapshot, but got an array of shape {X.shape}; pass X of shape "
            "(n_samples, *site_shape)."
        )
    with atomic_write(target) as draft, draft.open("x", encoding="utf-8", newline="\n") as stream:
        for frame, x in enumerate(X):
            try:
                write(stream, to_atoms(x, kind, boundary=boundary, **scale), frame, symbols)
            except ValueError as error:
                raise ValueError(f"Frame {frame} for {target}: {error}") from error


def read_snapshots(
    path: str | os.PathLike[str],
    kind: str,
    *,
    lattice_constant: float,
    species: Species,
    format: str | None = None,
    **options: Any,
) -> np.ndarray:
    """Read a batch of snapshots from a file: every atom on the lattice site nearest to it.

    Parameters
    ----------
    path : str or path-like
        File to read, written by `write_snapshots` or another program.
    kind, lattice_constant, species
        As in `to_atoms`. The types of a LAMMPS dump are states; atoms whose type is the state
        without a symbol count as absent.
    format : {"extxyz", "lammps-dump"}, default=None
        Format of the file; None goes by its ending.
    **options
        `cells`, `tolerance` and `origin` of `from_atoms`; the origin is relative to the lower
        corner of the box, which extended XYZ calls Origin.

    Returns
    -------
    X : ndarray of shape (n_samples, *site_shape)
        States, int8 where they fit.

    Raises
    ------
    ValueError
        If the file is no text or has no frames; if a frame, which is named, is malformed, cut
        short, does not fit the lattice (see `from_atoms`) or has other cells than the first; or if
        the format is unknown. Atoms are counted from 0 in the order of the frame's lines, lines
        from 1.
    ImportError
        If ASE is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklmacro.crystal import read_snapshots, write_snapshots
    >>> crystal = {"kind": "square", "lattice_constant": 2.9, "species": {-1: None, 1: "Fe"}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "spins.extxyz")
    ...     write_snapshots(path, [[[1, -1, 1], [-1, -1, 1]]], **crystal)
    ...     read_snapshots(path, **crystal).tolist()
    [[[1, -1, 1], [-1, -1, 1]]]
    """
    source = Path(path)
    read, symbols = READERS[_format(source, format)], species_map(species)
    options |= {"lattice_constant": lattice_constant, "species": symbols}
    X: list[np.ndarray] = []
    with source.open(encoding="utf-8") as stream:
        lines = Lines(stream)
        while True:
            try:
                atoms = read(lines, symbols)
                if atoms is None:
                    break
                x = from_atoms(atoms, kind, **options)
                if X and x.shape != X[0].shape:
                    first, here = (shape[: n_axes(kind)] for shape in (X[0].shape, x.shape))
                    raise ValueError(
                        f"Expected {first} cells as in frame 0, but got {here}; keep snapshots of "
                        "different sizes in different files."
                    )
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"Expected text in {source}, but got bytes that are none ({error}); unpack the "
                    "file, or write it as text."
                ) from error
            except ValueError as error:
                raise ValueError(f"Frame {len(X)} of {source}: {error}") from error
            X.append(x)
    if not X:
        raise ValueError(
            f"Expected at least one frame in {source}, but got an empty file; check the path, or "
            "write the file again."
        )
    return np.stack(X)
