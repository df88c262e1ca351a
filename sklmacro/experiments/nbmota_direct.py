"""Direct kinetic Monte Carlo of NbMoTa: order parameters at equilibrium on several sizes.

What the large system does, simulated: the truth that learned models compare with. Mean and standard
deviation over time of the six order parameters, from runs that start in random solutions. Times are
in jumps, the mean time between the jumps of one vacancy among random atoms.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.simulators import Alloy, BarrierNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """Settings; sides in unit cells of two sites, temperature in K, times in jumps of a vacancy."""

    temperature: float = 2000.0
    barriers: str | None = None  # file of a barrier network; None for the embedded barriers
    sides: tuple[int, ...] = (8, 16, 32)
    runs: tuple[int, ...] = (16, 6, 1)
    before: float = 4e5
    during: float = 8e5
    n_times: int = 601


def alloy_of(temperature: float, barriers: str | None) -> Alloy:
    """Return NbMoTa with the barriers of a file, or the embedded ones for None."""
    model = None if barriers is None else BarrierNetwork.from_file(barriers)
    return Alloy(temperature, model)


def pair_names(alloy: Alloy) -> list[str]:
    """Return Nb-Nb, Nb-Mo ... Ta-Ta."""
    return [name.split()[0] for name in alloy.observable_names]


def _paths(alloy: Alloy, side: int, n_runs: int, times: np.ndarray, run: Run) -> np.ndarray:
    """Return paths of the order parameters (n_runs, n_times, 6), times in seconds."""
    X = alloy.sample_initial(n_runs, side, random_state=run.seed)
    return alloy.simulate(
        X, times, observe=True, random_state=run.seed, n_jobs=run.n_jobs, verbose=run.verbose
    )


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Simulate every size."""
    alloy = alloy_of(settings.temperature, settings.barriers)
    unit = alloy.jump_time()
    numbers: dict[str, Any] = {"order parameters": pair_names(alloy), "seconds in a jump": unit}
    times = settings.before + np.linspace(0, settings.during, settings.n_times)
    arrays = {"times": times * unit}
    for side, n_runs in zip(settings.sides, settings.runs, strict=True):
        n_sites = 2 * side**3
        with run.stage(f"{n_sites} sites"):
            paths = run.once(f"{n_sites} sites", _paths, alloy, side, n_runs, times * unit, run)
        arrays[f"orders_{n_sites}"] = paths
        numbers[f"{n_sites} sites"] = summary(paths)
    return numbers, arrays


def summary(paths: np.ndarray) -> dict[str, Any]:
    """Return mean and standard deviation over time of paths (n_runs, n_times, 6), with errors.

    The errors are those of independent runs; fewer than four runs are cut into four parts each.
    """
    if len(paths) < 4:
        length = paths.shape[1] // 4
        paths = paths[:, : 4 * length].reshape(4 * len(paths), length, paths.shape[2])
    n, overall = len(paths), paths.mean(axis=(0, 1))
    means, squares = paths.mean(axis=1), ((paths - overall) ** 2).mean(axis=1)
    std = np.sqrt(squares.mean(axis=0))  # about the mean of all parts, which may be short
    return {
        "parts": n,
        "mean": overall.tolist(),
        "error of the mean": (means.std(axis=0, ddof=1) / n**0.5).tolist(),
        "std": std.tolist(),
        "error of the std": (squares.std(axis=0, ddof=1) / n**0.5 / (2 * std)).tolist(),
    }


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw mean and fluctuation of the six parameters against the number of sites."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    n_sites = [2 * side**3 for side in settings.sides]
    for k, name in enumerate(numbers["order parameters"]):
        for ax, what in ((left, "mean"), (right, "std")):
            values = [numbers[f"{n} sites"][what][k] for n in n_sites]
            errors = [numbers[f"{n} sites"][f"error of the {what}"][k] for n in n_sites]
            ax.errorbar(n_sites, values, errors, marker="os^Dv*"[k], capsize=3, label=name)
    left.set(xscale="log", xlabel="sites", ylabel="mean short-range order")
    right.set(xscale="log", yscale="log", xlabel="sites", ylabel="standard deviation")
    right.legend(frameon=False)
    source = "embedded barriers" if settings.barriers is None else "network"
    figure.suptitle(f"NbMoTa at equilibrium, {settings.temperature:g} K, {source}")
    return figure


EXPERIMENT = Experiment(
    name="nbmota-direct",
    summary="six order parameters of NbMoTa at equilibrium, directly simulated (Sec. III.3)",
    presets={
        "paper": Settings(),
        "smoke": Settings(sides=(4, 8), runs=(4, 1), before=1e3, during=1e4, n_times=41),
    },
    compute=compute,
    draw=draw,
)
