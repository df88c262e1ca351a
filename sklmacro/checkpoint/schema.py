"""What a class declares of its objects: arguments of its constructor, fitted attributes, weights.

Type hints say it: those of the constructor, and those of the attributes in the bodies of this
package's classes. Files are checked against them in writing and in reading.

A hint stands for all that the estimators take in its place. Numbers of numpy count as those of
Python, an integer as a float or a truth value, and any list, tuple or array as a sequence.
"""

import inspect
import numbers
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from inspect import formatannotation
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest
from torch import nn

NUMBERS: dict[Any, Any] = {
    bool: (bool, np.bool_, numbers.Integral),
    int: numbers.Integral,
    float: numbers.Real,
}
# What scikit-learn sets in any estimator.
ATTRIBUTES = {
    "n_features_in_": int,
    "feature_names_in_": np.ndarray,
    "_sklearn_output_config": dict[str, str],
    "_metadata_request": MetadataRequest,
}
# Parameters of estimators that name places to write to: they belong to a machine and to a session.
PLACES = ("out", "checkpoint_dir", "memory")
MOST_LETTERS = 10_000_000  # of an array of texts, as many times its length as the longest has
ARGUMENTS: dict[type, dict[str, Any]] = {
    Pipeline: {"memory": None},  # a cache belongs to a machine, and joblib reads pickles from it
    FrozenEstimator: {"estimator": BaseEstimator},
}


def storable(cls: type) -> bool:
    """Tell whether objects of a class that is not this package's can be written.

    They keep the arguments of their constructor under their own names. So do estimators and
    dataclasses; another class says it by the attribute `storable = True`.
    """
    return issubclass(cls, BaseEstimator) or is_dataclass(cls) or getattr(cls, "storable", False)


def argument_hints(cls: type) -> dict[str, Any]:
    """Return the arguments of a constructor and their types."""
    parameters = inspect.signature(cls).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise ValueError(
            f"Expected a constructor of {cls.__name__} with named arguments only, but got "
            f"{inspect.signature(cls)}; name them, as scikit-learn asks for."
        )
    hints = {p.name: Any if isinstance(p.annotation, str) else p.annotation for p in parameters}
    hints = {name: Any if hint is inspect.Parameter.empty else hint for name, hint in hints.items()}
    return hints | ARGUMENTS.get(cls, {})


def attribute_hints(cls: type) -> dict[str, Any]:
    """Return the fitted attributes that a class declares and their types."""
    hints = dict(ATTRIBUTES)
    for base in filter(_is_own, reversed(cls.__mro__)):
        declared = inspect.get_annotations(base).items()
        hints |= {name: hint for name, hint in declared if "_" in (name[0], name[-1])}
    return hints


def _is_own(cls: type) -> bool:
    return cls.__module__.startswith("sklmacro.")


def check_parts(cls: type, arguments: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise ValueError unless a class has these arguments and attributes, of these types."""
    if state and not issubclass(cls, BaseEstimator | nn.Module):
        raise ValueError(f"Expected no state of a {cls.__name__}, but got {', '.join(state)}.")
    _check(cls, arguments, argument_hints(cls))
    if issubclass(cls, BaseEstimator):
        # A class of one's own may have any attributes, but for those that the class itself uses.
        free = () if _is_own(cls) else [name for name in state if not hasattr(cls, name)]
        _check(cls, state, dict.fromkeys(free, Any) | attribute_hints(cls))


def places_in(cls: type, arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of those arguments of an estimator that are places to write to."""
    if not issubclass(cls, BaseEstimator):
        return []
    return [n for n in PLACES if isinstance(arguments.get(n), str | bytes | os.PathLike)]


def check_roles(estimator: Any) -> None:
    """Raise ValueError unless all parts of an estimator have arguments of the declared types."""
    for role in getattr(estimator, "roles", ()):
        part = getattr(estimator, role)
        if isinstance(part, BaseEstimator):
            check_parts(type(part), part.get_params(deep=False), {})
            check_roles(part)


def _check(cls: type, values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Raise ValueError unless all values are named, and fit, in the hints."""
    for name, value in values.items():
        if name not in hints:
            raise ValueError(
                f"Expected what {cls.__name__} declares as arguments and attributes, but got "
                f"{name!r}; in a class of your own, take names that the class does not use itself."
            )
        if not fits(value, hints[name]):
            raise ValueError(
                f"Expected {name} of {cls.__name__} to be {text(hints[name])}, but got "
                f"{shown(value)}; change it by set_params, or fit anew."
            )


def own_tensors(net: nn.Module, arguments: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return weights and buffers, but for those of nets that the net was built from."""
    inner = tuple(f"{k}." for k, argument in arguments.items() if isinstance(argument, nn.Module))
    return {k: tensor for k, tensor in net.state_dict().items() if not k.startswith(inner)}


# Values and type hints --------------------------------------------------------------------------


def fits(value: object, hint: Any) -> bool:
    """Tell whether `value` is of the type `hint`; [64, 64] fits `tuple[int, ...] | None`."""
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
        if isinstance(value, np.ndarray):  # one row has the type of all
            value = value[:1]
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
