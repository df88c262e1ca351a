"""Fits that are kept in a folder, so that a search over many of them can be taken up.

A search fits one estimator to many parts of the data with many parameters. Each such fit is named
by all that its result depends on,

    name = SHA-256(class and parameters, data, metadata),

and kept in a file of that name when it is done. Whoever wants the same fit again reads it.
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
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_integer
from sklmacro._base.estimators import begin_fit
from sklmacro.checkpoint.checkpoint import WITHOUT_EFFECT, described, digest, resumable, whole_file
from sklmacro.persistence import fingerprint, load, save
from sklmacro.persistence.classes import CLASSES

logger = logging.getLogger(__name__)


def _has(method: str) -> Callable[[Any], bool]:
    """Return a check that the estimator has a method, for `available_if`."""

    def check(self: Any) -> bool:
        getattr(self.estimator, method)  # else its own AttributeError
        return True

    return check


class Checkpointed(CallbackSupportMixin, MetaEstimatorMixin, BaseEstimator):
    """Keep every fit of an estimator in a folder, and read those that are there.

    It stands in a search in the place of the estimator. When the search was interrupted or killed,
    the same search goes on from there: fits that were done are not done again, and what it finds
    is the same to the last bit, times aside.

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
    A kept fit serves the same class, parameters, X, y and metadata, compared by SHA-256. Number of
    workers, verbosity, caches and paths do not count, and of devices only the kind does: those
    asked for now are in force. Versions of packages do not count either; with another one, which
    may round otherwise, take another folder.

    Methods of the estimator that are not here are those of `estimator_`. Callbacks hear of epochs
    where a fit is done, and not where it is read; one that ends fits early has no place here.
    Scores are computed anew. A killed process may leave files that end in ``.partial``; they can be
    deleted when none is at work.

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
    ...     kept = Checkpointed(sde, folder)
    ...     grid = {"estimator__drift_model__degree": [1, 3, 5]}
    ...     search = GridSearchCV(kept, grid, cv=3).fit(z, dz)
    >>> search.best_params_
    {'estimator__drift_model__degree': 1}
    """

    estimator_: BaseEstimator

    def __init__(self, estimator: BaseEstimator, checkpoint_dir: str | os.PathLike[str]):
        self.estimator = estimator
        self.checkpoint_dir = checkpoint_dir

    @with_callbacks
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit a clone of the estimator, or read the fit where it is kept.

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
            If the same fit could not be told or done again: a `random_state` is no integer, a
            parameter is of a kind that no file can hold, or data are no numbers and texts; if a
            `checkpoint_dir` of its own is set, or a kept file is damaged.
        """
        estimator = clone(self.estimator)
        free = _without_effect(estimator)
        neutral = {name: _neutral(name, value) for name, value in free.items()}
        what, others = fingerprint(clone(estimator).set_params(**neutral))
        data = {"X": X, "y": y, **{f"metadata {name}": params[name] for name in sorted(params)}}
        data = {name: _described(name, value) for name, value in data.items()}
        sha = hashlib.sha256(json.dumps([what, data]).encode())
        path = self._folder() / f"{type(estimator).__name__}-{sha.hexdigest()}.safetensors"
        task = begin_fit(self, X, y, n_tasks=1, in_order=False)
        with resumable(self.checkpoint_dir):
            if path.exists():
                logger.info("fit of %s read from %s", type(estimator).__name__, path)
                fitted = _kept(path, others)
            else:
                with task.member(estimator, 0):
                    estimator.fit(X, y, **params)
                with whole_file(path) as beside:
                    save(estimator.set_params(**neutral), beside)
                    fitted = load(beside, allow=others)  # the same, kept or not
        self.estimator_ = fitted.set_params(**free)
        task.end(fitted=dict)
        return self

    @available_if(_has("transform"))
    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit, or read the fit, and return `transform` of X; metadata go to both."""
        self.fit(X, y, **params)
        taken = inspect.signature(self.estimator_.transform).parameters
        return self.transform(X, **{name: v for name, v in params.items() if name in taken})

    @available_if(_has("transform"))
    def transform(self, X: Any, **params: Any) -> Any:
        """Return `transform` of the fitted estimator."""
        return self._fitted().transform(X, **params)

    @available_if(_has("inverse_transform"))
    def inverse_transform(self, X: Any, **params: Any) -> Any:
        """Return `inverse_transform` of the fitted estimator."""
        return self._fitted().inverse_transform(X, **params)

    @available_if(_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of what `transform` returns."""
        return self._fitted().get_feature_names_out(input_features)

    @available_if(_has("set_output"))
    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose the container that `transform` returns, as for the estimator."""
        for one in (self.estimator, getattr(self, "estimator_", None)):
            if one is not None:
                one.set_output(transform=transform)
        return self

    @available_if(_has("macrostates"))
    def macrostates(self, X: Any) -> np.ndarray:
        """Return the macrostates (n_samples, d) of large snapshots."""
        return self._fitted().macrostates(X)

    @available_if(_has("predict"))
    def predict(self, X: Any, **params: Any) -> Any:
        """Return `predict` of the fitted estimator."""
        return self._fitted().predict(X, **params)

    @available_if(_has("score"))
    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Return `score` of the fitted estimator."""
        return self._fitted().score(X, y, **params)

    @available_if(_has("drift"))
    def drift(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the drift (n_samples, d) at macrostates z (n_samples, d)."""
        return self._fitted().drift(z, context)

    @available_if(_has("diffusion"))
    def diffusion(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the diffusion (n_samples, d, d) at macrostates z (n_samples, d)."""
        return self._fitted().diffusion(z, context)

    @available_if(_has("simulate"))
    def simulate(self, z0: Any, n_steps: int, dt: float, **options: Any) -> np.ndarray:
        """Return paths of the fitted SDE; parameters are those of its own `simulate`."""
        return self._fitted().simulate(z0, n_steps, dt, **options)

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

    def _fitted(self) -> Any:
        check_is_fitted(self)
        return self.estimator_

    def _folder(self) -> Path:
        """Return the folder of the fits, made if it is not there."""
        folder = Path(self.checkpoint_dir)
        if folder.exists() and not folder.is_dir():
            raise ValueError(
                f"Expected checkpoint_dir to be a folder, but got the file {str(folder)!r}; choose "
                "another."
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def __sklearn_tags__(self) -> Tags:
        return get_tags(self.estimator)


CLASSES[Checkpointed.__name__] = Checkpointed  # files may hold it, too


def _without_effect(estimator: BaseEstimator) -> dict[str, Any]:
    """Return the parameters that change no bit of a fit; refuse those that leave bits to chance."""
    found = {}
    for name, value in estimator.get_params(deep=True).items():
        last = name.rpartition("__")[2]
        if last == "random_state":
            remedy = "pass an integer, for a fit that is done again to be the same"
            check_integer(value, name, low=0, remedy=remedy)
        if last == "checkpoint_dir" and value is not None:
            raise ValueError(
                f"Expected {name} to be None in what is kept whole, but got {value!r}; leave it to "
                "Checkpointed, since fits of a search cannot share that folder."
            )
        if last in WITHOUT_EFFECT:
            found[name] = value
    return found


def _neutral(name: str, value: Any) -> Any:
    """Return the value that stands for all values of a parameter without effect."""
    last = name.rpartition("__")[2]
    if last == "device":
        return str(value).partition(":")[0]
    return False if last == "verbose" else None


def _described(name: str, data: Any) -> Any:
    """Return JSON that is equal for equal data."""
    if data is None:
        return None
    array = np.atleast_1d(np.asarray(data))
    try:
        values = described(array.tolist()) if array.dtype.hasobject else digest(array)
    except ValueError as error:
        raise ValueError(
            f"Expected {name} to be a dense array of numbers and texts, but got a "
            f"{type(data).__name__} of others; convert it, since sparse data and other objects are "
            "not supported."
        ) from error
    return [str(array.dtype), list(map(str, getattr(data, "columns", ()))), values]


def _kept(path: Path, others: set[type]) -> Any:
    """Return the estimator that a file keeps."""
    try:
        return load(path, allow=others)
    except ValueError as error:
        raise ValueError(
            f"Expected a fit that was kept in {str(path)!r}, but could not read it ({error}); "
            "delete the file, and it is fitted again."
        ) from error
