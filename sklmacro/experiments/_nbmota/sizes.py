"""Order parameters of NbMoTa on ever larger lattices, from the same small systems (Fig. 7c)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._engine.run import Run
from sklmacro.experiments._nbmota.fit import FitSettings, fit, late_summary, predict, reduce_pairs
from sklmacro.experiments._nbmota.small import Clock, SmallSettings, pairs, pilot, snapshots
from sklmacro.experiments.nbmota_direct import alloy_of, summary
from sklmacro.simulators import Alloy


@dataclass(frozen=True)
class SizeSettings:
    """Settings; sides in unit cells of two sites, temperature in K."""

    temperature: float = 2000.0
    barriers: str | None = None
    n_runs: int = 40
    n_times: int = 160
    factors: tuple[int, ...] = (1, 2, 4, 8, 16)
    n_pairs: int = 12_800  # of each size
    most_snapshots: int = 3200
    site_budget: float = 1.7e9  # of a size's large snapshots; the fewer, the more pairs of each
    direct_factors: tuple[int, ...] = (1, 2, 4)
    direct_runs: tuple[int, ...] = (32, 16, 4)
    small: SmallSettings = field(default_factory=SmallSettings)
    fits: FitSettings = field(default_factory=FitSettings)


def _truth(alloy: Alloy, side: int, n_runs: int, times: np.ndarray, run: Run) -> np.ndarray:
    """Return true paths (n_runs, n_times, 6) of a size."""
    x0 = alloy.sample_initial(n_runs, side, random_state=run.seed + 400)
    return alloy.simulate(x0, times, observe=True, random_state=run.seed + 401, n_jobs=run.n_jobs)


def _learn_paths(
    pairs: np.ndarray, n_steps: int, settings: SizeSettings, run: Run
) -> list[np.ndarray]:
    """Return paths (n_paths, n_steps + 1, 6) of every fit to the pairs, from random solutions."""
    fits = fit(pairs, settings.fits, False, run.seed)
    return predict(fits, np.zeros((1, 6)), n_steps, settings.fits, run.seed)


def compute(settings: SizeSettings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Simulate small systems once, learn every size from them, and compare with direct paths."""
    small, alloy = settings.small, alloy_of(settings.temperature, settings.barriers)
    with run.stage("pilot of the sizes"):
        clock = Clock(*run.once("sizes, pilot", pilot, alloy, small, run))
    dt = small.dt * clock.tau
    n_steps = round(clock.end / dt)
    late = n_steps // 2
    with run.stage("small systems of the sizes"):
        X, groups = run.once(
            "sizes, small", snapshots, alloy, clock, small, settings.n_runs, settings.n_times, run
        )
    region = ((small.side + 2 * small.buffer) / small.side) ** 3 * 2 * small.side**3 / 1024
    numbers: dict[str, Any] = {
        "relaxation time [s]": clock.tau, "time of a jump [s]": clock.jump,
        "jumps of vacancies in small systems, about": (
            settings.n_runs * clock.end / clock.jump * 2 * small.side**3 / 1024
        ),
    }  # fmt: skip
    arrays: dict[str, np.ndarray] = {"times": np.arange(n_steps + 1) * dt}
    for factor, n_runs in zip(settings.direct_factors, settings.direct_runs, strict=True):
        n_sites = 2 * (small.side * factor) ** 3
        with run.stage(f"direct simulation of {n_sites} sites"):
            truth = run.once(
                f"{n_sites} sites, truth", _truth, alloy, small.side * factor, n_runs,
                arrays["times"], run,
            )  # fmt: skip
        arrays[f"direct_{n_sites}"] = truth
        numbers[f"direct, second half, {n_sites} sites"] = summary(truth[:, late:])
    for factor in settings.factors:
        n_sites, n_all = 2 * (small.side * factor) ** 3, factor**3
        rng = stream(run.seed, Stage.SPLIT, 10_000 + factor)
        n = min(len(X), settings.most_snapshots, int(settings.site_budget / n_sites))
        p = max(1, round(settings.n_pairs / n))
        rows = np.sort(rng.choice(len(X), n, replace=False))
        with run.stage(f"snapshots and pairs of {n_sites} sites"):
            result = run.once(
                f"{n_sites} sites, pairs", pairs, alloy, clock, small, X[rows], groups[rows],
                factor, p, run, run.seed + 1_000_000 + 10_000 * factor,
            )  # fmt: skip
        with run.stage(f"fit and predict {n_sites} sites"):
            paths = run.once(
                f"{n_sites} sites, paths",
                _learn_paths,
                reduce_pairs(result, dt),
                n_steps,
                settings,
                run,
            )
        arrays[f"predicted_{n_sites}"] = paths[0]
        entry: dict[str, Any] = late_summary(paths, late)
        entry["n_snapshots"], entry["pairs of each"], entry["lam"] = n, p, n_all
        evolved = region if factor > 1 else 2 * small.side**3 / 1024
        entry["jumps of vacancies in pairs, about"] = n * p * evolved * dt / clock.jump
        numbers[f"predicted, second half, {n_sites} sites"] = entry
        direct = arrays.get(f"direct_{n_sites}")
        if direct is not None:
            truth_late = numbers[f"direct, second half, {n_sites} sites"]
            entry["difference of means"] = np.subtract(entry["mean"], truth_late["mean"]).tolist()
            entry["ratio of standard deviations"] = np.divide(
                entry["std"], truth_late["std"]
            ).tolist()
            entry["largest difference of mean paths"] = (
                np.abs(paths[0].mean(axis=0) - direct.mean(axis=0)).max(axis=0).tolist()
            )
    return numbers, arrays
