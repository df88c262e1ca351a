"""Measures of long paths in the stationary state: laws compared, and how fast a state is forgotten.

Shape vocabulary::

    paths    (n_paths, n_times)    one component along independent paths, dt apart
"""

import math
from typing import Any

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.signal import correlate
from scipy.stats import wasserstein_distance

from sklmacro._base.checks import check_finite_numbers, check_real
from sklmacro._base.units import spread
from sklmacro.measures.scaling import Estimate

WINDOW = 5.0  # autocorrelation times over which to sum (Sokal, Monte Carlo Methods, 1997, ch. 3)


def wasserstein(x: Any, y: Any) -> float:
    """Return the Wasserstein distance of order 1 between two samples of a number.

    It is the area between their distribution functions, in the unit of the number.

    Parameters
    ----------
    x, y : array-like
        Samples of any shape and size.

    Raises
    ------
    ValueError
        If a sample is empty or not finite.

    Examples
    --------
    >>> from sklmacro.scoring import wasserstein
    >>> wasserstein([0, 1, 3], [5, 6, 8])
    5.0
    """
    return float(wasserstein_distance(check_sample(x, "x"), check_sample(y, "y")))


def check_sample(values: Any, name: str) -> np.ndarray:
    """Return finite numbers of any shape as a flat array of at least one."""
    sample = check_finite_numbers(values, name).ravel()
    if not len(sample):
        raise ValueError(f"Expected values {name}, but got none; pass at least one.")
    return sample


def stationary_density(sde: Any, grid: Any, context: Any = None) -> np.ndarray:
    """Return the stationary density of a one-dimensional SDE, without simulating it.

    The Fokker-Planck equation of dz = mu dt + Sigma^(1/2) dB (Ito) without a current has

        p(z) = C / Sigma(z) exp( int^z 2 mu / Sigma dz' ),

    here by the trapezoidal rule (C. W. Gardiner, Stochastic Methods, 4th ed., Sec. 5.3.3).

    Parameters
    ----------
    sde : PatchSDERegressor, OnsagerSDE or SDEEnsemble
        A fitted SDE with a state of one component.
    grid : array-like of shape (n,)
        Increasing values of z, as far as the density reaches.
    context : array-like of shape (n_context,), default=None
        Outer parameters.

    Returns
    -------
    density : ndarray of shape (n,)
        Normalised on the grid.

    Raises
    ------
    ValueError
        If the state has several components or never changes, or the grid does not increase.
    """
    grid = check_finite_numbers(grid, "grid")
    if grid.ndim != 1 or len(grid) < 2 or not (np.diff(grid) > 0).all():
        raise ValueError(
            f"Expected a grid of at least 2 increasing values, but got one of shape {grid.shape}; "
            "pass for instance numpy.linspace(-1, 1, 1001)."
        )
    if sde.n_state_ != 1:
        raise ValueError(
            f"Expected an SDE of one component, but got one of {sde.n_state_}; simulate it, or fit "
            "the first component alone."
        )
    sigma = sde.diffusion(grid[:, None], context)[:, 0, 0]
    if not sigma.any():
        raise ValueError(
            "Expected an SDE with noise, but got one whose state never changes; its law is the one "
            "that it starts with."
        )
    force = 2 * sde.drift(grid[:, None], context)[:, 0] / sigma
    potential = cumulative_trapezoid(force, grid, initial=0)
    density = np.exp(potential - potential.max()) / sigma
    return density / np.trapezoid(density, grid)


def passage_time(sde: Any, grid: Any, start: float, stop: float, context: Any = None) -> float:
    """Return the mean time that a one-dimensional SDE takes from `start` up to `stop`.

    With the stationary density p, and the grid's first value a wall that throws paths back,

        time = int_start^stop 2 / (Sigma(z) p(z)) int_low^z p(z') dz' dz

    (C. W. Gardiner, Stochastic Methods, 4th ed., Sec. 5.5). From -threshold to threshold, where the
    law is even, it is the time between reversals that `reversal_time` measures on long paths.

    Parameters
    ----------
    sde, grid, context : as in `stationary_density`
    start, stop : float
        `start` lies below `stop`, both within the grid.

    Returns
    -------
    time : float
        In the SDE's unit of time; infinite where the density vanishes on the way.

    Raises
    ------
    ValueError
        If `start` and `stop` do not lie within the grid in this order, or as in
        `stationary_density`.
    """
    density = stationary_density(sde, grid, context)
    grid = np.asarray(grid, float)
    start, stop = check_real(start, "start"), check_real(stop, "stop")
    if not grid[0] <= start < stop <= grid[-1]:
        raise ValueError(
            f"Expected start < stop within the grid from {grid[0]:g} to {grid[-1]:g}, but got "
            f"{start:g} and {stop:g}; for a way down, use the way up of -z."
        )
    z = np.union1d(grid[(grid > start) & (grid < stop)], [start, stop])
    sigma = sde.diffusion(grid[:, None], context)[:, 0, 0]
    below = np.interp(z, grid, cumulative_trapezoid(density, grid, initial=0))
    flow = np.interp(z, grid, sigma * density)
    with np.errstate(divide="ignore", over="ignore"):  # a density of 0 lets nothing through
        waits = np.divide(2 * below, flow, out=np.zeros_like(z), where=below > 0)
    return float(np.trapezoid(waits, z))


def reversal_time(paths: Any, dt: float, *, threshold: float = 0.3) -> Estimate:
    """Return the mean time between reversals, as of the magnetisation, with its standard error.

    A path is up from when it reaches `threshold` until it reaches -`threshold`, and down
    from then on until it is back: what it does in between is no reversal. The mean time is the
    total time from each path's first arrival at a threshold over the number of reversals, so that
    times cut off by the end of a path are counted rightly; it is the maximum likelihood estimate
    where reversals come at a constant rate.

    Parameters
    ----------
    paths : array-like of shape (n_paths, n_times)
        At least two independent paths.
    dt : float
        Time between two points of a path.
    threshold : float, default=0.3
        Positive.

    Returns
    -------
    time : Estimate
        In the unit of `dt`; the error is that of a ratio of sums over independent paths. Both are
        infinite where no path was reversed.

    Examples
    --------
    >>> from sklmacro.scoring import reversal_time
    >>> reversal_time([[1, 1, -1, 0, 1], [-1, -1, 0, 0, 1]], dt=0.5).value
    1.3333333333333333
    """
    paths, dt = _check_paths(paths, dt)
    threshold = check_real(threshold, "threshold", low=0.0, strict=True)
    reached = (paths >= threshold).astype(int) - (paths <= -threshold)
    # The state is the last threshold reached; before the first there is none.
    last = np.maximum.accumulate(np.where(reached != 0, np.arange(paths.shape[1]), -1), axis=1)
    state = np.where(last < 0, 0, np.take_along_axis(reached, np.maximum(last, 0), axis=1))
    reversals = (state[:, 1:] * state[:, :-1] < 0).sum(axis=1)
    times = dt * np.maximum((state != 0).sum(axis=1) - 1, 0)
    if not reversals.any():
        return Estimate(math.inf, math.inf)
    mean = times.sum() / reversals.sum()
    n = len(paths)
    spread = np.sum((times - mean * reversals) ** 2)  # of a ratio: Cochran, Sampling Techniques
    return Estimate(float(mean), float(np.sqrt(n / (n - 1) * spread) / reversals.sum()))


def autocorrelation_time(paths: Any, dt: float) -> float:
    """Return the integrated autocorrelation time dt (1/2 + sum_k C(k dt) / C(0)), in dt's unit.

    It is about the decay time of an exponential correlation; a path of length t has the accuracy of
    t / (2 time) independent values. The sum ends at `WINDOW` times itself, where its noise would
    take over.

    Parameters
    ----------
    paths, dt
        As in `reversal_time`; the paths are in the stationary state and have one mean.

    Raises
    ------
    ValueError
        If the paths do not vary, or are shorter than `WINDOW` autocorrelation times.
    """
    paths, dt = _check_paths(paths, dt)
    n = paths.shape[1]
    centred = paths - paths.mean()
    sums = np.sum([correlate(x, x, method="fft")[n - 1 :] for x in centred], axis=0)
    covariance = sums / np.arange(n, 0, -1)
    if not spread(paths.reshape(-1, 1), paths.mean()).any():
        raise ValueError("Expected paths that vary, but got a constant; leave it out.")
    steps = 0.5 + np.cumsum(covariance[1:] / covariance[0])
    enough = np.flatnonzero(np.arange(1, n) >= WINDOW * steps)
    if not len(enough):
        raise ValueError(
            f"Expected paths longer than {WINDOW:g} autocorrelation times, but got {n} points, "
            "over which they stay correlated; use longer paths."
        )
    return float(dt * steps[enough[0]])


def _check_paths(paths: Any, dt: float) -> tuple[np.ndarray, float]:
    """Return finite paths (n_paths >= 2, n_times >= 2) and a positive dt."""
    paths = check_finite_numbers(paths, "paths")
    if paths.ndim != 2 or min(paths.shape) < 2:
        raise ValueError(
            "Expected paths of one component of shape (n_paths >= 2, n_times >= 2), but got "
            f"{paths.shape}; choose a component, such as paths[:, :, 0]."
        )
    return paths, check_real(dt, "dt", low=0.0, strict=True)
