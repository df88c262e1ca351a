"""Checkpoints: how far a piece of work has come, in a folder that outlives the process.

The folder holds `checkpoint.json`, which says what work it is of, and one file for each part of it
that is done: arrays, and a JSON object beside them (safetensors). Every file is written beside its
place and moved there when it is on the disk, so that a process that is killed at any moment leaves
each part whole or absent. Work that is taken up again asks for a part before it computes it.

Workers write parts, too: with workers on several machines the folder is one that all of them see.
"""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator

from sklmacro._base.checks import pieces
from sklmacro._base.streams import resolve_entropy

FORMAT = 1
HEAD = "checkpoint.json"
# Parameters that change no bit of a result; of the device, only the kind does.
WITHOUT_EFFECT = ("checkpoint_dir", "device", "memory", "n_jobs", "out", "verbose")
PARTIAL = ".partial"  # how the names of files end that are not whole yet

logger = logging.getLogger(__name__)
_said: ContextVar[bool] = ContextVar("_said", default=False)  # by the work around this one


class Checkpoint:
    """The checkpoint of one piece of work.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there.
    work : str
        What is done, for example "simulate Ising".
    settings : mapping of str to object
        All that the result depends on but the seed; see `described`.
    random_state : None, int, RandomState or Generator
        Seed. With None, the entropy that is drawn at first serves whoever takes up the work.

    Attributes
    ----------
    folder : Path
    entropy : int
        Of all random streams.

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
        head: dict[str, Any] = {"format": FORMAT, "work": work, "settings": described(settings)}
        found = self._head()
        if found is None or random_state is not None:
            head["entropy"] = str(resolve_entropy(random_state))
        if found is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / HEAD, json.dumps(head, indent=2).encode())
            self.entropy = int(head["entropy"])
        else:
            self._refuse_other(found, head)
            self.entropy = int(found["entropy"])
            logger.info("taking up %s from %s", work, self.folder)

    def part(self, name: str) -> tuple[dict[str, np.ndarray], Any] | None:
        """Return the arrays and the JSON object of a part, or None where it is not done."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                return arrays, json.loads(file.metadata()["state"])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected a part of a checkpoint in {str(path)!r}, but could not read it "
                f"({error}); delete the file, and it is computed again."
            ) from error

    def keep(self, name: str, arrays: Mapping[str, np.ndarray], state: Any = None) -> None:
        """Write the arrays and the JSON object of a part, in the place of an earlier one."""
        tensors = {key: np.asarray(array, order="C") for key, array in arrays.items()}
        with whole_file(self.folder / f"{name}.safetensors") as beside:
            save_file(tensors, beside, metadata={"state": json.dumps(state)})

    def forget(self, name: str) -> None:
        """Delete a part, if it is there."""
        (self.folder / f"{name}.safetensors").unlink(missing_ok=True)

    def tidy(self) -> None:
        """Delete what a killed process has left half-written. No other process must be writing."""
        for left in self.folder.glob(f".*{PARTIAL}"):
            left.unlink(missing_ok=True)

    def _head(self) -> dict[str, Any] | None:
        """Return what the folder says of itself, or None if it is new or empty."""
        is_folder = not self.folder.exists() or self.folder.is_dir()
        if is_folder and all(path.suffix == PARTIAL for path in self.folder.glob("*")):
            return None
        try:
            head = json.loads((self.folder / HEAD).read_text())
            return {key: head[key] for key in ("format", "work", "settings", "entropy")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                "Expected checkpoint_dir to be a new or empty folder, or a checkpoint, but got "
                f"{str(self.folder)!r}, which holds something else; choose another folder."
            ) from error

    def _refuse_other(self, found: dict[str, Any], head: dict[str, Any]) -> None:
        """Raise ValueError, naming what differs, unless the folder is of this work."""
        others = [f"{name}={old!r}, not {new!r}" for name, old, new in _differences(found, head)]
        if others:
            raise ValueError(
                f"Expected a checkpoint of the same work and settings in {str(self.folder)!r}, but "
                f"it has {'; '.join(others)}; choose another checkpoint_dir, or delete this one."
            )


def checkpoint_of(
    folder: str | os.PathLike[str] | None,
    work: str,
    settings: Mapping[str, Any],
    random_state: Any = None,
) -> tuple[Checkpoint | None, int]:
    """Return the checkpoint in a folder, or None without a folder, and the entropy of the work.

    Parameters are those of `Checkpoint`.
    """
    if folder is None:
        return None, resolve_entropy(random_state)
    checkpoint = Checkpoint(folder, work, settings, random_state)
    return checkpoint, checkpoint.entropy


def of_method(estimator: BaseEstimator, method: str, **data: Any) -> tuple[Checkpoint | None, int]:
    """Return the checkpoint of a method of an estimator, by its `checkpoint_dir`, and the entropy.

    It has a folder of its own there. The settings are those of `of_fit`, with `data` what the
    method is given, and what it takes from the fit.
    """
    folder = estimator.checkpoint_dir
    work = f"{method} {type(estimator).__name__}"
    settings = {**_material(estimator), **data}
    own = None if folder is None else Path(folder) / method
    return checkpoint_of(own, work, settings, estimator.random_state)


def of_fit(estimator: BaseEstimator, data: Mapping[str, Any]) -> tuple[Checkpoint | None, int]:
    """Return the checkpoint of a fit, or None without a `checkpoint_dir`, and the entropy.

    Its settings are `data`, which it is fitted to, and all parameters of the estimator but those of
    `WITHOUT_EFFECT` and the seed, and the kind of device, since another one rounds otherwise.
    """
    work = f"fit {type(estimator).__name__}"
    settings = {**_material(estimator), "data": data}
    return checkpoint_of(estimator.checkpoint_dir, work, settings, estimator.random_state)


def _material(estimator: BaseEstimator) -> dict[str, Any]:
    """Return the parameters of an estimator that its results depend on, but for the seed."""
    settings = _effective(estimator)
    settings.pop("random_state", None)
    return settings


def _effective(estimator: BaseEstimator) -> dict[str, Any]:
    """Return the parameters of an estimator but those of `WITHOUT_EFFECT`; the kind of device."""
    params = estimator.get_params(deep=False)
    effective = {name: value for name, value in params.items() if name not in WITHOUT_EFFECT}
    if "device" in params:
        effective["device"] = str(params["device"]).partition(":")[0]
    return effective


@contextmanager
def resumable(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """Say where the work within can be taken up, if it is interrupted.

    Of work within work, the outermost is named.
    """
    outermost = folder is not None and not _said.get()
    token = _said.set(outermost or _said.get())
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if outermost:
            said = f"interrupted; the same call with checkpoint_dir={str(folder)!r} takes it up"
            logger.warning(said)
            interrupt.add_note(said)
        raise
    finally:
        _said.reset(token)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of `path` once the block has ended well."""
    beside = path.with_name(f".{path.name}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is whole or absent at every moment, in the place of an earlier one."""
    with whole_file(path) as beside:
        beside.write_bytes(data)


def described(value: Any) -> Any:
    """Return JSON that is equal for equal settings.

    Of arrays it has the digest, of estimators the class and all parameters but `WITHOUT_EFFECT`, of
    functions of a module the name. An object of another class has a method `described`, which
    returns all that tells it apart.

    Raises
    ------
    ValueError
        If a value is of a type that cannot be told apart in writing.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return repr(float(value))  # NaN is no JSON
    if isinstance(value, np.ndarray):
        return digest(value)
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if isinstance(value, np.random.Generator):
        return described(value.bit_generator.state)
    if isinstance(value, BaseEstimator):
        return {"class": type(value).__qualname__, **described(_effective(value))}
    if hasattr(type(value), "described"):
        return {"class": type(value).__qualname__, **described(value.described())}
    if isinstance(value, FunctionType) and value.__qualname__.isidentifier():
        return f"{value.__module__}.{value.__qualname__}"
    raise ValueError(
        f"Expected settings of numbers, texts, arrays and estimators with checkpoint_dir, but got "
        f"a {type(value).__name__}; leave checkpoint_dir at None."
    )


def digest(array: np.ndarray) -> str:
    """Return type, shape and SHA-256 of an array."""
    array = np.asarray(array)
    sha = hashlib.sha256()
    for piece in pieces(array):  # it may be a memory map
        sha.update(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
    shape = "x".join(map(str, array.shape))
    return f"{array.dtype.str} {shape} sha256 {sha.hexdigest()}"


def _differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Return the names of all that differs between two descriptions, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*new, *(key for key in old if key not in new)]
        if not name:  # of the head, an entropy counts only where one is asked for
            keys = [key for key in keys if key != "entropy" or key in new]
        return [
            difference
            for key in keys
            for difference in _differences(
                old.get(key), new.get(key), key if name in ("", "settings") else f"{name}.{key}"
            )
        ]
    return [] if old == new else [(name, old, new)]
