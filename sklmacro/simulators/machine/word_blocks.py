"""Blocks of random words: eight xoshiro256++ streams side by side, one a vector lane.

Shape vocabulary::

    lanes   (4, 8) uint64     state: four words of each of eight independent streams
    side    (4,) uint64       state of one more stream, for the rare words that are drawn again
                              (a `WordSource` is both)
    words   (n,) uint64       n a multiple of 8; word k comes from lane k % 8
    times   (n,) float64      standard exponential waiting times

A block costs a fifth of what as many single words do, since the steps of the eight streams are one
step of a vector. The vectors are those of LLVM, which cuts them to what the machine has; the words
are the same on every machine.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types, uint64
from numba.core import cgutils
from numba.extending import intrinsic

from sklmacro._base.kernels import njit
from sklmacro.simulators.machine.random_words import LOW32, next_word

N_LANES = 8
_WORD = ir.IntType(64)
_VECTOR = ir.VectorType(_WORD, N_LANES)
_ONE_BITS = np.uint64(0x3FF0000000000000)  # those of 1.0
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_LN2 = float(np.log(2.0))
_SQRT2 = float(np.sqrt(2.0))
_ONE, _TOP = np.uint64(1), np.uint64(1 << 63)


class WordSource(NamedTuple):
    """Where kernels draw their random words; stepped in place."""

    lanes: np.ndarray
    side: np.ndarray


def word_source(rng: np.random.Generator) -> WordSource:
    """Return a source whose streams are drawn from `rng`."""
    lanes = rng.bit_generator.random_raw(4 * N_LANES).reshape(4, N_LANES)
    return WordSource(lanes, rng.bit_generator.random_raw(4))


@njit(inline="always")
def round_to_lanes(n: int) -> int:
    """Return the size of a block that holds at least `n` words."""
    return (n + N_LANES - 1) // N_LANES * N_LANES


@intrinsic
def _fill(typing_context: Any, lanes: Any, words: Any, n_steps: Any) -> Any:
    """Write `n_steps` vectors of words and step the lanes as often."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def vectors(k: int) -> Any:
            array = context.make_array(signature.args[k])(context, builder, arguments[k])
            return builder.bitcast(array.data, _VECTOR.as_pointer())

        def rotate(x: Any, bits: int) -> Any:
            left = builder.shl(x, ir.Constant(_VECTOR, [bits] * N_LANES))
            return builder.or_(left, builder.lshr(x, ir.Constant(_VECTOR, [64 - bits] * N_LANES)))

        state, out = vectors(0), vectors(1)
        places = [builder.gep(state, [ir.Constant(_WORD, k)]) for k in range(4)]
        # The state is held in variables, which LLVM keeps in registers while the loop runs.
        held = [cgutils.alloca_once_value(builder, builder.load(p, align=8)) for p in places]
        with cgutils.for_range(builder, arguments[2], intp=_WORD) as loop:
            s0, s1, s2, s3 = (builder.load(h) for h in held)
            word = builder.add(rotate(builder.add(s0, s3), 23), s0)
            builder.store(word, builder.gep(out, [loop.index]), align=8)
            t = builder.shl(s1, ir.Constant(_VECTOR, [17] * N_LANES))
            s2, s3 = builder.xor(s2, s0), builder.xor(s3, s1)
            s1, s0 = builder.xor(s1, s2), builder.xor(s0, s3)
            for h, s in zip(held, (s0, s1, builder.xor(s2, t), rotate(s3, 45)), strict=True):
                builder.store(s, h)
        for p, h in zip(places, held, strict=True):
            builder.store(builder.load(h), p, align=8)
        return context.get_dummy_value()

    return types.void(lanes, words, n_steps), generate


@njit(nogil=True)
def fill_words(lanes: np.ndarray, words: np.ndarray) -> None:
    """Fill `words` with random bits and step the lanes."""
    _fill(lanes, words, np.int64(words.shape[0] // N_LANES))


@njit(nogil=True)
def _replace_rejected(words: np.ndarray, n: int, side: np.ndarray) -> None:
    """Draw the upper halves anew that would make some of `n` sites likelier (Lemire 2019)."""
    sites, limit = uint64(n), (_ONE << uint64(32)) % uint64(n)
    for k in range(words.shape[0]):
        while (((words[k] >> uint64(32)) * sites) & LOW32) < limit:
            words[k] = (next_word(side) & ~LOW32) | (words[k] & LOW32)


@njit(nogil=True)
def _any_rejected(words: np.ndarray, n: int) -> bool:
    """Say whether `_replace_rejected` has something to do."""
    sites, limit = uint64(n), (_ONE << uint64(32)) % uint64(n)
    signs = uint64(0)
    for k in range(words.shape[0]):
        signs |= (((words[k] >> uint64(32)) * sites) & LOW32) - limit
    return signs >= _TOP


@njit(nogil=True)
def draw_words(source: WordSource, words: np.ndarray, n: int) -> None:
    """Fill `words` so that `(word >> 32) * n >> 32` is uniform on 0 ... n - 1."""
    fill_words(source.lanes, words)
    if (n & (n - 1)) != 0 and _any_rejected(words, n):
        _replace_rejected(words, n, source.side)


@njit(nogil=True, error_model="numpy")
def fill_times(lanes: np.ndarray, words: np.ndarray, times: np.ndarray) -> None:
    """Fill `times` with -log(u), u uniform on the odd multiples of 2**-53 below 1.

    The logarithm is e ln 2 + 2 artanh f for u = 2**e m with m in (1/sqrt 2, sqrt 2] and
    f = (m - 1) / (m + 1), whose series to f**21 is exact to rounding. All loops are vector loops;
    `words` is scratch.
    """
    fill_words(lanes, words)
    bits = times.view(np.uint64)
    for k in range(words.shape[0]):
        bits[k] = (words[k] >> uint64(12)) | _ONE_BITS
    for k in range(words.shape[0]):
        times[k] = times[k] - (1.0 - 2.0**-53)
    for k in range(words.shape[0]):
        words[k] = bits[k] >> uint64(52)
        bits[k] = (bits[k] & _MANTISSA) | _ONE_BITS
    for k in range(words.shape[0]):
        m = times[k]
        large = m > _SQRT2
        e = np.float64(np.int64(words[k]) - 1023) + (1.0 if large else 0.0)
        m = 0.5 * m if large else m
        f = (m - 1.0) / (m + 1.0)
        q = f * f
        p = 1.0 / 21.0
        for divisor in range(19, 1, -2):
            p = p * q + 1.0 / divisor
        times[k] = -(e * _LN2 + 2.0 * (f + f * q * p))
