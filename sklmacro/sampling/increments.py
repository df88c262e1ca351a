"""Increments of patches, as fields of snapshot pairs: those of an evolution, or their moments.

Shape vocabulary, p patches of each of n snapshots::

    x           (n, *snapshot shape)
    origins     (n, p, n_axes)          first cells of the patches
"""

import numpy as np

from sklmacro._base.streams import Streams
from sklmacro.lattice.patches import PatchGrid
from sklmacro.sampling.boundary import Surroundings
from sklmacro.simulators import Simulator


def evolved_patches(
    simulator: Simulator,
    x: np.ndarray,
    grid: PatchGrid,
    origins: np.ndarray,
    around: Surroundings,
    duration: float | None,
    n_events: int | None,
    streams: Streams,
) -> dict[str, np.ndarray]:
    """Evolve patches, each by itself; return what pairs have of it (Eq. 3)."""
    patches, elapsed, d_obs = around.evolve_apart(
        simulator, x, grid.lattice, origins, grid.cells, duration, n_events, streams
    )
    return {
        "origin": origins,
        "x_next": patches,
        "d_obs": d_obs.mean(axis=1),
        "dt": elapsed.mean(axis=1),
    }


def moments_of_patches(
    simulator: Simulator, x: np.ndarray, grid: PatchGrid, origins: np.ndarray, dt: float
) -> dict[str, np.ndarray]:
    """Return the moments of the mean over the patches, as pairs of moments have them.

    Patches change independently as dt -> 0, so that the covariances of p of them add up, and that
    of their mean is the mean of the covariances over p.
    """
    b, A = simulator._moments_apart(x, grid.lattice, origins, grid.cells)
    n_s, p = grid.sites_per_patch, origins.shape[1]
    return {
        "origin": origins,
        "extent": np.tile(grid.cells, (len(x), 1)),
        "d_obs": b.mean(axis=1) / n_s * dt,
        "cov_obs": A.mean(axis=1) / (p * n_s**2) * dt,
        "dt": np.full(len(x), dt),
    }
