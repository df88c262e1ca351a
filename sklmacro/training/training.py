"""Parameters of a training, in one block that all estimators with nets share."""

from typing import Any

from sklearn.base import BaseEstimator

from sklmacro._base.checks import check_integer, check_real


class Training(BaseEstimator):
    """Training of nets by AdamW; the learning rate falls along a cosine.

    Parameters
    ----------
    max_epochs : int, default=None
        Largest number of epochs; None stands for 100 in SDEs and 20 in `PatchAutoencoder`.
    batch_size : int, default=None
        Samples in a batch; None stands for 1024 in SDEs and 256 in `PatchAutoencoder`.
    lr : float, default=2e-3
        Learning rate at the start.
    weight_decay : float, default=0.0
        Weight decay of AdamW.
    validation_fraction : float, default=0.1
        Part of the groups held out for early stopping.
    patience : int, default=None
        Epochs without a better held-out loss after which training stops; None stands for 20 in
        SDEs and 10 in `PatchAutoencoder`.
    device : str, default="cpu"
        Where torch computes.

    Examples
    --------
    >>> from sklmacro import MLP, PatchSDERegressor, Training
    >>> sde = PatchSDERegressor(drift_model=MLP(training=Training(max_epochs=5, lr=0.01)))
    >>> sde.set_params(drift_model__training__patience=3).drift_model.training
    Training(lr=0.01, max_epochs=5, patience=3)
    """

    max_epochs: Any  # int once complete
    batch_size: Any
    patience: Any

    def __init__(
        self,
        *,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        device: str = "cpu",
    ):
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device

    def complete(self, training: Any) -> "Training":
        """Return `training`, a Training or None, with these numbers where it has None."""
        own, given = self.get_params(), as_training(training).get_params()
        return Training(**{k: own[k] if v is None else v for k, v in given.items()})

    def check(self) -> "Training":
        """Return this block; raise ValueError unless its parameters make sense and none is None."""
        for name in ("max_epochs", "batch_size", "patience"):
            check_integer(getattr(self, name), name, low=1)
        check_real(self.lr, "lr", low=0.0, strict=True)
        check_real(self.weight_decay, "weight_decay", low=0.0)
        check_real(self.validation_fraction, "validation_fraction", low=0.0, high=0.9)
        return self


def as_training(value: Any) -> Training:
    """Return `value`, a Training or None, as a Training: the function of `Roles.roles`."""
    if value is None or isinstance(value, Training):
        return Training() if value is None else value
    raise ValueError(
        f"Expected training to be a Training or None, but got {value!r}; pass for instance "
        "Training(max_epochs=50)."
    )


def former_names(role: str = "training") -> dict[str, str]:
    """Return the parameters of a training as constructors took them before, for `Roles.former`."""
    return {name: f"{role}__{name}" for name in Training().get_params()}
