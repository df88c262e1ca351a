"""What tells values apart: JSON that is equal where the same call gives the same result.

It is the code that a file would hold, written out for people: of an array the type, shape and
SHA-256, of an object its class and its parts. Left out are parameters that change no bit of a
result, in estimators and the estimators within them, and of the device all but the kind, since
another kind rounds otherwise. Fitted attributes do not count, but for those of frozen estimators.
"""

import hashlib
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
    return _IdentityWriter({}).value(value, "settings")


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
    """A writer of that which results depend on, for people: all stands in its place."""

    _frozen = False

    def value(self, value: Any, where: str) -> Any:
        if isinstance(value, FunctionType) and value.__qualname__.isidentifier():
            return f"{value.__module__}.{value.__qualname__}"
        if type(value) in (np.ndarray, np.memmap, np.void) and (names := value.dtype.names):
            array = np.asarray(value)
            return {name: self.value(array[name], f"{where}[{name!r}]") for name in names}
        # Named tuples are tuples. What stands in the code is legible already.
        code = super().value(tuple(value) if isinstance(value, tuple) else value, where)
        if not isinstance(code, dict):
            return code
        ((tag, content),) = code.items()
        if tag in ("array", "transposed"):
            return digest(value)
        if tag == "dict":
            return {str(key): item for key, item in content}
        if tag == "scalar":
            return content["strings"] if "strings" in content else self.value(value.item(), where)
        return content

    def object(self, value: Any, where: str) -> Any:
        frozen, self._frozen = self._frozen, self._frozen or isinstance(value, FrozenEstimator)
        entry = self._entry(value, where)
        self._frozen = frozen
        return {"object": {"class": entry["class"], **entry["arguments"], **entry["state"]}}

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
