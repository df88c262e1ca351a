"""Objects from JSON and arrays: the way back of `writing`, which describes both.

Classes are looked up among those that are allowed; nothing is imported or run by its name. All that
can be wrong is a ValueError, and nothing is allocated that is larger than the arrays at hand.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sklmacro._base.roles import Roles
from sklmacro._base.workers import plain_torch, single_threaded
from sklmacro.checkpoint.budget import Budget
from sklmacro.checkpoint.foreign import FOREIGN
from sklmacro.checkpoint.schema import (
    MOST_LETTERS,
    check_parts,
    check_roles,
    fits,
    own_tensors,
    places_in,
    shown,
)
from sklmacro.checkpoint.writing import unchecked

MOST_OBJECTS = 100_000  # each counted as often as it is referred to, as clones would have it


class Reader:
    """Read objects of `classes`, all that are allowed, by name; `check` is as for `Writer`.

    What is built is paid from a `budget` before it is allocated. Parameters that name places to
    write to are collected in `places`, and None unless `keep_paths`.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        classes: Mapping[str, type],
        check: Callable[[Any, Iterable[str]], None] = unchecked,
        *,
        budget: Budget | None = None,
        keep_paths: bool = False,
    ):
        self._arrays, self._classes, self._check = dict(arrays), classes, check
        self._budget, self._keep_paths = budget or Budget(), keep_paths
        self.places: list[str] = []
        self._done: list[Any] = []
        self._sizes: list[int] = []  # of the objects, with all that they refer to
        self._size = 0
        self._values: dict[str, Callable[[Any], Any]] = {
            "float": lambda name: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[name],
            "tuple": lambda items: tuple(map(self.value, items)),
            "dict": lambda pairs: {self.value(key): self.value(item) for key, item in pairs},
            "path": Path,
            "array": self._array,
            "transposed": lambda array: self.value(array).T,
            "scalar": lambda array: self.value(array)[()],
            "strings": self._strings,
            "fields": self._fields,
            "object": self._object_of,
        }

    def read(self, objects: Any) -> Any:
        """Return the last of the objects; whatever cannot be built is a ValueError."""
        try:
            for entry in objects:
                self._size = 1
                self._done.append(self._object(entry["class"], entry["arguments"], entry["state"]))
                self._sizes.append(self._size)
            last = self._done[-1]
        except (ValueError, MemoryError):
            raise
        except Exception as error:  # malformed JSON and nets make readers raise nearly anything
            raise ValueError(
                f"Expected objects that go together, but got one, number {len(self._done)}, that "
                f"cannot be built ({type(error).__name__}: {error}); save it anew."
            ) from error
        if self._arrays:
            raise ValueError(f"Expected arrays in use, but got others: {shown([*self._arrays])}.")
        return last

    def _object(self, name: str, arguments: Any, state: Any) -> Any:
        arguments, state = (
            {key: self.value(code) for key, code in codes.items()} for codes in (arguments, state)
        )
        if name in FOREIGN:
            return FOREIGN[name].make(**arguments)
        if name not in self._classes:
            raise ValueError(
                f"Expected classes of this package or of allow, but got a {name!r}; if it is a "
                f"class of your own, import it and load(..., allow=({name},)), else do not trust "
                "the file. Nothing of it was run."
            )
        cls = self._classes[name]
        if issubclass(cls, Roles):
            arguments = cls.translate(arguments, warn=False)
        check_parts(cls, arguments, state)
        if issubclass(cls, nn.Module):
            self._budget.spend(
                sum(getattr(value, "nbytes", 0) for value in state.values()), "weights"
            )
            return _net(cls, arguments, state)
        named = places_in(cls, arguments)
        self.places += [f"{name} of {cls.__name__}" for name in named]
        if not self._keep_paths:
            arguments |= dict.fromkeys(named)
        built = cls(**arguments)
        check_roles(built)  # former names have put arguments into them
        if state:
            vars(built).update(state)
        self._check(built, state)
        return built

    def value(self, code: Any) -> Any:
        """Return the value that a code stands for."""
        if isinstance(code, list):
            return [self.value(item) for item in code]
        if type(code) is float and not math.isfinite(code):
            raise ValueError("Expected numbers that a float can hold, but got a larger one.")
        if not isinstance(code, dict):
            return code
        ((tag, content),) = code.items()
        return self._values[tag](content)

    def _object_of(self, number: Any) -> Any:
        if type(number) is not int or number < 0:
            raise ValueError(f"Expected the number of an object, but got {shown(number)}.")
        self._size += self._sizes[number]
        if self._size > MOST_OBJECTS:
            raise ValueError(
                f"Expected at most {MOST_OBJECTS} objects within one, but got more; save a smaller "
                "part."
            )
        return self._done[number]

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:  # each has one place: none is copied any number of times
            raise ValueError(
                f"Expected arrays that are there once, but got a second or no {name!r}."
            )
        array = self._arrays.pop(name)
        if array.dtype == bool and (array.view(np.uint8) > 1).any():
            raise ValueError(f"Expected truth values to be 0 or 1, but got others in {name}.")
        return array

    def _strings(self, code: Any) -> np.ndarray:
        items = code["items"]
        if not fits(items, list[str]):
            raise ValueError(f"Expected texts, but got {shown(items)}.")
        n_letters = 0 if code["object"] else len(items) * max(map(len, items), default=0)
        if n_letters > MOST_LETTERS:
            raise ValueError(f"Expected at most {MOST_LETTERS} letters, but got an array of more.")
        self._budget.spend(4 * n_letters + 8 * len(items), "texts")
        return np.array(items, object if code["object"] else str).reshape(code["shape"])

    def _fields(self, code: Any) -> np.ndarray:
        shape = tuple(code["shape"])
        fields = {name: self.value(array) for name, array in code["items"]}
        if not fields or any(array.shape[: len(shape)] != shape for array in fields.values()):
            raise ValueError(f"Expected fields of arrays of shape {shape}, but got others.")
        self._budget.spend(sum(array.nbytes for array in fields.values()), "fields")
        types = [(name, a.dtype, a.shape[len(shape) :]) for name, a in fields.items()]
        whole = np.empty(shape, np.dtype(types))
        for name, array in fields.items():
            whole[name] = array
        return whole


def decode(code: Any, arrays: Mapping[str, np.ndarray], budget: Budget | None = None) -> Any:
    """Return the value that `writing.encode` made JSON and arrays of."""
    return Reader(arrays, {}, budget=budget).value(code)


# Of an argument of a net: layers, signs, or components; many more take long to build, and the
# covariance of as many components much memory.
MOST_ITEMS = 1000


def _net(cls: type[nn.Module], arguments: dict[str, Any], state: dict[str, Any]) -> nn.Module:
    """Build a net of the size that its weights have; nothing is allocated for it before."""
    if any(isinstance(v, list | tuple) and len(v) > MOST_ITEMS for v in arguments.values()):
        raise ValueError(f"Expected a {cls.__name__} of at most {MOST_ITEMS} layers, but got more.")
    if any(isinstance(v, int) and v > MOST_ITEMS for v in arguments.values()):
        raise ValueError(
            f"Expected a {cls.__name__} of at most {MOST_ITEMS} inputs and outputs, but got more."
        )
    with single_threaded(), torch.device("meta"):
        net = cls(**arguments)
    wanted = {k: _form(tensor) for k, tensor in own_tensors(net, arguments).items()}
    with plain_torch():
        given = {k: torch.tensor(array) for k, array in state.items()}  # aligned as torch does
    forms = {k: _form(tensor) for k, tensor in given.items()}
    if forms != wanted:
        raise ValueError(
            f"Expected weights of {cls.__name__} of the shapes {shown(wanted)}, but got "
            f"{shown(forms)}; save it anew."
        )
    net.load_state_dict(given, strict=False, assign=True)
    return net.eval().requires_grad_(False)


def _form(tensor: torch.Tensor) -> tuple[tuple[int, ...], str]:
    """Return the shape of a tensor, and its type but for the precision."""
    single_or_double = tensor.dtype in (torch.float32, torch.float64)
    return tuple(tensor.shape), "float" if single_or_double else str(tensor.dtype)
