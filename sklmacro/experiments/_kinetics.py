"""Magnetisation of a magnet as an SDE of its own: its law, and how fast time runs in it.

The moments of M as dt -> 0 give the law of equilibrium exactly, and too fast kinetics: M alone is
not Markov, a spin that has just flipped is the first to flip back. Within a time dt long enough to
forget that, M moves by less than the SDE says,

    c(dt) = E Var(M(dt) - M(0) | x) / E Var_SDE(M(dt) - M(0) | M(x))

which falls from 1 to a plateau. Drift and diffusion times one constant c are the SDE in slower
time: every law of equilibrium stays as it is, and all times grow by 1 / c.
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid

from sklmacro import PatchSDERegressor, SDEEnsemble
from sklmacro._jackknife import jackknife_error
from sklmacro.simulators import Ising
from sklmacro.stationary import passage_time, stationary_density

GRID = np.linspace(-1.0, 1.0, 4001)  # of M
N_MODEL_PATHS = 100  # of the SDE for each state, so that its variances are as good as known
MODEL_STEP = 0.5  # sweeps


@dataclass(frozen=True)
class TimeScale:
    """The ratio c(dt) and its standard error, both (n_dts,), at times `dts` (n_dts,)."""

    dts: np.ndarray
    c: np.ndarray
    error: np.ndarray
    updates: float  # of sites, spent


def time_scale(
    ising: Ising,
    sde: PatchSDERegressor,
    X: np.ndarray,
    dts: tuple[float, ...],
    n_replicas: int,
    seed: int,
    n_jobs: int,
) -> TimeScale:
    """Return c(dt), from `n_replicas` evolutions of each snapshot; errors by the jackknife."""
    M = ising.observe(X)[:, :1]
    paths = ising.simulate(
        np.repeat(X, n_replicas, axis=0), dts, observe=True, random_state=seed, n_jobs=n_jobs
    )[..., 0].reshape(len(X), n_replicas, -1)
    places = np.round(np.array(dts) / MODEL_STEP).astype(int)
    model = sde.simulate(M, int(places[-1]), MODEL_STEP, n_paths=N_MODEL_PATHS, random_state=seed)
    model = model[:, places, 0].reshape(len(X), N_MODEL_PATHS, -1)
    true, ours = (np.var(p, axis=1, ddof=1) for p in (paths, model))  # (n, n_dts)
    without = (true.sum(axis=0) - true) / (ours.sum(axis=0) - ours)
    c = true.sum(axis=0) / ours.sum(axis=0)
    updates = X.size * n_replicas * float(dts[-1])
    return TimeScale(np.array(dts), c, jackknife_error(without), updates)


def densities(ensemble: SDEEnsemble) -> np.ndarray:
    """Return the stationary densities of M on `GRID`, one for each member."""
    return np.stack([stationary_density(member, GRID) for member in ensemble.members_])


def law_distance(density: np.ndarray, M: np.ndarray) -> float:
    """Return the Wasserstein distance of a density on `GRID` to a sample and its mirror image."""
    both = np.sort(np.concatenate([M, -M]))
    reached = np.searchsorted(both, GRID, side="right") / len(both)
    own = cumulative_trapezoid(density, GRID, initial=0)
    return float(np.trapezoid(np.abs(own - reached), GRID))


def reversal_times(ensemble: SDEEnsemble, threshold: float) -> np.ndarray:
    """Return the mean time between reversals of M, one for each member."""
    return np.array([passage_time(m, GRID, -threshold, threshold) for m in ensemble.members_])
