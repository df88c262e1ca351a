"""Curie-Weiss model at T = 1.1, h = 0.1 (Appendix D.1, Figs. 8-9): 64x64 from 8x8 to 64x64."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._spins import protocol as _spins
from sklmacro.experiments._spins.patch_sizes import Settings, draw_errors
from sklmacro.experiments._spins.patch_sizes import compute as compute_sizes
from sklmacro.experiments._spins.protocol import draw_observables
from sklmacro.simulators import CurieWeiss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIMULATOR = CurieWeiss(temperature=1.1, field=0.1)
PAPER = Settings(
    learning=_spins.Settings(
        n_random=4500, n_trajectories=75, n_patches_evolved=1, relax_duration=(0.004, 0.1),
        relax_passes=1, n_closure=0, magnetisations=(0.0, 0.25, -0.25, 0.5, -0.5), n_seeds=3,
    ),
    published={
        "method": (0.00438, 0.00106, 0.00079, 0.00041),
        "baseline": (0.0126, 0.00253, 0.00101, 0.00041),
    },
    aims=(0.0015, 0.0005, 0.0004),
    n_moments=1500,
    n_many=500,
)  # fmt: skip


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn from every n_s."""
    return compute_sizes(SIMULATOR, settings, run)


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw errors over n_s, and the magnetisation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_errors(left, settings, numbers)
    n_starts = len(settings.learning.magnetisations)
    draw_observables([right], n_starts, arrays, SIMULATOR.observable_names, until=50.0)
    large, small = settings.learning.side_large, settings.side_shown
    figure.suptitle(
        f"Curie-Weiss {large}x{large}, T = 1.1, h = 0.1; right, learned from {small}x{small}"
    )
    return figure


EXPERIMENT = Experiment(
    name="curie-weiss",
    summary="errors of the mean magnetisation, 64x64 from 8x8 to 64x64 (Figs. 8-9)",
    presets={
        "paper": PAPER,
        "smoke": replace(
            PAPER, published={}, aims=(), degree=2, sides=(4, 8, 16),
            side_shown=8, n_moments=200, n_few=4, n_many=40,
            learning=replace(
                PAPER.learning, side_large=16, n_random=300, n_trajectories=20, n_times=5,
                duration=20.0, magnetisations=(0.0, 0.5), test_duration=20.0, n_seeds=2,
            ),
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
