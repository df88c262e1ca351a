"""Ways to make a snapshot larger: repeat cells, interpolate between them, tile or shuffle copies.

All take one snapshot `x` of shape `(*cells, *rest)` and an integer factor for each axis of cells,
and return one of shape `(*(factor * cells), *rest)`.
"""

from functools import lru_cache

import numpy as np

from sklmacro._base.checks import check_choice

METHODS = ("replicate", "linear", "tile", "shuffle")


def enlarge(
    x: np.ndarray,
    factor: tuple[int, ...],
    method: str,
    rng: np.random.Generator,
    *,
    periodic: bool = False,
) -> np.ndarray:
    """Return `x` made larger by one of `METHODS`; "shuffle" draws from `rng`.

    An unknown method is refused, and "linear" for integer states.
    """
    if method in ("replicate", "tile"):
        return replicate(x, factor) if method == "replicate" else tile(x, factor)
    if method == "shuffle":
        return shuffle(x, factor, rng)
    check_choice(method, "method", METHODS)
    return interpolate(x, factor, periodic=periodic)


def replicate(x: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    """Repeat every cell into a block; means over all sites are kept."""
    if set(factor) == {1}:
        return x.copy()
    for axis, times in enumerate(factor):
        x = np.repeat(x, times, axis=axis)
    return x


def tile(x: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    """Put copies of the snapshot side by side; the composition is kept."""
    return np.tile(x, (*factor, *(1,) * (x.ndim - len(factor))))


def shuffle(x: np.ndarray, factor: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Put the cells of all copies in random order.

    The composition is kept and nothing else: the state of largest entropy from which LocalRelax
    builds up correlations, without a trace of the small lattice.
    """
    copies = tile(x, factor)
    cells = copies.reshape(-1, *x.shape[len(factor) :])
    return rng.permutation(cells, axis=0).reshape(copies.shape)


def interpolate(x: np.ndarray, factor: tuple[int, ...], *, periodic: bool = False) -> np.ndarray:
    """Interpolate linearly between the centres of the cells, axis by axis.

    Beyond the outermost centres an open lattice keeps the edge value (zero flux), a periodic one
    interpolates across the edge.
    """
    if not np.issubdtype(x.dtype, np.inexact):
        raise ValueError(
            f"Expected real-valued snapshots for linear interpolation, but got dtype {x.dtype}; "
            "discrete states have no values in between, so use method='replicate' or 'tile'."
        )
    for axis, times in enumerate(factor):
        left, right, weight = _neighbours(x.shape[axis], times, periodic)
        weight = weight.reshape((-1,) + (1,) * (x.ndim - axis - 1))
        x = (1 - weight) * x.take(left, axis) + weight * x.take(right, axis)
    return x


@lru_cache
def _neighbours(n: int, times: int, periodic: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cells left and right of every fine centre, and the weight of the right one."""
    centre = (np.arange(n * times) + 0.5) / times - 0.5  # in units of the small cells
    cell = np.floor(centre).astype(int)
    left, right = (cell % n, (cell + 1) % n) if periodic else np.clip((cell, cell + 1), 0, n - 1)
    return left, right, centre - cell


def tile_shifted(
    x: np.ndarray,
    factor: tuple[int, ...],
    rng: np.random.Generator,
    nearby: np.ndarray | None = None,
    *,
    periodic: bool = True,
) -> np.ndarray:
    """Tile snapshots of small integer states drawn from `nearby` (m, *x.shape), or copies of x.

    On a periodic lattice each is shifted at random first, so that edges meet at other places. Where
    the states then are not in the proportions of x, random sites of what is too many turn into what
    is too few: the composition of x is kept exactly.
    """
    n_axes = len(factor)
    sources = x[np.newaxis] if nearby is None else nearby
    cells = (c * f for c, f in zip(x.shape, factor, strict=False))
    large = np.empty((*cells, *x.shape[n_axes:]), x.dtype)
    for block in np.ndindex(*factor):
        piece = sources[rng.integers(len(sources))]
        if periodic:
            piece = np.roll(piece, rng.integers(x.shape[:n_axes]), axis=tuple(range(n_axes)))
        box = tuple(slice(b * c, (b + 1) * c) for b, c in zip(block, x.shape, strict=False))
        large[box] = piece
    wanted = np.bincount(x.ravel(), minlength=int(sources.max()) + 1) * int(np.prod(factor))
    restore_composition(large, wanted, rng)
    return large


def restore_composition(x: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> None:
    """Turn random sites of states that are too many into states that are too few, in place.

    `wanted` (n_states,) are the numbers of sites in the states 0, 1, ...
    """
    excess = np.bincount(x.ravel(), minlength=len(wanted)) - wanted
    if not excess.any():
        return
    flat = x.reshape(-1)
    surplus = [
        rng.choice(np.flatnonzero(flat == state), n, replace=False)
        for state, n in enumerate(excess)
        if n > 0
    ]
    lacking = np.repeat(np.arange(len(excess)), np.maximum(-excess, 0))
    flat[rng.permutation(np.concatenate(surplus))] = lacking


def apportion(fractions: np.ndarray, n: int) -> np.ndarray:
    """Return whole numbers that add up to `n` in the given proportions (largest remainders)."""
    exact = np.asarray(fractions) * n
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts
