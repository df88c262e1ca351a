"""Labels of the components of macrostates."""

from collections.abc import Sequence
from typing import Any

from sklearn.pipeline import Pipeline

from sklmacro.simulators import Simulator

Labels = Sequence[str] | Simulator | None


def component_labels(n: int, labels: Labels) -> tuple[str, ...]:
    """Return labels of the n components of a macrostate.

    Parameters
    ----------
    n : int
    labels : sequence of str, Simulator, or None
        Labels, at least n of them, of which the first n are taken; or the simulator with names and
        units of the observables, which closures follow in a macrostate. None numbers the
        components.

    Raises
    ------
    ValueError
        If there are fewer labels than components.
    """
    if labels is None:
        return tuple(f"z{k}" for k in range(n))
    if isinstance(labels, Simulator):
        names = labels.observable_labels
        labels = [*names, *(f"closure{k}" for k in range(n - len(names)))]
    labels = tuple(labels)
    if len(labels) < n:
        raise ValueError(
            f"Expected a label for each of the {n} components, but got {labels!r}; name all of "
            "them."
        )
    return labels[:n]


def labels_of(estimator: Any, labels: Labels) -> Labels:
    """Return the labels, or the simulator that gives a fitted Pipeline's observables, or None."""
    if labels is not None or not isinstance(estimator, Pipeline) or len(estimator) < 2:
        return labels
    return getattr(estimator[-2], "simulator_", None)
