"""Spin systems of one size learned from small systems of several sizes n_s (Figs. 3-4, 8-9).

One recipe for every n_s. The spins of small snapshots are shuffled over the large lattice, which
keeps the magnetisation, and relaxed patch by patch for times from none to long. Three ways to learn
from such snapshots, all with polynomials whose degree the held-out likelihood chooses:

    method          exact mean and covariance of the increment of all K patches
    sampled pairs   the increment of one patch within dt, lam = K (Eqs. 7, 10)
    baseline        naive increment of the same patch (Eq. 9), lam = 1

With n_s = n there is one patch, and the last two are the same. The error is that of `_spins`, over
the observables, with few paths, as published, and with many. The floor of each is the error of half
of the true paths against the other half, halved: both sides then have twice as many.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from sklmacro import PartialEvolutionSampler, PatchAutoencoder, PatchSDERegressor
from sklmacro._random import Stage, stream
from sklmacro.experiments import _spins
from sklmacro.experiments._run import Run
from sklmacro.experiments._spins import TIME_STRIDE, scaled, small_snapshots
from sklmacro.scoring import mean_path_error
from sklmacro.simulators import Ising, Simulator
from sklmacro.simulators.ising import random_spins

LANES = 64  # paths of `Ising.simulate(packed=True)` that are not independent of each other
SHOWN = 64  # paths of each kind that are kept for the figure
FIRST_SEED = 1_000_000  # of the true paths; those of training lie below


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
    degree : int or "auto"
        Of the polynomials.
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
    degree: int | str = "auto"
    path_dt: float = 0.25
    n_few: int = 20
    n_many: int = 2048


@dataclass(frozen=True)
class Truth:
    """True paths from one initial magnetisation.

    Attributes
    ----------
    x0 : ndarray of shape (n_many, side, side)
    paths : ndarray of shape (n_blocks, n_lanes, n_times, n_observables)
        Blocks are independent.
    """

    x0: np.ndarray
    paths: np.ndarray

    @property
    def many(self) -> np.ndarray:
        """All paths."""
        return self.paths.reshape(-1, *self.paths.shape[2:])


def compute(
    simulator: Simulator, settings: Settings, run: Run
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn from every n_s, and compare mean paths with the truth."""
    learning = settings.learning
    with run.stage("simulate the large system (truth)"):
        tests = {m: _true_paths(simulator, settings, m, run) for m in learning.magnetisations}
    every = np.concatenate([t.many.reshape(-1, simulator.n_observables) for t in tests.values()])
    low, high = every.min(axis=0), every.max(axis=0)
    judge = Judge(settings, tests, low, high)
    numbers: dict[str, Any] = {
        "floor": judge.floor(),
        "site updates of the truth": sum(t.x0.size for t in tests.values())
        * learning.test_duration,
    }
    arrays = {"times": _times(settings)}
    for i, t in enumerate(tests.values()):
        arrays[f"truth_{i}"] = t.many[:: -(-len(t.many) // SHOWN)]
    for s, side in enumerate(settings.sides):
        found: dict[str, list[dict[str, Any]]] = {}
        for k in range(learning.n_seeds):
            seed = run.seed + k
            X, spent = _snapshots(simulator, settings, side, seed, run)
            for name, sde in _learn(simulator, settings, side, X, seed, run).items():
                with run.stage(f"{side}^2: predict and compare"):
                    errors, paths = judge.errors(sde, name, seed)
                found.setdefault(name, []).append({**errors, "degree": sde.degree_})
                if side == settings.side_shown and k == 0:
                    arrays |= {f"{name}_{i}": P[:SHOWN] for i, P in enumerate(paths)}
        row: dict[str, Any] = {name: _over_seeds(rows) for name, rows in found.items()}
        n_evolved = len(X) * _n_evolved(settings, side)
        spent["sampled pairs"] = n_evolved * side**2 * learning.dt
        row["site updates of one seed"] = spent
        for name, values in settings.published.items():
            row[f"published, {name}"] = values[s]
        if s < len(settings.aims):
            aim, reached = settings.aims[s], row["method"][judge.names[1]]["mean"]
            row["aim"] = {"error": aim, "reached": bool(reached <= aim)}
        if side == settings.side_shown and learning.n_closure:
            row["method with closures"] = _with_closures(
                simulator, settings, side, X, run.seed + learning.n_seeds - 1, judge, run
            )
        numbers[f"n_s = {side}^2"] = row
    return numbers, arrays


# Data ---------------------------------------------------------------------------------------------


def _true_paths(simulator: Simulator, settings: Settings, m: float, run: Run) -> Truth:
    """Return many true paths from random spins of magnetisation m."""
    side, place = settings.learning.side_large, round(100 * m) + 100
    rng = stream(FIRST_SEED, Stage.INITIAL, place)
    n_up = round((1 + m) / 2 * side**2)
    x0 = np.stack([random_spins((side, side), n_up, rng) for _ in range(settings.n_many)])
    packed = isinstance(simulator, Ising)
    options: dict[str, Any] = {"packed": True} if packed else {}
    paths = simulator.simulate(
        x0, _times(settings), observe=True, random_state=FIRST_SEED + 1 + place,
        n_jobs=run.n_jobs, verbose=run.verbose, **options,
    )  # fmt: skip
    return Truth(x0, paths.reshape(-1, LANES if packed else 1, *paths.shape[1:]))


def _times(settings: Settings) -> np.ndarray:
    return np.arange(0.0, settings.learning.test_duration + 1e-9, TIME_STRIDE)


def _of_side(settings: Settings, side: int) -> _spins.Settings:
    """Return the settings of a small system, with as many visits of every site for all."""
    learning = settings.learning
    shortest, longest = learning.relax_duration
    visits = 4 / _visits(settings, side)
    return replace(
        learning, side_small=side, n_patches_evolved=_n_evolved(settings, side), n_closure=0,
        relax_duration=(visits * shortest, visits * longest),
    )  # fmt: skip


def _visits(settings: Settings, side: int) -> int:
    """Return how often a pass of LocalRelax visits a site: patches overlap, unless there is one."""
    return 4 if side < settings.learning.side_large else 1


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
    shortest, longest = learning.relax_duration
    mean = (longest - shortest) / np.log(longest / shortest)  # uniform on a logarithmic scale
    visits = learning.relax_passes * _visits(settings, side)
    return X, {
        "small systems": learning.n_trajectories * side**2 * learning.duration,
        "upsampling": X.size * visits * mean,
    }


# Learning -----------------------------------------------------------------------------------------


def _learn(
    simulator: Simulator, settings: Settings, side: int, X: np.ndarray, seed: int, run: Run
) -> dict[str, PatchSDERegressor]:
    """Return the three models."""
    steps = _spins.pipeline(simulator, _of_side(settings, side), seed, run)
    polynomial = PatchSDERegressor(
        drift_model="polynomial", degree=settings.degree, bounds=simulator.observable_bounds,
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
            name: clone(polynomial).set_params(lam=1.0 if name == "baseline" else "K").fit(rows)
            for name, rows in latent.items()
        }


def _moments(
    sampler: PartialEvolutionSampler, settings: Settings, side: int
) -> PartialEvolutionSampler:
    """Return a sampler of the moments of all patches."""
    n_patches = _n_patches(settings, side)
    return clone(sampler).set_params(moments=True, n_patches_evolved=n_patches)


def _with_closures(
    simulator: Simulator,
    settings: Settings,
    side: int,
    X: np.ndarray,
    seed: int,
    judge: "Judge",
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
        sde = steps["sde"].fit(latent)
    with run.stage("closures: predict and compare"):
        return judge.errors_with_closures(simulator, closure, sde, seed, run)


# Comparison ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """Errors of predicted mean paths, averaged over the initial magnetisations."""

    settings: Settings
    tests: dict[float, Truth]
    low: np.ndarray
    high: np.ndarray

    @property
    def names(self) -> tuple[str, str]:
        """How the errors with few and with many paths are called."""
        return f"{self.settings.n_few} paths", f"{self.settings.n_many} paths"

    def floor(self) -> dict[str, float]:
        """Return the errors of half of the true paths against the other half, halved."""
        few, many, n = [], [], self.settings.n_few
        for truth in self.tests.values():
            u = scaled(truth.paths, self.low, self.high)
            halves = (u[part::2].reshape(-1, *u.shape[2:]) for part in (0, 1))
            many.append(mean_path_error(*halves) / 2)
            for start in range(0, len(u) - n + 1, n):
                group = u[start : start + n]
                few += [
                    mean_path_error(group[::2, lane], group[1::2, lane]) / 2
                    for lane in range(u.shape[1])
                ]
        return dict(zip(self.names, (float(np.mean(few)), float(np.mean(many))), strict=True))

    def errors(
        self, sde: PatchSDERegressor, name: str, seed: int
    ) -> tuple[dict[str, float], list[np.ndarray]]:
        """Return both errors, and the predicted paths of every initial magnetisation."""
        settings = self.settings
        dt = settings.path_dt if name == "method" else settings.learning.dt
        every, n = round(TIME_STRIDE / dt), settings.n_few
        found, paths = [], []
        for i, truth in enumerate(self.tests.values()):
            n_steps = every * (truth.paths.shape[2] - 1)
            P = sde.simulate(
                truth.many[:, 0], n_steps, dt, store_every=every,
                random_state=1000 * (seed + 1) + i,
            )  # fmt: skip
            pairs = (P[:n], truth.paths[:n, 0]), (P, truth.many)
            found.append(
                [mean_path_error(*(scaled(z, self.low, self.high) for z in pair)) for pair in pairs]
            )
            paths.append(P)
        means = np.mean(found, axis=0).tolist()
        return dict(zip(self.names, means, strict=True)), paths

    def errors_with_closures(
        self,
        simulator: Simulator,
        closure: PatchAutoencoder,
        sde: PatchSDERegressor,
        seed: int,
        run: Run,
    ) -> dict[str, float]:
        """Return the errors over the observables, and over all of z with few paths."""
        settings, n, n_obs = self.settings, self.settings.n_few, simulator.n_observables
        every = round(TIME_STRIDE / settings.path_dt)
        true, predicted, errors = [], [], []
        for i, truth in enumerate(self.tests.values()):
            snapshots = simulator.simulate(
                truth.x0[:n], _times(settings), random_state=FIRST_SEED + 500 + i,
                n_jobs=run.n_jobs,
            )  # fmt: skip
            z = closure.transform(snapshots.reshape(-1, *truth.x0.shape[1:]))
            true.append(z.reshape(n, len(_times(settings)), -1))
            P = sde.simulate(
                closure.transform(truth.x0), every * (true[0].shape[1] - 1), settings.path_dt,
                store_every=every, random_state=1000 * (seed + 1) + i,
            )  # fmt: skip
            both = (scaled(paths, self.low, self.high) for paths in (P[..., :n_obs], truth.many))
            errors.append(mean_path_error(*both))
            predicted.append(P[:n])
        every_z = np.concatenate([z.reshape(-1, z.shape[-1]) for z in true])
        low, high = every_z.min(axis=0), every_z.max(axis=0)

        def few(columns: slice, P: list[np.ndarray], Q: list[np.ndarray]) -> float:
            pairs = zip(P, Q, strict=True)
            u = [[scaled(z, low, high)[..., columns] for z in pair] for pair in pairs]
            return float(np.mean([mean_path_error(*pair) for pair in u]))

        halves = ([z[part::2] for z in true] for part in (0, 1))
        return {
            f"observables, {self.names[0]}": few(slice(n_obs), predicted, true),
            f"observables, {self.names[1]}": float(np.mean(errors)),
            f"all of z, {self.names[0]}": few(slice(None), predicted, true),
            f"floor, all of z, {self.names[0]}": few(slice(None), *halves) / 2,
        }


def _over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean, standard error and values of every error over the seeds."""
    found: dict[str, Any] = {"degree": [row["degree"] for row in rows]}
    for name in rows[0].keys() - found.keys():
        values = np.array([row[name] for row in rows])
        spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        found[name] = {
            "mean": float(values.mean()),
            "standard error": float(spread) if np.isfinite(spread) else None,
            "seed by seed": values.tolist(),
        }
    return found


def draw_errors(ax: Any, settings: Settings, numbers: dict[str, Any]) -> None:
    """Draw the errors against the side of the small systems, with the published ones."""
    name = f"{settings.n_many} paths"
    rows = [numbers[f"n_s = {side}^2"] for side in settings.sides]
    for k, source in enumerate(("method", "sampled pairs", "baseline")):
        mean = [row[source][name]["mean"] for row in rows]
        error = [row[source][name]["standard error"] or 0.0 for row in rows]
        color = ("C0", "C2", "C1")[k]
        ax.errorbar(settings.sides, mean, error, marker="osD"[k], color=color, label=source)
        if source in settings.published:
            values = settings.published[source]
            ax.plot(settings.sides, values, ":x", color=color, label=f"published, {source}")
    ax.axhline(numbers["floor"][name], color="0.5", lw=0.8, label="floor")
    ax.set_xscale("log", base=2)
    ax.set(yscale="log", xlabel="side of the small system", ylabel="error of the mean path")
    ax.legend(frameon=False, fontsize="small")
