"""Drifts and trainings are objects: short forms, nested parameters, former names, what is idle."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklmacro import (
    MLP,
    GaussianProcess,
    Linear,
    OnsagerSDE,
    PatchAutoencoder,
    PatchEncoder,
    PatchSDERegressor,
    Polynomial,
    SDEEnsemble,
    Training,
)
from tests.problems import exact_pairs

PAIRS = exact_pairs(n=60)[0]
Z, DZ = PAIRS["z"], PAIRS["dz"]
SHORT = Training(max_epochs=2, batch_size=32)
FORMER = "has its parameters by role now"


@pytest.mark.parametrize(
    ("text", "drift"),
    [("mlp", MLP()), ("linear", Linear()), ("polynomial", Polynomial()), ("gp", GaussianProcess())],
)
def test_a_text_stands_for_a_drift_with_its_defaults(text, drift):
    models = [PatchSDERegressor(drift_model=form, random_state=0) for form in (text, drift)]
    if text == "mlp":
        for model in models:
            model.set_params(drift_model__training__max_epochs=2)
    first, second = (model.fit(PAIRS) for model in models)
    assert np.array_equal(first.drift(Z), second.drift(Z))
    assert np.array_equal(first.diffusion(Z), second.diffusion(Z))


def test_a_gaussian_process_is_the_default():
    default, process = PatchSDERegressor(), PatchSDERegressor(drift_model="gp")
    assert repr(default) == repr(process)
    assert np.array_equal(default.fit(PAIRS).drift(Z), process.fit(PAIRS).drift(Z))
    members = SDEEnsemble(n_members=2, random_state=0).fit(PAIRS).members_
    assert {member.drift_model for member in members} == {"gp"}
    with pytest.raises(ValueError, match=r"Invalid parameter 'training' .* GaussianProcess"):
        default.set_params(drift_model__training__lr=0.1)


def test_a_default_fit_to_few_states_is_warned_of():
    enough = PatchSDERegressor().fit(Z[:4], DZ[:4])
    assert np.isfinite(enough.drift(Z)).all()
    assert np.isfinite(enough.diffusion(Z)).all()
    with pytest.warns(UserWarning, match="at least 4 different states for the 3 coeff.* got 3"):
        PatchSDERegressor().fit(Z[:3], DZ[:3])


def test_parameters_of_a_short_form_can_be_set():
    sde = PatchSDERegressor(drift_model="polynomial").set_params(drift_model__degree=3)
    assert sde.drift_model.degree == sde.get_params()["drift_model__degree"] == 3
    assert sde.fit(PAIRS).degree_ == 3
    sde = PatchSDERegressor(drift_model="mlp")
    sde.set_params(drift_model__hidden=(4,), drift_model__training__lr=0.1)
    assert sde.drift_model.hidden == (4,)
    assert sde.drift_model.training.lr == 0.1


def test_a_search_over_the_degree():
    pipe = Pipeline(
        [("same", FunctionTransformer()), ("sde", PatchSDERegressor(drift_model="polynomial"))]
    )
    grid = {"sde__drift_model__degree": [1, 2]}
    search = GridSearchCV(pipe, grid, cv=2).fit(PAIRS)
    degrees = [clone(pipe).set_params(**p).fit(PAIRS) for p in search.cv_results_["params"]]
    assert [model[-1].degree_ for model in degrees] == [1, 2]
    assert search.best_estimator_[-1].degree_ == search.best_params_["sde__drift_model__degree"]


def test_what_a_drift_does_not_read_is_told_or_refused():
    with (
        pytest.warns(FutureWarning, match=FORMER),
        pytest.warns(UserWarning, match=r"that drift_model='polynomial' reads, but got lr=0\.1"),
    ):
        PatchSDERegressor(drift_model="polynomial", lr=0.1)
    with (
        pytest.warns(FutureWarning, match=FORMER),
        pytest.warns(UserWarning, match="that drift_model='mlp' reads, but got degree=3"),
    ):
        PatchSDERegressor(degree=3)
    for drift, name in [("mlp", "degree"), ("linear", "degree"), ("polynomial", "hidden")]:
        with pytest.raises(ValueError, match=f"Invalid parameter '{name}'"):
            PatchSDERegressor(drift_model=drift).set_params(**{f"drift_model__{name}": 3})
    search = GridSearchCV(PatchSDERegressor(), {"drift_model__degree": [1, 2]}, cv=2)
    with pytest.raises(ValueError, match="Invalid parameter 'degree'"):
        search.fit(PAIRS)
    with pytest.raises(TypeError):
        MLP(degree=3)


@pytest.mark.parametrize(
    ("former", "present"),
    [
        (
            lambda: PatchSDERegressor(
                hidden=(4,), max_epochs=3, batch_size=9, lr=0.1, weight_decay=0.2,
                validation_fraction=0.3, patience=4, device="cpu:0",
            ),
            lambda: PatchSDERegressor(
                drift_model=MLP((4,), training=Training(
                    max_epochs=3, batch_size=9, lr=0.1, weight_decay=0.2, validation_fraction=0.3,
                    patience=4, device="cpu:0",
                ))
            ),
        ),
        (
            lambda: PatchSDERegressor(drift_model="polynomial", degree="auto"),
            lambda: PatchSDERegressor(drift_model=Polynomial("auto")),
        ),
        (
            lambda: OnsagerSDE(hidden=(4,), max_epochs=3),
            lambda: OnsagerSDE(hidden=(4,), training=Training(max_epochs=3)),
        ),
        (
            lambda: PatchAutoencoder(lr=0.1, hidden=(4,)),
            lambda: PatchAutoencoder(training=Training(lr=0.1), encoder=PatchEncoder(hidden=(4,))),
        ),
        (
            lambda: PatchSDERegressor(drift_model="mlp").set_params(max_epochs=3),
            lambda: PatchSDERegressor(drift_model=MLP(training=Training(max_epochs=3))),
        ),
    ],
)  # fmt: skip
def test_former_names_are_taken_with_a_warning(former, present):
    with pytest.warns(FutureWarning, match=FORMER):
        model = former()
    assert repr(model) == repr(present())


def test_what_a_training_leaves_open_is_the_estimators_own():
    def epochs(estimator):
        with pytest.warns(FutureWarning, match=FORMER):
            return estimator(max_epochs=3)

    for estimator in (OnsagerSDE, PatchAutoencoder):
        assert epochs(estimator).training.batch_size is None
    assert PatchSDERegressor(drift_model="mlp").n_epochs == OnsagerSDE().n_epochs == 100
    assert PatchSDERegressor(drift_model=MLP(training=Training(lr=1.0))).n_epochs == 100
    assert PatchSDERegressor(drift_model="linear").n_epochs == 0


def test_a_drift_that_is_none_is_refused():
    for wrong in (3, None, Training(), "net"):
        with pytest.raises(
            ValueError, match="drift_model to be one of 'gp', 'mlp', 'linear', 'poly"
        ):
            PatchSDERegressor(drift_model=wrong).fit(PAIRS)
    for wrong in (3, "fast", MLP()):
        with pytest.raises(ValueError, match="training to be a Training or None, but got"):
            OnsagerSDE(training=wrong).fit(PAIRS)


@pytest.mark.parametrize("name", ["verbose", "checkpoint_dir"])
def test_what_has_no_effect_without_a_training_is_said(name, tmp_path):
    value = {name: {"verbose": True, "checkpoint_dir": tmp_path / "fit"}[name]}
    with pytest.warns(UserWarning, match=f"is trained for {name} to have an effect") as caught:
        PatchSDERegressor(drift_model="linear", **value).fit(PAIRS)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert not any(tmp_path.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PatchSDERegressor(drift_model="linear", random_state=0).fit(PAIRS)
        linear = PatchSDERegressor(drift_model="linear")
        SDEEnsemble(linear, n_members=2, checkpoint_dir=tmp_path / "ensemble").fit(PAIRS)
        PatchSDERegressor(drift_model=MLP((), training=SHORT), **value).fit(PAIRS)
