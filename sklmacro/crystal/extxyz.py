"""One frame of an extended XYZ file, written and read.

A frame is a line with the number of atoms, a comment, and a line for each atom. The comment holds
pairs key=value, of which these four count::

    Lattice="ax ay az bx by bz cx cy cz"     edges of the box
    Origin="x y z"                           its lower corner, as OVITO writes it; 0 without it
    pbc="T T F"                              periodic edges; all of a Lattice without it
    Properties=species:S:1:pos:R:3:...       columns: name, type and their number

ASE writes frames. They are read here: ASE takes a surplus field for none and a cut file for a
whole one, and makes arrays of whatever numbers of columns and keys a comment states.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

import numpy as np

from sklmacro.crystal._lines import Lines, at_line, count_atoms, number, shorten
from sklmacro.crystal.frames import Columns, Frame, Names, boundary_of, read_rows
from sklmacro.crystal.species import import_ase

if TYPE_CHECKING:
    from ase import Atoms

KEYS = ("Lattice", "Origin", "pbc", "Properties")
PLAIN = "species:S:1:pos:R:3"
TRUE, FALSE = ("T", "true", "True", "TRUE", "1"), ("F", "false", "False", "FALSE", "0")
# A quoted text or one in brackets, an opening one that is not closed, an equals sign, or a word.
TOKEN = re.compile(
    r"""\s*(?:(?P<text>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'|\{[^{}]*\}|\[[^\]]*\])"""
    r"""|(?P<open>["'{\[])|(?P<sign>=)|(?P<word>[^\s=]+))"""
)


def write_frame(stream: TextIO, atoms: "Atoms", frame: int, symbols: dict[int, str | None]) -> None:
    """Write atoms as one frame."""
    from ase.io import write

    write(stream, atoms, format="extxyz")


def read_frame(
    lines: Lines, symbols: dict[int, str | None], boundary: np.ndarray | None
) -> Frame | None:
    """Begin to read one frame, whose blocks read its atoms, or return None at the end of the file.

    `boundary` is that of the caller, bool (n_axes,) or None. ValueError tells what is malformed,
    cut short or not among the states.
    """
    header = lines.next_line()
    if not header:
        return None
    with at_line(lines.number):
        n_atoms = count_atoms(header)
    comment = lines.take(1, f"a comment and {n_atoms} atoms")[0]
    with at_line(lines.number):
        values = _values(comment)
        cell = np.array(_numbers(values, "Lattice", 9)).reshape(3, 3)
        corner = np.array(_numbers(values, "Origin", 3))
        pbc = boundary_of(_pbc(values), boundary, default="Lattice" in values)
        # ASE states wrong types of the columns where there are no atoms.
        properties = values.get("Properties", PLAIN) if n_atoms else PLAIN
        columns, names = _columns(properties, tuple(symbols.items()))
    rows = read_rows(lines, n_atoms, columns, names)
    return Frame(cell, corner, pbc, rows, first_line=lines.number + 1)


def _values(comment: str) -> dict[str, str]:
    """Return the values of the keys that count."""
    values: dict[str, str] = {}
    for key, value in _pairs(comment):
        if key in values:
            raise ValueError(
                f"Expected {shorten(key)} once in a comment, but got it again; remove one of them."
            )
        if key in KEYS:
            values[key] = value
    return values


def _pairs(comment: str) -> Iterator[tuple[str, str]]:
    """Yield every key=value of a comment, a value without its quotes or brackets."""
    key = before = ""
    for match in TOKEN.finditer(comment):
        if match["open"]:
            raise ValueError(
                f"Expected quotes and brackets in a comment to be closed, but got "
                f"{shorten(comment[match.start('open') :])}; close them."
            )
        value = match["word"] or (match["text"] or "")[1:-1]
        if match["sign"]:
            key, before = before, ""
        elif key:
            yield key, value
            key = ""
        else:
            before = value


def _numbers(values: dict[str, str], key: str, n: int) -> list[float]:
    """Return the n finite numbers of a key, zeros without it."""
    if key not in values:
        return [0.0] * n
    words = values[key].replace(",", " ").split()
    try:
        numbers = [number(word) for word in words[: n + 1]]
    except ValueError:
        numbers = []
    if len(numbers) == n and np.isfinite(numbers).all():
        return numbers
    raise ValueError(
        f"Expected {key} to have {n} finite numbers in Angstrom, but got {shorten(values[key])}; "
        "repair it."
    )


def _pbc(values: dict[str, str]) -> np.ndarray | None:
    """Return what a comment says of the boundaries, bool (3,), or None."""
    if "pbc" not in values:
        return None
    words = values["pbc"].replace(",", " ").split()
    if len(words) in (1, 3) and set(words) <= {*TRUE, *FALSE}:
        return np.array([words[axis % len(words)] in TRUE for axis in range(3)])
    raise ValueError(
        f"Expected pbc to be T or F for each of the 3 axes, but got {shorten(values['pbc'])}; "
        "repair it."
    )


@lru_cache(maxsize=1)  # frames have the same columns
def _columns(properties: str, symbols: tuple[tuple[int, str | None], ...]) -> tuple[Columns, Names]:
    """Return where a row has its name and coordinates, and the states of names."""
    fields = properties.split(":")
    places: dict[str, tuple[str, int, int]] = {}
    n, valid = 0, len(fields) % 3 == 0
    for name, kind, digits in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        counted = digits.isascii() and digits.isdecimal() and len(digits) < 8
        valid &= kind in ("R", "I", "S", "L") and counted and name not in places
        places[name] = (kind, n, int(digits) if counted else 0)
        n += places[name][2]
    kind, first, width = places.get("pos", ("", 0, 0))
    valid &= (kind, width) == ("R", 3)
    found = [
        (name, places[name][1])
        for name, letter in (("Z", "I"), ("species", "S"))
        if places.get(name, ("",))[::2] == (letter, 1)
    ]
    if not valid or not found:
        raise ValueError(
            "Expected Properties to be name:type:number of columns, each name once, among them "
            f"pos:R:3 and species:S:1 or Z:I:1, but got {shorten(properties)}; write these columns."
        )
    (named, column), *other = found
    what = f"columns {properties[:100]} of the atoms"
    axes = (first, first + 1, first + 2)
    return Columns(n, column, axes, other[0][1] if other else None, what), _names(
        named, dict(symbols)
    )


def _names(name: str, symbols: dict[int, str | None]) -> Names:
    """Return the states of atomic numbers (Z) or of symbols, also in upper or lower case."""
    present = {symbol: state for state, symbol in symbols.items() if symbol is not None}
    if name == "species":
        upper = {symbol.upper(): state for symbol, state in present.items()}
        lower = {symbol.lower(): state for symbol, state in present.items()}
        return Names("symbol", list(present), present | upper | lower, {}, None)
    number_of = import_ase().data.atomic_numbers
    states = {str(number_of[symbol]): state for symbol, state in present.items()}
    return Names("number", list(states), states, {str(number_of[s]): s for s in present}, None)
