"""Stages and pieces of an experiment: a stage is a part of its time, a piece a part of its result.

A piece is computed once. With a checkpoint it is saved as soon as it is there; an experiment that
is resumed reads it, with the time that it took: stages and total are those of a run without a
break. Of pieces that n workers compute side by side, each counts one n-th of its time.

A piece returns arrays, numbers, texts, lists, tuples and dictionaries. It is encoded and decoded
whether it has just been computed or was saved: what follows from it is the same to the last bit.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from tqdm.auto import tqdm

from sklmacro._base.checks import check_real
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.checkpoint.reading import decode
from sklmacro.checkpoint.writing import encode

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
        Where pieces are saved.
    seconds : dict of str to float
        Of the stages that are over.
    """

    seed: int
    n_jobs: int
    verbose: bool
    checkpoint: Checkpoint | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _read: float = 0.0  # seconds that pieces took which were read from the checkpoint

    def clock(self) -> float:
        """Return the time in seconds; it has gone on while pieces were computed earlier."""
        return time.perf_counter() + self._read

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and log that it starts; the seconds of stages of one name add up."""
        logger.info("  %s ...", name)
        start = self.clock()
        yield
        self._add(name, self.clock() - start)

    def once(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Return `function(*args)`, computed or read from the checkpoint.

        Parameters
        ----------
        name : str
            Of the piece, unlike all others of the experiment.
        function : callable
            What it returns follows from settings and seed. It may have stages.
        """
        self._claim(name)
        piece = self._load(name)
        if piece is None:
            before = dict(self.seconds)
            piece = _compute(function, args, self.clock)
            piece["stages"] = {
                stage: seconds - before.get(stage, 0.0)
                for stage, seconds in self.seconds.items()
                if seconds != before.get(stage)
            }
            _save(self.checkpoint, name, piece)
        else:
            for stage, seconds in piece["stages"].items():
                self._add(stage, seconds)
        return piece["value"]

    def each(self, function: Callable[..., Any], pieces: Mapping[str, tuple]) -> list[Any]:
        """Return `function(*args)` of every piece, side by side in `n_jobs` processes.

        Parameters
        ----------
        function : callable
            As in `once`, but without stages.
        pieces : mapping of str to tuple
            Names and arguments.
        """
        done = {}
        for name in pieces:
            self._claim(name)
            if (piece := self._load(name)) is not None:
                done[name] = piece
        missing = [name for name in pieces if name not in done]
        jobs = Parallel(n_jobs=self.n_jobs, return_as="generator")
        share = 1 / effective_n_jobs(self.n_jobs)
        results = jobs(
            delayed(_compute_and_save)(self.checkpoint, name, function, pieces[name], share)
            for name in missing
        )
        hidden = not self.verbose
        with tqdm(total=len(pieces), initial=len(done), disable=hidden, leave=False) as bar:
            for name, result in zip(missing, results, strict=True):
                done[name] = result
                bar.update()
        return [done[name]["value"] for name in pieces]

    def _add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def _claim(self, name: str) -> None:
        """Refuse a name that another piece has."""
        if name in self._names:
            raise ValueError(
                f"Expected pieces of unlike names, but got two of {name!r}; rename one."
            )
        self._names.add(name)

    def _load(self, name: str) -> dict[str, Any] | None:
        """Read a piece from the checkpoint, and add its time to the clock."""
        piece = None if self.checkpoint is None else self.checkpoint.load(name, _checked)
        if piece is not None:
            logger.info("    %s: from the checkpoint", name)
            self._read += piece["seconds"]
        return piece


def _compute(
    function: Callable[..., Any], args: tuple, clock: Callable[[], float], share: float = 1.0
) -> dict[str, Any]:
    """Return the value of a piece and its seconds; `share` of the time is its own."""
    start = clock()
    value = decode(*encode(function(*args)))
    return {"value": value, "seconds": share * (clock() - start)}


def _checked(piece: dict[str, Any]) -> dict[str, Any]:
    """Return a piece, if it is one."""
    for seconds in (piece["seconds"], *piece.get("stages", {}).values()):
        check_real(seconds, "seconds of a piece", low=0.0)
    return {"stages": {}, **piece, "value": piece["value"]}


def _save(checkpoint: Checkpoint | None, name: str, piece: dict[str, Any]) -> None:
    if checkpoint is not None:
        checkpoint.save(name, piece)


def _compute_and_save(
    checkpoint: Checkpoint | None,
    name: str,
    function: Callable[..., Any],
    args: tuple,
    share: float,
) -> dict[str, Any]:
    """Do in a worker what `Run.once` does."""
    piece = _compute(function, args, time.perf_counter, share)
    _save(checkpoint, name, piece)
    return piece
