"""Slow, plain twins of the fast kernels: the definition written down, nothing else."""

import numpy as np


def mmd2(X, Y, widths, biased):
    """Squared maximum mean discrepancy, Gretton et al. (2012), Eq. 3, or Eq. 5 if biased."""

    def k(x, y):
        return np.mean([np.exp(-((x - y) ** 2).sum() / (2 * s**2)) for s in widths])

    def mean_within(Z):
        pairs = [(i, j) for i in range(len(Z)) for j in range(len(Z)) if biased or i != j]
        return np.mean([k(Z[i], Z[j]) for i, j in pairs])

    return mean_within(X) + mean_within(Y) - 2 * np.mean([k(x, y) for x in X for y in Y])
