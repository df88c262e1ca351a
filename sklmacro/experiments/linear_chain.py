"""Driven linear chain (Appendix D.2, Table 2): drift and diffusion against the exact ones.

The mean of a chain of n sites obeys dm = (a m + b) dt + c dB with a = -gamma, b = F/n and
c = sigma/sqrt(n). Snapshots of the large chain, one patch evolved of each, give its (a, b, c); the
small chain by itself gives others, which no rescaling of the noise mends.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro import PartialEvolutionSampler, PatchAutoencoder, PatchSDERegressor
from sklmacro.experiments._run import Experiment, Run
from sklmacro.simulators import LinearChain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("slope a", "bias b", "diffusion c")
PUBLISHED = (-0.0929, 0.1419, 0.1000)  # Table 2, learned for the large system


@dataclass(frozen=True)
class Settings:
    """Settings; sizes in sites, times in units of 1/kappa."""

    n_small: int = 10
    n_patches: int = 10
    n_trajectories: int = 4000
    n_times: int = 40
    duration: float = 20.0
    dt: float = 0.05
    n_patches_evolved: int = 5
    n_seeds: int = 5


def _exact(chain: LinearChain, n: int) -> tuple[float, float, float]:
    return -chain.gamma, chain.force / n, chain.sigma / np.sqrt(n)


def _learn(
    chain: LinearChain, n: int, patch: int, n_evolved: int, settings: Settings, seed: int, run: Run
) -> tuple[float, float, float]:
    """Return (a, b, c) learned from snapshots of a chain of n sites."""
    times = np.linspace(0.0, settings.duration, settings.n_times)
    with run.stage("simulate"):
        X = chain.sample_initial(settings.n_trajectories, n, random_state=seed)
        X = chain.simulate(X, times, random_state=seed, n_jobs=run.n_jobs, verbose=run.verbose)
    sampler = PartialEvolutionSampler(
        chain, patch=patch, dt=settings.dt, n_patches_evolved=n_evolved, random_state=seed,
        n_jobs=run.n_jobs, verbose=run.verbose,
    )  # fmt: skip
    with run.stage("evolve patches"):
        pairs = sampler.fit_transform(X.reshape(-1, n))
    with run.stage("fit"):
        latent = PatchAutoencoder(chain, n_closure=0).fit_transform(pairs)
        sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant").fit(latent)
    b, b_plus_a = sde.drift([[0.0], [1.0]])[:, 0]
    return b_plus_a - b, b, np.sqrt(sde.diffusion([[0.0]])[0, 0, 0])


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn the SDE of the large chain from patches, and that of the small chain as it is."""
    chain, small = LinearChain(), settings.n_small
    large = small * settings.n_patches
    cases = {"large": (large, small, settings.n_patches_evolved), "small": (small, small, 1)}
    numbers, arrays = {}, {}
    for case, (n, patch, n_evolved) in cases.items():
        learned = np.array(
            [
                _learn(chain, n, patch, n_evolved, settings, run.seed + k, run)
                for k in range(settings.n_seeds)
            ]
        )
        exact = np.array(_exact(chain, n))
        error = learned / exact - 1
        numbers[case] = {
            name: {
                "exact": exact[i],
                "mean": learned[:, i].mean(),
                "seed to seed": learned[:, i].std(ddof=1) if settings.n_seeds > 1 else 0.0,
                "largest relative error": np.abs(error[:, i]).max(),
            }
            for i, name in enumerate(NAMES)
        }
        arrays[f"{case}_learned"], arrays[f"{case}_exact"] = learned, exact
    return numbers, arrays


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw the relative errors of the three parameters, seed by seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    ax = figure.subplots()
    exact = arrays["large_exact"]
    rows = {
        "patches of the large chain": ("large", "o", "C0"),
        "small chain alone": ("small", "s", "C1"),
    }
    for shift, (label, (case, marker, color)) in enumerate(rows.items()):
        error = 100 * (arrays[f"{case}_learned"] / exact - 1)
        for i in range(3):
            x = i + 0.2 * (shift - 0.5) + np.linspace(-0.06, 0.06, len(error))
            ax.plot(x, error[:, i], marker, color=color, alpha=0.8, label=label if i == 0 else None)
    published = 100 * (np.array(PUBLISHED) / exact - 1)
    ax.plot(range(3), published, "kx", label="published (Table 2)")
    ax.axhspan(-3, 3, color="0.9", zorder=0)
    ax.axhline(0, color="0.5", lw=0.8, zorder=0)
    ax.set_yscale("symlog", linthresh=10)
    ax.set_ylim(-20, 3000)
    ax.set_xticks(range(3), NAMES)
    ax.set_ylabel("error against the large chain [%]")
    ax.set_title(f"Linear chain of {settings.n_small * settings.n_patches} sites, band: 3 %")
    ax.legend(frameon=False)
    return figure


EXPERIMENT = Experiment(
    name="linear-chain",
    summary="drift and diffusion of the driven chain against the exact ones (Table 2)",
    presets={"paper": Settings(), "smoke": Settings(n_trajectories=100, n_times=20, n_seeds=2)},
    compute=compute,
    draw=draw,
)
