"""Partial evolution: one patch of each large snapshot, for a short time (Sec. II.1, Eq. 3).

The lattice is tiled by K patches. Of each snapshot x_t some of them, drawn at random, are evolved
for a short time dt, each from x_t and with its surroundings as they are at t. Pairs of x_t and the
evolved patches are all that the macroscopic dynamics is learned from. As dt -> 0 the law of an
increment is known: pairs of moments carry its mean and its covariance in the place of a sample.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_choice, check_integer, check_real
from sklmacro._base.estimators import SetOutput, as_one_task, validate_input
from sklmacro._base.roles import Roles
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro._base.workers import fill_rows
from sklmacro.checkpoint.atomic import check_out, fill_array
from sklmacro.checkpoint.checkpoint import Checkpoint, resume_method
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid
from sklmacro.sampling.boundary import Boundary, Ghost, as_boundary
from sklmacro.sampling.lam import check_joint, estimate_lam
from sklmacro.sampling.pairs import snapshot_pair_dtype, source_groups, warn_of_lost_groups
from sklmacro.sampling.patches import Patches, PatchEvolver, as_patches
from sklmacro.sampling.relaxed import ages_of, is_relaxed, snapshots_of
from sklmacro.sampling.symmetry import Augmentation
from sklmacro.simulators import Simulator, resolve_simulator
from sklmacro.simulators.protocol import EventCount, Span

# Fields of pairs that are filled row by row, sampled or exact.
EVOLVED = ("origin", "x_next", "extent", "d_obs", "cov_obs", "dt")


@dataclass(frozen=True)
class _Plan:
    """How pairs are made of large snapshots of one shape."""

    shape: tuple[int, ...]
    patches: Patches
    grid: PatchGrid
    evolver: PatchEvolver
    dtype: Callable[..., np.dtype]
    augmentation: Augmentation | None


class PartialEvolutionSampler(CallbackSupportMixin, SetOutput, Roles):
    """Evolve patches of large snapshots for a short time.

    Parameters
    ----------
    simulator : Simulator, default=None
        Microscopic simulator; None stands for `LinearChain()`, an open chain of one field.
    patch : int, sequence of int, Patches or None, default=None
        Cells of a patch, or a `Patches`, which says more: how many patches of each snapshot
        evolve, where they lie, and whether lam is estimated. None takes the whole lattice (K = 1,
        full evolution).
    dt : float, EventCount or "auto", default="auto"
        Time for which a patch evolves; "auto" takes `simulator.pair_time`. Theorem 1 holds for
        short dt: neighbouring patches become dependent as it grows. With
        `sklmacro.simulators.EventCount(n)` a patch evolves for n events, and every pair has its
        own elapsed time.
    boundary : "ghost", "periodic" or int, default="ghost"
        What surrounds a patch while it evolves; an integer is the width of a buffer in cells.
    moments : bool, default=False
        Evolve nothing, and give the increments' mean and covariance as dt -> 0, which are exact;
        see `Simulator.moments`. Both are proportional to dt, and so any dt leads to the same model,
        that of the kinetics at short times.
    context : sequence of str, default=()
        Parameters of the simulator to write into the pairs (Eq. 31), such as "temperature".
    augment : bool, default=False
        Use the symmetries that the simulator declares, see `Simulator`. Every snapshot is
        turned by a random element of the lattice's point group. With a mirror image -x the rows
        double: row 2 k is the turned snapshot k, row 2 k + 1 its mirror image, evolved
        independently; both have the same group.
    random_state : None, int, RandomState or Generator, default=None
        Seed; every snapshot has its own stream.
    n_jobs : int, default=None
        Workers over the snapshots; the result does not depend on it.
    verbose : bool, default=False
        Show progress with the time left.
    out : str or Path, default=None
        File (.npy) in which transform puts the pairs, and from which it returns them mapped.
    checkpoint_dir : str or Path, default=None
        Folder in which finished pairs and joint evolutions are saved, so that an interrupted call
        resumes there when it is made again. It is for one X each of fit and transform.

    Attributes
    ----------
    simulator_ : Simulator
        The simulator in use.
    grid_ : PatchGrid
        Patches of the snapshots seen in fit.
    n_patches_ : int
        K, the number of patches.
    dt_ : float or None
        Evolution time; None where events are counted.
    lam_, lam_error_ : float
        With `Patches(n_joint=...)`, the estimated factor on the covariance, the mean of those of
        the observables with equal weights, and its standard error; both are written into the pairs.
        As dt -> 0 it tends to K/p.
    lam_of_observables_ : ndarray of shape (n_observables,)
        With `Patches(n_joint=...)`, each observable's own factor. One that never changed, such as a
        conserved one, is left out of `lam_`, and has K/p here.
    n_features_in_ : int
        Cells along the first axis of the snapshots.

    Examples
    --------
    >>> from sklmacro import PartialEvolutionSampler
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=2.5)
    >>> X = ising.sample_initial(5, 64, random_state=0)
    >>> sampler = PartialEvolutionSampler(ising, patch=16, dt=0.5, random_state=0)
    >>> pairs = sampler.fit_transform(X)
    >>> sampler.n_patches_, pairs["x"].shape, pairs["x_next"].shape
    (16, (5, 64, 64), (5, 1, 16, 16))
    """

    roles = {"patch": as_patches}  # noqa: RUF012
    former = {  # noqa: RUF012
        "n_events": "dt",
        "buffer": "boundary",
        "n_patches_evolved": "patch__n_evolved",
        "origins": "patch__origins",
        "n_joint": "patch__n_joint",
    }

    __metadata_request__transform: ClassVar = {"groups": True}
    simulator_: Simulator
    grid_: PatchGrid
    n_patches_: int
    dt_: float | None
    lam_: float
    lam_error_: float
    lam_of_observables_: np.ndarray
    n_features_in_: int

    def __init__(
        self,
        simulator: Simulator | None = None,
        *,
        patch: int | Sequence[int] | Patches | None = None,
        dt: float | EventCount | str = "auto",
        boundary: Boundary | str | int = "ghost",
        moments: bool = False,
        context: Sequence[str] = (),
        augment: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
        out: str | os.PathLike[str] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.simulator = simulator
        self.patch = patch
        self.dt = dt
        self.boundary = boundary
        self.moments = moments
        self.context = context
        self.augment = augment
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.out = out
        self.checkpoint_dir = checkpoint_dir

    @as_one_task
    def fit(self, X: Any, y: Any = None) -> "PartialEvolutionSampler":
        """Check the parameters against large snapshots, and estimate lam if it is asked for.

        Parameters
        ----------
        X : array-like of shape (n_samples, *large snapshot shape), or structured ndarray
            Large snapshots, or relaxed ones.
        y : ignored

        Returns
        -------
        self : PartialEvolutionSampler

        Raises
        ------
        ValueError
            If X is not a batch of snapshots of the simulator, the patches do not tile it, or a
            parameter does not fit.
        """
        X = self.prepare(X)
        self.fit_lam(len(X), lambda rows: X[rows], X=X)
        return self

    def prepare(self, X: Any) -> np.ndarray:
        """Return large snapshots, checked together with the parameters: `fit` but for lam."""
        self.simulator_ = resolve_simulator(self.simulator)
        check_out(self.out)
        X = validate_input(self, snapshots_of(X), allow_nd=True)
        X = self.simulator_.check_snapshots(X)
        self._plan: _Plan | None = None
        self._plan = plan = self._plan_for(X.shape[1:])
        self.grid_, self.n_patches_ = plan.grid, plan.grid.n_patches
        self.dt_ = plan.evolver.span.time
        return X

    def fit_lam(
        self, n_samples: int, take: Callable[[np.ndarray], np.ndarray], **data: Any
    ) -> None:
        """Estimate lam from joint evolutions of some of the snapshots, unless `n_joint` is 0.

        `take` returns those of given numbers; `data` is what they are made from.
        """
        plan = self._plan
        if plan is None or not plan.patches.n_joint:
            return
        n_joint, n_evolved = plan.patches.n_joint, plan.patches.n_evolved
        check_joint(n_joint, n_samples, self.simulator_.n_observables)
        with resume_method(self, "fit", **data) as (checkpoint, entropy):
            X = take(stream(entropy, Stage.SPLIT).permutation(n_samples)[:n_joint])
            self.lam_, self.lam_error_, self.lam_of_observables_ = estimate_lam(
                plan.evolver, X, plan.grid, n_evolved, entropy, checkpoint,
                n_jobs=self.n_jobs, verbose=self.verbose,
            )  # fmt: skip

    def fit_transform(self, X: Any, y: Any = None, groups: Any = None) -> np.ndarray:
        """Fit to large snapshots and return their snapshot pairs; see `transform`.

        A `sklmacro.pairs.GroupsWarning` says where a search splits by groups and none come here.
        """
        if groups is None and not is_relaxed(X):
            warn_of_lost_groups()
        return self.fit(X, y).transform(X, groups)

    def transform(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return snapshot pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, *large snapshot shape), or structured ndarray
            Large snapshots, or relaxed ones, see `sklmacro.sampling.relaxed`; not changed.
        groups : array-like of shape (n_samples,), default=None
            Source trajectory of each snapshot; None takes those of relaxed snapshots, and numbers
            others.

        Returns
        -------
        pairs : structured ndarray of shape (n_samples,), or (2 n_samples,) with mirror images
            See `sklmacro.pairs`.
        """
        given, X = X, self.check_large(X)
        numbers, ages = np.arange(len(X)), ages_of(given)
        groups = source_groups(given, groups, len(X), matter=False)
        if self.checkpoint_dir is None and self.out is None:
            return self.sample(X, numbers, groups, resolve_entropy(self.random_state), ages=ages)
        lam = getattr(self, "lam_", None), self.n_patches_
        dtype = self._plan_for(X.shape[1:]).dtype(aged=ages is not None)
        resumed = resume_method(self, "transform", X=X, groups=groups, lam=lam)
        with resumed as (checkpoint, entropy):
            return fill_array(
                self.out, (self.n_copies * len(X),), dtype,
                lambda pairs: self.sample(X, numbers, groups, entropy, checkpoint, pairs, ages),
            )  # fmt: skip

    # One batch at a time --------------------------------------------------------------------------

    @property
    def n_copies(self) -> int:
        """Number of pairs of each snapshot: 2 where it has a mirror image that serves as well."""
        return 2 if self.augment and self.simulator_.parity is not None else 1

    def check_large(self, X: Any) -> np.ndarray:
        """Return large snapshots, checked; those of a memory map of their type are not copied."""
        check_is_fitted(self)
        X = validate_input(self, snapshots_of(X), reset=False, allow_nd=True)
        self._plan_for(X.shape[1:])
        return self.simulator_.check_states(X)

    def sample(
        self, X: np.ndarray, numbers: np.ndarray, groups: np.ndarray, entropy: int,
        checkpoint: Checkpoint | None = None, pairs: np.ndarray | None = None,
        ages: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return the pairs of snapshots X (n, ...) of given numbers (n,) and groups (n,).

        They fill `pairs`, if that is given, and have the `ages` (n,) of relaxed snapshots.
        """
        plan, copies, source = self._plan_for(X.shape[1:]), self.n_copies, X
        patches, evolver, n_patches = plan.patches, plan.evolver, len(plan.grid.origins)
        if pairs is None:
            pairs = np.empty(copies * len(X), plan.dtype(aged=ages is not None))
        if plan.augmentation is None:
            pairs["x"] = X
        else:
            source = pairs["x"]
            plan.augmentation.fill(source, X, numbers, entropy)
        pairs["n_patches"], pairs["n_evolved"] = n_patches, patches.n_evolved
        pairs["group"] = np.repeat(groups, copies)
        if len(self.context):
            pairs["context"] = self._context()
        if ages is not None:
            pairs["age"] = np.repeat(ages, copies)
        if patches.n_joint:
            share = n_patches / self.n_patches_  # 1, unless of lattices of another size
            pairs["lam"], pairs["lam_error"] = self.lam_ * share, self.lam_error_ * share
        rows = (copies * numbers[:, np.newaxis] + np.arange(copies)).ravel()

        def work(x: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
            x = np.ascontiguousarray(x)
            origins, streams = patches.draw(plan.grid, entropy, rows)
            if self.moments:
                dt, (mean, cov) = evolver.span.time, evolver.moments(x, origins)
                return {
                    "origin": origins, "extent": np.tile(evolver.extent, (len(x), 1)),
                    "d_obs": mean * dt, "cov_obs": cov * dt, "dt": np.full(len(x), dt),
                }  # fmt: skip
            evolved, elapsed, d_obs = evolver.apart(x, origins, streams)
            means = {"d_obs": d_obs.mean(axis=1), "dt": elapsed.mean(axis=1)}
            return {"origin": origins, "x_next": evolved, **means}

        names = [name for name in EVOLVED if name in (pairs.dtype.names or ())]
        fill_rows(
            work, lambda start, stop: (source[start:stop], rows[start:stop]), len(pairs),
            checkpoint, {name: pairs[name] for name in names},
            n_jobs=self.n_jobs, verbose=self.verbose, desc="evolve",
        )  # fmt: skip
        return pairs

    # Checks ---------------------------------------------------------------------------------------

    def check_parameters(self, lattice: Lattice) -> None:
        """Raise ValueError for parameters that do not fit the simulator or a lattice."""
        fields = (self.simulator_.n_fields,) if self.simulator_.n_fields > 1 else ()
        self._plan_for((*lattice.site_shape, *fields))

    def _plan_for(self, shape: tuple[int, ...]) -> _Plan:
        """Return how pairs are made of large snapshots of a shape; known for that seen in fit."""
        plan = getattr(self, "_plan", None)
        if plan is not None and plan.shape == shape:
            return plan
        simulator, patches = self.simulator_, self.part("patch")
        lattice = simulator.lattice(shape)
        grid = patches.grid(lattice)
        boundary, span = as_boundary(self.boundary), self._span()
        if self.moments:
            simulator.check_moments()
            if span.time is None or boundary != Ghost():
                raise ValueError(
                    "Expected a time dt and boundary='ghost' with moments=True, but got "
                    f"dt={self.dt!r} and boundary={self.boundary!r}; nothing is evolved for "
                    "moments, so leave both at their defaults, or set moments=False."
                )
            if patches.n_joint:
                raise ValueError(
                    "Expected n_joint=0 with moments=True, but got n_joint="
                    f"{patches.n_joint}; moments are those of dt -> 0, where lam is K/p exactly."
                )
        self._context()
        dtype = partial(
            snapshot_pair_dtype, shape, (*grid.patch_shape, *shape[len(lattice.site_shape) :]),
            simulator.state_dtype,
            n_axes=lattice.ndim, n_evolved=patches.n_evolved, n_observables=simulator.n_observables,
            n_context=len(self.context), moments=self.moments, estimated_lam=patches.n_joint > 0,
        )  # fmt: skip
        evolver = PatchEvolver(simulator, lattice, grid.cells, boundary, span)
        augmentation = Augmentation(simulator, lattice) if self.augment else None
        return _Plan(shape, patches, grid, evolver, dtype, augmentation)

    def _span(self) -> Span:
        """Return for how long a patch evolves."""
        simulator = self.simulator_
        if isinstance(self.dt, EventCount):
            check_integer(self.dt.number, "number of events", low=1)
            return simulator.check_span(n_events=self.dt.number)
        if isinstance(self.dt, str):
            check_choice(self.dt, "dt", ("auto",))
            return simulator.check_span(simulator.pair_time)
        return simulator.check_span(check_real(self.dt, "dt", low=0.0, strict=True))

    def _context(self) -> list[float]:
        """Return the values of the simulator's parameters that `context` names."""
        params = self.simulator_.get_params(deep=False)
        numbers = {k: float(v) for k, v in params.items() if isinstance(v, Real)}
        if isinstance(self.context, str) or not set(self.context) <= set(numbers):
            raise ValueError(
                "Expected context to be a sequence of names of numeric parameters of "
                f"{type(self.simulator_).__name__}, but got {self.context!r}; choose from "
                f"{', '.join(numbers)}."
            )
        return [numbers[name] for name in self.context]

    @classmethod
    def convert(cls, name: str, value: Any) -> Any:
        """Return the value of a former parameter as it is now: events, or a buffer's width."""
        if name == "n_events":
            return ... if value is None else EventCount(value)
        return ... if name == "buffer" and not value else value

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags
