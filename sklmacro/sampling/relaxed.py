"""Relaxed snapshots: the states of large snapshots along LocalRelax, what Upsample made first.

    0 = age_0 < age_1 < ... < age_{n_kept - 1} = age at the end of LocalRelax

The age of a state is the time for which its sites have evolved since Upsample, in the simulator's
unit and as a mean over the sites. A pass of LocalRelax adds the duration of a visit times the
visits to a site: with patches half a patch apart these are 2 along each axis, on a periodic square
lattice 4 in all. Ages after 0 grow by equal factors first, since observables relax within times
from less than a sweep to hundreds. Later they are equally far apart: what macrostates do not see
is forgotten within a few sweeps, whatever the age, and states beyond that are new data.

Relaxed snapshots are a numpy structured array with one record for each state:

=========  ===================  ======================================================
field      shape                meaning
=========  ===================  ======================================================
``x``      (*snapshot shape)    large snapshot
``group``  ()                   source: number of the small snapshot, or the group given
``age``    ()                   time for which its sites have evolved
=========  ===================  ======================================================

States of one source follow each other, those of one large snapshot in order of age. They share what
their source has by chance, so that a hold-out has to keep them together: by ``group``.
"""

from typing import Any

import numpy as np
from scipy.optimize import brentq

FIELDS = ("x", "group", "age")
GROWTH = 0.35  # of an age, from one to the next
FIRST_AGE = 0.1  # of the simulator's time of a pair, in which its fast observables move a little


def relaxed_dtype(snapshot_shape: tuple[int, ...], state_dtype: np.dtype | type) -> np.dtype:
    """Return the dtype of relaxed snapshots; see the module's table."""
    return np.dtype([("x", state_dtype, snapshot_shape), ("group", np.int64), ("age", np.float64)])


def is_relaxed(X: object) -> bool:
    """Tell whether `X` is an array of relaxed snapshots."""
    names = getattr(getattr(X, "dtype", None), "names", None)
    return names is not None and set(names) == set(FIELDS)


def snapshots_of(X: Any) -> Any:
    """Return the snapshots of relaxed ones, and any other X as it is."""
    return X["x"] if is_relaxed(X) else X


def ages_of(X: Any) -> np.ndarray | None:
    """Return the ages (n_samples,) of relaxed snapshots, or None for any other X."""
    return X["age"] if is_relaxed(X) else None


def spread_ages(last: float, n_kept: int, pair_time: float) -> np.ndarray:
    """Return ages (n_kept,) from 0 to `last`.

    The first after 0 is a tenth of `pair_time`, or less where the relaxation is so short. From
    there on two of them are GROWTH t apart at the age t, but no more than a distance that makes
    `n_kept` of them; equal factors are left where there are few.
    """
    first = min(FIRST_AGE * pair_time, last / (n_kept - 1))
    n_gaps = n_kept - 2

    def gaps(distance: float) -> float:
        knee = min(max(distance / GROWTH, first), last)  # from which ages are equally far apart
        return np.log(knee / first) / GROWTH + (last - knee) / distance

    if gaps(GROWTH * last) >= n_gaps:
        return np.append(0.0, np.geomspace(last, first, n_kept - 1)[::-1])
    if gaps(GROWTH * first) <= n_gaps:
        return np.append(0.0, np.linspace(first, last, n_kept - 1))
    distance = brentq(lambda x: gaps(x) - n_gaps, GROWTH * first, GROWTH * last)
    knee = distance / GROWTH
    n_early = np.log(knee / first) / GROWTH
    number = np.arange(n_kept - 1)
    early = first * np.exp(GROWTH * np.minimum(number, n_early))
    later = np.where(number < n_early, early, knee + (number - n_early) * distance)
    return np.append(0.0, np.append(later[:-1], last))
