"""Displays, after scikit-learn's: data in, axes, figure and artists out.

Each display stores its data, draws them with `plot(ax=None)`, which returns the display, and offers
class methods that compute the data, from an estimator or from predictions, and draw them at once;
their `options` are those of `plot`. What is computed stands in `sklmacro.measures`: effective
potentials (`DriftDisplay`), Eqs. 25 to 29 (`ScalingDisplay`) and so on. Colours, markers and lines
(`sklmacro.plots.style`) can be told apart in grey and by colour-blind eyes. Drawing needs
matplotlib (extra `plot`), which is imported when something is drawn.
"""

from sklmacro.plots.drift import DriftDisplay
from sklmacro.plots.fidelity import FidelityDisplay
from sklmacro.plots.lam_search import LamSearchDisplay
from sklmacro.plots.plateau import PlateauDisplay
from sklmacro.plots.scaling import ScalingDisplay
from sklmacro.plots.snapshot import SnapshotDisplay
from sklmacro.plots.stationary import StationaryDisplay
from sklmacro.plots.training import TrainingDisplay
from sklmacro.plots.trajectory import TrajectoryDisplay

__all__ = [
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
