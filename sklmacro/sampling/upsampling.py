"""Hierarchical upsampling: large snapshots from small ones (Algorithm 1).

    D_0 = D_s,   D_i = LocalRelax(Upsample(D_{i-1})),   i = 1 ... n_iter

Upsample makes a snapshot `factor` times larger along each axis. LocalRelax evolves overlapping
patches of the small system's size for a short time each, which removes what Upsample put in that
physics would not. Replicated 2x2 blocks of a critical Ising lattice hold a third of the true domain
walls, so that LocalRelax has to be long enough: several sweeps a visit.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklmacro._base.checks import check_cells, check_choice, check_integer, check_real
from sklmacro._base.estimators import CallbackSupportMixin, SetOutput, as_one_task
from sklmacro._base.streams import Stage, stream
from sklmacro.checkpoint.atomic import check_out, fill_array
from sklmacro.checkpoint.checkpoint import Checkpoint, resume_method
from sklmacro.checkpoint.rows import fill_rows
from sklmacro.lattice.enlarge import METHODS, enlarge
from sklmacro.lattice.lattice import Lattice
from sklmacro.sampling.boundary import Surroundings
from sklmacro.sampling.relaxation import (
    LEAST_ROWS,
    PassRecord,
    check_fast,
    overlapping_origins,
    relax_pilot,
)
from sklmacro.sampling.visits import visit_lengths, visited
from sklmacro.simulators import Simulator, resolve_simulator


@dataclass(frozen=True)
class _Step:
    """One iteration: the larger lattice, and how LocalRelax goes over it."""

    lattice: Lattice
    factor: tuple[int, ...]
    extent: tuple[int, ...]
    stride: tuple[int, ...]
    durations: tuple[float, float]
    n_events: int | None
    around: Surroundings


class HierarchicalUpsampler(CallbackSupportMixin, SetOutput, BaseEstimator):
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
    relax_duration : float, (float, float), "auto" or None, default="auto"
        Physical time of each visit of LocalRelax. "auto" takes `simulator.relax_time`; None or 0
        leaves LocalRelax out, unless `relax_events` is given. With a pair (low, high) every large
        snapshot draws its own, uniformly on a logarithmic scale, so that the snapshots span states
        from far from equilibrium to near it.
    relax_events : float, default=None
        Events per site and visit of LocalRelax, in the place of a duration.
    relax_passes : int or "converged", default=1
        Number of times that LocalRelax goes over the lattice. Many passes of short visits come
        closer to the dynamics of the whole lattice than one of long visits. "converged" lets fit
        find the number for each iteration, by which a pilot's fast observables are at rest; see
        `sklmacro.sampling.relaxation`.
    max_relax_passes : int, default=64
        Largest number of passes that "converged" may find; it warns where they are not enough.
    relax_tolerance : float, default=0.003
        Part of the fast observables' first drift, and of their change in all, that "converged"
        takes for none; it counts where a pilot is so large that it would see less.
    n_pilot : int, default=200
        Snapshots of the pilot, drawn from those seen in fit; all of them where there are fewer.
    relax_patch : int or sequence of int, default=None
        Cells of the patches of LocalRelax; None takes the size of the small snapshots.
    relax_stride : int or sequence of int, default=None
        Cells between neighbouring patches; None takes half a patch.
    relax_boundary : {"ghost", "buffer", "periodic"}, default="ghost"
        What surrounds a patch while it relaxes. Visits among ghost cells keep the equilibrium of
        the lattice; the others leave seams, where a patch meets cells that it did not evolve with.
    relax_buffer : int, default=0
        Width of the buffer in cells, for `relax_boundary="buffer"`.
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
        Folder in which large snapshots that are ready are kept, and the pilot's, so that an
        interrupted call goes on from there when it is made again. It is for one X each of fit and
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
        What the pilot showed; empty unless `relax_passes="converged"`.
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
        relax_duration: float | tuple[float, float] | str | None = "auto",
        relax_events: float | None = None,
        relax_passes: int | str = 1,
        max_relax_passes: int = 64,
        relax_tolerance: float = 0.003,
        n_pilot: int = 200,
        relax_patch: int | Sequence[int] | None = None,
        relax_stride: int | Sequence[int] | None = None,
        relax_boundary: str = "ghost",
        relax_buffer: int = 0,
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
        self.relax_duration = relax_duration
        self.relax_events = relax_events
        self.relax_passes = relax_passes
        self.max_relax_passes = max_relax_passes
        self.relax_tolerance = relax_tolerance
        self.n_pilot = n_pilot
        self.relax_patch = relax_patch
        self.relax_stride = relax_stride
        self.relax_boundary = relax_boundary
        self.relax_buffer = relax_buffer
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
            If `max_relax_passes` were not enough for `relax_passes="converged"`.
        """
        self.simulator_ = resolve_simulator(self.simulator)
        check_out(self.out)
        X = self._small(X, reset=True)
        small = self.simulator_.lattice(X.shape[1:])
        check_integer(self.n_iter, "n_iter", low=0)
        check_choice(self.method, "method", ("simulator", *METHODS))
        if check_integer(self.nearby, "nearby", low=0) and self.method != "simulator":
            raise ValueError(
                f"Expected nearby=0 with method={self.method!r}, which enlarges every row by "
                f"itself, but got {self.nearby}; use method='simulator' with one such as Alloy."
            )
        check_integer(self.n_repeats, "n_repeats", low=1)
        if self.relax_passes != "converged":
            check_integer(
                self.relax_passes, "relax_passes", low=1, remedy="pass a number or 'converged'"
            )
        patch, _ = visited(small, self.relax_patch, self.relax_stride)
        Surroundings(self.relax_boundary, self.relax_buffer).check(self.simulator_, small, patch)
        self._lengths(small.n_sites)
        steps = self._steps(small)
        self.lattice_ = steps[-1].lattice if steps else small
        self.relaxation_ = []
        if self.relax_passes == "converged":
            self.n_passes_ = self._find_passes(X, steps)
        else:
            self.n_passes_ = (int(self.relax_passes),) * len(steps)
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
        X = self._small(X, reset=False)
        numbers = np.arange(len(X) * self.n_repeats)
        resumed = resume_method(self, "transform", X=X, n_passes=self.n_passes_)
        with resumed as (checkpoint, entropy):
            starts = self._starts(X, numbers)
            if self.out is None:
                return self._large(starts, numbers, entropy, checkpoint)
            return fill_array(
                self.out, (len(numbers), *self._large_shape(X.shape[1:])), X.dtype,
                lambda out: self._large(starts, numbers, entropy, checkpoint, {"X": out}),
            )  # fmt: skip

    def _large_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a large snapshot made of a small one of a shape."""
        small = self.simulator_.lattice(shape)
        lattice = ([small] + [step.lattice for step in self._steps(small)])[-1]
        return (*lattice.site_shape, *shape[len(small.site_shape) :])

    def _small(self, X: Any, reset: bool) -> np.ndarray:
        """Return small snapshots, checked; those of a memory map of their type are not copied."""
        return self.simulator_.check_snapshots(validate_data(self, X, reset=reset, allow_nd=True))

    def _large(
        self, starts: Sequence[tuple], numbers: np.ndarray, entropy: int,
        checkpoint: Checkpoint | None = None, out: dict[str, np.ndarray] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return large snapshots of given numbers (n,) and starts, in out["X"] if it is there."""
        small = starts[0][0]
        dtype, shape = small.dtype, self._large_shape(small.shape)
        steps = self._steps(self.simulator_.lattice(small.shape))

        def work(starts: Sequence[tuple], numbers: np.ndarray) -> dict[str, np.ndarray]:
            each = zip(starts, numbers.tolist(), strict=True)
            made = (self._grow(x, steps, stream(entropy, Stage.UPSAMPLE, k)) for x, k in each)
            if len(numbers) == 1:  # it may be very large: no second copy
                return {"X": next(made).astype(dtype, copy=not steps).reshape(1, *shape)}
            batch = np.empty((len(numbers), *shape), dtype)
            for x, grown in zip(batch, made, strict=True):
                x[...] = grown
            return {"X": batch}

        return fill_rows(
            work, lambda start, stop: (starts[start:stop], numbers[start:stop]), len(numbers),
            checkpoint, out, n_jobs=self.n_jobs, verbose=self.verbose, desc="upsample",
        )["X"]  # fmt: skip

    def _starts(self, X: np.ndarray, numbers: np.ndarray) -> list[tuple]:
        """Return views of the row of X that each large snapshot stems from, and of those near."""
        n, rows = self.nearby, (numbers // self.n_repeats).tolist()
        return [(X[k], X[max(k - n, 0) : k + n + 1] if n else None) for k in rows]

    def _steps(self, small: Lattice) -> list["_Step"]:
        """Return what is done in each iteration to snapshots of a small lattice."""
        factor = check_cells(self.factor, "factor", small.ndim)
        patch, stride = visited(small, self.relax_patch, self.relax_stride)
        steps, cells = [], small.cells
        around = Surroundings(self.relax_boundary, self.relax_buffer)
        for _ in range(self.n_iter):
            cells = tuple(c * f for c, f in zip(cells, factor, strict=True))
            lattice = Lattice(small.kind, cells, small.boundary)
            extent = tuple(min(p, c) for p, c in zip(patch, cells, strict=True))
            durations, n_events = self._lengths(math.prod(extent) * lattice.n_basis)
            steps.append(_Step(lattice, factor, extent, stride, durations, n_events, around))
        return steps

    def _lengths(self, n_sites: int) -> tuple[tuple[float, float], int | None]:
        return visit_lengths(self.simulator_, self.relax_duration, self.relax_events, n_sites)

    def _grow(self, start: tuple, steps: list["_Step"], rng: np.random.Generator) -> np.ndarray:
        """Return a large snapshot (Alg. 1 for one sample)."""
        share = rng.random()  # where this snapshot stands in a range of durations
        x, nearby = start
        for i, step in enumerate(steps):  # Alg. 1, lines 5-6
            x = self._enlarge(x, step, rng, nearby if i == 0 else None)
            self._relax(x, step, self.n_passes_[i], share, rng)
        return x

    def _enlarge(
        self, x: np.ndarray, step: "_Step", rng: np.random.Generator, nearby: np.ndarray | None
    ) -> np.ndarray:
        """Return a larger copy of a snapshot (Upsample); `nearby` are those close to it in time."""
        if self.method == "simulator":
            options = {} if nearby is None else {"nearby": nearby}
            x = self.simulator_.upsample(x, step.factor, rng, **options)
        else:
            periodic = step.lattice.boundary == "periodic"
            x = enlarge(x, step.factor, self.method, rng, periodic=periodic)
        return np.ascontiguousarray(x)

    def _relax(
        self, x: np.ndarray, step: "_Step", n_passes: int, share: float, rng: np.random.Generator
    ) -> None:
        """Relax a large snapshot in place, pass by pass (LocalRelax)."""
        shortest, longest = step.durations
        if not (longest or step.n_events):
            return
        duration = None if step.n_events else shortest * (longest / shortest) ** share
        origins = overlapping_origins(step.lattice, step.extent, step.stride, n_passes, rng)
        step.around.relax(
            self.simulator_, x, step.lattice, origins, step.extent, duration, step.n_events, rng
        )

    def _find_passes(self, X: np.ndarray, steps: list["_Step"]) -> tuple[int, ...]:
        """Return the passes that a pilot needs in each iteration, and keep its records."""
        check_fast(self.simulator_)
        check_integer(self.max_relax_passes, "max_relax_passes", low=2)
        check_real(self.relax_tolerance, "relax_tolerance", low=0.0, high=1.0)
        n_pilot = min(check_integer(self.n_pilot, "n_pilot", low=LEAST_ROWS), len(X))
        durations = {step.durations for step in steps if not step.n_events}
        if n_pilot < LEAST_ROWS or any(low < high or high == 0 for low, high in durations):
            raise ValueError(
                f"Expected at least {LEAST_ROWS} snapshots and one duration, above 0, for "
                f"relax_passes='converged', but got {len(X)} and "
                f"relax_duration={self.relax_duration!r}; change them, or pass a number of passes."
            )

        def grown(i: int, start: Any, rng: np.random.Generator) -> np.ndarray:
            x, nearby = start if i == 0 else (start, None)
            return self._enlarge(x, steps[i], rng, nearby)

        def relaxed(i: int, x: np.ndarray, n_passes: int, rng: np.random.Generator) -> None:
            self._relax(x, steps[i], n_passes, 0.0, rng)

        with resume_method(self, "fit", X=X) as (checkpoint, entropy):
            rows = np.sort(stream(entropy, Stage.PILOT).choice(len(X), n_pilot, replace=False))
            starts = self._starts(X, rows * self.n_repeats)
            self.relaxation_ = relax_pilot(
                self.simulator_, starts, len(steps), grown, relaxed, entropy, checkpoint,
                max_passes=self.max_relax_passes, tolerance=self.relax_tolerance,
                n_jobs=self.n_jobs,
            )  # fmt: skip
        return tuple(
            max(r.n_passes for r in self.relaxation_ if r.iteration == i)
            for i in range(1, len(steps) + 1)
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags
