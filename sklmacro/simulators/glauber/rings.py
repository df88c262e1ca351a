"""A window of the square lattice for kernels that go by tables: what it sees, and no more.

The layouts are those of `tables`, of a lattice that is the window with a ring of one cell
around it, its frozen surroundings. Neither memory nor time depends on the size of the lattice.
"""

from functools import lru_cache

import numpy as np

from sklmacro.simulators.glauber.square import load_ring, store_ring
from sklmacro.simulators.glauber.tables import pad_spins, places_inside

Sides = tuple[tuple[str, str], tuple[str, str]]  # what lies before and behind each axis


@lru_cache(maxsize=16)
def _tables(extent: tuple[int, ...], sides: Sides) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `sites`, `table` and `inside` of a window.

    Beyond each side lies its "ring", its other side ("same"), or "nothing".
    """
    rows, columns = (e + 2 for e in extent)
    n = rows * columns
    places = np.arange(n, dtype=np.uint32).reshape(rows, columns)
    sites = places[1:-1, 1:-1].flatten()
    for seen, (before, behind) in zip((places, places.T), sides, strict=True):
        if before != "ring":
            seen[0] = n if before == "nothing" else seen[-2]
        if behind != "ring":
            seen[-1] = n if behind == "nothing" else seen[1]
    table = np.full((n, 4), n, np.uint32)
    table[sites] = np.stack(  # in the order of Lattice.neighbor_offsets
        [places[:-2, 1:-1], places[1:-1, :-2], places[1:-1, 2:], places[2:, 1:-1]], axis=-1
    ).reshape(-1, 4)
    table.flags.writeable = False  # as that of a lattice: kernels are compiled once for both
    return sites, table, places_inside(sites, table)


def _sides(at: int, cells: int, n: int, periodic: bool) -> tuple[str, str]:
    if periodic:
        return ("same", "same") if cells == n else ("ring", "ring")
    return "nothing" if at == 0 else "ring", "nothing" if at + cells == n else "ring"


def window_tables(
    x: np.ndarray, origin: tuple[int, ...], extent: tuple[int, ...], periodic: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return `spins`, `sites`, `table` and `inside` of a window of spins x; the first is a copy."""
    (o0, o1), (e0, e1), (n0, n1) = origin, extent, x.shape
    ring = load_ring(x, o0, o1, e0, e1, periodic)
    sides = _sides(o0, e0, n0, periodic), _sides(o1, e1, n1, periodic)
    return pad_spins(ring.view(np.int8) - np.int8(1)), *_tables(extent, sides)


def write_back(
    spins: np.ndarray, x: np.ndarray, origin: tuple[int, ...], extent: tuple[int, ...]
) -> None:
    """Write the `spins` of a window back to x."""
    ring = (spins[:-1] + np.int8(1)).view(np.uint8)
    store_ring(ring.reshape(extent[0] + 2, extent[1] + 2), x, *origin)
