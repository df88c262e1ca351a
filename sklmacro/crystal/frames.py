"""Frames: a box and its atoms, in blocks, so that no frame stands in memory as a whole.

Shape vocabulary::

    cell       (3, 3)         edges of the box as rows, Angstrom
    corner     (3,)           its lower corner, Angstrom
    pbc        (3,) bool      whether an edge is periodic
    positions  (n_atoms, 3)   Angstrom, in the axes and from the origin of the file

A file states its boundaries or not. Where it does not, the caller says what they are.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sklmacro._base.checks import check_choice
from sklmacro.crystal._lines import Lines, number, shorten

BOUNDARIES = ("periodic", "open")
MARK = "\0"  # no field of text


class Block(NamedTuple):
    """Atoms that follow each other: their numbers in the frame from 0, states, and positions."""

    numbers: Sequence[int] | np.ndarray
    states: np.ndarray
    positions: np.ndarray


class Frame(NamedTuple):
    """A box and its atoms.

    `follows` tells which of the lower faces of the box follow the atoms (shrink-wrapped).
    `first_line` is the number of the line of atom 0, None where there is no file.
    """

    cell: np.ndarray
    corner: np.ndarray
    pbc: np.ndarray
    blocks: Iterable[Block]
    follows: np.ndarray = np.zeros(3, bool)
    first_line: int | None = None


class Columns(NamedTuple):
    """Columns of the atoms in a file.

    `name` has the names (types, symbols, numbers) that stand for states, `axes` the coordinates.
    `label` has other names of the same atoms, None where there are none. `what` describes them.
    """

    n: int
    name: int
    axes: tuple[int, int, int]
    label: int | None
    what: str


class Names(NamedTuple):
    """What names are called, those to list in errors, and the state that each stands for.

    `labels` has the symbol of each, None for that of an absent atom, whose state is `vacancy`.
    """

    kind: str
    listed: list[str]
    states: dict[str, int]
    labels: dict[str, str | None]
    vacancy: int | None


def check_boundary(boundary: str | Sequence[str] | None, n_axes: int) -> np.ndarray | None:
    """Return whether each axis of a lattice is periodic, bool (n_axes,), or None."""
    if boundary is None:
        return None
    axes = [boundary] * n_axes if isinstance(boundary, str) else list(boundary)
    if len(axes) != n_axes:
        raise ValueError(
            f"Expected boundary to be 'periodic', 'open' or one of them for each of the {n_axes} "
            f"axes of the lattice, but got {boundary!r}; pass one, or {n_axes} of them."
        )
    return np.array([check_choice(axis, "boundary", BOUNDARIES) == "periodic" for axis in axes])


def boundary_of(
    stated: np.ndarray | None, given: np.ndarray | None, default: bool | None = None
) -> np.ndarray:
    """Return pbc (3,): what a file has `stated`, or what the caller has `given`, or a default."""
    if stated is None and given is None and default is None:
        raise ValueError(
            "Expected BOX BOUNDS with three flags such as pp or ff, but got none, as in dumps of "
            "SPPARKS; pass boundary='periodic', boundary='open', or one of them for each axis."
        )
    if stated is None:
        pbc = np.full(3, bool(default))
        if given is not None:
            pbc[:] = False
            pbc[: len(given)] = given
        return pbc
    if given is not None and (stated[: len(given)] != given).any():
        words = [BOUNDARIES[not periodic] for periodic in stated[: len(given)]]
        raise ValueError(
            f"Expected the boundaries that the caller has given, but got {', '.join(words)} in "
            "the file; leave out boundary, or correct the file."
        )
    return stated


def read_rows(lines: Lines, n_atoms: int, columns: Columns, names: Names) -> Iterator[Block]:
    """Yield the atoms of the next `n_atoms` lines; those with the name of a vacancy are absent."""
    first, start = lines.number + 1, 0
    for block in lines.blocks(n_atoms, columns.what):
        try:
            fields, positions = _parse(block, columns)
        except ValueError:
            raise _row_error(block, columns, n_atoms, first + start) from None
        states = _states(fields, columns, names, start, first)
        atoms = range(start, start + len(block))
        start += len(block)
        if names.vacancy is not None and not (present := states != names.vacancy).all():
            yield Block(np.array(atoms)[present], states[present], positions[present])
        else:
            yield Block(atoms, states, positions)


def _parse(block: list[str], columns: Columns) -> tuple[list[list[str]], np.ndarray]:
    """Return the names, coordinates and labels as columns, and the positions (n_atoms, 3).

    Lines are parsed together, with a mark that no line has behind each, which has to stand where
    the fields of a line end. A flaw of any is a ValueError without words.
    """
    text, period = f" {MARK} ".join([*block, ""]), columns.n + 1
    words = text.split()
    if (
        text.count(MARK) != len(block)
        or len(words) != len(block) * period
        or words[columns.n :: period].count(MARK) != len(block)
    ):
        raise ValueError
    fields = [words[column::period] for column in (columns.name, *columns.axes)]
    if columns.label is not None:
        fields.append(words[columns.label :: period])
    convert = float if text.isascii() and "_" not in text else number
    axes = [np.fromiter(map(convert, axis), float, len(block)) for axis in fields[1:4]]
    return fields, np.stack(axes, axis=1)


def _states(
    fields: list[list[str]], columns: Columns, names: Names, start: int, first: int
) -> np.ndarray:
    """Return the states of rows; refuse a name of no state, or one with another's label."""
    column = fields[0]
    if unknown := set(column) - names.states.keys():
        atom = next(k for k, name in enumerate(column, start) if name in unknown)
        name = column[atom - start]
        raise ValueError(
            f"Expected the {names.kind}s {', '.join(names.listed)} that species names, but got "
            f"{names.kind} {name[:50]} of atom {atom} on line {first + atom}; add it to species."
        )
    if columns.label is not None:
        _check_labels(column, fields[-1], names, start, first)
    return np.fromiter(map(names.states.__getitem__, column), np.int64, len(column))


def _check_labels(
    column: list[str], labels: list[str], names: Names, start: int, first: int
) -> None:
    """Raise ValueError if an atom is labelled with the symbol of another state than its name's."""
    known = set(names.labels.values())
    pairs = list(zip(column, labels, strict=True))
    wrong = {
        (name, label)
        for name, label in set(pairs)
        if label in known and label != names.labels[name]
    }
    if wrong:
        atom = next(k for k, pair in enumerate(pairs, start) if pair in wrong)
        name, label = pairs[atom - start]
        raise ValueError(
            f"Expected {names.kind} {name} to be {names.labels[name] or 'a vacancy'}, as species "
            f"has it, but got {label} for atom {atom} on line {first + atom}; put species in the "
            "order of the file, or remove the column that is wrong."
        )


def _row_error(block: list[str], columns: Columns, n_atoms: int, first: int) -> ValueError:
    """Return the error that names the first row without its fields or numbers."""
    for line_number, line in enumerate(block, first):
        row = line.split()
        try:
            if len(row) != columns.n or MARK in line:
                raise ValueError
            for axis in columns.axes:
                number(row[axis])
        except ValueError:
            return ValueError(
                f"Expected {n_atoms} lines with numbers for {columns.what}, but got "
                f"{shorten(line)} on line {line_number}; repair this line, or the number of atoms."
            )
    raise AssertionError("one of the rows is wrong")
