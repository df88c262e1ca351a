"""Checkpoints: the finished parts of a call, in a folder that outlives the process.

The folder holds `checkpoint.json`, which says what call it is of, and one file for each part that
is finished. A process that is killed at any moment leaves each part whole or absent. The same call
reads a part in the place of computing it again, with the same result to the last bit.

Workers save parts, too: with workers on several machines the folder is one that all of them see.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklmacro._base.streams import resolve_entropy
from sklmacro.checkpoint.atomic import ENDING, atomic_write, remove_drafts
from sklmacro.checkpoint.container import read_container, write_container
from sklmacro.checkpoint.identity import differences, identity
from sklmacro.checkpoint.reading import decode
from sklmacro.checkpoint.rows import SavedRows
from sklmacro.checkpoint.writing import encode

FORMAT = 2
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
        self.folder = Path(folder)
        head: dict[str, Any] = {"format": FORMAT, "work": work, "settings": identity(settings)}
        earlier = self._read_head()
        if earlier is None or random_state is not None:
            head["entropy"] = str(resolve_entropy(random_state))
        if earlier is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / HEAD) as draft:
                draft.write_text(json.dumps(head, indent=2))
            self.entropy = int(head["entropy"])
        else:
            self._refuse_other(earlier, head)
            self.entropy = int(earlier["entropy"])
            logger.info("resuming %s from %s", work, self.folder)
        remove_drafts(self.folder)

    def load(self, name: str) -> Any:
        """Return the value of a part, or None where it is not finished."""
        path = self._path(name)
        try:
            _, code, arrays = read_container(path)
            return decode(code, arrays)
        except FileNotFoundError:  # never written, or another process has deleted it since
            return None
        except ValueError as error:
            raise ValueError(
                f"Expected a part of a checkpoint in {str(path)!r}, but could not read it "
                f"({error}); delete the file, and it is computed again."
            ) from error

    def save(self, name: str, value: Any) -> None:
        """Write a part, in the place of an earlier one; `encode` says what values can be."""
        write_container(self._path(name), *encode(value))

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
        if is_folder and all(path.suffix == ENDING for path in self.folder.glob("*")):
            return None
        try:
            head = json.loads((self.folder / HEAD).read_text())
            return {key: head[key] for key in ("format", "work", "settings", "entropy")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                "Expected checkpoint_dir to be a new or empty folder, or a checkpoint, but got "
                f"{str(self.folder)!r}, which holds something else; choose another folder."
            ) from error

    def _refuse_other(self, earlier: dict[str, Any], head: dict[str, Any]) -> None:
        """Raise ValueError, naming what differs, unless the folder is of this call."""
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

    The checkpoint is in a subfolder of the folder that the user has chosen; see `Checkpoint`.
    """
    if checkpoint_dir is None:
        yield None, resolve_entropy(random_state)
        return
    with interruptible(checkpoint_dir):
        checkpoint = Checkpoint(Path(checkpoint_dir) / subfolder, work, settings, random_state)
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
