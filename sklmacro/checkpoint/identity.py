"""What tells values apart: JSON that is equal where the same call gives the same result.

It is the code that a file would hold, written out for people: of an array the type, shape and
SHA-256, of an object its class and its parts. Left out are parameters that change no bit of a
result, in estimators and the estimators within them, and of the device all but the kind, since
another kind rounds otherwise. Fitted attributes do not count, but for those of frozen estimators.
"""

import hashlib
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from torch import nn

from sklmacro._base.checks import pieces
from sklmacro.checkpoint.schema import ATTRIBUTES, storable
from sklmacro.checkpoint.writing import Writer, arguments_of, state_of

WITHOUT_EFFECT = {"checkpoint_dir", "memory", "n_jobs", "out", "verbose"}


def identity(value: Any) -> Any:
    """Return JSON that is equal for values that give equal results.

    Lists and tuples are alike in it, and so are numbers of numpy and of Python. Functions of a
    module stand by their names. What no file can hold is a ValueError.
    """
    writer = _IdentityWriter({})
    return _readable(writer.value(value, "settings"), writer)


def digest(array: np.ndarray) -> str:
    """Return type, shape and SHA-256 of an array."""
    array = np.asarray(array)
    sha = hashlib.sha256()
    for piece in pieces(array):  # it may be a memory map
        sha.update(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
    shape = "x".join(map(str, array.shape))
    return f"{array.dtype.str} {shape} sha256 {sha.hexdigest()}"


def differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Return the names of all that differs between two identities, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        dot = f"{name}." if name else ""
        return [
            difference
            for key in [*new, *(key for key in old if key not in new)]
            for difference in differences(old.get(key), new.get(key), f"{dot}{key}")
        ]
    return [] if repr(old) == repr(new) else [(name, old, new)]


class _IdentityWriter(Writer):
    """A writer of that which results depend on."""

    _frozen = False

    def value(self, value: Any, where: str) -> Any:
        if isinstance(value, FunctionType) and value.__qualname__.isidentifier():
            return {"function": f"{value.__module__}.{value.__qualname__}"}
        if isinstance(value, tuple):
            value = tuple(value)  # named tuples, too
        return super().value(value, where)

    def parts(self, value: Any, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        if not storable(type(value)) and not isinstance(value, nn.Module):
            raise ValueError(
                "Expected settings of numbers, texts, arrays and estimators with checkpoint_dir, "
                f"but got a {type(value).__name__}; leave checkpoint_dir at None."
            )
        arguments = arguments_of(value)
        state = state_of(value, arguments)
        if isinstance(value, BaseEstimator):
            arguments = {k: v for k, v in arguments.items() if k not in WITHOUT_EFFECT}
            if "device" in arguments:
                arguments["device"] = str(arguments["device"]).partition(":")[0]
            if not self._frozen:
                state = {k: v for k, v in state.items() if k in ATTRIBUTES and k[0] == "_"}
        return arguments, state

    def _entry(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, FrozenEstimator):
            return super()._entry(value, where)
        before = self._frozen, self._numbers
        self._frozen, self._numbers = True, {}  # what is met elsewhere, too, is written again
        entry = super()._entry(value, where)
        self._frozen, self._numbers = before
        return entry


def _readable(code: Any, writer: Writer) -> Any:
    """Return the code of a value with all that it refers to in its place."""
    if isinstance(code, list):
        return [_readable(item, writer) for item in code]
    if not isinstance(code, dict):
        return code
    ((tag, content),) = code.items()
    if tag == "object":
        entry = writer.objects[content]
        parts = {**entry["arguments"], **entry["state"]}
        return {"class": entry["class"], **_readable_items(parts, writer)}
    if tag == "array":
        return digest(writer.arrays[content])
    if tag == "transposed":
        return digest(writer.arrays[content["array"]].T)
    if tag == "scalar" and "array" in content:
        return _readable(writer.value(writer.arrays[content["array"]].item(), ""), writer)
    if tag == "fields":
        return _readable_items(dict(content["items"]), writer)
    if tag == "dict":
        return _readable_items({str(_readable(k, writer)): item for k, item in content}, writer)
    return _readable(content, writer) if tag in ("tuple", "scalar") else content


def _readable_items(codes: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
    return {name: _readable(code, writer) for name, code in codes.items()}
