"""The factor lam on the covariance, estimated from joint evolutions of whole lattices (Eqs. 7, 15).

The likelihood takes the increments of p patches evolved apart for those of the lattice, with

    lam = Var(dz_apart | z) / Var(dz | z),      dz = (1/K) sum_J dz_J

where dz_apart is the mean over the p patches, each among frozen neighbours, and the dz_J are those
of all K patches evolved jointly. As dt -> 0 patches become independent and lam tends to K/p
(Theorem 1). For longer dt it deviates: joint patches are correlated, one among frozen neighbours
varies otherwise than one among moving ones, and the mean increment given x is not a function of z.
Because of the last, lam is conditioned on z as the likelihood is, not on x.

Given z means here: after a linear regression on the observables z*. With y_ir the increment of
replica r of snapshot i, e_i the residual of their mean in that regression, and h_i the leverage,

    Var(y | z) = mean_i [ mean_r (y_ir - mean_r y_ir)^2 + e_i^2 / (1 - h_i) ]

has no bias where variances do not depend on z.

The whole lattice evolves, not a patch and its neighbours alone: the variance of the whole is so
much less noisy than the covariance of a part with it (by 3^d + 1 to 2) that for one error it costs
no more up to some 45 patches in two and 380 in three dimensions, and it neglects nothing. lam p / K
hardly depends on K, so that a lattice of 3 or 4 patches along each axis tells it for a larger one.
"""

from typing import Any

import numpy as np

from sklmacro._base.jackknife import jackknife_error
from sklmacro._base.streams import Stage, Streams, choose, stream
from sklmacro._base.units import ROUNDING, largest, standard_scale
from sklmacro._base.workers import fill_rows, numbered_rows
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.lattice.patches import PatchGrid
from sklmacro.sampling.patches import PatchEvolver
from sklmacro.simulators.protocol import EventCount, Evolution

N_REPLICAS = 4  # evolutions of each snapshot
N_SETS = 4  # sets of p patches of each snapshot, which cost little beside the whole lattice


def check_joint(n_joint: int, n_samples: int, n_observables: int) -> None:
    """Raise ValueError unless lam can be estimated from `n_joint` of `n_samples` snapshots."""
    fewest = n_observables + 3
    if not fewest <= n_joint <= n_samples:
        raise ValueError(
            f"Expected n_joint of 0, or of {fewest} to {n_samples}, the number of snapshots, but "
            f"got {n_joint}; pass more snapshots or change n_joint."
        )


def estimate_lam(
    evolver: PatchEvolver,
    X: np.ndarray,
    grid: PatchGrid,
    n_evolved: int,
    entropy: int,
    checkpoint: Checkpoint | None = None,
    **workers: Any,
) -> tuple[float, float, np.ndarray]:
    """Estimate lam from evolutions of checked snapshots X (n_samples, *snapshot shape).

    The snapshots are more than the observables by 2 at least, and not changed. `evolver` is of one
    patch, and p = `n_evolved` of those of `grid` evolve; the whole lattice evolves for as long, or
    for K times the events. Nothing does where all observables are conserved. Finished evolutions
    are saved in `checkpoint`; `workers` are as for `fill_rows`. The result is that of
    `ratio_of_variances`.
    """
    simulator, lattice, span = evolver.simulator, grid.lattice, evolver.span
    short = grid.n_patches / n_evolved
    if not simulator.changing.any():
        return short, 0.0, np.full(simulator.n_observables, short)
    n_sets = min(N_SETS, grid.n_patches // n_evolved)
    if span.number is not None:
        span = EventCount(span.number * grid.n_patches)

    def increments_of(x: np.ndarray, k: int) -> np.ndarray:
        """Return increments (1 + n_sets, N_REPLICAS, q): the lattice's, then means over sets.

        The sets of patches are the same in all replicas.
        """
        streams = Streams(entropy, Stage.LAM, [2 * k])
        chosen = grid.origins[choose(grid.n_patches, n_sets * n_evolved, streams.keys[:, 0])]
        _, _, d_obs = evolver.apart(x[np.newaxis], np.repeat(chosen, N_REPLICAS, axis=1), streams)
        increments = np.empty((1 + n_sets, N_REPLICAS, simulator.n_observables))
        increments[1:] = d_obs.reshape(n_sets, n_evolved, N_REPLICAS, -1).mean(axis=1)
        evolution = Evolution(lattice.full_window, span, stream(entropy, Stage.LAM, 2 * k + 1))
        before = simulator.site_means(x, lattice)
        for replica in range(N_REPLICAS):
            y = x.copy()
            simulator.advance_window(y, lattice, evolution)
            change = simulator.site_means(y, lattice) - before
            increments[0, replica] = simulator.conserve(change)
        return increments

    def work(batch: np.ndarray, start: int) -> dict[str, np.ndarray]:
        return {"increments": np.array([increments_of(x, k) for k, x in enumerate(batch, start)])}

    rows = fill_rows(work, numbered_rows(X), len(X), checkpoint, desc="evolve jointly", **workers)
    return ratio_of_variances(simulator.observe(X), rows["increments"], short)


def ratio_of_variances(
    z: np.ndarray, increments: np.ndarray, short: float
) -> tuple[float, float, np.ndarray]:
    """Estimate lam from observables z (n, q) and increments (n, 1 + n_sets, N_REPLICAS, q).

    Returned are the mean over the observables, freed of the ratio's bias of the first order by the
    jackknife, its standard error, and each observable's own (q,). One that did not change, such as
    a conserved one, is left out of the mean; its own is `short`, that of dt -> 0, K/p. If none ever
    changed, a ValueError says so.
    """
    n = len(increments)
    centre = z.mean(axis=0)
    design = np.column_stack([np.ones(n), (z - centre) / standard_scale(z, centre)])
    left, size, _ = np.linalg.svd(design, full_matrices=False)
    left = left[:, size > 1e-6 * size[0]]
    mean = increments.mean(axis=2)
    flat = mean.reshape(n, -1)
    residual = (flat - left @ (left.T @ flat)).reshape(mean.shape)
    free = np.maximum(1 - (left**2).sum(axis=1), 1 / n)[:, np.newaxis, np.newaxis]
    given_z = increments.var(axis=2) + residual**2 / free  # (n, 1 + n_sets, q)
    variances = np.stack([given_z[:, 1:].mean(axis=1), given_z[:, 0]], axis=1)

    totals = variances.sum(axis=0)
    changed = (totals > n * (ROUNDING * largest(z)) ** 2).all(axis=0)
    if not changed.any():
        raise ValueError(
            f"Expected observables that change, but got none in {n} joint evolutions; raise "
            "n_joint, dt or the number of events, or set n_joint=0."
        )

    def lam_of(sums: np.ndarray) -> np.ndarray:
        return sums[..., 0, changed] / sums[..., 1, changed]

    left_out = lam_of(totals - variances)
    of_observables = np.full(len(changed), short)
    of_observables[changed] = n * lam_of(totals) - (n - 1) * left_out.mean(axis=0)
    error = jackknife_error(left_out.mean(axis=1))
    return float(of_observables[changed].mean()), float(error), of_observables
