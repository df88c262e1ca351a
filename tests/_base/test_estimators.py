"""scikit-learn's callbacks hear of every fit, epoch and member, and may end a training."""

from collections import Counter

import numpy as np
import pytest
from sklearn import callback
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sklmacro import (
    MLP,
    Checkpointed,
    HierarchicalUpsampler,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    PatchSDERegressor,
    SDEEnsemble,
    Training,
)
from sklmacro.simulators import PredatorPrey
from sklmacro.training import epochs
from tests.problems import exact_pairs

PAIRS, _, _ = exact_pairs(n=120)
NET = PatchSDERegressor(
    drift_model=MLP(hidden=(4,), training=Training(max_epochs=4, batch_size=40)), random_state=0
)
SPDE = PredatorPrey()
CLOSURE = PatchAutoencoder(
    SPDE,
    patch=10,
    encoder=PatchEncoder(hidden=(4,)),
    training=Training(max_epochs=3),
    random_state=0,
)


class Listener:
    """Counts what it hears; stops a training that has come to an epoch."""

    max_propagation_depth = None

    def __init__(self, last_epoch=None):
        self.last_epoch = last_epoch
        self.heard = Counter()
        self.drifts = []

    def setup(self, estimator, context):
        self.heard["setup"] += 1

    def teardown(self, estimator, context):
        self.heard["teardown"] += 1

    def on_fit_task_begin(self, estimator, context):
        self.heard[f"{context.estimator_name}: {context.task_name} begins"] += 1

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.heard[f"{context.estimator_name}: {context.task_name} ends"] += 1
        if context.task_name == "epoch" and hasattr(fitted_estimator, "drift"):
            self.drifts.append(fitted_estimator.drift(PAIRS["z"]))
        return context.task_name == "epoch" and context.task_id == self.last_epoch


def listened(estimator, *data, **options):
    listener = Listener(**options)
    return clone(estimator).set_callbacks(listener).fit(*data), listener


def scores(estimator, X, y):
    return {"score": estimator.score(X, y)}


def small_snapshots():
    return SPDE.sample_initial(20, 20, random_state=0)


@pytest.mark.parametrize(
    ("estimator", "n_epochs"),
    [
        (NET, 4),
        (OnsagerSDE(hidden=(4,), training=Training(max_epochs=3), random_state=0), 3),
        (PatchSDERegressor(drift_model="linear"), 0),
        (CLOSURE, 3),
        (PatchAutoencoder(SPDE, n_closure=0), 0),
        (HierarchicalUpsampler(SPDE), 0),
        (PartialEvolutionSampler(SPDE), 0),
    ],
)
def test_every_fit_and_epoch_is_reported(estimator, n_epochs):
    data = PAIRS if hasattr(estimator, "drift") else small_snapshots()
    fitted, listener = listened(estimator, data)
    name = type(estimator).__name__
    expected = {"setup": 1, "teardown": 1}
    expected |= {f"{name}: fit {what}": 1 for what in ("begins", "ends")}
    if n_epochs:
        expected |= {f"{name}: epoch {what}": n_epochs for what in ("begins", "ends")}
    assert listener.heard == expected
    assert vars(fitted).keys() - vars(clone(estimator).fit(data)).keys() == {"_skl_callbacks"}


def test_the_estimator_of_an_epoch_has_its_weights():
    fitted, listener = listened(NET, PAIRS)
    losses = [epoch["valid_loss"] for epoch in fitted.history_]
    best = listener.drifts[int(np.argmin(losses))]
    np.testing.assert_array_equal(best, fitted.drift(PAIRS["z"]))
    assert len({drift.tobytes() for drift in listener.drifts}) == 4


@pytest.mark.parametrize(("estimator", "data"), [(NET, PAIRS), (CLOSURE, small_snapshots())])
def test_a_callback_ends_a_training(estimator, data):
    whole = clone(estimator).fit(data)
    fitted, _ = listened(estimator, data, last_epoch=1)
    assert len(whole.history_) > 2
    assert fitted.history_ == whole.history_[:2]


def test_listening_changes_nothing():
    heard, _ = listened(NET, PAIRS)
    np.testing.assert_array_equal(heard.drift(PAIRS["z"]), clone(NET).fit(PAIRS).drift(PAIRS["z"]))


def test_every_member_is_reported():
    member = clone(NET).set_params(drift_model__training__max_epochs=2)
    fitted, listener = listened(SDEEnsemble(member, n_members=3, random_state=0), PAIRS)
    assert listener.heard["SDEEnsemble: fit ends"] == 1
    assert listener.heard["SDEEnsemble: fit a member begins"] == 0  # it is a member's own fit
    assert listener.heard["PatchSDERegressor: fit begins"] == 3
    assert listener.heard["PatchSDERegressor: epoch ends"] == 6
    assert not [member for member in fitted.members_ if hasattr(member, "_skl_callbacks")]


def test_a_saved_fit_is_reported_and_a_loaded_one_has_no_epochs(tmp_path):
    saved = Checkpointed(NET, tmp_path)
    heard = [listened(saved, PAIRS)[1].heard for _ in range(2)]
    for one, n_epochs in zip(heard, (4, 0), strict=True):
        assert one["Checkpointed: fit ends"] == 1
        assert one["PatchSDERegressor: epoch ends"] == n_epochs
    search = GridSearchCV(saved, {"estimator__lam": [1.0, 2.0]}, cv=2)
    listener = Listener()
    search.set_callbacks(listener).fit(PAIRS)
    assert listener.heard["PatchSDERegressor: epoch ends"] == 4 * 5


def test_members_are_heard_from_other_processes():
    monitor = callback.ScoringMonitor(scoring=scores)
    member = PatchSDERegressor(drift_model="linear").set_callbacks(monitor)
    fitted = SDEEnsemble(member, n_members=2, random_state=0, n_jobs=2).fit(PAIRS)
    logged = [row["score"] for row in monitor.get_logs().data]
    assert len(logged) == len(set(logged)) == len(fitted.members_)


def test_scores_of_pairs_are_monitored():
    """Pairs carry their own targets."""
    monitor = callback.ScoringMonitor(scoring=scores)
    sde = clone(NET).set_callbacks(monitor).fit(PAIRS)
    logged = [row["score"] for row in monitor.get_logs().data]
    assert len(logged) == 1 + 4  # the fit, and each epoch
    assert sde.score(PAIRS) in logged


def test_a_resumed_fit_reports_its_earlier_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, "SAVE_SECONDS", 0.0)
    sde = clone(NET).set_params(checkpoint_dir=tmp_path)
    sde.fit(PAIRS)
    fitted, listener = listened(sde, PAIRS)
    assert listener.heard["PatchSDERegressor: epoch ends"] == len(fitted.history_) == 4
    assert not listener.drifts  # they are over


def test_a_pipeline_shows_progress_of_all_its_steps(capfd):
    pytest.importorskip("rich")
    steps = [
        ("upsample", HierarchicalUpsampler(SPDE, random_state=0)),
        ("evolve", PartialEvolutionSampler(SPDE, patch=10, random_state=0)),
        ("closure", CLOSURE),
        ("sde", NET),
    ]
    pipeline = Pipeline(steps).set_callbacks(callback.ProgressBar(max_propagation_depth=None))
    pipeline.fit(small_snapshots())
    shown = capfd.readouterr().out
    for _, step in steps:
        assert f"| {type(step).__name__} - fit" in shown
