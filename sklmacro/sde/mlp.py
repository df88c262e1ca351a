"""Drift by a multilayer perceptron, mu(u) = A u + b + net(u)."""

from collections.abc import Sequence
from typing import ClassVar

from sklmacro._base.checks import check_widths
from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.neural import TRAINING, NeuralSDE, fit_neural
from sklmacro.training.training import Training, as_training


class MLP(Drift):
    """Drift and diffusion by multilayer perceptrons, for `PatchSDERegressor`.

    The drift starts from the linear one of least squares, to which the net adds.

    Parameters
    ----------
    hidden : sequence of int, default=(64, 64)
        Hidden layers of the nets.
    training : Training, default=None
        How the nets are trained; None stands for `Training()`.

    Examples
    --------
    >>> from sklmacro import MLP, PatchSDERegressor, Training
    >>> PatchSDERegressor(drift_model=MLP(hidden=(32, 32), training=Training(lr=0.01)))
    PatchSDERegressor(drift_model=MLP(hidden=(32, 32), training=Training(lr=0.01)))
    """

    roles: ClassVar = {"training": as_training}

    def __init__(self, hidden: Sequence[int] = (64, 64), *, training: Training | None = None):
        self.hidden = hidden
        self.training = training

    @property
    def n_epochs(self) -> int:
        """Return the largest number of epochs of a fit."""
        return TRAINING.complete(self.training).max_epochs

    def check(self) -> None:
        """Raise ValueError unless the parameters make sense."""
        check_widths(self.hidden, "hidden")
        TRAINING.complete(self.training).check()

    def fit_model(self, data: FitData) -> NeuralSDE:
        """Train drift and diffusion (Eq. 7)."""
        return fit_neural(data, tuple(self.hidden), TRAINING.complete(self.training))
