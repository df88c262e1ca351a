"""Lines of a text file, taken a section at a time."""

from itertools import islice
from typing import TextIO


def next_line(stream: TextIO) -> str:
    """Return the next line that is not blank, or "" at the end of the file."""
    return next((line for line in stream if line.strip()), "")


def take_lines(stream: TextIO, n: int, what: str) -> list[str]:
    """Return the next `n` lines."""
    lines = list(islice(stream, n))
    if len(lines) < n:
        raise ValueError(
            f"Expected {n} lines of {what}, but got {len(lines)} before the end of the file; it "
            "is cut short, so remove this frame or write the file again."
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
