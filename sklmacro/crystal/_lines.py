"""Lines of a text file, counted before ASE parses them, which takes a cut file for a whole one."""

from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from ase import Atoms


class Lines:
    """Lines of a stream, taken a section at a time; `number` is that of the last one, from 1."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.number = 0

    def next_line(self) -> str:
        """Return the next line that is not blank, or "" at the end of the file."""
        for line in self._stream:
            self.number += 1
            if line.strip():
                return line
        return ""

    def take(self, n: int, what: str) -> list[str]:
        """Return the next `n` lines."""
        lines = list(islice(self._stream, n))
        self.number += len(lines)
        if len(lines) < n:
            raise ValueError(
                f"Expected {n} lines of {what}, but got {len(lines)} before the end of the file; "
                "it is cut short, so remove this frame or write the file again."
            )
        return lines


def count_atoms(line: str) -> int:
    """Return the number of atoms that a line states."""
    text = line.strip()
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(
            f"Expected the number of atoms, but got {text!r}; check the format of the file."
        )
    return int(text)


def parse(lines: list[str], format: str, what: str, **options: Any) -> "Atoms":
    """Return the atoms of one frame, which holds `what`, by ASE's reader with its `options`."""
    from ase.io import iread

    try:
        return next(iread(StringIO("".join(lines)), index=0, format=format, **options))
    except Exception as error:  # of any type: the parser converts, indexes and looks up
        raise ValueError(
            f"Expected {what}, but got lines that ASE cannot read ({type(error).__name__}: "
            f"{error}); repair them."
        ) from error
