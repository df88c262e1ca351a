"""To a file and back, and whether nothing was lost on the way."""

from dataclasses import fields, is_dataclass

import numpy as np
from sklearn.base import BaseEstimator
from torch import nn

import sklmacro as skm
from sklmacro.checkpoint.schema import argument_hints, own_tensors
from sklmacro.checkpoint.writing import SESSION
from sklmacro.simulators import BarrierModel


def same(one, other):
    """Whether two values are equal in all that they hold, types and bits included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        bits = "tolist" if one.dtype == object else "tobytes"
        return getattr(one, bits)() == getattr(other, bits)()
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return [*one] == [*other] and all(map(same, one.values(), other.values()))
    if isinstance(one, np.random.Generator):
        return same(one.bit_generator.state, other.bit_generator.state)
    if isinstance(one, nn.Module):
        arguments = {name: getattr(one, name) for name in argument_hints(type(one))}
        tensors = own_tensors(one, arguments), own_tensors(other, arguments)
        return not other.training and all(
            same(*({k: t.numpy() for k, t in own.items()} for own in tensors))
            if k is None
            else same(getattr(one, k), getattr(other, k))
            for k in (None, *arguments)
        )
    if is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, BaseEstimator):
        parts = [vars(each).items() for each in (one, other)]
        return same(*({k: v for k, v in sorted(items) if k not in SESSION} for items in parts))
    if isinstance(one, BarrierModel):
        return all(same(getattr(one, k), getattr(other, k)) for k in argument_hints(type(one)))
    return one == other


def round_trip(estimator, folder, **options):
    skm.save(estimator, folder / "estimator.safetensors")
    return skm.load(folder / "estimator.safetensors", **options)
