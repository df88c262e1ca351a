"""Order parameters of NbMoTa against temperature, one SDE for all (Fig. 7b, Eq. 31)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sklmacro.experiments._engine.run import Run
from sklmacro.experiments._nbmota.fit import FitSettings, fit, late_summary, predict, reduce_pairs
from sklmacro.experiments._nbmota.small import Clock, SmallSettings, pairs, pilot, snapshots
from sklmacro.experiments.nbmota_direct import alloy_of, pair_names, summary
from sklmacro.simulators import Alloy

TEMPERATURES = (
    400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 1100.0, 1200.0, 1400.0, 1600.0, 1800.0,
    2000.0, 2250.0, 2500.0, 2750.0, 3000.0,
)  # fmt: skip


@dataclass(frozen=True)
class TemperatureSettings:
    """Settings; temperatures in K, jumps in all vacancies of the pairs of one temperature."""

    temperatures: tuple[float, ...] = TEMPERATURES
    barriers: str | None = None
    factor: int = 2
    n_runs: int = 16
    pair_jumps: float = 1.5e8
    fewest_pairs: int = 320
    most_pairs: int = 3200
    n_direct: int = 4
    ordered_above: float = 800.0  # temperatures that the differences are taken over
    small: SmallSettings = field(default_factory=SmallSettings)
    fits: FitSettings = field(default_factory=FitSettings)


def n_pairs_of(settings: TemperatureSettings, jumps_of_pair: float) -> int:
    """Return the number of pairs that the jumps allow, whole snapshots of every trajectory."""
    n = np.clip(settings.pair_jumps / jumps_of_pair, settings.fewest_pairs, settings.most_pairs)
    return int(n // settings.n_runs) * settings.n_runs


def _truth(
    alloy: Alloy, side: int, times: np.ndarray, settings: TemperatureSettings, run: Run
) -> np.ndarray:
    """Return true paths (n_direct, n_times, 6) at one temperature."""
    x0 = alloy.sample_initial(settings.n_direct, side, random_state=run.seed + 300)
    return alloy.simulate(x0, times, observe=True, random_state=run.seed + 301, n_jobs=run.n_jobs)


def _late(truth: np.ndarray) -> int:
    """Return the step from which on paths are in their last quarter."""
    return 3 * (truth.shape[1] - 1) // 4


def _learn_orders(
    pairs: np.ndarray, truths: list[np.ndarray], settings: TemperatureSettings, run: Run
) -> list[dict[str, list[float]]]:
    """Fit the SDE of all temperatures; return what it says of the last quarter at each of them."""
    with run.stage("fit the SDE of all temperatures"):
        fits = fit(pairs, settings.fits, True, run.seed)
    predicted = []
    with run.stage("predict all temperatures"):
        for temperature, truth in zip(settings.temperatures, truths, strict=True):
            n_steps = truth.shape[1] - 1
            paths = predict(fits, truth[:, 0], n_steps, settings.fits, run.seed, temperature)
            predicted.append(late_summary(paths, _late(truth)))
    return predicted


def compute(
    settings: TemperatureSettings, run: Run
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Simulate the truth and small systems at every temperature; learn one SDE and compare."""
    small, side = settings.small, settings.small.side * settings.factor
    region = ((small.side + 2 * small.buffer) / small.side) ** 3 * 2 * small.side**3 / 1024
    everything, truths, clocks = [], [], []
    numbers: dict[str, Any] = {"temperatures": list(settings.temperatures), "clocks": []}
    jumps = dict.fromkeys(("pilot and small systems", "pairs", "direct simulation"), 0.0)
    for k, temperature in enumerate(settings.temperatures):
        alloy = alloy_of(temperature, settings.barriers)
        with run.stage("pilots of all temperatures"):
            clock = Clock(*run.once(f"{temperature:g} K, pilot", pilot, alloy, small, run))
        dt = small.dt * clock.tau
        n_pairs = n_pairs_of(settings, region * dt / clock.jump)
        n_vacancies = max(1, round(2 * small.side**3 / 1024))
        jumps["pilot and small systems"] += (
            n_vacancies * (settings.n_runs + small.n_pilot) * clock.end / clock.jump
        )
        with run.stage("small systems of all temperatures"):
            X, groups = run.once(
                f"{temperature:g} K, small", snapshots, alloy, clock, small, settings.n_runs,
                n_pairs // settings.n_runs, run,
            )  # fmt: skip
        with run.stage("pairs of all temperatures"):
            result = run.once(
                f"{temperature:g} K, pairs", pairs, alloy, clock, small, X, groups + 1000 * k,
                settings.factor, 1, run, run.seed + 10_000 * (k + 1),
            )  # fmt: skip
        everything.append(reduce_pairs(result, dt))
        jumps["pairs"] += len(result) * region * dt / clock.jump
        times = np.arange(round(clock.end / dt) + 1) * dt
        with run.stage("direct simulation of all temperatures (truth)"):
            truths.append(
                run.once(f"{temperature:g} K, truth", _truth, alloy, side, times, settings, run)
            )
        large_vacancies = max(1, round(2 * side**3 / 1024))
        jumps["direct simulation"] += settings.n_direct * large_vacancies * times[-1] / clock.jump
        clocks.append(clock)
        numbers["clocks"].append({
            "relaxation time [s]": clock.tau, "duration [s]": times[-1],
            "time of a jump [s]": clock.jump, "settled": clock.settled, "n_pairs": len(result),
        })  # fmt: skip
    direct = [summary(truth[:, _late(truth) :]) for truth in truths]
    predicted = run.once(
        "temperatures, predicted", _learn_orders, np.concatenate(everything), truths, settings, run
    )
    numbers["jumps of vacancies, about"] = jumps
    numbers["direct, last quarter"], numbers["predicted, last quarter"] = direct, predicted
    numbers.update(compare(settings, direct, predicted))
    arrays = {
        f"{source}_{what}": np.array([one[key] for one in rows])
        for source, rows in (("direct", direct), ("predicted", predicted))
        for what, key in (("mean", "mean"), ("error", "error of the mean"), ("std", "std"))
    }
    return numbers, {"temperatures": np.array(settings.temperatures), **arrays}


def compare(
    settings: TemperatureSettings, direct: list[dict[str, Any]], predicted: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the largest differences of means, and where Mo-Mo, Mo-Ta and Ta-Ta are extreme."""
    temperatures = np.array(settings.temperatures)
    true, results = (np.array([one["mean"] for one in rows]) for rows in (direct, predicted))
    names = pair_names(alloy_of(temperatures[0], settings.barriers))
    warm = temperatures >= settings.ordered_above
    extremes = {
        name: {
            "direct": float(temperatures[np.abs(true[:, names.index(name)]).argmax()]),
            "predicted": float(temperatures[np.abs(results[:, names.index(name)]).argmax()]),
        }
        for name in ("Mo-Mo", "Mo-Ta", "Ta-Ta")
    }
    return {
        f"largest difference of means from {settings.ordered_above:g} K on": (
            np.abs(results - true)[warm].max(axis=0).tolist() if warm.any() else None
        ),
        "largest difference of means": np.abs(results - true).max(axis=0).tolist(),
        "temperatures of the extremes": extremes,
    }
