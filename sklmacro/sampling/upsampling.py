"""Hierarchical upsampling: large snapshots from small ones (Algorithm 1).

    D_0 = D_s,   D_i = LocalRelax(Upsample(D_{i-1})),   i = 1 ... n_iter

Upsample makes a snapshot `factor` times larger along each axis. LocalRelax evolves overlapping
patches of the small system's size for a short time each, which removes what Upsample put in that
physics would not. Replicated 2x2 blocks of a critical Ising lattice hold a third of the true domain
walls, so that LocalRelax has to be long enough: several sweeps a visit.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklmacro._base.checks import check_cells, check_choice, check_integer
from sklmacro._base.estimators import SetOutput, as_one_task
from sklmacro._base.roles import Roles
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro.checkpoint.checkpoint import Checkpoint, of_method, resumable
from sklmacro.checkpoint.mapped import check_out, mapped
from sklmacro.checkpoint.rows import fill_rows
from sklmacro.lattice.enlarge import METHODS, enlarge
from sklmacro.lattice.lattice import Lattice
from sklmacro.sampling.evolver import Visits
from sklmacro.sampling.relaxation import (
    LEAST_ROWS,
    Convergence,
    LocalRelax,
    PassRecord,
    as_passes,
    as_relaxation,
    check_fast,
    relax_pilot,
)
from sklmacro.simulators import Simulator, resolve_simulator


@dataclass(frozen=True)
class _Plan:
    """What becomes of small snapshots of one shape: lattices and visits of every iteration."""

    shape: tuple[int, ...]
    large_shape: tuple[int, ...]
    factor: tuple[int, ...]
    lattices: list[Lattice]
    visits: list[Visits | None]


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
        Large snapshots made of each small one; row `k * n_repeats + r` stems from row `k`.
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
        X = self.simulator_.check_snapshots(validate_data(self, X, allow_nd=True))
        check_integer(self.n_iter, "n_iter", low=0)
        check_choice(self.method, "method", ("simulator", *METHODS))
        if check_integer(self.nearby, "nearby", low=0) and self.method != "simulator":
            raise ValueError(
                f"Expected nearby=0 with method={self.method!r}, which enlarges every row by "
                f"itself, but got {self.nearby}; use method='simulator' with one such as Alloy."
            )
        check_integer(self.n_repeats, "n_repeats", low=1)
        self._plan: _Plan | None = None
        self._plan = plan = self._plan_for(X.shape[1:])
        small = self.simulator_.lattice(X.shape[1:])
        self.lattice_ = [small, *plan.lattices][-1]
        self.relaxation_ = []
        relaxation = self.part("relaxation")
        passes = 1 if relaxation is None else as_passes(relaxation.n_passes)
        if isinstance(passes, Convergence):
            self.n_passes_ = self._find_passes(X, plan, passes)
        else:
            self.n_passes_ = (passes,) * len(plan.lattices)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return large snapshots.

        Parameters
        ----------
        X : array-like of shape (n_samples, *small snapshot shape)
            Small snapshots; not changed.

        Returns
        -------
        X_large : ndarray of shape (n_samples * n_repeats, *large snapshot shape)
        """
        check_is_fitted(self)
        X = self.check_small(X)
        numbers = np.arange(len(X) * self.n_repeats)
        starts = self.starts(X, numbers)
        if self.checkpoint_dir is None and self.out is None:
            return self.grow(starts, numbers, resolve_entropy(self.random_state))
        with resumable(self.checkpoint_dir):
            checkpoint, entropy = of_method(self, "transform", X=X, n_passes=self.n_passes_)
            return mapped(
                self.out, (len(numbers), *self.large_shape(X.shape[1:])), X.dtype,
                lambda out: self.grow(starts, numbers, entropy, checkpoint, {"X": out}),
            )  # fmt: skip

    # One large snapshot at a time -----------------------------------------------------------------

    def check_small(self, X: Any) -> np.ndarray:
        """Return small snapshots, checked; those of a memory map of their type are not copied."""
        X = validate_data(self, X, reset=False, allow_nd=True)
        self._plan_for(X.shape[1:])
        return self.simulator_.check_states(X)

    def large_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a large snapshot made of a small one of a shape."""
        return self._plan_for(shape).large_shape

    def starts(self, X: np.ndarray, numbers: np.ndarray) -> list[tuple]:
        """Return views of the row of X that each large snapshot stems from, and of those near."""
        n, rows = self.nearby, (numbers // self.n_repeats).tolist()
        return [(X[k], X[max(k - n, 0) : k + n + 1] if n else None) for k in rows]

    def grow(
        self, starts: Sequence[tuple], numbers: np.ndarray, entropy: int,
        checkpoint: Checkpoint | None = None, out: dict[str, np.ndarray] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return large snapshots of given numbers (n,) and starts, in out["X"] if it is there."""
        small = starts[0][0]
        plan, dtype = self._plan_for(small.shape), small.dtype

        def work(starts: Sequence[tuple], numbers: np.ndarray) -> dict[str, np.ndarray]:
            made = (
                self._grow_one(start, plan, stream(entropy, Stage.UPSAMPLE, k))
                for start, k in zip(starts, numbers.tolist(), strict=True)
            )
            if len(numbers) == 1:  # it may be very large: no second copy
                x = next(made).astype(dtype, copy=not plan.lattices)
                return {"X": x.reshape(1, *plan.large_shape)}
            batch = np.empty((len(numbers), *plan.large_shape), dtype)
            for row, x in zip(batch, made, strict=True):
                row[...] = x
            return {"X": batch}

        return fill_rows(
            work, lambda start, stop: (starts[start:stop], numbers[start:stop]), len(numbers),
            checkpoint, out, n_jobs=self.n_jobs, verbose=self.verbose, desc="upsample",
        )["X"]  # fmt: skip

    def _plan_for(self, shape: tuple[int, ...]) -> _Plan:
        """Return what becomes of small snapshots of a shape; known for that seen in fit."""
        plan = getattr(self, "_plan", None)
        if plan is not None and plan.shape == shape:
            return plan
        small = self.simulator_.lattice(shape)
        factor = check_cells(self.factor, "factor", small.ndim)
        relaxation = self.part("relaxation")
        lattices, cells = [], small.cells
        for _ in range(self.n_iter):
            cells = tuple(c * f for c, f in zip(cells, factor, strict=True))
            lattices.append(Lattice(small.kind, cells, small.boundary))
        visits = [
            None if relaxation is None else relaxation.visits(self.simulator_, small, lattice)
            for lattice in lattices or [small]  # checked without an iteration as well
        ]
        large = ([small, *lattices][-1]).site_shape
        large_shape = (*large, *shape[len(small.site_shape) :])
        return _Plan(shape, large_shape, factor, lattices, visits[: len(lattices)])

    def _grow_one(self, start: tuple, plan: _Plan, rng: np.random.Generator) -> np.ndarray:
        """Return a large snapshot (Alg. 1 for one sample)."""
        share = rng.random()  # where this snapshot stands in a range of durations
        x, nearby = start
        for i, visits in enumerate(plan.visits):  # Alg. 1, lines 5-6
            x = self._enlarge(x, plan.factor, rng, nearby if i == 0 else None)
            if visits is not None:
                visits.relax(x, self.n_passes_[i], share, rng)
        return x

    def _enlarge(
        self,
        x: np.ndarray,
        factor: tuple[int, ...],
        rng: np.random.Generator,
        nearby: np.ndarray | None,
    ) -> np.ndarray:
        """Return a larger copy of a snapshot (Upsample); `nearby` are those close to it in time."""
        if self.method == "simulator":
            options = {} if nearby is None else {"nearby": nearby}
            x = self.simulator_.upsample(x, factor, rng, **options)
        else:
            periodic = self.simulator_.boundary == "periodic"
            x = enlarge(x, factor, self.method, rng, periodic=periodic)
        return np.ascontiguousarray(x)

    def _find_passes(self, X: np.ndarray, plan: _Plan, rule: Convergence) -> tuple[int, ...]:
        """Return the passes that a pilot needs in each iteration, and store its records."""
        check_fast(self.simulator_)
        rule.check()
        n_pilot = min(rule.n_pilot, len(X))
        fixed = all(v is not None and v.length and not v.vary for v in plan.visits)
        if n_pilot < LEAST_ROWS or not fixed:
            raise ValueError(
                f"Expected at least {LEAST_ROWS} snapshots and one duration, above 0, for "
                f"n_passes='converged', but got {len(X)} and {self.part('relaxation')!r}; change "
                "them, or pass a number of passes."
            )

        def first(start: tuple, rng: np.random.Generator) -> np.ndarray:
            x, nearby = start
            return self._enlarge(x, plan.factor, rng, nearby)

        def again(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return self._enlarge(x, plan.factor, rng, None)

        def relax(visits: Visits, x: np.ndarray, n_passes: int, rng: np.random.Generator) -> None:
            visits.relax(x, n_passes, 0.0, rng)

        steps = [
            (again if i else first, partial(relax, visits))
            for i, visits in enumerate(plan.visits)
            if visits is not None
        ]
        with resumable(self.checkpoint_dir):
            checkpoint, entropy = of_method(self, "fit", X=X)
            rows = np.sort(stream(entropy, Stage.PILOT).choice(len(X), n_pilot, replace=False))
            starts = self.starts(X, rows * self.n_repeats)
            self.relaxation_ = relax_pilot(
                self.simulator_, starts, steps, rule, entropy, checkpoint, n_jobs=self.n_jobs
            )
        return tuple(
            max(r.n_passes for r in self.relaxation_ if r.iteration == i)
            for i in range(1, len(steps) + 1)
        )

    @classmethod
    def convert(cls, name: str, value: Any) -> Any:
        """Return the value of a former parameter as it is now; a buffer is its width."""
        return ... if name == "relax_buffer" and not value else value

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags
