"""Predator-prey SPDE (Sec. III.1, Fig. 2): the lam at which fluctuations come out right.

Snapshots of 100 cells are interpolated to 200, one patch of 40 is taken of each, and the SDE is
learned with several lam. Theorem 1 holds exactly here, so that the spread of predicted paths has
to be right at lam = K = 5. A fit depends on lam through Sigma / lam alone, hence every lam has the
same drift.

Increments enter by their moments as dt -> 0. Means differ from patch to patch, and so does their
drift: sampled increments count that as noise, 2 % of the variance for u and 7 % for v at dt = 0.01.
The encoder is linear, since the amplitudes of two waves are all that has to be known, and the drift
is quadratic in them, as the reactions are.

What a patch has to itself stays as noise in the drift, and sets the mean path off; that in turn
moves the minimum of the MMD to smaller lam, since wider predictions then overlap more. Moments of
all K patches, for every K-th snapshot, have no such noise; theory then says lam = K / p = 1, and
the scan is over lam p. Interpolation, too, moves the mean path: it halves the noise of every other
cell, and the mean drift depends on products of fields. Two more ways to get snapshots stand beside:
with LocalRelax (Algorithm 1), from one step to 5, twice the time 1 / b in which the prey forgets,
and snapshots of the large system itself.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro import (
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    Patches,
    PatchSDERegressor,
    Polynomial,
    Training,
)
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.measures.paths import mean_mmd2, std_ratio
from sklmacro.simulators import PredatorPrey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AMPLITUDES, MEANS = (0.05, 0.10, 0.15), (0.45, 0.50, 0.55)  # the nine test sets
PUBLISHED = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0)  # values of lam in Fig. 2; the MMD is least at 5
AIM = 0.03  # of the ratio of standard deviations at lam = K
NEAR = 1.25  # factor on either side of K within which the minimum of the MMD is sought
SNAPSHOTS = ("interpolated", "relaxed", "of the large system")
N_BOOTSTRAP = 1000


@dataclass(frozen=True)
class Settings:
    """Settings; sizes in cells, times in units of the model."""

    n_small: int = 100
    n_large: int = 200
    patch: int = 40
    n_trajectories: int = 50
    duration: float = 30.0
    snapshot_interval: float = 0.1
    relax_duration: tuple[float, float] = (0.01, 5.0)
    dt: float = 0.01
    n_closure: int = 2
    closure_epochs: int = 10
    degree: int = 2
    lams: tuple[float, ...] = (1.0, 2.5, 4.0, 5.0, 6.25, 10.0, 15.0, 20.0)
    lams_all: tuple[float, ...] = (4.0, 5.0, 6.25)  # with all patches, times their number
    n_paths: int = 300
    score_interval: float = 0.5
    n_seeds: int = 5


def _snapshots(settings: Settings, how: str, seed: int, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return large snapshots (n, n_large, 2) made in one of the ways of SNAPSHOTS, and groups."""
    spde, s = PredatorPrey(), settings
    common: dict[str, Any] = {"random_state": seed, "verbose": run.verbose, "n_jobs": run.n_jobs}
    n = s.n_large if how == "of the large system" else s.n_small
    with run.stage("simulate snapshots"):
        times = np.arange(0.0, s.duration, s.snapshot_interval)
        X = spde.sample_initial(s.n_trajectories, n, random_state=seed)
        X = spde.simulate(X, times, **common)
        groups = np.repeat(np.arange(s.n_trajectories), len(times))
        X = X.reshape(-1, *X.shape[2:])
    if n < s.n_large:
        relax = s.relax_duration if how == "relaxed" else None
        with run.stage(f"upsample: {how}"):
            X = HierarchicalUpsampler(
                spde, factor=s.n_large // n, relaxation=LocalRelax(duration=relax), **common
            ).fit_transform(X)
    return X, groups


class _Learned:
    """Encoder and latent pairs from p patches of every p-th large snapshot: a fixed number.

    Attributes
    ----------
    closure : PatchAutoencoder
    latent : structured ndarray
    p : int
    """

    def __init__(
        self,
        settings: Settings,
        snapshots: tuple[np.ndarray, np.ndarray],
        p: int,
        seed: int,
        run: Run,
    ):
        spde, self.p = PredatorPrey(), p
        common: dict[str, Any] = {"random_state": seed, "verbose": run.verbose}
        with run.stage("moments and closures"):
            sampler = PartialEvolutionSampler(
                spde,
                patch=Patches(settings.patch, n_evolved=p),
                moments=True,
                dt=settings.dt,
                n_jobs=run.n_jobs,
                **common,
            )
            self.closure = PatchAutoencoder(
                spde, n_closure=settings.n_closure,
                encoder=PatchEncoder(hidden=()),
                training=Training(max_epochs=settings.closure_epochs, lr=5e-3), **common,
            )  # fmt: skip
            X, groups = (part[::p] for part in snapshots)
            pairs = sampler.fit(X).transform(X, groups)
            self.latent = self.closure.fit_transform(pairs)


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


def _predict(
    settings: Settings, learned: _Learned, lam: float, starts: np.ndarray, seed: int, run: Run
) -> np.ndarray:
    """Return paths of the observables (9, n_paths, n_times, 2); theory says K for `lam`."""
    with run.stage("fit and simulate the SDE"):
        sde = PatchSDERegressor(
            drift_model=Polynomial(settings.degree),
            diffusion_model="constant",
            lam=lam / learned.p,
        ).fit(learned.latent)
        P = sde.simulate(
            learned.closure.transform(starts), round(settings.duration / settings.dt), settings.dt,
            n_paths=settings.n_paths, random_state=seed,
            store_every=round(settings.score_interval / settings.dt),
        )[..., :2]  # fmt: skip
    return P.reshape(len(starts), settings.n_paths, *P.shape[1:])


def _mean_error(P: np.ndarray, Q: np.ndarray) -> tuple[float, float]:
    """Return the squared error of the mean path in true variances, and what noise adds to it."""
    truth = Q.var(axis=0, ddof=1).mean(axis=0)
    noise = (P.var(axis=0, ddof=1) / len(P) + Q.var(axis=0, ddof=1) / len(Q)) / truth
    return (
        float(np.mean((P.mean(axis=0) - Q.mean(axis=0)) ** 2 / truth)),
        float(noise.mean()),
    )


def _scores(P: np.ndarray, truth: list[np.ndarray], run: Run) -> dict[str, np.ndarray]:
    """Return every measure for each of the nine sets (9,)."""
    with run.stage("score"):
        pairs = list(zip(P, truth, strict=True))
        errors = np.array([_mean_error(p, q) for p, q in pairs])
        return {
            "mmd2": np.array([mean_mmd2(p, q, n_jobs=run.n_jobs) for p, q in pairs]),
            "mmd2_published": np.array(
                [mean_mmd2(p, q, scale=None, biased=True, n_jobs=run.n_jobs) for p, q in pairs]
            ),
            "std_ratio": np.array([std_ratio(p, q).mean() for p, q in pairs]),
            "mean_error2": errors[:, 0],
            "mean_noise2": errors[:, 1],
        }


def _crossing(lams: np.ndarray, ratios: np.ndarray) -> float:
    """Return the lam at which the ratio of standard deviations, falling as lam^-1/2, is 1."""
    return float(np.exp(np.interp(0.0, -np.log(ratios), np.log(lams))))


def _minimum(lams: np.ndarray, values: np.ndarray, K: int) -> float:
    """Return where a parabola in log lam through values near K is least; NaN where it is not."""
    near = (lams >= K / NEAR / 1.001) & (lams <= K * NEAR * 1.001)
    if near.sum() < 3:
        return np.nan
    curve, slope, _ = np.polyfit(np.log(lams[near]), values[near], 2)
    return float(np.exp(-slope / (2 * curve))) if curve > 0 else np.nan


def _least_mmd(lams: np.ndarray, values: np.ndarray, K: int, run: Run) -> dict[str, Any]:
    """Return the minimum of values (seeds, lams, sets), with an interval from other sets and seeds.

    Sets have truths of their own, and are drawn anew with replacement; so are seeds.
    """
    rng = stream(run.seed, Stage.BOOTSTRAP)
    n_seeds, _, n_sets = values.shape
    drawn = []
    for _ in range(N_BOOTSTRAP):
        seeds, sets = rng.integers(n_seeds, size=n_seeds), rng.integers(n_sets, size=n_sets)
        drawn.append(_minimum(lams, values[seeds][:, :, sets].mean(axis=(0, 2)), K))
    seen = np.array(drawn)[~np.isnan(drawn)]
    return {
        "value": _minimum(lams, values.mean(axis=(0, 2)), K),
        "95 % interval": np.percentile(seen, (2.5, 97.5)) if len(seen) else [np.nan, np.nan],
        "without a minimum": 1 - len(seen) / N_BOOTSTRAP,
    }


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scan lam over several seeds; compare ways to get snapshots with the first."""
    with run.stage("simulate the large system (truth)"):
        starts, truth = run.once("truth", _test_sets, settings, run)
        half = settings.n_paths // 2
        floor = np.mean([mean_mmd2(q[:half], q[half:]) for q in truth])
    K = settings.n_large // settings.patch
    scans = {"one patch": (1, settings.lams), "all patches": (K, settings.lams_all)}
    seeds = range(run.seed, run.seed + settings.n_seeds)
    results = [
        run.once(f"seed {seed}", _of_seed, settings, scans, starts, truth, seed, run)
        for seed in seeds
    ]
    ways = {
        f"{how}, first seed": run.once(how, _of_way, settings, how, starts, truth, run)
        for how in SNAPSHOTS[1:]
    }
    numbers: dict[str, Any] = {
        "K": K,
        "published": {"lam of smallest MMD": 5.0, "values of lam": PUBLISHED, "seeds": 1},
        "squared MMD of one half of the truth against the other": floor,
    }
    arrays: dict[str, np.ndarray] = {}
    aims: dict[str, Any] = {}
    for case, (_, lams) in scans.items():
        names = results[0][case]
        scores = {name: np.array([one[case][name] for one in results]) for name in names}
        numbers[case], aim = _summary(np.array(lams), scores, K, run)
        aims |= {f"{case}: {name}": value for name, value in aim.items()}
        arrays |= {f"{case}, {name}": values for name, values in scores.items()}
        arrays[f"{case}, lams"] = np.array(lams)
    numbers["all patches"]["error of the mean path, other snapshots"] = {
        how: _errors(scores["mean_error2"], scores["mean_noise2"]) for how, scores in ways.items()
    }
    return numbers | {"aim": aims, "site updates": _site_updates(settings)}, arrays


def _of_seed(
    settings: Settings,
    scans: dict[str, tuple[int, tuple[float, ...]]],
    starts: np.ndarray,
    truth: list[np.ndarray],
    seed: int,
    run: Run,
) -> dict[str, dict[str, np.ndarray]]:
    """Return every measure (n_lams, 9) of each scan."""
    snapshots, results = _snapshots(settings, SNAPSHOTS[0], seed, run), {}
    for case, (p, lams) in scans.items():
        learned = _Learned(settings, snapshots, p, seed, run)
        rows = [
            _scores(_predict(settings, learned, lam, starts, seed, run), truth, run) for lam in lams
        ]
        results[case] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return results


def _of_way(
    settings: Settings, how: str, starts: np.ndarray, truth: list[np.ndarray], run: Run
) -> dict[str, np.ndarray]:
    """Return every measure (9,) with moments of all patches of snapshots made in another way."""
    K = settings.n_large // settings.patch
    snapshots = _snapshots(settings, how, run.seed, run)
    learned = _Learned(settings, snapshots, K, run.seed, run)
    return _scores(_predict(settings, learned, K, starts, run.seed, run), truth, run)


def _summary(
    lams: np.ndarray, scores: dict[str, np.ndarray], K: int, run: Run
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what scores (n_seeds, n_lams, 9) say, and what became of the aims."""
    means = {name: values.mean(axis=2) for name, values in scores.items()}
    at_K = int(np.argmin(np.abs(lams - K)))
    rows = np.isin(lams, (*PUBLISHED, lams[0], lams[-1]))
    least = lams[rows][np.argmin(means["mmd2"][:, rows], axis=1)]
    crossing, ratio = np.array([_crossing(lams, r) for r in means["std_ratio"]]), means["std_ratio"]
    numbers = {
        "lam of smallest MMD, seed by seed": lams[np.argmin(means["mmd2"], axis=1)],
        "lam of smallest MMD, parabola": _least_mmd(lams, scores["mmd2"], K, run),
        "lam where the std ratio crosses 1": {**_mean(crossing), "seed by seed": crossing},
        "per lam": {
            f"{lam:g}": {
                "squared MMD": _mean(means["mmd2"][:, i]),
                "squared MMD, published kernel widths": _mean(means["mmd2_published"][:, i]),
                "std ratio": _mean(ratio[:, i]),
            }
            for i, lam in enumerate(lams)
        },
        "error of the mean path in standard deviations": _errors(
            scores["mean_error2"][:, at_K], scores["mean_noise2"][:, at_K]
        ),
    }
    aims = {
        f"smallest MMD at lam = K in every seed, of {lams[rows].tolist()}": {
            "lam": least,
            "reached": bool((least == K).all()),
        },
        f"std ratio at lam = K within {AIM:g} of 1 in every seed": {
            **_mean(ratio[:, at_K]),
            "seed by seed": ratio[:, at_K],
            "reached": bool((np.abs(ratio[:, at_K] - 1) <= AIM).all()),
        },
    }
    return numbers, aims


def _mean(values: np.ndarray) -> dict[str, float]:
    """Return mean and standard error over seeds."""
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return {"mean": values.mean(), "standard error": spread / np.sqrt(len(values))}


def _errors(square: np.ndarray, noise: np.ndarray) -> dict[str, float]:
    """Return root mean squares over the sets (and seeds): as it is, and without noise."""
    return {
        "measured": np.sqrt(square.mean()),
        "from the noise of finite samples": np.sqrt(noise.mean()),
        "without it": np.sqrt(max((square - noise).mean(), 0.0)),
    }


def _site_updates(settings: Settings) -> dict[str, int]:
    """Return the time steps of cells, and cells whose drift is evaluated; for all seeds."""
    s = settings
    steps = round(s.duration / s.dt)
    snapshots = s.n_trajectories * round(s.duration / s.snapshot_interval) * s.n_seeds
    return {
        "small snapshots": s.n_trajectories * s.n_small * steps * s.n_seeds,
        "moments": 2 * snapshots * s.patch,
        "truth": len(AMPLITUDES) * len(MEANS) * s.n_paths * s.n_large * steps,
    }


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw MMD and ratio of standard deviations against lam, seed by seed and mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    K, lams = numbers["K"], arrays["one patch, lams"]
    labels = (("mmd2", "squared MMD of the observables"), ("std_ratio", "predicted / true std"))
    for ax, (name, label) in zip(panels, labels, strict=True):
        for k, case in enumerate(("one patch", "all patches")):
            values = arrays[f"{case}, {name}"].mean(axis=2)
            x, color = arrays[f"{case}, lams"], f"C{k}"
            for row in values:
                ax.plot(x, row, "-", color=color, alpha=0.3, lw=1)
            ax.plot(x, values.mean(axis=0), "os"[k] + "-", color=color, ms=4, label=case)
        ax.axvline(K, color="0.4", ls="--", lw=1, label=f"K = {K}")
        ax.set(xscale="log", yscale="log", xlabel="lam times patches evolved", ylabel=label)
        ax.set_xticks(lams, [f"{lam:g}" for lam in lams], fontsize=8)
        ax.minorticks_off()
    panels[0].set_yscale("symlog", linthresh=0.005)
    ticks = (0, 0.002, 0.005, 0.01, 0.02, 0.05), (0.5, 0.7, 1.0, 1.5, 2.0)
    for ax, values in zip(panels, ticks, strict=True):
        ax.set_yticks(values, [f"{value:g}" for value in values])
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
            n_trajectories=4, duration=2.0, relax_duration=(0.01, 0.1), closure_epochs=2, degree=1,
            lams=(4.0, 5.0, 6.25), n_paths=20, n_seeds=1,
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
