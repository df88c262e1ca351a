"""Active learning of a law: snapshots are made where it is unsure of the paths that are asked for.

repeat  pairs of new snapshots, first evenly spaced, then started at states in doubt
fit to all pairs
predict the paths, and their error
until   the error is below the tolerance, or the budget of site updates is spent
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from sklmacro._base.checks import check_column_names, check_integer, check_real
from sklmacro._base.streams import Stage, stream, stream_seed
from sklmacro.checkpoint.checkpoint import Checkpoint, resume_method
from sklmacro.law.correlation_length import check_other_size, correlation_length, relaxed
from sklmacro.law.stages import Factor, Harvest, SeveralSizes, harvest
from sklmacro.law.time_scale import (
    Runs,
    TimeFactor,
    estimate_time_factor,
    run_jointly,
    span_times,
    young,
)
from sklmacro.law.uncertainty import Asked, Prediction, as_rows, describe, predict, targets
from sklmacro.sampling.context import check_ranges, scattered
from sklmacro.sde.base import PatchSDE
from sklmacro.simulators import Simulator, resolve_simulator

STEPS = ("upsample", "evolve", "closure", "sde")
STEPS_OF_SIZES = ("pairs", "sde")
MOST_ROUNDS = 20
FINER = 4  # steps in one of predicted paths, where time itself is compared


@dataclass(frozen=True)
class Round:
    """A round of learning.

    Attributes
    ----------
    n_snapshots : int
        Large snapshots so far.
    site_time : float
        Sites times units of time that they were relaxed for, site updates where time is in sweeps.
    error : float
        Estimated relative error of the mean paths that are asked for.
    """

    n_snapshots: int
    site_time: float
    error: float


class ActiveLearner(BaseEstimator):
    """Learn a law until it is sure of the paths that are asked for.

    Parameters
    ----------
    pipeline : Pipeline
        Steps "upsample", "evolve", "closure" and "sde", or "pairs" (`SeveralSizes`) and "sde", the
        drift a Gaussian process; see `make_macro_pipeline`.
    small : int or sequence of int, default=16
        Cells along each axis of small snapshots, those that the pipeline was made for.
    duration : float, default=100.0
        Time for which paths are asked for.
    dt : float, default=None
        Step of predicted paths; None takes half of `simulator.pair_time`.
    tolerance : float, default=1e-4
        Relative error of the mean path, see `sklmacro.scoring.mean_path_error`, averaged over the
        starts, that is small enough.
    max_site_time : float, default=1e8
        Budget, in sites times units of time: site updates, where time is in sweeps. No round is
        begun that would exceed it, but for the first.
    n_initial : int, default=20
        Snapshots of the first round.
    n_joint : int, default=8
        Snapshots of each round whose whole lattices are run for a short time, by which the law's
        time is scaled, see `sklmacro.law.time_scale`; with 0 it is that of dt -> 0.
    context : mapping of str to (float, float), default=None
        Ranges of parameters of the simulator that the law is for, such as {"temperature": (2.3,
        4)}: every snapshot has values of its own, and the law takes them as context (Eq. 31).
    random_state : None, int, RandomState or Generator, default=None
        Seed.
    verbose : bool, default=False
        Print a line for each round.
    checkpoint_dir : str or Path, default=None
        Folder in which snapshots and pairs are saved, so that an interrupted fit resumes there.

    Attributes
    ----------
    model_ : Pipeline
        The fitted steps.
    rounds_ : list of Round
    error_, site_time_ : float
        Estimated error in the end, and what was spent.
    time_factor_ : TimeFactor or None
        The factor on time, with its error, at the times that it was seen at.
    correlation_length_ : float
        That of the relaxed snapshots of the last round, in cells, see
        `sklmacro.law.correlation_length`.
    pairs_ : structured ndarray
        Latent pairs that the law was fitted to.
    n_features_in_ : int
        Cells along the first axis of the starts.

    Examples
    --------
    >>> import sklmacro as skm
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=4.0)
    >>> pipeline = skm.make_macro_pipeline(ising, small=8, large=16, random_state=0)
    >>> learner = skm.ActiveLearner(pipeline, small=8, duration=5.0, n_initial=8, random_state=0)
    >>> start = ising.sample_initial(2, 64, random_state=1)
    >>> learner = learner.set_params(tolerance=0.01).fit(start)
    >>> learner.simulate(start, 20, 0.25, n_paths=3, random_state=0).shape
    (6, 21, 2)
    """

    model_: Pipeline
    rounds_: list[Round]
    error_: float
    site_time_: float
    time_factor_: TimeFactor | None
    correlation_length_: float
    pairs_: np.ndarray
    n_features_in_: int

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        small: int | Sequence[int] = 16,
        duration: float = 100.0,
        dt: float | None = None,
        tolerance: float = 1e-4,
        max_site_time: float = 1e8,
        n_initial: int = 20,
        n_joint: int = 8,
        context: Mapping[str, tuple[float, float]] | None = None,
        random_state: Any = None,
        verbose: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.pipeline = pipeline
        self.small = small
        self.duration = duration
        self.dt = dt
        self.tolerance = tolerance
        self.max_site_time = max_site_time
        self.n_initial = n_initial
        self.n_joint = n_joint
        self.context = context
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint_dir = checkpoint_dir

    def fit(self, X: Any, y: Any = None, context: Any = None) -> "ActiveLearner":
        """Learn the law until it is sure of the paths that start at X.

        Parameters
        ----------
        X : array-like of shape (n_starts, *snapshot shape)
            Snapshots that paths are asked to start from, of a lattice of any size.
        y : ignored
        context : array-like of shape (n_context,) or (n_starts, n_context), default=None
            Parameters of the paths that are asked for, in the order of `context` of the learner;
            None spreads them over the ranges.

        Returns
        -------
        self : ActiveLearner

        Raises
        ------
        ValueError
            If X is not a batch of snapshots of the simulator, or a parameter does not fit.

        Warns
        -----
        ConvergenceWarning
            If the error is not below the tolerance in the end.
        """
        self.check_parameters()
        self.model_ = Pipeline([(name, clone(step)) for name, step in self.pipeline.steps])
        X = self._simulator.check_snapshots(X)
        self.n_features_in_ = X.shape[1]
        if context is not None:
            context = self._rows_of(context, len(X))
        with resume_method(self, "fit", X=X, context=context) as (checkpoint, entropy):
            self._learn(X, context, checkpoint, entropy)
        return self

    def simulate(
        self, X: Any, n_steps: int, dt: float, *, context: Any = None, **options: Any
    ) -> Any:
        """Simulate paths of z from snapshots X, of their own size.

        Parameters
        ----------
        X : array-like of shape (n_starts, *snapshot shape)
        n_steps, dt, context, **options
            As for `PatchSDERegressor.simulate`.

        Returns
        -------
        paths : ndarray of shape (n_starts * n_paths, n_steps // store_every + 1, d)

        Raises
        ------
        ValueError
            If correlations are too long for a law of another size: the lattice that it was learned
            at has fewer than four correlation lengths along an axis.
        """
        check_is_fitted(self)
        X = self._simulator.check_snapshots(X)
        lattice = self._simulator.lattice(X.shape[1:])
        check_other_size(lattice, self._sde.sizes_.n_sites, self.correlation_length_)
        z, n_sites = self._closure.transform(X), lattice.n_sites
        return self._sde.simulate(z, n_steps, dt, context=context, n_sites=n_sites, **options)

    # Checks ---------------------------------------------------------------------------------------

    def check_parameters(self) -> None:
        """Raise ValueError unless the parameters make sense."""
        names = tuple(name for name, _ in getattr(self.pipeline, "steps", ()))
        if names not in (STEPS, STEPS_OF_SIZES):
            raise ValueError(
                f"Expected a pipeline of the steps {', '.join(STEPS)}, but got "
                f"{', '.join(names) or repr(self.pipeline)}; use make_macro_pipeline, and set its "
                "parameters."
            )
        check_integer(self.n_initial, "n_initial", low=4)
        check_integer(self.n_joint, "n_joint", low=0)
        for name in ("duration", "tolerance", "max_site_time"):
            check_real(getattr(self, name), name, low=0.0, strict=True)
        if self.dt is not None:
            check_real(self.dt, "dt", low=0.0, strict=True)
        check_ranges(self.context)

    def _rows_of(self, context: Any, n: int) -> np.ndarray:
        """Return parameters (n, n_context) of the paths that are asked for, checked."""
        check_column_names(context, self._names, "context")
        rows = as_rows(context, n)
        if rows.shape != (n, len(self._names)) or not np.isfinite(rows).all():
            raise ValueError(
                f"Expected finite values of {', '.join(self._names) or 'no parameter'} for each of "
                f"{n} starts, or for all, but got an array of shape {np.shape(context)}; pass them "
                "in the order of the learner's context."
            )
        return rows

    # Parts ----------------------------------------------------------------------------------------

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.context or ())

    @property
    def _sizes(self) -> SeveralSizes | None:
        """The stages of several sizes, if there are."""
        return self.model_.named_steps.get("pairs")

    @property
    def _simulator(self) -> Simulator:
        sizes = self._sizes
        own = self.model_["upsample"] if sizes is None else sizes.upsample
        return resolve_simulator(own.simulator)

    @property
    def _sde(self) -> PatchSDE:
        return self.model_["sde"]

    @property
    def _closure(self) -> Any:
        return self.model_["closure"] if self._sizes is None else self._sizes.closure_

    # Rounds ---------------------------------------------------------------------------------------

    def _learn(
        self, X: np.ndarray, context: Any, checkpoint: Checkpoint | None, entropy: int
    ) -> None:
        """Make snapshots and fit, round by round."""
        sizes, rng = self._sizes, stream(entropy, Stage.LEARN)
        if sizes is not None:
            sizes.closure_ = clone(sizes.closure)
        if self._names:
            self._closure.set_params(context=self._names)
        if context is None:
            context = scattered(self.context, len(X), rng)
        n_new, wanted = int(self.n_initial), "even"  # type: tuple[int, Any]
        state, self.rounds_ = _State(), []
        while n_new:
            parameters = scattered(self.context, n_new, rng)
            seed = stream_seed(entropy, Stage.LEARN, 1000 + len(self.rounds_))
            folder = checkpoint and checkpoint.folder / f"round-{len(self.rounds_)}"
            harvest = self._harvest(n_new, wanted, parameters, seed, folder)
            runs = self._run_jointly(harvest, seed)
            cost_of_runs = 0.0 if runs is None else runs.site_time
            state = state.after(harvest, runs, harvest.site_time + cost_of_runs)
            self._fit(state, seed)
            prediction = predict(self._sde, self._asked(X, context), seed)
            self._note(n_new, state.site_time, prediction)
            n_new = self._n_next(prediction, harvest.site_time / n_new, cost_of_runs)
            if n_new:
                wanted = self._wanted(prediction, n_new, rng)
        self.correlation_length_ = correlation_length(
            self._simulator, relaxed(harvest.largest), prediction.spread
        )
        if self.error_ > self.tolerance:
            reason = "raise max_site_time"
            if len(self.rounds_) == MOST_ROUNDS:
                reason = f"the most of {MOST_ROUNDS} rounds is reached: raise n_initial"
            warnings.warn(
                f"Expected an error of the mean path of at most {self.tolerance:.1e}, but "
                f"{self.error_:.1e} is left after {self.site_time_:.2e} site updates; {reason}.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _harvest(
        self, n: int, wanted: Any, parameters: np.ndarray, seed: int, folder: Any
    ) -> Harvest:
        """Return the latent pairs of n new snapshots, whose observables are as wanted."""
        small = self._simulator.sample_initial(
            n, self.small, observables=wanted, random_state=seed % 2**31
        )
        sizes, first = self._sizes, self._n_snapshots
        if sizes is None:
            upsample, evolve = self.model_["upsample"], self.model_["evolve"]
            factors: Sequence[Factor | None] = [None]
        else:
            upsample, evolve, factors = sizes.upsample, sizes.evolve, sizes.checked_factors()
            sizes.n_features_in_ = small.shape[1]
        return harvest(
            upsample, evolve, self._closure, factors, small, first + np.arange(n), self._names,
            parameters, seed, folder, fit=not first,
        )  # fmt: skip

    def _run_jointly(self, harvest: Harvest, seed: int) -> Runs | None:
        """Return short runs of the whole lattices of some of the largest snapshots."""
        if not self.n_joint:
            return None
        pairs = young(harvest.largest, span_times(self._simulator)[0])
        some = stream(seed, Stage.LEARN).permutation(len(pairs))[: self.n_joint]
        context = pairs["context"][some] if self._names else np.empty((len(some), 0))
        X = pairs["x"][some]
        z = self._closure.transform(X)
        return run_jointly(self._simulator, X, z, self._names, context, seed)

    def _fit(self, state: "_State", seed: int) -> None:
        """Fit the law, and scale its time."""
        self.pairs_ = np.concatenate(state.pairs)
        self._sde.fit(self.pairs_)
        self.time_factor_, self.site_time_ = None, state.site_time
        if state.runs is None:
            return
        times = span_times(self._simulator)
        dt = self._dt / FINER  # Euler's own error of time is none of the law's
        self.time_factor_ = estimate_time_factor(state.runs, times, self._sde, dt, seed)
        if (factor := self.time_factor_.in_use) != 1:
            self.pairs_["dt"] /= factor
            self._sde.fit(self.pairs_)

    @property
    def _dt(self) -> float:
        """Step of predicted paths."""
        return self._simulator.pair_time / 2 if self.dt is None else float(self.dt)

    def _asked(self, X: np.ndarray, context: Any) -> Asked:
        n_sites = self._simulator.lattice(X.shape[1:]).n_sites
        return Asked(
            self._closure.transform(X), context, n_sites, float(self.duration), self._dt,
            self._simulator.n_observables,
        )  # fmt: skip

    def _note(self, n_new: int, site_time: float, prediction: Prediction) -> None:
        """Note what a round has come to."""
        number, n = len(self.rounds_), self._n_snapshots + n_new
        self.rounds_.append(Round(n, site_time, prediction.error))
        self.error_ = prediction.error
        if self.verbose:
            line = describe(number, n, site_time, self.error_, self.tolerance, self.time_factor_)
            tqdm.write(line)

    @property
    def _n_snapshots(self) -> int:
        return self.rounds_[-1].n_snapshots if self.rounds_ else 0

    def _n_next(self, prediction: Prediction, price: float, cost_of_runs: float) -> int:
        """Return the number of snapshots of the next round, as the error asks for; 0 ends.

        A snapshot costs `price`, and all joint runs of a round `cost_of_runs`.
        """
        if self.error_ <= self.tolerance or len(self.rounds_) == MOST_ROUNDS:
            return 0
        left = self.max_site_time - self.site_time_ - cost_of_runs
        left //= max(price, np.finfo(float).tiny)
        now = self._n_snapshots
        wanted = now * (min(prediction.error / self.tolerance, 1e6) - 1)
        return int(min(np.clip(wanted, self.n_initial / 2, now), max(left, 0)))

    def _wanted(self, prediction: Prediction, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return observables (n, q) of the next snapshots, NaN where they do not matter."""
        simulator = self._simulator
        z = targets(prediction, n, rng)[:, : simulator.n_observables].copy()
        fast = [name in simulator.fast_observables for name in simulator.observable_names]
        if not all(fast):
            z[:, fast] = np.nan
        return z


class _State(NamedTuple):
    """What all rounds so far have given."""

    pairs: tuple[np.ndarray, ...] = ()
    runs: Runs | None = None
    site_time: float = 0.0

    def after(self, harvest: Harvest, runs: Runs | None, cost: float) -> "_State":
        """Return it with one more round."""
        joined = runs if self.runs is None or runs is None else self.runs.join(runs)
        return _State((*self.pairs, harvest.pairs), joined, self.site_time + cost)
