"""Labels of the components of macrostates."""

from collections.abc import Sequence
from typing import Any

from sklearn.pipeline import Pipeline


def component_labels(n: int, labels: Sequence[str] | None, simulator: Any) -> tuple[str, ...]:
    """Return labels of the n components of a macrostate.

    Parameters
    ----------
    n : int
    labels : sequence of str, or None
        Labels, at least n of them; the first n are taken.
    simulator : Simulator, or None
        Names and units of the observables, where no labels are given; what follows them in a
        macrostate are closures. None numbers the components.

    Raises
    ------
    ValueError
        If there are fewer labels than components.
    """
    if labels is None and simulator is None:
        return tuple(f"z{k}" for k in range(n))
    if labels is None:
        labels = simulator.observable_labels
        labels = [*labels, *(f"closure{k}" for k in range(n - len(labels)))]
    labels = tuple(labels)
    if len(labels) < n:
        raise ValueError(
            f"Expected a label for each of the {n} components, but got {labels!r}; name all of "
            "them."
        )
    return labels[:n]


def simulator_of(estimator: Any) -> Any:
    """Return the simulator that gives a fitted Pipeline's observables, or None."""
    if not isinstance(estimator, Pipeline) or len(estimator) < 2:
        return None
    return getattr(estimator[-2], "simulator_", None)
