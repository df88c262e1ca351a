"""Fits that are saved in a folder, so that a search over many of them can be resumed.

A search fits one estimator to many parts of the data with many parameters. Each such fit is named
by all that its result depends on,

    name = SHA-256(class and parameters, data, metadata),

and saved in a file of that name. The same fit is then read from the file.
"""

import hashlib
import inspect
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_integer, check_unmasked
from sklmacro._base.estimators import begin_fit
from sklmacro.checkpoint.atomic import as_path, make_folder, remove_drafts
from sklmacro.checkpoint.checkpoint import interruptible
from sklmacro.checkpoint.container import write_container
from sklmacro.checkpoint.identity import WITHOUT_EFFECT, digest, identity
from sklmacro.persistence.classes import CLASSES
from sklmacro.persistence.save_load import load, write_objects
from sklmacro.sampling.pairs import warn_of_lost_groups

logger = logging.getLogger(__name__)


def _has(method: str) -> Callable[[Any], bool]:
    """Return a check that the estimator has a method, for `available_if`."""
    return lambda self: getattr(self.estimator, method) is not None  # else its AttributeError


def _delegate(name: str, result: str) -> Any:
    """Return a method that calls the one of the fitted estimator; `result` says what it returns."""

    def method(self: Any, *args: Any, **params: Any) -> Any:
        check_is_fitted(self)
        return getattr(self.estimator_, name)(*args, **params)

    method.__name__, method.__doc__ = name, f"Return {result}; see the estimator."
    return available_if(_has(name))(method)


class Checkpointed(CallbackSupportMixin, MetaEstimatorMixin, BaseEstimator):
    """Save every fit of an estimator in a folder, and read those that are there.

    It takes the place of the estimator in a search. After an interrupt or a kill, the same search
    resumes: finished fits are read, and its result is the same to the last bit, times aside.

    Parameters
    ----------
    estimator : estimator
        What is fitted: any that `sklmacro.save` can write, a Pipeline among others. Each
        `random_state` in it is an integer, and each `checkpoint_dir` None.
    checkpoint_dir : str or Path
        Folder of the fits, made if it is not there. Many searches and processes may share it.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone, as it was read from its file.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Those of `estimator_`, where it has them.

    Notes
    -----
    A saved fit serves the same class, parameters, X, y and metadata, compared by SHA-256. Number of
    workers, verbosity, caches and paths do not count, and of devices only the kind does: those
    asked for now are in force. Versions of packages do not count either; another one may round
    otherwise, so take another folder for it.

    Methods of the estimator that are not here are those of `estimator_`. Callbacks hear of the
    epochs of a fit that is computed, and not of one that is read; do not use one that ends fits
    early. Scores are computed anew. A killed process may leave a file that ends in ``.partial``,
    which a later fit deletes.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklmacro import Checkpointed, PatchSDERegressor
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (500, 1))
    >>> dz = -0.5 * z * 0.1 + 0.2 * np.sqrt(0.1) * rng.standard_normal(z.shape)
    >>> sde = PatchSDERegressor(drift_model="polynomial", dt=0.1, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = Checkpointed(sde, folder)
    ...     grid = {"estimator__drift_model__degree": [1, 3, 5]}
    ...     search = GridSearchCV(saved, grid, cv=3).fit(z, dz)
    >>> search.best_params_
    {'estimator__drift_model__degree': 1}
    """

    estimator_: BaseEstimator

    def __init__(self, estimator: BaseEstimator, checkpoint_dir: str | os.PathLike[str] | None):
        self.estimator = estimator
        self.checkpoint_dir = checkpoint_dir

    @with_callbacks
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit a clone of the estimator, or read the fit where it is saved.

        Parameters
        ----------
        X, y : as for the estimator
            Numbers and texts: arrays, lists or data frames.
        **params : object
            Metadata for the estimator's `fit`, such as groups.

        Returns
        -------
        self : Checkpointed

        Raises
        ------
        ValueError
            If the same fit could not be recognized or repeated: a `random_state` is no integer, a
            parameter is of a kind that no file can hold, or data are no numbers and texts; if a
            `checkpoint_dir` of its own is set, or the file of a fit is damaged.
        """
        estimator = clone(self.estimator)
        free = _without_effect(estimator)
        caches = dict.fromkeys(name for name in free if name.rpartition("__")[2] == "memory")
        allowed = write_objects(clone(estimator).set_params(**caches)).others
        data = {"X": X, "y": y, **{f"metadata {name}": params[name] for name in sorted(params)}}
        data = {name: _data_identity(name, value) for name, value in data.items()}
        sha = hashlib.sha256(json.dumps([identity(estimator), data]).encode())
        path = self._folder() / f"{type(estimator).__name__}-{sha.hexdigest()}.safetensors"
        task = begin_fit(self, X, y, n_tasks=1, in_order=False)
        with interruptible(path.parent):
            if path.exists():
                logger.info("fit of %s read from %s", type(estimator).__name__, path)
            else:
                with task.member(estimator, 0):
                    estimator.fit(X, y, **params)
                _write_fit(estimator.set_params(**caches), path, allowed)
            self.estimator_ = _load_fit(path, allowed).set_params(**free)
        task.end(fitted=dict)
        return self

    @available_if(_has("transform"))
    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit, or read the fit, and return `transform` of X; metadata go where they are taken."""
        if "groups" not in params and _takes_groups(self.estimator):
            warn_of_lost_groups()
        self.fit(X, y, **_taken(self.estimator, "fit", params))
        return self.transform(X, **_taken(self.estimator_, "transform", params))

    transform = _delegate("transform", "`transform` of X")
    inverse_transform = _delegate("inverse_transform", "`inverse_transform` of X")
    get_feature_names_out = _delegate("get_feature_names_out", "names of what `transform` returns")
    macrostates = _delegate("macrostates", "macrostates (n_samples, d) of large snapshots X")
    predict = _delegate("predict", "`predict` of X")
    drift = _delegate("drift", "the drift (n_samples, d) at macrostates (n_samples, d)")
    diffusion = _delegate("diffusion", "the diffusion (n_samples, d, d) at macrostates")
    simulate = _delegate("simulate", "paths of the SDE from start states")

    @available_if(_has("score"))
    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Return `score` of the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_.score(X, y, **params)

    @available_if(_has("set_output"))
    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose the container that `transform` returns, as for the estimator."""
        for one in (self.estimator, getattr(self, "estimator_", self.estimator)):
            one.set_output(transform=transform)
        return self

    @property
    def n_features_in_(self) -> int:
        """Number of features seen in fit."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of features seen in fit."""
        return self.estimator_.feature_names_in_

    def get_metadata_routing(self) -> Any:
        """Return the requests of the estimator: metadata pass through."""
        return get_routing_for_object(self.estimator)

    def _folder(self) -> Path:
        """Return the folder of the fits, made if it is not there."""
        if self.checkpoint_dir is None:
            raise ValueError(
                "Expected checkpoint_dir to be a folder, but got None, as in a file of a search; "
                "set a folder of yours."
            )
        folder = as_path(self.checkpoint_dir)
        if folder.exists() and not folder.is_dir():
            raise ValueError(
                f"Expected checkpoint_dir to be a folder, but got the file {str(folder)!r}; choose "
                "another."
            )
        folder = make_folder(folder)
        remove_drafts(folder)
        return folder

    def __sklearn_tags__(self) -> Tags:
        return get_tags(self.estimator)


CLASSES[Checkpointed.__name__] = Checkpointed  # files may hold it, too


def _takes_groups(estimator: Any) -> bool:
    """Tell whether `transform` names groups among its arguments."""
    return "groups" in inspect.signature(estimator.transform).parameters


def _taken(estimator: BaseEstimator, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata that a method takes: on request where they are routed, else by name."""
    names = inspect.signature(getattr(estimator, method)).parameters
    free = any(one.kind == one.VAR_KEYWORD for one in names.values())
    if free and get_config()["enable_metadata_routing"]:
        names = get_routing_for_object(estimator).consumes(method, params)
    elif free and method == "fit":
        return params
    return {name: value for name, value in params.items() if name in names}


def _without_effect(estimator: BaseEstimator) -> dict[str, Any]:
    """Return the parameters that are free; refuse those that leave bits to chance."""
    free = {}
    for name, value in estimator.get_params(deep=True).items():
        last = name.rpartition("__")[2]
        if last == "random_state":
            remedy = "pass an integer, for a fit that is repeated to be the same"
            check_integer(value, name, low=0, remedy=remedy)
        if last == "checkpoint_dir" and value is not None:
            raise ValueError(
                f"Expected {name} to be None in what is saved whole, but got {value!r}; leave it "
                "to Checkpointed, since fits of a search cannot share that folder."
            )
        if last in WITHOUT_EFFECT or last == "device":
            free[name] = value
    return free


def _data_identity(name: str, data: Any) -> Any:
    """Return JSON that is equal for equal data."""
    if data is None:
        return None
    array = np.atleast_1d(np.asarray(check_unmasked(data, name)))
    try:
        values = identity(array.tolist()) if array.dtype.hasobject else digest(array)
    except ValueError as error:
        raise ValueError(
            f"Expected {name} to be a dense array of numbers and texts, but got a "
            f"{type(data).__name__} of others; convert it, since sparse data and other objects are "
            "not supported."
        ) from error
    return [str(array.dtype), list(map(str, getattr(data, "columns", ()))), values]


def _write_fit(estimator: BaseEstimator, path: Path, allowed: set[type]) -> None:
    """Save a fitted estimator whose parts are of classes that its parameters name."""
    writer = write_objects(estimator)
    for cls in writer.others - allowed:
        raise ValueError(
            "Expected fitted parts of classes of this package, or of those of the parameters, but "
            f"got a {cls.__name__!r}; make it a parameter, or leave Checkpointed out."
        )
    write_container(path, writer.objects, writer.arrays)


def _load_fit(path: Path, allowed: set[type]) -> Any:
    """Return the estimator that a file holds."""
    try:
        return load(path, allow=allowed)
    except ValueError as error:
        raise ValueError(
            f"Expected a saved fit in {str(path)!r}, but could not read it ({error}); delete the "
            "file, and it is fitted again."
        ) from error
