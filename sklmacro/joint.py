"""The factor lam on the covariance, estimated from patches evolved jointly (Eqs. 7, 15).

The likelihood of one patch's increment has the covariance lam Sigma dt, where Sigma dt is that of
the lattice's. For a patch evolved apart, with variance V_apart, and the increments dz_J of all K
patches evolved jointly, whose mean is the lattice's increment,

    lam = Var(dz_I apart | x) / Var((1/K) sum_J dz_J | x) = K V_apart / sum_J Cov(dz_I, dz_J | x)

averaged over x and I. As dt -> 0 patches become independent, V_apart tends to the variance of a
patch evolved jointly, and lam to K (Theorem 1). A mean over p patches evolved apart has lam / p.

Of each snapshot a box of patches evolves in several replicas, everything outside it frozen, and
the covariance is that of the central patch and the sum over the box. Along an axis of up to `WHOLE`
patches the box is the whole lattice, with all patches central; that is exact, and the variance of
the whole is less noisy than the covariance of a part with it. Along a longer axis the box is a
patch and its two neighbours, and covariances beyond them are neglected.
"""

from typing import Any, NamedTuple

import numpy as np

from sklmacro._jackknife import jackknife_error
from sklmacro._parallel import map_batches
from sklmacro._random import Stage, Streams, choose, stream
from sklmacro.patches import PatchGrid
from sklmacro.simulators import Simulator
from sklmacro.simulators._windows import Window
from sklmacro.surroundings import Surroundings

WHOLE = 6  # patches along an axis; beyond, patches cost more than the smaller variance is worth
N_REPLICAS = 8  # joint evolutions of each snapshot
N_APART = 4  # patches of each snapshot evolved apart, which cost little


class EstimatedLam(NamedTuple):
    """Estimate of lam for one patch evolved of each snapshot.

    Attributes
    ----------
    lam, error : float
        Mean over the observables, and its standard error.
    of_observables : ndarray of shape (n_observables,)
        Each observable's own; NaN for one that did not change.
    """

    lam: float
    error: float
    of_observables: np.ndarray


def joint_box(grid: PatchGrid, origin: tuple[int, ...]) -> tuple[Window, Window, int]:
    """Return the central window and the box around the patch at `origin`, and its patches.

    The last is the number of patches that evolve, in units of a whole patch.
    """
    lattice, central, box = grid.lattice, [], []
    for o, e, n, count in zip(origin, grid.cells, lattice.cells, grid.counts, strict=True):
        if count <= WHOLE:
            central.append((0, n))
            box.append((0, n))
            continue
        start, stop = o - e, o + 2 * e
        if lattice.boundary == "open":
            start, stop = max(start, 0), min(stop, n)
        central.append((o, e))
        box.append((start % n, stop - start))
    n_patches = np.prod([size for _, size in box]) // np.prod(grid.cells)
    return tuple(zip(*central, strict=True)), tuple(zip(*box, strict=True)), int(n_patches)


def variances(
    simulator: Simulator,
    x: np.ndarray,
    grid: PatchGrid,
    around: Surroundings,
    duration: float | None,
    n_events: int | None,
    entropy: int,
    index: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return unbiased conditional variances given one snapshot `x`, which is not changed.

    Returns
    -------
    apart : ndarray of shape (n_observables,)
        Var(dz_I | x), each patch evolved apart under its own boundary.
    jointly : ndarray of shape (n_observables,)
        sum_J Cov(dz_I, dz_J | x), patches evolved jointly.
    """
    lattice = grid.lattice
    streams = Streams(entropy, Stage.LAM, 2 * index, 2 * index + 1)
    n_apart = min(N_APART, grid.n_patches)
    chosen = grid.origins[choose(grid.n_patches, n_apart, streams.keys[:, 0])]
    origins = np.repeat(chosen, N_REPLICAS, axis=1)
    _, _, d_obs = around.evolve_apart(
        simulator, x[np.newaxis], lattice, origins, grid.cells, duration, n_events, streams
    )
    apart = d_obs.reshape(n_apart, N_REPLICAS, -1).var(axis=1, ddof=1).mean(axis=0)

    central, box, n_patches = joint_box(grid, tuple(chosen[0, 0].tolist()))
    rng = stream(entropy, Stage.LAM, 2 * index + 1)
    events = None if n_events is None else n_events * n_patches
    sums = np.empty((2, N_REPLICAS, simulator.n_observables))
    for replica in range(N_REPLICAS):
        y = x.copy()
        simulator._advance_window(y, lattice, box, duration, events, rng)
        for row, window in zip(sums, (central, box), strict=True):
            row[replica] = simulator._site_sums(y, lattice, window)
    sums -= sums.mean(axis=1, keepdims=True)  # of the snapshot before, too: it is the same for all
    n_central = np.prod(central[1]) * lattice.n_basis
    jointly = (sums[0] / n_central * sums[1] / grid.sites_per_patch).sum(axis=0)
    return apart, jointly / (N_REPLICAS - 1)


def estimate_lam(
    simulator: Simulator,
    X: np.ndarray,
    grid: PatchGrid,
    around: Surroundings,
    duration: float | None,
    n_events: int | None,
    entropy: int,
    *,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> EstimatedLam:
    """Estimate lam from joint evolutions of snapshots X; the error is that of the jackknife.

    Parameters
    ----------
    simulator : Simulator
    X : ndarray of shape (n_samples, *snapshot shape)
        Checked snapshots, at least 2; not changed.
    grid : PatchGrid
        Patches of the lattice.
    around : Surroundings
        Boundary of a patch evolved apart.
    duration, n_events : float or None, int or None
        Evolution of one patch; a box has as many times the events as it has patches.
    entropy : int
        Entropy of the random streams.
    n_jobs : int, default=None
        Workers over the snapshots; the result does not depend on it.
    verbose : bool, default=False
        Show progress with the time left.

    Returns
    -------
    estimate : EstimatedLam
        Freed of the ratio's bias of the first order by the jackknife.

    Raises
    ------
    ValueError
        If the estimate is not positive, or no observable ever changed.
    """

    def work(start: int, stop: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            variances(simulator, X[k], grid, around, duration, n_events, entropy, k)
            for k in range(start, stop)
        ]

    batches = map_batches(work, len(X), n_jobs=n_jobs, verbose=verbose, desc="evolve jointly")
    found = np.array([pair for _, batch in batches for pair in batch])  # (n, 2, n_observables)
    return _ratio(found, grid.n_patches)


def _ratio(found: np.ndarray, n_patches: int) -> EstimatedLam:
    """Return lam from variances apart and jointly, (n_samples, 2, n_observables)."""
    n, totals = len(found), found.sum(axis=0)
    changed = (totals > 0).all(axis=0)
    if not changed.any() or (totals[1] < 0).any():
        raise ValueError(
            f"Expected observables that change by a measurable variance, but got {totals[1] / n} "
            f"from {n} joint evolutions; raise n_joint, dt or n_events, or set n_joint=0."
        )

    def lam_of(sums: np.ndarray) -> np.ndarray:
        return n_patches * sums[..., 0, changed] / sums[..., 1, changed]

    left_out = lam_of(totals - found)
    plain: Any = lam_of(totals)
    of_observables = np.full(len(changed), np.nan)
    of_observables[changed] = n * plain - (n - 1) * left_out.mean(axis=0)
    error = jackknife_error(left_out.mean(axis=1))
    return EstimatedLam(float(of_observables[changed].mean()), float(error), of_observables)
