"""NbMoTa alloy with vacancies (Sec. III.3, Fig. 7c): order parameters learned from 1024 sites.

The truth is direct kinetic Monte Carlo from random solutions on the size that is learned. Times are
in jumps: the mean time between the jumps of one vacancy among random atoms, so that a setting means
the same at every temperature.

Small snapshots of one time, from different trajectories, are tiled to large ones and relaxed. The
macroscopic dynamics is an OnsagerNet of the six order parameters, without closures.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline

from sklmacro import HierarchicalUpsampler, OnsagerSDE, PartialEvolutionSampler, PatchAutoencoder
from sklmacro.experiments._run import Experiment, Run
from sklmacro.experiments.nbmota_direct import alloy_of, pair_names
from sklmacro.simulators import Alloy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """Settings; sides in unit cells of two sites, temperature in K, times in jumps of a vacancy."""

    temperature: float = 2000.0
    barriers: str | None = None  # file of a barrier network; None for the embedded barriers
    side_small: int = 8
    side_large: int = 16
    n_trajectories: int = 40
    n_times: int = 300
    duration: float = 3e5
    nearby: int = 10
    relax: float = 200.0
    dt: float = 4000.0
    n_patches_evolved: int = 4
    hidden: tuple[int, ...] = (32, 32)
    epochs: int = 60
    n_paths: int = 16
    n_predicted: int = 64
    path_duration: float = 4e5
    n_path_times: int = 201
    steps_per_time: int = 4


def _small_snapshots(alloy: Alloy, settings: Settings, run: Run) -> np.ndarray:
    """Return snapshots in the order of time; half of the times are early, on a log scale."""
    n, end = settings.n_times, settings.duration
    early = np.geomspace(end / 1000, end / 5, n // 2)
    times = np.concatenate([early, np.linspace(end / 5, end, n - n // 2 + 1)[1:]])
    X = alloy.simulate(
        alloy.sample_initial(settings.n_trajectories, settings.side_small, random_state=run.seed),
        times * alloy.jump_time(), random_state=run.seed, n_jobs=run.n_jobs, verbose=run.verbose,
    )  # fmt: skip
    return X.swapaxes(0, 1).reshape(-1, *X.shape[2:])


def _pipeline(alloy: Alloy, settings: Settings, run: Run) -> Pipeline:
    common: dict[str, Any] = {"random_state": run.seed, "verbose": run.verbose}
    unit = alloy.jump_time()
    upsample = HierarchicalUpsampler(
        alloy, factor=settings.side_large // settings.side_small, nearby=settings.nearby,
        relax_duration=settings.relax * unit, n_jobs=run.n_jobs, **common,
    )  # fmt: skip
    evolve = PartialEvolutionSampler(
        alloy, patch=settings.side_small, dt=settings.dt * unit,
        n_patches_evolved=settings.n_patches_evolved, n_jobs=run.n_jobs, **common,
    )  # fmt: skip
    sde = OnsagerSDE(
        hidden=settings.hidden, max_epochs=settings.epochs, patience=settings.epochs,
        bounds=alloy.observable_bounds, **common,
    )  # fmt: skip
    closure = PatchAutoencoder(alloy, n_closure=0)
    return Pipeline(
        [("upsample", upsample), ("evolve", evolve), ("closure", closure), ("sde", sde)]
    )


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Simulate the truth, learn, predict and compare."""
    alloy = alloy_of(settings.temperature, settings.barriers)
    unit, names = alloy.jump_time(), pair_names(alloy)
    numbers: dict[str, Any] = {"order parameters": names, "seconds in a jump": unit}
    times = np.linspace(0, settings.path_duration, settings.n_path_times)
    x0 = alloy.sample_initial(settings.n_paths, settings.side_large, random_state=run.seed + 500)
    with run.stage("direct simulation of paths (truth)"):
        truth = alloy.simulate(
            x0, times * unit, observe=True, random_state=run.seed + 501, n_jobs=run.n_jobs,
            verbose=run.verbose,
        )  # fmt: skip
    model = _pipeline(alloy, settings, run)
    with run.stage("simulate small systems"):
        X = _small_snapshots(alloy, settings, run)
    with run.stage("upsample and relax"):
        X = model["upsample"].fit_transform(X)
    with run.stage("evolve patches"):
        pairs = model["evolve"].fit_transform(X)
    with run.stage("fit the SDE"):
        model["sde"].fit(model["closure"].fit_transform(pairs))
    with run.stage("predict and compare"):
        starts = np.resize(truth[:, 0], (settings.n_predicted, 6))
        every = settings.steps_per_time
        paths = model["sde"].simulate(
            starts, every * (len(times) - 1), times[1] * unit / every, store_every=every,
            random_state=run.seed,
        )  # fmt: skip
    late = len(times) // 2
    for name, found_paths in (("predicted", paths), ("direct paths", truth)):
        end = found_paths[:, late:]
        numbers[f"{name}, second half, {2 * settings.side_large**3} sites"] = {
            "mean": end.mean(axis=(0, 1)).tolist(),
            "error of the mean": (end.mean(axis=1).std(axis=0, ddof=1) / len(end) ** 0.5).tolist(),
            "std": end.std(axis=(0, 1)).tolist(),
        }
    numbers["largest difference of mean paths"] = (
        np.abs(paths.mean(axis=0) - truth.mean(axis=0)).max(axis=0).tolist()
    )
    numbers["n_pairs"], numbers["lam"] = len(pairs), model["sde"].lam_
    return numbers, {"times": times * unit, "truth": truth, "predicted": paths}


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw mean and standard deviation of predicted and direct paths of the six parameters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    microseconds = arrays["times"] * 1e6
    panels = figure.subplots(2, 3, sharex=True).ravel()
    for k, (ax, name) in enumerate(zip(panels, numbers["order parameters"], strict=True)):
        for source, color, line in (("truth", "0.35", "-"), ("predicted", "C0", "--")):
            paths = arrays[source][..., k]
            mean, std = paths.mean(axis=0), paths.std(axis=0)
            label = "direct simulation" if source == "truth" else "predicted"
            ax.plot(microseconds, mean, line, color=color, lw=1.5, label=label)
            ax.fill_between(microseconds, mean - std, mean + std, color=color, alpha=0.15, lw=0)
        ax.set_title(name, fontsize="medium")
    for ax in panels[3:]:
        ax.set_xlabel("time [microseconds]")
    for ax in panels[::3]:
        ax.set_ylabel("short-range order")
    panels[0].legend(frameon=False)
    large, small = 2 * settings.side_large**3, 2 * settings.side_small**3
    figure.suptitle(f"NbMoTa, {large} sites at {settings.temperature:g} K, from {small} sites")
    return figure


EXPERIMENT = Experiment(
    name="nbmota",
    summary="six order parameters of NbMoTa along paths, 8192 sites from 1024 (Fig. 7c)",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            side_small=4, side_large=8, n_trajectories=8, n_times=10, duration=2e4, nearby=3,
            relax=20.0, dt=50.0, hidden=(8,), epochs=3, n_paths=4, n_predicted=8,
            path_duration=2e4, n_path_times=11,
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
