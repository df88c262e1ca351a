"""Relaxed snapshots: the states of large snapshots along LocalRelax, what Upsample made first.

    0 = age_0 < age_1 < ... < age_{n_kept - 1} = age at the end of LocalRelax

The age of a state is the time for which its sites have evolved since Upsample, in the simulator's
unit and as a mean over the sites. A pass of LocalRelax adds the duration of a visit times the
visits to a site: with patches half a patch apart these are 2 along each axis, on a periodic square
lattice 4 in all. Ages after 0 are even on a logarithmic scale, since observables relax within times
from less than a sweep to hundreds.

Relaxed snapshots are a numpy structured array with one record for each state:

=========  =================  ======================================================
field      shape              meaning
=========  =================  ======================================================
``x``      (*snapshot shape)  large snapshot
``group``  ()                 source: number of the small snapshot, or the group given
``age``    ()                 time for which its sites have evolved
=========  =================  ======================================================

States of one source follow each other, those of one large snapshot in order of age. They share what
their source has by chance, so that a hold-out has to keep them together: by ``group``.
"""

from typing import Any

import numpy as np

FIELDS = ("x", "group", "age")
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
    """Return ages (n_kept,) from 0 to `last`, even on a logarithmic scale after 0.

    The first after 0 is a tenth of `pair_time`, or less where the relaxation is so short.
    """
    first = min(FIRST_AGE * pair_time, last / (n_kept - 1))
    return np.append(0.0, np.geomspace(last, first, n_kept - 1)[::-1])
