"""Ising model at T = 2.5, h = 0.1 (Sec. III.2, Figs. 3-4): 64x64 from 8x8 to 64x64."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._spins import protocol as _spins
from sklmacro.experiments._spins.patch_sizes import Settings, draw_errors
from sklmacro.experiments._spins.patch_sizes import compute as compute_sizes
from sklmacro.experiments._spins.protocol import draw_observables
from sklmacro.experiments.ising import SIMULATOR
from sklmacro.measures.plateau import Plateau, dt_plateau

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_STARTS = 100  # states of the study of dt
DTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
PAPER = Settings(
    learning=_spins.Settings(
        n_random=9000,
        n_trajectories=150,
        n_patches_evolved=1,
        relax_duration=(0.004, 3.0),
        n_seeds=3,
    ),
    published={
        "method": (0.0284, 0.00080, 0.00045, 0.00195),
        "baseline": (0.131, 0.0320, 0.00129, 0.00209),
    },
    aims=(0.003, 0.0004, 0.0003),
)


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn from every n_s, and study dt."""
    numbers, arrays = compute_sizes(SIMULATOR, settings, run)
    with run.stage("plateau of dt"):
        plateau = _plateau(settings, run)
    numbers["plateau"] = {
        "interval": plateau.interval,
        "contains the dt of the pairs": plateau.contains(settings.learning.dt),
    }
    for name in ("dts", "rate", "rate_error", "diffusion", "diffusion_error"):
        arrays[f"plateau_{name}"] = getattr(plateau, name)
        numbers["plateau"][name] = getattr(plateau, name).tolist()
    return numbers, arrays


def _plateau(settings: Settings, run: Run) -> Plateau:
    """Return rates and diffusion over dt, from states 8 sweeps after random ones."""
    side = settings.learning.side_large
    X = SIMULATOR.sample_initial(N_STARTS, side, random_state=run.seed)
    X, _ = SIMULATOR.advance(X, duration=8.0, random_state=run.seed, n_jobs=run.n_jobs)
    return dt_plateau(
        SIMULATOR,
        X,
        DTS,
        patch=settings.side_shown,
        n_replicas=64,
        random_state=run.seed,
        n_jobs=run.n_jobs,
    )


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw errors over n_s, the plateau of dt, magnetisation and domain wall density."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    draw_errors(panels[0, 0], settings, numbers)
    ax, dts = panels[0, 1], arrays["plateau_dts"]
    for k, name in enumerate(SIMULATOR.observable_names):
        for what, line in (("rate", "o-"), ("diffusion", "s--")):
            values, errors = arrays[f"plateau_{what}"][:, k], arrays[f"plateau_{what}_error"][:, k]
            unit = values[0]
            ax.errorbar(
                dts, values / unit, errors / abs(unit), fmt=line, color=f"C{k}", capsize=2,
                label=f"{what} of {name}",
            )  # fmt: skip
    interval = numbers["plateau"]["interval"]
    if interval is not None:
        ax.axvspan(*interval, color="0.9", zorder=0)
    ax.axvline(settings.learning.dt, color="0.5", lw=0.8)
    ax.set_xscale("symlog", linthresh=dts[1])
    ax.set(xlim=(-0.01, None), xlabel="dt [sweeps]", ylabel="over its limit dt -> 0")
    ax.legend(frameon=False, fontsize="small")
    n_starts = len(settings.learning.magnetisations)
    draw_observables(panels[1], n_starts, arrays, SIMULATOR.observable_names, until=200.0)
    large, small = settings.learning.side_large, settings.side_shown
    figure.suptitle(f"Ising {large}x{large}, T = 2.5, h = 0.1; below, learned from {small}x{small}")
    return figure


EXPERIMENT = Experiment(
    name="ising-patch-size",
    summary="errors of mean paths, 64x64 from 8x8, 16x16, 32x32 and 64x64 (Figs. 3-4)",
    presets={
        "paper": PAPER,
        "smoke": replace(
            PAPER, published={}, aims=(), degree=2, sides=(4, 8, 16),
            side_shown=8, n_moments=300, n_closure_moments=100, n_closure_epochs=2,
            n_few=4, n_many=320,
            learning=replace(
                PAPER.learning, side_large=16, n_random=300, n_trajectories=20, n_times=5,
                duration=20.0, relax_passes=4, closure_epochs=1, epochs=2, n_seeds=2,
                magnetisations=(0.0, 0.5), test_duration=20.0,
            ),
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
