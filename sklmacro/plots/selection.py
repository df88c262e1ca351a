"""What each closure explains of the observables' drift."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklmacro.closure.correlations import CorrelationClosure
from sklmacro.closure.selection import SelectionStep
from sklmacro.plots._axes import Display
from sklmacro.plots.style import COLORS


@dataclass(eq=False, repr=False)
class ClosureSelectionDisplay(Display):
    """Part of the drift that is left unexplained, closure by closure.

    Parameters
    ----------
    steps : sequence of SelectionStep
        `CorrelationClosure.selection_`.

    Attributes
    ----------
    errorbar_ : matplotlib ErrorbarContainer
        Unexplained part after each step, with its error.

    Examples
    --------
    >>> from sklmacro import CorrelationClosure, PartialEvolutionSampler
    >>> from sklmacro.plots import ClosureSelectionDisplay
    >>> from sklmacro.simulators import PredatorPrey
    >>> spde = PredatorPrey()
    >>> X = spde.sample_initial(60, 40, random_state=0)
    >>> X, _ = spde.advance(X, duration=5.0, random_state=0)
    >>> pairs = PartialEvolutionSampler(spde, moments=True).fit_transform(X)
    >>> display = ClosureSelectionDisplay.from_estimator(CorrelationClosure(spde).fit(pairs))
    >>> [label.get_text() for label in display.ax_.get_xticklabels()]
    ['observables', '+ u v (0)', '+ u u (0)']
    """

    steps: Sequence[SelectionStep]

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw what a fitted closure was selected by.

        Parameters
        ----------
        estimator : fitted CorrelationClosure, or Pipeline with one
        ax : matplotlib Axes; None makes a new figure

        Raises
        ------
        ValueError
            If nothing was selected.
        """
        check_is_fitted(estimator)
        steps = [estimator]
        if isinstance(estimator, Pipeline):
            steps = [step for _, step in estimator.steps]
        for step in steps:
            if isinstance(step, CorrelationClosure) and step.selection_:
                return cls(step.selection_).plot(ax)
        raise ValueError(
            "Expected a CorrelationClosure that has selected closures, but got "
            f"{type(estimator).__name__} without a selection; fit one to snapshot pairs with "
            "n_closure='auto'."
        )

    def plot(self, ax: Any = None) -> Self:
        """Draw the curve on a logarithmic scale.

        Parameters
        ----------
        ax : matplotlib Axes; None makes a new figure
        """
        (panel,) = self._panels(ax, 1)
        parts = np.array([step.unexplained for step in self.steps])
        errors = np.array([step.error for step in self.steps])
        places = np.arange(len(parts))
        self.errorbar_ = panel.errorbar(
            places, parts, np.minimum(errors, 0.9 * parts), fmt="o-", color=COLORS[0], capsize=3
        )
        names = [self.steps[0].name, *(f"+ {step.name}" for step in self.steps[1:])]
        panel.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor")
        panel.set(yscale="log", xlabel="closure", ylabel="unexplained part of the drift")
        return self
