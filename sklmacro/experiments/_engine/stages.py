"""Stages and pieces of an experiment: a stage is a part of its time, a piece a part of its result.

A piece is computed once. With a checkpoint it is kept as soon as it is there, and whoever takes up
the experiment takes it from there, with the time that it took: stages and total are those of a run
in one go. Of pieces that n workers compute side by side, each counts one n-th of its time.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from tqdm.auto import tqdm

from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.experiments._engine.pieces import pack, unpack

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """What an experiment is given: seed, workers, and what keeps its time and its pieces.

    Attributes
    ----------
    seed, n_jobs : int
    verbose : bool
        Show progress.
    checkpoint : Checkpoint or None
        Where pieces are kept.
    seconds : dict of str to float
        Of the stages that are over.
    """

    seed: int
    n_jobs: int
    verbose: bool
    checkpoint: Checkpoint | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _taken: float = 0.0  # seconds of pieces that were taken from the checkpoint

    def clock(self) -> float:
        """Return the time in seconds; it has gone on while pieces were computed earlier."""
        return time.perf_counter() + self._taken

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and log that it starts; the seconds of stages of one name add up."""
        logger.info("  %s ...", name)
        start = self.clock()
        yield
        self._add(name, self.clock() - start)

    def once(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Return `function(*args)`, computed or taken from the checkpoint.

        Parameters
        ----------
        name : str
            Of the piece, unlike all others of the experiment.
        function : callable
            What it returns follows from settings and seed; see `_pieces`. It may have stages.
        """
        self._claim(name)
        found = self._find(name)
        if found is None:
            before = dict(self.seconds)
            arrays, state = _compute(function, args, self.clock)
            state["stages"] = {
                stage: seconds - before.get(stage, 0.0)
                for stage, seconds in self.seconds.items()
                if seconds != before.get(stage)
            }
            _keep(self.checkpoint, name, arrays, state)
        else:
            arrays, state = found
            for stage, seconds in state["stages"].items():
                self._add(stage, seconds)
        return unpack(arrays, state["value"])

    def each(self, function: Callable[..., Any], pieces: Mapping[str, tuple]) -> list[Any]:
        """Return `function(*args)` of every piece, side by side in `n_jobs` processes.

        Parameters
        ----------
        function : callable
            As in `once`, but without stages.
        pieces : mapping of str to tuple
            Names and arguments.
        """
        found = {}
        for name in pieces:
            self._claim(name)
            if (kept := self._find(name)) is not None:
                found[name] = kept
        missing = [name for name in pieces if name not in found]
        jobs = Parallel(n_jobs=self.n_jobs, return_as="generator")
        share = 1 / effective_n_jobs(self.n_jobs)
        results = jobs(
            delayed(_compute_and_keep)(self.checkpoint, name, function, pieces[name], share)
            for name in missing
        )
        hidden = not self.verbose
        with tqdm(total=len(pieces), initial=len(found), disable=hidden, leave=False) as bar:
            for name, result in zip(missing, results, strict=True):
                found[name] = result
                bar.update()
        return [unpack(found[name][0], found[name][1]["value"]) for name in pieces]

    def _add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def _claim(self, name: str) -> None:
        """Refuse a name that another piece has."""
        if name in self._names:
            raise ValueError(
                f"Expected pieces of unlike names, but got two of {name!r}; rename one."
            )
        self._names.add(name)

    def _find(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Take a piece from the checkpoint, and have the clock go on by its time."""
        found = None if self.checkpoint is None else self.checkpoint.part(name)
        if found is not None:
            logger.info("    %s: from the checkpoint", name)
            self._taken += found[1]["seconds"]
        return found


def _compute(
    function: Callable[..., Any], args: tuple, clock: Callable[[], float], share: float = 1.0
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and state of a piece; `share` of its time is its own."""
    start = clock()
    arrays, value = pack(function(*args))
    return arrays, {"value": value, "seconds": share * (clock() - start)}


def _keep(
    checkpoint: Checkpoint | None, name: str, arrays: dict[str, np.ndarray], state: dict[str, Any]
) -> None:
    if checkpoint is not None:
        checkpoint.keep(name, arrays, state)


def _compute_and_keep(
    checkpoint: Checkpoint | None,
    name: str,
    function: Callable[..., Any],
    args: tuple,
    share: float,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Do in a worker what `Run.once` does."""
    arrays, state = _compute(function, args, time.perf_counter, share)
    _keep(checkpoint, name, arrays, state)
    return arrays, state
