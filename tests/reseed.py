"""Other random numbers for all tests at once: what ``pytest --reseed K`` does to their seeds.

Every integer seed s becomes s XOR 2^64 K on its way into `numpy.random.default_rng` and into
`numpy.random.SeedSequence`, from which all streams of the library are made. Equal seeds still give
equal streams, other seeds other ones, and no seed gives the stream that it gives without K.
"""

import numbers
from collections.abc import Callable, Sequence

import numpy as np

from sklmacro._base import streams as _random

HIGHEST = 2**64 - 1


def mixed(seed: object, K: int) -> object:
    """Return an integer seed, or a sequence of integers, with K mixed in; others as they are.

    Below 2^128 the XOR leaves the number of words of a seed's pool as it is, which
    `sklmacro._base.streams._family` counts.
    """
    if isinstance(seed, numbers.Integral):
        return int(seed) ^ K << 64
    if isinstance(seed, Sequence):
        return [*seed, K]
    return seed


def reseed(K: int) -> Callable[[], None]:
    """Mix K, 1 to `HIGHEST`, into all seeds of this process, and return what undoes it."""
    generator, sequence = np.random.default_rng, np.random.SeedSequence

    def default_rng(seed=None):
        return generator(mixed(seed, K))

    def seed_sequence(entropy=None, **options):
        return sequence(mixed(entropy, K), **options)

    def put(makes_generators, makes_sequences):
        np.random.default_rng, np.random.SeedSequence = makes_generators, makes_sequences
        _random._family.cache_clear()

    put(default_rng, seed_sequence)
    return lambda: put(generator, sequence)
