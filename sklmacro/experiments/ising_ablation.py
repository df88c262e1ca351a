"""Ising model at T = 2.25, h = 0 (App. D.4, Table 3, Fig. 11): what each part of the method does.

Three ways to make the snapshots x_t of 64x64,

- snapshots of trajectories of the large system,
- snapshots of the small system upsampled, without LocalRelax,
- snapshots of the small system upsampled and relaxed (Algorithm 1),

times three ways to learn from what they become within dt, and a fourth one beyond the paper:

- full evolution with the loss L;
- partial evolution, p of K patches, with the loss L, that is lam = 1;
- the same pairs with the loss L_p, lam = K/p;
- the exact moments of the increments as dt -> 0.

All learn the SDE of the magnetisation from as many pairs, along trajectories of as many snapshots,
and are held against the true law of equilibrium (Wolff).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro import HierarchicalUpsampler, PartialEvolutionSampler, PatchAutoencoder, Patches
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._critical.kinetics import GRID, densities, law_distance
from sklmacro.experiments._critical.learning import (
    SMOKE,
    Learning,
    fit_ensemble,
    large_snapshots,
    magnetisation,
    small_snapshots,
    states_along_relaxation,
)
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._spins.protocol import VISITS
from sklmacro.experiments._truth.wolff import equilibrium_series, equilibrium_snapshots
from sklmacro.simulators import Ising

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPERATURE = 2.25
ROWS = ("large trajectories", "upsampled, not relaxed", "hierarchical upsampling")
COLUMNS = ("full, L", "partial, L", "partial, L_p", "exact moments")
PUBLISHED = (
    "row 2: diverges to NaN in every column; rows 1 and 3: L_p mitigates the error that partial "
    "evolution makes with L"
)  # Fig. 11 gives no numbers


@dataclass(frozen=True)
class Settings:
    """Settings; sides in sites, times in sweeps.

    Attributes
    ----------
    learning : Learning
        Its `n_states` are the pairs that each snapshot gives, `state_duration` sweeps of LocalRelax
        or of a trajectory apart.
    dt, n_patches_evolved : float, int
        Of the sampled pairs.
    check_duration, n_check : float, int
        Length and number of paths of each SDE, to see whether they stay finite.
    """

    side_large: int = 64
    learning: Learning = field(default_factory=lambda: Learning(n_states=200, degree=7))
    dt: float = 2.0
    n_patches_evolved: int = 4
    n_wolff: int = 40_000
    check_duration: float = 20_000.0
    n_check: int = 16


def _states(
    row: str, ising: Ising, settings: Settings, run: Run
) -> tuple[Iterator[np.ndarray], float]:
    """Return batches of large snapshots, a step of each snapshot apart, and updates of sites."""
    learning, seed, n_jobs = settings.learning, run.seed, run.n_jobs
    small, large, n = learning.side_small, settings.side_large, learning.n_small
    step = VISITS * learning.state_duration  # sweeps between two batches
    rng = stream(seed, Stage.UPSAMPLE)
    along = n * step * learning.n_states

    def trajectories() -> Iterator[np.ndarray]:
        X = equilibrium_snapshots(large, TEMPERATURE, n, 10, stream(seed, Stage.INITIAL))
        for _ in range(learning.n_states):
            X = ising.advance(X, duration=step, random_state=rng, n_jobs=n_jobs)[0]
            yield X

    def naive() -> Iterator[np.ndarray]:
        x = small_snapshots(ising, learning, seed, n_jobs)
        upsampler = HierarchicalUpsampler(
            ising, factor=large // small, relaxation=None, random_state=rng, n_jobs=n_jobs
        )
        for _ in range(learning.n_states):
            x = ising.advance(x, duration=step, random_state=rng, n_jobs=n_jobs)[0]
            yield upsampler.fit_transform(x)

    if row == ROWS[0]:
        return trajectories(), along * large**2
    if row == ROWS[1]:
        return naive(), along * small**2 + n * learning.equilibration * small**4
    X, updates = large_snapshots(ising, large, learning, seed, n_jobs)
    relaxed = states_along_relaxation(ising, X, learning, rng, n_jobs)
    return relaxed, updates + along * large**2


def _pairs(
    row: str, ising: Ising, settings: Settings, run: Run
) -> tuple[dict[str, np.ndarray], float]:
    """Return latent pairs of M for every column, and the site updates spent."""
    small, p = settings.learning.side_small, settings.n_patches_evolved
    K = (settings.side_large // small) ** 2
    rng = stream(run.seed, Stage.EVOLVE)
    common: dict[str, Any] = {"dt": settings.dt, "random_state": rng, "n_jobs": run.n_jobs}
    samplers = {
        "full": PartialEvolutionSampler(ising, **common),
        "partial": PartialEvolutionSampler(ising, patch=Patches(small, n_evolved=p), **common),
        "moments": PartialEvolutionSampler(
            ising, patch=Patches(small, n_evolved=K), moments=True, random_state=run.seed,
            n_jobs=run.n_jobs,
        ),
    }  # fmt: skip
    closure = PatchAutoencoder(ising, n_closure=0)
    results: dict[str, list[np.ndarray]] = {name: [] for name in samplers}
    batches, updates = _states(row, ising, settings, run)
    for X in batches:
        for name, sampler in samplers.items():
            pairs = sampler.fit_transform(X, groups=np.arange(len(X)))
            results[name].append(magnetisation(closure.fit_transform(pairs)))
        updates += X.size * settings.dt * (1 + p / K)
    joined = {name: np.concatenate(parts) for name, parts in results.items()}
    sources = zip(COLUMNS, ("full", "partial", "partial", "moments"), strict=True)
    return {column: joined[source] for column, source in sources}, updates


def _cell(
    column: str, ising: Ising, pairs: np.ndarray, M: np.ndarray, settings: Settings, run: Run
) -> tuple[dict[str, Any], np.ndarray]:
    """Fit one cell; return what its law is, and the mean density on the grid."""
    lam = 1.0 if column == "partial, L" else "K"
    ensemble = fit_ensemble(ising, pairs, settings.learning, run.seed, lam)
    laws = densities(ensemble)
    distances = [law_distance(law, M) for law in laws]
    steps = round(settings.check_duration)
    paths = ensemble.simulate(
        np.linspace(-0.8, 0.8, settings.n_check)[:, None], steps, 1.0, store_every=steps,
        random_state=run.seed,
    )  # fmt: skip
    return {
        "distance of the law": np.mean(distances),
        "its standard error": np.std(distances, ddof=1),
        "mean |M|": np.mean(np.trapezoid(laws * np.abs(GRID), GRID, axis=1)),
        "paths that stayed finite": float(np.isfinite(paths).all(axis=(1, 2)).mean()),
    }, laws.mean(axis=0)


def _cells(
    ising: Ising, pairs: dict[str, np.ndarray], M: np.ndarray, settings: Settings, run: Run
) -> dict[str, tuple[dict[str, Any], np.ndarray]]:
    """Fit the cells of one row."""
    return {column: _cell(column, ising, pairs[column], M, settings, run) for column in COLUMNS}


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Make snapshots in three ways, learn from each in four, and compare with the truth."""
    ising, large = Ising(temperature=TEMPERATURE), settings.side_large
    with run.stage("simulate directly (truth)"):
        rng = stream(run.seed, Stage.ADVANCE)
        M = equilibrium_series(large, TEMPERATURE, settings.n_wolff, 3, rng)[:, 0]
    arrays: dict[str, np.ndarray] = {"grid": GRID, "M": M}
    table: dict[str, Any] = {}
    spent: dict[str, float] = {}
    for i, row in enumerate(ROWS):
        with run.stage(row):
            pairs, spent[row] = run.once(f"pairs {i}", _pairs, row, ising, settings, run)
        with run.stage("fit and compare"):
            cells = run.once(f"cells {i}", _cells, ising, pairs, M, settings, run)
        table[row] = {column: cell[0] for column, cell in cells.items()}
        arrays[f"densities_{i}"] = np.stack([cell[1] for cell in cells.values()])
    numbers: dict[str, Any] = {
        "published": PUBLISHED,
        "cells": table,
        "n_pairs": settings.learning.n_small * settings.learning.n_states,
        "mean |M|, direct": np.abs(M).mean(),
        "site updates": spent,
    }
    return numbers, arrays


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw the laws of all cells and the true one, as in Fig. 11."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    panels = figure.subplots(len(ROWS), len(COLUMNS), sharex=True, sharey=True)
    both = np.concatenate([arrays["M"], -arrays["M"]])
    for i, row in enumerate(ROWS):
        for j, column in enumerate(COLUMNS):
            ax, cell = panels[i, j], numbers["cells"][row][column]
            ax.hist(both, bins=64, range=(-1, 1), density=True, color="0.75", label="direct")
            ax.plot(arrays["grid"], arrays[f"densities_{i}"][j], "C0", label="predicted")
            distance, error = cell["distance of the law"], cell["its standard error"]
            ax.set_title(f"{column}: {distance:.3f} +- {error:.3f}", fontsize=10)
            ax.set(xlim=(-1, 1), ylim=(0, 4))
        panels[i, 0].set_ylabel(row)
    panels[0, 0].legend(frameon=False)
    size = f"{settings.side_large}x{settings.side_large}"
    figure.suptitle(f"Law of M of Ising {size}, T = {TEMPERATURE}: Wasserstein distance to direct")
    return figure


EXPERIMENT = Experiment(
    name="ising-ablation",
    summary="ways to make snapshots and to learn from them, nine cells (Table 3, Fig. 11)",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            side_large=16, n_patches_evolved=2, n_wolff=1000, check_duration=100.0, n_check=4,
            learning=SMOKE,
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
