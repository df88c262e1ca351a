"""Base of the macroscopic SDEs learned from latent pairs (Eqs. 4-7, 31).

dz = mu(z, c) dt + Sigma(z, c)^{1/2} dB,      dz_I ~ N(mu dt, lam Sigma dt)
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import (
    check_bounds,
    check_choice,
    check_column_names,
    check_covariances,
    check_finite,
    check_integer,
    check_numbers,
    check_parity,
    check_real,
)
from sklmacro._base.estimators import begin_fit, validate_input
from sklmacro._base.roles import Roles
from sklmacro._base.streams import resolve_entropy
from sklmacro._base.workers import single_threaded
from sklmacro.checkpoint.checkpoint import resume_method
from sklmacro.sampling.pairs import (
    check_fields,
    check_parts,
    common_fields,
    has_moments,
    increments_of,
    is_latent_pairs,
    is_structured,
    source_groups,
)
from sklmacro.sde.compiled.paths import advance_paths, array_model
from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.likelihood import Increments, log_likelihood
from sklmacro.sde.neural import NeuralSDE
from sklmacro.sde.regressions import PolynomialSDE
from sklmacro.sde.rollout import Steps, advance_by_calls, euler_maruyama
from sklmacro.training.loop import Run

DIFFUSIONS = ("full", "diagonal", "constant")
MOST_COUNTED = 100  # pairs of which it is seen how many states differ


class LikelihoodRegressor(CallbackSupportMixin, RegressorMixin):
    """What estimators have in common whose score is a likelihood of increments."""

    __metadata_request__fit: ClassVar = {"groups": True}
    # Where metadata are routed, Pipeline.score hands this on even as None, and asks who knows it.
    __metadata_request__score: ClassVar = {"sample_weight": None}
    n_features_in_: int
    n_state_: int

    def plain_data(self, X: Any, y: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n_samples, n_columns) and y, (n_samples,) or (n_samples, d), as floats.

        If `reset`, their columns are those of fit from now on. Data frames of which y has columns
        of X, but not the first ones in their order, are a ValueError.
        """
        names = list(getattr(y, "columns", []))
        if names and set(names) <= set(getattr(X, "columns", [])):
            check_column_names(y, list(X.columns)[: len(names)], "y")
        return validate_input(
            self, X, y, reset=reset, dtype=np.float64, multi_output=True, y_numeric=True
        )

    def columns_of(self, z: Any, context: Any = None) -> np.ndarray:
        """Return state and context (n_samples, n_features_in_) side by side, as in fit.

        Parameters
        ----------
        z : array-like of shape (d,) or (n_samples, d)
            Macrostates.
        context : array-like of shape (n_context,) or (n_samples, n_context), default=None
            Outer parameters.

        Raises
        ------
        ValueError
            If they have other shapes or, as data frames, other columns than in fit, or are not
            finite.
        """
        check_is_fitted(self)
        n_state, n_context = self.n_state_, self.n_features_in_ - self.n_state_
        names = getattr(self, "feature_names_in_", None)
        if names is not None:
            check_column_names(z, names[:n_state], "macrostates")
            check_column_names(context, names[n_state:], "context")
        z = np.atleast_2d(check_numbers(z, "macrostates"))
        outer = np.atleast_2d(check_numbers([] if context is None else context, "context"))
        shared = len(outer) == 1
        if z.shape[1:] != (n_state,) or outer.shape != (1 if shared else len(z), n_context):
            raise ValueError(
                f"Expected macrostates of shape (n_samples, {n_state}) and context of shape "
                f"({n_context},) or (n_samples, {n_context}), as in fit, but got z of shape "
                f"{z.shape} and context {np.shape(context)}; pass both as the model was trained."
            )
        outer = np.broadcast_to(outer, (len(z), n_context))
        return check_finite(np.hstack([z, outer]), "macrostates and context")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.regressor_tags.poor_score = True  # the score is a log-likelihood, not R^2
        return tags


class PatchSDE(LikelihoodRegressor, Roles):
    """What `PatchSDERegressor` and `OnsagerSDE` share: data, likelihood, evaluation, simulation."""

    diffusion_model: str
    random_state: Any
    verbose: bool
    checkpoint_dir: Any
    dt: float
    lam: float | str
    bounds: Sequence[tuple[float, float]] | None
    parity: Sequence[int] | None
    mean_: np.ndarray
    scale_: np.ndarray
    lam_: float
    lam_error_: float
    model_: PolynomialSDE | NeuralSDE
    history_: list[dict[str, float]]
    _flat_output: bool

    @property
    def flat_output(self) -> bool:
        """Return whether increments were one column of numbers, as predictions are then."""
        return self._flat_output

    @property
    def _drift(self) -> Drift:
        """Return the form of the drift, with its parameters."""
        raise NotImplementedError

    @property
    def n_epochs(self) -> int:
        """Return the largest number of epochs of a fit; 0 where nothing is trained."""
        return self._drift.n_epochs

    @with_callbacks
    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Fit drift and diffusion by maximum likelihood (Eq. 7).

        Latent pairs of moments give the likelihood's expectation in the limit dt -> 0 (see
        `likelihood`): Sigma is fitted to the covariances alone, and mu to the means with weight
        Sigma^{-1} dt / lam.

        Parameters
        ----------
        X : structured ndarray of shape (n_samples,), or array-like of shape (n_samples, n_columns)
            Latent pairs; or macrostates z, followed by columns of the context.
        y : array-like of shape (n_samples, d) or (n_samples,), default=None
            Increments dz, for plain X; the state is the first d columns of X.
        groups : array-like of int, shape (n_samples,), default=None
            Source trajectory of each row. None takes those of the pairs; rows of plain X then count
            as groups of their own.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If X is neither latent pairs nor an array with y, a parameter does not fit, or
            `checkpoint_dir` has another fit.

        Warns
        -----
        UserWarning
            If `verbose` or `checkpoint_dir` is set, and nothing is trained; if there are too few
            different states for the coefficients of the drift; if no group can be held out.
        GroupsWarning
            If a search splits by groups and they do not come here, although some are held out.
        ConvergenceWarning
            If the training diverged. The best weights before are kept.
        """
        self.check_parameters()
        columns, increments = self._training_data(X, y)
        if increments.cov is not None:
            check_covariances(increments.cov)
        matter = self._drift.holds_out_groups
        groups = source_groups(X, groups, len(columns), matter=matter)
        if len(columns) < 2:
            raise ValueError("Expected at least 2 samples, but got 1 sample; pass more pairs.")
        self.n_state_ = increments.dz.shape[1]
        if len(check_bounds(self.bounds)) > self.n_state_:
            raise ValueError(
                f"Expected bounds for at most {self.n_state_} components, the dimension of the "
                f"state, but got {self.bounds!r}; drop those of the last ones."
            )
        parity = np.ones(columns.shape[1])
        parity[: self.n_state_] = check_parity(self.parity, self.n_state_)
        self.mean_ = np.where(parity == 1, columns.mean(axis=0), 0.0)
        spread = np.sqrt(np.mean((columns - self.mean_) ** 2, axis=0))
        self.scale_ = np.where(spread > 1e-12 * (1 + np.abs(self.mean_)), spread, 1.0)
        check_finite(self.scale_, "spreads of the columns")
        self.lam_ = float(np.mean(increments.lam))
        errors = common_fields(X).get("lam_error", 0.0) if is_structured(X) else 0.0
        self.lam_error_ = float(np.mean(errors)) if self.lam == "auto" else 0.0
        task = begin_fit(self, X, increments_of(X, y), n_tasks=self.n_epochs)
        with single_threaded():
            data = FitData(
                (columns - self.mean_) / self.scale_, increments.in_own_time(), groups, parity,
                self.scale_, self.diffusion_model, Run(self.random_state, self.verbose, task=task),
            )  # fmt: skip
            if self.n_epochs:
                with resume_method(self, "fit", **data.settings()) as (checkpoint, entropy):
                    run = replace(data.run, random_state=entropy, checkpoint=checkpoint)
                    self.model_ = self._drift.fit_model(replace(data, run=run))
            else:
                self._warn_of_idle_parameters()
                self.model_ = self._drift.fit_model(data)
        if isinstance(self.model_, NeuralSDE):
            self.history_ = self.model_.history
        else:
            self.degree_ = self.model_.degree
        self._check_model(columns, sampled=increments.cov is None)
        task.end(fitted=dict)
        return self

    def _warn_of_idle_parameters(self) -> None:
        """Warn of what is set in spite of a drift that trains nothing."""
        idle = [name for name in ("verbose", "checkpoint_dir") if getattr(self, name)]
        if idle:
            warnings.warn(
                f"Expected a drift that is trained for {' and '.join(idle)} to have an effect, but "
                "got one that is fitted by regressions; leave them out.",
                stacklevel=4,
            )

    def _check_model(self, columns: np.ndarray, *, sampled: bool) -> None:
        """Refuse a model that is not finite; warn of one that so few states do not determine.

        Sampled increments have to tell the noise besides the drift, which moments bring along.
        """
        for part in self._coefficients(columns[:1]):
            check_finite(part, "coefficients of the fit")
        count = needed = 1 + self.n_features_in_  # a net is at least linear
        if isinstance(self.model_, PolynomialSDE):
            count = int(np.count_nonzero(self.model_.B, axis=1).max())
            needed = count + sampled
        needed = max(needed, 2 + sampled)
        few = len(columns) <= MOST_COUNTED
        n_states = len(np.unique(columns, axis=0)) if few else len(columns)
        if n_states < needed:
            warnings.warn(
                f"Expected pairs of at least {needed} different states for the {count} "
                f"coefficients of a component's drift, but got {n_states}, which do not determine "
                "them; pass more pairs, or lower the degree.",
                stacklevel=4,
            )

    def drift(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the drift mu (n_samples, d) at macrostates z (n_samples, d)."""
        return self._coefficients(self.columns_of(z, context))[0]

    def diffusion(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the diffusion Sigma (n_samples, d, d) at macrostates z (n_samples, d)."""
        with np.errstate(over="ignore", invalid="ignore"):  # of the drift, far from the data
            factor = self._coefficients(self.columns_of(z, context))[1]
        return factor @ factor.transpose(0, 2, 1)

    def predict(self, X: Any) -> np.ndarray:
        """Return the conditional mean mu dt of the increments, (n_samples, d) or (n_samples,).

        `X` are latent pairs, or an array of shape (n_samples, n_columns), as in `fit`.
        """
        check_is_fitted(self)
        if is_structured(X):
            columns, fields = self._pair_columns(X, reset=False)
            dt = fields["dt"]
        else:
            columns = validate_input(self, X, reset=False, dtype=np.float64)
            dt = np.array(self.dt)
        mean = self._coefficients(columns)[0] * np.reshape(dt, (-1, 1))
        return mean[:, 0] if self._flat_output else mean

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-likelihood per pair of held-out data (Eq. 7).

        Of pairs of moments, its exact expectation for increments of length dt with these means
        and covariances: -tr(Sigma^{-1} (cov + r r^T)) / (2 lam dt) - log det(2 pi lam dt Sigma) / 2
        with r = dz - mu dt. All terms count, unlike in `fit`, where dt -> 0.

        It cannot choose `lam`: the optimum of lam Sigma is the same for every `lam`. Choose `lam`
        by a score of trajectories, such as `PathScorer`.
        """
        check_is_fitted(self)
        columns, increments = self._training_data(X, y, reset=False)
        mu, factor = self._coefficients(columns)
        return float(np.mean(log_likelihood(increments, mu, factor)))

    def simulate(
        self,
        z0: Any,
        n_steps: int,
        dt: float,
        *,
        n_paths: int = 1,
        context: Any = None,
        store_every: int = 1,
        random_state: Any = None,
    ) -> np.ndarray:
        """Simulate paths by Euler-Maruyama steps.

        Parameters
        ----------
        z0 : array-like of shape (d,) or (n_starts, d)
            Initial macrostates.
        n_steps : int
            Number of steps.
        dt : float
            Length of a step, in units of time.
        n_paths : int, default=1
            Paths from each initial state.
        context : array-like of shape (n_context,) or (n_starts, n_context), default=None
            Outer parameters, constant along a path.
        store_every : int, default=1
            Steps between stored states.
        random_state : None, int, RandomState or Generator, default=None
            Seed; every path has its own stream.

        Returns
        -------
        paths : ndarray of shape (n_starts * n_paths, n_steps // store_every + 1, d)
            Paths of one start stand together; the initial state is the first.

        Warns
        -----
        DivergedPathsWarning
            If paths left the finite numbers; they are NaN from there on.
        """
        n_steps = check_integer(n_steps, "n_steps", low=0)
        dt = check_real(dt, "dt", low=0.0, strict=True)
        n_paths = check_integer(n_paths, "n_paths", low=1)
        store_every = check_integer(store_every, "store_every", low=1)
        starts = np.repeat(self.columns_of(z0, context), n_paths, axis=0)
        z, outer = np.hsplit(starts, [self.n_state_])
        outer = np.ascontiguousarray(outer)
        model = array_model(self.model_)
        if model is None:
            advance = partial(advance_by_calls, lambda z: self._coefficients(np.hstack([z, outer])))
        else:
            advance = partial(advance_paths, *model, self.mean_, self.scale_, outer)
        steps = Steps.of(dt, check_bounds(self.bounds), self.n_state_, store_every)
        entropy = resolve_entropy(random_state)
        with single_threaded():
            return euler_maruyama(advance, z, n_steps, steps, entropy)

    # Data -----------------------------------------------------------------------------------------

    def _training_data(self, X: Any, y: Any, reset: bool = True) -> tuple[np.ndarray, Increments]:
        """Return columns (state and context) and increments, checked."""
        if is_structured(X):
            columns, fields = self._pair_columns(X, reset)
            _, dz, cov = check_parts(X["z"], X["dz"], X["cov"] if has_moments(X) else None)
            dz, flat = np.ascontiguousarray(dz), False
            cov = None if cov is None else np.ascontiguousarray(check_finite(cov, "covariances"))
            dt = fields["dt"]
        else:
            if y is None:
                raise ValueError(
                    f"This {type(self).__name__} estimator requires y to be passed, but the target "
                    "y is None. Expected latent pairs, or X = z with y = dz; pass the increments."
                )
            columns, dz = self.plain_data(X, y, reset=reset)
            cov, flat, fields = None, dz.ndim == 1, {}
            dz = dz.reshape(len(dz), -1).astype(float)
            if dz.shape[1] > columns.shape[1]:
                raise ValueError(
                    "Expected at most as many increments as columns of X, since each belongs to a "
                    f"component of the state, but got y with {dz.shape[1]} and X with "
                    f"{columns.shape[1]} columns; pass X = z (followed by the context), y = dz."
                )
            dt = np.full(len(columns), self.dt)
        if reset:
            self._flat_output = flat
        check_finite(dz, "increments")
        return columns, Increments(dz, dt, self._factor(fields, len(dz)), cov)

    def _factor(self, fields: dict[str, np.ndarray], n_pairs: int) -> np.ndarray:
        """Return lam (n_pairs,) for pairs with these fields; a plain X has none."""
        if not isinstance(self.lam, str):
            return np.full(n_pairs, float(self.lam))
        if self.lam == "K":
            return fields["n_patches"] / fields["n_evolved"] if fields else np.ones(n_pairs)
        if "lam" not in fields:
            raise ValueError(
                "Expected pairs with an estimated lam for lam='auto', but got "
                f"{'pairs' if fields else 'an array'} without one; sample them by "
                "patch=Patches(n_joint=...), or set lam='K' or a number."
            )
        return fields["lam"]

    def _pair_columns(
        self, pairs: np.ndarray, reset: bool
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return columns of latent pairs, and the fields that all pairs have in common."""
        if not is_latent_pairs(pairs):
            raise ValueError(
                "Expected latent pairs with fields z, dz, dt, n_patches, n_evolved and group, but "
                f"got fields {', '.join(pairs.dtype.names or ())}; pass snapshot pairs through "
                "PatchAutoencoder first."
            )
        fields, z = check_fields(common_fields(pairs), len(pairs)), check_numbers(pairs["z"], "z")
        columns = np.hstack([z, fields["context"]]) if "context" in fields else z
        return validate_input(self, columns, reset=reset, dtype=np.float64), fields

    def _coefficients(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.model_.coefficients((columns - self.mean_) / self.scale_)

    def check_parameters(self) -> None:
        """Raise ValueError unless the parameters make sense."""
        check_choice(self.diffusion_model, "diffusion_model", DIFFUSIONS)
        if isinstance(self.lam, str):
            check_choice(self.lam, "lam", ("K", "auto"))
        else:
            remedy = "pass 'K', 'auto' or a positive number"
            check_real(self.lam, "lam", low=0.0, strict=True, remedy=remedy)
        check_real(self.dt, "dt", low=0.0, strict=True)
        check_bounds(self.bounds)
        self._drift.check()
