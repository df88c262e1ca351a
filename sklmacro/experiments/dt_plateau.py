"""Where dt belongs: rates and diffusion over dt, for every system of the paper.

Each system is followed from large snapshots of the states that its experiment visits, one patch of
each evolved as there, see `dt_plateau`. The dt of the experiment should lie where both curves
are flat; that of exact moments is 0. Near the critical point, where they are those of all patches,
the whole lattice is followed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro._base.streams import Stage, stream
from sklmacro.experiments import curie_weiss, ising, ising_patch_size, linear_chain, nbmota
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._nbmota import small as nbmota_small
from sklmacro.experiments._truth.wolff import equilibrium_snapshots
from sklmacro.experiments.nbmota_direct import alloy_of, pair_names
from sklmacro.measures.plateau import Plateau, dt_plateau
from sklmacro.plots.style import curve
from sklmacro.simulators import Alloy, Ising, LinearChain, PredatorPrey, Simulator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KNOWN = 0.3  # relative error of a value that others are divided by
CRITICAL = Ising(temperature=2.27)
MOMENTS = 0.0  # the dt of exact moments


@dataclass(frozen=True)
class Alloys:
    """Settings of the alloy; sides in unit cells of two sites, times in jumps of a vacancy.

    Attributes
    ----------
    age : tuple of (float, float)
        Shortest and longest time from a random solution to a start state.
    buffer : int
        Unit cells around a patch that evolve with it.
    """

    temperature: float = 2000.0
    side: int = 16
    patch: int = 8
    buffer: int = 2
    n_starts: int = 192
    n_ages: int = 12
    age: tuple[float, float] = (300.0, 30_000.0)
    dts: tuple[float, ...] = (10, 30, 100, 300, 1000, 2000, 4000, 7000, 10_000)


@dataclass(frozen=True)
class Settings:
    """Settings; sides in sites.

    Attributes
    ----------
    n_starts, n_starts_cells : int
        Start states of the chain and the spins, and of the predator-prey system.
    burn_in : float
        Sweeps from random spins to a start state, in a field.
    """

    n_starts: int = 2000
    n_starts_cells: int = 1000
    n_replicas: int = 8
    n_chain: int = 100
    chain_patch: int = 10
    chain_dts: tuple[float, ...] = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
    n_cells: int = 200
    cells_patch: int = 40
    cells_dts: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
    side: int = 64
    patch: int = 16
    burn_in: float = 4.0
    dts: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8)
    alloy: Alloys = field(default_factory=Alloys)


@dataclass(frozen=True)
class Case:
    """One system: start states, and how their patches evolve.

    `chosen` are the dts that its experiments take, in units of the time axis, `unit`.
    """

    simulator: Simulator
    X: np.ndarray
    dts: tuple[float, ...]
    patch: int | None
    time: str
    chosen: tuple[float, ...]
    unit: float = 1.0
    buffer: int = 0


def _along_paths(
    simulator: Simulator, X: np.ndarray, times: Any, seed: int, run: Run
) -> np.ndarray:
    """Return one state of each trajectory from X, at times that take turns."""
    paths = simulator.simulate(X, times, random_state=seed, n_jobs=run.n_jobs, verbose=run.verbose)
    return paths[np.arange(len(X)), np.arange(len(X)) % len(times)]


def _chain(settings: Settings, run: Run) -> Case:
    chain, n = LinearChain(), settings.n_chain
    X = chain.sample_initial(settings.n_starts, n, random_state=run.seed)
    X = _along_paths(chain, X, np.linspace(0.0, 20.0, 40), run.seed, run)
    chosen = MOMENTS, linear_chain.EXPERIMENT.presets["paper"].dt
    return Case(chain, X, settings.chain_dts, settings.chain_patch, "1/kappa", chosen)


def _predator_prey(settings: Settings, run: Run) -> Case:
    spde, n = PredatorPrey(), settings.n_cells
    X = spde.sample_initial(settings.n_starts_cells, n, random_state=run.seed)
    X = _along_paths(spde, X, np.linspace(0.0, 30.0, 31), run.seed, run)
    dts, patch = settings.cells_dts, settings.cells_patch
    return Case(spde, X, dts, patch, "time of the model", (MOMENTS,))


def _spins(simulator: Simulator, experiment: Experiment) -> Callable[[Settings, Run], Case]:
    chosen = MOMENTS, experiment.presets["paper"].learning.dt

    def case(settings: Settings, run: Run) -> Case:
        X = simulator.sample_initial(settings.n_starts, settings.side, random_state=run.seed)
        X, _ = simulator.advance(
            X, duration=settings.burn_in, random_state=run.seed, n_jobs=run.n_jobs
        )
        return Case(simulator, X, settings.dts, settings.patch, "sweeps", chosen)

    return case


def _critical(settings: Settings, run: Run) -> Case:
    """Return states at rest, as far apart as they soon forget each other."""
    side, rng = settings.side, stream(run.seed, Stage.INITIAL)
    X = equilibrium_snapshots(side, CRITICAL.temperature, settings.n_starts, side // 2, rng)
    return Case(CRITICAL, X, settings.dts, None, "sweeps", (MOMENTS,))


def _alloy(settings: Settings, run: Run) -> Case:
    own = settings.alloy
    alloy = alloy_of(own.temperature, None)
    unit = alloy.jump_time()
    X = alloy.sample_initial(own.n_starts, own.side, random_state=run.seed)
    ages = np.geomspace(*own.age, own.n_ages) * unit
    X = _along_paths(alloy, X, ages, run.seed, run)
    small = nbmota.EXPERIMENT.presets["paper"].small
    clock = nbmota_small.pilot(alloy, small, run)
    chosen = round(small.dt * clock.tau / clock.jump)
    return Case(alloy, X, own.dts, own.patch, "jumps of a vacancy", (chosen,), unit, own.buffer)


CASES: dict[str, Callable[[Settings, Run], Case]] = {
    "linear chain": _chain,
    "predator-prey": _predator_prey,
    "Ising, T = 2.5, h = 0.1": _spins(ising.SIMULATOR, ising_patch_size.EXPERIMENT),
    "Ising, T = 2.27, h = 0": _critical,
    "Curie-Weiss": _spins(curie_weiss.SIMULATOR, curie_weiss.EXPERIMENT),
    "NbMoTa, 2000 K": _alloy,
}


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Study every system."""
    numbers: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in CASES:
        with run.stage(name):
            numbers[name] = run.once(name, _study, name, settings, run)
        for key in ("rate", "rate_error", "diffusion", "diffusion_error"):
            arrays[f"{name}: {key}"] = np.array(numbers[name][key])
        arrays[f"{name}: dts"] = np.array(numbers[name]["dts"])
    return numbers, arrays


def _study(name: str, settings: Settings, run: Run) -> dict[str, Any]:
    """Return the plateau of one system."""
    case = CASES[name](settings, run)
    plateau = dt_plateau(
        case.simulator,
        case.X,
        np.multiply(case.dts, case.unit),
        patch=case.patch,
        boundary=case.buffer or "ghost",
        n_replicas=settings.n_replicas,
        random_state=run.seed,
        n_jobs=run.n_jobs,
    )
    return _numbers(plateau, case)


def _numbers(plateau: Plateau, case: Case) -> dict[str, Any]:
    """Return a plateau in units of time of its case."""
    names = plateau.names
    interval = plateau.interval
    return {
        "observables": pair_names(case.simulator) if isinstance(case.simulator, Alloy) else names,
        "unit of time": case.time,
        "start states": len(case.X),
        "dts": plateau.dts / case.unit,
        "rate": plateau.rate * case.unit,
        "rate_error": plateau.rate_error * case.unit,
        "diffusion": plateau.diffusion * case.unit,
        "diffusion_error": plateau.diffusion_error * case.unit,
        "interval": None if interval is None else [round(t / case.unit, 6) for t in interval],
        "dt of the experiment": case.chosen,
        "inside": [plateau.contains(dt * case.unit) for dt in case.chosen],
    }


def _reference(values: np.ndarray, errors: np.ndarray) -> float:
    """Return the value at the first dt where it is known to 30 %, or where it is known best."""
    relative = errors / np.abs(values)
    known = np.flatnonzero(relative <= KNOWN)
    return float(values[known[0] if len(known) else np.argmin(relative)])


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw rate and diffusion of every system over dt, as parts of their values at one dt."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9.5), layout="constrained")
    panels = figure.subplots(4, 3)
    for i, (name, result) in enumerate(numbers.items()):
        row, column = divmod(i, 3)
        pair, dts = panels[2 * row : 2 * row + 2, column], np.asarray(result["dts"])
        for ax, what in zip(pair, ("rate", "diffusion"), strict=True):
            curves = zip(
                result["observables"], np.transpose(result[what]),
                np.transpose(result[f"{what}_error"]), strict=True,
            )  # fmt: skip
            for k, (label, values, errors) in enumerate(curves):
                unit = _reference(values, errors)
                known = errors < abs(unit)
                ax.errorbar(
                    dts[known], values[known] / unit, errors[known] / abs(unit), capsize=2, ms=3.5,
                    lw=1.2, label=label, **curve(k),
                )  # fmt: skip
            _axis(ax, result, dts, what)
        pair[0].set_title(name, fontsize="medium")
        pair[1].legend(frameon=False, fontsize="small", ncols=-(-len(result["observables"]) // 3))
        pair[1].set_xlabel(f"dt [{result['unit of time']}]")
    figure.suptitle(
        "Rate and diffusion over their value at the shortest dt where it is known to 30 %,\n"
        "without what is known worse than to that; shaded: flat within 10 % or three standard "
        "errors; dashed: the dt of the experiment"
    )
    return figure


def _axis(ax: Any, result: dict[str, Any], dts: np.ndarray, what: str) -> None:
    """Shade the interval, mark the dt chosen, and scale the axes; 0 has a place on that of dt."""
    if result["interval"] is not None:
        ax.axvspan(*result["interval"], color="0.88", zorder=0)
    for dt in result["dt of the experiment"]:
        ax.axvline(dt, color="0.3", lw=1, ls="--")
    ax.axhline(1.0, color="0.6", lw=0.6, zorder=0)
    shortest = dts[dts > 0][0]
    ax.set_xscale("symlog", linthresh=shortest, linscale=0.5)
    low, high = ax.get_ylim()
    ax.set(xlim=(-0.3 * shortest, 1.2 * dts[-1]), ylim=(max(low, -0.6), min(high, 2.6)))
    decades = np.arange(np.ceil(np.log10(shortest)), np.log10(dts[-1]) + 0.1)
    ax.set_xticks([0.0, *10.0**decades], ["0", *(f"{10.0**d:g}" for d in decades)])
    ax.minorticks_off()
    ax.set_ylabel(what)


EXPERIMENT = Experiment(
    name="dt-plateau",
    summary="rates and diffusion over dt, and the dt chosen, for every system",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            n_starts=40, n_starts_cells=40, n_replicas=2, n_chain=20, side=16, patch=8, n_cells=80,
            chain_dts=(0.05, 0.2, 5.0), cells_dts=(0.01, 0.1), dts=(0.25, 0.5, 2.0),
            alloy=Alloys(
                side=8, patch=4, buffer=1, n_starts=16, n_ages=2, age=(20.0, 200.0),
                dts=(10, 100, 300),
            ),
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
