"""NbMoTa alloy with vacancies (Sec. III.3, Fig. 7b-c), learned from systems of 1024 sites.

Against temperature: one SDE with the temperature as context. Against size: the same small systems
serve every size up to 4.2 million sites. The truth is direct kinetic Monte Carlo.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._nbmota import sizes as nbmota_sizes
from sklmacro.experiments._nbmota import temperatures as nbmota_temperatures
from sklmacro.experiments._nbmota.fit import FitSettings
from sklmacro.experiments._nbmota.sizes import SizeSettings
from sklmacro.experiments._nbmota.small import SmallSettings
from sklmacro.experiments._nbmota.temperatures import TemperatureSettings
from sklmacro.experiments.nbmota_direct import alloy_of, pair_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("C0", "C1", "C2", "C3", "C4", "C5")


@dataclass(frozen=True)
class Settings:
    """Settings of both panels; what is set here holds for both."""

    barriers: str | None = None  # file of a barrier network; None for the embedded barriers
    small: SmallSettings = field(default_factory=SmallSettings)
    fits: FitSettings = field(default_factory=FitSettings)
    temperatures: TemperatureSettings = field(default_factory=TemperatureSettings)
    sizes: SizeSettings = field(default_factory=SizeSettings)


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compute both panels."""
    shared: dict[str, Any] = {
        "barriers": settings.barriers, "small": settings.small, "fits": settings.fits
    }  # fmt: skip
    numbers: dict[str, Any] = {"order parameters": pair_names(alloy_of(2000.0, settings.barriers))}
    numbers["sizes"], sizes = nbmota_sizes.compute(replace(settings.sizes, **shared), run)
    numbers["temperatures"], temperatures = nbmota_temperatures.compute(
        replace(settings.temperatures, **shared), run
    )
    return numbers, {**sizes, **temperatures}


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw order parameters against temperature, and paths of Ta-Ta for all sizes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _against_temperature(left, numbers["order parameters"], arrays)
    last = len(numbers["order parameters"]) - 1
    microseconds = 1e6 * arrays["times"]
    for k, factor in enumerate(settings.sizes.factors):
        n_sites, color = 2 * (settings.small.side * factor) ** 3, COLORS[k % 6]
        paths = arrays[f"predicted_{n_sites}"][..., last]
        mean, std = paths.mean(axis=0), paths.std(axis=0)
        right.plot(microseconds, mean, color=color, lw=1.5, label=f"{n_sites:,} sites")
        right.fill_between(microseconds, mean - std, mean + std, color=color, alpha=0.2, lw=0)
        direct = arrays.get(f"direct_{n_sites}")
        if direct is not None:
            right.plot(microseconds, direct[..., last].mean(axis=0), ":", color=color, lw=1.2)
    right.set(
        xlabel="time [microseconds]", ylabel=f"{numbers['order parameters'][last]} order",
        title=f"(c) {settings.sizes.temperature:g} K; dotted: direct simulation",
    )  # fmt: skip
    right.legend(frameon=False, fontsize="small")
    return figure


def _against_temperature(ax: "Axes", names: list[str], arrays: dict[str, np.ndarray]) -> None:
    temperatures = arrays["temperatures"]
    for k, (name, color) in enumerate(zip(names, COLORS, strict=True)):
        for source, style in (("direct", "o"), ("predicted", "-")):
            ax.errorbar(
                temperatures, arrays[f"{source}_mean"][:, k], arrays[f"{source}_error"][:, k],
                fmt=style, color=color, ms=4, lw=1.2, capsize=2,
                label=name if source == "predicted" else None,
            )  # fmt: skip
    ax.set(
        xlabel="temperature [K]", ylabel="short-range order",
        title="(b) dots: direct simulation, lines: predicted",
    )  # fmt: skip
    ax.legend(frameon=False, fontsize="small", ncols=2)


_SMALL = SmallSettings(
    side=4, n_pilot=4, first_jumps=100, most_jumps=1600, duration=8.0, relax=0.02, dt=0.1, buffer=1
)
EXPERIMENT = Experiment(
    name="nbmota",
    summary="order of NbMoTa against temperature and size, from 1024 sites (Fig. 7b-c)",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            small=_SMALL,
            fits=FitSettings(hidden=(8,), epochs=3, n_refits=2, n_paths=8),
            temperatures=TemperatureSettings(
                temperatures=(1500.0, 2000.0, 3000.0), n_runs=4, pair_jumps=1e5, fewest_pairs=8,
                most_pairs=16, n_direct=2,
            ),
            sizes=SizeSettings(
                n_runs=4, n_times=6, factors=(1, 2, 4), site_budget=1e5, most_snapshots=8,
                n_pairs=16, direct_factors=(1, 2), direct_runs=(4, 2),
            ),
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
