"""Patches that tile a lattice.

Shape vocabulary, with the lattice's own of `sklmacro.lattice.lattice`::

    patch         (*patch_shape, *trailing)     trailing: nothing, or the fields of a site
    patches       (n_samples, n_patches, *patch_shape, *trailing)

Patches are numbered in C order: the last axis runs fastest.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklmacro._base.checks import check_cells, check_integer, check_unmasked
from sklmacro.lattice.lattice import Lattice

MOST_CELLS_TO_DIVIDE = 10_000  # of which an error lists the divisors


def _check_shape(
    name: str, array: np.ndarray, shape: tuple[int, ...], leading: tuple[str, ...] = ()
) -> None:
    """Refuse an array that lacks the axes `leading`, then `shape`; fields may follow."""
    if array.shape[len(leading) : len(leading) + len(shape)] != shape:
        expected = ", ".join(map(str, (*leading, *shape)))
        raise ValueError(
            f"Expected {name} of shape ({expected}) or ({expected}, *fields), "
            f"but got shape {array.shape}; reshape it, or use a lattice and patches of its size."
        )


def _divisors(n: int) -> str:
    """Write out the divisors of `n`: "1, 2 or 4"."""
    if n > MOST_CELLS_TO_DIVIDE:
        return f"any divisor of {n}"
    *others, last = (str(d) for d in range(1, n + 1) if n % d == 0)
    return f"{', '.join(others)} or {last}" if others else last


@dataclass(frozen=True)
class PatchGrid:
    """Equal patches that tile a lattice.

    The average of a site quantity over the lattice is the average over the K patches of its
    patch averages; with a patch encoder in place of the inner average this is Eq. 1.

    Parameters
    ----------
    lattice : Lattice
        The lattice to tile.
    cells : tuple of int, (ndim,)
        Number of unit cells of a patch along each axis.

    Raises
    ------
    ValueError
        If `cells` is not one positive integer per axis, or does not divide the lattice's cells.
        Methods raise it for an array of another shape, and `halo` for a patch that sticks out of an
        open lattice, or a negative `width`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro.lattice import Lattice, PatchGrid
    >>> grid = PatchGrid(Lattice("square", (4, 4)), (2, 2))
    >>> X = np.arange(16).reshape(1, 4, 4)
    >>> grid.split(X).shape, grid.split(X)[0, 1].tolist()
    ((1, 4, 2, 2), [[2, 3], [6, 7]])
    >>> bool(np.all(grid.join(grid.split(X)) == X))
    True
    """

    lattice: Lattice
    cells: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = self.lattice.cells
        cells = check_cells(self.cells, "cells of a patch", self.lattice.ndim)
        object.__setattr__(self, "cells", cells)
        sizes = enumerate(zip(whole, cells, strict=True))
        if remedies := [f"axis {k} takes {_divisors(n)} cells" for k, (n, c) in sizes if n % c]:
            raise ValueError(
                "Expected patches that tile the lattice, but got some that do not: cells "
                f"{whole} are not divisible by patch {cells}; {'; '.join(remedies)}."
            )

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of patches along each axis."""
        return tuple(n // c for n, c in zip(self.lattice.cells, self.cells, strict=True))

    @property
    def n_patches(self) -> int:
        """Number K of patches."""
        return math.prod(self.counts)

    @property
    def sites_per_patch(self) -> int:
        """Number n_s of sites in a patch."""
        return self.patch_lattice.n_sites

    @cached_property
    def origins(self) -> np.ndarray:
        """First cell of every patch, int64 (n_patches, ndim), read-only."""
        grid = np.indices(self.counts, dtype=np.int64)
        origins = grid.reshape(self.lattice.ndim, -1).T * np.array(self.cells)
        origins.setflags(write=False)
        return origins

    @property
    def patch_lattice(self) -> Lattice:
        """A lattice of the size of one patch, with the kind and boundary of the whole."""
        return replace(self.lattice, cells=self.cells)

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Shape of one patch: its cells, then `n_basis` where it exceeds 1."""
        return self.patch_lattice.site_shape

    def split(self, X: np.ndarray) -> np.ndarray:
        """Cut snapshots X (n_samples, *site_shape, *trailing) into patches.

        They have the shape (n_samples, n_patches, *patch_shape, *trailing) and the order of
        `origins`, and may share memory with X.
        """
        X = np.asarray(check_unmasked(X, "X"))
        _check_shape("X", X, self.lattice.site_shape, ("n_samples",))
        n_samples, ndim = len(X), self.lattice.ndim
        rest = X.shape[1 + ndim :]
        interleaved = [m for pair in zip(self.counts, self.cells, strict=True) for m in pair]
        boxes = X.reshape(n_samples, *interleaved, *rest)
        boxes = np.moveaxis(boxes, range(1, 2 * ndim, 2), range(1, 1 + ndim))
        return boxes.reshape(n_samples, self.n_patches, *self.cells, *rest)

    def join(self, patches: np.ndarray) -> np.ndarray:
        """Put patches (n_samples, n_patches, *patch_shape, *trailing) together; undoes `split`.

        The snapshots (n_samples, *site_shape, *trailing) may share memory with `patches`.
        """
        patches = np.asarray(check_unmasked(patches, "patches"))
        _check_shape("patches", patches, (self.n_patches, *self.patch_shape), ("n_samples",))
        n_samples, ndim = len(patches), self.lattice.ndim
        rest = patches.shape[2 + ndim :]
        boxes = patches.reshape(n_samples, *self.counts, *self.cells, *rest)
        boxes = np.moveaxis(boxes, range(1, 1 + ndim), range(1, 2 * ndim, 2))
        return boxes.reshape(n_samples, *self.lattice.cells, *rest)

    def tile(self, patch: np.ndarray) -> np.ndarray:
        """Repeat one patch (n_samples, *patch_shape, *trailing) over the grid of each snapshot.

        The snapshots (n_samples, *site_shape, *trailing) are new memory.
        """
        patch = np.asarray(check_unmasked(patch, "patch"))
        _check_shape("patch", patch, self.patch_shape, ("n_samples",))
        unrepeated = patch.ndim - 1 - self.lattice.ndim
        return np.tile(patch, (1, *self.counts, *(1,) * unrepeated))

    def halo(
        self, x: np.ndarray, origin: tuple[int, ...], width: int, fill: float = 0
    ) -> np.ndarray:
        """Cut one patch with a margin of `width` cells on every side out of a snapshot.

        The snapshot x is (*site_shape, *trailing). The first cell `origin` (ndim,) of the patch
        need not be one of `origins`, and `width` is at least 0. Outside an open lattice the value
        is `fill`; a periodic one is wrapped, as often as needed. The patch and its margin, of shape
        (*(cells + 2 width), n_basis where it exceeds 1, *trailing), are new memory.
        """
        x = np.asarray(x)
        _check_shape("x", x, self.lattice.site_shape)
        origin, cells = self.lattice.box(origin, self.cells)
        check_integer(width, "width", low=0, remedy="pass 0 for no margin")
        axes = [np.arange(o - width, o + c + width) for o, c in zip(origin, cells, strict=True)]
        box = x[np.ix_(*(axis % n for axis, n in zip(axes, self.lattice.cells, strict=True)))]
        if self.lattice.boundary == "open":
            for k, (axis, n) in enumerate(zip(axes, self.lattice.cells, strict=True)):
                box[(slice(None),) * k + ((axis < 0) | (axis >= n),)] = fill
        return box
