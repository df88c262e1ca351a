"""Checks of parameters and arrays: one wording for one error.

Every message says what was expected, what came and what to do about it.
"""

import math
import numbers
from collections.abc import Sequence

import numpy as np


def check_real(
    value: object,
    name: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    strict: bool = False,
    remedy: str = "",
) -> float:
    """Return `value` as a finite float in [low, high], or in (low, high) if `strict`."""
    sign = "<" if strict else "<="
    wanted = f"Expected {name} to be a finite real number"
    if low > -math.inf or high < math.inf:
        lower = f"{low:g} {sign} " if low > -math.inf else ""
        upper = f" {sign} {high:g}" if high < math.inf else ""
        wanted += f" with {lower}{name}{upper}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ValueError(f"{wanted}, but got {value!r}; {remedy or 'pass a number'}.")
    number = float(value)
    inside = low < number < high if strict else low <= number <= high
    if not math.isfinite(number) or not inside:
        raise ValueError(f"{wanted}, but got {value!r}; {remedy or 'change ' + name}.")
    return number


def check_integer(value: object, name: str, *, low: int, remedy: str = "") -> int:
    """Return `value` as an integer of at least `low`."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)
    if is_integer and int(value) >= low:  # type: ignore[call-overload]
        return int(value)  # type: ignore[call-overload]
    raise ValueError(
        f"Expected {name} to be an integer of at least {low}, but got {value!r}; "
        f"{remedy or 'change ' + name}."
    )


def check_choice(value: object, name: str, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"Expected {name} to be one of {listed}, but got {value!r}; choose one.")


def check_cells(value: object, name: str, n_axes: int, *, low: int = 1) -> tuple[int, ...]:
    """Return `value`, an integer or one integer per axis, as a tuple of `n_axes` integers."""
    if isinstance(value, numbers.Integral):
        return (check_integer(value, name, low=low),) * n_axes
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        if len(value) == n_axes:
            return tuple(check_integer(v, name, low=low) for v in value)
        raise ValueError(
            f"Expected {name} to have one integer for each of the {n_axes} axes of the lattice, "
            f"but got {value!r}; pass {n_axes} integers, or one for all axes."
        )
    raise ValueError(
        f"Expected {name} to be an integer or {n_axes} integers, but got {value!r}; "
        f"pass the number of cells along each axis."
    )


def check_finite(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array` if it holds neither NaN nor infinity."""
    if np.issubdtype(array.dtype, np.inexact):
        wrong = ~np.isfinite(array)
        if wrong.any():
            first = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"Expected finite {name}, but got {int(wrong.sum())} values that are NaN or "
                f"infinity, the first at index {first}; remove or repair these samples."
            )
    return array


def check_times(times: object) -> np.ndarray:
    """Return `times` as an increasing float array of shape (n_times,) that starts at 0 or later."""
    grid = np.asarray(times, float)
    if (
        grid.ndim != 1
        or grid.size == 0
        or not np.isfinite(grid).all()
        or grid[0] < 0
        or (np.diff(grid) <= 0).any()
    ):
        raise ValueError(
            "Expected times to be an increasing list of finite numbers that starts at 0 or later, "
            f"but got {times!r}; pass for instance numpy.linspace(0, 10, 101)."
        )
    return grid
