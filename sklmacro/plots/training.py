"""Losses over the epochs of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklmacro.plots._axes import Display, legend
from sklmacro.plots.style import COLORS, TRUE

History = Sequence[Mapping[str, float]]


@dataclass(eq=False, repr=False)
class TrainingDisplay(Display):
    """Training and held-out loss of every epoch, with the best epoch marked.

    Parameters
    ----------
    histories : dict of str to list of histories
        For each panel its title and the runs in it: one, or one for each member of an ensemble. A
        history is a list of epochs, dicts with `train_loss` and `valid_loss`.

    Attributes
    ----------
    train_lines_, valid_lines_ : list of matplotlib Line2D
        Losses, panel by panel, run by run.
    best_ : list of matplotlib Line2D
        Smallest held-out loss of each run, whose weights the net has.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import MLP, PatchSDERegressor, Training
    >>> from sklmacro.plots import TrainingDisplay
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (500, 1))
    >>> dz = -0.1 * z + 0.1 * rng.standard_normal(z.shape)
    >>> net = MLP(hidden=(8,), training=Training(max_epochs=10))
    >>> sde = PatchSDERegressor(drift_model=net, random_state=0).fit(z, dz)
    >>> display = TrainingDisplay.from_estimator(sde)
    >>> len(display.valid_lines_[0].get_xdata()), display.axes_[0].get_xlabel()
    (10, 'epoch')
    """

    histories: Mapping[str, Sequence[History]]

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the losses of a fitted estimator that trains nets.

        Parameters
        ----------
        estimator : fitted PatchAutoencoder, PatchSDERegressor, OnsagerSDE, SDEEnsemble or Pipeline
            An ensemble has one run for each member, a Pipeline one panel for each step that trains.
        ax : array-like of matplotlib Axes; None makes a new figure

        Raises
        ------
        ValueError
            If nothing was trained: closed-form drifts and encoders without closures have no losses.
        """
        check_is_fitted(estimator)
        steps = [(type(estimator).__name__, estimator)]
        if isinstance(estimator, Pipeline):
            steps = estimator.steps
        runs = {name: _runs(step) for name, step in steps}
        histories = {name: histories for name, histories in runs.items() if histories}
        if not histories:
            raise ValueError(
                "Expected an estimator that trains nets, but got "
                f"{type(estimator).__name__} without a training history; fit one with "
                "drift_model='mlp', or n_closure of at least 1."
            )
        return cls(histories).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the losses.

        Parameters
        ----------
        ax : array-like of matplotlib Axes of shape (n_panels,); None makes a new figure
        """
        axes = self._panels(ax, len(self.histories))
        from matplotlib.ticker import MaxNLocator

        self.train_lines_: list = []
        self.valid_lines_: list = []
        self.best_: list = []
        for panel, (name, runs) in zip(axes, self.histories.items(), strict=True):
            width = 1.8 if len(runs) == 1 else 1.0
            for k, history in enumerate(runs):
                epochs = np.arange(1, len(history) + 1)
                train, valid = (
                    [epoch[f"{key}_loss"] for epoch in history] for key in ("train", "valid")
                )
                best = int(np.argmin(valid))
                labels = ["training", "held out", "best epoch"] if k == 0 else [None] * 3
                self.train_lines_ += panel.plot(
                    epochs, train, color=COLORS[1], ls="--", lw=width, label=labels[0]
                )
                self.valid_lines_ += panel.plot(
                    epochs, valid, color=COLORS[0], lw=width, label=labels[1]
                )
                self.best_ += panel.plot(
                    epochs[best], valid[best], "o", ms=6, mfc="white", mec=TRUE, mew=1.2,
                    ls="none", zorder=3, label=labels[2],
                )  # fmt: skip
            panel.set(xlabel="epoch", ylabel="loss", title=name)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            legend(panel)
        return self


def _runs(estimator: Any) -> list[History]:
    """Return the histories of an estimator: its own, or those of its members."""
    members = getattr(estimator, "members_", [estimator])
    return [member.history_ for member in members if getattr(member, "history_", None)]
