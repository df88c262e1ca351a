"""Objects as JSON and arrays, and back, by a few rules and without running anything by its name.

An object is its class, the arguments of its constructor, which every class keeps under their own
names, and its state: what an estimator has fitted, and the weights of a net. Objects are numbered;
they refer to those before them, so that what was one object stays one.

    object   {"class": name, "arguments": {name: value}, "state": {name: value}}
    value    null, true, 1, 0.5, "text", [value, ...]        as in JSON
             {"float": "nan"}, {"path": "text"}
             {"tuple": [value, ...]}, {"dict": [[key, value], ...]}
             {"array": name}, {"transposed": array}, {"scalar": array}
             {"strings": {"shape", "items", "object"}}, {"fields": {"shape", "items"}}
             {"object": number}

Arrays stand in a dictionary beside the JSON, by their path. Classes are looked up among those that
are allowed. Arguments and attributes have to be known to their class and of the types that it
declares (see `schema`), in writing and in reading.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch import nn

from sklmacro.checkpoint.foreign import FOREIGN
from sklmacro.checkpoint.schema import (
    MOST_LETTERS,
    argument_hints,
    check_parts,
    own_tensors,
    places_in,
    shown,
    storable,
)

DTYPES = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
# Callbacks of whoever fits, and what follows from parameters: not saved.
SESSION = {"_skl_callbacks", "_parent_callback_ctx", "_plan"}


def unchecked(value: object, state: Iterable[str]) -> None:
    """Ask nothing of an object."""


class Writer:
    """Write objects: JSON into `objects`, the one written last at the end, and `arrays` beside it.

    `classes` are this package's, by their names; others that are met go into `others`. The callable
    `check(object, names of its state)` raises ValueError if they do not go together. Arrays stay as
    they were given, for the most part views.
    """

    def __init__(
        self,
        classes: Mapping[str, type],
        check: Callable[[Any, Iterable[str]], None] = unchecked,
    ):
        self.objects: list[dict[str, Any]] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.others: set[type] = set()
        self._classes, self._check = classes, check
        self._numbers: dict[int, tuple[int, Any]] = {}  # by identity; the object lives on with it

    def value(self, value: Any, where: str) -> Any:
        """Return a value as JSON; `where` is its path, for errors and for the names of arrays."""
        kind = type(value)
        if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
            return value
        if kind is float:
            return {"float": repr(value)}
        if kind in (list, tuple):
            items = [self.value(item, f"{where}[{k}]") for k, item in enumerate(value)]
            return items if kind is list else {"tuple": items}
        if kind is dict:
            pairs = [(key, item, f"{where}[{key!r}]") for key, item in value.items()]
            return {"dict": [[self.value(k, f"{at} key"), self.value(v, at)] for k, v, at in pairs]}
        if isinstance(value, PurePath):
            return {"path": str(value)}
        if isinstance(value, np.generic):
            return {"scalar": self._array(np.asarray(value), where)}
        if kind in (np.ndarray, np.memmap):
            return self._array(value, where)
        return self.object(value, where)

    def object(self, value: Any, where: str) -> Any:
        """Return a reference to an object, which is written if it has not been yet."""
        if id(value) not in self._numbers:
            entry = self._entry(value, where)  # after all that it refers to
            self._numbers[id(value)] = len(self.objects), value
            self.objects.append(entry)
        return {"object": self._numbers[id(value)][0]}

    def _entry(self, value: Any, where: str) -> dict[str, Any]:
        cls = type(value)
        if cls.__name__ in FOREIGN and cls is FOREIGN[cls.__name__].kind:
            arguments, state = FOREIGN[cls.__name__].take(value), dict[str, Any]()
        else:
            arguments, state = self.parts(value, where)
        return {
            "class": cls.__name__,
            "arguments": {name: self.value(v, f"{where}.{name}") for name, v in arguments.items()},
            "state": {name: self.value(v, f"{where}.{name}") for name, v in state.items()},
        }

    def parts(self, value: Any, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arguments of an object's constructor and its state, checked."""
        self._check_class(type(value), value, where)
        arguments = arguments_of(value)
        state = state_of(value, arguments)
        check_parts(type(value), arguments, state)
        self._check(value, state)
        return arguments | dict.fromkeys(places_in(type(value), arguments)), state

    def _check_class(self, cls: type, value: Any, where: str) -> None:
        if self._classes.get(cls.__name__) is cls:
            return
        if not storable(cls):
            raise ValueError(
                "Expected numbers, texts, arrays, lists, tuples, dictionaries, generators and "
                f"estimators, which a file can hold, but got {shown(value)} for {where}; leave "
                "it out, or put something of these in its place."
            )
        if cls.__name__ in self._classes or cls.__name__ in FOREIGN:
            raise ValueError(
                f"Expected names of classes other than this package's, but got {cls} for {where}; "
                "rename your class."
            )
        self.others.add(cls)

    def _array(self, array: np.ndarray, where: str) -> dict[str, Any]:
        array = np.asarray(array)
        if array.dtype.names is not None:
            at = {name: f"{where}[{name!r}]" for name in array.dtype.names}
            items = [[name, self._array(array[name], path)] for name, path in at.items()]
            return {"fields": {"shape": list(array.shape), "items": items}}
        if array.dtype.kind == "U" and array.nbytes > 4 * MOST_LETTERS:
            raise ValueError(
                f"Expected at most {MOST_LETTERS} letters, but got an array of "
                f"{array.nbytes // 4} for {where}; convert it to objects."
            )
        flat = array.ravel().tolist() if array.dtype.kind in "OU" else [None]
        if all(type(item) is str for item in flat):
            mixed = array.dtype.kind == "O"
            return {"strings": {"shape": list(array.shape), "items": flat, "object": mixed}}
        if array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous:
            return {"transposed": self._array(array.T, where)}  # products of it keep their bits
        if array.dtype.name not in DTYPES:
            raise ValueError(
                f"Expected arrays of real numbers, truth values or texts, but got {array.dtype} "
                f"for {where}; convert it."
            )
        self.arrays[where] = array
        return {"array": where}


def arguments_of(value: Any) -> dict[str, Any]:
    """Return the arguments of an object's constructor."""
    names = argument_hints(type(value))
    missing = [name for name in names if not hasattr(value, name)]
    if missing:
        raise ValueError(
            f"Expected {type(value).__name__} to keep the arguments of its constructor under their "
            f"own names, but got no {', '.join(missing)}; assign them in __init__."
        )
    return {name: getattr(value, name) for name in names}


def state_of(value: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an object is beyond the arguments of its constructor."""
    if isinstance(value, nn.Module):
        return {k: t.detach().cpu().numpy() for k, t in own_tensors(value, arguments).items()}
    if isinstance(value, BaseEstimator):
        return {k: v for k, v in vars(value).items() if k not in {*arguments, *SESSION}}
    return {}


class _PlainWriter(Writer):
    """A writer of values without objects; named tuples are tuples."""

    def object(self, value: Any, where: str) -> Any:
        if isinstance(value, tuple):
            return self.value(tuple(value), where)
        raise ValueError(
            f"Expected numbers, texts, arrays, lists, tuples and dictionaries, but got "
            f"{shown(value)} for {where}; leave it out, or return what is needed of it."
        )


def encode(value: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a value without objects as JSON and arrays; see `reading.decode`.

    It consists of arrays, numbers, texts, lists, tuples and dictionaries; all else is a ValueError.
    """
    writer = _PlainWriter({})
    return writer.value(value, "value"), writer.arrays
