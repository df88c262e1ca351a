"""What estimators inherit: scikit-learn's callbacks in every `fit`, and its `set_output`.

A fit is a task, and its epochs or members are tasks within; callbacks hear when each begins and
ends.

Macrostates are a table, and become a data frame where one is asked for. Snapshots and pairs are
not, and stay the arrays that the next step of a pipeline needs.

All data come in by `validate_input`.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.callback import with_callbacks
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import validate_data

from sklmacro._base.checks import as_data


def validate_input(estimator: BaseEstimator, X: Any, *y: Any, **options: Any) -> Any:
    """Return X, and y if it is given, checked by `as_data` and scikit-learn's `validate_data`."""
    targets = (as_data(target, "y") for target in y)
    snapshots = options.get("allow_nd", False)  # whose states may be booleans
    return validate_data(estimator, as_data(X, "X", booleans=snapshots), *targets, **options)


def is_split_by_groups() -> bool:
    """Tell whether a search or a cross-validation calls that splits rows by groups.

    No argument tells an estimator: it is seen from the calls of `sklearn.model_selection` that it
    runs within. In another process those of a cross-validation are not to be seen.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("sklearn.model_selection."):
            given = frame.f_locals
            groups = given.get("groups", (given.get("params") or {}).get("groups"))
            if groups is not None or _takes_groups(getattr(given.get("caller"), "cv", None)):
                return True
        frame = frame.f_back
    return False


def _takes_groups(splitter: Any) -> bool:
    """Tell whether a splitter, such as GroupKFold, asks for groups."""
    return get_routing_for_object(splitter).consumes("split", ["groups"]) == {"groups"}


class FitTask:
    """A fit or an epoch, from its beginning to its end; see `begin_fit`."""

    def __init__(self, context: Any, **of: Any):
        self._context, self._of = context, of
        context.call_on_fit_task_begin(**of)

    def end(self, fitted: Callable[[], dict[str, Any]] | None = None) -> bool:
        """End the task, and return whether a callback asks the fit to stop.

        `fitted` returns the attributes that the estimator still lacks to predict. It is called if
        a callback asks for the estimator.
        """
        return self._context.call_on_fit_task_end(**self._of, reconstruction_attributes=fitted)

    def epoch(self) -> "FitTask":
        """Begin an epoch."""
        return FitTask(self._context.subcontext("epoch"), **self._of)

    @contextmanager
    def member(self, estimator: BaseEstimator, number: int) -> Iterator[None]:
        """Have callbacks follow the fit of another estimator, which belongs to this one."""
        context = self._context.subcontext("fit a member", number)
        with context.propagate_callback_context(estimator):
            task = FitTask(context, **self._of)
            yield
            task.end()


def begin_fit(
    estimator: Any, X: Any, y: Any = None, *, n_tasks: int = 0, in_order: bool = True
) -> FitTask:
    """Begin a fit to X and y, in a method decorated by `with_callbacks`.

    It has at most `n_tasks` epochs or members, which follow each other if `in_order`.
    """
    begin = estimator._init_callback_context  # noqa: SLF001 - scikit-learn's hook for fits
    context = begin(max_subtasks=n_tasks, sequential_subtasks=in_order)
    return FitTask(context, estimator=estimator, X=X, y=y)


def as_one_task(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Have callbacks follow a method `fit` that has neither epochs nor members."""

    @with_callbacks
    @wraps(fit)
    def fit_as_task(self: Any, X: Any, y: Any = None) -> Any:
        task = begin_fit(self, X, y)
        fit(self, X, y)
        task.end(fitted=dict)
        return self

    return fit_as_task


class SetOutput(TransformerMixin):
    """Transformer with `set_output`; `_as_table` makes the container that was asked for."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)

    def set_output(self, *, transform: str | None = None) -> "SetOutput":
        """Choose the container of macrostates that `transform` returns.

        Snapshots and pairs, structured arrays included, stay as they are.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            None leaves the choice as it is.

        Returns
        -------
        self : estimator
        """
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}  # as clone() hands it on
        return self

    def _as_table(self, values: np.ndarray, names: np.ndarray) -> Any:
        """Return values (n_samples, n_names) in the container that was asked for."""
        chosen = getattr(self, "_sklearn_output_config", {}).get("transform")
        chosen = chosen or get_config()["transform_output"]
        if chosen == "default":
            return values
        table = FunctionTransformer(feature_names_out=lambda *_: names)
        return table.set_output(transform=chosen).fit_transform(values)
