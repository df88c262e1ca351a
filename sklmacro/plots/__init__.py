"""Displays, after scikit-learn's: data in, axes, figure and artists out.

Each display stores its data, draws them with `plot(ax=None)`, which returns the display, and offers
class methods that compute the data from an estimator or from predictions and draw them at once.
Drawing needs matplotlib (extra `plot`).
"""

from sklmacro.plots.trajectory import TrajectoryDisplay

__all__ = [
    "TrajectoryDisplay",
]
