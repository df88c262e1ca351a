"""Upsampled against directly simulated snapshots, in standard errors."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklmacro.measures.fidelity import Fidelity, fidelity
from sklmacro.plots._axes import Display, legend, require_matplotlib
from sklmacro.plots.style import COLORS, SHADE, curve
from sklmacro.simulators import Simulator


@dataclass(eq=False, repr=False)
class FidelityDisplay(Display):
    """Differences of upsampled from directly simulated snapshots, in units of their errors.

    Parameters
    ----------
    fidelity : Fidelity
        What `fidelity.fidelity` returns.

    Attributes
    ----------
    points_ : matplotlib Line2D
        `z` of what is compared at given observables, then `z_length` of correlation lengths, from
        the top row on; NaN where a length is.
    lines_ : list of matplotlib Line2D
        Differences of the structure factors over the wave number, one line for each pair of fields.
    spans_ : list of matplotlib Rectangle
        Two standard errors to either side of zero, in both panels.
    axes_ : ndarray of matplotlib Axes of shape (2,)
        Observables, drifts and lengths; structure factors. The title names what is given, and has
        the p-value; lengths are those of all snapshots and do not count in it.

    Examples
    --------
    >>> from sklmacro.plots import FidelityDisplay
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=4.0)
    >>> X = ising.sample_initial(400, 8, random_state=0)
    >>> display = FidelityDisplay.from_snapshots(ising, X[:200], X[200:], parity=True)
    >>> [label.get_text() for label in display.axes_[0].get_yticklabels()]
    ['domain wall density', 'd/dt magnetisation', 'd/dt domain wall density', 'xi spin, of all']
    """

    fidelity: Fidelity

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, reference: Any, *, ax: Any = None, **options: Any
    ) -> Self:
        """Upsample snapshots, and draw how they differ from directly simulated ones.

        Parameters
        ----------
        estimator : fitted HierarchicalUpsampler, or Pipeline that ends with one
        X : array-like of shape (n_samples, *small site_shape[, n_fields])
            Small snapshots, independent of each other.
        reference, ax, **options : as in `from_snapshots`
        """
        require_matplotlib()
        check_is_fitted(estimator)
        last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        large = estimator.transform(X)
        return cls.from_snapshots(last.simulator_, large, reference, ax=ax, **options)

    @classmethod
    def from_snapshots(
        cls, simulator: Simulator, X: Any, reference: Any, *, ax: Any = None, **options: Any
    ) -> Self:
        """Draw how snapshots differ from directly simulated ones of the same size.

        Parameters
        ----------
        simulator, X, reference, **options : passed to `fidelity.fidelity`
        ax : two matplotlib Axes; None makes a new figure
        """
        require_matplotlib()
        return cls(fidelity(simulator, X, reference, **options)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw both panels.

        Parameters
        ----------
        ax : two matplotlib Axes, for observables and structure factors; None makes a new figure
        """
        axes, compared = self._panels(ax, 2), self.fidelity
        names = [*compared.quantities, *(f"xi {name}, of all" for name in compared.fields)]
        rows = np.arange(len(names))
        z = np.concatenate([compared.z, compared.z_length])
        (self.points_,) = axes[0].plot(z, rows, "o", color=COLORS[0])
        axes[0].set_yticks(rows, names)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        structure = compared.structures[0]
        self.lines_: list = []
        for k, (pair, scores) in enumerate(zip(structure.pairs, compared.z_structure, strict=True)):
            label = f"S(k) {pair}"
            self.lines_ += axes[1].plot(structure.k, scores, label=label, ms=4, lw=1.0, **curve(k))
        look: dict[str, Any] = {"color": SHADE, "lw": 0, "zorder": 0}
        self.spans_ = [axes[0].axvspan(-2, 2, **look), axes[1].axhspan(-2, 2, **look)]
        title = f"at given {', '.join(compared.given)}: p = {compared.p_value:.2g}"
        axes[0].set(xlabel="difference / standard error", title=title)
        axes[1].set(xlabel="wave number k", ylabel="difference / standard error")
        legend(axes[1], fontsize="small")
        return self
