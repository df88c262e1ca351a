"""How much memory a file may take to be read: a budget that is spent before anything is allocated.

A file of S bytes may take

    100 MB + 50 S,

many times what an honest one takes. Whoever writes a file can make a small one stand for much:
texts of one long item and many short ones, an array per three letters of JSON, a covariance per
number. What is built is therefore priced first, and a file that costs more is refused.
"""

import json
import math
from typing import Any

import numpy as np

FREE, PER_BYTE = 100_000_000, 50
# Bytes that Python takes for each of these letters at most: its object, twice, since lists and
# dictionaries are built anew from the JSON, and its place in another.
PRICES = {"{": 500, "[": 250, ":": 250, ",": 60, '"': 40}
LETTER = 4  # bytes of a letter at most
LONGEST_EMPTY = 1_000_000  # rows of an array without bytes, which nothing else bounds


class Budget:
    """Bytes that may still be allocated for a file.

    Parameters
    ----------
    n_bytes : float, default=inf
        Bytes in all.
    """

    def __init__(self, n_bytes: float = math.inf):
        self.n_bytes = self.left = n_bytes

    def spend(self, n_bytes: int, what: str) -> None:
        """Take bytes off, before they are allocated; raise ValueError if there are not as many."""
        self.left -= n_bytes
        if self.left < 0:
            raise ValueError(
                f"Expected a file that takes at most {self.n_bytes / 1e6:.0f} MB of memory to "
                f"read, but got one whose {what} would take more; it is damaged or hostile, or "
                "else sklmacro.load takes a larger max_bytes."
            )

    def give_back(self, n_bytes: int) -> None:
        """Put back bytes that were not taken after all."""
        self.left += n_bytes

    def check_array(self, name: str, shape: tuple[int, ...], itemsize: int) -> None:
        """Spend what an array takes, or raise ValueError if it is empty and yet long."""
        n_bytes = math.prod(shape) * itemsize
        self.spend(n_bytes, f"array {name[:80]!r}")
        if n_bytes == 0 and max(shape, default=0) > LONGEST_EMPTY:
            raise ValueError(
                f"Expected at most {LONGEST_EMPTY} rows of an array without numbers, but got shape "
                f"{shape}."
            )


def budget_of(n_bytes: int, allowed: float | None = None) -> Budget:
    """Return the budget of a file of a number of bytes, or the one that the caller allows."""
    return Budget(FREE + PER_BYTE * n_bytes if allowed is None else allowed)


def price(text: str) -> int:
    """Return the bytes that Python takes for what JSON says, at most."""
    return LETTER * len(text) + sum(text.count(letter) * n for letter, n in PRICES.items())


def parse(text: str, budget: Budget, *, nan: bool = False) -> Any:
    """Return what JSON says, without the liberties that Python's own takes, but for NaN if asked.

    Raises
    ------
    ValueError
        If it is not strict JSON, names something twice, or would take more than the budget.
    """
    budget.spend(price(text), "texts and numbers")
    try:
        constant = float if nan else _no_constant
        return json.loads(text, object_pairs_hook=_unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected strict JSON in the header, but got what is not ({error}); save it anew."
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name[:40] for name, _ in pairs[:10]]
        raise ValueError(f"duplicate names among {names}")
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def check_npy(stream: Any, n_bytes: int, budget: Budget, name: str) -> None:
    """Raise ValueError unless an .npy stream of a number of bytes holds what its header says.

    The stream is read up to the end of the header.
    """
    major, _ = np.lib.format.read_magic(stream)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    if major not in read:
        raise ValueError(f"Expected an array of version 1 or 2 of the format, but got {major}.")
    shape, _, dtype = read[major](stream)
    budget.check_array(name, shape, dtype.itemsize)
    if dtype.hasobject or stream.tell() + math.prod(shape) * dtype.itemsize != n_bytes:
        raise ValueError(f"Expected {name} to hold plain numbers of shape {shape}, but got others.")
