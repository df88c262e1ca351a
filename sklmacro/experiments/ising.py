"""Ising model at T = 2.5, h = 0.1 (Sec. III.2, Figs. 3-4): 64x64 learned from 16x16."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro.experiments._engine.run import Experiment
from sklmacro.experiments._spins.protocol import Settings, draw_paths, with_simulator
from sklmacro.simulators import Ising

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIMULATOR = Ising(temperature=2.5, field=0.1)


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw magnetisation and domain wall density."""
    large, small = settings.side_large, settings.side_small
    title = f"Ising {large}x{large}, T = 2.5, h = 0.1, learned from {small}x{small}"
    return draw_paths(settings, arrays, SIMULATOR.observable_names, title, until=200.0)


EXPERIMENT = Experiment(
    name="ising",
    summary="mean paths of magnetisation and domain walls, 64x64 from 16x16 (Figs. 3-4)",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            side_small=8, side_large=16, n_random=400, n_trajectories=20, n_times=5, duration=50.0,
            relax_passes=2, closure_epochs=2, epochs=10, magnetisations=(0.0, 0.5),
            n_test_paths=4, n_truth_paths=8, test_duration=20.0,
        ),
    },
    compute=with_simulator(SIMULATOR),
    draw=draw,
)  # fmt: skip
