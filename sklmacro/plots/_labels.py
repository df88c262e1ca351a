"""Labels of axes: names of macroscopic quantities with their units."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from sklearn.pipeline import Pipeline


def with_unit(name: str, unit: str | None) -> str:
    """Return "name [unit]", or the name alone for a pure number."""
    return name if unit in (None, "", "1") else f"{name} [{unit}]"


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
        named = zip_longest(simulator.observable_names, simulator.observable_units)
        labels = [with_unit(name, unit) for name, unit in named]
        labels += [f"closure{k}" for k in range(n - len(labels))]
    labels = tuple(labels)
    if len(labels) < n:
        raise ValueError(
            f"Expected a label for each of the {n} components, but got {labels!r}; name all of "
            "them."
        )
    return labels[:n]


def simulator_of(estimator: Any) -> Any:
    """Return the simulator that gives a fitted Pipeline's observables, or None."""
    if not isinstance(estimator, Pipeline):
        return None
    return getattr(estimator.steps[-2][1], "simulator_", None) if len(estimator) > 1 else None
