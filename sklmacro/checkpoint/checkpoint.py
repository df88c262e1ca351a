"""Checkpoints: the finished parts of a call, in a folder that outlives the process.

The folder holds `checkpoint.json`, its head, which says what call it is of, and one file for each
part that is finished. A process that is killed at any moment leaves each part whole or absent. The
same call reads a part in the place of computing it again, with the same result to the last bit.

A part is sealed together with its name and the head, so that neither a part of another checkpoint
nor one under another name is taken for it. Of calls that share a folder, one is at work and the
others wait.

Workers save parts, too: with workers on several machines the folder is one that all of them see.
"""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklmacro._base.streams import resolve_entropy
from sklmacro.checkpoint import lock
from sklmacro.checkpoint.atomic import ENDING, as_path, atomic_write, make_folder, remove_drafts
from sklmacro.checkpoint.budget import budget_of, parse
from sklmacro.checkpoint.container import PACKAGES, read_container, write_container
from sklmacro.checkpoint.identity import differences, identity
from sklmacro.checkpoint.reading import decode
from sklmacro.checkpoint.rows import SavedRows
from sklmacro.checkpoint.schema import fits
from sklmacro.checkpoint.writing import encode

FORMAT = 3
HEAD = "checkpoint.json"

logger = logging.getLogger(__name__)
_within: ContextVar[bool] = ContextVar("_within", default=False)  # other work that can be resumed


class Checkpoint:
    """The checkpoint of one call, in a folder that is made if it is not there.

    `work` says what the call does, for example "simulate Ising", and `settings` all that the result
    depends on but the seed; see `identity`. The `entropy` of all random streams follows from
    `random_state`; with None, the one that is drawn at first serves all later calls.

    Raises
    ------
    ValueError
        If the folder holds something else, or the checkpoint of other work or settings, which are
        named. It is left as it is.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        work: str,
        settings: Mapping[str, Any],
        random_state: Any = None,
    ):
        self.folder = as_path(folder)
        head: dict[str, Any] = {"format": FORMAT, "work": work, "settings": identity(settings)}
        earlier = self._read_head()
        if earlier is None or random_state is not None:
            head["entropy"] = str(resolve_entropy(random_state))
        if earlier is None:
            make_folder(self.folder)
            earlier = self._write_head(head)
            if random_state is None:  # another call may have written one with its own
                head["entropy"] = earlier["entropy"]
        else:
            logger.info("resuming %s from %s", work, self.folder)
        self._refuse_other(earlier, head)
        self._of, self.entropy = _seal(earlier), int(earlier["entropy"])
        if os.access(self.folder, os.W_OK):
            remove_drafts(self.folder)

    def load(self, name: str, take: Callable[[Any], Any] = lambda value: value) -> Any:
        """Return what `take` makes of the value of a part, or None where it is not finished.

        Whatever is wrong with the part, or with the value for `take`, is a ValueError.
        """
        path = self._path(name)
        try:
            _, part, arrays, budget = read_container(path)
            if part["name"] != name or part["of"] != self._of:
                raise ValueError("it is one of another name, or of another checkpoint")
            return take(decode(part["value"], arrays, budget))
        except FileNotFoundError:  # never written, or another process has deleted it since
            return None
        except Exception as error:  # a value of another form raises nearly anything
            if isinstance(error, OSError | MemoryError):
                raise
            raise ValueError(
                f"Expected a part of a checkpoint in {str(path)!r}, but could not read it "
                f"({type(error).__name__}: {error}); delete the file, and it is computed again."
            ) from error

    def save(self, name: str, value: Any) -> None:
        """Write a part, in the place of an earlier one; `encode` says what values can be."""
        code, arrays = encode(value)
        write_container(self._path(name), {"name": name, "of": self._of, "value": code}, arrays)

    def delete(self, name: str) -> None:
        """Delete a part, if it is there."""
        self._path(name).unlink(missing_ok=True)

    def rows(self, part: str, n_rows: int, out: Mapping[str, np.ndarray]) -> SavedRows:
        """Return rows of arrays that are saved in parts of a name while they are filled."""
        return SavedRows(self, part, n_rows, out)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _read_head(self) -> dict[str, Any] | None:
        """Return what the folder says of itself, or None if it is new or empty."""
        is_folder = not self.folder.exists() or self.folder.is_dir()
        own = (ENDING, lock.NAME)
        if is_folder and all(path.name.endswith(own) for path in self.folder.glob("*")):
            return None
        path = self.folder / HEAD
        try:
            head = parse(path.read_text(encoding="utf-8"), budget_of(path.stat().st_size))
            earlier = {key: head[key] for key in ("format", "work", "settings", "entropy")}
            whole = earlier["format"] != FORMAT
            if not whole:
                earlier["versions"] = head["versions"]
                whole = head["sha256"] == _seal(earlier)
                if not fits([earlier["entropy"], *earlier["versions"].values()], list[str]):
                    raise ValueError("no texts")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                "Expected checkpoint_dir to be a new or empty folder, or a checkpoint, but got "
                f"{str(self.folder)!r}, which holds something else; choose another folder."
            ) from error
        if not whole:
            raise ValueError(
                f"Expected {str(path)!r} as it was written, but its checksum differs: it was "
                "damaged or changed; delete the folder, or choose another checkpoint_dir."
            )
        return earlier

    def _write_head(self, head: dict[str, Any]) -> dict[str, Any]:
        """Write the head of a new folder, or return that which another call has just written."""
        head = head | {"versions": {name: version(name) for name in PACKAGES}}
        try:
            with atomic_write(self.folder / HEAD, replace=False) as draft:
                draft.write_text(json.dumps(head | {"sha256": _seal(head)}, indent=2))
        except FileExistsError:
            return self._read_head() or head
        return head

    def _refuse_other(self, earlier: dict[str, Any], head: dict[str, Any]) -> None:
        """Raise ValueError, naming what differs, unless the folder is of this call.

        Other versions of packages may round otherwise: they are a warning.
        """
        names = ("format", "work", "entropy")
        pairs = [(name, earlier[name], head[name]) for name in names if name in head]
        others = [pair for pair in pairs if pair[1] != pair[2]]
        others += differences(earlier["settings"], head["settings"])
        if others:
            listed = "; ".join(f"{name}={old!r}, not {new!r}" for name, old, new in others)
            raise ValueError(
                f"Expected a checkpoint of the same work and settings in {str(self.folder)!r}, but "
                f"it has {listed}; choose another checkpoint_dir, or delete this one."
            )
        written, here = earlier["versions"], {name: version(name) for name in PACKAGES}
        if _minor(written) != _minor(here):
            listed = ", ".join(f"{name} {written.get(name)}, not {here[name]}" for name in here)
            warnings.warn(
                f"Expected the versions that began the checkpoint in {str(self.folder)!r}, but it "
                f"is of {listed}; its parts are used, and the rest may round otherwise.",
                stacklevel=2,
            )


def _seal(head: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a head says of the call."""
    said = {key: head[key] for key in ("format", "work", "settings", "entropy", "versions")}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _minor(versions: Mapping[str, str]) -> dict[str, list[str]]:
    return {name: text.split(".")[:2] for name, text in versions.items()}


@contextmanager
def resume(
    checkpoint_dir: str | os.PathLike[str] | None,
    work: str,
    settings: Mapping[str, Any],
    random_state: Any = None,
    *,
    subfolder: str = "",
) -> Iterator[tuple[Checkpoint | None, int]]:
    """Give the checkpoint of a call, or None without a folder, and the entropy of its streams.

    The checkpoint is in a subfolder of the folder that the user has chosen; see `Checkpoint`. While
    another call works there, this one waits.
    """
    if checkpoint_dir is None:
        yield None, resolve_entropy(random_state)
        return
    folder = as_path(checkpoint_dir)
    with interruptible(folder):
        checkpoint = Checkpoint(folder / subfolder, work, settings, random_state)
        with lock.alone_in(checkpoint.folder):
            yield checkpoint, checkpoint.entropy


def resume_method(
    estimator: BaseEstimator, method: str, **data: Any
) -> AbstractContextManager[tuple[Checkpoint | None, int]]:
    """Resume a method of an estimator in a subfolder of its `checkpoint_dir`; see `resume`.

    The settings are the parameters of the estimator but for its seed, and the `data` that the
    method is given or reads of the fit.
    """
    settings: dict[str, Any] = {"data": data}
    if estimator.checkpoint_dir is not None:
        settings |= identity(estimator)
        settings.pop("random_state", None)
    work = f"{method} {type(estimator).__name__}"
    return resume(
        estimator.checkpoint_dir, work, settings, estimator.random_state, subfolder=method
    )


@contextmanager
def interruptible(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Say how to resume the work within, if it is interrupted: of nested work the outermost."""
    outermost = not _within.get()
    token = _within.set(True)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if outermost:
            note = f"interrupted; the same call with checkpoint_dir={str(folder)!r} resumes it"
            logger.warning(note)
            interrupt.add_note(note)
        raise
    finally:
        _within.reset(token)
