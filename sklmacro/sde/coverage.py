"""What the data of a fit cover: all that is near one of their states.

    D(z) = min_k |(z - c_k) / s|,      z is covered where  D(z) <= r + 1/2

Here s are the standard deviations of the components. The c_k are at most 256 of 2000 of the states,
chosen one by one, each the farthest from those before it (Gonzalez, Theor. Comput. Sci. 38, 293
(1985)), until every state has one within 1/10. All states have one within r, and 99 % have another
state within r, so that more states of the same law would be covered. What is within half a standard
deviation of all that counts as known. Unlike a box, the balls about the c_k leave out holes and
corners in which there are no data.

More states of the same law can be outside now and then: as many as of the data, were each judged by
the others, and 3 / n besides, a probability that n states may all have missed (n is at most 1000).

Where a component has one value only, 1 % of that stands for s: other values are not covered.

Shape vocabulary::

    columns    (n, m)              states and contexts, m = d + n_context
    centres    (n_centres, m)      in standard deviations from the mean
    paths      (n_paths, n_times, d)
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from sklmacro._base.kernels import njit
from sklmacro._base.units import largest, spread
from sklmacro.sde.path_record import Looks

MOST_CENTRES = 256
FINE = 0.1  # distance to the nearest centre that is small enough, in standard deviations
MARGIN = 0.5  # around the data, in standard deviations
MOST_STATES = 2000  # that are looked at, with those of the extremes
MOST_NEIGHBOURS = 1000  # states whose nearest neighbour is sought


@dataclass(frozen=True)
class Coverage:
    """What the states of a fit cover."""

    mean: np.ndarray  # (m,)
    scale: np.ndarray  # (m,), standard deviations
    centres: np.ndarray  # (n_centres, m)
    radius: float  # r, within which every state of the fit has a centre
    unseen: float  # share of states of the same law that may be outside

    @classmethod
    def of(cls, columns: np.ndarray, parity: np.ndarray) -> "Coverage":
        """Return what `columns` (n, m) cover, and their mirror images by `parity` (m,)."""
        if (parity == -1).any():
            columns = np.concatenate([columns, columns * parity])
        mean, size = columns.mean(axis=0), largest(columns)
        width = spread(columns, mean)
        scale = np.where(width > 0, width, np.maximum(0.01 * size, np.finfo(float).tiny))
        u = (columns - mean) / scale
        some = u[:: -(-len(u) // MOST_STATES)]
        candidates = np.concatenate([some, u[u.argmin(axis=0)], u[u.argmax(axis=0)]])
        chosen, farthest = _choose_centres(candidates)
        centres, to_others = candidates[chosen], _distances_to_others(some)
        radius = max(farthest, np.quantile(to_others, 0.99))
        missed = np.mean(to_others > radius + MARGIN) + 3 / len(to_others)
        return cls(mean, scale, centres, float(radius), float(missed))

    @property
    def reach(self) -> float:
        """Return the largest distance D of what is covered."""
        return self.radius + MARGIN

    def distances(self, columns: np.ndarray) -> np.ndarray:
        """Return D (n,) of `columns` (n, m)."""
        return _distances((columns - self.mean) / self.scale, self.centres)

    def look(self, context: np.ndarray, paths: np.ndarray, start: int, looks: Looks) -> None:
        """Note which of the states `paths` (n, n_new, d) are outside.

        `start` is the place of the first, and `context` (n, n_context) that of each path.
        """
        _look(paths, context, self.mean, self.scale, self.centres, self.reach, start, looks)


def _distances_to_others(u: np.ndarray) -> np.ndarray:
    """Return the distances (n_asked,) of some states u (n, m) to the nearest other one."""
    if len(u) == 1:
        return np.zeros(1)
    return KDTree(u).query(u[:: -(-len(u) // MOST_NEIGHBOURS)], k=2)[0][:, 1]


@njit(nogil=True, cache=False, error_model="numpy")
def _squared_distance(u: np.ndarray, centre: np.ndarray) -> float:
    total = 0.0
    for i in range(len(centre)):
        total += (u[i] - centre[i]) ** 2
    return total


@njit(nogil=True, cache=False, error_model="numpy")
def _choose_centres(u: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the rows of u (n, m) that are centres, and the largest distance to the nearest.

    The first is the row nearest to the mean.
    """
    n = len(u)
    to_nearest, origin = np.empty(n), np.zeros(u.shape[1])
    for row in range(n):
        to_nearest[row] = _squared_distance(u[row], origin)
    chosen = np.empty(min(n, MOST_CENTRES), np.int64)
    newest = np.argmin(to_nearest)
    to_nearest[:] = np.inf
    for k in range(len(chosen)):
        chosen[k] = newest
        for row in range(n):
            to_nearest[row] = min(to_nearest[row], _squared_distance(u[row], u[newest]))
        newest = np.argmax(to_nearest)
        if to_nearest[newest] <= FINE * FINE:
            chosen = chosen[: k + 1]
            break
    return chosen, np.sqrt(to_nearest[newest])


@njit(nogil=True, cache=False, error_model="numpy")
def _nearest_centre(u: np.ndarray, centres: np.ndarray) -> tuple[float, int]:
    """Return the distance to the nearest centre of u (m,), and which it is."""
    best, place = np.inf, 0
    for k in range(len(centres)):
        square = _squared_distance(u, centres[k])
        if square < best:
            best, place = square, k
    return np.sqrt(best), place


@njit(nogil=True, cache=False, error_model="numpy")
def _distances(u: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return distances D (n,) of u (n, m)."""
    distances = np.empty(len(u))
    for row in range(len(u)):
        distances[row], _ = _nearest_centre(u[row], centres)
    return distances


@njit(nogil=True, cache=False, error_model="numpy")
def _look(
    paths: np.ndarray,
    context: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    centres: np.ndarray,
    reach: float,
    start: int,
    looks: Looks,
) -> None:
    """`Coverage.look`: all centres are asked only where those asked before do not tell.

    A state within reach of the centre that was nearest last is covered. If D was known a distance
    s ago, it is D - s at least, and no more than the distance to that centre.
    """
    n, n_new, d = paths.shape
    u, known, latest = np.empty(len(mean)), np.empty(len(mean)), 0.0
    for p in range(n):
        for i in range(d, len(u)):
            u[i] = (context[p, i - d] - mean[i]) / scale[i]
        latest = 0.0  # D of `known`; 0 for not known
        for t in range(n_new):
            for i in range(d):
                u[i] = (paths[p, t, i] - mean[i]) / scale[i]
            square = _squared_distance(u, centres[looks.nearest[p]])
            if square <= reach * reach:
                continue
            if np.isnan(square):  # from here on
                break
            least = latest - np.sqrt(_squared_distance(u, known)) if latest > reach else 0.0
            if least <= reach or np.sqrt(square) - reach > 1.1 * looks.farthest[p]:
                latest, looks.nearest[p] = _nearest_centre(u, centres)
                known[:] = u
                if not latest > reach:
                    continue
                looks.farthest[p] = max(looks.farthest[p], latest - reach)
            looks.n_outside[p] += 1
            if looks.first_outside[p] < 0:
                looks.first_outside[p] = start + t
                looks.component[p] = np.argmax(np.abs(u - centres[looks.nearest[p]]))
