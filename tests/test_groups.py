"""Groups reach every step of a Pipeline and a search by metadata routing, or a warning says not."""

import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline

from sklmacro import (
    MLP,
    Checkpointed,
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    PatchSDERegressor,
    Polynomial,
    SDEEnsemble,
    StreamedPairs,
    Training,
)
from sklmacro.pairs import GroupsWarning, latent_pairs
from sklmacro.scoring import PathScorer, ReferencePaths
from sklmacro.simulators import PredatorPrey

SPDE = PredatorPrey()
X, GROUPS = SPDE.sample_initial(24, 16, random_state=0), np.repeat(np.arange(6), 4)
SHORT = Training(max_epochs=1)
RNG = np.random.default_rng(0)
Z = RNG.uniform(-1, 1, (120, 1))
DZ = -0.05 * Z + 0.06 * RNG.standard_normal(Z.shape)
OF_ROWS = np.arange(120) // 20
LINEAR = PatchSDERegressor(drift_model="linear", diffusion_model="constant", random_state=0)
SEEN = []


class Recorder(BaseEstimator):
    """Last step that records how many groups and rows it is given."""

    def __init__(self, a=1):
        self.a = a

    def fit(self, X, y=None):
        SEEN.append((len(np.unique(X["group"])), len(X)))
        self.fitted_ = True
        return self

    def score(self, X, y=None):
        return 0.0


def zero(estimator, X, y=None):
    return 0.0


def steps(n_closure=0):
    return (
        PartialEvolutionSampler(SPDE, patch=8, random_state=0),
        PatchAutoencoder(
            SPDE,
            n_closure=n_closure,
            encoder=PatchEncoder(hidden=(4,)),
            training=SHORT,
            random_state=0,
        ),
    )


def upsampler(**params):
    return HierarchicalUpsampler(SPDE, **{"relaxation": None, "random_state": 0} | params)


def pipelines(folder):
    """Pipelines by name, and large snapshots for each small one."""

    def saved(estimator):
        return Checkpointed(estimator, folder / "fits")

    return {
        "steps": (make_pipeline(*steps(), Recorder()), 1),
        "closures": (make_pipeline(*steps(1), Recorder()), 1),
        "upsampled": (make_pipeline(upsampler(), *steps(), Recorder()), 1),
        "streamed": (make_pipeline(StreamedPairs(upsampler(n_repeats=2), *steps()), Recorder()), 2),
        "cached": (make_pipeline(*steps(), Recorder(), memory=str(folder / "cache")), 1),
        "saved": (make_pipeline(saved(steps()[0]), steps()[1], Recorder()), 1),
        "saved as one": (make_pipeline(saved(make_pipeline(*steps())), Recorder()), 1),
    }


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


@pytest.fixture
def routed():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def search_over(estimator, **options):
    options = {"cv": GroupKFold(3), "error_score": "raise", "scoring": zero} | options
    return GridSearchCV(estimator, {"recorder__a": [1]}, **options)


NAMES = ["steps", "closures", "upsampled", "streamed", "cached", "saved", "saved as one"]


@pytest.mark.parametrize("name", NAMES)
def test_groups_reach_the_last_step_by_routing(name, tmp_path, routed):
    pipe, n = pipelines(tmp_path)[name]
    search_over(pipe).fit(X, groups=GROUPS)
    pipe.fit(X, groups=GROUPS)
    cross_validate(
        pipe, X, cv=GroupKFold(3), params={"groups": GROUPS}, scoring=zero, error_score="raise"
    )
    parts, whole = [(4, 16 * n)] * 3, (6, 24 * n)
    if name == "cached":
        assert set(SEEN) == {*parts, whole}
    else:
        assert [*parts, whole, whole, *parts] == SEEN


@pytest.mark.parametrize("name", NAMES)
def test_groups_that_are_lost_are_told(name, tmp_path):
    pipe, _ = pipelines(tmp_path)[name]
    with pytest.warns(GroupsWarning, match=r"groups .*metadata routing.*set_config") as said:
        search_over(pipe).fit(X, groups=GROUPS)
    assert {one.category for one in said} == {GroupsWarning}
    assert all(groups == rows for groups, rows in SEEN)


def test_sources_of_kept_states_are_the_groups():
    """Those given, or the small snapshots; states of one source stay together without routing."""
    keep = upsampler(relaxation=LocalRelax(duration=0.02, n_kept=3))
    kept = make_pipeline(keep, *steps(), Recorder())
    streamed = make_pipeline(StreamedPairs(keep, *steps()), Recorder())
    for pipe in (kept, streamed):
        pipe.fit(X)
        with pytest.warns(GroupsWarning):
            search_over(pipe).fit(X, groups=GROUPS)
        assert [(24, 72), *[(16, 48)] * 3, (24, 72)] == SEEN
        SEEN.clear()
        with sklearn.config_context(enable_metadata_routing=True):
            search_over(pipe).fit(X, groups=GROUPS)
        assert [*[(4, 48)] * 3, (6, 72)] == SEEN
        SEEN.clear()


def test_every_kind_of_search_tells():
    pipe = make_pipeline(*steps(), Recorder())
    halving = HalvingGridSearchCV(
        pipe, {"recorder__a": [1]}, cv=GroupKFold(3), min_resources=24, scoring=zero, random_state=0
    )
    options = {"cv": GroupKFold(3), "scoring": zero, "groups": GROUPS}
    for call in (
        lambda: halving.fit(X, groups=GROUPS),
        lambda: search_over(pipe, n_jobs=2).fit(X, groups=GROUPS),  # told by the last fit
        lambda: cross_validate(pipe, X, **options),
        lambda: cross_val_score(pipe, X, **options),
    ):
        with pytest.warns(GroupsWarning):
            call()


def test_nothing_is_said_without_groups():
    pipe = make_pipeline(*steps(1), Recorder())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe.fit(X)
        search_over(pipe, cv=KFold(3)).fit(X)
        cross_val_score(pipe, X, cv=3, scoring=zero)
        cross_val_score(LINEAR, Z, DZ, cv=GroupKFold(3), groups=OF_ROWS)  # nothing is held out
    assert not sklearn.get_config()["enable_metadata_routing"]


HOLD_OUT = {
    "net": PatchSDERegressor(drift_model=MLP((4,), training=SHORT), random_state=0),
    "degree": PatchSDERegressor(drift_model=Polynomial("auto"), random_state=0),
    "ensemble": SDEEnsemble(LINEAR, n_members=2, random_state=0),
}


@pytest.mark.parametrize("name", HOLD_OUT)
def test_groups_of_plain_rows(name):
    """A fit with groups is that to pairs which carry them; routing hands them on."""
    sde = sklearn.clone(HOLD_OUT[name])
    pairs = latent_pairs(Z, DZ, sde.get_params().get("dt", 1.0), group=OF_ROWS)
    expected = sklearn.clone(sde).fit(pairs).drift(Z)
    np.testing.assert_array_equal(sde.fit(Z, DZ, OF_ROWS).drift(Z), expected)
    np.testing.assert_array_equal(
        sde.fit(latent_pairs(Z, DZ, 1.0), groups=OF_ROWS).drift(Z), expected
    )
    with pytest.raises(ValueError, match="groups to be 120 integers"):
        sde.fit(Z, DZ, OF_ROWS[:-1])
    one = {"cv": GroupKFold(2), "error_score": "raise"}
    with pytest.warns(GroupsWarning):
        cross_val_score(sde, Z, DZ, groups=OF_ROWS, **one)
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(sde, Z, DZ, params={"groups": OF_ROWS}, **one)
    of_pairs = cross_val_score(sde, pairs, groups=OF_ROWS, **one)
    np.testing.assert_array_equal(scores, of_pairs)


def test_groups_of_snapshots_hold_out_whole_ones():
    closure = steps(1)[1]
    by_row, by_group = (
        sklearn.clone(closure).fit(X, groups=groups).history_ for groups in (None, GROUPS)
    )
    assert by_row != by_group
    pairs = steps()[0].fit(X).transform(X, GROUPS)
    assert sklearn.clone(closure).set_params(patch=16).fit(pairs).history_ == (
        sklearn.clone(closure).fit(X, groups=GROUPS).history_
    )


def test_pairs_that_were_doubled_keep_their_own_groups():
    pairs = np.repeat(latent_pairs(Z, DZ, 1.0, group=OF_ROWS), 2)
    net = HOLD_OUT["net"]
    given = sklearn.clone(net).fit(pairs, groups=OF_ROWS)  # as a search hands them on
    np.testing.assert_array_equal(given.drift(Z), sklearn.clone(net).fit(pairs).drift(Z))


@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")
def test_default_scores_and_path_scores_work_by_routing(routed):
    pipe = make_pipeline(*steps(), LINEAR)
    times = np.arange(3.0)
    paths = SPDE.simulate(X[:4], times, observe=True, random_state=1)
    scorer = PathScorer(ReferencePaths(X[:4], paths, times))
    for scoring in (None, scorer):
        grid = {"patchsderegressor__lam": [1.0, 2.0]}
        search = GridSearchCV(pipe, grid, cv=GroupKFold(3), scoring=scoring, error_score="raise")
        assert np.isfinite(search.fit(X, groups=GROUPS).best_score_)


def test_a_saved_sampler_takes_groups(tmp_path):
    saved = Checkpointed(steps()[0], tmp_path)
    assert saved.fit_transform(X, groups=GROUPS)["group"].tolist() == GROUPS.tolist()
