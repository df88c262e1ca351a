"""Macroscopic SDEs learned from latent pairs (Eqs. 4-7, 31).

    dz = mu(z, c) dt + Sigma(z, c)^{1/2} dB,      dz_I ~ N(mu dt, lam Sigma dt)

`PatchSDERegressor` has a net, a linear or a polynomial drift; `OnsagerSDE` builds on the same base.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from sklmacro._parallel import single_threaded
from sklmacro._random import Stage, resolve_entropy, stream, stream_seed
from sklmacro._validation import check_choice, check_finite, check_integer, check_real
from sklmacro.likelihood import transition_log_likelihood
from sklmacro.neural import NeuralSDE, fit_neural
from sklmacro.pairs import context_of, is_latent_pairs, is_structured
from sklmacro.polynomial import PolynomialSDE, fit_polynomial
from sklmacro.rollout import euler_maruyama
from sklmacro.training import held_out_rows

DIFFUSIONS = ("full", "diagonal", "constant")


class PatchSDE(RegressorMixin, BaseEstimator):
    """Base of the SDE estimators: data, likelihood, evaluation and simulation."""

    dt: float
    lam: float | str
    bounds: Sequence[tuple[float, float]] | None
    model_: PolynomialSDE | NeuralSDE

    def _fit_model(
        self, u: np.ndarray, dz: np.ndarray, dt: np.ndarray, lam: np.ndarray, groups: np.ndarray
    ) -> PolynomialSDE | NeuralSDE:
        raise NotImplementedError

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit drift and diffusion by maximum likelihood (Eq. 7).

        Parameters
        ----------
        X : structured ndarray of shape (n_samples,), or array-like of shape (n_samples, n_columns)
            Latent pairs; or macrostates z, with the context in the columns behind them.
        y : array-like of shape (n_samples, d) or (n_samples,), default=None
            Increments dz, for plain X; the state is the first d columns of X.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If X is neither latent pairs nor an array with y, or a parameter does not fit.
        """
        self._validate_parameters()
        columns, dz, dt, lam, groups = self._training_data(X, y)
        check_finite(dz, "increments")
        if not (dt > 0).all():
            raise ValueError(
                f"Expected elapsed times dt above 0, but got a smallest of {dt.min():g}; remove "
                "pairs in which no time passed."
            )
        self.n_state_ = dz.shape[1]
        self.mean_ = columns.mean(axis=0)
        spread = columns.std(axis=0)
        self.scale_ = np.where(spread > 1e-12 * (1 + np.abs(self.mean_)), spread, 1.0)
        self.lam_ = float(np.mean(lam))
        with single_threaded():
            u = (columns - self.mean_) / self.scale_
            self.model_ = self._fit_model(u, dz, dt, lam, groups)
        return self

    def drift(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the drift mu (n_samples, d) at macrostates z (n_samples, d)."""
        return self._coefficients(self._columns(z, context))[0]

    def diffusion(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the diffusion Sigma (n_samples, d, d) at macrostates z (n_samples, d)."""
        factor = self._coefficients(self._columns(z, context))[1]
        return factor @ factor.transpose(0, 2, 1)

    def predict(self, X: Any) -> np.ndarray:
        """Return the conditional mean mu dt of the increments, (n_samples, d) or (n_samples,).

        Parameters
        ----------
        X : latent pairs, or array-like of shape (n_samples, n_columns)
            As in fit.
        """
        columns, dt = self._prediction_data(X)
        mean = self._coefficients(columns)[0] * dt[:, None]
        return mean[:, 0] if self._flat_output else mean

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-likelihood per pair of held-out data (Eq. 7).

        It cannot choose `lam`: the optimum of lam Sigma is the same for every `lam`. Choose `lam`
        by a score of trajectories, such as `PathScorer`.
        """
        columns, dt = self._prediction_data(X)
        _, dz, _, lam, _ = self._training_data(X, y, reset=False)
        mu, factor = self._coefficients(columns)
        return float(np.mean(transition_log_likelihood(dz, dt, mu, factor, lam)))

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
        starts = self._columns(np.atleast_2d(np.asarray(z0, float)), context)
        columns = np.repeat(starts, n_paths, axis=0)
        outer = columns[:, self.n_state_ :]

        def coefficients(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self._coefficients(np.concatenate([z, outer], axis=1))

        with single_threaded():
            return euler_maruyama(
                coefficients,
                columns[:, : self.n_state_],
                n_steps=n_steps,
                dt=dt,
                entropy=resolve_entropy(random_state),
                bounds=self.bounds or (),
                store_every=store_every,
            )

    # Data -----------------------------------------------------------------------------------------

    def _training_data(self, X: Any, y: Any, reset: bool = True) -> tuple[np.ndarray, ...]:
        """Return columns (state and context), dz, dt, lam and groups."""
        if is_structured(X):
            columns, dt = self._pair_columns(X, reset)
            dz = np.asarray(X["dz"])
            lam, groups = X["n_patches"] / X["n_evolved"], np.asarray(X["group"])
            if reset:
                self._flat_output = False
        else:
            if y is None:
                raise ValueError(
                    f"This {type(self).__name__} estimator requires y to be passed, but the target "
                    "y is None. Expected latent pairs, or X = z with y = dz; pass the increments."
                )
            columns, dz = validate_data(
                self, X, y, reset=reset, dtype=np.float64, multi_output=True, y_numeric=True
            )
            if reset:
                self._flat_output = dz.ndim == 1
            dz = dz.reshape(len(dz), -1).astype(float)
            if dz.shape[1] > columns.shape[1]:
                raise ValueError(
                    "Expected at most as many increments as columns of X, since each belongs to a "
                    f"component of the state, but got y with {dz.shape[1]} and X with "
                    f"{columns.shape[1]} columns; pass X = z (and context behind it), y = dz."
                )
            dt = np.full(len(columns), self.dt)
            lam, groups = np.ones(len(columns)), np.arange(len(columns))
        if self.lam != "K":
            lam = np.full(len(columns), float(self.lam))
        return columns, dz, dt, lam, groups

    def _prediction_data(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return columns and elapsed times."""
        check_is_fitted(self)
        if is_structured(X):
            return self._pair_columns(X, reset=False)
        columns = validate_data(self, X, reset=False, dtype=np.float64)
        return columns, np.full(len(columns), self.dt)

    def _pair_columns(self, pairs: np.ndarray, reset: bool) -> tuple[np.ndarray, np.ndarray]:
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

    def _columns(self, z: Any, context: Any) -> np.ndarray:
        """Return state and context side by side, as the model was trained on."""
        check_is_fitted(self)
        z = np.atleast_2d(np.asarray(z, float))
        n_context = self.n_features_in_ - self.n_state_
        outer = np.empty((len(z), 0)) if context is None else np.asarray(context, float)
        if context is not None:
            outer = np.broadcast_to(np.atleast_2d(outer), (len(z), np.atleast_2d(outer).shape[1]))
        if z.ndim != 2 or z.shape[1] != self.n_state_ or outer.shape[1] != n_context:
            raise ValueError(
                f"Expected macrostates of dimension {self.n_state_} and {n_context} context "
                f"values, as in fit, but got z of shape {z.shape} and "
                f"{outer.shape[1]} context values; pass z and context of these dimensions."
            )
        return check_finite(np.hstack([z, outer]), "macrostates and context")

    def _coefficients(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.model_.coefficients((columns - self.mean_) / self.scale_)

    def _validate_parameters(self) -> None:
        params = self.get_params(deep=False)
        check_choice(params["diffusion_model"], "diffusion_model", DIFFUSIONS)
        lam = params["lam"]
        if isinstance(lam, str):
            check_choice(lam, "lam", ("K",))
        else:
            check_real(lam, "lam", low=0.0, strict=True, remedy="pass 'K' or a positive number")
        for name in ("dt", "lr"):
            check_real(params[name], name, low=0.0, strict=True)
        check_real(params["weight_decay"], "weight_decay", low=0.0)
        check_real(params["validation_fraction"], "validation_fraction", low=0.0, high=0.9)
        for name in ("max_epochs", "batch_size", "patience"):
            check_integer(params[name], name, low=1)
        for width in params["hidden"]:
            check_integer(width, "hidden", low=1)
        for low, high in params["bounds"] or ():
            if not low < high:
                raise ValueError(
                    f"Expected bounds (low, high) with low < high, but got ({low}, {high}); "
                    "exchange them."
                )

    def _neural(
        self,
        u: np.ndarray,
        dz: np.ndarray,
        dt: np.ndarray,
        lam: np.ndarray,
        groups: np.ndarray,
        build_drift: Callable[[], nn.Module] | None,
        state_scale: np.ndarray | None = None,
    ) -> NeuralSDE:
        params = self.get_params(deep=False)
        entropy = resolve_entropy(params["random_state"])
        rows = held_out_rows(groups, params["validation_fraction"], stream(entropy, Stage.SPLIT))
        names = ("max_epochs", "batch_size", "lr", "weight_decay", "patience", "device", "verbose")
        model = fit_neural(
            u, dz, dt, lam, rows, build_drift=build_drift, state_scale=state_scale,
            hidden=tuple(params["hidden"]), diffusion=params["diffusion_model"],
            seed=stream_seed(entropy, Stage.TRAIN), **{name: params[name] for name in names},
        )  # fmt: skip
        self.history_ = model.history
        return model

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.regressor_tags.poor_score = True  # the score is a log-likelihood, not R^2
        return tags


class PatchSDERegressor(PatchSDE):
    """Macroscopic SDE with a net, a linear or a polynomial drift (Eqs. 4, 7, 31).

    Parameters
    ----------
    lam : "K" or float, default="K"
        Factor on the covariance in the likelihood. "K" is the number of patches over the number
        evolved, read from the pairs (1 for plain X). Theorem 1 says K.
    drift_model : {"mlp", "linear", "polynomial"}, default="mlp"
        Form of the drift. The last two are fitted in closed form or to convergence.
    degree : int, default=2
        Degree of the polynomials.
    diffusion_model : {"full", "diagonal", "constant"}, default="full"
        Diffusion matrix: a full or a diagonal one that depends on the state, or a constant full
        one; always by its Cholesky factor.
    hidden : sequence of int, default=(64, 64)
        Hidden layers of the nets.
    dt : float, default=1.0
        Elapsed time of plain increments y; pairs carry their own.
    bounds : sequence of (float, float), default=None
        Range of each of the first components, kept in `simulate`; see
        `Simulator.observable_bounds`.
    max_epochs, batch_size, lr, weight_decay : default=100, 1024, 2e-3, 0.0
        Training of the nets by AdamW; the learning rate falls along a cosine.
    validation_fraction : float, default=0.1
        Part of the groups held out for early stopping.
    patience : int, default=20
        Epochs without a better held-out likelihood after which training stops.
    device : str, default="cpu"
        Where torch computes.
    random_state : None, int, RandomState or Generator, default=None
        Seed of weights, batches and held-out groups.
    verbose : bool, default=False
        Show progress with the time left.

    Attributes
    ----------
    lam_ : float
        Factor in use, mean over the pairs.
    n_state_ : int
        d, dimension of the state.
    model_ : PolynomialSDE or NeuralSDE
        Drift and diffusion in standardised coordinates.
    history_ : list of dict
        Losses and learning rate of every epoch, for nets.
    n_features_in_ : int
        d plus the number of context values.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import PatchSDERegressor
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (50_000, 1))
    >>> dz = -0.5 * z * 0.1 + 0.2 * np.sqrt(0.1) * rng.standard_normal(z.shape)
    >>> sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant", dt=0.1)
    >>> sde = sde.fit(z, dz)
    >>> sde.drift([[1.0]]).round(1), sde.diffusion([[1.0]]).round(2)
    (array([[-0.5]]), array([[[0.04]]]))
    """

    def __init__(
        self,
        *,
        lam: float | str = "K",
        drift_model: str = "mlp",
        degree: int = 2,
        diffusion_model: str = "full",
        hidden: Sequence[int] = (64, 64),
        dt: float = 1.0,
        bounds: Sequence[tuple[float, float]] | None = None,
        max_epochs: int = 100,
        batch_size: int = 1024,
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        validation_fraction: float = 0.1,
        patience: int = 20,
        device: str = "cpu",
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.lam = lam
        self.drift_model = drift_model
        self.degree = degree
        self.diffusion_model = diffusion_model
        self.hidden = hidden
        self.dt = dt
        self.bounds = bounds
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _validate_parameters(self) -> None:
        super()._validate_parameters()
        check_choice(self.drift_model, "drift_model", ("mlp", "linear", "polynomial"))
        check_integer(self.degree, "degree", low=1)

    def _fit_model(
        self, u: np.ndarray, dz: np.ndarray, dt: np.ndarray, lam: np.ndarray, groups: np.ndarray
    ) -> PolynomialSDE | NeuralSDE:
        if self.drift_model == "mlp":
            return self._neural(u, dz, dt, lam, groups, build_drift=None)
        degree = 1 if self.drift_model == "linear" else self.degree
        return fit_polynomial(u, dz, dt, lam, degree=degree, diffusion=self.diffusion_model)
