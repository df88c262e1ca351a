"""Estimators in files: nothing is lost, nothing but what is declared comes back."""

import os
import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

import sklmacro as skm
from sklmacro.persistence._schema import argument_hints, attribute_hints, own_tensors
from sklmacro.simulators import BarrierModel, LinearChain
from tests.fitted import (
    DZ,
    FIELDS,
    FITS,
    SIMULATORS,
    Flips,
    PredatorPrey,
    Z,
    fitted,
    pipeline,
    predictions,
)

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"


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
        return same(dict(sorted(vars(one).items())), dict(sorted(vars(other).items())))
    if isinstance(one, BarrierModel):
        return all(same(getattr(one, k), getattr(other, k)) for k in argument_hints(type(one)))
    return one == other


def round_trip(estimator, folder, **options):
    skm.save(estimator, folder / "estimator.safetensors")
    return skm.load(folder / "estimator.safetensors", **options)


# --- all estimators and simulators ----------------------------------------------------------------


@pytest.mark.parametrize("name", FITS)
def test_a_fitted_estimator_comes_back(name, tmp_path):
    estimator = fitted(name)
    loaded = round_trip(estimator, tmp_path, allow=(Flips,))
    assert same(estimator, loaded)
    check_is_fitted(loaded)
    assert repr(loaded) == repr(estimator)
    copy = clone(loaded)
    assert [*copy.get_params()] == [*estimator.get_params()]
    with pytest.raises(sklearn.exceptions.NotFittedError):
        check_is_fitted(copy if not isinstance(copy, Pipeline) else copy[-1])


@pytest.mark.parametrize("name", FITS)
def test_an_unfitted_estimator_comes_back(name, tmp_path):
    estimator = clone(fitted(name))
    loaded = round_trip(estimator, tmp_path, allow=(Flips,))
    assert same(estimator, loaded)


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_simulator_comes_back_alone_and_in_an_estimator(name, tmp_path):
    simulator = SIMULATORS[name]
    assert same(simulator, round_trip(simulator, tmp_path, allow=(Flips,)))
    sampler = skm.PartialEvolutionSampler(simulator, patch=4)
    assert same(sampler, round_trip(sampler, tmp_path, allow=(Flips,)))


def test_predictions_of_another_process_are_the_same_to_the_last_bit(tmp_path):
    for number, name in enumerate(FITS):
        skm.save(fitted(name), tmp_path / f"{number}.safetensors")
    command = [sys.executable, "-m", "tests.fitted", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    for number, name in enumerate(FITS):
        expected = predictions(fitted(name))
        assert expected
        with np.load(tmp_path / f"{number}.npz") as found:
            assert set(found.files) == set(expected)
            for method, values in expected.items():
                assert same(values, found[method]), (name, method)


@pytest.mark.parametrize("name", ["mlp, full", "onsager, context", "polynomial", "ensemble"])
def test_paths_are_the_same_to_the_last_bit(name, tmp_path):
    estimator = fitted(name)
    loaded = round_trip(estimator, tmp_path)
    context = [1.5] if estimator.n_features_in_ > 2 else None
    one, two = (
        e.simulate([0.1, 0.2], 20, 0.1, n_paths=3, context=context, random_state=0)
        for e in (estimator, loaded)
    )
    assert same(one, two)


def test_a_loaded_estimator_fits_as_before(tmp_path):
    estimator = pipeline(PredatorPrey(), FIELDS)
    again = round_trip(estimator, tmp_path).fit(FIELDS)
    for method, values in predictions(estimator).items():
        assert same(values, predictions(again)[method])


def test_a_search_goes_on_with_a_loaded_pipeline(tmp_path):
    loaded = round_trip(fitted("pipeline"), tmp_path)
    changed = clone(loaded).set_params(sde__lam=2.0, evolve__simulator__sigma_u=0.5)
    assert changed["evolve"].simulator.sigma_u == 0.5
    assert loaded["evolve"].simulator.sigma_u == PredatorPrey().sigma_u


def test_barriers_give_the_same_rates(tmp_path):
    for name in ("alloy of cluster barriers", "alloy of a network"):
        one = SIMULATORS[name]
        two = round_trip(one, tmp_path)
        rng = np.random.default_rng(0)
        n_basis, n_sites = one.barriers.offsets.shape[:2]
        environments = rng.integers(0, len(one.species) + 1, (20, n_sites)).astype(np.int8)
        basis = np.arange(20) % n_basis
        expected = one.barriers.evaluate(environments, basis)
        assert same(expected, two.barriers.evaluate(environments, basis))


def test_what_was_one_object_stays_one(tmp_path):
    chain = LinearChain()
    pair = Pipeline(
        [
            ("evolve", skm.PartialEvolutionSampler(chain)),
            ("closure", skm.PatchAutoencoder(chain)),
            ("other", skm.PatchAutoencoder(LinearChain())),
        ]
    )
    loaded = round_trip(pair, tmp_path)
    assert loaded["evolve"].simulator is loaded["closure"].simulator
    assert loaded["other"].simulator is not loaded["closure"].simulator


def test_all_fitted_attributes_are_declared_and_documented():
    """A new one that its class does not declare cannot be saved: this names it."""
    for name in FITS:
        steps = [e for _, e in fitted(name).steps] if isinstance(fitted(name), Pipeline) else None
        for estimator in steps or [fitted(name)]:
            cls = type(estimator)
            if not cls.__module__.startswith("sklmacro."):
                continue
            kept = set(vars(estimator)) - set(argument_hints(cls))
            assert kept <= set(attribute_hints(cls)), cls.__name__
    for name in ("HierarchicalUpsampler", "PartialEvolutionSampler", "PatchAutoencoder",
                 "PatchSDERegressor", "SDEEnsemble"):  # fmt: skip
        cls = getattr(skm, name)
        declared = {a for a in attribute_hints(cls) if a[0] != "_"} - {"feature_names_in_"}
        text = cls.__doc__[cls.__doc__.index("Attributes") :]
        undocumented = {a for a in declared if a not in text}
        assert undocumented <= {"mean_", "scale_"}, name


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
def test_a_generator_goes_on_where_it_stood(kind, tmp_path):
    generator = np.random.Generator(getattr(np.random, kind)(5))
    generator.integers(2**31, size=3, dtype=np.uint32)
    loaded = round_trip(Holder(generator), tmp_path, allow=(Holder,)).value
    assert same(generator, loaded)
    assert same(generator.normal(size=700), loaded.normal(size=700))


def test_a_legacy_generator_goes_on_where_it_stood(tmp_path):
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
