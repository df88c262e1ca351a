"""Rows of arrays, filled batch by batch, and saved in a checkpoint on the way.

Rows are filled in order, so that the first ones are those that are saved: part `rows-0` of the
checkpoint has the rows from 0 on, `rows-n` those from n on, and so on. The state of a row k that is
not finished is the part `row-k`.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sklmacro._base.workers import LARGEST_BATCH, map_batches
from sklmacro.checkpoint.checkpoint import Checkpoint

INTERVAL = 30.0  # seconds of work between two writes, at least
SHARE = 0.05  # of the time, which writing takes at most


class Saver:
    """Save parts of a checkpoint: not too often, and the less often the longer it takes.

    Parameters
    ----------
    checkpoint : Checkpoint
    """

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint
        self._ended, self._pause = time.monotonic(), INTERVAL

    def is_due(self) -> bool:
        """Tell whether it is time to save."""
        return time.monotonic() - self._ended >= self._pause

    def save(self, name: str, value: Any) -> None:
        """Save a part; see `Checkpoint.save`."""
        began = time.monotonic()
        self.checkpoint.save(name, value)
        self._ended = time.monotonic()
        self._pause = max(INTERVAL, (self._ended - began) / SHARE)


class _Rows:
    """Arrays of which the first rows are filled."""

    def __init__(self, n_rows: int, out: Mapping[str, np.ndarray]):
        self.n_rows, self.arrays, self.n_filled = n_rows, dict(out), 0

    def append(self, batch: Mapping[str, np.ndarray]) -> None:
        """Fill the next rows."""
        stop = self.n_filled + len(next(iter(batch.values())))
        for name, array in batch.items():
            if name not in self.arrays:
                if len(array) == self.n_rows:  # it may be very large: no second copy
                    self.arrays[name] = array
                    continue
                self.arrays[name] = np.empty((self.n_rows, *array.shape[1:]), array.dtype)
            self.arrays[name][self.n_filled : stop] = array
        self.n_filled = stop


class _SavedRows(_Rows):
    """Rows that are saved in a checkpoint, in parts of a name."""

    def __init__(
        self, n_rows: int, out: Mapping[str, np.ndarray], checkpoint: Checkpoint, part: str
    ):
        super().__init__(n_rows, out)
        self._saver, self._part = Saver(checkpoint), part
        while (batch := checkpoint.load(f"{part}-{self.n_filled}")) is not None:
            n_new = len(next(iter(batch.values()), ()))
            if not 0 < n_new <= n_rows - self.n_filled:
                raise ValueError(
                    f"Expected 1 to {n_rows - self.n_filled} rows in part {part}-{self.n_filled} "
                    f"of the checkpoint in {str(checkpoint.folder)!r}, but got {n_new}; delete the "
                    "folder, and they are computed again."
                )
            super().append(batch)
        self._n_saved = self.n_filled

    def append(self, batch: Mapping[str, np.ndarray]) -> None:
        """Fill the next rows, and save all that are not saved, if it is time to."""
        super().append(batch)
        if self._saver.is_due():
            self.save()

    def save(self) -> None:
        """Save the rows that are not saved."""
        if self.n_filled == self._n_saved:
            return
        new = {name: array[self._n_saved : self.n_filled] for name, array in self.arrays.items()}
        self._saver.save(f"{self._part}-{self._n_saved}", new)
        for k in range(self._n_saved, self.n_filled):
            self._saver.checkpoint.delete(f"row-{k}")
        self._n_saved = self.n_filled


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
        Has the rows that are finished, and gets those that are being made.
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

    rows = _Rows(n_rows, out or {})
    if checkpoint is not None:
        rows = _SavedRows(n_rows, out or {}, checkpoint, part)
    batches = map_batches(
        work, units, -(-n_rows // together), first=-(-rows.n_filled // together), largest=largest,
        longest=None if checkpoint is None else INTERVAL, n_jobs=n_jobs, verbose=verbose, desc=desc,
    )  # fmt: skip
    try:
        for _, batch in batches:
            rows.append(batch)
    finally:
        if isinstance(rows, _SavedRows):  # an error or Ctrl-C loses nothing that is finished
            rows.save()
    return rows.arrays
