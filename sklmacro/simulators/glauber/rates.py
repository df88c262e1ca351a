"""Heat-bath rates of spins on a lattice, by the sum of their neighbours; and what attempts cost.

Costs, in nanoseconds, say when to continue without rejections.
"""

from functools import lru_cache

import numpy as np
from scipy.special import expit

from sklmacro._base.kernels import njit
from sklmacro.lattice.lattice import Lattice, n_axes
from sklmacro.simulators.machine.random_words import probability_words

ATTEMPT = 2.0  # a spin drawn anew
EVENT = 40.0  # a flip from the lists of spins of equal rate
LISTING = 10.0  # putting a site into the lists
LARGE = 4_000_000.0  # sites whose lists and tables of neighbours take some 500 MB
CALL = 20_000.0  # leaving the kernel and entering another


def heat_bath(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rates (n, 2) of a down and an up spin, given what the flip of an up spin costs over T.

    The first column is the heat-bath probability of an up spin, the second one minus it, not taken
    as a difference, which would lose the rare flips of low temperatures. With them come the words
    (n,) of the first column. Both are read-only.
    """
    rates = np.column_stack([expit(cost), expit(-cost)])
    up = probability_words(rates[:, 0])
    for table in (rates, up):
        table.flags.writeable = False
    return rates, up


@lru_cache(maxsize=64)
def rate_tables(
    kind: str, temperature: float, field: float, coupling: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return `heat_bath` for the neighbour sums -z ... z of a lattice, 2 z + 1 rows."""
    z = Lattice(kind, (1,) * n_axes(kind)).coordination
    return heat_bath(2.0 * (coupling * np.arange(-z, z + 1.0) + field) / temperature)


@njit(nogil=True)
def attempts_cost_more(n_sites: int, n_attempts: float, n_events: float) -> bool:
    """Say whether `n_attempts` cost more than the `n_events` that they bring, listed first."""
    listing = LISTING * n_sites * (1.0 + n_sites / LARGE)
    return ATTEMPT * n_attempts > EVENT * n_events + listing + CALL
