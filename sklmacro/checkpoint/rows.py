"""Rows of arrays, filled batch by batch, and kept in a checkpoint on the way.

Rows come in order, so that what is kept are the first ones: part `rows-0` of the checkpoint has the
rows from 0 on, `rows-n` those behind them if they are n, and so on. What work keeps of a row k that
is not done yet is the part `row-k`.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np

from sklmacro._base.workers import LARGEST_BATCH, map_batches
from sklmacro.checkpoint.checkpoint import Checkpoint

INTERVAL = 30.0  # seconds of work between two writes, at least
SHARE = 0.05  # of the time, which writing takes at most


class Pace:
    """When to write: not too often, and the less often the longer it takes.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        Where to; None for nowhere.
    """

    def __init__(self, checkpoint: Checkpoint | None):
        self._checkpoint = checkpoint
        self._ended, self._pause = time.monotonic(), INTERVAL

    def due(self) -> bool:
        """Say whether it is time to write."""
        return self._checkpoint is not None and time.monotonic() - self._ended >= self._pause

    def keep(self, name: str, arrays: Mapping[str, np.ndarray], state: object = None) -> None:
        """Write a part; see `Checkpoint.keep`."""
        assert self._checkpoint is not None
        began = time.monotonic()
        self._checkpoint.keep(name, arrays, state)
        self._ended = time.monotonic()
        self._pause = max(INTERVAL, (self._ended - began) / SHARE)


class _Rows:
    """Arrays of which the first rows are filled, and the first of those kept."""

    def __init__(
        self, n_rows: int, checkpoint: Checkpoint | None, out: Mapping[str, np.ndarray], part: str
    ):
        self.n_rows, self.checkpoint, self.part = n_rows, checkpoint, part
        self.arrays, self.pace = dict(out), Pace(checkpoint)
        self.filled = self.kept = 0

    def take_up(self) -> None:
        """Fill the rows that the checkpoint has."""
        if self.checkpoint is None:
            return
        self.checkpoint.tidy()
        while (found := self.checkpoint.part(f"{self.part}-{self.filled}")) is not None:
            self.put(found[0])
        self.kept = self.filled

    def put(self, batch: Mapping[str, np.ndarray]) -> None:
        """Fill the next rows."""
        stop = self.filled + len(next(iter(batch.values())))
        for name, array in batch.items():
            if name not in self.arrays:
                if len(array) == self.n_rows:  # it may be very large: no second copy
                    self.arrays[name] = array
                    continue
                self.arrays[name] = np.empty((self.n_rows, *array.shape[1:]), array.dtype)
            self.arrays[name][self.filled : stop] = array
        self.filled = stop

    def keep(self) -> None:
        """Write the rows that are filled and not kept."""
        if self.checkpoint is None or self.filled == self.kept:
            return
        rows = slice(self.kept, self.filled)
        new = {name: array[rows] for name, array in self.arrays.items()}
        self.pace.keep(f"{self.part}-{self.kept}", new)
        for k in range(self.kept, self.filled):
            self.checkpoint.forget(f"row-{k}")
        self.kept = self.filled


def fill_rows(
    work: Callable[..., Mapping[str, np.ndarray]],
    take: Callable[[int, int], tuple],
    n_rows: int,
    checkpoint: Checkpoint | None = None,
    out: Mapping[str, np.ndarray] | None = None,
    *,
    part: str = "rows",
    together: int = 1,
    largest: int = LARGEST_BATCH,
    n_jobs: int | None = None,
    verbose: bool = False,
    desc: str = "",
) -> dict[str, np.ndarray]:
    """Fill the rows of arrays, and return them.

    Parameters
    ----------
    work : callable
        Of what `take` returns it makes rows of each array. It treats every row by itself, and
        does not hold what the rows are made of.
    take : callable
        (start, stop) -> what `work` needs for the rows start to stop, views of larger arrays. No
        more than this travels to another process.
    n_rows : int
        Rows in all.
    checkpoint : Checkpoint, default=None
        Has the rows that are done, and gets those that are being done.
    out : mapping of str to ndarray, default=None
        Arrays to fill, of n_rows rows; None makes them.
    part : str, default="rows"
        How the names of the checkpoint's parts begin.
    together : int, default=1
        Rows that are made together: batches begin at multiples of it.
    largest : int
        Units of `together` rows in a batch at most.
    n_jobs, verbose, desc
        As for `map_batches`.

    Returns
    -------
    arrays : dict of str to ndarray of shape (n_rows, ...)
    """

    def units(first: int, last: int) -> tuple:
        return take(first * together, min(last * together, n_rows))

    rows = _Rows(n_rows, checkpoint, out or {}, part)
    rows.take_up()
    batches = map_batches(
        work, units, -(-n_rows // together), first=-(-rows.filled // together), largest=largest,
        longest=None if checkpoint is None else INTERVAL, n_jobs=n_jobs, verbose=verbose, desc=desc,
    )  # fmt: skip
    try:
        for _, batch in batches:
            rows.put(batch)
            if rows.pace.due():
                rows.keep()
    finally:  # an error or Ctrl-C loses nothing that is done
        rows.keep()
    return rows.arrays
