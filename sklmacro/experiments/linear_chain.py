"""Driven linear chain (Appendix D.2, Table 2): drift and diffusion against the exact ones.

The mean of a chain of n sites obeys dm = (a m + b) dt + c dB with a = -gamma, b = F/n and
c = sigma/sqrt(n). Four ways to learn (a, b, c) of the large chain:

one patch       moments, as dt -> 0, of one patch of K for each snapshot. Patches differ in their
                drift, which leaves noise in a and b; c has none.
all patches     moments of all K, for every K-th snapshot. What neighbouring patches do to each
                other cancels in the sum, so that every snapshot has the mean (a m + b) dt to the
                last digits, and so has the fit.
increments      sampled ones of one patch and a short time dt, as published: noise, and errors of
                order dt.
small chain     moments of n_s sites by themselves: their own SDE, with K times the bias.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro import PartialEvolutionSampler, PatchAutoencoder, Patches, PatchSDERegressor
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.simulators import LinearChain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAYS = ("one patch", "all patches", "increments", "small chain")
NAMES = ("slope a", "bias b", "diffusion c")
PUBLISHED = {  # Table 2, learned
    "large chain": (-0.0929, 0.1419, 0.1000),
    "small chain": (-0.1047, 1.5002, 0.3122),
}
AIM = 0.01  # relative error of each parameter, one patch a snapshot


@dataclass(frozen=True)
class Settings:
    """Settings; sizes in sites, times in units of 1/kappa."""

    n_small: int = 10
    n_patches: int = 10
    n_trajectories: int = 2000
    n_times: int = 40
    duration: float = 20.0
    dt: float = 0.05
    n_seeds: int = 5


def _sampler(way: str, chain: LinearChain, settings: Settings, seed: int, run: Run) -> Any:
    """Return the sampler of pairs for one of `WAYS`."""
    return PartialEvolutionSampler(
        chain,
        patch=Patches(
            settings.n_small, n_evolved=settings.n_patches if way == "all patches" else 1
        ),
        dt=settings.dt,
        moments=way != "increments",
        random_state=seed,
        n_jobs=run.n_jobs,
        verbose=run.verbose,
    )


def _exact(chain: LinearChain, n: int) -> tuple[float, float, float]:
    return -chain.gamma, chain.force / n, chain.sigma / np.sqrt(n)


def _snapshots(
    chain: LinearChain, n: int, settings: Settings, seed: int, run: Run
) -> tuple[np.ndarray, np.ndarray]:
    """Return snapshots (n_trajectories * n_times, n) of chains of n sites, and their groups."""
    times = np.linspace(0.0, settings.duration, settings.n_times)
    with run.stage(f"simulate {n} sites"):
        X = chain.sample_initial(settings.n_trajectories, n, random_state=seed)
        X = chain.simulate(X, times, random_state=seed, n_jobs=run.n_jobs, verbose=run.verbose)
    return X.reshape(-1, n), np.repeat(np.arange(len(X)), settings.n_times)


def _learn(
    chain: LinearChain,
    snapshots: tuple[np.ndarray, np.ndarray],
    way: str,
    settings: Settings,
    seed: int,
    run: Run,
) -> tuple[float, float, float]:
    """Return (a, b, c) learned from snapshots of a chain."""
    X, groups = snapshots
    if way in ("all patches", "small chain"):  # exact from any number of snapshots
        X, groups = X[:: settings.n_patches], groups[:: settings.n_patches]
    with run.stage(f"pairs: {way}"):
        pairs = _sampler(way, chain, settings, seed, run).fit(X).transform(X, groups)
    with run.stage("fit"):
        latent = PatchAutoencoder(chain, n_closure=0).fit_transform(pairs)
        sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant").fit(latent)
    b, b_plus_a = sde.drift([[0.0], [1.0]])[:, 0]
    return b_plus_a - b, b, np.sqrt(sde.diffusion([[0.0]])[0, 0, 0])


def _of_seed(settings: Settings, seed: int, run: Run) -> dict[str, tuple[float, float, float]]:
    """Return (a, b, c) learned in each of the ways."""
    chain, small = LinearChain(), settings.n_small
    X = _snapshots(chain, small * settings.n_patches, settings, seed, run)
    X_small = _snapshots(chain, small, settings, seed, run)
    return {
        way: _learn(chain, X_small if way == "small chain" else X, way, settings, seed, run)
        for way in WAYS
    }


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn the SDE of the large chain in each of the ways, over several seeds."""
    chain, small = LinearChain(), settings.n_small
    large = small * settings.n_patches
    seeds = range(run.seed, run.seed + settings.n_seeds)
    rows = [run.once(f"seed {seed}", _of_seed, settings, seed, run) for seed in seeds]
    arrays = {way: np.array([row[way] for row in rows]) for way in WAYS}
    exact = {"large chain": _exact(chain, large), "small chain": _exact(chain, small)}
    numbers: dict[str, Any] = {"exact": exact, "published": PUBLISHED, "learned": {}}
    for way, result in arrays.items():
        truth = np.array(exact["small chain" if way == "small chain" else "large chain"])
        numbers["learned"][way] = {
            name: _summary(result[:, i], truth[i]) for i, name in enumerate(NAMES)
        }
    numbers["aim"] = {
        f"{name} within {100 * AIM:g} % from one patch": {
            "error": one["error of the mean"],
            "standard error": one["standard error"] / abs(one["exact"]),
            "reached": abs(one["error of the mean"]) <= AIM,
        }
        for name, one in numbers["learned"]["one patch"].items()
    }
    numbers["site updates"] = _site_updates(settings)
    return numbers, {**arrays, "exact": np.array(exact["large chain"])}


def _summary(values: np.ndarray, exact: float) -> dict[str, float]:
    """Return mean, errors and spread over seeds; errors of values are relative."""
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return {
        "exact": exact,
        "mean": values.mean(),
        "standard error": spread / np.sqrt(len(values)),
        "seed to seed": spread,
        "error of the mean": values.mean() / exact - 1,
        "largest error of a seed": np.abs(values / exact - 1).max(),
    }


def _site_updates(settings: Settings) -> dict[str, int]:
    """Return the sites drawn anew, or whose drift is evaluated for moments, over all seeds."""
    n, K = settings.n_small, settings.n_patches
    pairs = settings.n_trajectories * settings.n_times * settings.n_seeds
    pairs_of = {"one patch": pairs, "all patches": pairs, "increments": pairs}
    pairs_of["small chain"] = pairs // K
    steps = settings.n_trajectories * (settings.n_times - 1) * settings.n_seeds
    return {"large snapshots": steps * n * K, "small snapshots": steps * n} | {
        f"pairs: {way}": pairs_of[way] * n for way in WAYS
    }


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw the relative errors of the three parameters, seed by seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    ax = figure.subplots()
    exact = arrays["exact"]
    for k, (way, marker) in enumerate(zip(WAYS, "osD^", strict=True)):
        error = 100 * (arrays[way] / exact - 1)
        for i in range(3):
            x = i + 0.17 * (k - 1.5) + np.linspace(-0.05, 0.05, len(error))
            label = way if i == 0 else None
            ax.plot(x, error[:, i], marker, color=f"C{k}", alpha=0.8, ms=4, label=label)
    published = 100 * (np.array(PUBLISHED["large chain"]) / exact - 1)
    ax.plot(np.arange(3) + 0.42, published, "kx", label="published")
    ax.axhspan(-100 * AIM, 100 * AIM, color="0.9", zorder=0)
    ax.axhline(0, color="0.5", lw=0.8, zorder=0)
    ax.set_yscale("symlog", linthresh=3)
    ax.set_ylim(-20, 3000)
    ax.set_yticks((-10, -3, -1, 0, 1, 3, 10, 100, 1000))
    ax.set_yticklabels(("-10", "-3", "-1", "0", "1", "3", "10", "100", "1000"))
    ax.set_xticks(range(3), NAMES)
    ax.set_ylabel("error against the large chain [%]")
    n = settings.n_small * settings.n_patches
    ax.set_title(f"Linear chain of {n} sites; band: aim of {100 * AIM:g} %")
    ax.legend(frameon=False, loc="upper left", ncols=2)
    return figure


EXPERIMENT = Experiment(
    name="linear-chain",
    summary="drift and diffusion of the driven chain against the exact ones (Table 2)",
    presets={"paper": Settings(), "smoke": Settings(n_trajectories=100, n_times=20, n_seeds=2)},
    compute=compute,
    draw=draw,
)
