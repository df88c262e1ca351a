"""Active learning of a law: snapshots are made where it is unsure of the paths that are asked for.

repeat  pairs of new snapshots, first evenly spaced, then started at states in doubt
fit to all pairs
predict the paths, and their error
until   the error is below the tolerance, or the budget of site updates is spent
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import qmc
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_integer, check_real
from sklmacro._base.streams import Stage, stream, stream_seed
from sklmacro.checkpoint.checkpoint import Checkpoint, resume_method
from sklmacro.law.harvest import snapshot_pairs
from sklmacro.law.uncertainty import Asked, Prediction, as_rows, describe, predict, targets

STEPS = ("upsample", "evolve", "closure", "sde")
MOST_ROUNDS = 20


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
        Steps "upsample", "evolve", "closure" and "sde", the drift a Gaussian process; see
        `make_macro_pipeline`.
    small : int or sequence of int, default=16
        Cells along each axis of small snapshots.
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
    n_paths : int, default=32
        Paths from each start, by which the error is estimated.
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

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        small: Any = 16,
        duration: float = 100.0,
        dt: float | None = None,
        tolerance: float = 1e-4,
        max_site_time: float = 1e8,
        n_initial: int = 20,
        n_paths: int = 32,
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
        self.n_paths = n_paths
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
            If the budget is spent before the error is below the tolerance.
        """
        self._check_parameters()
        self.model_ = Pipeline([(name, clone(step)) for name, step in self.pipeline.steps])
        simulator = self.model_["upsample"].simulator
        X = simulator.check_snapshots(X)
        self.n_features_in_ = X.shape[1]
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
        """
        check_is_fitted(self)
        X = self.model_["upsample"].simulator.check_snapshots(X)
        z, n_sites = self.model_["closure"].transform(X), self._n_sites(X)
        return self.model_["sde"].simulate(
            z, n_steps, dt, context=context, n_sites=n_sites, **options
        )

    def _check_parameters(self) -> None:
        names = tuple(name for name, _ in self.pipeline.steps)
        if names != STEPS:
            raise ValueError(
                f"Expected a pipeline of the steps {', '.join(STEPS)}, but got "
                f"{', '.join(names)}; use make_macro_pipeline, and set its parameters."
            )
        check_integer(self.n_initial, "n_initial", low=4)
        check_integer(self.n_paths, "n_paths", low=2)
        for name in ("duration", "tolerance", "max_site_time"):
            check_real(getattr(self, name), name, low=0.0, strict=True)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.context or ())

    def _n_sites(self, X: np.ndarray) -> int:
        return self.model_["upsample"].simulator.lattice(X.shape[1:]).n_sites

    def _learn(
        self, X: np.ndarray, context: Any, checkpoint: Checkpoint | None, entropy: int
    ) -> None:
        """Make snapshots and fit, round by round."""
        simulator, names = self.model_["upsample"].simulator, self._names
        closure, sde = self.model_["closure"], self.model_["sde"]
        if names:
            closure.set_params(context=names)
        rng = stream(entropy, Stage.LEARN)
        if context is None and names:
            context = self._scattered(len(X), rng)
        self.rounds_: list[Round] = []
        z_wanted: Any = "even"
        pairs, parameters = [], self._scattered(int(self.n_initial), rng)
        n_new, cost = int(self.n_initial), 0.0
        while True:
            number = len(self.rounds_)
            seed = stream_seed(entropy, Stage.LEARN, 1000 + number)
            small = simulator.sample_initial(
                n_new, self.small, observables=z_wanted, random_state=seed % 2**31
            )
            folder = None if checkpoint is None else checkpoint.folder / f"round-{number}"
            first = self._n_snapshots()
            new, spent = snapshot_pairs(self.model_, small, names, parameters, seed, folder, first)
            cost += spent
            if not number:
                closure.fit(new)
            pairs.append(closure.transform(new))
            self.pairs_ = np.concatenate(pairs)
            sde.fit(self.pairs_)
            if not number:
                asked = self._asked(X, context)
            prediction = predict(sde, asked, seed)
            self.rounds_.append(Round(first + n_new, cost, prediction.error))
            self.error_, self.site_time_ = prediction.error, cost
            if self.verbose:
                print(
                    describe(number, first + n_new, cost, self.error_, self.tolerance), flush=True
                )
            if self.error_ <= self.tolerance or number + 1 >= MOST_ROUNDS:
                break
            n_new = self._n_next(prediction, spent / n_new)
            if n_new < 1:
                break
            z_wanted, parameters = self._wanted(prediction, n_new, rng)
        if self.error_ > self.tolerance:
            warnings.warn(
                f"Expected an error of the mean path of at most {self.tolerance:.1e}, but "
                f"{self.error_:.1e} is left after {cost:.2e} site updates; raise max_site_time.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _n_snapshots(self) -> int:
        return self.rounds_[-1].n_snapshots if self.rounds_ else 0

    def _asked(self, X: np.ndarray, context: Any) -> Asked:
        simulator = self.model_["upsample"].simulator
        dt = simulator.pair_time / 2 if self.dt is None else self.dt
        dt = check_real(dt, "dt", low=0.0, strict=True)
        z = self.model_["closure"].transform(X)
        return Asked(
            z, as_rows(context, len(X)), self._n_sites(X), float(self.duration), dt,
            int(self.n_paths), simulator.n_observables,
        )  # fmt: skip

    def _n_next(self, prediction: Prediction, price: float) -> int:
        """Return the number of snapshots of the next round, as the error asks for."""
        now, left = (
            self._n_snapshots(),
            (self.max_site_time - self.site_time_) // max(price, 1e-300),
        )
        wanted = now * (min(prediction.error / self.tolerance, 1e6) - 1)
        return int(min(np.clip(wanted, self.n_initial / 2, now), left))

    def _wanted(
        self, prediction: Prediction, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return observables and parameters of the next snapshots."""
        simulator = self.model_["upsample"].simulator
        z = targets(prediction, n, rng)[:, : simulator.n_observables].copy()
        fast = [name in simulator.fast_observables for name in simulator.observable_names]
        if not all(fast):
            z[:, fast] = np.nan
        return z, self._scattered(n, rng)

    def _scattered(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return parameters (n, n_context), scattered evenly over their ranges."""
        if not self.context:
            return np.empty((n, 0))
        low, high = np.array(list(self.context.values()), float).T
        points = qmc.Halton(len(low), scramble=True, rng=rng).random(n)
        return low + (high - low) * points
