"""Magnetisation of a magnet as an SDE of its own: its law, and how fast time runs in it.

The moments of M as dt -> 0 give the law of equilibrium exactly, and too fast kinetics: M alone is
not Markov, a spin that has just flipped is the first to flip back. Within a time dt long enough to
forget that, M moves as far as the SDE says it does in a shorter time c dt,

    E Var(M(dt) | x) = E Var_SDE(M(c dt) | M(x))

c falls from 1, as dt grows, and is taken where it matters: at the time in which the SDE forgets |M|
within one of its two wells,

    tau = 1 / Var |M|  int 2 / (Sigma p) ( int_{-1}^z (|z'| - <|M|>) p dz' )^2 dz

(integrated autocorrelation time of a reversible diffusion). Drift and diffusion times one constant
c are the SDE in slower time: every law of equilibrium stays as it is, and all times grow by 1 / c.
"""

from typing import NamedTuple

import numpy as np
from scipy.integrate import cumulative_trapezoid

from sklmacro import PatchSDERegressor, SDEEnsemble
from sklmacro._base.jackknife import jackknife_error
from sklmacro.measures.stationary import passage_time, stationary_density
from sklmacro.simulators import Ising

GRID = np.linspace(-1.0, 1.0, 4001)  # of M
N_MODEL_PATHS = 100  # of the SDE for each state, so that its variances are as good as known
N_MODEL_STEPS = 256  # of such a path, 1.5 tau long
SHARES = (1 / 64, 1 / 16, 1 / 4, 1.0)  # of tau, at which c is measured; it is taken at the last


class TimeScale(NamedTuple):
    """The constant c and its standard error, both (n_dts,), at times `dts` (n_dts,)."""

    dts: np.ndarray
    c: np.ndarray
    error: np.ndarray
    updates: float  # of sites, spent


def forgetting_time(sde: PatchSDERegressor) -> float:
    """Return the integrated autocorrelation time of |M| in the stationary state."""
    p, sigma = stationary_density(sde, GRID), sde.diffusion(GRID[:, None])[:, 0, 0]
    f = np.abs(GRID) - np.trapezoid(np.abs(GRID) * p, GRID)
    inner = cumulative_trapezoid(f * p, GRID, initial=0)
    seen = p > 1e-12 * p.max()  # beyond, both factors vanish
    inner, p, sigma, grid = inner[seen], p[seen], sigma[seen], GRID[seen]
    return float(
        np.trapezoid(2 * inner**2 / (sigma * p), grid) / np.trapezoid(f[seen] ** 2 * p, grid)
    )


def time_scale(
    ising: Ising, sde: PatchSDERegressor, X: np.ndarray, n_replicas: int, seed: int, n_jobs: int
) -> TimeScale:
    """Return c(dt), from `n_replicas` evolutions of each snapshot; errors by the jackknife."""
    tau, M = forgetting_time(sde), ising.observe(X)[:, :1]
    dts = tau * np.array(SHARES)
    paths = ising.simulate(
        np.repeat(X, n_replicas, axis=0), dts, observe=True, random_state=seed, n_jobs=n_jobs
    )[..., 0].reshape(len(X), n_replicas, -1)
    step = 1.5 * tau / N_MODEL_STEPS
    model = sde.simulate(M, N_MODEL_STEPS, step, n_paths=N_MODEL_PATHS, random_state=seed)
    model = model[..., 0].reshape(len(X), N_MODEL_PATHS, -1)
    true, ours = (np.var(p, axis=1, ddof=1) for p in (paths, model))  # (n, n_dts), (n, n_steps + 1)
    own_times = step * np.arange(N_MODEL_STEPS + 1)

    def scale(true: np.ndarray, ours: np.ndarray) -> np.ndarray:
        return np.interp(true, np.maximum.accumulate(ours), own_times) / dts

    whole = true.sum(axis=0), ours.sum(axis=0)
    without = np.stack([scale(whole[0] - a, whole[1] - b) for a, b in zip(true, ours, strict=True)])
    updates = X.size * n_replicas * float(dts[-1])
    return TimeScale(dts, scale(*whole), jackknife_error(without), updates)


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
