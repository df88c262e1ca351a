"""Run an experiment and keep its result: settings, numbers, arrays and a figure, or nothing.

A result is a folder with `result.json` (every setting, seed, version and time, and the numbers),
`arrays.npz` and `figure.png`. It is written beside its place and moved there when whole.
"""

import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro._validation import check_choice, check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ("sklmacro", "numpy", "scipy", "scikit-learn", "numba", "torch", "skorch", "joblib")


@dataclass
class Run:
    """What an experiment is given: seed, workers, and a clock for its stages."""

    seed: int
    n_jobs: int
    verbose: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and say that it starts; the seconds of stages of one name add up."""
        if self.verbose:
            print(f"  {name} ...", file=sys.stderr, flush=True)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Experiment:
    """An experiment of the paper.

    Attributes
    ----------
    name, summary : str
    presets : mapping of str to dataclass
        Settings, "smoke" (seconds) and "paper".
    compute : callable
        (settings, run) -> (numbers, arrays).
    draw : callable
        (settings, numbers, arrays) -> matplotlib Figure.
    """

    name: str
    summary: str
    presets: Mapping[str, Any]
    compute: Callable[[Any, Run], tuple[dict[str, Any], dict[str, np.ndarray]]]
    draw: Callable[[Any, dict[str, Any], dict[str, np.ndarray]], "Figure"]


def run_experiment(
    experiment: Experiment,
    *,
    preset: str = "smoke",
    seed: int = 0,
    n_jobs: int = 1,
    out: str | Path,
    verbose: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run an experiment and write its result to the folder `out`.

    Parameters
    ----------
    experiment : Experiment
    preset : str, default="smoke"
    seed : int, default=0
    n_jobs : int, default=1
        Workers; the numbers do not depend on it.
    out : str or Path
        Folder for the result. An earlier result there is replaced, when the new one is whole.
    verbose : bool, default=False
        Show stages and progress.
    changes : mapping, default=None
        Settings other than those of the preset.

    Returns
    -------
    result : dict
        What stands in `result.json`.

    Raises
    ------
    ValueError
        If there is no such preset or setting, or `out` exists and is not a result.
    """
    check_choice(preset, "preset", tuple(experiment.presets))
    check_integer(seed, "seed", low=0)
    out = Path(out)
    if out.exists() and not (out / "result.json").is_file():
        raise ValueError(
            f"Expected out to be a new folder or an earlier result, but got {str(out)!r}, which "
            "holds something else; choose another folder."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    settings, run = _change(experiment, preset, changes or {}), Run(seed, n_jobs, verbose)
    start = time.perf_counter()
    numbers, arrays = experiment.compute(settings, run)
    result = {
        "experiment": experiment.name,
        "command": f"sklmacro run {experiment.name} --preset {preset} --seed {seed}",
        "changed settings": dict(changes or {}),
        "preset": preset,
        "seed": seed,
        "n_jobs": n_jobs,
        "settings": asdict(settings),
        "numbers": numbers,
        "seconds": {**run.seconds, "total": time.perf_counter() - start},
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
    }
    beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        (beside / "result.json").write_text(json.dumps(result, indent=2, default=_plain) + "\n")
        np.savez_compressed(beside / "arrays.npz", allow_pickle=False, **arrays)
        figure = experiment.draw(settings, numbers, arrays)
        figure.savefig(beside / "figure.png", dpi=150)
        if out.exists():
            shutil.rmtree(out)
        beside.chmod(0o755)
        beside.replace(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return result


def _change(experiment: Experiment, preset: str, changes: Mapping[str, Any]) -> Any:
    """Return the settings of a preset with some of them changed."""
    settings = experiment.presets[preset]
    known = [f.name for f in fields(settings)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise ValueError(
            f"Expected settings of {experiment.name}, but got {', '.join(unknown)}; choose from "
            f"{', '.join(known)}."
        )
    return replace(settings, **changes)


def _plain(value: Any) -> Any:
    """Return numpy numbers and arrays as plain ones, for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} does not belong in a result")
