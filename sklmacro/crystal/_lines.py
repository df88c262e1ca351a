"""Lines of a text file, plain or gzip, of which no more is read than the file's size accounts for.

Text takes more memory than its file: a line as str, its fields, and all of a packed file that
unpacks to a thousand times its size. So lines have a largest length, rows come in blocks, and the
text of a packed file is counted, with a share for every frame.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO, cast

LONGEST = 1 << 20  # characters of a line
BLOCK = 1 << 17  # characters of the rows that are parsed together
# A packed file of S bytes may hold FREE_TEXT + TEXT_PER_BYTE S characters: dumps pack to a fifth
# or a tenth. What a frame and a blank line cost beyond their text counts as characters, too.
FREE_TEXT, TEXT_PER_BYTE, FRAME, BLANK = 10_000_000, 20, 300, 30

GZIP = b"\x1f\x8b"
PACKED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
UNICODE = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")  # byte order marks of UTF-16 and UTF-32


class Lines:
    """Lines of a stream, taken a section at a time; `number` is that of the last one, from 1.

    `allowance` is the number of characters that may be read.
    """

    def __init__(self, stream: TextIO, allowance: float = float("inf")):
        self._stream = stream
        self._allowance = self._left = allowance
        self.number = 0

    def next_line(self) -> str:
        """Return the next line that is not blank, or "" at the end of the file."""
        while (line := self._stream.readline(LONGEST)) and not line.strip():
            self._count([line], len(line) + BLANK)
        self._count([line] * bool(line), len(line))
        return line

    def take(self, n: int, what: str) -> list[str]:
        """Return the next `n` lines."""
        return [line for block in self.blocks(n, what) for line in block]

    def blocks(self, n: int, what: str) -> Iterator[list[str]]:
        """Yield the next `n` lines in lists of limited size."""
        readline, taken = self._stream.readline, 0
        while taken < n:
            block: list[str] = []
            size, end = 0, False
            while not end and taken + len(block) < n and size < BLOCK:
                line = readline(LONGEST)
                block.append(line)
                size += len(line)
                end = not line
            self._count(block[: len(block) - end], size)
            taken += len(block) - end
            if end:
                raise ValueError(
                    f"Expected {n} lines of {what}, but got {taken} before the end of the file; "
                    "it is cut short, so remove this frame or write the file again."
                )
            yield block

    def count_frame(self) -> None:
        """Count what a frame takes beyond its text."""
        self._left -= FRAME

    def _count(self, lines: list[str], size: int) -> None:
        """Count lines that were read; refuse one that is too long, or too many characters."""
        self.number += len(lines)
        self._left -= size
        if lines and len(lines[-1]) == LONGEST:  # which ends a block
            raise ValueError(
                f"Expected lines of less than {LONGEST} characters, but got a longer one on line "
                f"{self.number}; remove what describes neither atoms nor their box."
            )
        if self._left < 0:
            raise ValueError(
                f"Expected a packed file of at most {self._allowance:.0f} characters "
                f"({FREE_TEXT} and {TEXT_PER_BYTE} for each byte of the file), but got more by "
                f"line {self.number}; unpack it if you trust it, and read the unpacked file."
            )


@contextmanager
def open_lines(path: Path) -> Iterator[Lines]:
    """Give the lines of a text file; ValueError tells what a file is that is no text."""
    with path.open("rb") as file:
        packed = file.peek(2)[:2] == GZIP
        size = os.fstat(file.fileno()).st_size
        stream = gzip.GzipFile(fileobj=file) if packed else file
        with _damage_of(path):
            _check_text(stream.peek(64)[:64], path)
            text = io.TextIOWrapper(cast("IO[bytes]", stream), encoding="utf-8-sig")
            lines = Lines(text, FREE_TEXT + TEXT_PER_BYTE * size if packed else float("inf"))
            try:
                yield lines
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"Expected text in UTF-8 in {path}, but got bytes that are none after line "
                    f"{lines.number} ({error}); write the file as text."
                ) from error


@contextmanager
def at_line(line_number: int) -> Iterator[None]:
    """Name a line in the errors of what is read from it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Line {line_number}: {error}") from error


@contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"Expected a whole gzip file in {path}, but got a damaged one ({error}); unpack it by "
            "other means, or write it again."
        ) from error


def _check_text(head: bytes, path: Path) -> None:
    """Raise ValueError if a file with this beginning is no text in UTF-8."""
    names = [name for magic, name in PACKED.items() if head.startswith(magic)]
    actual = remedy = ""
    if names:
        actual, remedy = f"a file packed by {names[0]}", "unpack it, or pack it by gzip"
    elif b"DUMP" in head and b"\0" in head:
        actual, remedy = "a binary dump of LAMMPS", "convert it by LAMMPS's binary2txt"
    elif head.startswith(UNICODE) or (head[1::2] and not any(head[1::2])):
        actual, remedy = "UTF-16 or UTF-32", "save it in UTF-8"
    elif b"\0" in head or head.startswith(GZIP):
        actual, remedy = "binary data", "write it as text"
    if actual:
        raise ValueError(f"Expected text in UTF-8 in {path}, but got {actual}; {remedy}.")


def count_atoms(line: str) -> int:
    """Return the number of atoms that a line states."""
    text = line.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ValueError(
            f"Expected the number of atoms, but got {shorten(text)}; check the format of the file."
        )
    return int(text)


def number(text: str) -> float:
    """Return a number in decimal notation, where float also takes 1_0 and other scripts."""
    if "_" in text or not text.isascii():
        raise ValueError(f"no number: {text!r}")
    return float(text)


def shorten(text: str) -> str:
    """Return text in quotes, as much of it as an error can show."""
    text = text.strip()
    return repr(text if len(text) <= 200 else text[:200] + "...")
