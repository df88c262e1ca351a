"""Snapshot pairs from small snapshots, each with outer parameters of its own.

The stages "upsample" and "evolve" of a pipeline are gone through once for each set of parameters.
Where there are none, that is once.

Shape vocabulary::

    small        (n, *small snapshot shape)
    parameters   (n, n_context)              values of the context's parameters
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklmacro._base.streams import Stage, stream_seed
from sklmacro.sampling.context import by_context, with_parameters


def snapshot_pairs(
    pipeline: Pipeline, small: np.ndarray, names: Sequence[str], parameters: np.ndarray,
    entropy: int, folder: Path | None = None, first_group: int = 0,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """Return the snapshot pairs of small snapshots, and their cost in sites times units of time.

    Groups are the numbers of the small snapshots, counted from `first_group`. Unfinished work is
    saved in `folder`.
    """
    parts, cost = [], 0.0
    for number, (values, rows) in enumerate(by_context(parameters)):
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
