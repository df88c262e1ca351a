"""One frame of a LAMMPS text dump, written and read.

A frame consists of sections, each under a line `ITEM: NAME`::

    TIMESTEP           number of the frame
    NUMBER OF ATOMS    n_atoms
    BOX BOUNDS         three lines, low high [tilt]; in the title [xy xz yz] and pp or ff per axis
    ATOMS              n_atoms lines; in the title the names of the columns

LAMMPS turns the box so that its edges are (lx, 0, 0), (xy, ly, 0) and (xz, yz, lz), which the
cells of `Lattice` are as they stand. The bounds are those of the orthogonal box around it. The
type of an atom is the state of its site, so that the species map gives its symbol.

Dumps of SPPARKS have no flags, and the time behind the number of the frame. A face with the flag s
or m follows the atoms. Every section, line and field is counted, because readers that let missing
ones pass take a cut file for a whole one.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TextIO

import numpy as np

from sklmacro.crystal._lines import Lines, at_line, count_atoms, number, shorten
from sklmacro.crystal.frames import Block, Columns, Frame, Names, boundary_of, read_rows

if TYPE_CHECKING:
    from ase import Atoms

# Lengths in lines; ATOMS are read apart. UNITS and TIME are optional.
SECTIONS = {"TIMESTEP": 1, "UNITS": 1, "TIME": 1, "NUMBER OF ATOMS": 1, "BOX BOUNDS": 3, "ATOMS": 0}
# Coordinates wrapped into the box or not (u), in Angstrom or as fractions of its edges (s).
COORDINATES = (("x", "y", "z"), ("xu", "yu", "zu"), ("xs", "ys", "zs"), ("xsu", "ysu", "zsu"))
TILTS = ["xy", "xz", "yz"]
# Of the two faces of an axis: periodic, fixed, shrink-wrapped, shrink-wrapped with a minimum.
FLAGS = {"p", "f", "pp", *(a + b for a in "fsm" for b in "fsm")}
REMEDY = "write the frame as a LAMMPS text dump"


class Section(NamedTuple):
    """The fields after its name, the number of its first line, and its lines."""

    fields: list[str]
    first: int
    lines: list[str]


def write_frame(stream: TextIO, atoms: "Atoms", frame: int, symbols: dict[int, str | None]) -> None:
    """Write atoms whose box has the orientation of LAMMPS as one frame; types are 1 or more."""
    state = {symbol: state for state, symbol in symbols.items() if symbol is not None}
    if min(state.values()) < 1:
        raise ValueError(
            "Expected states of at least 1 for the types of a LAMMPS dump, but got "
            f"{min(state.values())} for {min(state, key=lambda name: state[name])}; write extxyz, "
            "or change the states and species."
        )
    types = np.array([state[symbol] for symbol in atoms.symbols], dtype=np.int64)
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = np.asarray(atoms.cell).tolist()
    tilts = np.array([[xy, xz], [yz, 0.0], [0.0, 0.0]])
    low, high = np.minimum(tilts, 0).sum(axis=1), np.maximum(tilts, 0).sum(axis=1)
    skew = any((xy, xz, yz))
    bounds = np.column_stack([low, np.add(high, [lx, ly, lz])] + skew * [[xy, xz, yz]])
    pbc = " ".join("pp" if periodic else "ff" for periodic in atoms.pbc)
    stream.write(f"ITEM: TIMESTEP\n{frame}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\n")
    stream.write(f"ITEM: BOX BOUNDS {'xy xz yz ' * skew}{pbc}\n")
    np.savetxt(stream, bounds, fmt="%.16e")
    stream.write("ITEM: ATOMS id type x y z\n")
    table = np.column_stack([np.arange(1, len(atoms) + 1), types, atoms.positions])
    np.savetxt(stream, table, fmt="%d %d %.10f %.10f %.10f")


def read_frame(
    lines: Lines, symbols: dict[int, str | None], boundary: np.ndarray | None
) -> Frame | None:
    """Begin to read one frame, whose blocks read its atoms, or return None at the end of the file.

    `boundary` is that of the caller, bool (n_axes,) or None. Atoms whose type is the state without
    a symbol are left out. ValueError tells what is malformed, cut short or not among the states.
    """
    sections = _read_sections(lines)
    if sections is None:
        return None
    _check_timestep(sections["TIMESTEP"])
    count, box, section = (sections[name] for name in ("NUMBER OF ATOMS", "BOX BOUNDS", "ATOMS"))
    with at_line(count.first):
        n_atoms = count_atoms(count.lines[0])
    with at_line(box.first - 1):
        flags = _flags(box.fields)
        periodic = np.array(["p" in flag for flag in flags])
        pbc = boundary_of(periodic if flags else None, boundary)
    cell, corner = _read_box(box)
    fields = section.fields
    with at_line(section.first - 1):
        axes, scaled = _coordinates(fields)
    columns = Columns(
        len(fields),
        fields.index("type"),
        axes,
        fields.index("element") if "element" in fields else None,
        f"columns {' '.join(fields)[:100]} of the atoms",
    )
    blocks: Iterable[Block] = read_rows(lines, n_atoms, columns, _names(symbols))
    if scaled:
        blocks = (block._replace(positions=corner + block.positions @ cell) for block in blocks)
    follows = np.array([flag[0] in "sm" for flag in flags or ("f",) * 3])
    return Frame(cell, corner, pbc, blocks, follows, section.first)


def _names(symbols: dict[int, str | None]) -> Names:
    labels = {str(state): symbol for state, symbol in symbols.items()}
    vacancy = next((state for state, symbol in symbols.items() if symbol is None), None)
    return Names("type", list(labels), {str(state): state for state in symbols}, labels, vacancy)


def _read_sections(lines: Lines) -> dict[str, Section] | None:
    """Return the sections of the next frame, None at the end."""
    sections: dict[str, Section] = {}
    while "ATOMS" not in sections:
        header = lines.next_line()
        if not header and not sections:
            return None
        title = header.removeprefix("ITEM: ").strip()
        name = next((s for s in SECTIONS if f"{title} ".startswith(f"{s} ")), "")
        if not header.startswith("ITEM: ") or not name or name in sections:
            actual = f"{shorten(header)} on line {lines.number}" if header else "the file's end"
            raise ValueError(
                "Expected a line with ITEM: and TIMESTEP, NUMBER OF ATOMS, BOX BOUNDS or ATOMS, "
                f"each once in a frame, but got {actual}; {REMEDY}."
            )
        missing = [s for s in ("TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS") if s not in sections]
        if name == "ATOMS" and missing:
            raise ValueError(
                f"Expected a section {missing[0]} before ATOMS, but got none by line "
                f"{lines.number}; {REMEDY}."
            )
        fields, first = title.removeprefix(name).split(), lines.number + 1
        sections[name] = Section(fields, first, lines.take(SECTIONS[name], title))
    return sections


def _coordinates(columns: list[str]) -> tuple[tuple[int, int, int], bool]:
    """Return the columns of the coordinates, and whether these are fractions of the edges."""
    names = next((names for names in COORDINATES if set(names) <= set(columns)), None)
    if names is None or "type" not in columns:
        raise ValueError(
            "Expected columns type and x y z (or xu yu zu, xs ys zs, xsu ysu zsu) of the atoms, "
            f"but got {shorten(' '.join(columns))}; dump these columns too."
        )
    twice = [name for name in (*names, "type", "element") if columns.count(name) > 1]
    if twice:
        raise ValueError(
            f"Expected every column of the atoms once, but got {twice[0]} again; remove one."
        )
    i, j, k = (columns.index(name) for name in names)
    return (i, j, k), names[0].startswith("xs")


def _check_timestep(section: Section) -> None:
    """Raise ValueError unless a section holds a step; SPPARKS has the time behind it."""
    try:
        valid = len([number(word) for word in section.lines[0].split()]) in (1, 2)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            f"Expected the number of a time step, but got {shorten(section.lines[0])} on line "
            f"{section.first}; {REMEDY}."
        )


def _flags(fields: list[str]) -> list[str]:
    """Return the flags of the axes of a box, none or three."""
    flags = fields[3 * (fields[:3] == TILTS) :]
    if flags and (len(flags) != 3 or not set(flags) <= FLAGS):
        raise ValueError(
            "Expected BOX BOUNDS with xy xz yz where it is tilted and three flags such as pp or "
            f"ff, but got {shorten(' '.join(fields))}; {REMEDY}."
        )
    return flags


def _read_box(box: Section) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell (3, 3) and the lower corner (3,) of a box."""
    skew = box.fields[:3] == TILTS
    rows = np.array([_bounds(line, 2 + skew, k) for k, line in enumerate(box.lines, box.first)])
    low, high = rows[:, 0], rows[:, 1]
    xy, xz, yz = rows[:, 2] if skew else np.zeros(3)
    tilts = np.array([[xy, xz], [yz, 0.0], [0.0, 0.0]])
    with np.errstate(over="ignore"):
        corner = low - np.minimum(tilts, 0).sum(axis=1)
        lx, ly, lz = high - np.maximum(tilts, 0).sum(axis=1) - corner
    cell = np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]])
    if not (np.isfinite(cell).all() and min(lx, ly, lz) >= 0):
        raise ValueError(
            f"Expected bounds of the box with low <= high, but got lengths {lx:g}, {ly:g} and "
            f"{lz:g} from line {box.first} on; repair them."
        )
    return cell, corner


def _bounds(line: str, n: int, line_number: int) -> list[float]:
    """Return the n finite numbers of a line."""
    try:
        numbers = [number(word) for word in line.split()]
    except ValueError:
        numbers = []
    if len(numbers) != n or not np.isfinite(numbers).all():
        raise ValueError(
            f"Expected {n} finite numbers for the bounds of the box, but got {shorten(line)} on "
            f"line {line_number}; repair this line."
        )
    return numbers
