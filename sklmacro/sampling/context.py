"""Outer parameters of simulators that pairs carry as their context (Eq. 31).

Shape vocabulary::

    names     (n_context,)       parameters of the simulator
    context   (n, n_context)     their values in each pair
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import qmc
from sklearn.base import clone

from sklmacro._base.checks import check_real
from sklmacro.simulators import Simulator

Ranges = Mapping[str, tuple[float, float]] | None  # (low, high) of each parameter


def with_parameters(simulator: Simulator, names: Sequence[str], values: np.ndarray) -> Simulator:
    """Return a simulator with other values of the parameters `names`."""
    return clone(simulator).set_params(**dict(zip(names, values.tolist(), strict=True)))


def by_context(context: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each set of values (n_context,), as they first come, and the rows that have it."""
    _, first, which = np.unique(context, axis=0, return_index=True, return_inverse=True)
    for k in np.argsort(first, kind="stable"):
        yield context[first[k]], np.flatnonzero(which.ravel() == k)


def check_ranges(ranges: Ranges) -> None:
    """Raise ValueError unless they are ranges of parameters by name, or None."""
    if not isinstance(ranges, Mapping | None):
        raise ValueError(
            "Expected context to give the range of each parameter by its name, but got "
            f"{ranges!r}; pass for instance {{'temperature': (2.3, 4.0)}}."
        )
    for name, ends in (ranges or {}).items():
        numbers = [check_real(end, f"context[{name!r}]") for end in np.ravel(ends)]
        if len(numbers) != 2 or numbers[0] >= numbers[1]:
            raise ValueError(
                f"Expected a range (low, high) of {name} in context, but got {ends!r}; leave "
                "out what has one value, and set it in the simulator."
            )


def scattered(ranges: Ranges, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return values (n, n_context), scattered evenly over their ranges."""
    if not ranges:
        return np.empty((n, 0))
    low, high = np.array(list(ranges.values()), float).T
    points = qmc.Halton(len(low), scramble=True, rng=rng).random(n)
    return low + (high - low) * points
