"""Files and folders that are whole or absent at every moment: how everything here is written.

What is written is a draft beside its place, named for the process that writes it. Once it is whole
and on the disk it is moved to its place. A killed process leaves its draft, which the next to write
in that folder deletes.

A place may be a symbolic link: the file that it leads to is written, and the link stays. A file
that is replaced passes on its permissions.
"""

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

ENDING = ".partial"  # of the names of drafts


def as_path(path: object) -> Path:
    """Return a path that is given as a text, as bytes or as a path-like object."""
    if isinstance(path, str | bytes | os.PathLike):
        return Path(os.fsdecode(path))
    raise ValueError(
        f"Expected the path of a file or a folder, but got {path!r}; pass a text or a Path."
    )


def make_folder(path: object) -> Path:
    """Make a folder, and those above it, unless it is there; return it, with links followed."""
    folder = Path(os.path.realpath(as_path(path)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(
            f"Expected a folder, but {str(folder)!r} or one above it is a file; choose another."
        ) from error
    except PermissionError as error:
        raise PermissionError(
            f"Expected a folder that can be made, but one above {str(folder)!r} is read-only; "
            "choose another, or change its permissions."
        ) from error
    return folder


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, replace: bool = True) -> Iterator[Path]:
    """Give the path of a draft, which becomes the file `path` if the block ends without an error.

    An earlier file is replaced; after an error it is as it was. Without `replace` it stays, and
    FileExistsError says so: of two processes, one writes.
    """
    place = _place(as_path(path))
    remove_drafts(place.parent)
    draft = _draft(place)
    try:
        yield draft
        _sync(draft)
        if replace:
            _keep_permissions(draft, place)
            os.replace(draft, place)
        else:
            _move_to_new(draft, place)
        _sync(place.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_files(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Give paths of drafts by name, which become files of a folder if the block ends without error.

    A new folder appears with all of them. In one that is there, files of these names are replaced
    and others stay. The first name says that all are there: meanwhile there is no such file.
    """
    folder = Path(os.path.realpath(folder))
    with _new_files(folder, names) if not folder.exists() else _files_in(folder, names) as drafts:
        yield drafts


@contextmanager
def _files_in(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    with ExitStack() as stack:  # the first comes to its place last
        drafts = {name: stack.enter_context(atomic_write(folder / name)) for name in names}
        yield drafts
        _place(folder / names[0]).unlink(missing_ok=True)


@contextmanager
def _new_files(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    check_folder(folder.parent)
    remove_drafts(folder.parent)
    draft = _draft(folder)
    draft.mkdir()
    try:
        drafts = {name: draft / name for name in names}
        yield drafts
        for path in (*drafts.values(), draft):
            _sync(path)
        try:
            os.rename(draft, folder)
        except OSError:  # another process has made it meanwhile
            with _files_in(folder, names) as places:
                for name, path in places.items():
                    shutil.copyfile(drafts[name], path)
        _sync(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(folder: Path) -> None:
    """Delete the drafts in a folder that dead processes of this machine have left."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(ENDING)]
    for name in names:
        found = re.fullmatch(rf"\.{_host()}-(\d+)-[0-9a-f]+\{ENDING}", name)
        if found and not _is_running(int(found[1])):
            shutil.rmtree(folder / name, ignore_errors=True)  # of a folder
            with suppress(OSError):
                (folder / name).unlink()


def is_draft(name: str) -> bool:
    """Tell whether a file of this name is a draft, of whatever machine."""
    return re.fullmatch(rf"\.[0-9a-f]+-\d+-[0-9a-f]+\{ENDING}", name) is not None


def check_out(path: object) -> None:
    """Raise ValueError unless `path` is None or names an .npy file in a folder that exists.

    If the file cannot be written there, it is an OSError.
    """
    if path is None:
        return
    file = as_path(path) if isinstance(path, str | bytes | os.PathLike) else Path()
    if file.suffix != ".npy" or not file.parent.is_dir() or file.is_dir():
        raise ValueError(
            "Expected out to be None, or the path of an .npy file in a folder that exists, but got "
            f"{path!r}; make the folder, or correct the path."
        )
    _place(file)


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
    return np.load(as_path(path), mmap_mode="r")


# Places and drafts --------------------------------------------------------------------------------


def _place(path: Path) -> Path:
    """Return where a file is, or will be, links followed; raise OSError if it cannot be there."""
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(errno.ELOOP, "Expected links to a file, but got a circle", str(path))
    if place.is_dir():
        raise IsADirectoryError(f"Expected a file, but got the folder {str(path)!r}.")
    if place.exists() and not place.is_file():
        raise ValueError(f"Expected a regular file, but got {str(path)!r}, which is none.")
    check_folder(place.parent)
    return place


def check_folder(folder: Path) -> None:
    """Raise OSError unless files can be written in a folder."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Expected a folder that exists, but got {str(folder)!r}; make it, or correct the path."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Expected a folder in which files may be written, but got {str(folder)!r}, which is "
            "read-only; choose another, or change its permissions."
        )


def _draft(path: Path) -> Path:
    """Return the path of a new draft beside a file or folder, named for machine and process."""
    return path.with_name(f".{_host()}-{os.getpid()}-{secrets.token_hex(8)}{ENDING}")


def _keep_permissions(draft: Path, place: Path) -> None:
    """Give a draft the permissions, and the owner, of the file that it replaces."""
    with suppress(FileNotFoundError):
        earlier = place.stat()
        if os.name == "posix" and (earlier.st_uid, earlier.st_gid) != _owner(draft):
            with suppress(PermissionError):  # only root may give files away
                os.chown(draft, earlier.st_uid, earlier.st_gid)
        draft.chmod(earlier.st_mode & 0o777)


def _owner(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid


def _move_to_new(draft: Path, place: Path) -> None:
    """Move a draft to a place where no file is; raise FileExistsError if there is one."""
    try:
        os.link(draft, place)  # which, unlike a move, replaces nothing
    except FileExistsError:
        raise
    except OSError:  # no such links in this file system
        if place.exists():
            raise FileExistsError(errno.EEXIST, "there is one already", str(place)) from None
        os.replace(draft, place)


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
