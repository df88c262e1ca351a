"""Theorem 1 and its assumptions, measured (Sec. II.1, Appendices C and E).

Theorem: if patches change independently given x, and the law q of an evolved patch is that of the
patch within the evolved lattice, qhat, up to delta_TV <= C_1 dt^2 (Eq. 16), then the SDE of patches
differs from that of the lattice by O(dt) (Eq. 18), and not at all where q = qhat (Eq. 19).

predator-prey   q = qhat for one step: means, covariances and independence of many replicas.
torus           delta_TV for a small Ising torus from all of its states, exactly: dt^2 for ghost
                cells, dt for a patch closed on itself; and the dependence of two neighbours.
chain           both sides of Eq. 18 for the driven chain, exactly: dt.
Ising           the same for a large lattice near T_c, by replicas coupled to patches apart.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from sklmacro import PartialEvolutionSampler, Patches
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._truth.coupled import coupled_increments, first_order
from sklmacro.experiments._truth.exact_laws import chain_differences, total_variations
from sklmacro.lattice.patches import PatchGrid
from sklmacro.simulators import Ising, LinearChain, PredatorPrey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OBSERVABLES = ("magnetisation", "wall density")
TIMES = 2.0 ** np.arange(-8, 3)  # of the exact laws
SHORT = 2.0**-5  # up to which exact laws are fitted for their power of dt
SLOPES = {  # powers of dt that are to come out; "periodic" is the negative control
    "delta_TV, ghost": 2,
    "delta_TV, periodic": 1,
    "delta_TV, dependence": 2,
    "chain, mu": 1,
    "chain, Sigma, frozen": 1,
    "chain, Sigma, unlike patches": 1,
}
FITTED = 0.5  # up to which measured differences are
TOLERANCE = 0.05  # of the powers of dt


@dataclass(frozen=True)
class Settings:
    """Settings; sizes in cells, times in units of each model."""

    predator_cells: int = 200
    predator_patch: int = 40
    predator_replicas: int = 20_000
    control_replicas: int = 2_000
    control_steps: int = 50
    temperature: float = 2.27
    torus: int = 4
    torus_patch: int = 2
    torus_states: int = 8
    chain_sites: int = 100
    chain_patch: int = 10
    ising_cells: int = 64
    ising_patch: int = 16
    ising_states: int = 8
    ising_age: float = 20.0
    ising_times: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
    ising_attempts: float = 2e7


def _chi_square(z: np.ndarray) -> dict[str, float]:
    """Return the mean of z^2, 1 where theory holds, and how probable as large a one is."""
    total = float(np.sum(z**2))
    return {"mean z^2": total / z.size, "p": float(stats.chi2.sf(total, z.size)), "n": z.size}


def _replicas(
    spde: PredatorPrey, x: np.ndarray, settings: Settings, n: int, n_steps: int, run: Run
) -> tuple[np.ndarray, np.ndarray]:
    """Return patches (n, K, 2 cells) of evolved lattices, and patches evolved by themselves."""
    X, K = np.repeat(x[np.newaxis], n, axis=0), len(x) // settings.predator_patch
    whole, _ = spde.advance(X, n_events=n_steps, random_state=run.seed, n_jobs=run.n_jobs)
    sampler = PartialEvolutionSampler(
        spde,
        patch=Patches(settings.predator_patch, n_evolved=K),
        dt=n_steps * spde.step,
        random_state=run.seed + 1,
        n_jobs=run.n_jobs,
    )
    pairs = sampler.fit_transform(X)
    order = np.argsort(pairs["origin"][..., 0], axis=1)
    apart = np.take_along_axis(pairs["x_next"], order[..., np.newaxis, np.newaxis], axis=1)
    return whole.reshape(n, K, -1), apart.reshape(n, K, -1)


def _predator_prey(settings: Settings, run: Run) -> dict[str, Any]:
    """Compare laws of patches after one step, and after many as a control."""
    spde, n = PredatorPrey(), settings.predator_replicas
    x = spde.sample_initial(1, settings.predator_cells, random_state=run.seed)
    x = spde.advance(x, duration=5.0, random_state=run.seed)[0][0]
    whole, apart = _replicas(spde, x, settings, n, 1, run)
    lattice = spde.lattice(x.shape)
    drift, noise = spde.one_step(x, lattice, lattice.full_window)
    exact = (x + drift * spde.step).reshape(whole.shape[1:])
    variance = (noise**2 * spde.step).reshape(exact.shape)  # Appendix E: independent, per cell

    def covariance_z(patches: np.ndarray) -> np.ndarray:
        centred = (patches - patches.mean(axis=0)) / np.sqrt(variance)
        C = np.einsum("nka,nkb->kab", centred, centred, optimize=True) / (n - 1)
        d = C.shape[1]
        z = (C - np.eye(d)) * np.sqrt(n / (1 + np.eye(d)))
        return z[:, *np.tril_indices(d)]

    means = np.sqrt(n / variance)
    steps = (whole - x.reshape(exact.shape)).reshape(n, len(whole[0]), -1, 2).mean(axis=2)
    K = steps.shape[1]
    r = np.corrcoef(steps.reshape(n, -1), rowvar=False).reshape(K, 2, K, 2)
    first, second = np.triu_indices(K, 1)
    own = (apart - x.reshape(exact.shape)).reshape(n, K, -1, 2).mean(axis=2).var(axis=0, ddof=1)
    lam = own.mean(axis=0) / steps.mean(axis=1).var(axis=0, ddof=1)
    # delta method: the K patches' variances are independent
    error = lam * np.sqrt(2 / n * (1 + 1 / K))
    m = settings.control_replicas
    late, late_apart = _replicas(spde, x, settings, m, settings.control_steps, run)
    off = (late.mean(axis=0) - late_apart.mean(axis=0)) / np.sqrt(
        (late.var(axis=0) + late_apart.var(axis=0)) / m
    )
    of_apart, of_whole = apart.mean(axis=0) - exact, whole.mean(axis=0) - exact
    return {
        "mean of evolved patches, against theory": _chi_square(of_apart * means),
        "mean within the lattice, against theory": _chi_square(of_whole * means),
        "mean, one against the other": _chi_square((of_apart - of_whole) * means / np.sqrt(2)),
        "covariance of evolved patches, against theory": _chi_square(covariance_z(apart)),
        "covariance within the lattice, against theory": _chi_square(covariance_z(whole)),
        "correlation of disjoint patches": _chi_square(
            r.transpose(0, 2, 1, 3)[first, second] * np.sqrt(n)
        ),
        "control: means after many steps": _chi_square(off),
        "K": K,
        "Sigma with lam = 1, over Sigma*": {"measured": lam, "standard error": error},
        "Sigma with lam = K, over Sigma*": {"measured": lam / K, "standard error": error / K},
    }


def _slope(times: np.ndarray, values: np.ndarray) -> float:
    """Return the power of dt of exact values at short times."""
    short = times <= SHORT
    return float(np.polyfit(np.log(times[short]), np.log(np.abs(values[short])), 1)[0])


def _exact(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the powers of dt of exact laws, and the curves."""
    ising = Ising(temperature=settings.temperature)
    X = ising.sample_initial(settings.torus_states, settings.torus, random_state=run.seed)
    results = [total_variations(ising, x, settings.torus_patch, TIMES) for x in X]
    chain = chain_differences(LinearChain(), settings.chain_sites, settings.chain_patch, TIMES)
    # Eq. 16 asks for a bound for every x: the largest distance counts
    curves = {f"delta_TV, {k}": np.max([f[k] for f in results], axis=0) for k in results[0]}
    curves |= {
        "chain, mu": chain["mu difference"],
        "chain, Sigma, frozen": chain["Sigma difference, frozen"],
        "chain, Sigma, unlike patches": chain["Sigma difference, unlike patches"],
    }
    numbers: dict[str, Any] = {
        name: {
            "power of dt": _slope(TIMES, values),
            "expected": SLOPES[name],
            "over that power of dt at the shortest": values[0] / TIMES[0] ** SLOPES[name],
        }
        for name, values in curves.items()
    }
    total = curves["chain, Sigma, frozen"] + curves["chain, Sigma, unlike patches"]
    numbers["chain at dt = 0.0625, relative"] = {
        "mu, over its root mean square": (chain["mu difference"] / chain["mu"])[4],
        "Sigma": (total / chain["Sigma"])[4],
    }
    return numbers, {f"exact {name}": values for name, values in curves.items()}


def _ising(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return differences between patches apart and the lattice, with errors, and their powers."""
    ising, L, n_states = Ising(settings.temperature), settings.ising_cells, settings.ising_states
    times = np.array(settings.ising_times)
    X = ising.sample_initial(n_states, L, random_state=run.seed)
    X = ising.advance(X, duration=settings.ising_age, random_state=run.seed, n_jobs=run.n_jobs)[0]
    grid = PatchGrid(ising.lattice(X.shape[1:]), (settings.ising_patch,) * 2)
    K, shape = grid.n_patches, (len(times), n_states, 2)
    limits = np.array([first_order(ising, x, grid) for x in X])
    mu, mu_error, S, S_error, unlike, frozen, frozen_error, lam = np.empty((8, *shape))
    for i, t in enumerate(times):
        n = max(20, round(settings.ising_attempts / (t * L * L)))
        for k, x in enumerate(X):
            rng = stream(run.seed, Stage.EVOLVE, i * n_states + k)
            joint, apart = coupled_increments(ising, x, grid, t, n, rng)
            off, mean = apart.mean(axis=1) - joint, apart.mean(axis=1) + joint
            mu[i, k], mu_error[i, k] = off.mean(axis=0) / t, off.std(axis=0, ddof=1) / n**0.5 / t
            # Var(apart) - Var(joint) = Cov(apart - joint, apart + joint)
            product = (off - off.mean(axis=0)) * (mean - mean.mean(axis=0))
            Sigma, own = joint.var(axis=0, ddof=1), apart.var(axis=0, ddof=1).mean(axis=0)
            frozen[i, k] = product.mean(axis=0) / Sigma
            frozen_error[i, k] = product.std(axis=0) / n**0.5 / Sigma
            centres = apart.mean(axis=0).var(axis=0) - (1 - 1 / K) * own / n
            unlike[i, k] = centres / K / Sigma
            S[i, k], S_error[i, k] = frozen[i, k] + unlike[i, k], frozen_error[i, k]
            lam[i, k] = own / Sigma
    arrays = {
        "ising times": times, "ising mu": mu, "ising mu error": mu_error, "ising Sigma": S,
        "ising Sigma error": S_error, "ising limits": limits,
    }  # fmt: skip
    numbers: dict[str, Any] = {}
    for o, name in enumerate(OBSERVABLES):
        size, error = _rms(mu[..., o], mu_error[..., o])
        short = times <= FITTED
        part = frozen[..., o].mean(axis=1)
        part_error = np.sqrt(np.mean(frozen_error[..., o] ** 2, axis=1) / n_states)
        numbers[name] = {
            "dt": times,
            "mu_dagger - mu*, rms over states": size,
            "its standard error": error,
            f"its power of dt up to {FITTED:g}": _weighted_slope(
                times[short], size[short], error[short]
            ),
            "limit of the difference over dt, exact, rms": float(
                np.sqrt(np.mean(limits[:, o] ** 2))
            ),
            "limit from replicas against exact": _chi_square(
                _limit_z(times[short], mu[short, :, o], mu_error[short, :, o], limits[:, o])
            ),
            "Sigma_dagger / Sigma* - 1": S[..., o].mean(axis=1),
            "from frozen neighbours": part,
            "from unlike patches": unlike[..., o].mean(axis=1),
            "error from frozen neighbours": part_error,
            "power of dt of the part from frozen neighbours": _weighted_slope(
                times[short], -part[short], part_error[short]
            ),
            "Sigma with lam = 1, over Sigma*": lam[..., o].mean(axis=1),
        }
    numbers["K"] = K
    return numbers, arrays


def _rms(values: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the root mean square over states, less the noise's part, and its error."""
    square = np.mean(values**2 - errors**2, axis=1)
    size = np.sqrt(np.maximum(square, 0.0))
    noise = np.sqrt(np.sum(4 * values**2 * errors**2, axis=1)) / values.shape[1]
    return size, noise / (2 * np.maximum(size, np.sqrt(np.mean(errors**2, axis=1))))


def _weighted_slope(times: np.ndarray, values: np.ndarray, errors: np.ndarray) -> dict[str, float]:
    """Return the power of dt of measured values, with its standard error."""
    seen = values > 0
    if seen.sum() < 2:
        return {"value": np.nan, "standard error": np.nan}
    x, y, w = np.log(times[seen]), np.log(values[seen]), (values[seen] / errors[seen]) ** 2
    x = x - np.sum(w * x) / w.sum()
    scale = np.sum(w * x * x)
    return {"value": float(np.sum(w * x * y) / scale), "standard error": float(scale**-0.5)}


def _limit_z(
    times: np.ndarray, values: np.ndarray, errors: np.ndarray, limits: np.ndarray
) -> np.ndarray:
    """Return z of the limit of values / dt as dt -> 0, by a parabola, state by state."""
    design = np.vander(times, 3)
    z = []
    for value, error, limit in zip(values.T, errors.T, limits, strict=True):
        rows = design * (times / error)[:, np.newaxis]
        inverse = np.linalg.inv(rows.T @ rows)
        z.append(((inverse @ rows.T @ (value / error))[2] - limit) / np.sqrt(inverse[2, 2]))
    return np.array(z)


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Check the assumptions and measure the rates."""
    with run.stage("predator-prey: laws after one step"):
        predator = run.once("predator-prey", _predator_prey, settings, run)
    with run.stage("exact laws of torus and chain"):
        exact, curves = run.once("exact laws", _exact, settings, run)
    with run.stage("Ising: coupled replicas"):
        ising, arrays = run.once("Ising", _ising, settings, run)
    numbers: dict[str, Any] = {"predator-prey": predator, "exact laws": exact, "Ising": ising}
    numbers["aim"] = {
        f"{name}: dt^{power}": {
            "power of dt": exact[name]["power of dt"],
            "reached": abs(exact[name]["power of dt"] - power) <= TOLERANCE,
        }
        for name, power in SLOPES.items()
    } | {
        f"predator-prey, {name}": {"p": value["p"], "reached": value["p"] > 0.001}
        for name, value in predator.items()
        if isinstance(value, dict) and "p" in value and not name.startswith("control")
    }
    cells, s = settings.predator_cells, settings
    numbers["site updates"] = {
        "predator-prey": 2 * cells * (s.predator_replicas + s.control_replicas * s.control_steps),
        "Ising": int(2 * s.ising_attempts * s.ising_states * len(s.ising_times)),
    }
    return numbers, {"times": TIMES, **curves, **arrays}


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw the assumption (Eq. 16) and both sides of Eq. 18 against dt."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    t = arrays["times"]

    def guide(ax: Any, power: int, start: float) -> None:
        """Draw a power of dt for comparison."""
        ax.plot(t[:8], start * (t[:8] / t[0]) ** power, ":", color="0.4", lw=1)
        ax.annotate(f"dt$^{power}$", (t[6], 0.35 * start * (t[6] / t[0]) ** power), color="0.3")

    names = {"ghost": "ghost cells", "periodic": "patch closed on itself"}
    names["dependence"] = "dependence of neighbours"
    for k, (name, label) in enumerate(names.items()):
        values = arrays[f"exact delta_TV, {name}"]
        panels[0].plot(t, values, "os^"[k] + "-", color=f"C{k}", ms=3, lw=1, label=label)
        if name != "dependence":
            guide(panels[0], SLOPES[f"delta_TV, {name}"], 0.5 * values[0])
    panels[0].set(title="assumptions, exact", ylabel="total variation distance")
    labels = {"mu": "drift", "Sigma, frozen": "diffusion: frozen neighbours"}
    labels["Sigma, unlike patches"] = "diffusion: unlike patches"
    for k, (name, label) in enumerate(labels.items()):
        values = np.abs(arrays[f"exact chain, {name}"])
        panels[1].plot(t, values, "os^"[k] + "-", color=f"C{k}", ms=3, lw=1, label=label)
    guide(panels[1], 1, 0.4 * arrays["exact chain, Sigma, unlike patches"][0])
    panels[1].set(title="linear chain, exact", ylabel="|patches - lattice|", ylim=(1e-6, 0.1))
    times = arrays["ising times"]
    for o, name in enumerate(OBSERVABLES):
        size, error = _rms(arrays["ising mu"][..., o], arrays["ising mu error"][..., o])
        limit = np.sqrt(np.mean(arrays["ising limits"][:, o] ** 2))
        panels[2].errorbar(times, size, error, fmt="os"[o], color=f"C{o}", ms=4, label=name)
        panels[2].plot(times, limit * times, "-", color=f"C{o}", lw=1)
    panels[2].set(title="Ising: drift; lines: exact dt -> 0", ylabel="|patches - lattice|")
    for ax in panels:
        ax.set(xscale="log", yscale="log", xlabel="dt")
        ax.minorticks_off()
    panels[2].set_xticks(times, [f"{time:g}" for time in times], fontsize=7)
    for ax in panels:
        ax.legend(frameon=False, fontsize=8, loc=("upper left", "lower right")[ax is panels[0]])
    return figure


EXPERIMENT = Experiment(
    name="theorem-1",
    summary="assumptions of Theorem 1 and its rates in dt, exact and measured",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            predator_cells=20, predator_patch=5, predator_replicas=500, control_replicas=100,
            control_steps=20, torus_states=1, chain_sites=20, chain_patch=5, ising_cells=16,
            ising_patch=8, ising_states=2, ising_age=2.0, ising_attempts=1e5,
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
