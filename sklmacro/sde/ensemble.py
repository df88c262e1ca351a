"""Ensembles of macroscopic SDEs: how far a learned model, and what follows from it, can be trusted.

Bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 6 and 9): each member
is fitted to as many groups as the data have, drawn with replacement. A group is a source
trajectory, the unit that is independent of the others; rows of one trajectory are not. With the
value theta_k that member k gives to a quantity,

    theta = mean_k theta_k,      error = std_k theta_k,      theta_k - theta_hat ~ theta_hat - truth

so that the standard deviation over members estimates the standard error of the fit theta_hat. Of
n members the mean lies within error / sqrt(n) of theta_hat, and the error is itself uncertain:
the truth is within theta +- t error sqrt(1 + 1/n), t Student's quantile for n - 1 degrees.
"""

import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from itertools import chain
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.callback import with_callbacks
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_integer, check_real
from sklmacro._base.estimators import begin_fit, validate_input
from sklmacro._base.streams import Stage, resolve_entropy, stream, stream_seed
from sklmacro._base.workers import single_threaded
from sklmacro.checkpoint.checkpoint import resume_method
from sklmacro.sampling.pairs import GroupsWarning, increments_of, is_structured, source_groups
from sklmacro.sde.base import PatchSDE
from sklmacro.sde.estimator import LikelihoodRegressor
from sklmacro.sde.path_record import PathRecord
from sklmacro.sde.regressor import PatchSDERegressor


class SDEEnsemble(LikelihoodRegressor, BaseEstimator):
    """Macroscopic SDEs fitted to bootstrap samples of the trajectories, for error bars.

    It stands where an SDE stands: last in a Pipeline, in `PathScorer`, in a search over `sde__lam`.
    Error bars need many trajectories: with 300 of them the 95 % intervals of a linear SDE held the
    truth in 95 % of 400 refits, with 40 of unequal weight in 90 %.

    Parameters
    ----------
    sde : PatchSDERegressor or OnsagerSDE, default=None
        What the members are clones of; None stands for `PatchSDERegressor()`.
    n_members : int, default=8
        Number of members, at least 2. A relative error of about 1 / sqrt(2 n_members) remains in
        the error bars; `interval_factor` allows for it.
    bootstrap : bool, default=True
        Fit each member to groups drawn with replacement; the rows of plain X are groups of their
        own. False gives all members all data: they differ by their seeds alone, and their spread
        is the noise of training, not a standard error.
    random_state : None, int, RandomState or Generator, default=None
        Seed of the bootstrap samples, and of the members instead of their own.
    n_jobs : int, default=None
        Processes over which the fits are spread; the result does not depend on it.
    checkpoint_dir : str or Path, default=None
        Folder with one for the training of each member, as in `PatchSDERegressor`; that of `sde`
        is not used.

    Attributes
    ----------
    members_ : list of fitted SDEs
    lam_ : float
        Factor on the covariance, mean over the members.
    n_state_, n_features_in_ : int
        d, dimension of the state; and d plus the number of context values.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import PatchSDERegressor, SDEEnsemble
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (2000, 1))
    >>> dz = -0.5 * z * 0.1 + 0.2 * np.sqrt(0.1) * rng.standard_normal(z.shape)
    >>> sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant", dt=0.1)
    >>> ensemble = SDEEnsemble(sde, n_members=40, random_state=0).fit(z, dz)
    >>> value, error = ensemble.drift([[1.0]]).item(), ensemble.drift_error([[1.0]]).item()
    >>> abs(value - -0.5) < ensemble.interval_factor(0.95) * error
    True
    """

    members_: list[PatchSDE]
    lam_: float
    n_state_: int
    n_features_in_: int

    def __init__(
        self,
        sde: PatchSDE | None = None,
        *,
        n_members: int = 8,
        bootstrap: bool = True,
        random_state: Any = None,
        n_jobs: int | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.sde = sde
        self.n_members = n_members
        self.bootstrap = bootstrap
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.checkpoint_dir = checkpoint_dir

    @with_callbacks
    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Fit the members.

        Parameters
        ----------
        X : structured ndarray of shape (n_samples,), or array-like of shape (n_samples, n_columns)
            As for the SDE: latent pairs; or macrostates z, followed by the context.
        y : array-like of shape (n_samples, d) or (n_samples,), default=None
            Increments dz, for plain X.
        groups : array-like of int, shape (n_samples,), default=None
            Source trajectory of each row. None takes those of the pairs; rows of plain X then count
            as groups of their own.

        Returns
        -------
        self : SDEEnsemble

        Raises
        ------
        ValueError
            If there are fewer than 2 members or groups, X and y are not what the SDE takes, or
            `checkpoint_dir` has another fit.

        Warns
        -----
        UserWarning
            What the fits of members warn of, with their number.
        """
        n_members = check_integer(self.n_members, "n_members", low=2)
        sde = PatchSDERegressor() if self.sde is None else self.sde
        if not is_structured(X):
            X, y = self.plain_data(X, y, reset=True)
        groups_of = source_groups(X, groups, len(X), matter=self.bootstrap)
        rows_of = rows_by_group(groups_of)
        if self.bootstrap and len(rows_of) < 2:
            raise ValueError(
                "Expected at least 2 groups (source trajectories) for a bootstrap, but got "
                f"1 sample or group of {len(X)} rows; pass the groups on with the pairs, or set "
                "bootstrap=False."
            )
        task = begin_fit(self, X, increments_of(X, y), n_tasks=n_members, in_order=False)

        def fit_member(k: int) -> tuple[PatchSDE, dict[tuple, str]]:
            rng = stream(entropy, Stage.BOOTSTRAP, k)
            saved = checkpoint if sde.n_epochs else None  # a fit by regressions saves nothing
            folder = saved.folder / f"member {k}" if saved else None
            member = clone(sde).set_params(
                random_state=int(rng.integers(2**31 - 1)), checkpoint_dir=folder
            )
            rows: Any = slice(None)
            if self.bootstrap:
                resampled = rng.integers(len(rows_of), size=len(rows_of))
                rows = np.concatenate([rows_of[g] for g in resampled])
            own = {} if groups is None else {"groups": groups_of[rows]}
            with task.member(member, k), _recorded_warnings() as said:
                member.fit(X[rows], None if y is None else y[rows], **own)
            return member, {
                (one.category, one.filename, one.lineno): str(one.message)
                for one in said
                if one.category is not GroupsWarning  # the ensemble's own matter
            }

        # Processes: a fit holds the thread counts of its process for itself.
        given = {} if groups is None else {"groups": groups_of}
        with resume_method(self, "fit", X=np.asarray(X), y=y, **given) as (checkpoint, entropy):
            run = Parallel(n_jobs=self.n_jobs)
            fits = run(delayed(fit_member)(k) for k in range(n_members))
        self.members_ = [member for member, _ in fits]
        _warn_of_members([said for _, said in fits])
        self.lam_ = float(np.mean([member.lam_ for member in self.members_]))
        self.n_state_ = self.members_[0].n_state_
        self.n_features_in_ = self.members_[0].n_features_in_
        task.end(fitted=dict)
        return self

    def at_size(self, n_sites: int) -> Self:
        """Return a copy whose members are for a lattice of `n_sites` sites, as an SDE's own."""
        check_is_fitted(self)
        other = copy(self)
        other.members_ = [member.at_size(n_sites) for member in self.members_]
        return other

    def drift(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the drift (n_samples, d) at macrostates z (n_samples, d), mean over members."""
        return self._at(z, context, "drift").mean(axis=0)

    def drift_error(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the standard deviation over members of the drift, (n_samples, d)."""
        return self._at(z, context, "drift").std(axis=0, ddof=1)

    def diffusion(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the diffusion (n_samples, d, d) at z (n_samples, d), mean over members."""
        return self._at(z, context, "diffusion").mean(axis=0)

    def diffusion_error(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the standard deviation over members of the diffusion, (n_samples, d, d)."""
        return self._at(z, context, "diffusion").std(axis=0, ddof=1)

    def covers(self, z: Any, context: Any = None) -> np.ndarray:
        """Return whether the data of most members cover macrostates z, bool (n_samples,)."""
        return self._at(z, context, "covers").mean(axis=0) > 0.5

    def predict(self, X: Any) -> np.ndarray:
        """Return the mean over members of the mean increments, (n_samples, d) or (n_samples,)."""
        check_is_fitted(self)
        if not is_structured(X):
            X = validate_input(self, X, reset=False, dtype=np.float64)
        return self._each(lambda sde: sde.predict(X)).mean(axis=0)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean over members of the log-likelihood per pair (Eq. 7)."""
        check_is_fitted(self)
        if y is not None and not is_structured(X):
            X, y = self.plain_data(X, y, reset=False)
        return float(self._each(lambda sde: sde.score(X, y)).mean())

    def simulate(
        self,
        z0: Any,
        n_steps: int,
        dt: float,
        *,
        n_paths: int = 1,
        context: Any = None,
        n_sites: int | None = None,
        store_every: int = 1,
        random_state: Any = None,
        outside: str = "warn",
        return_record: bool = False,
    ) -> Any:
        """Simulate paths whose spread holds the model's uncertainty as well as the noise.

        Row r of the paths belongs to member r modulo `n_members`. The paths of one start are thus
        spread evenly, and so are single paths from many starts. Parameters are those of the SDE's
        own `simulate`.

        Returns
        -------
        paths : ndarray of shape (n_starts * n_paths, n_steps // store_every + 1, d)
            Paths of one start stand together; the initial state is the first.
        record : PathRecord
            What became of each, if `return_record`.
        """
        check_is_fitted(self)
        n_paths = check_integer(n_paths, "n_paths", low=1)
        starts, outer = (np.repeat(part, n_paths, axis=0) for part in self._split(z0, context))
        entropy = resolve_entropy(random_state)
        own, records = [], []
        for k, member in enumerate(self.members_[: len(starts)]):
            mine = slice(k, None, len(self.members_))
            seed = stream_seed(entropy, Stage.BOOTSTRAP, k)
            one, record = member.rollout(
                starts[mine], n_steps, dt, context=outer[mine], n_sites=n_sites,
                store_every=store_every, random_state=seed, outside=outside,
            )  # fmt: skip
            own.append(one)
            records.append(record)
        paths = np.empty((len(starts), *own[0].shape[1:]))
        for k, part in enumerate(own):
            paths[k :: len(self.members_)] = part
        whole = PathRecord.interleave(records)
        self.members_[0].warn_of(whole)
        return (paths, whole) if return_record else paths

    def simulate_members(
        self, z0: Any, n_steps: int, dt: float, *, random_state: Any = None, **options: Any
    ) -> np.ndarray:
        """Simulate all paths with every member, each with noise of its own.

        Parameters are those of the SDE's own `simulate`.

        Returns
        -------
        paths : ndarray of shape (n_members, n_starts * n_paths, n_steps // store_every + 1, d)
        """
        return self._of_paths(
            lambda paths: paths, z0, n_steps, dt, random_state=random_state, **options
        )

    def estimate(
        self,
        statistic: Callable[[np.ndarray], Any],
        z0: Any,
        n_steps: int,
        dt: float,
        *,
        n_paths: int,
        random_state: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """Return a statistic of paths and its standard error.

        Parameters
        ----------
        statistic : callable
            Function of one member's paths (n_starts * n_paths, n_times, d), a number or an array.
        z0, n_steps, dt, n_paths, random_state, **options
            As for the SDE's own `simulate`.

        Returns
        -------
        value, standard_error : float, or ndarrays of the statistic's shape
            Mean and standard deviation over members. The latter is the standard error of a fit to
            all data, if the members are bootstrap samples. It includes the Monte Carlo noise of
            `n_paths` paths, which independent noise gives to every member: more paths lower it.

        Raises
        ------
        ValueError
            If the statistic of a member is not finite, as of paths that diverged.
        """
        values = self._of_paths(
            lambda paths: np.asarray(statistic(paths), float), z0, n_steps, dt,
            n_paths=n_paths, random_state=random_state, **options,
        )  # fmt: skip
        if not np.isfinite(values).all():
            raise ValueError(
                "Expected a finite statistic of every member's paths, but got values that are NaN "
                "or infinity; see whether paths diverged, and use bounds or a smaller dt."
            )
        value, error = values.mean(axis=0), values.std(axis=0, ddof=1)
        return (value.item(), error.item()) if value.ndim == 0 else (value, error)

    def interval_factor(self, level: float = 0.95) -> float:
        """Return by how many standard deviations over members an interval extends to each side.

        It is t sqrt(1 + 1/n_members), t the quantile of Student's law with n_members - 1 degrees
        of freedom, for an interval that covers the truth with probability `level`.
        """
        check_is_fitted(self)
        level = check_real(level, "level", low=0.0, high=1.0, strict=True)
        n = len(self.members_)
        return float(stats.t.ppf((1 + level) / 2, n - 1) * math.sqrt(1 + 1 / n))

    def _split(self, z: Any, context: Any) -> list[np.ndarray]:
        """Return macrostates (n, d) and their context (n, n_context), checked."""
        return np.hsplit(self.columns_of(z, context), [self.n_state_])

    def _at(self, z: Any, context: Any, method: str) -> np.ndarray:
        """Return what a method of every member gives at macrostates, stacked."""
        parts = self._split(z, context)
        return self._each(lambda sde: getattr(sde, method)(*parts))

    def _each(self, value: Callable[[PatchSDE], Any]) -> np.ndarray:
        """Return a value of every member, stacked."""
        check_is_fitted(self)
        return np.array([value(member) for member in self.members_])

    def _of_paths(
        self,
        value: Callable[[np.ndarray], np.ndarray],
        z0: Any,
        n_steps: int,
        dt: float,
        *,
        random_state: Any,
        **options: Any,
    ) -> np.ndarray:
        """Return a value of every member's paths, stacked, with one warning for all of them."""
        z0, options["context"] = self._split(z0, options.get("context"))
        records = []

        def one(sde: PatchSDE, seed: int) -> np.ndarray:
            paths, record = sde.rollout(z0, n_steps, dt, random_state=seed, **options)
            records.append(record)
            return value(paths)

        values = self._with_noise(one, random_state)
        self.members_[0].warn_of(PathRecord.interleave(records))
        return values

    def _with_noise(self, value: Callable[[PatchSDE, int], Any], random_state: Any) -> np.ndarray:
        """Return a value of every member with a seed of its own, stacked."""
        check_is_fitted(self)
        entropy, members = resolve_entropy(random_state), enumerate(self.members_)
        return np.array([value(m, stream_seed(entropy, Stage.BOOTSTRAP, k)) for k, m in members])


@contextmanager
def _recorded_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Record warnings, which belong to the process as thread counts do: by one thread at a time."""
    with single_threaded(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield said


def _warn_of_members(said: list[dict[tuple, str]]) -> None:
    """Warn once of each kind that members warn of: how many do, and what the first one says.

    A kind is a category and the place where it was issued.
    """
    counts = Counter(chain.from_iterable(said))
    texts = dict(chain.from_iterable(own.items() for own in reversed(said)))
    for kind, count in counts.items():
        text = f"{count} of {len(said)} members, the first of which says: {texts[kind]}"
        warnings.warn(text, kind[0], stacklevel=4)


def rows_by_group(groups: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each group, the groups in increasing order."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.split(np.argsort(place, kind="stable"), np.cumsum(counts)[:-1])
