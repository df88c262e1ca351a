"""Fits with `checkpoint_dir`: what is refused, and what an interrupt leaves."""

import logging
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from sklmacro import MLP, OnsagerSDE, PatchAutoencoder, PatchSDERegressor, SDEEnsemble, Training
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.simulators import PredatorPrey
from sklmacro.training import epochs
from tests.problems import exact_pairs

PAIRS, _, _ = exact_pairs(n=120)
NET = PatchSDERegressor(
    drift_model=MLP(hidden=(4,), training=Training(max_epochs=4, batch_size=40)), random_state=0
)


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C at the end of the second epoch that a process trains, once it is saved."""
    ends, end = [], epochs.SavedState.on_epoch_end

    def on_epoch_end(self, net, **kwargs):
        end(self, net, **kwargs)
        ends.append(None)
        if len(ends) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(epochs, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(epochs.SavedState, "on_epoch_end", on_epoch_end)


def test_an_interrupt_is_passed_on_and_says_how_to_resume(interrupted, tmp_path, caplog):
    """skorch takes it for a wish to stop early, and returns a model that is half trained."""
    caplog.set_level(logging.WARNING)
    sde = clone(NET).set_params(checkpoint_dir=tmp_path / "fit")
    with pytest.raises(KeyboardInterrupt):
        sde.fit(PAIRS)
    assert not hasattr(sde, "model_")
    assert caplog.text.count("resumes it") == 1
    assert f"checkpoint_dir={str(tmp_path / 'fit')!r}" in caplog.text
    resumed, whole = sde.fit(PAIRS), clone(NET).fit(PAIRS)
    assert resumed.history_ == whole.history_
    np.testing.assert_array_equal(resumed.drift(PAIRS["z"]), whole.drift(PAIRS["z"]))


def test_of_an_ensemble_its_own_folder_is_named(interrupted, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    with pytest.raises(KeyboardInterrupt):
        SDEEnsemble(NET, n_members=2, checkpoint_dir=tmp_path).fit(PAIRS)
    (message,) = [record.message for record in caplog.records]
    assert message.endswith(f"checkpoint_dir={str(tmp_path)!r} resumes it")


def test_what_the_result_does_not_depend_on_may_change(tmp_path):
    sde = clone(NET).set_params(checkpoint_dir=str(tmp_path)).fit(PAIRS)
    again = clone(sde).set_params(verbose=True, checkpoint_dir=Path(tmp_path)).fit(PAIRS)
    np.testing.assert_array_equal(again.drift(PAIRS["z"]), sde.drift(PAIRS["z"]))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"drift_model__training__max_epochs": 5}, "max_epochs=4, not 5"),
        ({"drift_model__training__lr": 0.1}, "lr=0.002, not 0.1"),
        ({"random_state": 1}, "entropy='0', not '1'"),
        ({"drift_model__training__device": "meta"}, "device='cpu', not 'meta'"),
    ],
)
def test_other_parameters_are_refused_and_named(tmp_path, changes, named):
    sde = clone(NET).set_params(checkpoint_dir=tmp_path).fit(PAIRS)
    with pytest.raises(ValueError, match="Expected a checkpoint of the same work") as error:
        sde.set_params(**changes).fit(PAIRS)
    assert named in str(error.value)


def test_other_data_are_refused_and_named(tmp_path):
    sde = clone(NET).set_params(checkpoint_dir=tmp_path).fit(PAIRS)
    other = PAIRS.copy()
    other["dz"][7, 1] += 1e-12
    with pytest.raises(ValueError, match=r"data\.dz='<f8 120x2 sha256"):
        sde.fit(other)


def test_another_estimator_is_refused_and_named(tmp_path):
    clone(NET).set_params(checkpoint_dir=tmp_path).fit(PAIRS)
    with pytest.raises(ValueError, match="work='fit PatchSDERegressor', not 'fit OnsagerSDE'"):
        OnsagerSDE(training=Training(max_epochs=4), checkpoint_dir=tmp_path).fit(PAIRS)


def test_members_do_not_share_the_folder_of_the_sde(tmp_path):
    sde = clone(NET).set_params(checkpoint_dir=tmp_path / "not used")
    SDEEnsemble(sde, n_members=2, random_state=0, checkpoint_dir=tmp_path / "used").fit(PAIRS)
    names = ["checkpoint.json", "member 0", "member 1"]
    assert [p.name for p in tmp_path.iterdir()] == ["used"]
    assert sorted(p.name for p in (tmp_path / "used" / "fit").iterdir()) == names


def test_nothing_is_saved_where_nothing_is_trained(tmp_path):
    spde = PredatorPrey()
    X = spde.sample_initial(20, 20, random_state=0)
    PatchAutoencoder(spde, n_closure=0, checkpoint_dir=tmp_path).fit(X)
    with pytest.warns(UserWarning, match="for checkpoint_dir to have an effect"):
        PatchSDERegressor(drift_model="linear", checkpoint_dir=tmp_path).fit(PAIRS)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["weights", "best", "optimizer", "history"])
def test_a_saved_state_of_another_form_is_refused(tmp_path, monkeypatch, what):
    """The step of AdamW trusts the shapes of its moments."""

    def spoilt(checkpoint, name, value):
        arrays, state = value
        if what == "history":
            state = state | {"history": [{"epoch": 1}]}
        arrays = {k: a[:1] if k.startswith(what) and a.ndim else a for k, a in arrays.items()}
        save(checkpoint, name, (arrays, state))

    save = Checkpoint.save
    sde = PatchSDERegressor(
        drift_model=MLP((4,), training=Training(max_epochs=2)), dt=0.1, random_state=0,
        checkpoint_dir=tmp_path,
    )  # fmt: skip
    z = np.random.default_rng(0).normal(size=(40, 1))
    monkeypatch.setattr(Checkpoint, "save", spoilt)
    sde.fit(z, z)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"training.safetensors.*delete the file"):
        sde.fit(z, z)
