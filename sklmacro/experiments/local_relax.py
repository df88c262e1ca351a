"""LocalRelax at the critical point: how much of it makes large snapshots physical.

Equilibrium snapshots of 16x16 at T = 2.27 are upsampled to 64x64 and relaxed in several ways. What
the macroscopic dynamics is learned from are states at given M; those are held against directly
simulated ones of 64x64 (Wolff clusters): domain wall density and exact drift of M at given M.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro import HierarchicalUpsampler, LocalRelax
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._critical.learning import Learning, enlargements, small_snapshots
from sklmacro.experiments._engine.run import Experiment, Run
from sklmacro.experiments._spins.protocol import VISITS
from sklmacro.experiments._truth.wolff import equilibrium_snapshots
from sklmacro.measures.fidelity import Fidelity, fidelity
from sklmacro.simulators import Ising

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WALLS, DRIFT = "domain wall density", "d/dt magnetisation"
CONVERGED = "until at rest"


@dataclass(frozen=True)
class Settings:
    """Settings; sides in sites, times in sweeps.

    Attributes
    ----------
    temperature, side : float, int
        Of the large system.
    learning : Learning
        Its `n_small` is the number of snapshots of every kind.
    sweeps : tuple of float
        Sweeps for every site in one pass, on every level of the hierarchy; 0 leaves it out.
    between : int
        Wolff clusters between two directly simulated snapshots.
    """

    temperature: float = 2.27
    side: int = 64
    learning: Learning = field(default_factory=lambda: Learning(n_small=4000))
    sweeps: tuple[float, ...] = (0.0, 4.0, 8.0, 16.0, 32.0)
    between: int = 20


def _upsample(
    ising: Ising, X: np.ndarray, sweeps: float | None, settings: Settings, run: Run
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return large snapshots relaxed for some sweeps a site, or until at rest for None."""
    learning = settings.learning
    passes: tuple[int, ...] = ()
    relaxation = LocalRelax(patch=learning.side_small)
    if sweeps is None:
        relaxation.set_params(duration=learning.relax_duration, n_passes="converged")
    else:
        relaxation.set_params(duration=sweeps / VISITS)
    for i, factor in enumerate(enlargements(learning.side_small, settings.side)):
        upsampler = HierarchicalUpsampler(
            ising,
            factor=factor,
            relaxation=relaxation,
            n_jobs=run.n_jobs,
            random_state=run.seed + 1 + i,
        )
        X = upsampler.fit_transform(X)
        passes += upsampler.n_passes_
    return X, passes


def _truth(settings: Settings, seed: int, half: int) -> np.ndarray:
    """Return directly simulated snapshots (n_small, side, side)."""
    return equilibrium_snapshots(
        settings.side, settings.temperature, settings.learning.n_small, settings.between,
        stream(seed, Stage.ADVANCE, half),
    )  # fmt: skip


def compute(settings: Settings, run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Upsample with more and more relaxation, and compare each with direct simulation."""
    ising, learning = Ising(settings.temperature), settings.learning
    with run.stage("direct simulation"):
        truth, again = (run.once(f"truth {k}", _truth, settings, run.seed, k) for k in range(2))
    with run.stage("simulate small systems"):
        small = run.once("small", small_snapshots, ising, learning, run.seed, run.n_jobs)
    numbers: dict[str, Any] = {"site updates": {}}
    arrays: dict[str, np.ndarray] = {}

    def compare(name: str, X: np.ndarray) -> None:
        result = fidelity(ising, X, truth, parity=True)
        numbers[name] = _differences(result)
        arrays["M"] = result.nodes[:, 0]
        for k, curves in ((result.quantities.index(q), result.curves) for q in (WALLS, DRIFT)):
            arrays[f"{name}: {result.quantities[k]}"] = curves[0, k]
            arrays[f"direct: {result.quantities[k]}"] = curves[1, k]

    compare("direct simulation, other half", again)
    for sweeps in (*settings.sweeps, None):
        name = CONVERGED if sweeps is None else f"{sweeps:g} sweeps a site"
        with run.stage("upsample and relax"):
            X, passes = run.once(name, _upsample, ising, small, sweeps, settings, run)
        with run.stage("compare"):
            compare(name, X)
        if sweeps is None:
            numbers["passes on each level"] = list(passes)
            sweeps = passes[-1] * VISITS * learning.relax_duration
        numbers["site updates"][name] = X.size * sweeps
    reached = all(abs(numbers[CONVERGED][q]["z"]) <= 2 for q in (WALLS, DRIFT))
    numbers["within 2 standard errors at rest"] = reached
    return numbers, arrays


def _differences(result: Fidelity) -> dict[str, Any]:
    """Return the differences of walls and drift at given M from direct simulation."""
    places = {name: result.quantities.index(name) for name in (WALLS, DRIFT)}
    rows: dict[str, Any] = {
        name: {
            "difference": float(result.difference[k]),
            "standard error": float(result.difference_error[k]),
            "z": float(result.z[k]),
        }
        for name, k in places.items()
    }
    return rows | {"p-value of all, structure factors included": result.p_value}


def draw(settings: Settings, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Figure":
    """Draw walls and drift of M at given M, less those of direct simulation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    names = [f"{sweeps:g} sweeps a site" for sweeps in settings.sweeps if sweeps] + [CONVERGED]
    for ax, quantity in zip(panels, (WALLS, DRIFT), strict=True):
        for i, name in enumerate(names):
            difference = arrays[f"{name}: {quantity}"] - arrays[f"direct: {quantity}"]
            ax.plot(arrays["M"], difference, marker="ox^sv*d"[i % 7], color=f"C{i}", label=name)
        error = numbers[CONVERGED][quantity]["standard error"]
        ax.axhspan(-2 * error, 2 * error, color="0.9", zorder=0, label="2 standard errors")
        ax.set(xlabel="|M|", ylabel=f"{quantity}, less direct")
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside right upper")
    small, large = settings.learning.side_small, settings.side
    figure.suptitle(
        f"LocalRelax, {small}x{small} to {large}x{large} at T = {settings.temperature:g}"
    )
    return figure


EXPERIMENT = Experiment(
    name="local-relax",
    summary="upsampled against directly simulated states of the critical Ising model (Alg. 1)",
    presets={
        "paper": Settings(),
        "smoke": Settings(
            temperature=2.6, side=16, sweeps=(0.0, 4.0),
            learning=Learning(side_small=8, n_small=100, equilibration=2.0),
        ),
    },
    compute=compute,
    draw=draw,
)  # fmt: skip
