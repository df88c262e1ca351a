"""Rows of arrays, saved in a checkpoint while they are filled.

Rows are filled in order, so that the first ones are those that are saved: part `rows-0` of the
checkpoint has the rows from 0 on, `rows-n` those from n on, and so on. The state of a row k that is
not finished is the part `row-k`.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from sklmacro._base.workers import Rows

INTERVAL = 30.0  # seconds of work between two writes, at least
SHARE = 0.05  # of the time, which writing takes at most


class Saver:
    """Save parts of a checkpoint: not too often, and the less often the longer it takes."""

    def __init__(self, checkpoint: Any):
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


class SavedRows(Rows):
    """Rows that are saved in a checkpoint, in parts of a name; see `Rows`."""

    def __init__(self, checkpoint: Any, part: str, n_rows: int, out: Mapping[str, np.ndarray]):
        super().__init__(n_rows, out)
        self.longest = INTERVAL
        self._saver, self._part = Saver(checkpoint), part
        while self.n_filled < n_rows:
            if checkpoint.load(f"{part}-{self.n_filled}", self._take) is None:
                break
        self._n_saved = self.n_filled

    def _take(self, batch: Mapping[str, np.ndarray]) -> int:
        """Fill the next rows with those of a part, and return how many there are now."""
        n_new, n_left = len(next(iter(batch.values()))), self.n_rows - self.n_filled
        if not 0 < n_new <= n_left or (self.arrays and set(batch) != set(self.arrays)):
            raise ValueError(f"Expected 1 to {n_left} rows of all arrays, but got {n_new}.")
        for name, array in batch.items():
            like = self.arrays.get(name, array)[:1]
            wanted = (n_new, *like.shape[1:])
            if array.shape != wanted or array.dtype.kind != like.dtype.kind:
                raise ValueError(
                    f"Expected {name} to be {like.dtype} of shape {wanted}, but got {array.dtype} "
                    f"of shape {array.shape}."
                )
        super().append(batch)
        return self.n_filled

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
