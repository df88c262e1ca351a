"""Windows: boxes of cells that evolve while the rest of the lattice is frozen."""

from typing import NamedTuple


class Window(NamedTuple):
    """A box of cells.

    Attributes
    ----------
    origin : tuple of int, (ndim,)
        First cell.
    extent : tuple of int, (ndim,)
        Number of cells along each axis. On a periodic lattice the box may wrap around.
    """

    origin: tuple[int, ...]
    extent: tuple[int, ...]
