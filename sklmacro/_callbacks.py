"""scikit-learn's callbacks in every `fit`: progress bars, early stops, monitors of scores.

A fit is a task, and its epochs or members are tasks within; callbacks hear when each begins and
ends. scikit-learn has callbacks from version 1.9 on; with an older one nobody listens.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Self

from sklearn.base import BaseEstimator

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class _NobodyListens:
        """Takes the place of `sklearn.callback.CallbackContext`."""

        def subcontext(self, *options: Any) -> Self:
            return self

        def call_on_fit_task_begin(self, **options: Any) -> None:
            pass

        def call_on_fit_task_end(self, **options: Any) -> bool:
            return False

        @contextmanager
        def propagate_callback_context(self, estimator: BaseEstimator) -> Iterator[None]:
            yield

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Takes the place of scikit-learn's."""

        def _init_callback_context(self, **options: Any) -> _NobodyListens:
            return _NobodyListens()

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


class FitTask:
    """A fit or an epoch, from its beginning to its end; see `begin_fit`."""

    def __init__(self, context: Any, **of: Any):
        self._context, self._of = context, of
        context.call_on_fit_task_begin(**of)

    def end(self, fitted: Callable[[], dict[str, Any]] | None = None) -> bool:
        """End the task, and return whether a callback wants the fit to stop.

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
    """Begin a fit, in a method decorated by `with_callbacks`.

    Parameters
    ----------
    estimator : estimator with CallbackSupportMixin
    X, y : object
        What it is fitted to.
    n_tasks : int, default=0
        Largest number of epochs or members.
    in_order : bool, default=True
        Whether they follow each other.
    """
    context = estimator._init_callback_context(max_subtasks=n_tasks, sequential_subtasks=in_order)
    return FitTask(context, estimator=estimator, X=X, y=y)


def as_one_task(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Have callbacks follow a method `fit` that has neither epochs nor members."""

    @with_callbacks
    @wraps(fit)
    def told(self: Any, X: Any, y: Any = None) -> Any:
        task = begin_fit(self, X, y)
        fit(self, X, y)
        task.end(fitted=dict)
        return self

    return told
