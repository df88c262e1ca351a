"""exp, tanh and softplus of one number, without branches, calls or tables.

The compiler turns a loop over them into vector instructions, which it cannot do with the functions
of the C library. All rest on one reduction,

    x = k log 2 + r,   |r| <= (log 2) / 2,   e^x = 2^k (1 + (e^r - 1)),

with k an integer, and e^r - 1 by its Taylor series to order 13, whose rest is below 1e-17 of it.
The largest errors, measured in units in the last place: exp 1, tanh 2, softplus 2.
"""

import math

import numpy as np

from sklmacro._base.kernels import njit

LOG2_E = 1 / math.log(2)
LOG_2_HIGH = 6.93147180369123816490e-01  # log 2 to 33 bits: k times it is exact (fdlibm, e_exp.c)
LOG_2_LOW = 1.90821492927058770002e-10  # log 2 minus that
ROUND = 1.5 * 2.0**52  # x + ROUND has the integer next to x in its lowest bits
LARGEST_EXP, LARGEST_TANH = 708.0, 22.0  # e^-708 is the last normal number; tanh(22) rounds to 1
_TAYLOR = [1 / math.factorial(order) for order in range(14)]
T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13 = _TAYLOR[2:]


@njit(fastmath={"contract"}, error_model="numpy", cache=False)
def _reduce(x: float) -> tuple[float, float]:
    """Return 2^k and e^r - 1 for |x| <= 708."""
    shifted = np.float64(x * LOG2_E + ROUND)
    k = shifted - ROUND
    r = (x - k * LOG_2_HIGH) - k * LOG_2_LOW
    power = np.int64((shifted.view(np.int64) + 1023) << 52).view(np.float64)
    # In powers of r^2 at first, so that half of the additions need not wait for each other.
    s = r * r
    q = T12 + T13 * r
    q = (T10 + T11 * r) + q * s
    q = (T8 + T9 * r) + q * s
    q = (T6 + T7 * r) + q * s
    q = (T4 + T5 * r) + q * s
    q = (T2 + T3 * r) + q * s
    return power, r + q * s


@njit(fastmath={"contract"}, error_model="numpy", cache=False)
def exp(x: float) -> float:
    """Return e^x; beyond -708 and 708 the value there."""
    power, rest = _reduce(min(max(x, -LARGEST_EXP), LARGEST_EXP))
    return power + power * rest


@njit(fastmath={"contract"}, error_model="numpy", cache=False)
def tanh(x: float) -> float:
    """Return the hyperbolic tangent, (e^2|x| - 1) / (e^2|x| + 1) with the sign of x."""
    power, rest = _reduce(2 * min(abs(x), LARGEST_TANH))
    t = power * rest + (power - 1)
    return math.copysign(t / (t + 2), x)


@njit(fastmath={"contract"}, error_model="numpy", cache=False)
def softplus(x: float) -> float:
    """Return log(1 + e^x) = max(x, 0) + 2 artanh(s), s = e / (2 + e), e = e^-|x|.

    The series of artanh(s) / s runs to order 32 in s <= 1/3.
    """
    e = exp(-abs(x))
    s = e / (2 + e)
    s2 = s * s
    q = 1 / 33
    for odd in range(31, 1, -2):
        q = 1 / odd + q * s2
    return max(x, 0.0) + 2 * (s + s * (s2 * q))
