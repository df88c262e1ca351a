"""Scores of predicted paths against reference paths of the large system.

A likelihood of single increments cannot choose `lam`; a comparison of paths can. The squared
maximum mean discrepancy (MMD) of two laws p and q with a kernel k is

    MMD^2(p, q) = E k(x, x') + E k(y, y') - 2 E k(x, y),    x, x' ~ p and y, y' ~ q independent,

zero only for p = q (Gretton et al., JMLR 13, 723 (2012)). Here k is the mean over widths s of
exp(-|x - y|^2 / (2 s^2)). The other measures compare mean path and standard deviation over paths.

Shape vocabulary::

    X, Y    (n, d), (m, d)                 samples of two laws
    P       (n_paths, n_times, d)          predicted paths
    Q       (m_paths, n_times, d)          reference paths, the truth
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from sklmacro._base.checks import (
    as_data,
    check_choice,
    check_column_names,
    check_finite,
    check_finite_numbers,
    check_integer,
    check_numbers,
    check_real,
    check_times,
)
from sklmacro._base.units import CONSTANT, largest
from sklmacro._base.workers import map_batches
from sklmacro.measures.mmd import mmd2_at_times
from sklmacro.persistence.search import Checkpointed
from sklmacro.sde.ensemble import SDEEnsemble

PATH_AXES = ("n_paths", "n_times", "d")
WIDTHS = (0.25, 0.5, 1, 2, 4, 8)  # widths s of the paper's predator-prey study
# A search averages and squares scores: -inf would turn into NaN and warnings, this ranks last.
WORST_SCORE = -1e100


def mmd2(
    X: np.ndarray,
    Y: np.ndarray,
    *,
    widths: Sequence[float] = WIDTHS,
    scale: float | np.ndarray | None = None,
    biased: bool = False,
) -> float:
    """Return the squared maximum mean discrepancy between two samples, at most 2.

    Parameters
    ----------
    X, Y : ndarray of shape (n, d) and (m, d)
        Samples of the two laws.
    widths, scale, biased : as in :func:`mmd2_paths`

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> mmd2(X, Y + 1) > 10 * abs(mmd2(X, Y))
    True
    """
    X, Y = _check_pair(X, Y, ("n", "d"))
    return mean_mmd2(X[:, np.newaxis], Y[:, np.newaxis], widths=widths, scale=scale, biased=biased)


def mmd2_paths(
    P: np.ndarray,
    Q: np.ndarray,
    *,
    widths: Sequence[float] = WIDTHS,
    scale: str | float | np.ndarray | None = "reference",
    biased: bool = False,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Return the squared maximum mean discrepancy between the laws of paths at each time.

    Parameters
    ----------
    P, Q : ndarray of shape (n_paths, n_times, d) and (m_paths, n_times, d)
        Predicted paths and reference paths.
    widths : sequence of float, default=(0.25, 0.5, 1, 2, 4, 8)
        Widths s of the kernels exp(-r^2 / (2 s^2)), whose mean is taken, in units of `scale`.
    scale : "reference", float, ndarray of shape (d,) or None, default="reference"
        Paths are divided by it first. "reference" is, for each component, the root of the variance
        over the paths of Q, averaged over time, and the largest absolute value where all paths of Q
        are the same but for rounding; None leaves the paths as they are.
    biased : bool, default=False
        False gives the estimate with mean zero under equal laws, which can be negative; True
        counts each path's pair with itself and is never negative.
    n_jobs : int, default=None
        Number of threads; the result does not depend on it.

    Returns
    -------
    values : ndarray of shape (n_times,)
    """
    P, Q = _check_pair(P, Q, PATH_AXES)
    rates = np.sort(1 / (2 * _positive(widths, "widths", np.size(widths)) ** 2))
    divisor = np.broadcast_to(_divisor(scale, P, Q), P.shape[2]).copy()

    def work(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
        P, Q = np.ascontiguousarray(P), np.ascontiguousarray(Q)
        return mmd2_at_times(P, Q, divisor, rates, biased)

    def take(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        return P[:, start:stop], Q[:, start:stop]

    return np.concatenate([v for _, v in map_batches(work, take, P.shape[1], n_jobs=n_jobs)])


def mean_mmd2(P: np.ndarray, Q: np.ndarray, **options: Any) -> float:
    """Return the mean over time of :func:`mmd2_paths`, with its `options`."""
    return float(mmd2_paths(P, Q, **options).mean())


def mean_path_error(P: np.ndarray, Q: np.ndarray) -> float:
    """Return the relative error of the mean path, over all components together, 0 if perfect.

    It is ``sum_t |mean P - mean Q|^2 / sum_t |mean Q|^2``, the means taken over paths. Paths from
    several initial states are better compared state by state, lest their means cancel.

    Parameters
    ----------
    P, Q : as in :func:`mmd2_paths`
    """
    P, Q = _check_pair(P, Q, PATH_AXES)
    truth = Q.mean(axis=0)
    if not truth.any():
        raise ValueError("Expected a mean reference path other than 0, but got 0; use mean_mmd2.")
    return float(((P.mean(axis=0) - truth) ** 2).sum() / (truth**2).sum())


def std_ratio(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return the ratio of the predicted to the true standard deviation of each component.

    Each standard deviation is the root of the variance over paths, averaged over time; a time at
    which all paths agree, such as a common start, adds nothing to it.

    Parameters
    ----------
    P, Q : as in :func:`mmd2_paths`

    Returns
    -------
    ratio : ndarray of shape (d,)
        1 for a perfect prediction, more where predicted paths spread too far. Of a component that
        is the same in all paths of Q, such as a conserved one, 1 if it is so in P, else infinite.

    Raises
    ------
    ValueError
        If no component of Q has a spread.
    """
    P, Q = _check_pair(P, Q, PATH_AXES)
    predicted, truth = _path_std(P), _path_std(Q)
    if not truth.any():
        raise ValueError(f"Expected positive spreads of Q, but got {truth}; drop components at 0.")
    neither = np.where(predicted > 0, np.inf, 1.0)
    return np.divide(predicted, truth, out=neither, where=truth > 0)


def _log_std_error(P: np.ndarray, Q: np.ndarray) -> float:
    """Return the mean over components of |log std_ratio|."""
    return float(np.abs(np.log(std_ratio(P, Q))).mean())


def _path_std(paths: np.ndarray) -> np.ndarray:
    """Root of the time-averaged variance over paths (d,); 0 where all agree but for rounding."""
    std = np.sqrt(paths.var(axis=0, ddof=1).mean(axis=0))
    return np.where(std > CONSTANT * largest(paths.reshape(-1, paths.shape[2])), std, 0.0)


def _check_pair(P: object, Q: object, axes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return finite P and Q of equal shape but for their length, which is at least 2."""
    P, Q = check_numbers(P, "predictions"), check_numbers(Q, "reference")
    equal = P.ndim == Q.ndim == len(axes) and P.shape[1:] == Q.shape[1:]
    if not equal or min(P.shape) == 0 or min(len(P), len(Q)) < 2:
        raise ValueError(
            f"Expected two arrays ({', '.join(axes)}) with {axes[0]} >= 2 and otherwise equal, but "
            f"got {P.shape} and {Q.shape}; compare the same components, and times if there are any."
        )
    return check_finite(P, "predictions"), check_finite(Q, "reference")


def _divisor(scale: str | float | np.ndarray | None, P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return the positive numbers, one or d, by which the components are divided."""
    if isinstance(scale, str):
        check_choice(scale, "scale", ("reference",))
        sizes = [_path_std(Q), *(largest(paths.reshape(-1, Q.shape[2])) for paths in (Q, P))]
        return np.select([size > 0 for size in sizes], sizes, 1.0)
    return _positive(1 if scale is None else scale, "scale", Q.shape[2])


def _positive(values: object, name: str, n_values: int) -> np.ndarray:
    """Return `values`, one or `n_values` positive numbers, as an array of shape (1,) or (n,)."""
    array = np.atleast_1d(check_numbers(values, name))
    positive = array.size > 0 and ((array > 0) & (array < np.inf)).all()
    if not positive or array.shape not in ((1,), (n_values,)):
        raise ValueError(
            f"Expected {name} to be one positive number or a list of {n_values}, but got "
            f"{values!r}; pass for instance 1."
        )
    return array


@dataclass(frozen=True, eq=False)
class ReferencePaths:
    """Paths of the large system with the states from which they start.

    Parameters
    ----------
    x0 : ndarray of shape (n_paths, *site_shape) or (n_paths, d)
        Large snapshot at the start of each path; its macrostate where no encoder precedes the SDE.
    paths : ndarray of shape (n_paths, n_times, n_observables)
        Observables z* along each path; at least two paths.
    times : ndarray of shape (n_times,)
        Increasing times, at least two; ``times[0]`` is the time of `x0`.
    context : ndarray of shape (n_paths, n_context), default=None
        Outer parameters of each path.
    """

    x0: np.ndarray
    paths: np.ndarray
    times: np.ndarray
    context: np.ndarray | None = None

    def __post_init__(self) -> None:
        paths, times = check_numbers(self.paths, "paths"), check_times(self.times)
        if paths.ndim != 3 or min(paths.shape[:2]) < 2 or paths.shape[1] != len(times):
            raise ValueError(
                "Expected paths of shape (n_paths >= 2, n_times >= 2, n_observables), but got "
                f"{paths.shape} with {len(times)} times; pass one time for each point of a path."
            )
        rows = {"x0": np.asarray(as_data(self.x0, "x0"))}
        if rows["x0"].dtype.kind not in "iuf":
            check_numbers(self.x0, "x0")
        if self.context is not None:
            rows["context"] = check_numbers(self.context, "context")
        named = hasattr(self.x0, "columns")  # which an SDE compares with those of its fit
        for name, array in (rows | {"paths": paths}).items():
            if array.ndim < 2 or len(array) != len(paths):
                raise ValueError(
                    f"Expected {name} with one row for each of the {len(paths)} paths, but got "
                    f"shape {array.shape}; repeat a row that several paths share."
                )
            value = self.x0 if name == "x0" and named else array
            check_finite(array, name)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "times", times)

    def __repr__(self) -> str:
        return f"ReferencePaths(x0 {self.x0.shape}, paths {self.paths.shape})"


_METRICS = {"mmd2": mean_mmd2, "mean_path": mean_path_error, "std_ratio": _log_std_error}


@dataclass(frozen=True)
class PathScorer:
    """Score an estimator by the paths that it predicts; for ``scoring=`` in a search.

    Parameters
    ----------
    reference : ReferencePaths
        The truth. Its times must be equally spaced.
    metric : {"mmd2", "mean_path", "std_ratio", "outside"} or callable, default="mmd2"
        :func:`mean_mmd2`, :func:`mean_path_error`, the mean of ``|log std_ratio|``, the share of
        states that the data of the fit do not cover, or a function such as
        ``functools.partial(mean_mmd2, biased=True)`` of (P, Q), smaller for better paths.
    dt : float, default=None
        Time step of the prediction, in the unit of `reference.times`, whose spacing must be a
        multiple of it; None takes the spacing itself.
    n_repeats : int, default=1
        Number of paths predicted from each initial state.
    random_state : None, int, RandomState or Generator, default=0
        Seed of the predicted paths; an integer gives every candidate the same noise.

    Notes
    -----
    The SDE and its starts are those of :func:`macrostates`. Only the observables, the first
    components of a macrostate, are scored: candidates of different dimension compare.

    A prediction or metric that is not finite scores `WORST_SCORE`, -1e100, and is ranked last.
    """

    reference: ReferencePaths
    metric: str | Callable[[np.ndarray, np.ndarray], float] = "mmd2"
    dt: float | None = None
    n_repeats: int = 1
    random_state: Any = 0

    def __post_init__(self) -> None:
        if not callable(self.metric):
            check_choice(self.metric, "metric", (*_METRICS, "outside"))
        check_integer(self.n_repeats, "n_repeats", low=1)
        time_steps(self.reference.times, self.dt)

    def __call__(self, estimator: Any, X: object = None, y: object = None) -> float:
        """Return the score of a fitted estimator, greater is better; X and y are not used."""
        truth = self.reference.paths
        options = {"n_paths": self.n_repeats, "random_state": self.random_state}
        paths = predict_paths(estimator, self.reference, self.dt, members=False, **options)
        if self.metric == "outside":
            return -float(outside_states(estimator, self.reference, paths).mean())
        paths = paths[:, :, : truth.shape[2]]
        if not np.isfinite(paths).all():
            return WORST_SCORE
        metric = self.metric if callable(self.metric) else _METRICS[self.metric]
        with np.errstate(all="ignore"):  # overflow of a wild path: the result tells
            value = float(metric(paths, truth))
        return max(-value, WORST_SCORE) if math.isfinite(value) else WORST_SCORE


def predict_paths(
    estimator: Any, reference: ReferencePaths, dt: float | None, *, members: bool, **options: Any
) -> np.ndarray:
    """Return paths ([n_members,] n_paths, n_times, d) from the starts of a reference, at its times.

    They are those of each member where the SDE is an SDEEnsemble, and `members`; `options` are
    `n_paths`, from each start, and `random_state`.
    """
    dt, stride = time_steps(reference.times, dt)
    sde, z0 = macrostates(estimator, reference.x0)
    simulate = sde.simulate_members if members and isinstance(sde, SDEEnsemble) else sde.simulate
    if reference.context is not None:
        options["context"] = reference.context
    return simulate(z0, stride * (len(reference.times) - 1), dt, store_every=stride, **options)


def outside_states(estimator: Any, reference: ReferencePaths, paths: np.ndarray) -> np.ndarray:
    """Return which states of predicted paths the data of the fit do not cover, or are not finite.

    `paths` (..., n_paths, n_times, d) are those of `predict_paths`. Estimators without `covers`
    cover all.
    """
    sde = sde_of(estimator)
    outside = ~np.isfinite(paths).all(axis=-1)
    context, place = reference.context, np.nonzero(~outside)
    if context is not None:
        context = np.repeat(context, paths.shape[-3] // len(context), axis=0)[place[-2]]
    if hasattr(sde, "covers") and len(place[0]):
        outside[place] = ~sde.covers(paths[place], context)
    return outside


def macrostates(estimator: Any, x0: Any) -> tuple[Any, Any]:
    """Return the SDE of a fitted estimator, and its macrostates of snapshots `x0`.

    Of a Pipeline the SDE is the last step, and the step before it, and no earlier one, turns `x0`
    into macrostates, by `macrostates` where it has that method, else by `transform`. Any other
    estimator is the SDE itself, and `x0` are its macrostates. Of one that is `Checkpointed`, the
    estimator within counts.
    """
    model = _unwrapped(estimator)
    if isinstance(model, Pipeline):
        for _, encoder in model.steps[-2:-1]:  # none where the SDE is the only step
            x0 = getattr(encoder, "macrostates", encoder.transform)(x0)
    return sde_of(model), x0


def sde_of(estimator: Any) -> Any:
    """Return the SDE of a fitted estimator, as `macrostates` does."""
    model = _unwrapped(estimator)
    return model[-1] if isinstance(model, Pipeline) else model


def _unwrapped(estimator: Any) -> Any:
    """Return the estimator within one that is `Checkpointed`."""
    return estimator.estimator_ if isinstance(estimator, Checkpointed) else estimator


def states_of(sde: Any, z: Any) -> np.ndarray:
    """Return macrostates (n, d) of a fitted SDE as floats; data frames have the columns of fit."""
    names = getattr(sde, "feature_names_in_", None)
    check_column_names(z, None if names is None else names[: sde.n_state_], "states")
    return check_finite_numbers(z, "states")


def time_steps(times: np.ndarray, dt: float | None) -> tuple[float, int]:
    """Return the time step and the number of steps between two of the equally spaced times."""
    gaps = np.diff(times)
    spacing = float(gaps.mean())
    if not np.allclose(gaps, spacing, rtol=1e-6, atol=0):
        raise ValueError(
            "Expected equally spaced reference times, but got spacings from "
            f"{gaps.min():g} to {gaps.max():g}; interpolate the reference on a uniform grid."
        )
    step = spacing if dt is None else check_real(dt, "dt", low=0, strict=True)
    stride = max(round(spacing / step), 1)
    if not math.isclose(stride * step, spacing, rel_tol=1e-6):
        raise ValueError(
            f"Expected dt to divide the spacing {spacing:g} of the reference times, but got "
            f"{dt!r}; pass for instance {spacing / stride:g}, or None."
        )
    return spacing / stride, stride
