"""Windows: boxes of cells that evolve while the rest of the lattice is frozen."""

from typing import NamedTuple


class Window(NamedTuple):
    """A box of `extent` (ndim,) cells from cell `origin` (ndim,); a periodic lattice wraps it."""

    origin: tuple[int, ...]
    extent: tuple[int, ...]
