"""Files that were tampered with, and how they are refused."""

import copy
import json
import sys
import time
import tracemalloc
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as serialized
from sklearn.base import BaseEstimator

import sklmacro as skm
from sklmacro.checkpoint import container as _container
from sklmacro.simulators import Alloy
from tests.fitted import CHAIN, ORDERING, SHORT_RELAX, fitted

RAN = []


class Trap(BaseEstimator):
    """Would leave a trace of whatever is run of it."""

    def __init__(self, value=None):
        RAN.append("__init__")

    def __setstate__(self, state):
        RAN.append("__setstate__")

    def __reduce__(self):
        return RAN.append, ("__reduce__",)


ESTIMATORS = {
    "alloy": lambda: Alloy(barriers=ORDERING, species=("Cu", "Au")),
    "sampler": lambda: skm.PartialEvolutionSampler(patch=4, random_state=0).fit(CHAIN),
    "upsampler": lambda: skm.HierarchicalUpsampler(relaxation=SHORT_RELAX).fit(CHAIN),
    "generator": lambda: skm.PatchSDERegressor(random_state=np.random.RandomState(0)),
    "philox": lambda: skm.PatchSDERegressor(random_state=np.random.Generator(np.random.Philox(0))),
}


@cache
def estimator(name):
    return ESTIMATORS[name]() if name in ESTIMATORS else fitted(name)


@cache
def _whole(name):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "whole.safetensors"
        skm.save(estimator(name), path)
        with safe_open(path, "numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return path.read_bytes(), json.loads(file.metadata()["objects"]), arrays


def whole(name):
    """Return the bytes, the objects and the arrays of a file of an estimator, to be changed."""
    return copy.deepcopy(_whole(name))


def sealed(content, arrays, **changes):
    """A file of objects and arrays with the right checksum."""
    metadata = {
        "format": "sklmacro",
        "version": "1",
        "packages": json.dumps({"sklmacro": _container.version("sklmacro")}),
        "objects": json.dumps(content),
    } | changes
    metadata.setdefault("sha256", _container.checksum(metadata, arrays))
    return serialized(arrays, {k: v for k, v in metadata.items() if v is not None})


def refused(data, folder, message, error=ValueError):
    """Load a file that is refused: quickly, without much memory, and without a trace."""
    path = folder / "hostile.safetensors"
    path.write_bytes(data)
    modules, start = set(sys.modules), time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message) as caught:
            skm.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(caught.value) is error
    assert peak < 40e6
    assert time.perf_counter() - start < 5
    assert not RAN
    assert set(sys.modules) == modules
