"""The straightforward ways to do what sklmacro.neural, rollout and scoring do."""

import numpy as np


def mmd2_time_by_time(P, Q, widths):
    """Unbiased squared MMD (n_times,) of paths (n_paths, n_times, d): all pairs by broadcasting."""

    def kernel(x, y):
        squared_distance = ((x[:, np.newaxis] - y[np.newaxis]) ** 2).sum(axis=-1)
        return sum(np.exp(-squared_distance / (2 * s**2)) for s in widths) / len(widths)

    n, m = len(P), len(Q)
    values = np.empty(P.shape[1])
    for t in range(P.shape[1]):
        x, y = P[:, t], Q[:, t]
        within_x = (kernel(x, x).sum() - n) / (n * (n - 1))
        within_y = (kernel(y, y).sum() - m) / (m * (m - 1))
        values[t] = within_x + within_y - 2 * kernel(x, y).mean()
    return values
