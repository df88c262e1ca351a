"""One frame of a LAMMPS text dump, written and read.

A frame consists of sections, each under a line `ITEM: NAME`::

    TIMESTEP           number of the frame
    NUMBER OF ATOMS    n_atoms
    BOX BOUNDS         three lines, low high [tilt]; in the title [xy xz yz] and pp or ff per axis
    ATOMS              n_atoms lines; in the title the names of the columns

LAMMPS turns the box so that its edges are (lx, 0, 0), (xy, ly, 0) and (xz, yz, lz), which the
cells of `Lattice` are as they stand. The bounds are those of the orthogonal box around it. The
type of an atom is the state of its site, so that the species map gives its symbol.

ASE parses boxes and positions. Before, sections, lines and the fields of each line are counted
here, because ASE lets missing ones pass.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

import numpy as np

from sklmacro.crystal._lines import Lines, count_atoms, parse

if TYPE_CHECKING:
    from ase import Atoms

# Lengths in lines; that of ATOMS stands in NUMBER OF ATOMS. UNITS and TIME are optional.
SECTIONS = {"TIMESTEP": 1, "UNITS": 1, "TIME": 1, "NUMBER OF ATOMS": 1, "BOX BOUNDS": 3, "ATOMS": 0}
# Coordinates wrapped into the box or not (u), in Angstrom or as fractions of its edges (s).
COORDINATES = (("x", "y", "z"), ("xu", "yu", "zu"), ("xs", "ys", "zs"), ("xsu", "ysu", "zsu"))
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


def read_frame(lines: Lines, symbols: dict[int, str | None]) -> "Atoms | None":
    """Read one frame, in the order of its lines, or return None at the end of the file.

    Positions are relative to the lower corner of the box. Atoms whose type is the state without a
    symbol are left out. ValueError tells what is malformed, cut short or not among the states.
    """
    sections = _read_sections(lines)
    if sections is None:
        return None
    box, section = sections["BOX BOUNDS"], sections["ATOMS"]
    _check_box(box)
    columns, axes = section.fields, _coordinates(section.fields)
    what = f"columns {' '.join(columns)} of the atoms"
    t, i, j, k = taken = [columns.index(name) for name in ("type", *axes)]
    known, rows = {str(state): symbol for state, symbol in symbols.items()}, []
    for atom, line in enumerate(section.lines):
        fields = line.split()
        if len(fields) != len(columns):
            _check_lines(section, taken, len(columns), what)
        symbol = known.get(fields[t], "")
        if symbol == "":
            raise ValueError(
                f"Expected the types {', '.join(known)} that species names, but got type "
                f"{fields[t]} of atom {atom}; add it to species."
            )
        if symbol is not None:
            rows.append(f"{symbol} {fields[i]} {fields[j]} {fields[k]}\n")
    rows.append("X 0 0 0\n")  # removed again; ASE warns of a frame without atoms
    head = [
        *("ITEM: TIMESTEP\n", "0\n", "ITEM: NUMBER OF ATOMS\n", f"{len(rows)}\n"),
        *(f"ITEM: BOX BOUNDS {' '.join(box.fields)}\n", *box.lines),
        f"ITEM: ATOMS element {' '.join(axes)}\n",
    ]
    try:
        atoms = parse([*head, *rows], "lammps-dump-text", f"a box and {what}", order=False)
    except ValueError:
        _check_lines(section, taken, len(columns), what)
        raise
    del atoms[-1]
    if not axes[0].startswith("xs"):  # scaled ones are relative to the corner as they stand
        atoms.positions -= atoms.get_celldisp().ravel()
    return atoms


def _read_sections(lines: Lines) -> dict[str, Section] | None:
    """Return the sections of the next frame, None at the end."""
    sections: dict[str, Section] = {}
    while "ATOMS" not in sections:
        header = lines.next_line()
        if not header and not sections:
            return None
        title = header.removeprefix("ITEM: ").strip()
        name = next((s for s in SECTIONS if title.startswith(s)), "")
        if not header.startswith("ITEM: ") or not name or name in sections:
            actual = f"{header.strip()!r} on line {lines.number}" if header else "the file's end"
            raise ValueError(
                "Expected a line with ITEM: and TIMESTEP, NUMBER OF ATOMS, BOX BOUNDS or ATOMS, "
                f"each once in a frame, but got {actual}; {REMEDY}."
            )
        missing = [s for s in ("TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS") if s not in sections]
        if name == "ATOMS" and missing:
            raise ValueError(
                f"Expected a section {missing[0]} before ATOMS, but got none; {REMEDY}."
            )
        n = SECTIONS[name] or count_atoms(sections["NUMBER OF ATOMS"].lines[0])
        fields = title.removeprefix(name).split()
        sections[name] = Section(fields, lines.number + 1, lines.take(n, title))
    return sections


def _coordinates(columns: list[str]) -> tuple[str, str, str]:
    """Return the columns of the coordinates; refuse atoms without them, or without types."""
    axes = next((names for names in COORDINATES if set(names) <= set(columns)), None)
    if axes is None or "type" not in columns:
        raise ValueError(
            "Expected columns type and x y z (or xu yu zu, xs ys zs, xsu ysu zsu) of the atoms, "
            f"but got {' '.join(columns)!r}; dump these columns too."
        )
    return axes


def _check_box(box: Section) -> None:
    """Raise ValueError unless a section holds tilts, flags and bounds of a box."""
    skew = box.fields[:3] == ["xy", "xz", "yz"]
    flags = box.fields[3 * skew :]
    if len(flags) != 3 or not set("".join(flags)) <= set("pfsm"):
        raise ValueError(
            "Expected BOX BOUNDS with xy xz yz where it is tilted and three flags such as pp or "
            f"ff, but got {' '.join(box.fields)!r}; {REMEDY}."
        )
    _check_lines(box, range(2 + skew), 2 + skew, "the bounds of the box")


def _check_lines(section: Section, columns: Sequence[int], n_fields: int, what: str) -> None:
    """Raise ValueError with the first line that has not n_fields fields, numbers in `columns`."""
    for number, line in enumerate(section.lines, section.first):
        fields = line.split()
        try:
            numbers = [float(fields[column]) for column in columns]
        except (IndexError, ValueError):
            numbers = []
        if not numbers or len(fields) != n_fields:
            raise ValueError(
                f"Expected {len(section.lines)} lines with numbers for {what}, but got "
                f"{line.strip()!r} on line {number}; repair this line, or the number of atoms."
            )
