"""Predator-prey SPDE (Sec. III.1, Fig. 2): the lam at which fluctuations come out right.

Snapshots of 100 cells are interpolated to 200, one patch of 40 is evolved for a short time, and the
SDE is learned with several lam. Theorem 1 holds exactly here, so that the spread of predicted paths
has to be right at lam = K = 5. A fit depends on lam through Sigma / lam alone, hence every lam has
the same drift.

The encoder is linear, since the amplitudes of two waves are all that has to be known. Means differ
from patch to patch, and so does their drift, which adds a part of order dt to the variance of the
increments, 2 % for u and 7 % for v at dt = 0.01. Pairs are therefore evolved for half a step.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklmacro import (
    HierarchicalUpsampler,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchSDERegressor,
)
from sklmacro.experiments._run import Experiment, Run
from sklmacro.scoring import mean_mmd2, std_ratio
from sklmacro.simulators import PredatorPrey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AMPLITUDES, MEANS = (0.05, 0.10, 0.15), (0.45, 0.50, 0.55)  # the nine test sets


@dataclass(frozen=True)
class Settings:
    """Settings; sizes in cells, times in units of the model."""

    n_small: int = 100
    n_large: int = 200
    patch: int = 40
    n_trajectories: int = 50
    duration: float = 30.0
    snapshot_interval: float = 0.02
    n_repeats: int = 8
    dt_pairs: float = 0.005
    dt: float = 0.01
    n_closure: int = 2
    closure_epochs: int = 10
    degree: int = 2
    lams: tuple[float, ...] = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0)
    n_paths: int = 500
    score_interval: float = 0.5
    n_seeds: int = 5


def pipeline(settings: Settings, seed: int, run: Run) -> Pipeline:
    """Return the four steps from small snapshots to the SDE."""
    spde = PredatorPrey()
    common: dict[str, Any] = {"random_state": seed, "verbose": run.verbose}
    return Pipeline(
        [
            (
                "upsample",
                HierarchicalUpsampler(
                    spde, factor=settings.n_large // settings.n_small, relax_duration=None,
                    n_repeats=settings.n_repeats, n_jobs=run.n_jobs, **common,
                ),
            ),
            (
                "evolve",
                PartialEvolutionSampler(
                    spde, patch=settings.patch, dt=settings.dt_pairs, n_jobs=run.n_jobs, **common
                ),
            ),
            (
                "closure",
                PatchAutoencoder(
                    spde, n_closure=settings.n_closure, hidden=(),
                    max_epochs=settings.closure_epochs, lr=5e-3, **common,
                ),
            ),
            (
                "sde",
                PatchSDERegressor(
                    drift_model="polynomial", degree=settings.degree, diffusion_model="constant"
                ),
            ),
        ]
    )  # fmt: skip


def _test_sets(settings: Settings, run: Run) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the initial snapshots (9, n_large, 2), and paths of the observables for each."""
    spde = PredatorPrey()
    times = np.arange(0.0, settings.duration + 1e-9, settings.score_interval)
    starts = [spde.initial_state(settings.n_large, k, m) for k in AMPLITUDES for m in MEANS]
    paths = [
        spde.simulate(
            np.repeat(x[np.newaxis], settings.n_paths, axis=0), times, observe=True,
            random_state=1_000_000 + i, n_jobs=run.n_jobs, verbose=run.verbose,
        )
        for i, x in enumerate(starts)
    ]  # fmt: skip
    return np.stack(starts), paths


def _one_seed(
    settings: Settings, seed: int, run: Run, starts: np.ndarray, truth: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Learn with one seed; return every measure per lam, and the paths for lam = K."""
    with run.stage("simulate small systems"):
        spde = PredatorPrey()
        times = np.arange(0.0, settings.duration, settings.snapshot_interval)
        X = spde.sample_initial(settings.n_trajectories, settings.n_small, random_state=seed)
        X = spde.simulate(X, times, random_state=seed, n_jobs=run.n_jobs, verbose=run.verbose)
    steps = pipeline(settings, seed, run)
    with run.stage("upsample, evolve patches, find closures"):
        latent = steps[:-1].fit_transform(X.reshape(-1, *X.shape[2:]))
        z0 = steps["closure"].transform(starts)
    n_steps = round(settings.duration / settings.dt)
    every = round(settings.score_interval / settings.dt)
    found: dict[str, list] = {"mmd2": [], "mmd2_published": [], "std_ratio": [], "mean_error": []}
    for lam in settings.lams:
        with run.stage("fit and simulate the SDE"):
            sde = clone(steps["sde"]).set_params(lam=lam).fit(latent)
            P = sde.simulate(
                z0, n_steps, settings.dt, n_paths=settings.n_paths, store_every=every,
                random_state=seed,
            )[..., : spde.n_observables]  # fmt: skip
        P = P.reshape(len(starts), settings.n_paths, *P.shape[1:])
        with run.stage("score"):
            scaled = [mean_mmd2(p, q, n_jobs=run.n_jobs) for p, q in zip(P, truth, strict=True)]
            published = [
                mean_mmd2(p, q, scale=None, biased=True, n_jobs=run.n_jobs)
                for p, q in zip(P, truth, strict=True)
            ]
            ratios = [std_ratio(p, q).mean() for p, q in zip(P, truth, strict=True)]
            offsets = [
                np.sqrt(np.mean((p.mean(axis=0) - q.mean(axis=0)) ** 2 / q.var(axis=(0)).mean(0)))
                for p, q in zip(P, truth, strict=True)
            ]
        found["mmd2"].append(np.mean(scaled))
        found["mmd2_published"].append(np.mean(published))
        found["std_ratio"].append(np.mean(ratios))
        found["mean_error"].append(np.mean(offsets))
    return {name: np.array(values) for name, values in found.items()}


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scan lam over several seeds."""
    with run.stage("simulate the large system (truth)"):
        starts, truth = _test_sets(settings, run)
        half = settings.n_paths // 2
        floor = np.mean([mean_mmd2(q[:half], q[half:]) for q in truth])
    seeds = [_one_seed(settings, run.seed + k, run, starts, truth) for k in range(settings.n_seeds)]
    arrays = {name: np.stack([s[name] for s in seeds]) for name in seeds[0]}
    lams = np.array(settings.lams)
    # the ratio of standard deviations falls as lam^(-1/2); where it crosses 1, seed by seed
    crossing = np.array(
        [np.exp(np.interp(0.0, -np.log(r), np.log(lams))) for r in arrays["std_ratio"]]
    )
    best = int(np.argmin(arrays["mmd2"].mean(axis=0)))
    error = arrays["mmd2"].std(axis=0, ddof=1) if len(seeds) > 1 else np.zeros(len(lams))
    numbers = {
        "K": settings.n_large // settings.patch,
        "lam of smallest mean MMD": lams[best],
        "lam of smallest MMD, seed by seed": lams[np.argmin(arrays["mmd2"], axis=1)],
        "lam where the std ratio crosses 1": {
            "mean": crossing.mean(),
            "standard error": crossing.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else 0,
            "seed by seed": crossing,
        },
        "squared MMD of one half of the truth against the other": floor,
        "per lam": {
            f"{lam:g}": {
                "squared MMD": arrays["mmd2"][:, i].mean(),
                "its standard deviation over seeds": error[i],
                "squared MMD, published kernel widths": arrays["mmd2_published"][:, i].mean(),
                "std ratio": arrays["std_ratio"][:, i].mean(),
                "error of the mean path in standard deviations": arrays["mean_error"][:, i].mean(),
            }
            for i, lam in enumerate(lams)
        },
    }
    return numbers, {"lams": lams, "crossing": crossing, **arrays}


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw MMD and ratio of standard deviations against lam, seed by seed and mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    K, lams = numbers["K"], arrays["lams"]
    labels = (("mmd2", "squared MMD of the observables"), ("std_ratio", "predicted / true std"))
    for ax, (name, label) in zip(panels, labels, strict=True):
        for values in arrays[name]:
            ax.plot(lams, values, "-", color="C0", alpha=0.3, lw=1)
        ax.plot(lams, arrays[name].mean(axis=0), "o-", color="C0", label="mean over seeds")
        ax.axvline(K, color="0.4", ls="--", lw=1, label=f"lam = K = {K}")
        ax.set(xscale="log", yscale="log", xlabel="lam", ylabel=label)
        ax.set_xticks(lams, [f"{lam:g}" for lam in lams])
        ax.minorticks_off()
    for ax, ticks in zip(
        panels, ((0.005, 0.01, 0.02, 0.05), (0.5, 0.7, 1.0, 1.5, 2.0)), strict=True
    ):
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panels[1].axhline(1.0, color="0.4", lw=1)
    panels[0].legend(frameon=False)
    figure.suptitle("Predator-prey: the spread of paths is right at lam = K")
    return figure


EXPERIMENT = Experiment(
    name="predator-prey",
    summary="MMD and spread of predicted paths against lam (Fig. 2)",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            n_trajectories=4, duration=2.0, n_repeats=1, closure_epochs=2, degree=1,
            lams=(2.5, 5.0, 10.0), n_paths=20, n_seeds=1,
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
