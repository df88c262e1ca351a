"""Ising model near its critical point (Sec. III.2, Figs. 5-6): finite-size scaling, from 16x16.

Every size and temperature is learned from equilibrium snapshots of 16x16 with one setting, see
`_magnet`, and held against direct simulation of that size: Wolff clusters, whose law of equilibrium
is that of the Glauber dynamics. T = 2.27 lies above Tc = 2 / ln(1 + sqrt 2) = 2.26919, where the
exponents of Eq. 27 are those of the critical point.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro._base.streams import Stage, stream, stream_seed
from sklmacro.experiments._critical.learning import (
    SMOKE,
    Learning,
    equilibrium_moments,
    fit_ensemble,
    large_snapshots,
    magnetisation,
    moments_along_relaxation,
)
from sklmacro.experiments._critical.statistics import NAMES, criticality
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._truth.wolff import equilibrium_series
from sklmacro.measures.scaling import (
    Estimate,
    binder,
    binder_slope,
    collapse_residual,
    correlation_exponent,
    power_law,
    susceptibility,
    value_at,
)
from sklmacro.plots import ScalingDisplay
from sklmacro.simulators import Ising

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TC = 2 / math.log(1 + math.sqrt(2))  # L. Onsager, Phys. Rev. 65, 117 (1944)
EXACT = {"beta/nu": 0.125, "gamma/nu": 1.75, "nu": 1.0}
PUBLISHED = {"beta/nu": 0.129, "gamma/nu": 1.670, "nu": 0.97}  # Fig. 5, at T = 2.27
AIMS = {"beta/nu": 0.004, "gamma/nu": 0.03, "nu": 0.03}  # from direct simulation
SOURCES = ("method", "direct")


@dataclass(frozen=True)
class Settings:
    """Settings; sides in sites.

    Attributes
    ----------
    temperatures, sides : tuple
        All pairs of them are learned.
    exponents_at, sides_there : tuple
        Temperatures at which exponents are fitted, from parabolas through all temperatures of a
        size, and further sides that are learned there alone.
    n_wolff : int
        States recorded by direct simulation, `side` clusters over 8 apart.
    """

    temperatures: tuple[float, ...] = (2.25, 2.26, 2.27, 2.28, 2.29)
    sides: tuple[int, ...] = (16, 32, 48, 64)
    exponents_at: tuple[float, ...] = (2.27, TC)
    sides_there: tuple[int, ...] = (128,)
    learning: Learning = field(
        default_factory=lambda: Learning(
            n_small=1000, burn_in=4000.0, n_states=2500, state_duration=2.0
        )
    )
    n_wolff: int = 40_000


def _case(temperature: float, side: int, settings: Settings, seed: int) -> dict[str, Any]:
    """Learn one size at one temperature and simulate it directly; return both with errors.

    `seed` is that of the case: with one for all, neighbouring temperatures would share their noise.
    """
    ising, learning = Ising(temperature), settings.learning
    X, upsampling = large_snapshots(ising, side, learning, seed, 1)
    pairs, relaxing = moments_along_relaxation(ising, X, learning, seed, 1)
    pairs = magnetisation(pairs)
    means = equilibrium_moments(fit_ensemble(ising, pairs, learning, seed), pairs).T
    m, m2, m4 = means
    each = np.stack([m, susceptibility(m2, m, side, temperature), binder(m2, m4)], axis=1)
    rng = stream(seed, Stage.ADVANCE)
    series = equilibrium_series(side, temperature, settings.n_wolff, max(side // 8, 4), rng)
    truth = criticality(series, side**2, temperature)
    return {
        "temperature": temperature,
        "side": side,
        "method": each.mean(axis=0),
        "method error": each.std(axis=0, ddof=1),
        "direct": truth.values[:3],
        "direct error": truth.errors[:3],
        "mean |M| of the states": float(np.abs(pairs["z"]).mean()),
        "n_pairs": len(pairs),
        "site updates": upsampling + relaxing,
    }


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Learn and simulate every size and temperature, then fit exponents to both."""
    places = [(t, side) for side in settings.sides for t in settings.temperatures]
    places += [(t, side) for side in settings.sides_there for t in settings.exponents_at]
    places.sort(key=lambda place: -place[1])  # the longest first
    with run.stage("learn, and simulate directly"):
        pieces = {
            f"T = {t:.5f}, L = {L}": (t, L, settings, stream_seed(run.seed, Stage.SPLIT, k))
            for k, (t, L) in enumerate(places)
        }
        cases = run.each(_case, pieces)
    table = {key: np.array([case[key] for case in cases]) for key in cases[0]}
    T, L = table["temperature"], table["side"]
    numbers: dict[str, Any] = {
        "statistics": list(NAMES[:3]),
        "cases": [{k: np.asarray(v).tolist() for k, v in case.items()} for case in cases],
        "site updates": float(table["site updates"].sum()),
        "exact": EXACT,
        "published at T = 2.27": PUBLISHED,
    }
    slopes = {source: _slopes(table, source, settings) for source in SOURCES}
    nu = {source: correlation_exponent(settings.sides, *slopes[source].T) for source in SOURCES}
    numbers["nu"] = _compare(nu, AIMS["nu"])
    for at in settings.exponents_at:
        results = {source: _exponents(table, source, at) for source in SOURCES}
        numbers[f"T = {at:.5f}"] = {
            name: _compare({source: results[source][name] for source in SOURCES}, AIMS[name])
            for name in ("beta/nu", "gamma/nu")
        }
    numbers["collapse residual"] = {}
    for k, name in ((0, "beta/nu"), (1, "gamma/nu")):
        exponent = -EXACT[name] if k == 0 else EXACT[name]
        near = np.isin(L, settings.sides)
        residual = {
            source: collapse_residual(
                T[near], L[near], table[source][near, k], Tc=TC, nu=1.0, exponent=exponent
            ).relative
            for source in SOURCES
        }
        ratio = residual["method"] / residual["direct"]
        numbers["collapse residual"][NAMES[k]] = {
            **residual, "ratio": ratio, "aim": 1.3, "reached": bool(ratio <= 1.3),
        }  # fmt: skip
    arrays = {key.replace(" ", "_"): values for key, values in table.items()}
    return numbers, arrays | {f"slopes_{source}": slopes[source] for source in SOURCES}


def _rows(table: dict[str, np.ndarray], side: int) -> tuple[np.ndarray, int]:
    """Return the rows of one size, and the degree of the polynomial in T through them."""
    here = table["side"] == side
    return here, min(2, int(np.count_nonzero(here)) - 1)


def _slopes(table: dict[str, np.ndarray], source: str, settings: Settings) -> np.ndarray:
    """Return dU/dT at Tc of each size with its error, (n_sides, 2)."""
    rows = []
    for side in settings.sides:
        here, degree = _rows(table, side)
        U, error = table[source][here, 2], table[f"{source} error"][here, 2]
        slope = binder_slope(table["temperature"][here], U, error, Tc=TC, degree=degree)
        rows.append((slope.value, slope.error))
    return np.array(rows)


def _exponents(table: dict[str, np.ndarray], source: str, at: float) -> dict[str, Estimate]:
    """Return beta/nu and gamma/nu from the sizes at one temperature (Eq. 27)."""
    sides = np.unique(table["side"])
    fitted = []
    for k in (0, 1):
        results = []
        for side in sides:
            here, degree = _rows(table, side)
            y, error = table[source][here, k], table[f"{source} error"][here, k]
            results.append(value_at(table["temperature"][here], y, error, at=at, degree=degree))
        values, errors = np.array([(one.value, one.error) for one in results]).T
        fitted.append(power_law(sides, values, errors))
    beta = Estimate(-fitted[0].value, fitted[0].error)
    return {"beta/nu": beta, "gamma/nu": fitted[1]}


def _compare(result: dict[str, Estimate], aim: float) -> dict[str, Any]:
    """Return the method's value beside the direct one, and whether it is within the aim."""
    difference = abs(result["method"].value - result["direct"].value)
    return {
        **{source: asdict(result[source]) for source in SOURCES},
        "difference": difference,
        "aim": aim,
        "reached": bool(difference <= aim),
    }


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw Figs. 5 and 6: powers of L, Binder cumulants and their slopes, and the collapse."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    panels = figure.subplots(2, 3)
    T, L, at = arrays["temperature"], arrays["side"], settings.exponents_at[0]
    here, everywhere = np.equal(T, at), np.isin(L, settings.sides)

    def display(source: str, k: int, rows: np.ndarray) -> ScalingDisplay:
        values, errors = arrays[source][rows, k], arrays[f"{source}_error"][rows, k]
        power = (-EXACT["beta/nu"], EXACT["gamma/nu"], 0.0)[k]
        return ScalingDisplay(T[rows], L[rows], values, errors, Tc=TC, nu=1.0, exponent=power)

    for style, source in enumerate(("method", "direct")):
        look: dict[str, Any] = {"name": source, "style": style}
        for k in (0, 1):
            own = look | {"label": NAMES[k]}
            display(source, k, here).plot(panels[0, k], kind="size", **own)
            display(source, k, everywhere).plot(panels[1, 1 + k], kind="collapse", **own)
        display(source, 2, everywhere).plot(panels[0, 2], label=NAMES[2], **look)
        slope, error = arrays[f"slopes_{source}"].T
        slopes = ScalingDisplay(TC, settings.sides, -slope, error, exponent=1 / EXACT["nu"])
        slopes.plot(panels[1, 0], kind="size", label="-dU/dT at Tc", **look)
    for k in (0, 1):
        ratio = numbers["collapse residual"][NAMES[k]]["ratio"]
        panels[0, k].set_title(f"T = {at:g}, fitted to these points alone")
        panels[1, 1 + k].set_title(f"collapse: residual {ratio:.2g} times that of direct")
    figure.suptitle("Ising model near Tc, learned from 16x16 (method), and simulated (direct)")
    return figure


EXPERIMENT = Experiment(
    name="ising-critical",
    summary="exponents and collapse at the critical point, learned from 16x16 (Figs. 5-6)",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            temperatures=(2.25, 2.29), sides=(8, 16), exponents_at=(2.25,), sides_there=(),
            learning=SMOKE,
            n_wolff=2000,
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
