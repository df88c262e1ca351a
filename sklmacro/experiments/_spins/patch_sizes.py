"""Spin systems of one size learned from small systems of several sizes n_s (Figs. 3-4, 8-9).

One recipe for every n_s. The spins of small snapshots are shuffled over the large lattice, which
keeps the magnetisation, and relaxed patch by patch for times from none to long. Three ways to learn
from such snapshots:

    method          exact mean and covariance of the increment of all K patches; polynomials of
                    the degree with the largest held-out likelihood
    sampled pairs   the increment of one patch within dt, lam = K (Eqs. 7, 10); nets
    baseline        naive increment of the same patch (Eq. 9), lam = 1; nets

With n_s = n there is one patch, and the last two are the same.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from sklmacro import PartialEvolutionSampler, PatchSDERegressor, Polynomial, Training
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._engine.run import Run
from sklmacro.experiments._spins import protocol as _spins
from sklmacro.experiments._spins.judge import FIRST_SEED, Judge, Truth, true_paths
from sklmacro.experiments._spins.protocol import TIME_STRIDE, VISITS, pass_duration, small_snapshots
from sklmacro.simulators import Simulator

SHOWN = 512  # paths of each kind that are kept for the figure


@dataclass(frozen=True)
class Settings:
    """Settings; sides in sites, times in sweeps.

    Attributes
    ----------
    learning : _spins.Settings
        Snapshots, sampled pairs and tests; `side_small` and the relaxation of n_s = n follow.
    sides : tuple of int
        Sides of the small systems.
    side_shown : int
        The one of the figure, and of the closures.
    published : dict of str to tuple of float
        Published errors of "method" and "baseline" for each side.
    aims : tuple of float
        Errors to reach with the method, for the first sides.
    n_moments, n_closure_moments : int
        Snapshots of which moments are taken, without and with closures.
    n_events_encoded : int
        Events of a patch that are encoded for the moments of closures.
    n_closure_epochs : int
        Epochs of the net of observables and closures, which has fewer pairs than the others.
    degree : int or "auto"
        Of the polynomials of the method.
    path_dt : float
        Step of the paths of the method; those of sampled pairs take steps as long as the pairs.
    n_few, n_many : int
        True and predicted paths of each initial magnetisation.
    """

    learning: _spins.Settings
    published: dict[str, tuple[float, ...]]
    aims: tuple[float, ...]
    sides: tuple[int, ...] = (8, 16, 32, 64)
    side_shown: int = 16
    n_moments: int = 16_000
    n_closure_moments: int = 5000
    n_events_encoded: int = 16
    n_closure_epochs: int = 500
    degree: int | str = "auto"
    path_dt: float = 0.25
    n_few: int = 20
    n_many: int = 2048


def compute(
    simulator: Simulator, settings: Settings, run: Run
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn from every n_s, and compare mean paths with the truth."""
    learning, names = settings.learning, list(settings.published)
    times = np.arange(0.0, learning.test_duration + 1e-9, TIME_STRIDE)
    with run.stage("simulate the large system (truth)"):
        truths = tuple(
            Truth(*run.once(f"truth, M = {m:g}", _truth, simulator, settings, m, times, run))
            for m in learning.magnetisations
        )
    judge = Judge(truths, times, settings.n_few)
    numbers: dict[str, Any] = {
        "floor": judge.floor(),
        "site updates of the truth": sum(t.x0.size for t in truths) * learning.test_duration,
    }
    arrays = {"times": times}
    for i, truth in enumerate(truths):
        arrays[f"truth_{i}"] = truth.many[:: -(-len(truth.many) // SHOWN)]
    for s, side in enumerate(settings.sides):
        seeds = range(run.seed, run.seed + learning.n_seeds)
        results = [
            run.once(f"{side}, seed {seed}", _of_seed, simulator, settings, side, seed, judge, run)
            for seed in seeds
        ]
        row: dict[str, Any] = {
            name: _over_seeds([one["errors"][name] for one in results])
            for name in results[0]["errors"]
        }
        row["site updates of one seed"] = results[-1]["site updates"]
        row |= {f"published, {name}": settings.published[name][s] for name in names}
        if s < len(settings.aims):
            row["aim"] = {"error": settings.aims[s]} | {
                f"reached with {name}": bool(row["method"][name]["mean"] <= settings.aims[s])
                for name in judge.names
            }
        if side == settings.side_shown:
            arrays |= results[0]["paths"]
            row |= results[-1]["with closures"]
        numbers[f"n_s = {side}^2"] = row
    return numbers, arrays


def _truth(
    simulator: Simulator, settings: Settings, magnetisation: float, times: np.ndarray, run: Run
) -> Truth:
    """Return the true paths from one magnetisation."""
    place = round(100 * magnetisation) + 100
    return true_paths(
        simulator, settings.learning.side_large, magnetisation, settings.n_many, times,
        stream(FIRST_SEED, Stage.INITIAL, place), FIRST_SEED + 1 + place, n_jobs=run.n_jobs,
        verbose=run.verbose,
    )  # fmt: skip


def _of_seed(
    simulator: Simulator, settings: Settings, side: int, seed: int, judge: Judge, run: Run
) -> dict[str, Any]:
    """Return errors of the three models of one seed, and the site updates.

    Of the side that is shown, the first seed has the paths and the last one the closures.
    """
    learning, shown = settings.learning, side == settings.side_shown
    errors: dict[str, dict[str, Any]] = {}
    paths: dict[str, np.ndarray] = {}
    X, spent = _snapshots(simulator, settings, side, seed, run)
    for name, sde in _learn(simulator, settings, side, X, seed, run).items():
        dt = settings.path_dt if name == "method" else learning.dt
        with run.stage(f"{side}^2: predict and compare"):
            predicted = judge.predict(sde, dt, seed)
            errors[name] = dict(judge.errors(predicted))
        if name == "method":
            errors[name]["degree"] = sde.degree_
        if shown and seed == run.seed:
            paths |= {f"{name}_{i}": P[:SHOWN] for i, P in enumerate(predicted)}
    spent["sampled pairs"] = len(X) * _n_evolved(settings, side) * side**2 * learning.dt
    results = {"errors": errors, "paths": paths, "site updates": spent, "with closures": {}}
    if shown and seed == run.seed + learning.n_seeds - 1 and learning.n_closure:
        results["with closures"] = {
            "method with closures": _with_closures(simulator, settings, side, X, seed, judge, run)
        }
    return results


# Data ---------------------------------------------------------------------------------------------


def _of_side(settings: Settings, side: int) -> _spins.Settings:
    """Return the settings of a small system, with as many visits of every site for all."""
    learning = settings.learning
    shortest, longest = learning.relax_duration
    visits = VISITS / _visits(settings, side)
    return replace(
        learning, side_small=side, n_patches_evolved=_n_evolved(settings, side), n_closure=0,
        relax_duration=(visits * shortest, visits * longest),
    )  # fmt: skip


def _visits(settings: Settings, side: int) -> int:
    """Return how often a pass of LocalRelax visits a site: patches overlap, unless there is one."""
    return VISITS if side < settings.learning.side_large else 1


def _n_patches(settings: Settings, side: int) -> int:
    return (settings.learning.side_large // side) ** 2


def _n_evolved(settings: Settings, side: int) -> int:
    return min(settings.learning.n_patches_evolved, _n_patches(settings, side))


def _snapshots(
    simulator: Simulator, settings: Settings, side: int, seed: int, run: Run
) -> tuple[np.ndarray, dict[str, float]]:
    """Return relaxed large snapshots in random order, and the site updates spent on them."""
    learning = _of_side(settings, side)
    upsample = _spins.pipeline(simulator, learning, seed, run)["upsample"]
    with run.stage(f"{side}^2: simulate small systems"):
        X = small_snapshots(simulator, learning, seed, run)
    with run.stage(f"{side}^2: upsample and relax"):
        X = upsample.fit_transform(stream(seed, Stage.SPLIT).permutation(X))
    return X, {
        "small systems": learning.n_trajectories * side**2 * learning.duration,
        "upsampling": X.size * _visits(settings, side) * pass_duration(learning),
    }


# Learning -----------------------------------------------------------------------------------------


def _learn(
    simulator: Simulator, settings: Settings, side: int, X: np.ndarray, seed: int, run: Run
) -> dict[str, PatchSDERegressor]:
    """Return the three models."""
    steps = _spins.pipeline(simulator, _of_side(settings, side), seed, run)
    polynomial = PatchSDERegressor(
        drift_model=Polynomial(settings.degree), bounds=simulator.observable_bounds,
        random_state=seed,
    )  # fmt: skip
    with run.stage(f"{side}^2: moments"):
        pairs = _moments(steps["evolve"], settings, side).fit_transform(X[: settings.n_moments])
        latent = {"method": steps["closure"].fit_transform(pairs)}
    with run.stage(f"{side}^2: sample pairs"):
        pairs = steps["evolve"].fit_transform(X)
        latent["sampled pairs"] = steps["closure"].fit_transform(pairs)
        latent["baseline"] = steps["closure"].set_params(increments="naive").fit_transform(pairs)
    with run.stage(f"{side}^2: fit"):
        return {
            "method": polynomial.fit(latent["method"]),
            "sampled pairs": clone(steps["sde"]).fit(latent["sampled pairs"]),
            "baseline": clone(steps["sde"]).set_params(lam=1.0).fit(latent["baseline"]),
        }


def _moments(
    sampler: PartialEvolutionSampler, settings: Settings, side: int
) -> PartialEvolutionSampler:
    """Return a sampler of the moments of all patches."""
    n_patches = _n_patches(settings, side)
    return clone(sampler).set_params(moments=True, patch__n_evolved=n_patches)


def _with_closures(
    simulator: Simulator,
    settings: Settings,
    side: int,
    X: np.ndarray,
    seed: int,
    judge: Judge,
    run: Run,
) -> dict[str, Any]:
    """Return the errors of a model of observables and closures, by moments and a net."""
    learning = replace(_of_side(settings, side), n_closure=settings.learning.n_closure)
    steps = _spins.pipeline(simulator, learning, seed, run)
    closure = steps["closure"].set_params(n_events_encoded=settings.n_events_encoded)
    X = X[: settings.n_closure_moments]
    with run.stage("closures: find them, and their moments"):
        pairs = _moments(steps["evolve"], settings, side).fit_transform(X)
        latent = closure.fit_transform(pairs)
    with run.stage("closures: fit"):
        epochs = settings.n_closure_epochs
        training = Training(lr=learning.lr, max_epochs=epochs, patience=epochs)
        sde = steps["sde"].set_params(drift_model__training=training).fit(latent)
    with run.stage("closures: predict and compare"):
        return judge.errors_with_closures(
            simulator, closure, sde, settings.path_dt, seed, n_jobs=run.n_jobs
        )


# Numbers and figure ------------------------------------------------------------------------------


def _over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean, standard error and values of every error over the seeds."""
    results: dict[str, Any] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        if name == "degree":
            results[name] = values.tolist()
            continue
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
        results[name] = {
            "mean": values.mean(), "standard error": error, "seed by seed": values.tolist()
        }  # fmt: skip
    return results


def draw_errors(ax: Any, settings: Settings, numbers: dict[str, Any]) -> None:
    """Draw the errors against the side of the small systems, with the published ones."""
    name = f"{settings.n_many} paths"
    rows = [numbers[f"n_s = {side}^2"] for side in settings.sides]
    for k, source in enumerate(("method", "sampled pairs", "baseline")):
        mean = [row[source][name]["mean"] for row in rows]
        error = [row[source][name]["standard error"] for row in rows]
        color = ("C0", "C2", "C1")[k]
        ax.errorbar(settings.sides, mean, error, marker="osD"[k], color=color, label=source)
        if source in settings.published:
            values = settings.published[source]
            ax.plot(settings.sides, values, ":x", color=color, label=f"published, {source}")
    ax.axhline(numbers["floor"][name], color="0.5", lw=0.8, label="floor")
    ax.set_xscale("log", base=2)
    ax.set(yscale="log", xlabel="side of the small system", ylabel="error of the mean path")
    ax.legend(frameon=False, fontsize="small")
