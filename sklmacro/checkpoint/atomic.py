"""Files and folders that are whole or absent at every moment: how everything here is written.

What is written is a draft beside its place, named for the process that writes it. Once it is whole
and on the disk it is moved to its place. A killed process leaves its draft, which `remove_drafts`
deletes.
"""

import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ENDING = ".partial"  # of the names of drafts


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path of a draft, which becomes the file `path` if the block ends without an error.

    An earlier file is replaced; after an error it is as it was.
    """
    path = Path(path)
    draft = _draft(path)
    try:
        yield draft
        _sync(draft)
        os.replace(draft, path)
        _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder, which becomes the folder `path` if the block ends without an error.

    An earlier folder is replaced; after an error it is as it was.
    """
    draft, earlier = _draft(path), _draft(path)
    draft.mkdir()
    try:
        yield draft
        for file in draft.iterdir():
            _sync(file)
        _sync(draft)
        if path.exists():
            os.replace(path, earlier)
        os.replace(draft, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)


def remove_drafts(folder: Path) -> None:
    """Delete the drafts of files in a folder that dead processes of this machine have left."""
    for draft in folder.glob(f".*{ENDING}"):
        names = re.search(rf"\.{_host()}-(\d+)-[0-9a-f]+\{ENDING}$", draft.name)
        if names and not _is_running(int(names[1])):
            draft.unlink(missing_ok=True)


def check_out(path: object) -> None:
    """Raise ValueError unless `path` is None or names an .npy file in a folder that exists."""
    file = Path(path) if isinstance(path, str | os.PathLike) else Path()
    is_array = file.suffix == ".npy" and file.parent.is_dir() and not file.is_dir()
    if path is not None and not is_array:
        raise ValueError(
            "Expected out to be None, or the path of an .npy file in a folder that exists, but got "
            f"{path!r}; make the folder, or correct the path."
        )


def fill_array(
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
    with atomic_write(path) as draft:
        array = np.lib.format.open_memmap(draft, mode="w+", dtype=dtype, shape=shape)
        fill(array)
        array.flush()
    return np.load(path, mmap_mode="r")


def _draft(path: Path) -> Path:
    """Return the path of a new draft beside a file or folder, named for machine and process."""
    return path.with_name(f".{_host()}-{os.getpid()}-{secrets.token_hex(8)}{ENDING}")


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_running(pid: int) -> bool:
    """Tell whether a process of this machine runs; where that cannot be asked, it does."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name != "posix":
        return  # only files can be synced there
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
