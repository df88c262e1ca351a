"""Searches that were interrupted or killed, and are taken up: Checkpointed."""

import logging
from dataclasses import dataclass

import numpy as np
import pytest
import sklearn
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.metadata_routing import get_routing_for_object

from sklmacro import (
    MLP,
    Checkpointed,
    HierarchicalUpsampler,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchSDERegressor,
    SDEEnsemble,
    StreamedPairs,
    Training,
)
from sklmacro.persistence import search as _search
from sklmacro.sde.base import PatchSDE
from tests.fitted import DZ, PAIRS, SPINS, Flips, Z, sde, stages
from tests.killed_works import (
    CLOSED,
    CLOSURE_SHORT,
    GROUPS,
    MLP_SHORT,
    SMALL,
    path_scorer,
    steps,
    streamed,
)

LINEAR = PatchSDERegressor(**CLOSED)


def files(folder):
    return sorted(path.name for path in folder.glob("*.safetensors"))


@pytest.fixture
def n_fits(monkeypatch):
    """Count fits of SDEs."""
    counted, fit = [], PatchSDE.fit

    def counting(self, X, y=None, groups=None):
        counted.append(self)
        return fit(self, X, y, groups)

    monkeypatch.setattr(PatchSDE, "fit", counting)
    return lambda: len(counted)


# --- searches ------------------------------------------------------------------------------------


def test_processes_share_a_folder(tmp_path):
    grid = {"estimator__drift_model__training__lr": [0.01, 0.03, 0.1]}
    net = PatchSDERegressor(**MLP_SHORT)

    def found(folder, n_jobs):
        kept = Checkpointed(net, folder)
        options = {"cv": GroupKFold(2), "n_jobs": n_jobs, "error_score": "raise"}
        fitted = GridSearchCV(kept, grid, **options).fit(PAIRS, groups=PAIRS["group"])
        results = {k: v for k, v in fitted.cv_results_.items() if not k.endswith("_time")}
        return results, fitted.predict(PAIRS).tobytes()

    (expected, predicted) = found(tmp_path / "one", 1)
    for name in files(tmp_path / "one")[::2]:  # half of it is done
        (tmp_path / "one" / name).unlink()
    for folder in ("one", "two", "two"):
        results, again = found(tmp_path / folder, 2)
        assert again == predicted
        assert results.keys() == expected.keys()
        for name, values in results.items():
            assert np.array_equal(values, expected[name]), name
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_processes_may_do_the_same_fit_at_once(tmp_path):
    kept = Checkpointed(PatchSDERegressor(**MLP_SHORT), tmp_path)
    found = Parallel(n_jobs=2)(delayed(clone(kept).fit)(PAIRS) for _ in range(4))
    assert len({one.drift(Z).tobytes() for one in found}) == 1
    assert len(files(tmp_path)) == len([*tmp_path.iterdir()]) == 1


# --- what is told apart --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "X", "y"),
    [
        ({"lam": 2.0}, Z, DZ),
        ({"random_state": 1}, Z, DZ),
        ({"parity": (-1, -1)}, Z, DZ),
        ({}, Z + 1e-16, DZ),
        ({}, Z[:-1], DZ[:-1]),
        ({}, Z[::-1], DZ),
        ({}, Z, 2 * DZ),
        ({}, Z, DZ[:, 0]),
        ({}, Z.astype(np.float32), DZ),
        ({}, PAIRS, None),
    ],
)
def test_other_settings_and_data_are_fitted(changes, X, y, tmp_path, n_fits):
    Checkpointed(LINEAR, tmp_path).fit(Z, DZ)
    other = Checkpointed(clone(LINEAR).set_params(**changes), tmp_path).fit(X, y)
    assert n_fits() == len(files(tmp_path)) == 2
    plain = clone(LINEAR).set_params(**changes).fit(X, y)
    assert other.predict(X).tobytes() == plain.predict(X).tobytes()


def test_other_classes_are_fitted(tmp_path):
    net = {"random_state": 0, "training": Training(max_epochs=2)}
    for one in (
        PatchSDERegressor(**MLP_SHORT),
        OnsagerSDE(**net),
        make_pipeline(OnsagerSDE(**net)),
    ):
        Checkpointed(one, tmp_path).fit(PAIRS)
    assert [name.partition("-")[0] for name in files(tmp_path)] == [
        "OnsagerSDE", "PatchSDERegressor", "Pipeline",
    ]  # fmt: skip


def test_data_compare_by_what_they_hold(tmp_path, n_fits):
    kept = Checkpointed(LINEAR, tmp_path)
    np.save(tmp_path / "z.npy", Z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    for X, y in ((Z, DZ), (mapped, DZ), (Z.tolist(), DZ.tolist()), (Z[::-1][::-1], DZ)):
        kept.fit(X, y)
    assert n_fits() == 1
    kept.fit(Z.astype(object), DZ)
    kept.fit(Z.astype(object), DZ)
    assert n_fits() == 2


def test_names_of_columns_count(tmp_path):
    pandas = pytest.importorskip("pandas")
    kept = Checkpointed(LINEAR, tmp_path)
    for names in (["a", "b"], ["m", "rho"]):
        found = kept.fit(pandas.DataFrame(Z, columns=names), DZ).feature_names_in_
        assert found.tolist() == names
    assert not hasattr(kept.fit(Z, DZ), "feature_names_in_")


def test_fitted_parts_count(tmp_path):
    """Parameters of two frozen estimators are the same, and what they have learned is not."""
    one, two = (
        PatchAutoencoder(Flips(), patch=4, **CLOSURE_SHORT).fit(X) for X in (SPINS, SPINS[:12])
    )
    for closure in (one, two, one):
        frozen = StreamedPairs(*stages(Flips(), 4), FrozenEstimator(closure))
        kept = Checkpointed(frozen, tmp_path)
        found, expected = kept.fit_transform(SPINS), frozen.fit_transform(SPINS)
        assert found.tobytes() == expected.tobytes()
    assert len(files(tmp_path)) == 2


def test_settings_without_effect_are_shared_and_in_force(tmp_path, n_fits):
    def kept(**changes):
        inner = SDEEnsemble(PatchSDERegressor(**MLP_SHORT), n_members=2, random_state=0)
        pipe = make_pipeline(FunctionTransformer(), inner)
        return Checkpointed(pipe.set_params(**changes), tmp_path).fit(PAIRS).estimator_

    kept()
    changed = kept(sdeensemble__n_jobs=2, sdeensemble__sde__verbose=True, memory=str(tmp_path))
    assert n_fits() == 2
    assert changed.memory == str(tmp_path)
    assert changed[-1].n_jobs == 2
    assert changed[-1].sde.verbose is True
    kept(sdeensemble__sde__drift_model__training__device="cpu:0")
    assert n_fits() == 2
    kept(sdeensemble__n_members=3)
    assert n_fits() == 5


# --- refusals ------------------------------------------------------------------------------------


@dataclass
class Shift:
    """What an estimator of one's own may hold."""

    by: float


class Shifted(BaseEstimator):
    """An estimator whose fitted part is of a class that no parameter names."""

    def fit(self, X, y=None):
        self.shift_ = Shift(float(np.mean(X)))
        return self


RNG = np.random.default_rng(0)
# fmt: off
REFUSED = {
    "no seed": (PatchSDERegressor(), "random_state to be an integer .* got None; pass an integer"),
    "a generator": (SDEEnsemble(LINEAR, random_state=RNG), "random_state to be an integer"),
    "a step without a seed": (make_pipeline(OnsagerSDE()), "Expected onsagersde__random_state to"),
    "a folder within": (PatchSDERegressor(random_state=0, checkpoint_dir="folder"),
        "Expected checkpoint_dir to be None .* got 'folder'; leave it to Checkpointed"),
    "a function": (make_pipeline(FunctionTransformer(np.cbrt), LINEAR),
        r"which a file can hold, but got .* for Pipeline.steps\[0\]\[1\].func; leave it out"),
    "an unknown part": (Shifted(), "but got a 'Shift'"),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_saved_is_refused(name, tmp_path):
    estimator, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        Checkpointed(estimator, tmp_path).fit(Z, DZ)
    assert not [*tmp_path.iterdir()]


def test_data_that_cannot_be_told_apart_are_refused(tmp_path):
    wrong = np.array([[object()], [1.0]])
    with pytest.raises(ValueError, match="Expected X to be a dense array of numbers and texts"):
        Checkpointed(LINEAR, tmp_path).fit(wrong, DZ)
    with pytest.raises(ValueError, match="Expected metadata weights to be a dense array"):
        Checkpointed(LINEAR, tmp_path).fit(Z, DZ, weights=object())


@pytest.mark.parametrize("damage", ["cut", "other bits", "other file", "empty"])
def test_a_damaged_file_is_named_and_not_fitted_again(damage, tmp_path, n_fits):
    kept = Checkpointed(LINEAR, tmp_path).fit(Z, DZ)
    drift, (name,) = kept.drift(Z).tobytes(), files(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(
        {
            "cut": data[: len(data) // 2],
            "other bits": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
            "other file": b"not ours, but long enough to be looked at",
            "empty": b"",
        }[damage]
    )
    with pytest.raises(ValueError, match=rf"{name}'.*delete the file, and it is fitted again"):
        kept.fit(Z, DZ)
    assert n_fits() == 1
    (tmp_path / name).unlink()
    assert kept.fit(Z, DZ).drift(Z).tobytes() == drift
    assert n_fits() == 2


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"checkpoint_dir to be a folder, but got the file"):
        Checkpointed(LINEAR, tmp_path / "file").fit(Z, DZ)


def test_a_fit_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="NaN"):
        Checkpointed(LINEAR, tmp_path).fit(np.where(Z[0] == Z, np.nan, Z), DZ)
    assert not [*tmp_path.iterdir()]


# --- in the place of the estimator ---------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        PatchSDERegressor(drift_model=MLP(training=Training(max_epochs=2)), random_state=0),
        HierarchicalUpsampler(random_state=0),
    ],
)
def test_common(estimator, tmp_path):
    state = np.random.get_state()  # noqa: NPY002 - check_estimator permutes samples with it
    found = check_estimator(Checkpointed(estimator, tmp_path), on_skip=None)
    np.random.set_state(state)  # noqa: NPY002
    assert sum(one["status"] == "passed" for one in found) >= 40


def test_it_has_the_methods_of_its_estimator(tmp_path):
    kept = Checkpointed(LINEAR, tmp_path)
    assert is_regressor(kept)
    assert hasattr(kept, "simulate")
    assert not hasattr(kept, "transform")
    with pytest.raises(NotFittedError):
        kept.predict(Z)
    with pytest.raises(AttributeError):
        kept.n_features_in_  # noqa: B018
    kept.fit(Z, DZ)
    plain = clone(LINEAR).fit(Z, DZ)
    assert kept.n_features_in_ == 2
    for name, *inputs in (("predict", Z), ("drift", Z), ("diffusion", Z), ("score", Z, DZ)):
        np.testing.assert_array_equal(getattr(kept, name)(*inputs), getattr(plain, name)(*inputs))
    walk = {"n_steps": 3, "dt": 0.1, "n_paths": 2, "random_state": 0}
    np.testing.assert_array_equal(kept.simulate(Z, **walk), plain.simulate(Z, **walk))


@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")
def test_it_stands_as_a_step_that_is_not_fitted_for_every_candidate(tmp_path, n_fits):
    pipe = Pipeline([("pairs", Checkpointed(streamed()[0], tmp_path)), ("sde", LINEAR)])
    grid = {"sde__lam": [1.0, 2.0, 3.0]}
    options = {"scoring": path_scorer(), "cv": GroupKFold(2), "refit": False}
    with sklearn.config_context(enable_metadata_routing=True):
        found, expected = (
            GridSearchCV(one, grid, **options, error_score="raise").fit(SMALL, groups=GROUPS)
            for one in (pipe, streamed())
        )
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert len(files(tmp_path)) == 2  # folds
    assert n_fits() == 12


def test_macrostates_are_those_of_the_closure(tmp_path):
    closure = Checkpointed(steps()[2], tmp_path).fit(SMALL)
    plain = steps()[2].fit(SMALL)
    latent = plain.transform(SMALL)
    np.testing.assert_array_equal(closure.transform(SMALL), latent)
    np.testing.assert_array_equal(
        closure.inverse_transform(latent), plain.inverse_transform(latent)
    )
    assert [*closure.get_feature_names_out()] == [*plain.get_feature_names_out()]


def test_set_output_reaches_the_estimator(tmp_path):
    pytest.importorskip("pandas")
    closure = Checkpointed(steps()[2], tmp_path).set_output(transform="pandas").fit(SMALL)
    names = [*closure.get_feature_names_out()]
    assert [*closure.transform(SMALL).columns] == names
    assert type(closure.set_output(transform="default").transform(SMALL)) is np.ndarray


@pytest.mark.parametrize("routing", [False, True])
def test_groups_reach_the_estimator(routing, tmp_path):
    with sklearn.config_context(enable_metadata_routing=routing):
        inner = streamed()[0]
        if routing:
            inner.set_fit_request(groups=True).set_transform_request(groups=True)
        kept = Checkpointed(inner, tmp_path)
        assert kept.fit_transform(SMALL, groups=GROUPS)["group"].tolist() == GROUPS.tolist()
        name = "groups" if routing else "pairs__groups"
        pipe = Pipeline([("pairs", kept), ("sde", LINEAR)]).fit(SMALL, **{name: GROUPS})
        assert len(files(tmp_path)) == 1
        pipe.fit(SMALL, **{name: GROUPS[::-1].copy()})
        assert len(files(tmp_path)) == 2
        if routing:
            assert get_routing_for_object(kept).fit.requests == {"groups": True}


def test_classes_of_others_are_allowed_where_they_are_parameters(tmp_path, n_fits):
    kept = Checkpointed(make_pipeline(PCA(2, random_state=0), LINEAR), tmp_path)
    once, again = (clone(kept).fit(Z, DZ) for _ in range(2))
    assert n_fits() == 1
    assert once.predict(Z).tobytes() == again.predict(Z).tobytes()
    sampler = PartialEvolutionSampler(Flips(), patch=4, random_state=0)
    found = Checkpointed(sampler, tmp_path).fit(SPINS)
    assert isinstance(found.estimator_.simulator_, Flips)


def test_what_is_read_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    kept = Checkpointed(LINEAR, tmp_path).fit(Z, DZ)
    assert not caplog.records
    kept.fit(Z, DZ)
    assert "fit of PatchSDERegressor read from" in caplog.text


def test_without_data_in_the_name_fits_are_confused(tmp_path, monkeypatch):
    """Negative control of all that is told apart."""
    monkeypatch.setattr(_search, "_data_identity", lambda name, data: name)
    one, two = (clone(Checkpointed(LINEAR, tmp_path)).fit(Z, dz) for dz in (DZ, 2 * DZ))
    assert one.drift(Z).tobytes() == two.drift(Z).tobytes()
    assert sde(2 * DZ, DZ).drift(Z).tobytes() != one.drift(Z).tobytes()
