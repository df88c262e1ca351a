"""Checks of parameters and arrays: one wording for one error.

Every message says what was expected, what came and what to do about it. All that is array-like
enters by `as_data`, or by `check_numbers` where floats are wanted.
"""

import math
import numbers
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

PIECE = 1 << 24  # bytes that are looked at together
NO_NUMBERS = (bool, np.bool_, np.timedelta64)  # though Python takes some of them for integers


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
    if isinstance(value, NO_NUMBERS) or not isinstance(value, numbers.Real):
        raise ValueError(f"{wanted}, but got {value!r}; {remedy or 'pass a number'}.")
    number = float(value)
    inside = low < number < high if strict else low <= number <= high
    if not math.isfinite(number) or not inside:
        raise ValueError(f"{wanted}, but got {value!r}; {remedy or 'change ' + name}.")
    return number


def check_integer(value: object, name: str, *, low: int | None, remedy: str = "") -> int:
    """Return `value` as an integer of at least `low`, or as any integer if that is None."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, NO_NUMBERS)
    if is_integer and (low is None or int(value) >= low):  # type: ignore[call-overload]
        return int(value)  # type: ignore[call-overload]
    bound = "" if low is None else f" of at least {low}"
    raise ValueError(
        f"Expected {name} to be an integer{bound}, but got {value!r}; {remedy or 'change ' + name}."
    )


def check_choice(value: object, name: str, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"Expected {name} to be one of {listed}, but got {value!r}; choose one.")


def check_cells(value: object, name: str, n_axes: int, *, low: int | None = 1) -> tuple[int, ...]:
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


def check_range(value: Sequence[float] | np.ndarray, name: str) -> tuple[float, float]:
    """Return `value` as a pair of positive numbers (low, high), low at most high."""
    if len(value) == 2:
        low, high = (check_real(v, name, low=0.0, strict=True) for v in value)
        if low <= high:
            return low, high
    raise ValueError(
        f"Expected {name} to be a pair (low, high) of positive numbers, low at most high, but got "
        f"{value!r}; pass a pair or a single number."
    )


def check_finite(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array` if it holds neither NaN nor infinity."""
    inexact = np.issubdtype(array.dtype, np.inexact)
    if inexact and not all(np.isfinite(piece).all() for piece in pieces(array)):
        wrong = ~np.isfinite(array)
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"Expected finite {name}, but got {int(wrong.sum())} values that are NaN or "
            f"infinity, the first at index {first}; remove or repair these samples."
        )
    return array


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the parts of an array in C order, each small enough to be copied."""
    row = math.prod(array.shape[1:]) * array.itemsize
    if array.nbytes <= PIECE or array.ndim == 0:
        yield array
    elif row > PIECE:
        for part in array:
            yield from pieces(part)
    else:
        step = PIECE // row
        yield from (array[start : start + step] for start in range(0, len(array), step))


def check_unmasked(values: Any, name: str) -> Any:
    """Return `values` if nothing in them is masked, lists of masked arrays included."""
    level = [] if type(values) is np.ndarray else [values]
    while level:
        types = set(map(type, level))
        masked = any(issubclass(t, np.ma.MaskedArray) for t in types)
        if masked and any(_any_masked(v) for v in level if isinstance(v, np.ma.MaskedArray)):
            raise ValueError(
                f"Expected {name} without masked values, but got a masked array that has some; "
                "leave these samples out, or fill them in."
            )
        nested = any(issubclass(t, list | tuple) for t in types)
        lists = (v for v in level if isinstance(v, list | tuple))
        level = list(chain.from_iterable(lists)) if nested else []
    return values


def _any_masked(array: np.ma.MaskedArray) -> bool:
    """Tell whether a value is masked, in any field of a structured array."""
    mask = np.ma.getmask(array)
    return mask is not np.ma.nomask and bool(np.ascontiguousarray(mask).view(bool).any())


def as_data(values: Any, name: str, *, booleans: bool = False) -> Any:
    """Return `values` as they are, or as an array, unless some are masked or no numbers.

    Data frames, sparse matrices and complex numbers are left to scikit-learn's `validate_data`,
    which has words of its own for them.
    """
    array = np.asarray(check_unmasked(values, name))
    kind = array.dtype.kind
    if kind == "O":
        types = set(map(type, array.ravel().tolist()))
        kind = "U" if any(issubclass(t, str | bytes | np.ma.MaskedArray) for t in types) else kind
    if kind in "mMUS" or (kind == "b" and not booleans):
        raise ValueError(
            f"Expected {name} to be real numbers, but got a {type(values).__name__} of dtype "
            f"{array.dtype}; convert them to float, times in the unit of the model."
        )
    return values if kind in "OV" or hasattr(values, "columns") else array


def check_numbers(values: object, name: str) -> np.ndarray:
    """Return `values` as an array of floats in C order, if they are real numbers."""
    array = np.asarray(as_data(values, name))
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"Expected {name} to be real numbers, but got an array of dtype {array.dtype}; "
            "convert them to float."
        )
    return array.astype(float, order="C", copy=False)


def check_finite_numbers(values: object, name: str) -> np.ndarray:
    """Return `values` as an array of floats, if they are finite real numbers."""
    return check_finite(check_numbers(values, name), name)


def check_positive(values: object, name: str, remedy: str) -> np.ndarray:
    """Return `values` as an array of floats, if they are finite and above 0."""
    array = check_finite_numbers(values, name)
    if not (array > 0).all():
        raise ValueError(
            f"Expected {name} above 0, but got a smallest of {array.min():g}; {remedy}."
        )
    return array


def check_whole(values: object, name: str, *, low: int | None, remedy: str) -> np.ndarray:
    """Return `values` as int64, if they are whole numbers of at least `low`, or any for None."""
    array = np.asarray(as_data(values, name))
    if array.dtype.kind not in "iu":
        array = check_finite_numbers(array, name)
    wrong = ~is_exact(array, np.int64)
    if low is not None:
        wrong |= array < low
    if wrong.any():
        bound = "" if low is None else f" of at least {low}"
        raise ValueError(
            f"Expected {name} to be whole numbers{bound}, but got {array[wrong].flat[0]}; {remedy}."
        )
    return array.astype(np.int64, copy=False)


def is_exact(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Tell which finite numbers keep their values in a type of integers or of booleans."""
    if np.can_cast(array.dtype, dtype):
        return np.ones(array.shape, bool)
    if array.dtype.kind == "f":
        array = array.astype(np.float64, copy=False)
    limits = None if np.dtype(dtype).kind == "b" else np.iinfo(dtype)
    low, high = (0, 1) if limits is None else (int(limits.min), int(limits.max))
    return (array >= low) & (array < high + 1) & (array == np.rint(array))


def check_column_names(table: Any, expected: Sequence[str] | None, name: str) -> None:
    """Raise ValueError if a data frame, or a row of one, has other columns than in fit.

    None, as for a fit to an array, expects nothing; columns without names meet everything.
    """
    names = getattr(table, "columns", getattr(table, "index", None))
    if expected is None or names is None or callable(names):
        return
    if all(isinstance(one, str) for one in names) and list(names) != list(expected):
        raise ValueError(
            f"Expected {name} to have the columns {', '.join(expected)}, in the order of fit, but "
            f"got {', '.join(names)}; select them by name."
        )


def check_widths(value: object, name: str) -> tuple[int, ...]:
    """Return `value`, the widths of a net's hidden layers, as a tuple of integers."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return tuple(check_integer(width, name, low=1) for width in value)
    raise ValueError(
        f"Expected {name} to be a sequence of integers, one for each hidden layer, but got "
        f"{value!r}; pass for instance (64, 64)."
    )


def check_bounds(value: object) -> tuple[tuple[float, float], ...]:
    """Return `value`, a (low, high) for each of the first components or None, as a tuple."""
    try:
        bounds = check_numbers([] if value is None else value, "bounds")
    except ValueError:
        bounds = np.zeros((1, 2))
    if bounds.size == 0:
        return ()
    if bounds.ndim == 2 and bounds.shape[1] == 2 and (bounds[:, 0] < bounds[:, 1]).all():
        return tuple((low, high) for low, high in bounds.tolist())
    raise ValueError(
        "Expected bounds to be None or a (low, high) with low < high for each of the first "
        f"components, but got {value!r}; pass for instance [(-1, 1)]."
    )


def check_parity(value: object, n: int) -> np.ndarray:
    """Return `value`, a sign for each of n components or None, as an array of 1.0 and -1.0."""
    if value is None:
        return np.ones(n)
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        signs = np.asarray(check_unmasked(value, "parity"))
        if signs.shape == (n,) and signs.dtype.kind in "iuf" and (np.abs(signs) == 1).all():
            return signs.astype(float)
    raise ValueError(
        f"Expected parity to be None or 1 or -1 for each of the {n} components of the state, but "
        f"got {value!r}; pass -1 where the symmetry turns the sign, or None for no symmetry."
    )


def check_covariances(cov: np.ndarray) -> np.ndarray:
    """Return `cov` (n, d, d) if its matrices are finite, symmetric and positive semidefinite."""
    check_finite(cov, "covariances")
    scale = np.sqrt(np.mean(np.abs(np.einsum("nii->ni", cov)), axis=0))
    size = np.outer(*(np.where(scale > 0, scale, 1.0),) * 2)
    unit = cov / size
    rounding = 1e-8 * np.maximum(np.abs(unit).max(axis=(1, 2)), 1.0)
    skew = np.abs(unit - unit.transpose(0, 2, 1)).max(axis=(1, 2)) > rounding
    wrong = skew | (np.linalg.eigvalsh(unit)[:, 0] < -rounding)
    if wrong.any():
        raise ValueError(
            "Expected covariances cov to be symmetric and positive semidefinite, but got "
            f"{int(wrong.sum())} that are not, the first of pair {int(np.argmax(wrong))}; pass "
            "A dt with A = sum of rate * jump * jump^T."
        )
    return cov


def check_times(times: object) -> np.ndarray:
    """Return `times` as an increasing float array of shape (n_times,) that starts at 0 or later."""
    grid = check_numbers(times, "times")
    proper = grid.ndim == 1 and grid.size > 0 and np.isfinite(grid).all() and grid[0] >= 0
    if proper and (np.diff(grid) > 0).all():
        return grid
    raise ValueError(
        "Expected times to be an increasing list of finite numbers that starts at 0 or later, "
        f"but got {times!r}; pass for instance numpy.linspace(0, 10, 101)."
    )
