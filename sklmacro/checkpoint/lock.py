"""One call at a time in a folder: others wait, and then find what the first has finished.

The operating system keeps the lock, of a file in the folder, and takes it from a process that ends
or is killed. A lock saves work, and no result rests on it: files are whole or absent whoever writes
them, and two calls write the same. So calls go on side by side where the file system has no locks,
or the folder is read-only.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
POLL = 0.05  # seconds between two tries
TOLD = 1.0  # seconds of waiting after which it is logged

logger = logging.getLogger(__name__)
_handles: set[int] = set()  # of files that this process has locked, or tries to
_guard = threading.Lock()  # of the set, also when another thread forks


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other call is at work in a folder that exists, and let none in for the block.

    Others are threads and processes alike, on all machines if the file system knows locks of files.
    """
    process, handle = os.getpid(), None if fcntl is None else _lock(folder)
    try:
        yield
    finally:
        if handle is not None and os.getpid() == process:  # not one that was forked meanwhile
            with suppress(OSError):  # the folder may be deleted
                (folder / NAME).unlink()
            _close(handle)


def _lock(folder: Path) -> int | None:
    """Return the locked file of a folder, or None where there are no locks."""
    path, began, told = folder / NAME, time.monotonic(), False
    while (handle := _open(path)) is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):  # the one before deletes it
                return handle
        except BlockingIOError:
            if not told and time.monotonic() - began > TOLD:
                logger.warning(
                    "waiting for another call that works in %s, in this process or another; it "
                    "gives way when it ends or is killed", folder,
                )  # fmt: skip
                told = True
            time.sleep(POLL)
        except OSError:
            _close(handle)
            return None
        _close(handle)
    return None


def _open(path: Path) -> int | None:
    with _guard:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        _handles.add(handle)
        return handle


def _close(handle: int) -> None:
    with _guard:
        _handles.remove(handle)
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _forget() -> None:
    """Close what a forked process has inherited: a lock would outlive the process that holds it."""
    for handle in _handles:
        os.close(handle)
    _handles.clear()
    _guard.release()


if fcntl is not None:
    os.register_at_fork(
        before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget
    )
