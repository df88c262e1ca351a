"""The factor lam on the covariance, estimated from joint evolutions of whole lattices (Eqs. 7, 15).

The likelihood takes the increments of p patches evolved apart for those of the lattice, with

    lam = Var(dz_apart | z) / Var(dz | z),      dz = (1/K) sum_J dz_J

where dz_apart is the mean over the p patches, each among frozen neighbours, and the dz_J are those
of all K patches evolved jointly. As dt -> 0 patches become independent and lam tends to K/p
(Theorem 1). For longer dt it deviates, since joint patches are correlated, since one among frozen
neighbours varies otherwise than one among moving ones, and since the mean increment given x is not
a function of z. All three are in the ratio, and the last is why it is conditioned on z as the
likelihood is, not on x.

Given z means here: after a linear regression on the observables z*. With y_ir the increment of
replica r of snapshot i and e_i the residual of their mean in that regression,

    Var(y | z) = mean_i [ mean_r (y_ir - mean_r y_ir)^2 + e_i^2 / (1 - h_i) ]

with the leverage h_i of snapshot i, has no bias where variances do not depend on z.

The whole lattice evolves, not a patch and its neighbours alone: the variance of the whole is so
much less noisy than the covariance of a part with it (by 3^d + 1 to 2) that for one error it costs
no more up to some 45 patches in two and 380 in three dimensions, and it neglects nothing. lam p / K
hardly depends on K, so that a lattice of 3 or 4 patches along each axis tells it for a larger one.
"""

from typing import Any, NamedTuple

import numpy as np

from sklmacro._base.jackknife import jackknife_error
from sklmacro._base.streams import Stage, Streams, choose, stream
from sklmacro._base.workers import numbered_rows
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.checkpoint.rows import fill_rows
from sklmacro.lattice.patches import PatchGrid
from sklmacro.sampling.evolver import PatchEvolver
from sklmacro.simulators.protocol import EventCount, Evolution

N_REPLICAS = 4  # evolutions of each snapshot
N_SETS = 4  # sets of p patches of each snapshot, which cost little beside the whole lattice


class EstimatedLam(NamedTuple):
    """Estimate of lam.

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


def joint_increments(
    evolver: PatchEvolver, x: np.ndarray, grid: PatchGrid, n_evolved: int, entropy: int, index: int
) -> np.ndarray:
    """Return increments of one snapshot `x`, apart and jointly; x is not changed.

    Returns
    -------
    increments : ndarray of shape (1 + n_sets, N_REPLICAS, n_observables)
        Increment of the lattice, then means over sets of `n_evolved` patches, the same in all
        replicas.
    """
    simulator, lattice, span = evolver.simulator, grid.lattice, evolver.span
    streams = Streams(entropy, Stage.LAM, [2 * index])
    n_sets = min(N_SETS, grid.n_patches // n_evolved)
    chosen = grid.origins[choose(grid.n_patches, n_sets * n_evolved, streams.keys[:, 0])]
    _, _, d_obs = evolver.apart(x[np.newaxis], np.repeat(chosen, N_REPLICAS, axis=1), streams)
    increments = np.empty((1 + n_sets, N_REPLICAS, simulator.n_observables))
    increments[1:] = d_obs.reshape(n_sets, n_evolved, N_REPLICAS, -1).mean(axis=1)
    if span.number is not None:
        span = EventCount(span.number * grid.n_patches)
    evolution = Evolution(lattice.full_window, span, stream(entropy, Stage.LAM, 2 * index + 1))
    before = simulator.site_means(x, lattice)
    for replica in range(N_REPLICAS):
        y = x.copy()
        simulator.advance_window(y, lattice, evolution)
        increments[0, replica] = simulator.site_means(y, lattice) - before
    return increments


def check_joint(n_joint: int, n_samples: int, n_observables: int, moments: bool) -> None:
    """Raise ValueError unless lam can be estimated from `n_joint` of `n_samples` snapshots."""
    if moments:
        raise ValueError(
            "Expected n_joint=0 with moments=True, but got "
            f"n_joint={n_joint}; moments are those of dt -> 0, where lam is K/p exactly."
        )
    fewest = n_observables + 3
    if not fewest <= n_joint <= n_samples:
        raise ValueError(
            f"Expected n_joint of 0, or of {fewest} to {n_samples}, the number of snapshots, but "
            f"got {n_joint}; pass more snapshots or change n_joint."
        )


def joint_rows(n_joint: int, n_samples: int, entropy: int) -> np.ndarray:
    """Return which of the snapshots are evolved jointly, (n_joint,)."""
    return stream(entropy, Stage.SPLIT).permutation(n_samples)[:n_joint]


def estimate_lam(
    evolver: PatchEvolver,
    X: np.ndarray,
    grid: PatchGrid,
    n_evolved: int,
    entropy: int,
    checkpoint: Checkpoint | None = None,
    **workers: Any,
) -> EstimatedLam:
    """Estimate lam from evolutions of snapshots X; the error is that of the jackknife.

    Parameters
    ----------
    evolver : PatchEvolver
        Of one patch; the whole lattice evolves for as long, or for K times the events.
    X : ndarray of shape (n_samples, *snapshot shape)
        Checked snapshots, more than the observables by 2 at least; not changed.
    grid : PatchGrid
        Patches of the lattice.
    n_evolved : int
        Number p of patches.
    entropy : int
        Entropy of the random streams.
    checkpoint : Checkpoint, default=None
        Where finished evolutions are saved.
    **workers
        `n_jobs` and `verbose`, as for `fill_rows`.

    Returns
    -------
    estimate : EstimatedLam
        Freed of the ratio's bias of the first order by the jackknife.

    Raises
    ------
    ValueError
        If no observable ever changed.
    """

    def work(batch: np.ndarray, start: int) -> dict[str, np.ndarray]:
        numbers = range(start, start + len(batch))
        return {
            "increments": np.array(
                [
                    joint_increments(evolver, x, grid, n_evolved, entropy, k)
                    for x, k in zip(batch, numbers, strict=True)
                ]
            )
        }

    rows = fill_rows(work, numbered_rows(X), len(X), checkpoint, desc="evolve jointly", **workers)
    return ratio_of_variances(evolver.simulator.observe(X), rows["increments"])


def ratio_of_variances(z: np.ndarray, increments: np.ndarray) -> EstimatedLam:
    """Return lam from observables z (n, q) and increments (n, 1 + n_sets, N_REPLICAS, q)."""
    n = len(increments)
    design = np.column_stack([np.ones(n), (z - z.mean(axis=0)) / (z.std(axis=0) + 1e-300)])
    left, size, _ = np.linalg.svd(design, full_matrices=False)
    left = left[:, size > 1e-6 * size[0]]
    mean = increments.mean(axis=2)
    flat = mean.reshape(n, -1)
    residual = (flat - left @ (left.T @ flat)).reshape(mean.shape)
    free = np.maximum(1 - (left**2).sum(axis=1), 1 / n)[:, np.newaxis, np.newaxis]
    given_z = increments.var(axis=2) + residual**2 / free  # (n, 1 + n_sets, q)
    variances = np.stack([given_z[:, 1:].mean(axis=1), given_z[:, 0]], axis=1)

    totals = variances.sum(axis=0)
    changed = (totals > 0).all(axis=0)
    if not changed.any():
        raise ValueError(
            f"Expected observables that change, but got none in {n} joint evolutions; raise "
            "n_joint, dt or n_events, or set n_joint=0."
        )

    def lam_of(sums: np.ndarray) -> np.ndarray:
        return sums[..., 0, changed] / sums[..., 1, changed]

    left_out = lam_of(totals - variances)
    of_observables = np.full(len(changed), np.nan)
    of_observables[changed] = n * lam_of(totals) - (n - 1) * left_out.mean(axis=0)
    error = jackknife_error(left_out.mean(axis=1))
    return EstimatedLam(float(of_observables[changed].mean()), float(error), of_observables)
