"""The vectorisable functions against long arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
from numba import njit

from sklmacro.sde.compiled import elementary as _elementary

RNG = np.random.default_rng(0)
NEAR = np.concatenate([RNG.normal(size=1500) * 3, np.logspace(-18, 1.3, 300), -np.logspace(-18, 1)])


def elementwise(name):
    function = getattr(_elementary, name)

    @njit(error_model="numpy")
    def apply(x):
        out = np.empty_like(x)
        for i in range(len(x)):
            out[i] = function(x[i])
        return out

    return apply


def exact_exp(x):
    """Rational approximation of e^x, error 1e-40 of it."""
    halvings = max(math.frexp(x)[1] + 3, 0)
    small, term, total = Fraction(x) / 2**halvings, Fraction(1), Fraction(1)
    for order in range(1, 30):
        term = round_bits(term * small / order)
        total += term
    for _ in range(halvings):
        total = round_bits(total * total)
    return total


def round_bits(q, bits=220):
    return Fraction(round(q * 2**bits), 2**bits)


def exact(name, x):
    """Value to about 1e-25 of it, as an exact fraction."""
    if name == "exp":
        return exact_exp(x)
    e = exact_exp(2 * x if name == "tanh" else -abs(x))
    if name == "tanh":
        return (e - 1) / (e + 1)
    s = e / (2 + e)
    term, total = s, Fraction(0)
    for odd in range(1, 121, 2):
        total += term / odd
        term = round_bits(term * s * s)
    return max(Fraction(x), Fraction(0)) + 2 * total


@pytest.mark.parametrize(("name", "ulps"), [("exp", 1), ("tanh", 2), ("softplus", 2)])
def test_errors_in_units_of_the_last_place(name, ulps):
    values = elementwise(name)(NEAR)
    errors = [
        abs(Fraction(value) - exact(name, x)) / Fraction(np.spacing(abs(value)))
        for x, value in zip(NEAR.tolist(), values.tolist(), strict=True)
    ]
    assert max(errors) < ulps + 0.5  # half a unit from the last rounding
    shifted = elementwise(name)(NEAR * (1 + 1e-14))  # negative control
    assert np.abs((shifted - values) / np.spacing(values)).max() > 10


def test_far_from_zero():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 700.0, -700.0])
    exp, tanh, softplus = (elementwise(name)(x) for name in ("exp", "tanh", "softplus"))
    assert exp[:2].tolist() == [1, 1]
    assert exp[5:] == pytest.approx(np.exp(x[5:]), rel=1e-15)
    assert exp[2] > 1e307
    assert 0 < exp[3] < 1e-307
    assert tanh[[0, 2, 3, 5, 6]].tolist() == [0, 1, -1, 1, -1]
    assert np.signbit(tanh[1])
    assert softplus[[2, 5]].tolist() == [np.inf, 700]
    assert softplus[6] == pytest.approx(np.exp(-700.0), rel=1e-15)
    assert np.isnan([exp[4], tanh[4], softplus[4]]).all()
