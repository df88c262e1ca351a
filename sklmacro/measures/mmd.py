"""Sums of Gaussian kernels over pairs of samples, for the maximum mean discrepancy.

    k(x, y) = mean over rates of exp(-rate |x - y|^2)

Shape vocabulary::

    X, Y    (d, n), (d, m)                 samples of two laws, components first
    P, Q    (n_paths, n_times, d)          paths, compared time by time
    rates   (n_widths,)                    1 / (2 s^2) for widths s, increasing
"""

import numpy as np

from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.sde.compiled.elementary import exp

PAIRS_AT_A_TIME = 1024  # long enough to fill vectors, short enough to stay in the first cache


@njit(nogil=True, cache=False, fastmath={"reassoc", "contract"}, error_model="numpy")
def _sum_of_kernels(squared_distance: np.ndarray, rates: np.ndarray, doubling: bool) -> float:
    """Sum exp(-rate r^2) over all rates and r^2 (n_pairs,), which is overwritten."""
    power, total = squared_distance, 0.0
    for w in range(len(rates)):
        part, rate = 0.0, -rates[w]
        if not doubling:
            for p in range(power.shape[0]):
                part += exp(rate * squared_distance[p])
        elif w == 0:
            for p in range(power.shape[0]):
                power[p] = exp(rate * squared_distance[p])
                part += power[p]
        else:
            for p in range(power.shape[0]):
                square = power[p] * power[p]
                power[p] = square * square
                part += power[p]
        total += part
    return total


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def kernel_sum(
    X: np.ndarray, Y: np.ndarray, rates: np.ndarray, doubling: bool, below_diagonal: bool
) -> float:
    """Sum k(x_i, y_j) over all pairs, or over j < i; X is (d, n) and Y is (d, m).

    `doubling` tells that each rate is 4 times the last: exp(-4 rate r^2) = exp(-rate r^2)^4.
    Squared distances of several rows are gathered first, so that short rows fill vectors too.
    """
    (d, n), m = X.shape, Y.shape[1]
    squared_distance = np.empty(PAIRS_AT_A_TIME + m)
    total, filled, since = 0.0, 0, 0
    for i in range(n):
        stop = i if below_diagonal else m
        row = squared_distance[filled : filled + stop]
        for k in range(d):
            x, y = X[k, i], Y[k]
            for j in range(stop):
                difference = x - y[j]
                row[j] = difference * difference + (row[j] if k > 0 else 0.0)
        filled += stop
        if filled > PAIRS_AT_A_TIME or i == n - 1:
            total += _sum_of_kernels(squared_distance[:filled], rates, doubling)
            since, filled = since + filled, 0
            if since >= STEPS:
                heed()
                since = 0
    return total / len(rates)


@njit(nogil=True, cache=False)
def mmd2_at_times(
    P: np.ndarray, Q: np.ndarray, divisor: np.ndarray, rates: np.ndarray, biased: bool
) -> np.ndarray:
    """Return the squared MMD (n_times,) of P / divisor and Q / divisor."""
    n, m, (n_times, d) = len(P), len(Q), P.shape[1:]
    X, Y = np.empty((d, n)), np.empty((d, m))  # so that the inner loops run over paths
    doubling = bool((rates[1:] == 4 * rates[:-1]).all())
    values = np.empty(n_times)
    for t in range(n_times):
        if t % 64 == 63:
            heed()
        for k in range(d):
            X[k], Y[k] = P[:, t, k] / divisor[k], Q[:, t, k] / divisor[k]
        within_x = 2 * kernel_sum(X, X, rates, doubling, True)
        within_y = 2 * kernel_sum(Y, Y, rates, doubling, True)
        across = kernel_sum(X, Y, rates, doubling, False) / (n * m)
        if biased:  # Gretton et al., Eq. 5: pairs i = j count, with k(x, x) = 1
            # A squared norm: what is below 0 is rounding.
            square = (n + within_x) / n**2 + (m + within_y) / m**2 - 2 * across
            values[t] = max(square, 0.0)
        else:  # Eq. 3
            values[t] = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across
    return values
