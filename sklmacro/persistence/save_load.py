"""Save and load."""

import os
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from sklearn.base import BaseEstimator

from sklmacro.checkpoint.atomic import as_path
from sklmacro.checkpoint.container import read_container, write_container
from sklmacro.checkpoint.foreign import FOREIGN
from sklmacro.checkpoint.reading import Reader
from sklmacro.checkpoint.schema import shown, storable
from sklmacro.checkpoint.writing import Writer
from sklmacro.persistence.classes import CLASSES
from sklmacro.persistence.consistency import check_fitted


class VersionWarning(UserWarning):
    """A file was written by another minor version of sklmacro."""


def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write an estimator, fitted or not, a simulator or a Pipeline of them to one file.

    The file is a safetensors file of all arrays, with a JSON header. No pickle is involved. It
    appears when it is whole: an interrupted `save` leaves an earlier file as it was.

    Parameters
    ----------
    estimator : BaseEstimator
        Any of this package's estimators and simulators, or one of your own whose constructor keeps
        its arguments under their own names, as scikit-learn asks for.
    path : str or PathLike
        File to write, in a folder that is there; an earlier file is replaced.

    Raises
    ------
    ValueError
        If the estimator holds what a file cannot: functions, open files, caches of a Pipeline
        (`memory`), or attributes that its class does not declare. What and where is named.

    See Also
    --------
    load

    Notes
    -----
    The file has parameters, fitted attributes, metadata requests, `set_output`, and the state of
    numpy generators, though not what they would spawn. Parameters that name places to write to
    (`checkpoint_dir`, `out`) are None in it: they belong to your machine, and whoever loads the
    file sets others. It has no callbacks: they belong to the
    session that fits. Nets come back on the CPU; `device` tells where the next `fit` computes.
    Barriers from a function (`CallableBarriers`) cannot be saved: derive a `BarrierModel` of your
    own.

    Examples
    --------
    >>> import tempfile
    >>> import sklmacro as skm
    >>> from sklmacro.simulators import Ising
    >>> sampler = skm.PartialEvolutionSampler(Ising(temperature=2.27), patch=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skm.save(sampler, f"{folder}/sampler.safetensors")
    ...     skm.load(f"{folder}/sampler.safetensors")
    PartialEvolutionSampler(patch=16, simulator=Ising(temperature=2.27))
    """
    writer = write_objects(estimator)
    write_container(as_path(path), writer.objects, writer.arrays)


def write_objects(estimator: BaseEstimator) -> Writer:
    """Return a writer that has written an estimator; it raises the errors of `save`."""
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(
            f"Expected an estimator or a simulator, but got a {type(estimator).__name__}; pass "
            "one, or a Pipeline of them."
        )
    writer = Writer(CLASSES, check_fitted)
    try:
        writer.object(estimator, type(estimator).__name__)
    except RecursionError as error:
        raise ValueError(
            "Expected values that do not contain themselves, but got one that does, or that is "
            "nested too deeply; take it apart."
        ) from error
    return writer


def load(
    path: str | os.PathLike[str],
    *,
    allow: Iterable[type] = (),
    keep_paths: bool = False,
    max_bytes: float | None = None,
) -> Any:
    """Return the estimator that `save` wrote to a file.

    Nothing in a file is run, imported or unpickled. Classes are looked up by their names among this
    package's, scikit-learn's `Pipeline`, `FrozenEstimator`, `StandardScaler` and
    `FunctionTransformer`, and `allow`; their constructors are called with arguments that fit their
    type hints. A checksum tells damage; attributes have to be known, of the declared types, and
    consistent.

    Parameters
    ----------
    path : str or PathLike
        File to read.
    allow : iterable of type, default=()
        Other classes that the file may hold: simulators, estimators, barrier models and dataclasses
        of your own, or scikit-learn's. Constructors of these are run as they are, and their fitted
        attributes taken as they come: allow classes that you trust with any arguments.
    keep_paths : bool, default=False
        Keep parameters that name places to write to (`checkpoint_dir`, `out`, `memory`). A later
        call would write there: files that `save` writes have none, but others may.
    max_bytes : float, default=None
        Memory in bytes that reading the file may take; None stands for 100 MB and 50 bytes for each
        byte of the file, far more than files of `save` need.

    Returns
    -------
    estimator : BaseEstimator

    Raises
    ------
    ValueError
        If the file is damaged, is none that `save` wrote, holds classes that are not allowed, is of
        a newer format, or would take more memory than it may.
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no file that can be read.

    Warns
    -----
    VersionWarning
        If the file was written by another major or minor version of sklmacro; it holds what it
        held, but an estimator may act otherwise. The header has the versions of other packages,
        for information.
    UserWarning
        If the file named places to write to, which are None now.

    See Also
    --------
    save
    """
    classes = _allowed(allow)
    path = as_path(path)
    packages, objects, arrays, budget = read_container(path, max_bytes)
    reader = Reader(arrays, classes, check_fitted, budget=budget, keep_paths=keep_paths)
    estimator = reader.read(objects)
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(f"Expected a file of an estimator, but got {shown(estimator)}; save one.")
    if reader.places and not keep_paths:
        named = ", ".join(sorted(set(reader.places)))
        warnings.warn(
            f"Expected no places to write to in {path.name}, but got {named}, which are None now; "
            "set your own, or pass keep_paths=True if you trust the file.",
            stacklevel=2,
        )
    written, here = packages.get("sklmacro", "unknown"), version("sklmacro")
    if written.split(".")[:2] != here.split(".")[:2]:
        warnings.warn(
            f"{path.name} was written by sklmacro {written}, and this is {here}; check what "
            "it gives, and save it anew.",
            VersionWarning,
            stacklevel=2,
        )
    return estimator


def _allowed(allow: Iterable[type]) -> dict[str, type]:
    """Return all classes that a file may hold, by their names."""
    classes = dict(CLASSES)
    for cls in allow:
        if not isinstance(cls, type) or not storable(cls):
            raise ValueError(
                "Expected allow to hold classes of estimators, simulators, barrier models or "
                f"dataclasses, but got {cls!r}; pass for instance allow=(MySimulator,)."
            )
        if cls.__name__ in FOREIGN or classes.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(
                f"Expected classes of different names, but got another {cls.__name__}; rename it."
            )
    return classes
