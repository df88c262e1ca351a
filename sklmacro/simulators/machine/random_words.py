"""Random words one by one, for kernels.

They come from xoshiro256++ (Blackman and Vigna, ACM Trans. Math. Softw. 47, 36 (2021)); a stream is
its four words of state.
"""

import math

import numpy as np
from numba import uint64

from sklmacro._base.kernels import njit

LOW32 = np.uint64(0xFFFFFFFF)
TO_UNIT = 2.0**-53


def random_words(rng: np.random.Generator) -> np.ndarray:
    """Return the state (4,) of a xoshiro256++ stream drawn from `rng`."""
    return rng.bit_generator.random_raw(4)


def probability_words(probability: np.ndarray) -> np.ndarray:
    """Return thresholds w with P(32 random bits < w) = probability, to 2**-32."""
    return np.round(np.clip(probability, 0.0, 1.0) * 2.0**32).astype(np.uint64)


def check_elapsed(elapsed: float, temperature: float) -> None:
    """Raise ValueError if the time of some events is infinite, since nothing can happen."""
    if not np.isfinite(elapsed):
        raise ValueError(
            "Expected a state in which some spin can flip, but got one whose rates all vanish "
            f"at temperature={temperature}; advance by duration, or raise the temperature."
        )


@njit(inline="always")
def rotate_left(word: np.uint64, bits: int) -> np.uint64:
    """Return `word` with its bits rotated to the left."""
    return (word << uint64(bits)) | (word >> uint64(64 - bits))


@njit(nogil=True)
def next_word(state: np.ndarray) -> np.uint64:
    """Return 64 random bits and step the stream (4,) in place."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    word = rotate_left(s0 + s3, 23) + s0
    t = s1 << uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    s3 = rotate_left(s3, 45)
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return word


@njit(nogil=True)
def uniform(state: np.ndarray) -> float:
    """Return a random number in the open interval (0, 1)."""
    return (np.float64(next_word(state) >> uint64(11)) + 0.5) * TO_UNIT


@njit(nogil=True)
def below(n: int, state: np.ndarray) -> np.int64:
    """Return a random integer in [0, n), exactly uniform (Lemire 2019), for n up to 2**32."""
    limit = (uint64(1) << uint64(32)) % uint64(n)
    while True:
        product = (next_word(state) >> uint64(32)) * uint64(n)
        if (product & LOW32) >= limit:
            return np.int64(product >> uint64(32))


@njit(nogil=True)
def poisson(mean: float, state: np.ndarray) -> int:
    """Return a Poisson number: by products of uniform ones, or PTRS for a large mean.

    PTRS is the transformed rejection of W. Hoermann, Insurance Math. Econom. 12, 39 (1993).
    """
    if mean < 10.0:
        k, product, limit = 0, uniform(state), math.exp(-mean)
        while product > limit:
            product *= uniform(state)
            k += 1
        return k
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = 0.02483 * b - 0.059
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u, v = uniform(state) - 0.5, uniform(state)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= squeeze:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        density = k * math.log(mean) - mean - math.lgamma(k + 1.0)
        if math.log(v * inverse_alpha / (a / us**2 + b)) <= density:
            return k
