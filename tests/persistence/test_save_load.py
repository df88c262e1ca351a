"""Estimators in files: they come back as they were, in other processes and in later versions."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from safetensors import safe_open
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

import sklmacro as skm
from sklmacro.checkpoint import container as _container
from sklmacro.checkpoint.schema import argument_hints, attribute_hints
from sklmacro.checkpoint.writing import SESSION
from sklmacro.persistence import VersionWarning
from sklmacro.persistence import save_load as _files
from sklmacro.persistence.classes import CLASSES
from sklmacro.simulators import Alloy, BarrierModel, Ising, LinearChain, PredatorPrey
from tests.fitted import (
    DZ,
    FIELDS,
    FITS,
    SIMULATORS,
    SMALL_MLP,
    Flips,
    Z,
    fitted,
    pipeline,
    predictions,
)
from tests.hostile import sealed
from tests.round_trips import round_trip, same

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"

# --- all estimators and simulators ----------------------------------------------------------------


@pytest.mark.parametrize("name", FITS)
def test_a_fitted_estimator_comes_back(name, tmp_path):
    estimator = fitted(name)
    loaded = round_trip(estimator, tmp_path, allow=(Flips,))
    assert same(estimator, loaded)
    check_is_fitted(loaded)
    texts = [re.sub(r" at 0x\w+", "", repr(e)) for e in (loaded, estimator)]  # of generators
    assert texts[0] == texts[1]
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


def test_a_search_continues_with_a_loaded_pipeline(tmp_path):
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
            saved = set(vars(estimator)) - set(argument_hints(cls)) - SESSION
            assert saved <= set(attribute_hints(cls)), cls.__name__
    for name in ("HierarchicalUpsampler", "PartialEvolutionSampler", "PatchAutoencoder",
                 "PatchSDERegressor", "SDEEnsemble", "StreamedPairs", "Checkpointed"):  # fmt: skip
        cls = getattr(skm, name)
        declared = {a for a in attribute_hints(cls) if a[0] != "_"} - {"feature_names_in_"}
        text = cls.__doc__[cls.__doc__.index("Attributes") :]
        undocumented = {a for a in declared if a not in text}
        assert undocumented <= {"mean_", "scale_"}, name


# --- classes of one's own -------------------------------------------------------------------------


class OwnBarriers(BarrierModel):
    def __init__(self, height=0.5):
        super().__init__("bcc", 1.0, 3)
        self.height = height


class Scaler(TransformerMixin, BaseEstimator):
    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        self.largest_ = np.abs(X).max(axis=0)
        return self

    def transform(self, X):
        return self.factor * X / self.largest_


def test_classes_of_ones_own_are_named_to_load_them(tmp_path):
    pipe = Pipeline([("scale", Scaler(2.0)), ("sde", skm.PatchSDERegressor(**SMALL_MLP))]).fit(
        Z, DZ
    )
    with pytest.raises(ValueError, match=r"a 'Scaler'; .*allow=\(Scaler,\)\), else do not trust"):
        round_trip(pipe, tmp_path)
    assert same(pipe.predict(Z), round_trip(pipe, tmp_path, allow=[Scaler]).predict(Z))


def test_barriers_of_ones_own(tmp_path):
    alloy = Alloy(barriers=OwnBarriers(0.7))
    assert round_trip(alloy, tmp_path, allow=(OwnBarriers,)).barriers.height == 0.7


def test_estimators_of_scikit_learn(tmp_path):
    pca = PCA(1).fit(Z)
    assert same(pca.transform(Z), round_trip(pca, tmp_path, allow=(PCA,)).transform(Z))


@pytest.mark.parametrize(
    ("allow", "message"),
    [
        (("Flips",), "allow to hold classes of estimators.*but got 'Flips'"),
        ((os.system,), "allow to hold classes of estimators"),
        ((dict,), "allow to hold classes of estimators"),
        ((type("Ising", (Ising,), {}),), "different names, but got another Ising; rename it"),
        ((type("Generator", (Ising,), {}),), "different names, but got another Generator"),
    ],
)
def test_allow_takes_classes_of_other_names(allow, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        round_trip(Ising(), tmp_path, allow=allow)


# --- versions -------------------------------------------------------------------------------------

# `write_fixtures` wrote the files, with the sklmacro of that time. They stay as they are; a new
# format version gets files of its own.
FIXTURES = {
    "polynomial": lambda: pipeline(PredatorPrey(), FIELDS),
    "nets": lambda: fitted("ensemble"),
    "onsager": lambda: fitted("onsager, odd"),
    "alloy": lambda: SIMULATORS["alloy"],
}


def write_fixtures():
    """Write a file of each kind, of the present version, and what it predicts."""
    DATA.mkdir(exist_ok=True)
    for name, make in FIXTURES.items():
        path = DATA / f"format-{_container.VERSION}-{name}.safetensors"
        skm.save(make(), path)
        numbers = {k: v.tolist() for k, v in predictions(skm.load(path)).items()}
        path.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")


@pytest.mark.parametrize("path", sorted(DATA.glob("*.safetensors")), ids=lambda path: path.stem)
def test_files_of_every_version_are_read(path):
    found = predictions(skm.load(path))
    expected = json.loads(path.with_suffix(".json").read_text())
    assert expected.keys() == found.keys()
    for method, numbers in expected.items():
        np.testing.assert_allclose(found[method], numbers, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("arguments", [{}, {"max_epochs": 3}, {"drift_model": "mlp"}])
def test_a_file_keeps_the_drift_that_was_the_default(arguments, tmp_path):
    entry = {"class": "PatchSDERegressor", "arguments": arguments, "state": {}}
    (tmp_path / "file").write_bytes(sealed([entry], {}))
    assert skm.load(tmp_path / "file").n_epochs == arguments.get("max_epochs", 100)
    skm.save(skm.PatchSDERegressor(), tmp_path / "now")
    assert skm.load(tmp_path / "now").drift_model == "gp"
    members = skm.load(DATA / "format-1-nets.safetensors").members_
    assert all(isinstance(member.part("drift_model"), skm.MLP) for member in members)


def test_there_are_files_of_every_version():
    versions = [re.match(r"format-(\d+)-", path.name)[1] for path in DATA.glob("*.safetensors")]
    assert set(map(int, versions)) == set(range(1, _container.VERSION + 1))
    assert all(path.stat().st_size < 20_000 for path in DATA.iterdir())


def test_a_newer_format_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(_container, "VERSION", 2)
    skm.save(Ising(), tmp_path / "new.safetensors")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"'new\.safetensors' is of version 2; upgrade sklmacro"):
        skm.load(tmp_path / "new.safetensors")


@pytest.mark.parametrize(("written", "warned"), [("0.0.9", True), ("1.1.0", True), ("", False)])
def test_another_version_of_sklmacro_is_warned_of(written, warned, tmp_path, monkeypatch):
    here = _files.version("sklmacro")
    written = written or ".".join([*here.split(".")[:2], "99"])
    monkeypatch.setattr(_container, "version", lambda name: written)
    skm.save(Ising(), tmp_path / "old.safetensors")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        skm.load(tmp_path / "old.safetensors")
    assert [w.category for w in caught] == [VersionWarning] * warned
    if warned:
        assert f"was written by sklmacro {written}, and this is {here}" in str(caught[0].message)
        assert caught[0].filename == __file__


def test_the_header_tells_what_the_file_holds(tmp_path):
    skm.save(fitted("linear"), tmp_path / "linear.safetensors")
    with safe_open(tmp_path / "linear.safetensors", "numpy") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert metadata["format"] == "sklmacro"
    assert metadata["version"] == "1"
    assert set(json.loads(metadata["packages"])) == {"sklmacro", "numpy", "scikit-learn", "torch"}
    classes = [entry["class"] for entry in json.loads(metadata["objects"])]
    assert classes == ["LatticeSizes", "Coverage", "PolynomialSDE", "PatchSDERegressor"]
    assert set(classes) <= set(CLASSES)
    assert "PatchSDERegressor.model_.B" in names
