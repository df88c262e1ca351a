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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sklmacro._base.checks import check_choice, check_real
from sklmacro.checkpoint.atomic import atomic_write
from sklmacro.crystal import extxyz, lammps_dump
from sklmacro.crystal._lines import open_lines
from sklmacro.crystal.atoms import to_atoms
from sklmacro.crystal.frames import check_boundary
from sklmacro.crystal.sites import Sites
from sklmacro.crystal.species import Species, species_map

# States that a file may have without max_sites: so many bytes, and so many for each of its own.
FREE_BYTES, BYTES_PER_BYTE = 10_000_000, 10
FINEST = 1e-5  # Angstrom: a lattice constant that files resolve

ENDINGS = {
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".lammpstrj": "lammps-dump",
    ".lammpsdump": "lammps-dump",
    ".dump": "lammps-dump",
}


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _format(path: Path, name: str | None) -> str:
    if name is not None:
        return check_choice(name, "format", ("extxyz", "lammps-dump"))
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(
            f"Expected a file that ends in {', '.join(ENDINGS)}, but got {path.name!r}; rename it, "
            "or pass format='extxyz' or format='lammps-dump'."
        )
    return ENDINGS[path.suffix.lower()]


WRITERS = {"extxyz": extxyz.write_frame, "lammps-dump": lammps_dump.write_frame}
READERS = {"extxyz": extxyz.read_frame, "lammps-dump": lammps_dump.read_frame}


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

    The file appears when it is complete: after an error there is what was there before. Snapshots
    with hardly an atom in many sites are read with `max_sites`.

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
        Format of the file; None takes that of its ending.

    Raises
    ------
    ValueError
        If X is empty, a snapshot has the wrong shape or a state that `species` lacks, the format
        is unknown or cannot hold the states or positions, or the file would be one of gzip.

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
    _check_writable(target, lattice_constant)
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


def _check_writable(target: Path, lattice_constant: float) -> None:
    """Raise ValueError where a file would not give back what was written."""
    if _is_gzip(target):
        raise ValueError(
            f"Expected a file without .gz, because files are written unpacked, but got "
            f"{target.name!r}; write {target.with_suffix('').name!r} and pack it."
        )
    if check_real(lattice_constant, "lattice_constant", low=0.0, strict=True) < FINEST:
        raise ValueError(
            f"Expected lattice_constant to be at least {FINEST:g} Angstrom, because files have 8 "
            f"decimals, but got {lattice_constant:g}; pass it in Angstrom."
        )


def read_snapshots(
    path: str | os.PathLike[str],
    kind: str,
    *,
    lattice_constant: float,
    species: Species,
    format: str | None = None,
    cells: int | Sequence[int] | None = None,
    tolerance: float = 0.3,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    corner: Sequence[float] | None = None,
    boundary: str | Sequence[str] | None = None,
    max_sites: int | None = None,
) -> np.ndarray:
    """Read a batch of snapshots from a file: every atom on the lattice site nearest to it.

    A file of S bytes takes memory of at most 100 MB and 50 S, unless `cells` or `max_sites` ask for
    more. A packed one may hold at most 10 MB and 20 S characters.

    Parameters
    ----------
    path : str or path-like
        File to read, written by `write_snapshots` or another program: text in UTF-8, which may be
        packed by gzip.
    kind, lattice_constant, species
        As in `to_atoms`. The types of a LAMMPS dump are states; atoms whose type is the state
        without a symbol count as absent.
    format : {"extxyz", "lammps-dump"}, default=None
        Format of the file; None takes that of its ending, with or without .gz.
    cells, tolerance
        As in `from_atoms`.
    origin : sequence of float, (3,), default=(0, 0, 0)
        Position of the first site of the lattice, in Angstrom from the lower corner of the box.
    corner : sequence of float, (3,), default=None
        Lower corner of the box in Angstrom, for all frames. None takes that of the frames, which
        has to be one and the same; extended XYZ calls it Origin. A box that follows the atoms
        (shrink-wrapped) has none that tells where the lattice begins.
    boundary : {"periodic", "open"} or sequence of them, (n_axes,), default=None
        Boundary of each axis, for files that do not state it, such as dumps of SPPARKS.
    max_sites : int, default=None
        Largest number of sites in all snapshots. None allows as many states as fit into 10 MB and
        10 bytes for each byte of the file (a state has one byte unless states exceed 127), and one
        snapshot of `cells`.

    Returns
    -------
    X : ndarray of shape (n_samples, *site_shape)
        States, int8 where they fit.

    Raises
    ------
    ValueError
        If the file is no text or has no frames; if a frame, which is named, is malformed, cut
        short, does not fit the lattice (see `from_atoms`), has other cells or another corner than
        the first, or other boundaries than the caller says; if there are more than `max_sites`
        sites; or if the format is unknown. Atoms are counted from 0 in the order of the frame's
        lines, lines from 1.

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
    source, symbols = Path(path), species_map(species)
    read = READERS[_format(source.with_suffix("") if _is_gzip(source) else source, format)]
    sites = Sites(
        kind,
        lattice_constant=lattice_constant,
        species=symbols,
        cells=cells,
        tolerance=tolerance,
        origin=origin,
        corner=corner,
        max_sites=max_sites,
        allowance=FREE_BYTES + BYTES_PER_BYTE * source.stat().st_size,
    )
    given = check_boundary(boundary, sites.ndim)
    states, shape, n_frames = bytearray(), (0,), 0
    with open_lines(source) as lines:
        try:
            while (frame := read(lines, symbols, given)) is not None:
                x = sites.snapshot(frame)
                _check_cells(x.shape, shape, sites.ndim, n_frames)
                states += x.tobytes()
                shape, n_frames = x.shape, n_frames + 1
                lines.count_frame()
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise ValueError(f"Frame {n_frames} of {source}: {error}") from error
    if not n_frames:
        raise ValueError(
            f"Expected at least one frame in {source}, but got an empty file; check the path, or "
            "write the file again."
        )
    return np.frombuffer(states, sites.dtype).reshape(n_frames, *shape)


def _check_cells(here: tuple[int, ...], first: tuple[int, ...], n_axes: int, frame: int) -> None:
    """Raise ValueError if a frame has not the sites of the first."""
    if frame and here != first:
        raise ValueError(
            f"Expected {first[:n_axes]} cells as in frame 0, but got {here[:n_axes]}; keep "
            "snapshots of different sizes in different files."
        )
