"""Units in which numbers are of size one, and what is constant but for rounding.

    2^k <= |x| < 2^(k + 1):   2^k is the binary unit of x, and x / 2^k rounds nothing

Squares of numbers in units of their own neither vanish nor overflow. A spread is compared with the
numbers themselves: what counts as constant does not depend on the unit that they come in.
"""

import numpy as np

CONSTANT = 1e-12  # spread over the largest absolute value; less is rounding
ROUNDING = 16 * float(np.finfo(float).eps)  # of a difference, over the values that it is one of


def binary_unit(size: np.ndarray) -> np.ndarray:
    """Return the powers of two just below sizes of 0 or more; 1 for 0."""
    _, exponent = np.frexp(size)
    return np.where(size > 0, np.ldexp(1.0, exponent - 1), 1.0)


def largest(values: np.ndarray) -> np.ndarray:
    """Return the largest absolute value (m,) of each column of values (n, m)."""
    return np.abs(values).max(axis=0)


def spread(values: np.ndarray, centre: np.ndarray, size: np.ndarray | None = None) -> np.ndarray:
    """Return the root mean square (m,) of values (n, m) about a centre (m,); 0 of constants.

    `size` (m,) is that of what the values were computed from, with which the spread is compared;
    None takes their own.
    """
    away = values - centre
    unit = binary_unit(largest(away))
    width = np.sqrt(np.mean((away / unit) ** 2, axis=0)) * unit
    return np.where(width > CONSTANT * (largest(values) if size is None else size), width, 0.0)


def standard_scale(
    values: np.ndarray, centre: np.ndarray, size: np.ndarray | None = None
) -> np.ndarray:
    """Return the `spread` (m,), and infinity in the place of 0: (values - centre) / scale is 0."""
    width = spread(values, centre, size)
    return np.where(width > 0, width, np.inf)
