"""Choice of dt: rates and diffusion over a range of evolution times.

    rate_k(dt)      = - d E[dz_k | z] / d z_k / dt
    diffusion_k(dt) = Var(dz_k | x) / (K dt)

dz is the increment within dt of a patch's observables, or of the whole lattice's (K = 1). A short
dt overstates both, by motion that z cannot remember, such as a vacancy that jumps straight back.
Within a long one z relaxes, and patches come to depend on each other. In between, where the time
scales of z and of everything else lie apart, both curves are flat: there dt belongs.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from sklmacro._base.checks import check_integer, check_real, check_times
from sklmacro._base.jackknife import jackknife_error
from sklmacro._base.streams import Stage, Streams, choose, resolve_entropy, stream
from sklmacro._base.units import standard_scale
from sklmacro._base.workers import map_batches, numbered_rows
from sklmacro.lattice.windows import Window
from sklmacro.sampling.boundary import Boundary, as_boundary
from sklmacro.sampling.patches import Patches, PatchEvolver
from sklmacro.simulators import Simulator, resolve_simulator

NEGLIGIBLE = 1e-2  # spread, over the largest, of a combination of observables left out of z
N_ERRORS = 3  # standard errors of a difference; equal values exceed them once in 370 comparisons


class PlateauWarning(UserWarning):
    """A dt lies outside the plateau of rates and diffusion."""


@dataclass(frozen=True)
class Plateau:
    """Rates and diffusion over dt, and the interval in which they are flat.

    Attributes
    ----------
    dts : ndarray of shape (n_dts,)
        Evolution times, increasing; 0 stands first where the simulator has exact moments
        (`Simulator.moments`), with theirs.
    names : tuple of str
        Names of the observables.
    rate, rate_error : ndarray of shape (n_dts, n_observables)
        Relaxation rate of each observable in 1/time, the others held fixed: minus the diagonal of
        the matrix of the regression of the mean increment over dt on z*; and its standard error.
    diffusion, diffusion_error : ndarray of shape (n_dts, n_observables)
        Diagonal of the lattice's diffusion Sigma, in units of the observable squared over time; and
        its standard error.
    interval : tuple of (float, float) or None
        First and last dt of the run of dts, widest by the ratio of the two, of which no two differ
        in any rate or diffusion by more than both the tolerance and three standard errors of the
        difference; None where no two neighbours agree. Noisy curves hide differences: look at the
        errors.
    tolerance : float
        Largest relative difference within the interval.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro.scoring import dt_plateau
    >>> from sklmacro.simulators import LinearChain
    >>> chain = LinearChain(force=0.0, gamma=0.1)
    >>> X = chain.sample_initial(40, 12, random_state=0)
    >>> plateau = dt_plateau(chain, X, [0.1, 0.2, 0.4, 10.0, 40.0], random_state=0)
    >>> plateau.interval, plateau.contains(0.3), plateau.contains(40.0)
    ((0.0, 0.4), True, False)
    """

    dts: np.ndarray
    names: tuple[str, ...]
    rate: np.ndarray
    rate_error: np.ndarray
    diffusion: np.ndarray
    diffusion_error: np.ndarray
    interval: tuple[float, float] | None
    tolerance: float = field(default=0.1, kw_only=True)

    def contains(self, dt: float) -> bool:
        """Tell whether dt lies in the interval."""
        return self.interval is not None and self.interval[0] <= dt <= self.interval[1]

    def check(self, dt: float) -> None:
        """Warn if dt lies outside the interval.

        Warns
        -----
        PlateauWarning
            With what is wrong and what to do about it.
        """
        dt = check_real(dt, "dt", low=0.0, strict=True)
        if self.contains(dt):
            return
        if self.interval is None:
            text = (
                f"Expected dt={dt:g} to lie where rates and diffusion are flat, but no two of the "
                f"dts from {self.dts[0]:g} to {self.dts[-1]:g} agree within {self.tolerance:.0%}; "
                "study more dts, closer together, or add observables or closure variables, since z "
                "does not move more slowly than all else."
            )
        else:
            low, high = self.interval
            short = dt < low
            reason = (
                "z is not yet Markov within so short a time, and instantaneous rates overstate "
                "the kinetics"
                if short
                else "z relaxes or patches come to depend on each other within so long a time"
            )
            text = (
                f"Expected dt within [{low:g}, {high:g}], where rates and diffusion are flat, but "
                f"got {dt:g}: {reason}; use a {'longer' if short else 'shorter'} dt."
            )
        warnings.warn(text, PlateauWarning, stacklevel=2)


def dt_plateau(
    simulator: Simulator,
    X: Any,
    dts: Any,
    *,
    patch: int | Sequence[int] | None = None,
    boundary: Boundary | str | int = "ghost",
    n_replicas: int = 8,
    tolerance: float = 0.1,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Plateau:
    """Estimate rates and diffusion over a range of dt from the same start states.

    Each replica of a start state goes through all dts on one path, so that the curves are smooth.
    Errors are those of the jackknife over the start states, which are taken to be independent.

    Parameters
    ----------
    simulator : Simulator
    X : array-like of shape (n_samples, *snapshot shape)
        Start states, large snapshots; not changed.
    dts : array-like of shape (n_dts,)
        Increasing evolution times above 0, at least 2.
    patch : int or sequence of int, default=None
        Cells of the patch to evolve of each start state, drawn at random; None evolves the whole
        lattice.
    boundary : "ghost", "periodic" or int, default="ghost"
        What surrounds a patch, as in `PartialEvolutionSampler`.
    n_replicas : int, default=8
        Evolutions of each start state, at least 2.
    tolerance : float, default=0.1
        Largest relative difference within the plateau.
    random_state : None, int, RandomState or Generator, default=None
        Seed; every replica has its own stream.
    n_jobs : int, default=None
        Workers over the start states; the result does not depend on it.

    Returns
    -------
    plateau : Plateau

    Raises
    ------
    ValueError
        If there are too few start states for a regression on the observables, or a parameter does
        not fit.
    """
    simulator = resolve_simulator(simulator)
    X = simulator.check_snapshots(X)
    lattice = simulator.lattice(X.shape[1:])
    grid, times = Patches(patch).grid(lattice), check_times(dts)
    if len(times) < 2 or times[0] == 0:
        raise ValueError(
            f"Expected at least 2 dts above 0, but got {times.tolist()}; pass for instance "
            "numpy.geomspace(0.1, 10, 9)."
        )
    span = simulator.check_span(float(times[0]))
    evolver = PatchEvolver(simulator, lattice, grid.cells, as_boundary(boundary), span)
    n_replicas = check_integer(n_replicas, "n_replicas", low=2)
    tolerance = check_real(tolerance, "tolerance", low=0.0)
    fewest = simulator.n_observables + 3
    if len(X) < fewest:
        raise ValueError(
            f"Expected at least {fewest} start states for {simulator.n_observables} observables, "
            f"but got {len(X)}; pass more snapshots."
        )
    entropy, steps = resolve_entropy(random_state), np.diff(times, prepend=0.0)

    def moments_of(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance (n_dts, n_observables) of a patch's increments given x."""
        key = Streams(entropy, Stage.PLATEAU, [k]).keys[:, 0]
        origin = grid.origins[choose(grid.n_patches, 1, key)[0, 0]]
        window, rng = Window(tuple(origin.tolist()), grid.cells), stream(entropy, Stage.PLATEAU, k)
        d_obs = np.array([evolver.follow(x.copy(), window, steps, rng) for _ in range(n_replicas)])
        return d_obs.mean(axis=0), d_obs.var(axis=0, ddof=1)

    def work(batch: np.ndarray, start: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [moments_of(x, k) for k, x in enumerate(batch, start)]

    batches = map_batches(work, numbered_rows(X), len(X), n_jobs=n_jobs)
    moments = np.array([pair for _, batch in batches for pair in batch])  # (n, 2, n_dts, q)
    moments /= times[:, np.newaxis]
    moments[:, 1] /= grid.n_patches
    try:
        simulator.check_moments()
    except ValueError:
        pass  # the curves begin at the first dt
    else:
        drift, covariance = simulator.moments(X, n_jobs=n_jobs)
        at_zero = np.stack([drift, np.diagonal(covariance, axis1=1, axis2=2)], axis=1)
        times = np.concatenate([[0.0], times])
        moments = np.concatenate([at_zero[:, :, np.newaxis], moments], axis=2)
    slopes, slopes_left_out = regression(simulator.observe(X), moments[:, 0])
    variances = moments[:, 1]
    total = variances.sum(axis=0)
    curves = np.stack([-slopes, total / len(X)])
    left_out = np.stack([-slopes_left_out, (total - variances) / (len(X) - 1)], axis=1)
    errors = jackknife_error(left_out)
    return Plateau(
        times, simulator.observable_names, curves[0], errors[0], curves[1], errors[1],
        flat_interval(times, curves, left_out, tolerance), tolerance=tolerance,
    )  # fmt: skip


def regression(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope of each y_k (n, n_dts, q) in its own z_k, the other z (n, q) held fixed.

    Combinations of the observables in which the states hardly differ (`NEGLIGIBLE`) count as
    constant: those that conservation laws bind together. The slopes are (n_dts, q); those without
    each sample in turn, (n, n_dts, q), follow.
    """
    n = len(z)
    centre = z.mean(axis=0)
    scale = standard_scale(z, centre)  # infinite for a constant, which has no slope
    u = (z - centre) / scale
    inverse = np.linalg.pinv(u, rcond=NEGLIGIBLE)  # (q, n)
    residual = y - y.mean(axis=0)
    slopes = np.einsum("kn,ntl->tkl", inverse, residual)
    residual = residual - np.einsum("nk,tkl->ntl", u, slopes)
    # One sample less, in closed form: R. D. Cook and S. Weisberg, Residuals and Influence (1982).
    free = np.maximum(1 - 1 / n - np.einsum("nk,kn->n", u, inverse), 1 / n)
    own = np.diagonal(slopes, axis1=1, axis2=2)
    change = np.einsum("kn,ntk->ntk", inverse, residual) / free[:, np.newaxis, np.newaxis]
    return own / scale, (own - change) / scale


def flat_interval(
    times: np.ndarray, curves: np.ndarray, left_out: np.ndarray, tolerance: float
) -> tuple[float, float] | None:
    """Return the first and last time of the widest run, by their ratio, in which curves are flat.

    It is None if all runs have a single time. `curves` are (n_curves, n_times, q), and `left_out`
    (n, n_curves, n_times, q) those without each sample in turn; `tolerance` is the largest relative
    difference.
    """
    pairs = list(combinations(range(len(times)), 2))
    differ = []
    for i, j in pairs:
        change = np.abs(curves[:, j] - curves[:, i])
        error = jackknife_error(left_out[:, :, j] - left_out[:, :, i])
        largest = np.maximum(np.abs(curves[:, j]), np.abs(curves[:, i]))
        if not (change <= np.maximum(tolerance * largest, N_ERRORS * error)).all():
            differ.append((i, j))
    runs = [
        (float(times[i]), float(times[j]))
        for i, j in pairs
        if not any(i <= a and b <= j for a, b in differ)
    ]
    shortest = times[times > 0][0] / 10  # stands for 0, so that widths are finite
    return max(runs, key=lambda run: run[1] / max(run[0], shortest), default=None)
