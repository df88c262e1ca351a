"""Stationary law of one component, predicted and true."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from scipy.stats import wasserstein_distance
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_bounds, check_integer
from sklmacro.measures.stationary import check_sample, stationary_density, wasserstein
from sklmacro.plots._axes import Display, legend, require_matplotlib
from sklmacro.plots._bands import draw_error
from sklmacro.plots.style import TRUE, TRUE_FILL, curve

N_GRID = 501
MARGIN = 0.1  # of the range of the true values, to each side of it


@dataclass(eq=False, repr=False)
class StationaryDisplay(Display):
    """Density of the stationary law, predicted and true.

    Parameters
    ----------
    grid : ndarray of shape (n_grid,)
        Increasing values.
    density : ndarray of shape (n_grid,)
        Predicted density.
    density_error : ndarray of shape (n_grid,), default=None
        Its standard error.
    y_true : ndarray of shape (n_samples,), default=None
        True values.
    distance : float, default=None
        Wasserstein distance of the predicted law to the true values, in their unit.
    bins : int, default=40
        Bins of the true values' histogram.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Predicted density.
    band_ : matplotlib PolyCollection or None
        Its standard error.
    histogram_ : matplotlib StepPatch or None
        Histogram of the true values, of unit area.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import PatchSDERegressor
    >>> from sklmacro.plots import StationaryDisplay
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-2, 2, (50_000, 1))
    >>> dz = -0.05 * z + np.sqrt(0.05) * rng.standard_normal(z.shape)
    >>> sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant", dt=0.05)
    >>> y_true = np.sqrt(0.5) * rng.standard_normal(10_000)
    >>> display = StationaryDisplay.from_estimator(sde.fit(z, dz), y_true)
    >>> display.distance < 0.1
    True
    """

    grid: np.ndarray
    density: np.ndarray
    _: KW_ONLY
    density_error: np.ndarray | None = None
    y_true: np.ndarray | None = None
    distance: float | None = None
    bins: int = 40

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        y_true: Any = None,
        *,
        grid: Any = None,
        context: Any = None,
        bins: int = 40,
        **options: Any,
    ) -> Self:
        """Draw the stationary density of an SDE of one component, without simulating it.

        It is `stationary.stationary_density`; of an ensemble, mean and standard deviation over its
        members.

        Parameters
        ----------
        estimator : fitted SDE or SDEEnsemble with a state of one component
        y_true : array-like of any shape, default=None
            Values of the true system at rest.
        grid : array-like of shape (n_grid,), default=None
            Increasing values, as far as the density reaches; None takes the range of `y_true` and
            a tenth of it to each side, within the bounds of the SDE.
        context : array-like of shape (n_context,), default=None
            Outer parameters.
        bins : int, default=40
        **options : passed to `plot`

        Raises
        ------
        ValueError
            If the state has several components (simulate, and use `from_predictions`), or neither
            grid nor y_true is given.
        """
        require_matplotlib()
        check_is_fitted(estimator)
        true = None if y_true is None else check_sample(y_true, "y_true")
        members = getattr(estimator, "members_", [estimator])
        if grid is None:
            grid = _range(true, members[0])
        densities = [stationary_density(member, grid, context) for member in members]
        grid, density = np.asarray(grid, float), np.mean(densities, axis=0)
        error = np.std(densities, axis=0, ddof=1) if len(densities) > 1 else None
        distance = None
        if true is not None:
            weights = density * np.gradient(grid)
            distance = float(wasserstein_distance(true, grid, v_weights=weights))
        bins = check_integer(bins, "bins", low=1)
        return cls(
            grid, density, density_error=error, y_true=true, distance=distance, bins=bins
        ).plot(**options)

    @classmethod
    def from_predictions(cls, y_true: Any, y_pred: Any, *, bins: int = 40, **options: Any) -> Self:
        """Draw the law of predicted values, such as of long paths, against true ones.

        Parameters
        ----------
        y_true : array-like of any shape, or None
            Values of the true system at rest.
        y_pred : array-like of any shape
            Predicted values at rest, such as one component of `simulate` after the start is
            forgotten.
        bins : int, default=40
            Bins of both histograms; the predicted one is drawn as a line through its bins' centres.
        **options : passed to `plot`

        Raises
        ------
        ValueError
            If values are not finite, or there are none.
        """
        bins = check_integer(bins, "bins", low=1)
        predicted = check_sample(y_pred, "y_pred")
        true = None if y_true is None else check_sample(y_true, "y_true")
        both = predicted if true is None else np.concatenate([predicted, true])
        limits = both.min(), both.max()
        density, edges = np.histogram(predicted, bins, limits, density=True)
        distance = None if true is None else wasserstein(true, predicted)
        centres = (edges[1:] + edges[:-1]) / 2
        return cls(centres, density, y_true=true, distance=distance, bins=bins).plot(**options)

    def plot(
        self, ax: Any = None, *, name: str = "predicted", style: int = 0, label: str = "z"
    ) -> Self:
        """Draw the densities.

        Parameters
        ----------
        ax : matplotlib Axes; None makes a new figure
        name : str, default="predicted"
            Name of the predicted law in the legend.
        style : int, default=0
            Number of its style, so that several displays can share the axes.
        label : str, default="z"
            Label of the axis.
        """
        (ax,) = self._panels(ax, 1)
        self.histogram_ = None
        if self.y_true is not None:
            heights, edges = np.histogram(self.y_true, bins=self.bins, density=True)
            self.histogram_ = ax.stairs(
                heights, edges, fill=True, facecolor=TRUE_FILL, edgecolor=TRUE, lw=0.6, label="true"
            )
        if self.distance is not None:
            name = f"{name}, distance {self.distance:.2g}"
        look = curve(style) | {"marker": "none"}
        (self.line_,) = ax.plot(self.grid, self.density, lw=1.8, label=name, **look)
        self.band_ = draw_error(ax, self.grid, self.density, self.density_error, look["color"])
        ax.set(xlabel=label, ylabel="density")
        ax.set_ylim(bottom=0.0)
        legend(ax)
        return self


def _range(true: np.ndarray | None, sde: Any) -> np.ndarray:
    """Return a grid over the range of the true values and a margin, within an SDE's bounds."""
    if true is None:
        raise ValueError(
            "Expected grid or y_true, but got neither; pass for instance "
            "grid=numpy.linspace(-1, 1, 501)."
        )
    low, high = true.min(), true.max()
    margin = MARGIN * (high - low)
    least, most = (check_bounds(sde.bounds) or ((-np.inf, np.inf),))[0]
    return np.linspace(max(low - margin, least), min(high + margin, most), N_GRID)
