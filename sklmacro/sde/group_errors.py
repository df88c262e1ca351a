"""By how much the error of a drift is understated, as leaving out whole groups shows.

What z does not see lasts along a trajectory, in ways that no model of the noise describes. With the
coefficients w_(-b) that are fitted without block b of the groups, and Phi some rows of features,

    c^2 = mean |Phi (w_(-b) - w)|^2 (B - 1) / mean |Phi S|^2

over blocks b and rows of other blocks, next to which there still are data, compares the jackknife's
variance of the drift with that of the coefficients' law, S S^T (Cameron and Miller, J. Hum. Resour.
50, 317 (2015), on errors that are correlated within groups).
"""

import numpy as np

from sklmacro.sde.coefficients import Coefficients, States, equations, features_of, kinds_of
from sklmacro.sde.evidence import Hyperparameters
from sklmacro.sde.kernels import Kernel

MOST_BLOCKS = 20
MOST_PROBED = 500  # rows at which errors are compared


def blocks_of(groups: np.ndarray) -> list[np.ndarray]:
    """Return the rows of blocks of groups, as many as there are groups up to MOST_BLOCKS."""
    names, which = np.unique(groups, return_inverse=True)
    block = which * min(MOST_BLOCKS, len(names)) // len(names)
    return [np.flatnonzero(block == k) for k in range(block.max() + 1)]


def equations_of_blocks(
    states: States, kernel: Kernel, weight: np.ndarray, h: Hyperparameters
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the equations of each block of groups, which add up to those of all."""
    return [
        equations(states.take(rows), kernel, weight[rows], h) for rows in blocks_of(states.groups)
    ]


def understated(
    states: States,
    drift: Coefficients,
    parts: list[tuple[np.ndarray, np.ndarray]],
    noise: np.ndarray,
    precisions: list[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Return c (d,), at least 1, for equations `parts` of blocks, and what `prior` gives."""
    d, n = states.d, len(states.u)
    factors = np.ones(d)
    if len(parts) < 2 or len(np.unique(states.groups)) == n:
        return factors
    probed = np.linspace(0, n - 1, min(n, MOST_PROBED)).astype(int)
    inside = [np.isin(probed, rows) for rows in blocks_of(states.groups)]
    phi = features_of(drift.kernel, states, probed)
    for i, (kind, (precision, used)) in enumerate(zip(kinds_of(states), precisions, strict=True)):
        F = phi[kind][:, used]
        of_law = np.mean(np.sum((F @ drift.spread[i][used]) ** 2, axis=1))
        gram = sum(part[kind] for part, _ in parts)
        right = sum(part[kind][:, i] for _, part in parts)
        changes = []
        for own, (own_gram, own_right) in zip(inside, parts, strict=True):
            A = (gram - own_gram[kind]) / noise[i] ** 2 + np.diag(precision)
            b = (right - own_right[kind][:, i]) / noise[i] ** 2
            w = np.linalg.lstsq(A[np.ix_(used, used)], b[used], rcond=1e-13)[0]
            changes.append(np.mean((F[~own] @ (w - drift.mean[i][used])) ** 2))
        of_groups = np.mean(changes) * (len(parts) - 1)
        if of_law > 0:
            factors[i] = max(1.0, np.sqrt(of_groups / of_law))
    return factors
