"""Ising model at T = 2.25, h = 0 (App. D.3, Fig. 10): why the noise of an SDE cannot be rescaled.

Three SDEs of the magnetisation are held against direct simulation:

(i)   learned on 16x16, against 16x16;
(ii)  the same with its noise over sqrt(16), against 64x64: no reversals any more;
(iii) learned for 64x64 from snapshots of 16x16, against 64x64.

They are learned as in `_magnet`, from exact moments, and brought to the time scale of M by one
constant, see `_kinetics`. Laws and mean times between reversals follow from the Fokker-Planck
equation. The truth of the law is Wolff's, that of the kinetics long direct simulation.
"""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro import SDEEnsemble
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._critical.kinetics import (
    GRID,
    TimeScale,
    densities,
    law_distance,
    reversal_times,
    time_scale,
)
from sklmacro.experiments._critical.learning import (
    SMOKE,
    Learning,
    fit_ensemble,
    large_snapshots,
    magnetisation,
    moments_along_relaxation,
)
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._truth.wolff import equilibrium_series, equilibrium_snapshots
from sklmacro.measures.stationary import reversal_time
from sklmacro.simulators import Ising

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPERATURE = 2.25
LAW_AIM, TIME_AIM = 0.03, 0.25  # Wasserstein distance of M, relative error of the reversal time
N_REPLICAS = 64  # of a block of direct simulation
CASES = {"i": "small", "ii": "large", "iii": "large"}  # the system that each is held against


@dataclass(frozen=True)
class Settings:
    """Settings; sides in sites, times in sweeps.

    Attributes
    ----------
    dt_replicas : int
        Evolutions of each snapshot for the time scale c.
    thresholds : tuple of float
        Of reversals; with the last one the time hardly depends on it any more.
    n_wolff : int
        States recorded for the law.
    n_blocks, duration_small, duration_large : int, float, float
        Of direct simulation: blocks of 64 replicas, and their length.
    n_times : int
        Records of it. Crossings between two of them are missed, which moves a threshold by 0.58
        standard deviations of the step between (M. Broadie, P. Glasserman and S. Kou, Math.
        Finance 7, 325 (1997)): here by less than 0.03.
    """

    side_large: int = 64
    learning: Learning = field(
        default_factory=lambda: Learning(n_small=2000, burn_in=4000.0, n_states=800)
    )
    n_states_small: int = 200
    dt_replicas: int = 8
    thresholds: tuple[float, ...] = (0.3, 0.5)
    n_wolff: int = 40_000
    n_blocks: int = 8
    duration_small: float = 10_000.0
    duration_large: float = 120_000.0
    n_times: int = 12_000


def _learn(
    ising: Ising, side: int, n_states: int, settings: Settings, run: Run
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return latent pairs of M, and numbers on the time scale and what was spent."""
    learning, seed, n_jobs = settings.learning, run.seed, run.n_jobs
    X, upsampling = run.once(
        f"L = {side}, snapshots", large_snapshots, ising, side, learning, seed, n_jobs
    )
    states = replace(learning, n_states=n_states)
    pairs, relaxing = moments_along_relaxation(ising, X, states, seed, n_jobs, run.once)
    pairs = magnetisation(pairs)
    member = fit_ensemble(ising, pairs, Learning(degree=learning.degree, n_members=2), seed)
    scale = TimeScale(
        *run.once(
            f"L = {side}, time scale", time_scale, ising, member.members_[0], X,
            settings.dt_replicas, seed, n_jobs,
        )
    )  # fmt: skip
    return pairs, {
        "dts": scale.dts, "c": scale.c, "c error": scale.error,
        "c taken": scale.c[-1], "error of c taken": scale.error[-1],
        "n_pairs": len(pairs), "site updates": upsampling + relaxing + scale.updates,
    }  # fmt: skip


def _truth(
    ising: Ising, side: int, duration: float, settings: Settings, run: Run
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return times between reversals, magnetisations at equilibrium and one path."""
    n_replicas = N_REPLICAS * settings.n_blocks
    X = equilibrium_snapshots(
        side, TEMPERATURE, n_replicas, 20, stream(run.seed, Stage.INITIAL, side)
    )
    rng = stream(run.seed, Stage.ADVANCE, side)
    M = equilibrium_series(side, TEMPERATURE, settings.n_wolff, 3, rng)[:, 0]
    times = np.linspace(0, duration, settings.n_times + 1)
    paths = ising.simulate(
        X, times, observe=True, packed=True, random_state=run.seed, n_jobs=run.n_jobs
    )[..., 0]
    results: dict[str, Any] = {"site updates": n_replicas * duration * side**2}
    for threshold in settings.thresholds:
        blocks = np.array_split(paths, settings.n_blocks)
        each = [reversal_time(b, times[1], threshold=threshold).value for b in blocks]
        results[f"reversal time, threshold {threshold:g}"] = {
            "value": reversal_time(paths, times[1], threshold=threshold).value,
            "error": np.std(each, ddof=1) / np.sqrt(len(each)),  # blocks are independent
        }
    return results, M, paths[0]


def _compare(
    ensemble: SDEEnsemble, scale: dict[str, Any], truth: dict[str, Any], M: np.ndarray, s: Settings
) -> dict[str, Any]:
    """Return distances of the law and reversal times beside the true ones."""
    distances = [law_distance(p, M) for p in densities(ensemble)]
    results: dict[str, Any] = {
        "distance of the law": np.mean(distances),
        "its standard error": np.std(distances, ddof=1),
        "law reached": bool(np.mean(distances) <= LAW_AIM),
    }
    for threshold in s.thresholds:
        name = f"reversal time, threshold {threshold:g}"
        logs = np.log(reversal_times(ensemble, threshold))
        raw, relative, c = np.exp(logs.mean()), logs.std(ddof=1), scale["c taken"]
        deviation = raw / c / truth[name]["value"] - 1
        results[name] = {
            "raw": raw, "with c": raw / c,
            "relative standard error": np.hypot(relative, scale["error of c taken"] / c),
            "direct": truth[name]["value"], "direct error": truth[name]["error"],
            "raw, relative deviation": raw / truth[name]["value"] - 1,
            "with c, relative deviation": deviation,
            "aim": TIME_AIM, "reached": bool(abs(deviation) <= TIME_AIM),
        }  # fmt: skip
    return results


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn both sizes, simulate both directly, and compare."""
    ising, learning = Ising(temperature=TEMPERATURE), settings.learning
    small, large = learning.side_small, settings.side_large
    with run.stage("simulate directly (truth)"):
        truths = {
            "small": run.once(
                "truth, small", _truth, ising, small, settings.duration_small, settings, run
            ),
            "large": run.once(
                "truth, large", _truth, ising, large, settings.duration_large, settings, run
            ),
        }
    with run.stage("learn the small system"):
        pairs, scale = _learn(ising, small, settings.n_states_small, settings, run)
    quieter = pairs.copy()
    quieter["cov"] /= (large // small) ** 2  # the drift stays, the noise is divided by the root
    with run.stage("learn the large system from small snapshots"):
        pairs_large, scale_large = _learn(ising, large, learning.n_states, settings, run)
    learned = {"i": (pairs, scale), "ii": (quieter, scale), "iii": (pairs_large, scale_large)}
    numbers: dict[str, Any] = {
        "published": "(i) law right, (ii) no reversals and wrong law, (iii) law right",
        "method": {"small": scale, "large": scale_large},
        "direct": {size: truth[0] for size, truth in truths.items()},
        "aim for the law": LAW_AIM,
    }
    arrays: dict[str, np.ndarray] = {"grid": GRID}
    for case, size in CASES.items():
        with run.stage("fit and compare"):
            own, its_scale = learned[case]
            truth, M, path = truths[size]
            ensemble = fit_ensemble(ising, own, learning, run.seed)
            numbers[f"({case})"] = _compare(ensemble, its_scale, truth, M, settings)
            duration = settings.duration_large if size == "large" else settings.duration_small
            interval = its_scale["c taken"] * duration / settings.n_times  # in the SDE's time
            steps = math.ceil(interval)
            first = ensemble.members_[0].simulate(
                own["z"][:1], settings.n_times * steps, interval / steps, store_every=steps,
                random_state=run.seed,
            )  # fmt: skip
        arrays |= {
            f"densities_{case}": densities(ensemble), f"M_{case}": M, f"direct_{case}": path,
            f"path_{case}": first[0, :, 0],
            f"times_{case}": np.linspace(0, duration, settings.n_times + 1),
        }  # fmt: skip
    return numbers, arrays


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw the laws, and paths predicted and true, as in Fig. 10."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.5), layout="constrained")
    panels = figure.subplots(3, 2, width_ratios=(1, 1.6))
    small, large = settings.learning.side_small, settings.side_large
    titles = {
        "i": f"(i) learned on {small}x{small}",
        "ii": f"(ii) as (i), noise divided by {large // small}, against {large}x{large}",
        "iii": f"(iii) {large}x{large} learned from {small}x{small}",
    }
    for (left, right), case in zip(panels, CASES, strict=True):
        M = arrays[f"M_{case}"]
        left.hist(
            np.concatenate([M, -M]), bins=64, range=(-1, 1), density=True, color="0.75",
            label="direct",
        )  # fmt: skip
        left.plot(arrays["grid"], arrays[f"densities_{case}"].mean(axis=0), "C0", label="predicted")
        left.set(xlabel="M", ylabel="density", xlim=(-1, 1), title=titles[case])
        times = arrays[f"times_{case}"]
        right.plot(times, arrays[f"direct_{case}"], "0.75", lw=0.7, label="direct")
        right.plot(times, arrays[f"path_{case}"], "C0", lw=0.7, label="predicted")
        right.set(xlabel="time [sweeps]", ylabel="M", ylim=(-1, 1))
    panels[0, 0].legend(frameon=False)
    figure.suptitle(f"Ising model, T = {TEMPERATURE}, h = 0")
    return figure


EXPERIMENT = Experiment(
    name="ising-rescaling",
    summary="reversals of 64x64, and why noise cannot be rescaled (Fig. 10)",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            side_large=16, n_states_small=10, dt_replicas=2, n_wolff=1000,
            n_blocks=2, duration_small=200.0, duration_large=400.0, n_times=50,
            learning=SMOKE,
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
