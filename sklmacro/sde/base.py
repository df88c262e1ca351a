"""Base of the macroscopic SDEs learned from latent pairs (Eqs. 4-7, 31).

dz = mu(z, c) dt + Sigma(z, c)^{1/2} dB,      dz_I ~ N(mu dt, lam Sigma dt)
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.callback import with_callbacks
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import (
    check_bounds,
    check_choice,
    check_covariances,
    check_finite,
    check_numbers,
    check_parity,
    check_real,
)
from sklmacro._base.estimators import begin_fit, validate_input
from sklmacro._base.roles import Roles
from sklmacro._base.units import largest, standard_scale
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
from sklmacro.sde.coverage import Coverage
from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.kernels import KernelSDE
from sklmacro.sde.likelihood import Increments, log_likelihood
from sklmacro.sde.neural import NeuralSDE
from sklmacro.sde.regressions import PolynomialSDE
from sklmacro.sde.relations import find_relations
from sklmacro.sde.simulation import PathSimulation
from sklmacro.sde.sizes import LatticeSizes
from sklmacro.training.loop import Run

DIFFUSIONS = ("full", "diagonal", "constant")
MOST_COUNTED = 100  # pairs of which it is seen how many states differ


class PatchSDE(PathSimulation, Roles):
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
    model_: PolynomialSDE | KernelSDE | NeuralSDE
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

        Columns that are constant but for rounding have no influence on the model. What increments
        obey exactly is kept exactly: see `relations_`.

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
        columns, increments, n_sites = self._training_data(X, y)
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
        self.sizes_ = sizes_of_lattices = LatticeSizes.of(n_sites)
        parity = np.ones(columns.shape[1] + sizes_of_lattices.several)
        parity[: self.n_state_] = self._signs(X)
        check_finite(columns.mean(axis=0), "means of the columns")
        self.coverage_ = Coverage.of(columns, parity[: columns.shape[1]])
        self.lam_ = float(np.mean(increments.lam))
        self.n_sites_ = sizes_of_lattices.reference if sizes_of_lattices.known else None
        if n_sites is not None:
            columns = sizes_of_lattices.complete(columns, n_sites)
            increments = increments.times_lam(sizes_of_lattices.shares(n_sites))
        own, sizes = increments.in_own_time(), largest(columns)
        with single_threaded():
            relations = find_relations(columns[:, : self.n_state_], own, parity)
        self.relations_ = relations
        if relations is not None:
            own, sizes = relations.reduce(own), relations.sizes(columns)
            columns, parity = relations.coordinates(columns), relations.order(parity)
        self.mean_ = np.where(parity == 1, columns.mean(axis=0), 0.0)
        self.scale_ = standard_scale(columns, self.mean_, sizes)
        errors = common_fields(X).get("lam_error", 0.0) if is_structured(X) else 0.0
        self.lam_error_ = float(np.mean(errors)) if self.lam == "auto" else 0.0
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
        if own.dz.shape[1]:
            self._check_model(columns, sampled=increments.cov is None)
        task.end(fitted=dict)
        return self

    def _signs(self, X: Any) -> np.ndarray:
        """Return the signs (d,) of the components: given, of the pairs, or all 1."""
        parity: Any = self.parity
        if parity is None and is_structured(X) and "parity" in common_fields(X):
            rows = common_fields(X)["parity"]
            if (rows != rows[0]).any():
                raise ValueError(
                    "Expected pairs with one parity, but got pairs with several; fit those of one "
                    "symmetry, or pass the parity that all of them have."
                )
            parity = tuple(rows[0].tolist())
        return check_parity(parity, self.n_state_)

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
        for part in self._model_at(columns[:1]):
            check_finite(part, "coefficients of the fit")
        count = 1 + self.n_features_in_  # a process or a net is at least linear
        if isinstance(self.model_, PolynomialSDE):
            count = int(np.count_nonzero(self.model_.B, axis=1).max())
        stopped_early = isinstance(self.model_, NeuralSDE)
        needed = max(count + (sampled and not stopped_early), 2 + sampled)
        few = len(columns) <= MOST_COUNTED
        n_states = len(np.unique(columns, axis=0)) if few else len(columns)
        if n_states < needed:
            warnings.warn(
                f"Expected pairs of at least {needed} different states for the {count} "
                f"coefficients of a component's drift, but got {n_states}, which do not determine "
                "them; pass more pairs, or lower the degree.",
                stacklevel=4,
            )

    def predict(self, X: Any) -> np.ndarray:
        """Return the conditional mean mu dt of the increments, (n_samples, d) or (n_samples,).

        `X` are latent pairs, or an array of shape (n_samples, n_columns), as in `fit`.
        """
        check_is_fitted(self)
        if is_structured(X):
            columns, fields = self._pair_columns(X, reset=False)
            dt, n_sites = fields["dt"], fields.get("n_sites")
        else:
            columns = validate_input(self, X, reset=False, dtype=np.float64)
            dt, n_sites = np.array(self.dt), None
        columns = self._complete(columns, n_sites)
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
        columns, increments, n_sites = self._training_data(X, y, reset=False)
        if n_sites is not None and self.n_sites_ is not None:
            increments = increments.times_lam(self.n_sites_ / np.asarray(n_sites, float))
        columns = self._complete(columns, n_sites)
        if self.relations_ is not None:
            increments = self.relations_.reduce(increments)
        mu, factor = self._coefficients(columns)
        return float(np.mean(log_likelihood(increments, mu, factor)))

    # Data -----------------------------------------------------------------------------------------

    def _training_data(
        self, X: Any, y: Any, reset: bool = True
    ) -> tuple[np.ndarray, Increments, np.ndarray | None]:
        """Return columns (state and context), increments and the sizes of lattices, checked."""
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
            dz = dz.reshape(len(dz), -1).astype(float, order="C")
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
        increments = Increments(dz, dt, self._factor(fields, len(dz)), cov)
        return columns, increments, fields.get("n_sites")

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
