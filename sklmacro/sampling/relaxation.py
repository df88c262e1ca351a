"""LocalRelax: which patches it visits, and when it has done its work: nothing fast changes.

Given the slow observables M, the fast ones f are soon adiabatic: their conditional mean is that of
equilibrium under M, and their drift vanishes. LocalRelax goes over a pilot batch pass by pass.
After p = 2, 4, 8, ... passes it has converged where, for every fast observable, two means over the
pilot vanish within two standard errors, or are a small part of what they were at first:

    drift    b_f(x), exact to first order in time where the simulator has it; without LocalRelax it
             is large, and once local equilibrium is reached it is zero
    change   f(x after p passes) - f(x after p/2), freed from what the slow ones explain: 0 if the
             second half of the relaxation was in vain

Either alone stops too early. Walls of long wavelength relax so slowly that their drift drowns in
that of the short ones, whose fluctuations make most of the error, while their change adds up over
the passes. Short visits change little between two passes, but the drift tells.

Shape vocabulary::

    X        (n_pilot, *snapshot shape)    the pilot
    z        (n_pilot, n_observables)
    drift    (n_pilot, n_fast)
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklmacro._base.streams import Stage, stream
from sklmacro._base.workers import numbered
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.checkpoint.rows import fill_rows
from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators import Simulator

LEAST_ROWS = 20  # a standard error of a mean, and four powers of each slow observable
N_ERRORS = 2.0  # standard errors within which a mean counts as zero
N_POWERS = 4  # of the slow observables, in what they explain of the fast ones


class RelaxationWarning(UserWarning):
    """LocalRelax ran out of passes before the fast observables came to rest."""


@dataclass(frozen=True, eq=False)
class PassRecord:
    """The pilot after some passes of LocalRelax.

    Attributes
    ----------
    iteration : int
        Iteration of Algorithm 1, from 1 on.
    n_passes : int
        Passes so far in this iteration; 0 is what Upsample made.
    drift, drift_error : ndarray of shape (n_fast,)
        Mean drift of the fast observables in 1 / time, and its standard error; NaN where the
        simulator does not give it.
    change, change_error : ndarray of shape (n_fast,)
        Mean change since the record before, freed from what the slow observables explain, and its
        standard error; NaN at 0 passes.
    """

    iteration: int
    n_passes: int
    drift: np.ndarray
    drift_error: np.ndarray
    change: np.ndarray
    change_error: np.ndarray


def check_fast(simulator: Simulator) -> list[int]:
    """Return the places of the fast observables among all, or raise ValueError without any."""
    names, fast = simulator.observable_names, simulator.fast_observables
    unknown = [name for name in fast if name not in names]
    if unknown or not fast:
        raise ValueError(
            "Expected fast_observables of the simulator for relax_passes='converged', some of "
            f"{names}, but {type(simulator).__name__} has {fast!r}; declare them, or pass a number "
            "of passes."
        )
    return [names.index(name) for name in fast]


def relax_pilot(
    simulator: Simulator,
    starts: Sequence,
    n_iter: int,
    grow: Callable[[int, Any, np.random.Generator], np.ndarray],
    relax: Callable[[int, np.ndarray, int, np.random.Generator], None],
    entropy: int,
    checkpoint: Checkpoint | None = None,
    *,
    max_passes: int,
    tolerance: float,
    n_jobs: int | None = None,
) -> list[PassRecord]:
    """Take a pilot through Algorithm 1, relaxing it until its fast observables are at rest.

    Parameters
    ----------
    simulator : Simulator
        One with `fast_observables`.
    starts : sequence of length n_pilot
        What `grow` takes as x in the first iteration.
    n_iter : int
        Iterations of Algorithm 1, counted from 0 in what follows.
    grow : callable
        (iteration, x, rng) -> the larger snapshot that Upsample makes of x.
    relax : callable
        (iteration, x, number of passes, rng), relaxes a large snapshot in place.
    entropy : int
        Of the random streams; every row has one of its own for each record.
    checkpoint : Checkpoint, default=None
        Keeps the pilot's snapshots of each record.
    max_passes : int
        Passes of an iteration at most.
    tolerance : float
        Part of the first drift, and of the change in all, that counts as none.
    n_jobs : int, default=None
        Workers over the snapshots; the result does not depend on it.

    Returns
    -------
    records : list of PassRecord
        At 0, 1, 2, 4, 8, ... passes; the last of each iteration tells how many it takes.

    Warns
    -----
    RelaxationWarning
        If `max_passes` were not enough.
    """
    fast = check_fast(simulator)
    nothing = np.full(len(fast), np.nan)
    known = simulator.process is not None
    records: list[PassRecord] = []
    X: Any = starts
    n_pilot = len(starts)
    for i in range(n_iter):
        n_passes, target, z = 0, 0, np.empty(0)
        while True:
            part, further = len(records), target - n_passes

            def work(
                batch: Sequence, start: int, i: int = i, part: int = part, further: int = further
            ) -> dict[str, np.ndarray]:
                rows = []
                for k, x in enumerate(batch, start):
                    rng = stream(entropy, Stage.PILOT, 1 + part * n_pilot + k)
                    y = x.copy() if further else grow(i, x, rng)
                    if further:
                        relax(i, y, further, rng)
                    rows.append(y)
                return {"X": np.stack(rows)}

            X = fill_rows(
                work, numbered(X), n_pilot, checkpoint, part=f"pilot-{part}", n_jobs=n_jobs
            )["X"]  # fmt: skip
            n_passes, before, z = target, z, simulator.observe(X)
            change = _mean(unexplained_change(before, z, fast)) if n_passes else (nothing, nothing)
            if not n_passes:
                first, raw = z, part
            drift = _mean(simulator.moments(X)[0][:, fast]) if known else (nothing, nothing)
            records.append(PassRecord(i + 1, n_passes, *drift, *change))
            if n_passes >= 2 and _at_rest(records[-1], records[raw], first, z, fast, tolerance):
                break
            if n_passes == max_passes:
                _warn(simulator, records[-1])
                break
            target = min(max(2 * n_passes, 1), max_passes)
    return records


def _warn(simulator: Simulator, last: PassRecord) -> None:
    warnings.warn(
        f"LocalRelax ran out of passes in iteration {last.iteration}: after {last.n_passes} of "
        f"them the drift of {', '.join(simulator.fast_observables)} is "
        f"{_text(last.drift, last.drift_error)}, and its last change "
        f"{_text(last.change, last.change_error)}; raise relax_duration or max_relax_passes.",
        RelaxationWarning,
        stacklevel=5,
    )


def _at_rest(
    record: PassRecord,
    raw: PassRecord,
    first: np.ndarray,
    z: np.ndarray,
    fast: list[int],
    tolerance: float,
) -> bool:
    """Say whether drift and change vanish within their errors, or next to those at first."""
    in_all = np.abs(z.mean(axis=0) - first.mean(axis=0))[fast]
    still = np.isnan(record.drift) | (
        np.abs(record.drift)
        <= np.maximum(N_ERRORS * record.drift_error, tolerance * np.abs(raw.drift))
    )
    same = np.abs(record.change) <= np.maximum(N_ERRORS * record.change_error, tolerance * in_all)
    return bool(still.all() and same.all())


def unexplained_change(before: np.ndarray, after: np.ndarray, fast: list[int]) -> np.ndarray:
    """Return the change (n, n_fast) of the fast observables that the slow ones do not explain.

    The fast ones of both states are regressed on a constant and the powers of the slow ones; the
    change is that of the residuals, row by row, so that what a row keeps cancels.
    """
    n, both = len(before), np.concatenate([before, after])
    slow = np.delete(both, fast, axis=1)
    slow = (slow - slow.mean(axis=0)) / np.maximum(slow.std(axis=0), np.finfo(float).tiny)
    powers = [slow**k for k in range(1, N_POWERS + 1)]
    features = np.concatenate([np.ones((2 * n, 1)), *powers], axis=1)
    coefficients = np.linalg.lstsq(features, both[:, fast], rcond=None)[0]
    rest = both[:, fast] - features @ coefficients
    return rest[n:] - rest[:n]


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means (k,) over the rows of values (n, k), and their standard errors."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _text(values: np.ndarray, errors: np.ndarray) -> str:
    pairs = zip(values, errors, strict=True)
    return ", ".join(f"{value:.2g} +- {error:.1g}" for value, error in pairs)


def overlapping_origins(
    lattice: Lattice,
    extent: tuple[int, ...],
    stride: tuple[int, ...],
    n_passes: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the origins (n_passes * n_patches, ndim) of patches that overlap, pass by pass.

    Those of each pass cover the lattice. On a periodic lattice the grid of patches is shifted at
    random, so that no site stands at an edge in every snapshot; on an open one the last patch ends
    with the lattice.
    """
    axes, ndim = [], lattice.ndim
    for cells, width, step in zip(lattice.cells, extent, stride, strict=True):
        if width == cells:
            starts = np.zeros((n_passes, 1), np.int64)
        elif lattice.boundary == "periodic":
            shifts = rng.integers(step, size=(n_passes, 1))
            starts = (shifts + np.arange(0, cells, step)) % cells
        else:
            starts = np.tile([*range(0, cells - width, step), cells - width], (n_passes, 1))
        axes.append(starts)
    grid = tuple(starts.shape[1] for starts in axes)
    origins = np.empty((n_passes, *grid, ndim), np.int64)
    for axis, starts in enumerate(axes):
        along = [1] * ndim
        along[axis] = -1
        origins[..., axis] = starts.reshape(n_passes, *along)
    return origins.reshape(-1, ndim)
