"""Displays, after scikit-learn's: data in, axes, figure and artists out.

Each display stores its data and draws them with `plot(ax=None)`, which returns the display. After
that `axes_` are the matplotlib Axes, one for each panel, `ax_` the first of them and `figure_` the
Figure that they are on. Class methods compute the data, from an estimator or from predictions, and
draw them at once; their `options` are those of `plot`. What is computed stands in
`sklmacro.measures`: effective potentials (`DriftDisplay`), Eqs. 25 to 29 (`ScalingDisplay`) and so
on. Colours, markers and lines (`sklmacro.plots.style`) can be told apart in grey and by
colour-blind eyes. Drawing needs matplotlib (extra `plot`), which is imported when something is
drawn.
"""

from sklmacro.plots.drift import DriftDisplay
from sklmacro.plots.fidelity import FidelityDisplay
from sklmacro.plots.lam_search import LamSearchDisplay
from sklmacro.plots.plateau import PlateauDisplay
from sklmacro.plots.scaling import ScalingDisplay
from sklmacro.plots.selection import ClosureSelectionDisplay
from sklmacro.plots.snapshot import SnapshotDisplay
from sklmacro.plots.stationary import StationaryDisplay
from sklmacro.plots.training import TrainingDisplay
from sklmacro.plots.trajectory import TrajectoryDisplay

__all__ = [
    "ClosureSelectionDisplay",
    "DriftDisplay",
    "FidelityDisplay",
    "LamSearchDisplay",
    "PlateauDisplay",
    "ScalingDisplay",
    "SnapshotDisplay",
    "StationaryDisplay",
    "TrainingDisplay",
    "TrajectoryDisplay",
]
