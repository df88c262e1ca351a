"""Snapshot pairs from small snapshots, each with outer parameters of its own.

The stages "upsample" and "evolve" of a pipeline are gone through once for each set of parameters.
Where there are none, that is once.

Shape vocabulary::

    small        (n, *small snapshot shape)
    parameters   (n, n_context)              values of the context's parameters
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklmacro._base.streams import Stage, stream_seed
from sklmacro.sampling.pairs import context_of, latent_pairs
from sklmacro.simulators import Simulator


def with_parameters(simulator: Simulator, names: Sequence[str], values: np.ndarray) -> Simulator:
    """Return a simulator with other values of the parameters `names`."""
    return clone(simulator).set_params(**dict(zip(names, values.tolist(), strict=True)))


def by_parameters(parameters: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each set of parameters (n_context,), and the rows that have it, in their order."""
    _, first, which = np.unique(parameters, axis=0, return_index=True, return_inverse=True)
    for k in np.argsort(first, kind="stable"):
        yield parameters[first[k]], np.flatnonzero(which.ravel() == k)


def snapshot_pairs(
    pipeline: Pipeline, small: np.ndarray, names: Sequence[str], parameters: np.ndarray,
    entropy: int, folder: Path | None = None, first_group: int = 0,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """Return the snapshot pairs of small snapshots, and their cost in sites times units of time.

    Groups are the numbers of the small snapshots, counted from `first_group`. Unfinished work is
    saved in `folder`.
    """
    parts, cost = [], 0.0
    for number, (values, rows) in enumerate(by_parameters(parameters)):
        seed = stream_seed(entropy, Stage.LEARN, 1 + number)
        upsampler, sampler = clone(pipeline["upsample"]), clone(pipeline["evolve"])
        simulator = with_parameters(upsampler.simulator, names, values)
        for step in (upsampler, sampler):
            own = None if folder is None else folder / f"{type(step).__name__}-{number}"
            step.set_params(simulator=simulator, random_state=seed % 2**31, checkpoint_dir=own)
        sampler.set_params(context=tuple(names))
        groups = first_group + rows
        X = upsampler.fit_transform(small[rows], groups=groups)
        cost += upsampler.site_time(small[rows])
        parts.append(sampler.fit_transform(X))
    return np.concatenate(parts), cost


def latent_of(closure: Any, pairs: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the latent pairs of snapshot pairs by a fitted closure, for their own parameters."""
    if not names:
        return closure.transform(pairs)
    context = context_of(pairs)
    assert context is not None
    parts: list[Any] = [None] * len(pairs)
    for values, rows in by_parameters(context):
        own = closure.for_simulator(with_parameters(closure.simulator_, names, values))
        for row, pair in zip(rows, own.transform(pairs[rows]), strict=True):
            parts[row] = pair
    latent = np.array(parts, dtype=parts[0].dtype)
    return latent_pairs(**{name: latent[name] for name in latent.dtype.fields or ()})
