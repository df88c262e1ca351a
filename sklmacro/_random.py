"""Random streams: one per sample, named by where and for whom the numbers are drawn.

A stream is `SeedSequence(entropy, spawn_key=(stage, index))`. `entropy` comes from an estimator's
`random_state`, `stage` says what the numbers are for, `index` is the sample. Results therefore do
not depend on the number of workers, on the size of batches or on the order of work, and no global
generator is read or changed.
"""

import numbers
from enum import IntEnum

import numpy as np


class Stage(IntEnum):
    """What a stream of random numbers is used for."""

    INITIAL = 0
    ADVANCE = 1
    UPSAMPLE = 2
    EVOLVE = 3
    TRAIN = 4
    SPLIT = 5
    ROLLOUT = 6


def resolve_entropy(random_state: object) -> int:
    """Turn a `random_state` into the entropy of a family of streams.

    Parameters
    ----------
    random_state : None, int, numpy.random.RandomState or numpy.random.Generator
        None gives fresh entropy; a generator gives one draw of its own.

    Returns
    -------
    entropy : int, at least 0

    Raises
    ------
    ValueError
        If `random_state` is none of these, or a negative integer.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        if int(random_state) >= 0:
            return int(random_state)
    elif isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    elif isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63 - 1))
    raise ValueError(
        "Expected random_state to be None, a non-negative integer, a numpy RandomState or a numpy "
        f"Generator, but got {random_state!r}; pass an integer for a repeatable result."
    )


def stream(entropy: int, stage: Stage, index: int = 0) -> np.random.Generator:
    """Return the random stream of one sample at one stage."""
    sequence = np.random.SeedSequence(entropy, spawn_key=(int(stage), index))
    return np.random.Generator(np.random.PCG64(sequence))


def stream_seed(entropy: int, stage: Stage, index: int = 0) -> int:
    """Return a 63-bit integer that seeds a generator other than numpy's."""
    return int(stream(entropy, stage, index).integers(2**63 - 1))
