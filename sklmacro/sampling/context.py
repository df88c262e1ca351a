"""Outer parameters of simulators that pairs carry as their context (Eq. 31).

Shape vocabulary::

    names     (n_context,)       parameters of the simulator
    context   (n, n_context)     their values in each pair
"""

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.base import clone

from sklmacro.simulators import Simulator


def with_parameters(simulator: Simulator, names: Sequence[str], values: np.ndarray) -> Simulator:
    """Return a simulator with other values of the parameters `names`."""
    return clone(simulator).set_params(**dict(zip(names, values.tolist(), strict=True)))


def by_context(context: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each set of values (n_context,), as they first come, and the rows that have it."""
    _, first, which = np.unique(context, axis=0, return_index=True, return_inverse=True)
    for k in np.argsort(first, kind="stable"):
        yield context[first[k]], np.flatnonzero(which.ravel() == k)
