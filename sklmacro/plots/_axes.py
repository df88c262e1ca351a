"""Axes to draw on, and what all displays share. matplotlib is imported when something is drawn."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = (4.6, 3.5)  # inches
COLUMNS = 3


def require_matplotlib() -> None:
    """Raise ImportError, with the remedy, where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise ImportError(
            "Expected matplotlib for displays, but it is not installed; install it with "
            'python3 -m pip install "sklmacro[plot]".'
        )


class Display:
    """What all displays share.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
    figure_ : matplotlib Figure
    """

    def _panels(self, ax: Any, n: int, size: tuple[float, float] = PANEL) -> "list[Axes]":
        """Return the n axes of a drawing: those given, or those of a new figure of pyplot.

        Parameters
        ----------
        ax : matplotlib Axes, array-like of n Axes, or None
            Where to draw; None makes a new figure.
        n : int
            Number of panels.
        size : (float, float), default=(4.6, 3.5)
            Width and height of a panel of a new figure in inches.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` is not n axes.
        """
        require_matplotlib()
        axes = _new_axes(n, size) if ax is None else _check_axes(ax, n)
        self.axes_ = np.array(axes, dtype=object)
        self.figure_: Any = axes[0].figure
        return axes


def _new_axes(n: int, size: tuple[float, float]) -> "list[Axes]":
    import matplotlib.pyplot as plt

    n_rows = -(-n // COLUMNS)
    n_columns = -(-n // n_rows)
    figsize = (size[0] * n_columns, size[1] * n_rows)
    figure, grid = plt.subplots(
        n_rows, n_columns, figsize=figsize, layout="constrained", squeeze=False
    )
    for unused in grid.flat[n:]:
        figure.delaxes(unused)
    return list(grid.flat[:n])


def _check_axes(ax: Any, n: int) -> "list[Axes]":
    from matplotlib.axes import Axes

    axes = list(np.ravel(np.asarray(ax, dtype=object)))
    if len(axes) != n or not all(isinstance(one, Axes) for one in axes):
        raise ValueError(
            f"Expected ax to be {n} matplotlib axes, one for each panel, but got {ax!r}; "
            f"pass what figure.subplots(1, {n}) returns, or None."
        )
    return axes


def legend(ax: "Axes", **options: Any) -> None:
    """Draw a legend through which curves can be seen, if there is anything to name."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(framealpha=0.7, edgecolor="none", **options)
