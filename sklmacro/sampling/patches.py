"""Which patches of a large snapshot evolve, and which snapshots evolve as a whole."""

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator

from sklmacro._base.checks import check_cells, check_choice, check_integer
from sklmacro._base.streams import choose
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid


class Patches(BaseEstimator):
    """Which patches of a large snapshot evolve.

    Parameters
    ----------
    cells : int or sequence of int, default=None
        Cells of a patch; None takes the whole lattice.
    n_evolved : int, default=1
        Different patches p evolved of each snapshot, at most K; increments are averaged over them.
    origins : {"grid", "random"}, default="grid"
        Patches of the grid, or patches at random places of a periodic lattice.
    n_joint : int, default=0
        Snapshots of which the whole lattice is also evolved, 4 times each, to estimate the factor
        lam on the covariance; 0 estimates none. Its standard error is at best lam/sqrt(n_joint).

    Examples
    --------
    >>> from sklmacro import PartialEvolutionSampler, Patches
    >>> PartialEvolutionSampler(patch=Patches(16, n_evolved=4))
    PartialEvolutionSampler(patch=Patches(cells=16, n_evolved=4))
    """

    def __init__(
        self,
        cells: int | Sequence[int] | None = None,
        *,
        n_evolved: int = 1,
        origins: str = "grid",
        n_joint: int = 0,
    ):
        self.cells = cells
        self.n_evolved = n_evolved
        self.origins = origins
        self.n_joint = n_joint

    def grid(self, lattice: Lattice) -> PatchGrid:
        """Return the patches that tile a lattice.

        Raises
        ------
        ValueError
            If they do not, or a parameter does not fit.
        """
        whole = self.cells is None
        grid = PatchGrid(
            lattice, lattice.cells if whole else check_cells(self.cells, "patch", lattice.ndim)
        )
        p = check_integer(self.n_evolved, "n_evolved", low=1)
        if p > grid.n_patches:
            raise ValueError(
                f"Expected n_evolved of at most K={grid.n_patches}, the number of patches, but got "
                f"{p}; evolve fewer patches, or use smaller ones."
            )
        check_choice(self.origins, "origins", ("grid", "random"))
        check_integer(self.n_joint, "n_joint", low=0)
        if self.origins == "random" and lattice.boundary == "open":
            raise ValueError(
                "Expected a periodic lattice for origins='random', but got an open one; sites near "
                "its edges would be evolved too rarely, so use origins='grid'."
            )
        return grid

    def draw(self, grid: PatchGrid, keys: np.ndarray) -> np.ndarray:
        """Draw origins (n, p, ndim) of different patches of n snapshots, by keys (n, 4)."""
        origins = grid.origins[choose(len(grid.origins), self.n_evolved, keys[:, 0])]
        if self.origins == "grid":
            return origins
        cells = grid.lattice.cells
        axes = zip(cells, keys[:, 1:].T, strict=False)
        shifts = np.stack([choose(n, 1, key) for n, key in axes], axis=-1)
        return (origins + shifts) % cells  # the whole grid: the patches stay disjoint


def as_patches(value: int | Sequence[int] | Patches | None) -> Patches:
    """Return patches; cells, or None for the whole lattice, are short for `Patches(cells)`."""
    return value if isinstance(value, Patches) else Patches(value)
