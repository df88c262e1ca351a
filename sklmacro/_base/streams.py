"""Random streams: one per sample, named by where and for whom the numbers are drawn.

A stream is `SeedSequence(entropy, spawn_key=(stage, index))`. `entropy` comes from an estimator's
`random_state`, `stage` says what the numbers are for, `index` is the sample. Results therefore do
not depend on the number of workers, on the size of batches or on the order of work, and no global
generator is read or changed.
"""

import numbers
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

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
    LAM = 7
    PILOT = 8
    BOOTSTRAP = 9
    PLATEAU = 10
    AUGMENT = 11
    MOMENTS = 12
    LEARN = 13


def resolve_entropy(random_state: object) -> int:
    """Return the entropy of a family of streams, an integer of at least 0.

    A non-negative integer is its own; a RandomState or Generator gives one draw; None gives fresh
    entropy. All else is a ValueError.
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


class Streams(Sequence):
    """The streams of samples `indices` (n_samples,) at one stage, made when asked for.

    Attributes
    ----------
    states, keys : ndarray of uint64, shape (n_samples, 4)
        `SeedSequence(entropy, spawn_key=(stage, index)).generate_state(8, numpy.uint64)` of each
        sample, in a fraction of the time: states for kernels, to be stepped in place, and keys for
        `choose`.
    """

    def __init__(self, entropy: int, stage: Stage, indices: Sequence[int] | np.ndarray):
        self._entropy, self._stage, self._indices = entropy, stage, indices
        words = _seed_words(entropy, stage, np.asarray(indices, np.uint32), 8)
        self.states, self.keys = words[:, :4].copy(), words[:, 4:]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, k):  # type: ignore[no-untyped-def]
        return stream(self._entropy, self._stage, int(self._indices[k]))


# Constants of numpy's SeedSequence, after M. E. O'Neill's seed_seq_fe.
_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_MIX_L, _MIX_R = 0xCA01F9DD, 0x4973F715
_LOW32 = 0xFFFFFFFF
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio
_SPLITMIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)


@lru_cache(maxsize=64)
def _family(entropy: int, stage: Stage) -> tuple[np.ndarray, int]:
    """Return the pool of `SeedSequence(entropy, spawn_key=(stage,))` and its hash constant."""
    n_words = max(4, -(-entropy.bit_length() // 32)) + 1  # entropy, filled up to 4, and stage
    constant = _INIT_A * pow(_MULT_A, 16 + 4 * (n_words - 4), 2**32) & _LOW32
    return np.random.SeedSequence(entropy, spawn_key=(int(stage),)).pool.copy(), constant


def _seed_words(entropy: int, stage: Stage, indices: np.ndarray, n_words: int) -> np.ndarray:
    """Return the words (n, n_words) of samples; their indices (n,) uint32 are mixed in last."""

    def scramble(values: np.ndarray, constant: int, multiplier: int) -> tuple[np.ndarray, int]:
        following = constant * multiplier & _LOW32
        values = (values ^ np.uint32(constant)) * np.uint32(following)
        return values ^ (values >> np.uint32(16)), following

    base, constant = _family(entropy, stage)
    pool = np.empty((4, len(indices)), np.uint32)
    for i in range(4):
        hashed, constant = scramble(indices, constant, _MULT_A)
        fixed = np.uint32(_MIX_L * int(base[i]) & _LOW32)
        mixed = fixed - np.uint32(_MIX_R) * hashed
        pool[i] = mixed ^ (mixed >> np.uint32(16))
    words, constant = np.empty((len(indices), 2 * n_words), np.uint32), _INIT_B
    for i in range(2 * n_words):
        words[:, i], constant = scramble(pool[i % 4], constant, _MULT_B)
    return words[:, ::2] | words[:, 1::2].astype(np.uint64) << np.uint64(32)


def choose(n: int, k: int, keys: np.ndarray) -> np.ndarray:
    """Return k different integers below n for each key (n_samples,), in random order.

    They are those of the k smallest of n words, which splitmix64 (Steele, Lea and Flood, OOPSLA
    2014) draws from the key: shape (n_samples, k).
    """
    words = keys[:, np.newaxis] + np.arange(1, n + 1, dtype=np.uint64) * _GOLDEN
    for shift, factor in _SPLITMIX:
        words = (words ^ (words >> shift)) * factor
    return np.argsort(words ^ (words >> np.uint64(31)), axis=1)[:, :k]


def stream_seed(entropy: int, stage: Stage, index: int = 0) -> int:
    """Return a 63-bit integer that seeds a generator other than numpy's."""
    return int(stream(entropy, stage, index).integers(2**63 - 1))
