"""One frame of a LAMMPS text dump, written and read.

A frame consists of sections, each under a line `ITEM: NAME`::

    TIMESTEP           number of the frame
    NUMBER OF ATOMS    n_atoms
    BOX BOUNDS         three lines, low high [tilt]; in the title [xy xz yz] and pp or ff per axis
    ATOMS              n_atoms lines; in the title the names of the columns

LAMMPS turns the box so that its edges are (lx, 0, 0), (xy, ly, 0) and (xz, yz, lz), which the
cells of `Lattice` are as they stand. The bounds are those of the orthogonal box around it. The
type of an atom is the state of its site, so that the species map gives its symbol.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

import numpy as np

from sklmacro.crystal._lines import count_atoms, next_line, take_lines
from sklmacro.crystal.species import import_ase

if TYPE_CHECKING:
    from ase import Atoms

# Lengths in lines; that of ATOMS stands in NUMBER OF ATOMS. UNITS and TIME are optional.
SECTIONS = {"TIMESTEP": 1, "UNITS": 1, "TIME": 1, "NUMBER OF ATOMS": 1, "BOX BOUNDS": 3, "ATOMS": 0}
# Coordinates wrapped into the box or not (u), in Angstrom or as fractions of its edges (s).
COORDINATES = (("x", "y", "z"), ("xu", "yu", "zu"), ("xs", "ys", "zs"), ("xsu", "ysu", "zsu"))
REMEDY = "write the frame as a LAMMPS text dump"


def write_frame(stream: TextIO, atoms: "Atoms", frame: int, symbols: dict[int, str | None]) -> None:
    """Write atoms whose box has the orientation of LAMMPS as one frame.

    Raises
    ------
    ValueError
        If a state that has a symbol is no type, which is at least 1.
    """
    state = {symbol: state for state, symbol in symbols.items() if symbol is not None}
    if min(state.values()) < 1:
        raise ValueError(
            "Expected states of at least 1 for the types of a LAMMPS dump, but got "
            f"{min(state.values())} for {min(state, key=lambda name: state[name])}; write extxyz, "
            "or change the states and species."
        )
    types = np.array([state[symbol] for symbol in atoms.symbols], dtype=np.int64)
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = np.asarray(atoms.cell).tolist()
    bounds = np.array([[0.0, lx], [0.0, ly], [0.0, lz]]) + _overhang(xy, xz, yz)
    skew = any((xy, xz, yz))
    if skew:
        bounds = np.column_stack([bounds, [xy, xz, yz]])
    pbc = " ".join("pp" if periodic else "ff" for periodic in atoms.pbc)
    stream.write(f"ITEM: TIMESTEP\n{frame}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\n")
    stream.write(f"ITEM: BOX BOUNDS {'xy xz yz ' * skew}{pbc}\n")
    np.savetxt(stream, bounds, fmt="%.16e")
    stream.write("ITEM: ATOMS id type x y z\n")
    table = np.column_stack([np.arange(1, len(atoms) + 1), types, atoms.positions])
    np.savetxt(stream, table, fmt="%d %d %.10f %.10f %.10f")


def read_frame(stream: TextIO, symbols: dict[int, str | None]) -> "Atoms | None":
    """Read one frame, in the order of its lines, or return None at the end of the file.

    Positions are relative to the lower corner of the box. Atoms whose type is the state without a
    symbol are left out.

    Raises
    ------
    ValueError
        If the frame is malformed or cut short, or a type is not among the states.
    """
    sections = _read_sections(stream)
    if sections is None:
        return None
    cell, corner, pbc = _box(*sections["BOX BOUNDS"])
    types, positions = _types_and_positions(*sections["ATOMS"], cell, corner)
    unknown = ~np.isin(types, list(symbols))
    if unknown.any():
        k = int(np.argmax(unknown))
        raise ValueError(
            f"Expected the types {', '.join(map(str, symbols))} that species names, but got type "
            f"{types[k]:g} of atom {k}; add it to species."
        )
    names = [symbols[int(t)] for t in types]
    present = np.array([name is not None for name in names], dtype=bool)
    return import_ase().Atoms(
        [name for name in names if name is not None],
        positions=positions[present],
        cell=cell,
        pbc=pbc,
    )


def _overhang(xy: float, xz: float, yz: float) -> np.ndarray:
    """How far a tilted box reaches beyond its edges' lengths, low and high, (3, 2)."""
    x, y = (0.0, xy, xz, xy + xz), (0.0, yz)
    return np.array([[min(x), max(x)], [min(y), max(y)], [0.0, 0.0]])


def _read_sections(stream: TextIO) -> dict[str, tuple[list[str], list[str]]] | None:
    """Return the words behind the name of each section and its lines, None at the end."""
    header = next_line(stream)
    if not header:
        return None
    sections: dict[str, tuple[list[str], list[str]]] = {}
    while True:
        title = header.removeprefix("ITEM: ").strip()
        name = next((s for s in SECTIONS if title.startswith(s)), "")
        if not header.startswith("ITEM: ") or not name or name in sections:
            came = repr(header.strip()) if header else "the end of the file"
            raise ValueError(
                "Expected a line with ITEM: and TIMESTEP, NUMBER OF ATOMS, BOX BOUNDS or ATOMS, "
                f"each once in a frame, but got {came}; {REMEDY}."
            )
        n_lines = SECTIONS[name]
        if name == "ATOMS":
            for earlier in ("TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS"):
                if earlier not in sections:
                    raise ValueError(
                        f"Expected a section {earlier} before ATOMS, but got none; {REMEDY}."
                    )
            n_lines = count_atoms(sections["NUMBER OF ATOMS"][1][0])
        sections[name] = (title.removeprefix(name).split(), take_lines(stream, n_lines, title))
        if name == "ATOMS":
            return sections
        header = next_line(stream)


def _numbers(lines: list[str], columns: Sequence[int], what: str) -> np.ndarray:
    """Return columns of a table as floats, (n_lines, n_columns)."""
    table = np.empty((len(lines), len(columns)))
    for row, line in zip(table, lines, strict=True):
        words = line.split()
        try:
            row[:] = [float(words[column]) for column in columns]
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"Expected {len(lines)} lines with numbers for {what}, but got {line.strip()!r}; "
                "repair this line, or the number of atoms."
            ) from error
    return table


def _box(words: list[str], lines: list[str]) -> tuple[np.ndarray, np.ndarray, list[bool]]:
    """Return the edges as rows (3, 3), the lower corner (3,) and the periodicity of a box."""
    skew = words[:3] == ["xy", "xz", "yz"]
    flags = words[3 * skew :]
    if len(flags) != 3 or not set("".join(flags)) <= set("pfsm"):
        raise ValueError(
            "Expected BOX BOUNDS with xy xz yz where it is tilted and three flags such as pp or "
            f"ff, but got {' '.join(words)!r}; {REMEDY}."
        )
    bounds = _numbers(lines, range(2 + skew), "the bounds of the box")
    xy, xz, yz = bounds[:, 2] if skew else np.zeros(3)
    low, high = (bounds[:, :2] - _overhang(xy, xz, yz)).T
    lx, ly, lz = high - low
    cell = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
    return cell, low, [flag == "pp" for flag in flags]


def _types_and_positions(
    columns: list[str], lines: list[str], cell: np.ndarray, corner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the types (n_atoms,) and the positions (n_atoms, 3) from the corner of the box."""
    axes = next((names for names in COORDINATES if set(names) <= set(columns)), None)
    if axes is None or "type" not in columns:
        raise ValueError(
            "Expected columns type and x y z (or xu yu zu, xs ys zs, xsu ysu zsu) of the atoms, "
            f"but got {' '.join(columns)!r}; dump these columns too."
        )
    wanted = [columns.index(name) for name in ("type", *axes)]
    table = _numbers(lines, wanted, f"columns {' '.join(columns)} of the atoms")
    scaled = axes[0].startswith("xs")
    return table[:, 0], table[:, 1:] @ cell if scaled else table[:, 1:] - corner
