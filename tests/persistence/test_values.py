"""What a file can hold, and what it cannot."""

import copy
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from torch import nn

import sklmacro as skm
from sklmacro.checkpoint import container as _container
from sklmacro.simulators import Alloy, CallableBarriers, Ising, LinearChain
from tests.fitted import DZ, Flips, Z, fitted
from tests.round_trips import round_trip, same

# --- values ---------------------------------------------------------------------------------------


class Holder(BaseEstimator):
    """An estimator of one's own that holds anything."""

    def __init__(self, value=None):
        self.value = value


@dataclass
class Record:
    name: str
    values: np.ndarray


PAIR = np.dtype([("x", np.int8, (2, 2)), ("t", np.float64), ("in", [("a", "<u2"), ("b", "?")])])
VALUES = {
    "nothing": None,
    "truth": [True, False],
    "integers": (0, -1, 2**200, -(2**63)),
    "floats": [0.1, -0.0, 1e-320, float("inf"), float("-inf"), float("nan"), 1e300],
    "texts": ["", "é\n\x00", "\ud800", '"quoted"'],
    "lists and tuples": [(), [], ([1], (2,)), {"a": (1, [2])}],
    "dictionaries": {1: "one", (2, 3): "pair", None: {}, "b": {"array": "x"}},
    "scalars": [np.float32(0.1), np.int8(-3), np.bool_(True), np.str_("a"), np.uint64(2**63)],
    "empty array": np.zeros((0, 3)),
    "array of no axes": np.array(3.0),
    "strided": np.arange(24.0).reshape(2, 3, 4)[:, ::2, ::-1],
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "structured": np.zeros(3, PAIR),
    "structured record": np.ones((), PAIR)[()],
    "texts in an array": np.array([["a", "bc"]]),
    "objects that are texts": np.array(["magnetisation", "walls"], object),
    "path": Path("folder") / "file",
    "generator": np.random.default_rng(3),
    "dataclass": Record("r", np.arange(3)),
    **{f"array of {name}": np.array([[0, 1], [1, 0]], name) for name in (*"?bBhHiIqQefd", ">f8")},
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back(name, tmp_path):
    value = VALUES[name]
    loaded = round_trip(Holder(value), tmp_path, allow=(Holder, Record)).value
    if name == "array of >f8":
        value = value.astype("<f8")
    assert same(value, loaded)
    if isinstance(value, np.ndarray) and value.ndim > 1 and name != "strided":
        assert value.flags.c_contiguous == loaded.flags.c_contiguous  # BLAS may tell
    if isinstance(loaded, np.ndarray):
        assert loaded.flags.writeable
        assert not np.shares_memory(value, loaded)


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "PCG64DXSM", "SFC64", "Philox"])
def test_a_generator_continues_where_it_stood(kind, tmp_path):
    generator = np.random.Generator(getattr(np.random, kind)(5))
    generator.integers(2**31, size=3, dtype=np.uint32)
    loaded = round_trip(Holder(generator), tmp_path, allow=(Holder,)).value
    assert same(generator, loaded)
    assert same(generator.normal(size=700), loaded.normal(size=700))


def test_a_legacy_generator_continues_where_it_stood(tmp_path):
    generator = np.random.RandomState(5)
    generator.normal()
    sde = skm.PatchSDERegressor(random_state=generator)
    loaded = round_trip(sde, tmp_path).random_state
    assert same(generator.normal(size=700), loaded.normal(size=700))


def test_output_and_requests_come_back(tmp_path):
    with sklearn.config_context(enable_metadata_routing=True):
        sampler = skm.PartialEvolutionSampler().set_transform_request(groups="trajectory")
        loaded = round_trip(sampler, tmp_path)
        assert loaded.get_metadata_routing().transform.requests == {"groups": "trajectory"}
        assert same(vars(clone(loaded)).keys(), vars(clone(sampler)).keys())
    closure = skm.PatchAutoencoder().set_output(transform="default")
    assert round_trip(closure, tmp_path)._sklearn_output_config == {"transform": "default"}


def test_feature_names_come_back(tmp_path):
    sde = clone(fitted("linear")).fit(Z, DZ)
    sde.feature_names_in_ = np.array(["magnetisation", "walls"], object)
    assert same(sde, round_trip(sde, tmp_path))


def test_callbacks_belong_to_the_session(tmp_path):
    sde = clone(fitted("linear"))
    sde._skl_callbacks = [print]
    assert not hasattr(round_trip(sde, tmp_path), "_skl_callbacks")


# --- what cannot be saved -------------------------------------------------------------------------


class Starred(BaseEstimator):
    def __init__(self, *values):
        self.values = values


class Forgetful(BaseEstimator):
    def __init__(self, value=None):
        self.other = value


def own_ising():
    return type("Ising", (LinearChain,), {})()


def with_attribute(**attributes):
    estimator = skm.PatchSDERegressor()
    vars(estimator).update(attributes)
    return estimator


def containing_itself():
    estimator = Holder([])
    estimator.value.append(estimator)
    return estimator


MEMORY = Pipeline([("closure", skm.PatchAutoencoder())], memory="cache")
# fmt: off
REFUSED = {
    "no estimator": (lambda: np.zeros(3), "an estimator or a simulator, but got a ndarray"),
    "a class": (lambda: Ising, "an estimator or a simulator, but got a type"),
    "barriers from a function": (
        lambda: skm.PartialEvolutionSampler(Alloy(barriers=CallableBarriers(max))),
        r"for PartialEvolutionSampler.simulator.barriers.function; leave it out",
    ),
    "an open file": (lambda: Holder(sys.stdout),
        "texts, arrays, .*, but got a .* for Holder.value; leave it out"),
    "a set": (lambda: Holder([{1}]), r"for Holder.value\[0\]"),
    "a net of one's own": (lambda: Holder(nn.Identity()), "Identity.* for Holder.value"),
    "complex numbers": (lambda: Holder(np.ones(1, complex)), "complex128 for Holder.value"),
    "dates": (lambda: Holder(np.zeros(1, "M8[s]")), r"datetime64\[s\] for Holder.value"),
    "objects in an array": (lambda: Holder(np.array([None])), "object for Holder.value"),
    "a masked array": (lambda: Holder(np.ma.ones(2)), "MaskedArray.* for Holder.value"),
    "long texts in an array": (lambda: Holder(np.zeros(11, "U1000000")),
        "at most 10000000 letters, but got an array of 11000000 for Holder.value; convert it"),
    "itself": (containing_itself, "do not contain themselves"),
    "a cache": (lambda: MEMORY, "Expected memory of Pipeline to be None, but got 'cache'"),
    "a name that is taken": (own_ising, "names of classes other than this package's"),
    "arguments without names": (lambda: Starred(1, 2), "with named arguments only"),
    "arguments that are not kept": (lambda: Forgetful(1), "but got no value; assign"),
    "a parameter of another type": (
        lambda: skm.PatchSDERegressor(drift_model=skm.MLP(hidden="64")),
        "hidden of MLP to be Sequence.int., but got '64'; change it by set_params",
    ),
    "a simulator that is none": (lambda: skm.PatchAutoencoder(simulator=skm.PatchSDERegressor()),
        r"simulator of PatchAutoencoder to be Simulator \| None"),
    "half a fit": (lambda: with_attribute(n_features_in_=2),
        "all that a fit leaves, but 'PatchSDERegressor' object has no attribute 'n_state_'; fit"),
    "parameters changed behind a fit": (
        lambda: copy.deepcopy(fitted("closure, conv")).set_params(n_closure=5),
        "n_latent_ to be 6, but got 3; fit and save it anew",
    ),
    "an attribute that is not declared": (lambda: with_attribute(guess_=1.0),
        "what PatchSDERegressor declares .*, but got 'guess_'"),
    "an attribute of another type": (lambda: with_attribute(n_state_="2"),
        "n_state_ of PatchSDERegressor to be int, but got '2'"),
    "what the class says otherwise": (
        lambda: vars(simulator := Flips()).update(n_fields=2) or simulator,
        "what Flips declares .*, but got 'n_fields'; in a class of your own, take names that",
    ),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_saved_is_named(name, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        skm.save(make(), tmp_path / "estimator.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_long_header_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_container, "LARGEST_HEADER", 2000)
    with pytest.raises(ValueError, match="shorten lists, such as history_"):
        skm.save(Holder([0.1] * 1000), tmp_path / "estimator.safetensors")


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_save_leaves_the_earlier_file(error, tmp_path, monkeypatch):
    path = tmp_path / "estimator.safetensors"
    skm.save(Ising(temperature=2.0), path)

    def interrupted(*arguments):
        raise error

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(error):
        skm.save(Ising(temperature=3.0), path)
    assert [*tmp_path.iterdir()] == [path]
    assert skm.load(path).temperature == 2.0


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        skm.save(Ising(), tmp_path / "missing" / "estimator.safetensors")
