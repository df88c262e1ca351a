"""LocalRelax: which patches it visits and for how long, and when nothing fast changes any more.

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

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklmacro._base.checks import check_cells, check_choice, check_integer, check_range, check_real
from sklmacro._base.roles import Roles
from sklmacro._base.streams import Stage, stream
from sklmacro._base.units import standard_scale
from sklmacro._base.workers import fill_rows, numbered_rows
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.lattice.lattice import Lattice
from sklmacro.sampling.boundary import Boundary, as_boundary
from sklmacro.sampling.patches import PatchEvolver, Visits
from sklmacro.simulators import Simulator
from sklmacro.simulators.protocol import Span

LEAST_ROWS = 20  # a standard error of a mean, and four powers of each slow observable
N_ERRORS = 2.0  # standard errors within which a mean counts as zero
N_POWERS = 4  # of the slow observables, in what they explain of the fast ones


class RelaxationWarning(UserWarning):
    """LocalRelax ran out of passes before the fast observables came to rest."""


class Convergence(BaseEstimator):
    """As many passes of LocalRelax as bring the fast observables of a pilot to rest.

    Parameters
    ----------
    max_passes : int, default=64
        Largest number of passes; a `RelaxationWarning` says where they are not enough.
    tolerance : float, default=0.003
        Part of the fast observables' first drift, and of their change in all, that counts as none.
        It matters where a pilot is so large that it would see less.
    n_pilot : int, default=200
        Snapshots of the pilot, drawn from those seen in fit; all of them where there are fewer.

    Examples
    --------
    >>> from sklmacro import Convergence, LocalRelax
    >>> LocalRelax(n_passes=Convergence(max_passes=16))
    LocalRelax(n_passes=Convergence(max_passes=16))
    """

    def __init__(self, max_passes: int = 64, tolerance: float = 0.003, n_pilot: int = 200):
        self.max_passes = max_passes
        self.tolerance = tolerance
        self.n_pilot = n_pilot

    def check(self) -> None:
        """Raise ValueError for parameters that make no sense."""
        check_integer(self.max_passes, "max_passes", low=2)
        check_real(self.tolerance, "tolerance", low=0.0, high=1.0)
        check_integer(self.n_pilot, "n_pilot", low=LEAST_ROWS)

    def looks(self) -> list[int]:
        """Return the numbers of passes after which the pilot is looked at: 0, 1, 2, 4, 8, ..."""
        n_powers = int(self.max_passes - 1).bit_length()  # of 2 below max_passes
        return [0, *(2**k for k in range(n_powers)), self.max_passes]


def as_passes(value: int | str | Convergence) -> int | Convergence:
    """Return a number of passes, or the rule that finds it; "converged" is `Convergence()`."""
    if isinstance(value, str) and value == "converged":
        return Convergence()
    if isinstance(value, Convergence):
        return value
    return check_integer(value, "n_passes", low=1, remedy="pass a number or 'converged'")


class LocalRelax(Roles):
    """How LocalRelax goes over a large snapshot (Algorithm 1, line 6).

    Parameters
    ----------
    duration : float, (float, float), "auto" or None, default="auto"
        Physical time of each visit to a patch. "auto" takes `simulator.relax_time`; None or 0
        relaxes nothing, unless `n_events` is given. With a pair (low, high) every large snapshot
        draws its own, uniformly on a logarithmic scale, so that the snapshots span states from far
        from equilibrium to near it.
    n_events : float, default=None
        Events per site and visit, in the place of a duration.
    n_passes : int, "converged" or Convergence, default=1
        Number of times that LocalRelax goes over the lattice. Many passes of short visits come
        closer to the dynamics of the whole lattice than one of long visits. "converged" lets fit
        find the number for each iteration, by which a pilot's fast observables are at rest.
    n_kept : int, default=1
        States kept of each large snapshot in the last iteration. 1 keeps the last alone. More are
        `sklmacro.sampling.relaxed` snapshots: what Upsample made, and states at ages that grow by
        equal factors first and are equally far apart later, from a tenth of `simulator.pair_time`
        to the age after `n_passes` visits of `duration`. That age does not depend on `n_kept`;
        early visits are shorter.
    patch : int or sequence of int, default=None
        Cells of a patch; None takes the size of the small snapshots.
    stride : int or sequence of int, default=None
        Cells between neighbouring patches; None takes half a patch.
    boundary : "ghost", "periodic" or int, default="ghost"
        What surrounds a patch while it relaxes; an integer is the width of a buffer. Visits among
        ghost cells keep the equilibrium of the lattice; the others leave seams, where a patch meets
        cells that it did not evolve with.

    Examples
    --------
    >>> from sklmacro import HierarchicalUpsampler, LocalRelax
    >>> HierarchicalUpsampler(relaxation=LocalRelax(duration=2.0, n_passes=8))
    HierarchicalUpsampler(relaxation=LocalRelax(duration=2.0, n_passes=8))

    Ten states of each snapshot are kept here, the last of them after 4 * 0.5 * 4 sweeps:

    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=2.5)
    >>> relaxation = LocalRelax(duration=0.5, n_passes=4, n_kept=10)
    >>> upsampler = HierarchicalUpsampler(ising, relaxation=relaxation, random_state=0)
    >>> small = ising.sample_initial(5, 16, random_state=0)
    >>> relaxed = upsampler.fit_transform(small)
    >>> relaxed["x"].shape, relaxed["group"][[0, 9, 10]], relaxed["age"][[0, 1, 9, 10]]
    ((50, 32, 32), array([0, 0, 1]), array([0.  , 0.05, 8.  , 0.  ]))
    >>> upsampler.site_time(small)  # site updates
    40960.0
    """

    roles = {"n_passes": as_passes}  # noqa: RUF012

    def __init__(
        self,
        *,
        duration: float | tuple[float, float] | str | None = "auto",
        n_events: float | None = None,
        n_passes: int | str | Convergence = 1,
        n_kept: int = 1,
        patch: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        boundary: Boundary | str | int = "ghost",
    ):
        self.duration = duration
        self.n_events = n_events
        self.n_passes = n_passes
        self.n_kept = n_kept
        self.patch = patch
        self.stride = stride
        self.boundary = boundary

    def visits(self, simulator: Simulator, small: Lattice, lattice: Lattice) -> Visits:
        """Return how LocalRelax goes over a lattice, which stems from a small one.

        A parameter that does not fit is a ValueError.
        """
        patch = check_cells(small.cells if self.patch is None else self.patch, "patch", small.ndim)
        half = [max(1, p // 2) for p in patch]
        stride = check_cells(half if self.stride is None else self.stride, "stride", small.ndim)
        if any(s > p for s, p in zip(stride, patch, strict=True)):
            raise ValueError(
                f"Expected a stride of LocalRelax of at most the patch's {patch} cells, but got "
                f"{stride}; cells between the patches would never relax, so use a smaller stride."
            )
        extent = tuple(min(p, c) for p, c in zip(patch, lattice.cells, strict=True))
        shortest, span = self._spans(simulator, math.prod(extent) * lattice.n_basis)
        if check_integer(self.n_kept, "n_kept", low=1) > 1 and not shortest:
            raise ValueError(
                f"Expected visits of a duration above 0 with n_kept={self.n_kept}, but got "
                f"duration={self.duration!r} and n_events={self.n_events!r}, where the relax_time "
                f"of {type(simulator).__name__} is {simulator.relax_time:g}; pass a duration, or "
                "keep one state."
            )
        evolver = PatchEvolver(simulator, lattice, extent, as_boundary(self.boundary), span)
        return Visits(evolver, stride, shortest)

    def _spans(self, simulator: Simulator, n_sites: int) -> tuple[float, Span]:
        """Return the shortest duration of a visit to n_sites sites, and the longest span."""
        if self.n_events is not None:
            if self.duration is not None and str(self.duration) != "auto":
                raise ValueError(
                    "Expected either duration or n_events of LocalRelax, but got "
                    f"duration={self.duration!r} and n_events={self.n_events!r}; leave one at its "
                    "default."
                )
            n_events = check_real(self.n_events, "n_events", low=0.0)
            return 0.0, simulator.check_span(n_events=round(n_events * n_sites))
        if isinstance(self.duration, Sequence | np.ndarray) and not isinstance(self.duration, str):
            shortest, longest = check_range(self.duration, "duration")
        elif isinstance(self.duration, str):
            check_choice(self.duration, "duration", ("auto",))
            shortest = longest = simulator.relax_time
        else:
            shortest = longest = check_real(self.duration or 0.0, "duration", low=0.0)
        return shortest, simulator.check_span(longest)


def as_relaxation(value: LocalRelax | str | None) -> LocalRelax | None:
    """Return a relaxation; "auto" is `LocalRelax()`, None is none. Refuse all else."""
    if value is None or isinstance(value, LocalRelax):
        return value
    if isinstance(value, str) and value == "auto":
        return LocalRelax()
    raise ValueError(
        f"Expected relaxation to be a LocalRelax, 'auto' or None, but got {value!r}; pass for "
        "instance LocalRelax(duration=1.0)."
    )


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
            "Expected fast_observables of the simulator for n_passes='converged', some of "
            f"{names}, but {type(simulator).__name__} has {fast!r}; declare them, or pass a number "
            "of passes."
        )
    return [names.index(name) for name in fast]


def relax_pilot(
    starts: Sequence,
    upsample: Callable[[Any, np.random.Generator], np.ndarray],
    visits: Sequence[Visits],
    rule: Convergence,
    entropy: int,
    checkpoint: Checkpoint | None = None,
    *,
    n_jobs: int | None = None,
) -> list[PassRecord]:
    """Take a pilot through Algorithm 1, relaxing it until its fast observables are at rest.

    The first iteration enlarges `starts` (n_pilot), the others what came out of the one before;
    `upsample(x, rng)` enlarges one of them. `visits` has the visits of each iteration, all alike,
    by a simulator with `fast_observables`. Every row has a random stream of its own for each
    record, and the pilot of each record is saved in `checkpoint`. There are records at 0, 1, 2, 4,
    8, ... passes; the last of each iteration tells how many it takes. A `RelaxationWarning` says
    where `rule.max_passes` were not enough.
    """
    records: list[PassRecord] = []
    X: Any = starts
    n_pilot = len(starts)

    def next_pilot(visits: Visits, n_passes: int) -> np.ndarray:
        """Return the pilot X after further passes; with 0 of them, after Upsample."""
        part = len(records)

        def work(batch: Sequence, start: int) -> dict[str, np.ndarray]:
            rows = []
            for k, x in enumerate(batch, start):
                rng = stream(entropy, Stage.PILOT, 1 + part * n_pilot + k)
                rows.append(x.copy() if n_passes else upsample(x, rng))
                if n_passes:
                    visits.relax(rows[-1], n_passes, 0.0, rng)
            return {"X": np.stack(rows)}

        take, name = numbered_rows(X), f"pilot-{part}"
        return fill_rows(work, take, n_pilot, checkpoint, part=name, n_jobs=n_jobs)["X"]

    for iteration, own in enumerate(visits, 1):
        simulator = own.evolver.simulator
        fast = check_fast(simulator)
        nothing = np.full(len(fast), np.nan)
        before, z = 0, np.empty(0)
        for n_passes in rule.looks():
            X = next_pilot(own, n_passes - before)
            before, z_before, z = n_passes, z, simulator.observe(X)
            change = drift = nothing, nothing
            if simulator.process is not None:
                drift = _mean(simulator.moments(X)[0][:, fast])
            if n_passes:
                change = _mean(unexplained_change(z_before, z, fast))
            else:
                first_z, first_drift = z, drift[0]
            records.append(PassRecord(iteration, n_passes, *drift, *change))
            in_all = np.abs(z.mean(axis=0) - first_z.mean(axis=0))[fast]
            drift_vanishes = _vanishes(*drift, rule.tolerance * np.abs(first_drift))
            if n_passes >= 2 and drift_vanishes and _vanishes(*change, rule.tolerance * in_all):
                break
        else:
            _warn(simulator, records[-1])
    return records


def _warn(simulator: Simulator, last: PassRecord) -> None:
    drift, change = (
        ", ".join(f"{mean:.2g} +- {error:.1g}" for mean, error in zip(*means, strict=True))
        for means in ((last.drift, last.drift_error), (last.change, last.change_error))
    )
    warnings.warn(
        f"LocalRelax ran out of passes in iteration {last.iteration}: after {last.n_passes} of "
        f"them the drift of {', '.join(simulator.fast_observables)} is {drift}, and its last "
        f"change {change}; raise the duration or max_passes of LocalRelax.",
        RelaxationWarning,
        stacklevel=5,
    )


def _vanishes(mean: np.ndarray, error: np.ndarray, small: np.ndarray) -> bool:
    """Tell whether all means that are known vanish within their errors, or are small."""
    near = np.abs(mean) <= np.maximum(N_ERRORS * error, small)
    return bool((np.isnan(mean) | near).all())


def unexplained_change(before: np.ndarray, after: np.ndarray, fast: list[int]) -> np.ndarray:
    """Return the change (n, n_fast) of the fast observables that the slow ones do not explain.

    The fast ones of both states are regressed on a constant and the powers of the slow ones; the
    change is that of the residuals, row by row, so that what a row keeps cancels.
    """
    n, both = len(before), np.concatenate([before, after])
    slow = np.delete(both, fast, axis=1)
    centre = slow.mean(axis=0)
    slow = (slow - centre) / standard_scale(slow, centre)
    powers = [slow**k for k in range(1, N_POWERS + 1)]
    features = np.concatenate([np.ones((2 * n, 1)), *powers], axis=1)
    coefficients = np.linalg.lstsq(features, both[:, fast], rcond=None)[0]
    rest = both[:, fast] - features @ coefficients
    return rest[n:] - rest[:n]


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means (k,) over the rows of values (n, k), and their standard errors."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
