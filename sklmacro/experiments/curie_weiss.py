"""Curie-Weiss model at T = 1.1, h = 0.1 (Appendix D.1, Figs. 8-9): 64x64 learned from 16x16."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro.experiments._run import Experiment
from sklmacro.experiments._spins import Settings, draw_paths, with_simulator
from sklmacro.simulators import CurieWeiss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIMULATOR = CurieWeiss(temperature=1.1, field=0.1)
PAPER = Settings(
    n_random=25_000, relax_duration=(0.004, 0.1), relax_passes=1, n_closure=0,
    magnetisations=(0.0, 0.25, -0.25, 0.5, -0.5),
)  # fmt: skip


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw the magnetisation."""
    large, small = settings.side_large, settings.side_small
    title = f"Curie-Weiss {large}x{large}, T = 1.1, h = 0.1, learned from {small}x{small}"
    return draw_paths(settings, arrays, SIMULATOR.observable_names, title, until=50.0)


EXPERIMENT = Experiment(
    name="curie-weiss",
    summary="mean path of the magnetisation, 64x64 from 16x16 (Figs. 8-9)",
    presets={
        "paper": PAPER,
        "smoke": replace(
            PAPER, side_small=8, side_large=16, n_random=400, n_trajectories=20, n_times=5,
            duration=50.0, epochs=10, magnetisations=(0.0, 0.5), n_test_paths=4, n_truth_paths=8,
            test_duration=20.0,
        ),
    },
    compute=with_simulator(SIMULATOR),
    draw=draw,
)  # fmt: skip
