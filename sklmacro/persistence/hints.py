"""Whether a value is what a type hint says: what files are checked against.

A hint stands for all that the estimators take in its place. Numbers of numpy count as those of
Python, an integer as a float or a truth value, and any list, tuple or array as a sequence.
"""

import numbers
import re
from collections.abc import Mapping, Sequence
from inspect import formatannotation
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np

NUMBERS: dict[Any, Any] = {
    bool: (bool, np.bool_, numbers.Integral),
    int: numbers.Integral,
    float: numbers.Real,
}


def fits(value: object, hint: Any) -> bool:
    """Tell whether `value` is of the type `hint`.

    Examples
    --------
    >>> from sklmacro.persistence.hints import fits
    >>> fits([64, 64], tuple[int, ...]), fits("64", tuple[int, ...] | None), fits(None, int | None)
    (True, False, True)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint is None or hint is NoneType:
        return value is None
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list | tuple | np.ndarray) or getattr(value, "shape", 1) == ():
            return False
        if origin is tuple and Ellipsis not in inner:
            return len(value) == len(inner) and all(map(fits, value, inner))
        if get_origin(inner[0]) is None:  # of a million numbers, one of each type will do
            value = {type(item): item for item in value}.values()
        return all(fits(item, inner[0]) for item in value)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return False
        return all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if hint in (int, float) and isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, NUMBERS.get(hint, origin or hint))


class _Shown(Repr):
    """Texts of values for errors: of objects the type alone, for their own may take forever."""

    def repr_instance(self, x: object, level: int) -> str:
        """Return the type of an object, and the shape of an array."""
        shape = f" of shape {x.shape}" if isinstance(x, np.ndarray) else ""
        return f"{x!r}" if isinstance(x, float | np.number) else f"a {type(x).__name__}{shape}"


shown = _Shown().repr


def text(hint: Any) -> str:
    """Return a hint in words, without the modules of its types."""
    return re.sub(r"[\w.]+\.(?=\w)", "", formatannotation(hint))
