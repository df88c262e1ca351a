"""What the Ising and the Curie-Weiss experiment share: protocol, error measure and figure.

Small snapshots are random ones and snapshots along trajectories, both of random magnetisation.
Their spins are shuffled over the large lattice, which keeps the magnetisation, and relaxed locally
for a time that every snapshot draws from a wide range, so that the large snapshots span all states
between random and equilibrium. Some patches of each are evolved for a short time.

The error is that of the mean path, averaged over initial magnetisations: sum over time of
(mean predicted - mean true)^2 over sum of (mean true)^2, over all components of z at once, M as it
is, the others scaled to [0, 1] by their range over the true paths.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklmacro import (
    MLP,
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    PatchAutoencoder,
    Patches,
    PatchSDERegressor,
    Training,
)
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._engine.run import Run
from sklmacro.measures.paths import mean_path_error
from sklmacro.sampling.pairs import latent_pairs
from sklmacro.simulators import Simulator
from sklmacro.simulators.ising import random_spins

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VISITS = 4  # to every site in one pass of LocalRelax: patches overlap by half along both axes
TIME_STRIDE = 2.0  # sweeps between recorded times of the test paths


@dataclass(frozen=True)
class Settings:
    """Settings; sides in sites, times in sweeps."""

    side_small: int = 16
    side_large: int = 64
    n_random: int = 50_000
    n_trajectories: int = 250
    n_times: int = 20
    duration: float = 200.0
    relax_duration: tuple[float, float] = (0.004, 1.0)
    relax_passes: int = 16
    n_patches_evolved: int = 4
    dt: float = 0.5
    n_closure: int = 2
    closure_epochs: int = 10
    hidden: tuple[int, ...] = (32, 32)
    lr: float = 0.01
    epochs: int = 100
    magnetisations: tuple[float, ...] = (0.0, 0.25, -0.25, 0.5, -0.5, 0.75, -0.75)
    n_test_paths: int = 20
    n_truth_paths: int = 200
    test_duration: float = 500.0
    n_seeds: int = 1


def pipeline(simulator: Simulator, settings: Settings, seed: int, run: Run) -> Pipeline:
    """Return the four steps from small snapshots to the SDE."""
    training = Training(lr=settings.lr, max_epochs=settings.epochs, patience=settings.epochs)
    common: dict[str, Any] = {"random_state": seed, "verbose": run.verbose}
    return Pipeline(
        [
            (
                "upsample",
                HierarchicalUpsampler(
                    simulator, factor=settings.side_large // settings.side_small, method="shuffle",
                    relaxation=LocalRelax(
                        duration=settings.relax_duration, n_passes=settings.relax_passes
                    ),
                    n_jobs=run.n_jobs, **common,
                ),
            ),
            (
                "evolve",
                PartialEvolutionSampler(
                    simulator,
                    patch=Patches(settings.side_small, n_evolved=settings.n_patches_evolved),
                    dt=settings.dt, n_jobs=run.n_jobs, **common,
                ),
            ),
            (
                "closure",
                PatchAutoencoder(
                    simulator, n_closure=settings.n_closure,
                    training=Training(max_epochs=settings.closure_epochs), **common,
                ),
            ),
            (
                "sde",
                PatchSDERegressor(
                    drift_model=MLP(settings.hidden, training=training),
                    bounds=simulator.observable_bounds, **common,
                ),
            ),
        ]
    )  # fmt: skip


def pass_duration(settings: Settings) -> float:
    """Return the mean time of a visit of LocalRelax, all its passes added up."""
    shortest, longest = settings.relax_duration
    mean = (longest - shortest) / np.log(longest / shortest)  # uniform on a logarithmic scale
    return float(settings.relax_passes * mean)


def small_snapshots(simulator: Simulator, settings: Settings, seed: int, run: Run) -> np.ndarray:
    """Return random small snapshots, and snapshots along small trajectories."""
    side, n = settings.side_small, settings.n_trajectories
    random = simulator.sample_initial(settings.n_random, side, random_state=2 * seed)
    times = np.linspace(0, settings.duration, settings.n_times + 1)[1:]
    X = simulator.simulate(
        simulator.sample_initial(n, side, random_state=2 * seed + 1), times, random_state=seed,
        n_jobs=run.n_jobs, verbose=run.verbose,
    )  # fmt: skip
    return np.concatenate([random, X.reshape(-1, side, side)])


def _test_paths(
    simulator: Simulator, settings: Settings, magnetisation: float, run: Run
) -> tuple[np.ndarray, np.ndarray]:
    """Return `n_test_paths` paths of snapshots, and further paths of observables."""
    side, n_sites = settings.side_large, settings.side_large**2
    rng = stream(1_000_000, Stage.INITIAL, round(100 * magnetisation) + 100)
    n_up = round((1 + magnetisation) / 2 * n_sites)
    x0 = np.stack([random_spins((side, side), n_up, rng) for _ in range(settings.n_truth_paths)])
    times = np.arange(0.0, settings.test_duration + 1e-9, TIME_STRIDE)
    n = settings.n_test_paths
    options: dict[str, Any] = {"n_jobs": run.n_jobs, "verbose": run.verbose}
    snapshots = simulator.simulate(x0[:n], times, random_state=1_000_001, **options)
    more = simulator.simulate(x0[n:], times, observe=True, random_state=1_000_002, **options)
    return snapshots, more


def scale_components(z: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return z with all components but the first, M, scaled to [0, 1] by their range."""
    u = (z - low) / (high - low)
    u[..., 0] = z[..., 0]
    return u


def compute(
    simulator: Simulator, settings: Settings, run: Run
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn with the method and with the baseline, and compare mean paths with the truth."""
    with run.stage("simulate the large system (truth)"):
        tests = {
            m: run.once(f"truth, M = {m:g}", _test_paths, simulator, settings, m, run)
            for m in settings.magnetisations
        }
    seeds = range(run.seed, run.seed + settings.n_seeds)
    rows = [
        run.once(f"seed {seed}", _of_seed, simulator, settings, tests, seed, run) for seed in seeds
    ]
    arrays = rows[0]["paths"]
    numbers: dict[str, Any] = {}
    for name in rows[0]["errors"]:
        errors = [row["errors"][name] for row in rows]
        numbers[name] = {"mean": float(np.mean(errors)), "seed by seed": errors}
    numbers |= {name: rows[-1][name] for name in ("n_pairs", "lam")}
    return numbers, {"times": np.arange(len(arrays["truth_0"][0])) * TIME_STRIDE, **arrays}


def _of_seed(
    simulator: Simulator,
    settings: Settings,
    tests: dict[float, tuple[np.ndarray, np.ndarray]],
    seed: int,
    run: Run,
) -> dict[str, Any]:
    """Return errors, paths, the number of pairs and lam of one seed."""
    n_obs, steps = simulator.n_observables, pipeline(simulator, settings, seed, run)
    with run.stage("simulate small systems"):
        X = small_snapshots(simulator, settings, seed, run)
    with run.stage("upsample and relax"):
        X = steps["upsample"].fit_transform(X)
    with run.stage("evolve patches"):
        pairs = steps["evolve"].fit_transform(X)
        del X
    closure = steps["closure"]
    with run.stage("find closures"):
        latent = closure.fit_transform(pairs)
    with run.stage("fit the SDE"):
        sdes = {"method": steps["sde"].fit(latent)}
    if settings.n_closure:
        with run.stage("fit the SDE without closures"):
            sdes["without closures"] = clone(steps["sde"]).fit(_first(latent, n_obs))
    with run.stage("baseline: naive increments, lam = 1"):
        naive = closure.set_params(increments="naive").transform(pairs)
        closure.set_params(increments="patch")
        sdes["baseline"] = clone(steps["sde"]).set_params(lam=1.0).fit(naive)
    with run.stage("predict and compare"):
        result = _compare(tests, closure, sdes, settings, n_obs, seed)
    return {**result, "n_pairs": len(latent), "lam": sdes["method"].lam_}


def _first(pairs: np.ndarray, d: int) -> np.ndarray:
    """Return latent pairs of the first d components alone."""
    return latent_pairs(
        pairs["z"][:, :d], pairs["dz"][:, :d], pairs["dt"], n_patches=pairs["n_patches"],
        n_evolved=pairs["n_evolved"], group=pairs["group"],
    )  # fmt: skip


def _compare(
    tests: dict[float, tuple[np.ndarray, np.ndarray]],
    closure: PatchAutoencoder,
    sdes: dict[str, PatchSDERegressor],
    settings: Settings,
    n_obs: int,
    seed: int,
) -> dict[str, Any]:
    """Return the errors averaged over initial magnetisations, and the paths of the observables."""
    n_steps = round(settings.test_duration / settings.dt)
    every = round(TIME_STRIDE / settings.dt)
    true_z = {}
    for m, (snapshots, _) in tests.items():
        flat = closure.transform(snapshots.reshape(-1, *snapshots.shape[2:]))
        true_z[m] = flat.reshape(*snapshots.shape[:2], -1)
    every_z = np.concatenate([z.reshape(-1, z.shape[-1]) for z in true_z.values()])
    low, high = every_z.min(axis=0), every_z.max(axis=0)
    errors: dict[str, list[float]] = {}
    paths: dict[str, np.ndarray] = {}

    def add_errors(name: str, P: np.ndarray, Q: np.ndarray) -> None:
        """Note the error of P against Q over the components that both have, and over z*."""
        shared = min(P.shape[-1], Q.shape[-1])
        for d, which in {shared: "all of z", n_obs: "observables"}.items():
            both = (scale_components(z[..., :d], low[:d], high[:d]) for z in (P, Q))
            errors.setdefault(f"{name}, {which}", []).append(mean_path_error(*both))

    for i, (m, (_, more)) in enumerate(tests.items()):
        Q = true_z[m]
        many = np.concatenate([Q[..., :n_obs], more])
        paths[f"truth_{i}"] = many
        add_errors("floor: half of the true paths against the other half", Q[::2], Q[1::2])
        for name, sde in sdes.items():
            P = sde.simulate(
                Q[:, 0, : sde.n_state_], n_steps, settings.dt, store_every=every,
                random_state=1000 * (seed + 1) + i,
            )  # fmt: skip
            paths[f"{name}_{i}"] = P[..., :n_obs]
            add_errors(name, P, Q)
            add_errors(f"{name}, against {len(many)} true paths", P[..., :n_obs], many)
    return {"errors": {k: float(np.mean(v)) for k, v in errors.items()}, "paths": paths}


def draw_paths(
    settings: Settings,
    arrays: dict[str, np.ndarray],
    names: tuple[str, ...],
    title: str,
    until: float,
) -> "Figure":
    """Draw mean and standard deviation of true and predicted paths of each observable."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(names) + 0.6, 4.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(names)))
    draw_observables(panels, len(settings.magnetisations), arrays, names, until)
    figure.suptitle(title)
    return figure


def draw_observables(
    panels: Any, n_starts: int, arrays: dict[str, np.ndarray], names: tuple[str, ...], until: float
) -> None:
    """Draw mean and standard deviation over paths, each observable in a panel of its own."""
    times = arrays["times"]
    shown = times <= until
    styles = {"truth": ("0.35", "-"), "method": ("C0", "--"), "baseline": ("C1", ":")}
    for column, (ax, name) in enumerate(zip(panels, names, strict=True)):
        for source, (color, line) in styles.items():
            for i in range(n_starts):
                paths = arrays[f"{source}_{i}"][:, shown, column]
                mean, std = paths.mean(axis=0), paths.std(axis=0)
                label = source if i == 0 else None
                ax.plot(times[shown], mean, line, color=color, lw=1.6, label=label)
                if source == "truth":
                    ax.fill_between(
                        times[shown], mean - std, mean + std, color=color, alpha=0.15, lw=0
                    )
        ax.set(xlabel="time [sweeps]", ylabel=name)
    panels[0].legend(frameon=False, loc="lower right")


def with_simulator(
    simulator: Simulator,
) -> Callable[[Settings, Run], tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Return `compute` for one simulator."""

    def bound(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return compute(simulator, settings, run)

    return bound
