"""Base of the macroscopic SDEs learned from latent pairs (Eqs. 4-7, 31).

dz = mu(z, c) dt + Sigma(z, c)^{1/2} dB,      dz_I ~ N(mu dt, lam Sigma dt)
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklmacro._base.checks import (
    check_bounds,
    check_choice,
    check_covariances,
    check_finite,
    check_parity,
    check_real,
)
from sklmacro._base.estimators import begin_fit
from sklmacro._base.roles import Roles
from sklmacro._base.units import largest, standard_scale
from sklmacro._base.workers import single_threaded
from sklmacro.checkpoint.checkpoint import resume_method
from sklmacro.sampling.pairs import (
    context_of,
    has_moments,
    increments_of,
    is_latent_pairs,
    is_structured,
)
from sklmacro.sde.coverage import Coverage
from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.likelihood import Increments, log_likelihood
from sklmacro.sde.neural import NeuralSDE
from sklmacro.sde.regressions import PolynomialSDE
from sklmacro.sde.relations import find_relations
from sklmacro.sde.simulation import PathSimulation
from sklmacro.training.loop import Run

DIFFUSIONS = ("full", "diagonal", "constant")


class LikelihoodRegressor(CallbackSupportMixin, RegressorMixin):
    """What estimators have in common whose score is a likelihood of increments."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.regressor_tags.poor_score = True  # the score is a log-likelihood, not R^2
        return tags


class PatchSDE(PathSimulation, LikelihoodRegressor, Roles):
    """What `PatchSDERegressor` and `OnsagerSDE` share: data, likelihood, evaluation, simulation."""

    diffusion_model: str
    random_state: Any
    verbose: bool
    checkpoint_dir: Any
    dt: float
    lam: float | str
    parity: Sequence[int] | None
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
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit drift and diffusion by maximum likelihood (Eq. 7).

        Latent pairs of moments give the likelihood's expectation in the limit dt -> 0 (see
        `likelihood`): Sigma is fitted to the covariances alone, and mu to the means with weight
        Sigma^{-1} dt / lam.

        Columns that are constant but for rounding have no influence on the model. What increments
        obey exactly is kept exactly: see `relations_`.

        Parameters
        ----------
        X : structured ndarray of shape (n_samples,), or array-like of shape (n_samples, n_columns)
            Latent pairs; or macrostates z, followed by columns of the context.
        y : array-like of shape (n_samples, d) or (n_samples,), default=None
            Increments dz, for plain X; the state is the first d columns of X.

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
            If `verbose` or `checkpoint_dir` is set, and nothing is trained.
        """
        self.check_parameters()
        columns, increments, groups = self._training_data(X, y)
        dz, dt = increments.dz, increments.dt
        check_finite(dz, "increments")
        if increments.cov is not None:
            check_covariances(increments.cov)
        if not (check_finite(dt, "elapsed times") > 0).all():
            raise ValueError(
                f"Expected elapsed times dt above 0, but got a smallest of {dt.min():g}; remove "
                "pairs in which no time passed."
            )
        self.n_state_ = dz.shape[1]
        if len(check_bounds(self.bounds)) > self.n_state_:
            raise ValueError(
                f"Expected bounds for at most {self.n_state_} components, the dimension of the "
                f"state, but got {self.bounds!r}; drop those of the last ones."
            )
        parity = np.ones(columns.shape[1])
        parity[: self.n_state_] = check_parity(self.parity, self.n_state_)
        self.coverage_ = Coverage.of(columns, parity)
        own, sizes = increments.in_own_time(), largest(columns)
        with single_threaded():
            relations = find_relations(columns[:, : self.n_state_], own, parity)
        self.relations_ = relations
        if relations is not None:
            own, sizes = relations.reduce(own), relations.sizes(columns)
            columns, parity = relations.coordinates(columns), relations.order(parity)
        self.mean_ = np.where(parity == 1, columns.mean(axis=0), 0.0)
        self.scale_ = standard_scale(columns, self.mean_, sizes)
        self.lam_ = float(np.mean(increments.lam))
        self.lam_error_ = float(np.mean(X["lam_error"])) if self.lam == "auto" else 0.0
        n_epochs = self.n_epochs if own.dz.shape[1] else 0
        task = begin_fit(self, X, increments_of(X, y), n_tasks=n_epochs)
        with single_threaded():
            data = FitData(
                (columns - self.mean_) / self.scale_, own, groups, parity,
                self.scale_, self.diffusion_model, Run(self.random_state, self.verbose, task=task),
            )  # fmt: skip
            if n_epochs:
                with resume_method(self, "fit", **data.settings()) as (checkpoint, entropy):
                    run = replace(data.run, random_state=entropy, checkpoint=checkpoint)
                    self.model_ = self._drift.fit_model(replace(data, run=run))
            elif data.n_state:
                self._warn_of_idle_parameters()
                self.model_ = self._drift.fit_model(data)
            else:
                self.model_ = PolynomialSDE.of_nothing(data.u.shape[1])
        if self.n_epochs:
            self.history_ = getattr(self.model_, "history", [])  # none where nothing was trained
        elif isinstance(self.model_, PolynomialSDE):
            self.degree_ = self.model_.degree
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

    def predict(self, X: Any) -> np.ndarray:
        """Return the conditional mean mu dt of the increments, (n_samples, d) or (n_samples,).

        `X` are latent pairs, or an array of shape (n_samples, n_columns), as in `fit`.
        """
        check_is_fitted(self)
        if is_structured(X):
            columns, dt = self._pair_columns(X, reset=False)
        else:
            columns = validate_data(self, X, reset=False, dtype=np.float64)
            dt = np.array(self.dt)
        mean = self._expand(self._coefficients(columns)[0]) * np.reshape(dt, (-1, 1))
        return mean[:, 0] if self._flat_output else mean

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-likelihood per pair of held-out data (Eq. 7).

        Of pairs of moments, its exact expectation for increments of length dt with these means
        and covariances: -tr(Sigma^{-1} (cov + r r^T)) / (2 lam dt) - log det(2 pi lam dt Sigma) / 2
        with r = dz - mu dt. All terms count, unlike in `fit`, where dt -> 0. Where increments obey
        `relations_`, the likelihood is that of the free components.

        It cannot choose `lam`: the optimum of lam Sigma is the same for every `lam`. Choose `lam`
        by a score of trajectories, such as `PathScorer`.
        """
        check_is_fitted(self)
        columns, increments, _ = self._training_data(X, y, reset=False)
        if self.relations_ is not None:
            increments = self.relations_.reduce(increments)
        mu, factor = self._coefficients(columns)
        return float(np.mean(log_likelihood(increments, mu, factor)))

    # Data -----------------------------------------------------------------------------------------

    def _training_data(
        self, X: Any, y: Any, reset: bool = True
    ) -> tuple[np.ndarray, Increments, np.ndarray]:
        """Return columns (state and context), increments and groups."""
        if is_structured(X):
            columns, dt = self._pair_columns(X, reset)
            dz, lam, groups = np.ascontiguousarray(X["dz"]), self._factor(X), np.asarray(X["group"])
            cov = np.ascontiguousarray(X["cov"]) if has_moments(X) else None
            flat = False
        else:
            if y is None:
                raise ValueError(
                    f"This {type(self).__name__} estimator requires y to be passed, but the target "
                    "y is None. Expected latent pairs, or X = z with y = dz; pass the increments."
                )
            columns, dz = validate_data(
                self, X, y, reset=reset, dtype=np.float64, order="C", multi_output=True,
                y_numeric=True,
            )  # fmt: skip
            cov, flat = None, dz.ndim == 1
            dz = dz.reshape(len(dz), -1).astype(float, order="C")
            if dz.shape[1] > columns.shape[1]:
                raise ValueError(
                    "Expected at most as many increments as columns of X, since each belongs to a "
                    f"component of the state, but got y with {dz.shape[1]} and X with "
                    f"{columns.shape[1]} columns; pass X = z (followed by the context), y = dz."
                )
            dt, lam = np.full(len(columns), self.dt), self._factor(columns)
            groups = np.arange(len(columns))
        if reset:
            self._flat_output = flat
        return columns, Increments(dz, dt, lam, cov), groups

    def _factor(self, X: np.ndarray) -> np.ndarray:
        """Return lam (n_samples,) for pairs X, or for a plain X of as many rows."""
        if not isinstance(self.lam, str):
            return np.full(len(X), float(self.lam))
        names = X.dtype.names or ()
        if self.lam == "K":
            return X["n_patches"] / X["n_evolved"] if names else np.ones(len(X))
        if "lam" not in names:
            raise ValueError(
                "Expected pairs with an estimated lam for lam='auto', but got "
                f"{'pairs' if names else 'an array'} without one; sample them by "
                "patch=Patches(n_joint=...), or set lam='K' or a number."
            )
        return np.asarray(X["lam"])

    def _pair_columns(self, pairs: np.ndarray, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return columns and elapsed times of latent pairs."""
        if not is_latent_pairs(pairs):
            raise ValueError(
                "Expected latent pairs with fields z, dz, dt, n_patches, n_evolved and group, but "
                f"got fields {', '.join(pairs.dtype.names or ())}; pass snapshot pairs through "
                "PatchAutoencoder first."
            )
        context = context_of(pairs)
        columns = pairs["z"] if context is None else np.hstack([pairs["z"], context])
        columns = validate_data(self, columns, reset=reset, dtype=np.float64)
        return columns, np.asarray(pairs["dt"], float)

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
