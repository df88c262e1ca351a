"""Hierarchical upsampling: large snapshots from small ones (Algorithm 1).

    D_0 = D_s,   D_i = LocalRelax(Upsample(D_{i-1})),   i = 1 ... n_iter

Upsample makes a snapshot `factor` times larger along each axis. LocalRelax evolves overlapping
patches of the small system's size for a short time each, which removes what Upsample put in that
physics would not. Replicated 2x2 blocks of a critical Ising lattice hold a third of the true domain
walls, so that LocalRelax has to be long enough: several sweeps a visit.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_cells, check_choice, check_integer
from sklmacro._base.estimators import SetOutput, as_one_task, validate_input
from sklmacro._base.roles import Roles
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro._base.workers import fill_rows
from sklmacro.checkpoint.atomic import check_out, fill_array
from sklmacro.checkpoint.checkpoint import Checkpoint, resume_method
from sklmacro.lattice.enlarge import METHODS, enlarge
from sklmacro.lattice.lattice import Lattice
from sklmacro.sampling.pairs import check_groups, warn_of_lost_groups
from sklmacro.sampling.patches import Visits
from sklmacro.sampling.relaxation import (
    LEAST_ROWS,
    Convergence,
    LocalRelax,
    PassRecord,
    as_relaxation,
    check_fast,
    relax_pilot,
)
from sklmacro.sampling.relaxed import relaxed_dtype
from sklmacro.simulators import Simulator, resolve_simulator

BATCH_BYTES = 1 << 26  # of states kept, which are made at a time


@dataclass(frozen=True)
class _Plan:
    """What becomes of small snapshots of one shape; `visits` are those of each iteration."""

    shape: tuple[int, ...]
    large_shape: tuple[int, ...]
    factor: tuple[int, ...]
    lattice: Lattice
    visits: list[Visits | None]


class Start(NamedTuple):
    """What large snapshot `number` is made of: a small one x, and m close to it in time, if any.

    `group` is its source.
    """

    number: int
    x: np.ndarray
    nearby: np.ndarray | None
    group: int


class HierarchicalUpsampler(CallbackSupportMixin, SetOutput, Roles):
    """Turn small snapshots into large ones (Algorithm 1).

    Parameters
    ----------
    simulator : Simulator, default=None
        Microscopic simulator; None stands for `LinearChain()`, an open chain of one field.
    factor : int or sequence of int, default=2
        Enlargement of each iteration, for all axes or for each.
    n_iter : int, default=1
        Number of iterations.
    method : {"simulator", "replicate", "linear", "tile", "shuffle"}, default="simulator"
        How Upsample fills the larger lattice; "simulator" asks `simulator.upsample`.
    nearby : int, default=0
        Rows of X on either side of a row whose snapshots are close to it in time. Simulators that
        put a large snapshot together from several small ones, such as `Alloy`, draw them from these
        in the first iteration; with 0 they take copies of the row itself.
    relaxation : LocalRelax, "auto" or None, default="auto"
        How large snapshots are relaxed; "auto" is `LocalRelax()`, None leaves LocalRelax out.
    n_repeats : int, default=1
        Large snapshots made of each small one; number `k * n_repeats + r` stems from row `k`.
    random_state : None, int, RandomState or Generator, default=None
        Seed; every large snapshot has its own stream.
    n_jobs : int, default=None
        Workers over the snapshots; the result does not depend on it.
    verbose : bool, default=False
        Show progress with the time left.
    out : str or Path, default=None
        File (.npy) in which transform puts the snapshots, and from which it returns them mapped.
    checkpoint_dir : str or Path, default=None
        Folder in which finished large snapshots are saved, and those of the pilot, so that an
        interrupted call resumes there when it is made again. It is for one X each of fit and
        transform.

    Attributes
    ----------
    simulator_ : Simulator
        The simulator in use.
    lattice_ : Lattice
        Lattice of the large snapshots that stem from those seen in fit.
    n_passes_ : tuple of int
        Passes of LocalRelax in each iteration.
    relaxation_ : list of PassRecord
        What the pilot showed; empty unless the passes are "converged".
    n_features_in_ : int
        Cells along the first axis of the small snapshots.

    Examples
    --------
    >>> from sklmacro import HierarchicalUpsampler
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=2.5)
    >>> small = ising.sample_initial(5, 16, random_state=0)
    >>> HierarchicalUpsampler(ising, n_iter=2, random_state=0).fit_transform(small).shape
    (5, 64, 64)
    """

    roles = {"relaxation": as_relaxation}  # noqa: RUF012
    former = {  # noqa: RUF012
        "relax_duration": "relaxation__duration",
        "relax_events": "relaxation__n_events",
        "relax_passes": "relaxation__n_passes",
        "max_relax_passes": "relaxation__n_passes__max_passes",
        "relax_tolerance": "relaxation__n_passes__tolerance",
        "n_pilot": "relaxation__n_passes__n_pilot",
        "relax_patch": "relaxation__patch",
        "relax_stride": "relaxation__stride",
        "relax_boundary": "relaxation__boundary",
        "relax_buffer": "relaxation__boundary",
    }

    __metadata_request__transform: ClassVar = {"groups": True}
    simulator_: Simulator
    lattice_: Lattice
    n_passes_: tuple[int, ...]
    relaxation_: list[PassRecord]
    n_features_in_: int

    def __init__(
        self,
        simulator: Simulator | None = None,
        *,
        factor: int | Sequence[int] = 2,
        n_iter: int = 1,
        method: str = "simulator",
        nearby: int = 0,
        relaxation: LocalRelax | str | None = "auto",
        n_repeats: int = 1,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
        out: str | os.PathLike[str] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.simulator = simulator
        self.factor = factor
        self.n_iter = n_iter
        self.method = method
        self.nearby = nearby
        self.relaxation = relaxation
        self.n_repeats = n_repeats
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.out = out
        self.checkpoint_dir = checkpoint_dir

    @as_one_task
    def fit(self, X: Any, y: Any = None) -> "HierarchicalUpsampler":
        """Check the parameters against small snapshots, and find the passes if they are asked for.

        Parameters
        ----------
        X : array-like of shape (n_samples, *small snapshot shape)
            Small snapshots.
        y : ignored

        Returns
        -------
        self : HierarchicalUpsampler

        Raises
        ------
        ValueError
            If X is not a batch of snapshots of the simulator, or a parameter does not fit.

        Warns
        -----
        RelaxationWarning
            If the passes that "converged" may take were not enough.
        """
        self.simulator_ = resolve_simulator(self.simulator)
        check_out(self.out)
        X = self.simulator_.check_snapshots(validate_input(self, X, allow_nd=True))
        check_integer(self.n_iter, "n_iter", low=0 if self.n_kept == 1 else 1)
        check_choice(self.method, "method", ("simulator", *METHODS))
        if check_integer(self.nearby, "nearby", low=0) and self.method != "simulator":
            raise ValueError(
                f"Expected nearby=0 with method={self.method!r}, which enlarges every row by "
                f"itself, but got {self.nearby}; use method='simulator' with one such as Alloy."
            )
        check_integer(self.n_repeats, "n_repeats", low=1)
        self._plan: _Plan | None = None
        self._plan = plan = self._plan_for(X.shape[1:])
        self.lattice_, self.relaxation_ = plan.lattice, []
        relaxation = self.part("relaxation")
        passes = 1 if relaxation is None else relaxation.part("n_passes")
        if isinstance(passes, Convergence):
            self.n_passes_ = self._find_passes(X, plan, passes)
        else:
            self.n_passes_ = (passes,) * len(plan.visits)
        return self

    def fit_transform(self, X: Any, y: Any = None, groups: Any = None) -> np.ndarray:
        """Fit to small snapshots and return large ones; see `transform`.

        A `sklmacro.pairs.GroupsWarning` says where a search splits by groups, none come here, and
        states are kept.
        """
        self.fit(X, y)
        if groups is None and self.n_kept > 1:
            warn_of_lost_groups()
        return self.transform(X, groups)

    def transform(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return large snapshots.

        Parameters
        ----------
        X : array-like of shape (n_samples, *small snapshot shape)
            Small snapshots; not changed.
        groups : array-like of int, shape (n_samples,), default=None
            Source of each small snapshot, for relaxed snapshots; None numbers the small snapshots.

        Returns
        -------
        X_large : ndarray of shape (n_samples * n_repeats, *large snapshot shape)
            Where `LocalRelax` keeps several states of each, a structured ndarray of shape
            (n_samples * n_repeats * n_kept,), see `sklmacro.sampling.relaxed`.
        """
        X = self.check_small(X)
        starts = self.starts(X, np.arange(len(X) * self.n_repeats), groups)
        if self.checkpoint_dir is None and self.out is None:
            return self.grow(starts, resolve_entropy(self.random_state))
        shape, dtype = self.large_shape(X.shape[1:]), X.dtype
        if self.n_kept > 1:
            shape, dtype = (), relaxed_dtype(shape, dtype)
        resumed = resume_method(self, "transform", X=X, n_passes=self.n_passes_)
        with resumed as (checkpoint, entropy):
            return fill_array(
                self.out, (len(starts) * self.n_kept, *shape), dtype,
                lambda out: self.grow(starts, entropy, checkpoint, out),
            )  # fmt: skip

    def site_time(self, X: Any) -> float:
        """Return what `transform(X)` costs, in sites times units of time.

        For `Ising` and `CurieWeiss`, in which each site is attempted once in unit time, they are
        site updates. Of a range of durations it is the mean; NaN where LocalRelax counts events,
        whose times are random. A pilot is not counted.
        """
        X = self.check_small(X)
        visits = [v for v in self._plan_for(X.shape[1:]).visits if v is not None]
        passes = zip(visits, self.n_passes_, strict=False)
        each = sum(v.mean_age(n) * v.evolver.lattice.n_sites for v, n in passes)
        return float(len(X) * self.n_repeats * each)

    # One large snapshot at a time -----------------------------------------------------------------

    @property
    def n_kept(self) -> int:
        """States kept of each large snapshot."""
        relaxation = self.part("relaxation")
        return 1 if relaxation is None else relaxation.n_kept

    def check_small(self, X: Any) -> np.ndarray:
        """Return small snapshots, checked; those of a memory map of their type are not copied."""
        check_is_fitted(self)
        X = validate_input(self, X, reset=False, allow_nd=True)
        self._plan_for(X.shape[1:])
        return self.simulator_.check_states(X)

    def large_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a large snapshot made of a small one of a shape."""
        return self._plan_for(shape).large_shape

    def starts(self, X: np.ndarray, numbers: np.ndarray, groups: Any = None) -> list[Start]:
        """Return what large snapshots of given numbers (n,) are made of: views of rows of X.

        `groups` (n_samples,) are those of the rows; None numbers them.
        """
        n, r = self.nearby, self.n_repeats
        own = np.arange(len(X)) if groups is None else check_groups(groups, len(X))
        return [
            Start(k, X[k // r], X[max(k // r - n, 0) : k // r + n + 1] if n else None, own[k // r])
            for k in numbers.tolist()
        ]

    def grow(
        self, starts: Sequence[Start], entropy: int,
        checkpoint: Checkpoint | None = None, out: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return large snapshots (n, *large snapshot shape), in `out` if that is given.

        Where several states are kept, they are relaxed snapshots (n * n_kept,).
        """
        small = starts[0].x
        plan, dtype = self._plan_for(small.shape), small.dtype
        if self.n_kept > 1:
            return self._grow_kept(starts, plan, entropy, checkpoint, out)

        def work(starts: Sequence[Start]) -> dict[str, np.ndarray]:
            made = (self._grow_one(start, plan, entropy) for start in starts)
            if len(starts) == 1:  # it may be very large: no second copy
                x = next(made).astype(dtype, copy=not plan.visits)
                return {"X": x.reshape(1, *plan.large_shape)}
            batch = np.empty((len(starts), *plan.large_shape), dtype)
            for row, x in zip(batch, made, strict=True):
                row[...] = x
            return {"X": batch}

        return fill_rows(
            work, lambda start, stop: (starts[start:stop],), len(starts), checkpoint,
            None if out is None else {"X": out},
            n_jobs=self.n_jobs, verbose=self.verbose, desc="upsample",
        )["X"]  # fmt: skip

    def _grow_kept(
        self, starts: Sequence[Start], plan: _Plan, entropy: int,
        checkpoint: Checkpoint | None, out: np.ndarray | None,
    ) -> np.ndarray:  # fmt: skip
        """Return relaxed snapshots (n * n_kept,), in `out` if that is given."""
        n_kept, dtype = self.n_kept, relaxed_dtype(plan.large_shape, starts[0].x.dtype)
        relaxed = np.empty(len(starts) * n_kept, dtype) if out is None else out
        relaxed["group"] = np.repeat([start.group for start in starts], n_kept)

        def work(starts: Sequence[Start]) -> dict[str, np.ndarray]:
            batch = np.empty(len(starts) * n_kept, dtype)
            states = (state for start in starts for state in self._states(start, plan, entropy))
            for row, (x, age) in zip(batch, states, strict=True):
                row["x"], row["age"] = x, age
            return {"x": batch["x"], "age": batch["age"]}

        fill_rows(
            work, lambda start, stop: (starts[start // n_kept : stop // n_kept],), len(relaxed),
            checkpoint, {name: relaxed[name] for name in ("x", "age")}, together=n_kept,
            largest=max(1, BATCH_BYTES // (n_kept * dtype.itemsize)),
            n_jobs=self.n_jobs, verbose=self.verbose, desc="upsample",
        )  # fmt: skip
        return relaxed

    def _plan_for(self, shape: tuple[int, ...]) -> _Plan:
        """Return what becomes of small snapshots of a shape; known for that seen in fit."""
        plan = getattr(self, "_plan", None)
        if plan is not None and plan.shape == shape:
            return plan
        small = self.simulator_.lattice(shape)
        factor, relaxation = check_cells(self.factor, "factor", small.ndim), self.part("relaxation")
        lattices = [small]
        for _ in range(self.n_iter):
            cells = tuple(c * f for c, f in zip(lattices[-1].cells, factor, strict=True))
            lattices.append(Lattice(small.kind, cells, small.boundary))
        visits = [
            None if relaxation is None else relaxation.visits(self.simulator_, small, lattice)
            for lattice in lattices[1:] or lattices  # checked without an iteration as well
        ]
        large_shape = (*lattices[-1].site_shape, *shape[len(small.site_shape) :])
        return _Plan(shape, large_shape, factor, lattices[-1], visits[: self.n_iter])

    def _grow_one(self, start: Start, plan: _Plan, entropy: int) -> np.ndarray:
        """Return a large snapshot (Alg. 1 for one sample)."""
        *_, (x, _) = self._states(start, plan, entropy)
        return x

    def _states(
        self, start: Start, plan: _Plan, entropy: int
    ) -> Iterator[tuple[np.ndarray, float]]:
        """Yield the states of a large snapshot that are kept, one array that changes, with ages."""
        x, n_kept, last = start.x, self.n_kept, len(plan.visits) - 1
        rng = stream(entropy, Stage.UPSAMPLE, start.number)
        share = rng.random()  # where this snapshot stands in a range of durations
        for i, visits in enumerate(plan.visits):  # Alg. 1, lines 5-6
            x = self._enlarge(x, plan, rng, None if i else start.nearby)
            if visits is not None and i == last and n_kept > 1:
                for age in visits.keep(x, self.n_passes_[i], n_kept, share, rng):
                    yield x, age
            elif visits is not None:
                visits.relax(x, self.n_passes_[i], share, rng)
        if n_kept == 1:
            yield x, 0.0

    def _enlarge(
        self, x: np.ndarray, plan: _Plan, rng: np.random.Generator, nearby: np.ndarray | None = None
    ) -> np.ndarray:
        """Return a larger copy of a snapshot (Upsample); `nearby` are those close to it in time."""
        if self.method == "simulator":
            options = {} if nearby is None else {"nearby": nearby}
            x = self.simulator_.upsample(x, plan.factor, rng, **options)
        else:
            periodic = self.simulator_.boundary == "periodic"
            x = enlarge(x, plan.factor, self.method, rng, periodic=periodic)
        return np.ascontiguousarray(x)

    def _find_passes(self, X: np.ndarray, plan: _Plan, rule: Convergence) -> tuple[int, ...]:
        """Return the passes that a pilot needs in each iteration, and store its records."""
        check_fast(self.simulator_)
        rule.check()
        n_pilot, visits = min(rule.n_pilot, len(X)), [v for v in plan.visits if v is not None]
        if n_pilot < LEAST_ROWS or not all(v.alike for v in visits):
            raise ValueError(
                f"Expected at least {LEAST_ROWS} snapshots and one duration, above 0, for "
                f"n_passes='converged', but got {len(X)} and {self.part('relaxation')!r}; change "
                "them, or pass a number of passes."
            )

        def upsample(x: Start | np.ndarray, rng: np.random.Generator) -> np.ndarray:
            x, nearby = x[1:3] if isinstance(x, Start) else (x, None)
            return self._enlarge(x, plan, rng, nearby)

        with resume_method(self, "fit", X=X) as (checkpoint, entropy):
            rows = np.sort(stream(entropy, Stage.PILOT).choice(len(X), n_pilot, replace=False))
            starts = self.starts(X, rows * self.n_repeats)
            self.relaxation_ = relax_pilot(
                starts, upsample, visits, rule, entropy, checkpoint, n_jobs=self.n_jobs
            )
        # Later records of an iteration take the place of earlier ones.
        return tuple({r.iteration: r.n_passes for r in self.relaxation_}.values())

    @classmethod
    def convert(cls, name: str, value: Any) -> Any:
        """Return the value of a former parameter as it is now; a buffer is its width."""
        return ... if name == "relax_buffer" and not value else value

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
