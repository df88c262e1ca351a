"""Partial evolution: one patch of each large snapshot, for a short time (Sec. II.1, Eq. 3).

The lattice is tiled by K patches. Of each snapshot x_t some of them, drawn at random, are evolved
for a short time dt, each from x_t and with its surroundings as they are at t. Pairs of x_t and the
evolved patches are all that the macroscopic dynamics is learned from. As dt -> 0 the law of an
increment is known: pairs of moments carry its mean and its covariance in the place of a sample.
"""

import os
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklmacro._base.checks import check_cells, check_choice, check_integer, check_real
from sklmacro._base.estimators import CallbackSupportMixin, SetOutput, as_one_task
from sklmacro._base.streams import Stage, Streams, choose
from sklmacro.checkpoint.atomic import check_out, fill_array
from sklmacro.checkpoint.checkpoint import Checkpoint, resume_method
from sklmacro.checkpoint.rows import fill_rows
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid
from sklmacro.sampling.boundary import Surroundings
from sklmacro.sampling.increments import evolved_patches, moments_of_patches
from sklmacro.sampling.lam import check_joint, estimate_lam, joint_rows
from sklmacro.sampling.pairs import check_groups, snapshot_pair_dtype
from sklmacro.sampling.symmetry import Augmentation
from sklmacro.simulators import Simulator, resolve_simulator

MADE = ("x_next", "extent", "origin", "d_obs", "cov_obs", "dt")  # some of them


class PartialEvolutionSampler(CallbackSupportMixin, SetOutput, BaseEstimator):
    """Evolve patches of large snapshots for a short time.

    Parameters
    ----------
    simulator : Simulator, default=None
        Microscopic simulator; None stands for `LinearChain()`, an open chain of one field.
    patch : int or sequence of int, default=None
        Cells of a patch; None takes the whole lattice (K = 1, full evolution).
    dt : float or "auto", default="auto"
        Time for which a patch evolves; "auto" takes `simulator.pair_time`. Theorem 1 holds for
        short dt: neighbouring patches become dependent as it grows.
    n_events : int, default=None
        Number of events for which a patch evolves, in the place of dt; every pair then has its own
        elapsed time.
    boundary : {"ghost", "buffer", "periodic"}, default="ghost"
        What surrounds a patch while it evolves.
    buffer : int, default=0
        Width of the buffer in cells, for `boundary="buffer"`.
    n_patches_evolved : int, default=1
        Different patches p evolved of each snapshot, at most K; increments are averaged over them.
    origins : {"grid", "random"}, default="grid"
        Patches of the grid, or patches at random places of a periodic lattice.
    moments : bool, default=False
        Evolve nothing, and give the increments' mean and covariance as dt -> 0, which are exact;
        see `Simulator.moments`. Both are proportional to dt, and so any dt leads to the same model,
        that of the kinetics at short times.
    context : sequence of str, default=()
        Parameters of the simulator to write into the pairs (Eq. 31), such as "temperature".
    augment : bool, default=False
        Use the symmetries that the simulator declares, see `sklmacro.sampling.symmetry`. Every snapshot is
        turned by a random element of the lattice's point group. With a mirror image -x the rows
        double: row 2 k is the turned snapshot k, row 2 k + 1 its mirror image, evolved
        independently; both have the same group.
    n_joint : int, default=0
        Snapshots of which the whole lattice is also evolved, 4 times each, to estimate the factor
        lam on the covariance; 0 estimates none. Its standard error is at best lam/sqrt(n_joint).
    random_state : None, int, RandomState or Generator, default=None
        Seed; every snapshot has its own stream.
    n_jobs : int, default=None
        Workers over the snapshots; the result does not depend on it.
    verbose : bool, default=False
        Show progress with the time left.
    out : str or Path, default=None
        File (.npy) in which transform puts the pairs, and from which it returns them mapped.
    checkpoint_dir : str or Path, default=None
        Folder in which pairs and joint evolutions that are ready are kept, so that an interrupted
        call goes on from there when it is made again. It is for one X each of fit and transform.

    Attributes
    ----------
    simulator_ : Simulator
        The simulator in use.
    grid_ : PatchGrid
        Patches of the snapshots seen in fit.
    n_patches_ : int
        K, the number of patches.
    dt_ : float or None
        Evolution time; None with `n_events`.
    lam_, lam_error_ : float
        With `n_joint`, the estimated factor on the covariance, the mean of those of the observables
        with equal weights, and its standard error; both are written into the pairs. As dt -> 0 it
        tends to K/p. See `sklmacro.sampling.lam`.
    lam_of_observables_ : ndarray of shape (n_observables,)
        With `n_joint`, each observable's own factor; NaN for one that never changed.
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
        patch: int | Sequence[int] | None = None,
        dt: float | str = "auto",
        n_events: int | None = None,
        boundary: str = "ghost",
        buffer: int = 0,
        n_patches_evolved: int = 1,
        origins: str = "grid",
        moments: bool = False,
        context: Sequence[str] = (),
        augment: bool = False,
        n_joint: int = 0,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
        out: str | os.PathLike[str] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.simulator = simulator
        self.patch = patch
        self.dt = dt
        self.n_events = n_events
        self.boundary = boundary
        self.buffer = buffer
        self.n_patches_evolved = n_patches_evolved
        self.origins = origins
        self.moments = moments
        self.context = context
        self.augment = augment
        self.n_joint = n_joint
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.out = out
        self.checkpoint_dir = checkpoint_dir

    @as_one_task
    def fit(self, X: Any, y: Any = None) -> "PartialEvolutionSampler":
        """Check the parameters against large snapshots, and estimate lam where `n_joint` says so.

        Parameters
        ----------
        X : array-like of shape (n_samples, *large snapshot shape)
            Large snapshots.
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
        X = self._prepare(X)
        if check_integer(self.n_joint, "n_joint", low=0):
            self._fit_lam(len(X), lambda chosen: X[chosen], X=X)
        return self

    def _prepare(self, X: Any) -> np.ndarray:
        """Return large snapshots, checked together with the parameters."""
        self.simulator_ = resolve_simulator(self.simulator)
        check_out(self.out)
        X = self._large(X, reset=True)
        lattice = self.simulator_.lattice(X.shape[1:])
        self.grid_ = self._grid(lattice)
        self.n_patches_ = self.grid_.n_patches
        self.dt_ = self._duration()
        self._check_parameters(lattice)
        return X

    def _check_parameters(self, lattice: Lattice) -> None:
        """Raise ValueError for parameters that do not fit the simulator or a lattice."""
        check_choice(self.origins, "origins", ("grid", "random"))
        if self.origins == "random" and lattice.boundary == "open":
            raise ValueError(
                "Expected a periodic lattice for origins='random', but got an open one; sites near "
                "its edges would be evolved too rarely, so use origins='grid'."
            )
        self._context()
        if self.moments:
            self._check_moments()
        if self.augment:
            Augmentation(self.simulator_, lattice)  # refuses a simulator without symmetries
        Surroundings(self.boundary, self.buffer).check(self.simulator_, lattice, self.grid_.cells)

    def fit_transform(self, X: Any, y: Any = None, groups: Any = None) -> np.ndarray:
        """Fit to large snapshots and return their snapshot pairs; see `transform`."""
        return self.fit(X, y).transform(X, groups)

    def transform(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return snapshot pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, *large snapshot shape)
            Large snapshots; not changed.
        groups : array-like of shape (n_samples,), default=None
            Source trajectory of each snapshot; None numbers the snapshots.

        Returns
        -------
        pairs : structured ndarray of shape (n_samples,), or (2 n_samples,) with mirror images
            See `sklmacro.sampling.pairs`.
        """
        check_is_fitted(self)
        X = self._large(X, reset=False)
        groups = np.arange(len(X)) if groups is None else check_groups(groups, len(X))
        lam = getattr(self, "lam_", None), self.n_patches_
        resumed = resume_method(self, "transform", X=X, groups=groups, lam=lam)
        with resumed as (checkpoint, entropy):
            return fill_array(
                self.out, (self._copies(X.shape[1:]) * len(X),), self._dtype(X),
                lambda pairs: self._fill(X, np.arange(len(X)), groups, entropy, pairs, checkpoint),
            )  # fmt: skip

    def _large(self, X: Any, reset: bool) -> np.ndarray:
        """Return large snapshots, checked; those of a memory map of their type are not copied."""
        return self.simulator_.check_snapshots(validate_data(self, X, reset=reset, allow_nd=True))

    def _copies(self, shape: tuple[int, ...]) -> int:
        """Return the number of pairs of each snapshot of a shape."""
        lattice = self.simulator_.lattice(shape)
        return Augmentation(self.simulator_, lattice).copies if self.augment else 1

    def _dtype(self, X: np.ndarray) -> np.dtype:
        """Return the dtype of the pairs of large snapshots."""
        lattice = self.simulator_.lattice(X.shape[1:])
        tail = X.shape[1 + len(lattice.site_shape) :]
        return snapshot_pair_dtype(
            X.shape[1:], (*self._grid(lattice).patch_shape, *tail), X.dtype, n_axes=lattice.ndim,
            n_evolved=self.n_patches_evolved, n_observables=self.simulator_.n_observables,
            n_context=len(self.context), moments=self.moments, estimated_lam=self.n_joint > 0,
        )  # fmt: skip

    def _fill(
        self,
        X: np.ndarray,
        numbers: np.ndarray,
        groups: np.ndarray,
        entropy: int,
        pairs: np.ndarray,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Fill the pairs of snapshots X (n, ...) of given numbers (n,) and groups (n,)."""
        lattice = self.simulator_.lattice(X.shape[1:])
        grid, copies = self._grid(lattice), len(pairs) // len(X)
        if self.augment:
            Augmentation(self.simulator_, lattice, entropy).fill(pairs["x"], X, numbers)
        else:
            pairs["x"] = X
        pairs["n_patches"], pairs["n_evolved"] = grid.n_patches, self.n_patches_evolved
        pairs["group"] = np.repeat(groups, copies)
        if self.context:
            pairs["context"] = self._context()
        if self.n_joint:
            share = grid.n_patches / self.n_patches_  # 1, unless of lattices of another size
            pairs["lam"], pairs["lam_error"] = self.lam_ * share, self.lam_error_ * share
        source = pairs["x"] if self.augment else X
        rows = (copies * numbers[:, np.newaxis] + np.arange(copies)).ravel()

        def work(x: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
            x = np.ascontiguousarray(x)
            streams = Streams(entropy, Stage.EVOLVE, rows)
            origins = self._places(lattice, grid, streams.keys)
            if self.moments:
                assert self.dt_ is not None
                return moments_of_patches(self.simulator_, x, grid, origins, self.dt_)
            around = Surroundings(self.boundary, self.buffer)
            return evolved_patches(
                self.simulator_, x, grid, origins, around, self.dt_, self.n_events, streams
            )

        out = {name: pairs[name] for name in MADE if name in (pairs.dtype.names or ())}
        fill_rows(
            work, lambda start, stop: (source[start:stop], rows[start:stop]), len(pairs),
            checkpoint, out, n_jobs=self.n_jobs, verbose=self.verbose, desc="evolve",
        )  # fmt: skip

    def _places(self, lattice: Lattice, grid: PatchGrid, keys: np.ndarray) -> np.ndarray:
        """Draw origins (n, p, ndim) of different patches of each snapshot."""
        origins = grid.origins[choose(grid.n_patches, self.n_patches_evolved, keys[:, 0])]
        if self.origins == "grid":
            return origins
        cells = zip(lattice.cells, keys[:, 1:].T, strict=False)
        shifts = np.stack([choose(n, 1, key) for n, key in cells], axis=-1)
        return (origins + shifts) % lattice.cells  # the whole grid: the patches stay disjoint

    def _check_moments(self) -> None:
        """Raise ValueError for parameters that ask for an evolution."""
        self.simulator_.check_moments()
        if self.n_events is not None or self.boundary != "ghost":
            raise ValueError(
                "Expected n_events=None and boundary='ghost' with moments=True, but got "
                f"n_events={self.n_events} and boundary={self.boundary!r}; nothing is evolved for "
                "moments, so leave both at their defaults, or set moments=False."
            )

    def _fit_lam(
        self, n_samples: int, take: Callable[[np.ndarray], np.ndarray], **data: Any
    ) -> None:
        """Estimate lam for p evolved patches from joint evolutions of some of the snapshots.

        `take` returns those of given numbers; `data` is what they are made from.
        """
        check_joint(self.n_joint, n_samples, self.simulator_.n_observables, self.moments)
        with resume_method(self, "fit", **data) as (checkpoint, entropy):
            self.lam_, self.lam_error_, self.lam_of_observables_ = estimate_lam(
                self.simulator_, take(joint_rows(self.n_joint, n_samples, entropy)), self.grid_,
                Surroundings(self.boundary, self.buffer), self.n_patches_evolved, self.dt_,
                self.n_events, entropy, checkpoint, n_jobs=self.n_jobs, verbose=self.verbose,
            )  # fmt: skip

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

    def _grid(self, lattice: Lattice) -> PatchGrid:
        whole = self.patch is None
        cells = lattice.cells if whole else check_cells(self.patch, "patch", lattice.ndim)
        grid = PatchGrid(lattice, cells)
        p = check_integer(self.n_patches_evolved, "n_patches_evolved", low=1)
        if p > grid.n_patches:
            raise ValueError(
                f"Expected n_patches_evolved of at most K={grid.n_patches}, the number of patches, "
                f"but got {p}; evolve fewer patches, or use smaller ones."
            )
        return grid

    def _duration(self) -> float | None:
        """Return the evolution time, None when events are counted."""
        simulator = self.simulator_
        if isinstance(self.dt, str):
            check_choice(self.dt, "dt", ("auto",))
            duration = simulator.pair_time if self.n_events is None else None
        else:
            duration = check_real(self.dt, "dt", low=0.0, strict=True)
        simulator.check_evolution(duration, self.n_events)
        if self.n_events is not None:
            check_integer(self.n_events, "n_events", low=1)
        return duration

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags
