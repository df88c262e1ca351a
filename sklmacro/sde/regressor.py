"""Macroscopic SDE with a net, a linear or a polynomial drift (Eqs. 4, 7, 31)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from sklmacro._base.checks import check_choice, check_integer
from sklmacro._base.estimators import FitTask
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro.sde.base import PatchSDE
from sklmacro.sde.degree import choose_degree
from sklmacro.sde.likelihood import Increments
from sklmacro.sde.neural import NeuralSDE
from sklmacro.sde.polynomial import PolynomialSDE, fit_polynomial


class PatchSDERegressor(PatchSDE):
    """Macroscopic SDE with a net, a linear or a polynomial drift (Eqs. 4, 7, 31).

    Parameters
    ----------
    lam : "K", "auto" or float, default="K"
        Factor on the covariance in the likelihood. "K" is the number of patches over the number
        evolved, read from the pairs (1 for plain X); Theorem 1 says K as dt -> 0. "auto" is the
        estimate that the pairs of `PartialEvolutionSampler(n_joint=...)` carry, for longer dt.
    drift_model : {"mlp", "linear", "polynomial"}, default="mlp"
        Form of the drift. The last two are fitted in closed form or to convergence.
    degree : int or "auto", default=2
        Degree of the polynomials. "auto" takes, of 1 to 9, the one of the largest likelihood of
        held-out increments, in ten folds of the groups; of ties the smallest. The mean over pairs
        is trimmed: those beyond all others would decide alone.
    diffusion_model : {"full", "diagonal", "constant"}, default="full"
        Diffusion matrix: a full or a diagonal one that depends on the state, or a constant full
        one; always by its Cholesky factor.
    parity : sequence of int, default=None
        1 or -1 for each component of the state: the dynamics is the same for P z as for z, with P
        these signs, and so are, exactly, the drift and the diffusion. (-1, 1), for instance, for
        magnetisation and wall density without a field. None for no symmetry.
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
    checkpoint_dir : str or Path, default=None
        Folder in which the training of nets keeps its state every few seconds. The same fit goes
        on from there, with the same result to the last bit, and is over at once when it was
        finished. Fits in closed form keep nothing.

    Attributes
    ----------
    lam_ : float
        Factor in use, mean over the pairs.
    lam_error_ : float
        Standard error of an estimated factor; 0 for "K" or a number.
    n_state_ : int
        d, dimension of the state.
    model_ : PolynomialSDE or NeuralSDE
        Drift and diffusion in standardised coordinates.
    history_ : list of dict
        Losses of every epoch, for nets.
    degree_ : int
        Degree in use, for linear and polynomial drifts.
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

    degree_: int

    def __init__(
        self,
        *,
        lam: float | str = "K",
        drift_model: str = "mlp",
        degree: int | str = 2,
        diffusion_model: str = "full",
        parity: Sequence[int] | None = None,
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
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.lam = lam
        self.drift_model = drift_model
        self.degree = degree
        self.diffusion_model = diffusion_model
        self.parity = parity
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
        self.checkpoint_dir = checkpoint_dir

    def _validate_parameters(self) -> None:
        super()._validate_parameters()
        check_choice(self.drift_model, "drift_model", ("mlp", "linear", "polynomial"))
        if self.degree != "auto":
            check_integer(self.degree, "degree", low=1, remedy="pass an integer or 'auto'")

    def _n_epochs(self) -> int:
        return self.max_epochs if self.drift_model == "mlp" else 0

    def _fit_model(
        self,
        u: np.ndarray,
        increments: Increments,
        groups: np.ndarray,
        parity: np.ndarray,
        task: FitTask,
    ) -> PolynomialSDE | NeuralSDE:
        if self.drift_model == "mlp":
            return self._neural(u, increments, groups, parity, task, build_drift=None)
        options: dict[str, Any] = {"diffusion": self.diffusion_model, "parity": parity}
        if self.drift_model == "linear":
            self.degree_ = 1
        elif isinstance(self.degree, str):
            rng = stream(resolve_entropy(self.random_state), Stage.SPLIT)
            self.degree_ = choose_degree(u, increments, groups, rng, **options)
        else:
            self.degree_ = int(self.degree)
        return fit_polynomial(u, increments, degree=self.degree_, **options)
