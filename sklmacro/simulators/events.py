"""What can happen next: events and their rates, and the moments that follow from them.

Event e happens at rate r_e and changes the sums of the observables' densities over the lattice by
dphi_e. As dt -> 0, the increment of the sums in a time dt has, given the snapshot, the mean b dt
and the covariance A dt (Gillespie, J. Chem. Phys. 113, 297 (2000), Eqs. 4-6):

    b = sum_e r_e dphi_e,        A = sum_e r_e dphi_e dphi_e^T
"""

from dataclasses import dataclass

import numpy as np

from sklmacro._base.kernels import STEPS, heed, njit


@dataclass(frozen=True)
class Events:
    """The n events that can happen next in a window of one snapshot.

    Attributes
    ----------
    rates : ndarray of shape (n,)
        Rates, 1/time, at least 0.
    sites : ndarray of int, shape (n, s)
        The s sites that each event changes, as numbers in the flat lattice (C order of site_shape).
    states : ndarray of shape (n, s), or (n, s, n_fields) where a site has several fields
        The new states of these sites.
    changes : ndarray of shape (n, n_observables)
        Changes of the densities' sums over the whole lattice.
    """

    rates: np.ndarray
    sites: np.ndarray
    states: np.ndarray
    changes: np.ndarray

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return b (n_observables,) and A (n_observables, n_observables)."""
        rates, changes = np.ascontiguousarray(self.rates, float), self.changes
        b, A = sum_events(rates[np.newaxis], np.ascontiguousarray(changes, float))
        return b[0], A[0]


@njit(nogil=True)
def sum_events(rates: np.ndarray, changes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return b (m, k) and A (m, k, k) from m rates (m, n) of n events with changes (n, k).

    Sums run over the events in order, so that the same bits come out wherever it runs.
    """
    (m, n), k = rates.shape, changes.shape[1]
    b, A = np.zeros((m, k)), np.zeros((m, k, k))
    for row in range(m):
        for e in range(n):
            rate = rates[row, e]
            for i in range(k):
                b[row, i] += rate * changes[e, i]
                for j in range(k):
                    A[row, i, j] += rate * changes[e, i] * changes[e, j]
            if e % STEPS == STEPS - 1:
                heed()
    return b, A
