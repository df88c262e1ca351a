"""Ising model at T = 2.5, h = 0.1: error of mean paths against site updates, learned and direct.

A site update is one attempt at one spin, the unit that all ways share. The mean of n paths that are
simulated directly misses the truth by v_L / n, with the relative variance v_L of one path, about
1 / L^2, and one path of 500 sweeps costs 500 L^2 updates: error times updates is the same for all
L, and a size starts with one path. Learning is paid once, for small systems, LocalRelax and pairs,
and its error stays; paths of the SDE are free. A query is one initial state followed for 500
sweeps, and

    break-even = updates of learning / (500 L^2 max(1, v_L / error))

is the number of queries from which learning costs less than direct simulation of the same error.

Errors are those of `_spins` over the observables; the walls are scaled by their range at one size.
Snapshots are `_spins`' too, some of them relaxed at a lower temperature; n_L L^2 is the same for
all L, where it leaves enough of them. Moments cost one visit of every site of their patches.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from sklmacro import PartialEvolutionSampler, PatchAutoencoder, PatchSDERegressor, Polynomial
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._spins import protocol as _spins
from sklmacro.experiments._spins.judge import (
    LANES,
    Truth,
    halves,
    mean_error,
    predicted_paths,
    true_paths,
)
from sklmacro.experiments._spins.protocol import (
    TIME_STRIDE,
    VISITS,
    pass_duration,
    pipeline,
    scale_components,
    small_snapshots,
)
from sklmacro.experiments.ising import SIMULATOR
from sklmacro.plots.style import COLORS
from sklmacro.sampling.lam import N_REPLICAS, N_SETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST_SEED = 2_000_000  # of the true paths; those of training lie below
METHOD = "moments of all patches"


@dataclass(frozen=True)
class Settings:
    """Settings; sides in sites, times in sweeps.

    Attributes
    ----------
    learning : _spins.Settings
        Snapshots, sampled pairs and tests; `side_large` follows.
    sides, side_options : tuple of int, int
        Sides of the large systems, and the one at which options are compared and walls scaled.
    snapshot_sites, least_snapshots : int
        Sites of all large snapshots together, and the smallest number of snapshots.
    fewer : tuple of int
        Divisors of the number of snapshots among the options.
    n_joint : int
        Snapshots that evolve jointly to estimate lam.
    cooler : tuple of float
        Temperature of LocalRelax for some of the snapshots, and their share. At that of the model
        all relax from above to the curve that M and walls move along, and a large system does not
        fluctuate far below it: paths that do would find no data.
    degree : int or "auto"
        Of the polynomials of drift and diffusion.
    path_dt : float
        Step of paths learned from moments; those of sampled pairs are as long as the pairs.
    n_predicted : int
        Predicted paths of each initial magnetisation.
    truth_sites, least_truth : int
        Sites of all true paths of one initial magnetisation together, and the fewest such paths.
    """

    learning: _spins.Settings = field(
        default_factory=lambda: _spins.Settings(
            n_random=9000, n_trajectories=150, relax_duration=(0.004, 3.0), n_closure=0, n_seeds=3
        )
    )
    sides: tuple[int, ...] = (32, 64, 128, 256, 512)
    side_options: int = 64
    snapshot_sites: int = 12_000 * 32**2
    least_snapshots: int = 500
    fewer: tuple[int, ...] = (4, 16)
    n_joint: int = 200
    cooler: tuple[float, float] = (2.4, 0.1)
    degree: int | str = "auto"
    path_dt: float = 0.25
    n_predicted: int = 512
    truth_sites: int = 2048 * 64**2
    least_truth: int = 2 * LANES


@dataclass(frozen=True)
class Option:
    """How pairs are made and fitted, unless as moments of all patches.

    Attributes
    ----------
    evolved : int or None
        Patches of each snapshot; None for all.
    moments, turned, naive, relaxed : bool
        Exact moments; turned snapshots; increments of Eq. 9; whether LocalRelax went before.
    lam : str or float
        Of the regressor.
    part : int
        Divisor of the number of snapshots.
    """

    evolved: int | None = None
    moments: bool = True
    turned: bool = False
    naive: bool = False
    relaxed: bool = True
    lam: str | float = "K"
    part: int = 1


def options_of(settings: Settings) -> dict[str, Option]:
    """Return the options that are compared."""
    several = settings.learning.n_patches_evolved
    one, some = Option(1, moments=False), Option(several, moments=False)
    return {
        METHOD: Option(),
        **{f"{METHOD}, 1/{part} of the snapshots": Option(part=part) for part in settings.fewer},
        f"{METHOD}, no LocalRelax": Option(relaxed=False),
        "moments of one patch": Option(1),
        "pairs, p = 1, lam = K": one,
        "pairs, p = 1, lam estimated": replace(one, lam="auto"),
        "pairs, p = 1, lam = K, turned": replace(one, turned=True),
        f"pairs, p = {several}, lam = K/p": some,
        f"pairs, p = {several}, lam estimated": replace(some, lam="auto"),
        "baseline: pairs of Eq. 9, p = 1, lam = 1": replace(one, naive=True, lam=1.0),
    }


def n_snapshots(settings: Settings, side: int) -> int:
    """Return the number of large snapshots of a size."""
    return max(settings.snapshot_sites // side**2, settings.least_snapshots)


# Truth --------------------------------------------------------------------------------------------


def _true_paths(settings: Settings, side: int, run: Run) -> list[Truth]:
    """Return true paths of each initial magnetisation."""
    n = LANES * -(-max(settings.truth_sites // side**2, settings.least_truth) // LANES)
    times = np.arange(0.0, settings.learning.test_duration + 1e-9, TIME_STRIDE)
    return [
        true_paths(
            SIMULATOR, side, m, n, times, stream(FIRST_SEED, Stage.INITIAL, 100 * side + i),
            FIRST_SEED + 100 * side + i, n_jobs=run.n_jobs, verbose=run.verbose,
        )
        for i, m in enumerate(settings.learning.magnetisations)
    ]  # fmt: skip


@dataclass(frozen=True)
class Judge:
    """The error of predicted mean paths, averaged over the initial magnetisations.

    Attributes
    ----------
    truths : list of Truth
    low, high : ndarray of shape (2,)
        Range by which the walls are scaled.
    """

    settings: Settings
    truths: list[Truth]
    low: np.ndarray
    high: np.ndarray

    def one_path(self) -> float:
        """Return v_L: the variance of one path, summed over time, over the mean path squared."""
        results = []
        for truth in self.truths:
            u = scale_components(truth.paths, self.low, self.high)
            variance = u.var(axis=0, ddof=1).mean(axis=0)  # blocks are independent, lanes are not
            results.append(variance.sum() / (u.mean(axis=(0, 1)) ** 2).sum())
        return float(np.mean(results))

    def floor(self) -> float:
        """Return the error that true and predicted paths of these numbers leave by themselves."""
        # the whole is as certain as both halves together
        own = float(np.mean([halves(truth, self.low, self.high) / 4 for truth in self.truths]))
        return own + self.one_path() / self.settings.n_predicted

    def error(self, sde: PatchSDERegressor, dt: float, seed: int) -> float:
        """Return the error of the paths of an SDE in steps of dt."""
        many, n = [truth.many for truth in self.truths], self.settings.n_predicted
        starts = [np.resize(Q[:, 0], (n, Q.shape[2])) for Q in many]
        predicted = predicted_paths(sde, starts, many[0].shape[1], dt, seed)
        return mean_error(predicted, many, self.low, self.high)


# Learning -----------------------------------------------------------------------------------------


def _snapshots(
    settings: Settings, side: int, relaxed: bool, seed: int, run: Run
) -> tuple[np.ndarray, float]:
    """Return large snapshots in random order, and the updates spent on each of them."""
    learning = replace(settings.learning, side_large=side)
    rows = stream(seed, Stage.SPLIT).permutation(small_snapshots(SIMULATOR, learning, seed, run))
    upsample = pipeline(SIMULATOR, learning, seed, run)["upsample"]
    if not relaxed:
        upsample.set_params(relaxation=None)
    temperature, share = settings.cooler
    cooler = clone(upsample).set_params(
        simulator__temperature=temperature, random_state=1_000_000 + seed
    )
    n = min(n_snapshots(settings, side), len(rows))
    first = round((1 - share) * n)
    X = np.concatenate([upsample.fit_transform(rows[:first]), cooler.fit_transform(rows[first:n])])
    small = learning.n_trajectories * learning.duration * learning.side_small**2
    relaxing = side**2 * VISITS * pass_duration(learning)
    return stream(seed, Stage.SPLIT, 1).permutation(X), small / len(rows) + relaxed * relaxing


def _learn(
    settings: Settings, option: Option, X: np.ndarray, seed: int, run: Run
) -> tuple[PatchSDERegressor, float]:
    """Return the SDE, and the updates spent on pairs."""
    learning = settings.learning
    steps = pipeline(SIMULATOR, replace(learning, side_large=X.shape[1]), seed, run)
    sampler: PartialEvolutionSampler = clone(steps["evolve"])
    p = option.evolved or (X.shape[1] // learning.side_small) ** 2
    n_joint = min(settings.n_joint, len(X)) if option.lam == "auto" else 0
    sampler.set_params(moments=option.moments, augment=option.turned)
    sampler.set_params(patch__n_evolved=p, patch__n_joint=n_joint)
    increments = "naive" if option.naive else "patch"
    closure = PatchAutoencoder(SIMULATOR, n_closure=0, increments=increments)
    sde = PatchSDERegressor(
        drift_model=Polynomial(settings.degree), lam=option.lam, random_state=seed,
        bounds=SIMULATOR.observable_bounds,
    )  # fmt: skip
    pairs = closure.fit_transform(sampler.fit_transform(X))
    sites = len(X) * p * learning.side_small**2
    n_sets = min(N_SETS, X[0].size // (p * learning.side_small**2))
    joint = n_joint * N_REPLICAS * (X[0].size + n_sets * p * learning.side_small**2) * learning.dt
    return sde.fit(pairs), sites * (1.0 if option.moments else learning.dt) + joint


# Comparison ---------------------------------------------------------------------------------------


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn every size, with all options at one of them, and compare with direct simulation."""
    truth = {}
    for side in settings.sides:
        with run.stage(f"{side}^2: simulate directly (truth)"):
            result = run.once(f"truth, L = {side}", _true_paths, settings, side, run)
            truth[side] = [Truth(*one) for one in result]
    every = np.concatenate([t.many for t in truth[settings.side_options]])
    low, high = every.min(axis=(0, 1)), every.max(axis=(0, 1))
    numbers: dict[str, Any] = {"sides": {}, "options": {}}
    for side in settings.sides:
        judge = Judge(settings, truth[side], low, high)
        options = {METHOD: Option()}
        if side == settings.side_options:
            options = options_of(settings)
        result = _every_option(settings, side, options, judge, run)
        v, updates = judge.one_path(), settings.learning.test_duration * side**2
        for row in result.values():
            row["break-even, queries"] = row["updates"] / (updates * max(1.0, v / row["error"]))
        row = result[METHOD]
        numbers["sides"][f"L = {side}"] = {
            "snapshots": n_snapshots(settings, side),
            "direct: error of one path": v,
            "direct: updates of one path": updates,
            "direct: paths of the method's error": v / row["error"],
            "floor": judge.floor(),
            **row,
        }
        if side == settings.side_options:
            numbers["options"] = result
    sides = list(numbers["sides"].values())
    arrays = {"L": np.array(settings.sides)}
    for key, name in (
        ("one_path", "direct: error of one path"), ("error", "error"), ("updates", "updates"),
    ):  # fmt: skip
        arrays[key] = np.array([row[name] for row in sides])
    return numbers, arrays


def _every_option(
    settings: Settings, side: int, options: dict[str, Option], judge: Judge, run: Run
) -> dict[str, dict[str, Any]]:
    """Return error and updates of every option."""
    seeds = range(run.seed, run.seed + settings.learning.n_seeds)
    rows = [
        run.once(f"L = {side}, seed {seed}", _of_seed, settings, side, options, judge, seed, run)
        for seed in seeds
    ]
    table: dict[str, dict[str, Any]] = {}
    for name in options:
        errors = [row[name]["error"] for row in rows]
        table[name] = {
            "updates": rows[-1][name]["updates"],
            "error": float(np.mean(errors)),
            "standard error": _error_of_mean(errors),
            "seed by seed": errors,
            "degrees": [row[name]["degree"] for row in rows],
        }
    return table


def _of_seed(
    settings: Settings, side: int, options: dict[str, Option], judge: Judge, seed: int, run: Run
) -> dict[str, dict[str, Any]]:
    """Return error, degree and updates of every option."""
    made = {}
    for relaxed in sorted({option.relaxed for option in options.values()}):
        with run.stage(f"{side}^2: small systems, upsample and relax"):
            made[relaxed] = _snapshots(settings, side, relaxed, seed, run)
    results = {}
    for name, option in options.items():
        X, each = made[option.relaxed]
        X = X[: len(X) // option.part]
        with run.stage(f"{side}^2: pairs and fits"):
            sde, on_pairs = _learn(settings, option, X, seed, run)
        with run.stage(f"{side}^2: predict and compare"):
            dt = settings.path_dt if option.moments else settings.learning.dt
            error = judge.error(sde, dt, seed)
        updates = len(X) * each + on_pairs
        results[name] = {"error": error, "degree": sde.degree_, "updates": updates}
    return results


def _error_of_mean(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw error against updates of all seven paths: direct lines, the method, and the options."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    n_starts = len(settings.learning.magnetisations)
    for i, (side, v) in enumerate(zip(arrays["L"].tolist(), arrays["one_path"], strict=True)):
        color, n = COLORS[i % len(COLORS)], np.geomspace(1, 1000, 2)
        updates = n_starts * settings.learning.test_duration * side**2
        for ax in (left, right) if side == settings.side_options else (left,):
            ax.plot(n * updates, v / n, color=color, lw=1.2, label=f"direct, L = {side}")
            ax.plot(updates, v, "|", color=color, ms=14, mew=2)
        _point(left, numbers["sides"][f"L = {side}"], "o", color, f"learned, L = {side}")
    for i, (name, row) in enumerate(numbers["options"].items()):
        _point(right, row, "osD^vP*X<>hd"[i % 12], COLORS[i % len(COLORS)], name)
    titles = (left, "sizes"), (right, f"options, L = {settings.side_options}")
    for ax, title in titles:
        ax.set(xscale="log", yscale="log", xlabel=f"site updates for {n_starts} initial states")
        ax.set_ylabel("error of the mean path")
        ax.set_title(title)
        ax.legend(frameon=False, fontsize="x-small")
    small = settings.learning.side_small
    figure.suptitle(f"Ising, T = 2.5, h = 0.1, learned from {small}x{small}; ticks: one path each")
    return figure


def _point(ax: Any, row: dict[str, Any], marker: str, color: str, label: str) -> None:
    """Draw the median over the seeds, with a line from the smallest to the largest."""
    errors, updates = row["seed by seed"], row["updates"]
    ax.plot([updates, updates], [min(errors), max(errors)], "-", color=color, lw=1.5)
    ax.plot(
        updates, np.median(errors), marker, color=color, ms=7, mec="k", mew=0.6, label=label
    )  # fmt: skip


EXPERIMENT = Experiment(
    name="ising-cost",
    summary="error of mean paths against site updates, learned and simulated directly",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            learning=_spins.Settings(
                side_small=8, n_random=300, n_trajectories=20, n_times=5, duration=20.0,
                relax_duration=(0.004, 3.0), relax_passes=2, n_closure=0, n_seeds=2,
                magnetisations=(0.0, 0.5), test_duration=20.0,
            ),
            sides=(16, 32), side_options=16, snapshot_sites=300 * 16**2, least_snapshots=100,
            fewer=(2,), n_joint=20, degree=2, n_predicted=32, truth_sites=128 * 16**2,
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
