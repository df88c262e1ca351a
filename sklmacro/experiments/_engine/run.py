"""Run an experiment and write its result: settings, numbers, arrays and a figure, or nothing.

A result is three files in a folder: `result.json` (every setting, seed, version and time, and the
numbers), `arrays.npz` and `figure.png`. They appear when they are whole: where `result.json` is,
the others belong to it. Other files in the folder are not touched.
"""

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sklmacro._base.checks import check_choice, check_integer
from sklmacro.checkpoint.atomic import (
    as_path,
    atomic_files,
    check_folder,
    is_draft,
    make_folder,
)
from sklmacro.checkpoint.budget import budget_of, parse
from sklmacro.checkpoint.checkpoint import resume
from sklmacro.experiments._engine.stages import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERS, ARRAYS, FIGURE = "result.json", "arrays.npz", "figure.png"
PACKAGES = ("sklmacro", "numpy", "scipy", "scikit-learn", "numba", "torch", "skorch", "joblib")


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
    checkpoint_dir: str | os.PathLike[str] | None = None,
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
        Folder for the result. The three files of an earlier result there are replaced, when the
        new ones are whole; other files stay.
    verbose : bool, default=False
        Show progress. Stages are logged in any case.
    changes : mapping, default=None
        Settings other than those of the preset; of settings within settings, a mapping of those
        that change.
    checkpoint_dir : str or Path, default=None
        Folder in which every piece is saved when it is computed. The same call computes those that
        are missing, with the same result to the last bit.

    Returns
    -------
    result : dict
        What stands in `result.json`.

    Raises
    ------
    ValueError
        If there is no such preset or setting, `out` exists and is not a result, or `checkpoint_dir`
        is of other settings, another preset or seed, or other versions.
    """
    check_choice(preset, "preset", tuple(experiment.presets))
    check_integer(seed, "seed", low=0)
    out = as_path(out)
    _check_out(out)
    settings = _change_settings(experiment.presets[preset], changes or {}, experiment.name)
    plain = _plain(asdict(settings))
    versions = {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}}
    of = {"preset": preset, "seed": seed, "settings": plain, "versions": versions}
    check_folder(out if out.is_dir() else make_folder(Path(os.path.realpath(out)).parent))
    with resume(checkpoint_dir, f"run {experiment.name}", of, seed) as (checkpoint, _):
        run = Run(seed, n_jobs, verbose, checkpoint)
        start = run.clock()
        numbers, arrays = experiment.compute(settings, run)
    result = {
        "experiment": experiment.name,
        "command": f"sklmacro run {experiment.name} --preset {preset} --seed {seed}",
        "changed settings": {name: plain[name] for name in changes or {}},
        "preset": preset,
        "seed": seed,
        "n_jobs": n_jobs,
        "settings": plain,
        "numbers": numbers,
        "seconds": {**run.seconds, "total": run.clock() - start},
        "versions": versions,
    }
    with atomic_files(out, (NUMBERS, ARRAYS, FIGURE)) as drafts:
        drafts[NUMBERS].write_text(json.dumps(result, indent=2, default=_as_python) + "\n")
        with drafts[ARRAYS].open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        figure = experiment.draw(settings, numbers, arrays)
        figure.savefig(drafts[FIGURE], format="png", dpi=150)
    return result


def _check_out(out: Path) -> None:
    """Raise ValueError unless a folder is new or empty, or holds a result, or what is left of one.

    A process that is killed while it replaces a result leaves drafts.
    """
    names = [path.name for path in out.iterdir()] if out.is_dir() else [""] * out.exists()
    left = any(map(is_draft, names)) and NUMBERS not in names
    if names and not left and not _is_result(out / NUMBERS):
        raise ValueError(
            f"Expected out to be a new folder or an earlier result, but got {str(out)!r}, which "
            "holds something else; choose another folder."
        )


def _is_result(path: Path) -> bool:
    """Tell whether a file is the `result.json` of an experiment."""
    try:
        found = parse(path.read_text(encoding="utf-8"), budget_of(path.stat().st_size), nan=True)
        return {"experiment", "settings", "numbers"} <= set(found)
    except (OSError, ValueError, TypeError):
        return False


def _change_settings(settings: Any, changes: Mapping[str, Any], of: str) -> Any:
    """Return settings with some of them changed."""
    known = [f.name for f in fields(settings)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise ValueError(
            f"Expected settings of {of}, but got {', '.join(unknown)}; choose from "
            f"{', '.join(known)}."
        )
    new = dict(changes)
    for name, value in changes.items():
        old = getattr(settings, name)
        if is_dataclass(old) and isinstance(value, Mapping):
            new[name] = _change_settings(old, value, f"{of}: {name}")
        elif is_dataclass(old) and type(value) is not type(old):
            raise ValueError(
                f"Expected {name} of {of} to be a mapping of settings, or {type(old).__name__}, "
                f"but got {value!r}; choose from {', '.join(f.name for f in fields(old))}."
            )
    return replace(settings, **new)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON has them, before anything is computed that could not be written."""
    try:
        return json.loads(json.dumps(settings, default=_as_python))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected settings of numbers, texts and sequences of them, but {error}; change them."
        ) from error


def _as_python(value: Any) -> Any:
    """Return numpy numbers and arrays as plain ones, for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} does not belong in a result")
