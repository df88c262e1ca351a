"""Which clusters become closures: the candidates, and those of them that the dynamics needs.

Pairs show what drives the observables, see `selection`. Snapshots alone do not: of the candidates
the first ones are taken that tell something new.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklmacro.closure.clusters import Cluster, library
from sklmacro.closure.known import KnownFunctions
from sklmacro.closure.selection import Selection, SelectionStep, independent
from sklmacro.lattice.lattice import Lattice
from sklmacro.sampling.pairs import has_moments

AUTO = "auto"  # number of closures
MOST_ROWS = 5000  # that closures are selected by
ROUNDING = 1e-14  # of increments, in units of the observables
MOST_DRIFTS = 500  # rows by which it is judged how long a closure lasts
PROBED = 16  # pairs in which a candidate has to change


def candidates(
    known: KnownFunctions, lattice: Lattice, max_distance: float | None, shapes: bool
) -> tuple[Cluster, ...]:
    """Return the clusters of the default library that fit into the lattice.

    `max_distance` and `shapes` are those of `library`.
    """
    simulator, longest = known.simulator, max_distance
    if longest is not None:  # beyond the lattice there is nothing
        longest = max(1.0, min(float(longest), max(lattice.cells)))
    found = library(
        simulator.kind, simulator.isotropic, known.site_functions, longest, shapes=shapes
    )
    return tuple(cluster for cluster in found if _fits(known.of([cluster]), lattice))


def _fits(known: KnownFunctions, lattice: Lattice) -> bool:
    return all(width < n for width, n in zip(known.sums.spread, lattice.cells, strict=True))


def named_clusters(values: Sequence[Any]) -> tuple[Cluster, ...]:
    """Return clusters that are given as such or by their names."""
    return tuple(_as_cluster(value) for value in values)


def _as_cluster(value: Any) -> Cluster:
    if isinstance(value, Cluster):
        return value
    if isinstance(value, str):
        return Cluster.from_name(value)
    raise ValueError(
        f"Expected clusters or their names in library, but got {value!r}; pass for instance "
        "'s s (1,1)'."
    )


def take_first(known: KnownFunctions, snapshots: np.ndarray, n_closure: Any) -> tuple[Cluster, ...]:
    """Return the first of the candidates `known`, those that tell nothing new last."""
    if n_closure == AUTO:
        raise ValueError(
            "Expected snapshot pairs for n_closure='auto', but got snapshots, which do not "
            "show what drives the observables; pass what PartialEvolutionSampler returns, or a "
            "number of closures."
        )
    snapshots, n_all = snapshots[_evenly(len(snapshots), MOST_ROWS)], len(known.clusters)
    z, values = known.simulator.observe(snapshots), known.means(snapshots)
    chosen: list[int] = []
    for k in range(n_all):
        if len(chosen) < n_closure and independent(
            np.column_stack([z, values[:, chosen]]), values[:, k]
        ):
            chosen.append(k)
    others = [k for k in range(n_all) if k not in chosen]
    return tuple(known.clusters[k] for k in chosen + others[: n_closure - len(chosen)])


def select(
    known: KnownFunctions, pairs: np.ndarray, groups: np.ndarray, n_closure: int | str,
    criterion: str, most: int,
) -> tuple[tuple[Cluster, ...], list[SelectionStep]]:  # fmt: skip
    """Return those of the candidates `known` that explain the observables' drift, and the steps.

    `n_closure` are chosen, or for "auto" as many as are significant, up to `most`. The groups
    (n_samples,) are held out as a whole; `criterion` is that of `CorrelationClosure`.
    """
    if n_closure == AUTO and len(np.unique(groups)) < 2:
        raise ValueError(
            "Expected pairs of at least 2 groups for n_closure='auto', which holds out some of "
            "them, but got 1; give the source trajectories as groups, or a number of closures."
        )
    groups = groups if len(np.unique(groups)) > 1 else np.arange(len(pairs))
    rows = _evenly(len(pairs), MOST_ROWS)
    pairs = pairs if len(rows) == len(pairs) else pairs[rows]
    snapshots = known.simulator.check_states(pairs["x"])
    z = known.simulator.observe(snapshots)
    driven = _driven(pairs, z)
    if not driven.any():
        return (() if n_closure == AUTO else take_first(known, snapshots, n_closure)), []
    probed = pairs[_evenly(len(pairs), PROBED)]

    def changes(k: int) -> bool:
        dz, _ = known.of(known.clusters[k : k + 1]).increments(probed)
        return bool(np.abs(dz[:, -1]).max() > 0)

    per_time = pairs["d_obs"][:, driven] / pairs["dt"][:, np.newaxis]
    lasting = criterion == "lasting" and has_moments(pairs)
    selection = Selection(
        np.hstack([z, known.context_values(pairs)]), known.means(snapshots), per_time,
        pairs["dt"] * pairs["n_evolved"], groups[rows], has_moments(pairs),
        *(_own_drifts(known, pairs) if lasting else (None, None)),
    )  # fmt: skip
    wanted = None if isinstance(n_closure, str) else n_closure
    names = [cluster.name for cluster in known.clusters]
    chosen, steps = selection.run(names, wanted, most, changes)
    return tuple(known.clusters[k] for k in chosen), steps


def _own_drifts(known: KnownFunctions, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return some rows of pairs of moments, and the drifts of the clusters there."""
    some = _evenly(len(pairs), MOST_DRIFTS)
    dz, _ = known.increments(pairs[some])
    return some, dz[:, known.simulator.n_observables :] / pairs["dt"][some, np.newaxis]


def _driven(pairs: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return whether the increment of each observable z varies by more than rounding."""
    return pairs["d_obs"].std(axis=0) > ROUNDING * np.abs(z).max(axis=0)


def _evenly(n: int, most: int) -> np.ndarray:
    """Return up to `most` of n numbers, evenly spaced."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(int)
