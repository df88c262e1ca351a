"""Initial snapshots chosen by their observables, from candidates that are drawn as ever.

A law can be learned only where there are data. Draws of `draw_initial` leave gaps by chance; of
many candidates, those are taken that fill the range evenly, or that come nearest to given values.
Observables are compared in units of their range over the candidates.

Candidates may fill a line or a thin shape in the space of the observables: domain walls of random
spins follow from the magnetisation, fractions add up to 1. On a line they are taken at even
distances, from one end to the other. Elsewhere each is as far as can be from all before, so that no
part of the shape stays empty, whatever it is; points that are even in a box around it would mostly
fall outside.

Shape vocabulary::

    z          (n_candidates, n_observables)
    u          (n_candidates, n_varying)       in units of the range
    chosen     (n,)                            numbers of different candidates
"""

from collections.abc import Iterator

import numpy as np

PER_SNAPSHOT = 32  # candidates
LEAST, MOST = 1 << 10, 1 << 14  # candidates, unless there are fewer than FEWEST per snapshot
FEWEST = 4
MOST_SITES = 1 << 26  # of all candidates, which is about two seconds of random spins
ROUNDING = 1e-9  # of the range


def n_candidates(n: int, n_sites: int) -> int:
    """Return how many candidates are drawn for n snapshots of n_sites sites each."""
    wanted = min(max(PER_SNAPSHOT * n, LEAST), MOST, MOST_SITES // n_sites)
    return max(wanted, FEWEST * n)


def choose_even(z: np.ndarray, n: int) -> np.ndarray:
    """Return the numbers (n,) of candidates whose observables are spread evenly over their range.

    On a line they are in order along it. If no observable varies, they are the first candidates.
    """
    u = _in_units(z)
    u = u[:, np.ptp(u, axis=0) > 0]
    if not u.shape[1]:
        return np.arange(n)
    u = u - u.mean(axis=0)
    _, sizes, directions = np.linalg.svd(u, full_matrices=False)
    if (sizes > ROUNDING * sizes[0]).sum() > 1:
        return np.fromiter(_farthest(u, n), int, n)
    along = u @ (directions[0] * np.sign(directions[0, 0]))
    low, high = along.min(), along.max()
    places = np.linspace(low, high, n) if n > 1 else np.array([(low + high) / 2])
    return _nearest(along[:, np.newaxis], places[:, np.newaxis])


def choose_near(z: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the numbers (n,) of the candidates nearest to targets (n, n_observables).

    An observable of which a target is NaN may have any value. One that does not vary does not
    count.
    """
    both = _in_units(z, targets)
    return _nearest(both[: len(z)], both[len(z) :])


def _in_units(z: np.ndarray, targets: np.ndarray | None = None) -> np.ndarray:
    """Return z, and targets below, in units of the range of z; 0 in what does not vary."""
    low, high = z.min(axis=0), z.max(axis=0)
    varies = high - low > ROUNDING * np.maximum(np.abs(low), np.abs(high))
    both = z if targets is None else np.concatenate([z, targets])
    return np.where(varies, (both - low) / np.where(varies, high - low, 1.0), 0.0)


def _nearest(u: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the numbers (n,) of different candidates, each the nearest to a target that is left.

    NaN in targets are no distance.
    """
    chosen, taken = np.empty(len(targets), int), np.zeros(len(u), bool)
    for k, target in enumerate(targets):
        known = ~np.isnan(target)
        distances = ((u[:, known] - target[known]) ** 2).sum(axis=1)
        distances[taken] = np.inf
        chosen[k] = distances.argmin()
        taken[chosen[k]] = True
    return chosen


def _farthest(u: np.ndarray, n: int) -> Iterator[int]:
    """Yield the numbers of n different candidates, each the farthest from all before."""
    distances = (u**2).sum(axis=1)  # from the mean, which comes first
    last = int(distances.argmin())
    distances = np.full(len(u), np.inf)
    for _ in range(n):
        yield last
        distances = np.minimum(distances, ((u - u[last]) ** 2).sum(axis=1))
        distances[last] = -1.0  # once
        last = int(distances.argmax())
