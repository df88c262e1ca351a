"""Arrays that are filled in a file and mapped from it, in the place of memory."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sklmacro.checkpoint.checkpoint import whole_file


def check_out(path: object) -> None:
    """Raise ValueError unless `path` is None or names an .npy file in a folder that exists."""
    if path is None:
        return
    if isinstance(path, str | os.PathLike):
        file = Path(path)
        if file.suffix == ".npy" and file.parent.is_dir() and not file.is_dir():
            return
    raise ValueError(
        "Expected out to be None, or the path of an .npy file in a folder that exists, but got "
        f"{path!r}; make the folder, or correct the path."
    )


def mapped(
    path: str | os.PathLike[str] | None,
    shape: tuple[int, ...],
    dtype: np.dtype,
    fill: Callable[[np.ndarray], object],
) -> np.ndarray:
    """Return an array that `fill` has filled, in memory, or in an .npy file and mapped read-only.

    The file is there when the array is full, and not before.
    """
    if path is None:
        array = np.empty(shape, dtype)
        fill(array)
        return array
    with whole_file(Path(path)) as beside:
        array = np.lib.format.open_memmap(beside, mode="w+", dtype=dtype, shape=shape)
        fill(array)
        array.flush()
    return np.load(path, mmap_mode="r")
