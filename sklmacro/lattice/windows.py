"""Windows: boxes of cells that evolve while the rest of the lattice is frozen."""

from functools import lru_cache

from sklmacro._base.checks import check_cells
from sklmacro.lattice.lattice import Lattice

Window = tuple[tuple[int, ...], tuple[int, ...]]  # origin and extent, in cells


def check_window(lattice: Lattice, window: Window) -> Window:
    """Return `window` as tuples of integers that fit the lattice."""
    origin = check_cells(window[0], "window origin", lattice.ndim, low=0)
    extent = check_cells(window[1], "window extent", lattice.ndim)
    if any(e > c for e, c in zip(extent, lattice.cells, strict=True)):
        raise ValueError(
            f"Expected a window of at most {lattice.cells} cells, but got {extent}; "
            "make it fit the lattice."
        )
    lattice.window(origin, extent)
    return origin, extent


@lru_cache(maxsize=1 << 14)
def grown(lattice: Lattice, window: Window, width: int) -> Window:
    """Return a window enlarged by `width` cells on every side, see `Lattice.grow`."""
    return lattice.grow(*window, width)


def whole(lattice: Lattice) -> Window:
    """Return the window that is the whole lattice."""
    return (0,) * lattice.ndim, lattice.cells
