"""Lines of a text file, taken a section at a time, and a file that appears whole or not at all."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a draft that takes the place of `path` at the end, or vanishes if an error occurs."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as stream:
            yield stream
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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
