"""The whole way in a Pipeline and in a search: workers, caches, groups, read-only inputs."""

import threading
import time

import joblib
import numpy as np
import pytest
import sklearn
import torch
from joblib import Parallel, delayed, parallel_config
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, GroupKFold, HalvingGridSearchCV
from sklearn.pipeline import Pipeline
from threadpoolctl import ThreadpoolController

from sklmacro import (
    HierarchicalUpsampler,
    LocalRelax,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    Patches,
    PatchSDERegressor,
    Training,
)
from sklmacro._base.workers import single_threaded
from sklmacro.scoring import WORST_SCORE, PathScorer, ReferencePaths
from sklmacro.simulators import CurieWeiss, Ising, LinearChain, PredatorPrey
from sklmacro.training.loop import held_out_rows

# models of forty small snapshots, from starts that these do not cover
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning"),
    pytest.mark.filterwarnings("ignore::sklmacro.DivergedPathsWarning"),
]

ISING = Ising(temperature=3.0)
GROUPS = np.repeat(np.arange(10), 4)


@pytest.fixture(autouse=True)
def _routed():
    """Groups reach the steps of a search."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def small():
    """Snapshots of 8x8 spins, four of each group."""
    return ISING.sample_initial(len(GROUPS), 8, random_state=0)


@pytest.fixture(scope="module")
def reference():
    """Paths of the 16x16 lattice."""
    x0 = ISING.sample_initial(12, 16, random_state=1)
    times = np.linspace(0, 2, 5)
    return ReferencePaths(x0, ISING.simulate(x0, times, observe=True, random_state=2), times)


def pipeline(simulator=ISING, memory=None, **closure):
    training = Training(max_epochs=2)
    encoder = PatchEncoder(hidden=(8,))
    default = {"n_closure": 0, "training": training, "encoder": encoder, "random_state": 2}
    closure = default | closure
    return Pipeline(
        [
            (
                "upsample",
                HierarchicalUpsampler(
                    simulator, relaxation=LocalRelax(duration=0.5), random_state=0
                ),
            ),
            ("evolve", PartialEvolutionSampler(simulator, patch=8, dt=0.5, random_state=1)),
            ("closure", PatchAutoencoder(simulator, **closure)),
            (
                "sde",
                PatchSDERegressor(
                    drift_model="polynomial",
                    diffusion_model="constant",
                    bounds=simulator.observable_bounds,
                ),
            ),
        ],
        memory=memory,
    )


def search(pipe, grid, reference, **options):
    return GridSearchCV(
        pipe, grid, scoring=PathScorer(reference), cv=GroupKFold(2), error_score="raise", **options
    )


def results(fitted):
    return {k: v for k, v in fitted.cv_results_.items() if not k.endswith("_time")}


# --- search --------------------------------------------------------------------------------------


@pytest.mark.statistical
def test_successive_halving_finds_the_same_lam(reference):
    groups = np.repeat(np.arange(40), 4)
    small = ISING.sample_initial(len(groups), 8, random_state=0)
    options = {"scoring": PathScorer(reference), "cv": GroupKFold(2), "error_score": "raise"}
    found = HalvingGridSearchCV(
        pipeline(),
        {"sde__lam": ["K", 1e-4, 1e-6]},  # noise 200 and 2000 times too wide
        factor=2,
        min_resources=80,
        random_state=0,
        **options,
    ).fit(small, groups=groups)
    assert found.n_iterations_ == 2
    assert found.best_params_ == {"sde__lam": "K"}
    rows = found.cv_results_["iter"] == 0
    assert found.cv_results_["n_resources"][rows].tolist() == [80, 80, 80]


def test_a_search_does_not_depend_on_the_workers(small, reference):
    grid = {"closure__n_closure": [0, 1], "sde__lam": ["K", 2.0]}
    one, two = (
        search(pipeline(), grid, reference, n_jobs=n_jobs, refit=False).fit(small, groups=GROUPS)
        for n_jobs in (1, 2)
    )
    assert results(one).keys() == results(two).keys()
    for name, values in results(one).items():
        assert np.array_equal(values, results(two)[name]), name
    scores = one.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert (scores > WORST_SCORE).all()
    assert len(set(scores)) == len(scores)  # the candidates differ: the test can fail


@pytest.mark.statistical
def test_candidates_of_different_dimension_compare(small, reference):
    grid = {"closure__n_closure": [0, 1, 2]}
    fitted = search(pipeline(), grid, reference).fit(small, groups=GROUPS)
    scores = fitted.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert ((scores >= -2) & (scores < 0.1)).all()  # minus a squared MMD, unbiased
    d = 2 + fitted.best_params_["closure__n_closure"]
    assert fitted.best_estimator_["sde"].n_state_ == d


def test_a_threaded_search_is_the_same(small, reference):
    """Threads share torch's global generator and the thread count of BLAS."""
    grid = {"closure__n_closure": [1, 2]}
    pipe = pipeline(training=Training(max_epochs=3))
    pipe.set_params(sde=OnsagerSDE(training=Training(max_epochs=2), hidden=(8,), random_state=3))
    serial = search(pipe, grid, reference, refit=False).fit(small, groups=GROUPS)
    with parallel_config("threading", n_jobs=4):
        threaded = search(pipe, grid, reference, refit=False).fit(small, groups=GROUPS)
    for name, values in results(serial).items():
        assert np.array_equal(values, results(threaded)[name]), name


def test_thread_counts_hold_for_all_users_and_come_back():
    """Were users inside at once, the first to leave would give the others many threads."""
    blas = ThreadpoolController().select(user_api="blas").lib_controllers
    counts, go = [], threading.Barrier(4)

    def user():
        go.wait()
        for _ in range(5):
            with single_threaded(), single_threaded():
                time.sleep(0.001)
                counts.append(torch.get_num_threads())
                counts.extend(pool.num_threads for pool in blas)

    before = torch.get_num_threads(), [pool.num_threads for pool in blas]
    threads = [threading.Thread(target=user) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(counts) == {1}
    assert (torch.get_num_threads(), [pool.num_threads for pool in blas]) == before


# --- workers -------------------------------------------------------------------------------------


SIMULATORS = {
    "chain": (LinearChain(), 6, 3),
    "predator-prey": (PredatorPrey(), 6, 3),
    "ising": (ISING, 8, 4),
    "curie-weiss": (CurieWeiss(), 8, 4),
}


@pytest.mark.parametrize("name", SIMULATORS)
def test_samples_do_not_depend_on_the_workers(name):
    simulator, cells, patch = SIMULATORS[name]
    X = simulator.sample_initial(7, cells, random_state=0)
    options = {"random_state": 3, "relaxation": LocalRelax(duration=0.1), "n_repeats": 2}
    runs = []
    for n_jobs in (1, 2, 4):
        up = HierarchicalUpsampler(simulator, n_jobs=n_jobs, **options).fit_transform(X)
        sampler = PartialEvolutionSampler(
            simulator, patch=Patches(patch, n_evolved=2), dt=0.1, n_jobs=n_jobs, random_state=4
        )
        runs.append((up, sampler.fit_transform(up)))
    for up, pairs in runs[1:]:
        assert up.tobytes() == runs[0][0].tobytes()
        assert pairs.tobytes() == runs[0][1].tobytes()
    reseeded = HierarchicalUpsampler(simulator, **{**options, "random_state": 5}).fit_transform(X)
    assert not np.array_equal(reseeded, runs[0][0])


def test_fits_in_threads_are_the_fits_one_by_one():
    z = np.random.default_rng(0).normal(size=(64, 2))
    models = [
        OnsagerSDE(training=Training(max_epochs=2), hidden=(8,), random_state=k) for k in range(8)
    ]

    def drift(model):
        return clone(model).fit(z, -z).drift(z)

    alone = [drift(model) for model in models]
    together = Parallel(n_jobs=4, prefer="threads")(delayed(drift)(m) for m in models)
    assert np.array_equal(alone, together)


# --- read-only inputs ----------------------------------------------------------------------------


def frozen(array, tmp_path):
    array = array.copy()
    array.setflags(write=False)
    return array


def mapped(array, tmp_path):
    path = tmp_path / f"array{len(list(tmp_path.iterdir()))}"  # an old map may be in use
    joblib.dump(array, path)
    return joblib.load(path, mmap_mode="r")


@pytest.mark.parametrize("held", [frozen, mapped])
@pytest.mark.parametrize("name", SIMULATORS)
def test_inputs_are_only_read(name, held, tmp_path):
    simulator, cells, patch = SIMULATORS[name]
    X = simulator.sample_initial(12, cells, random_state=0)
    steps = [
        HierarchicalUpsampler(simulator, relaxation=LocalRelax(duration=0.1), random_state=0),
        PartialEvolutionSampler(simulator, patch=patch, dt=0.1, random_state=0),
        PatchAutoencoder(
            simulator,
            n_closure=1,
            training=Training(max_epochs=1),
            encoder=PatchEncoder(hidden=(4,)),
            random_state=0,
        ),
        PatchSDERegressor(drift_model="linear", diffusion_model="constant"),
    ]
    for step in steps:
        locked = held(X, tmp_path)
        assert not locked.flags.writeable
        before = locked.tobytes()
        if hasattr(step, "transform"):
            plain, X = X, clone(step).fit_transform(X)
            assert np.array_equal(clone(step).fit_transform(locked), X)
            if step is steps[2]:  # snapshots too
                snapshots = held(plain["x"], tmp_path)
                assert np.allclose(step.fit(locked).transform(snapshots), X["z"])
        else:
            expected = clone(step).fit(X)
            assert np.array_equal(step.fit(locked).predict(locked), expected.predict(X))
            assert step.score(locked) == expected.score(X)
        assert locked.tobytes() == before


def test_a_search_over_memory_maps(small, reference, tmp_path):
    grid = {"sde__lam": ["K", 1.0]}
    plain = search(pipeline(), grid, reference).fit(small, groups=GROUPS)
    X = mapped(small, tmp_path)
    with parallel_config("threading", n_jobs=2):
        fitted = search(pipeline(), grid, reference).fit(X, groups=GROUPS)
    assert np.array_equal(
        plain.cv_results_["mean_test_score"], fitted.cv_results_["mean_test_score"]
    )


# --- cache ---------------------------------------------------------------------------------------


class CountedIsing(Ising):
    """Ising model that writes a letter to a file whenever it evolves a snapshot."""

    def __init__(
        self, temperature=3.0, field=0.0, coupling=1.0, boundary="periodic", log="", rate=1.0
    ):
        super().__init__(temperature, field, coupling, boundary)
        self.log = log
        self.rate = rate

    def _note(self, letter):
        with open(self.log, "a") as file:
            file.write(letter)

    def advance_windows(self, *args):
        self._note("r")  # LocalRelax of one snapshot
        super().advance_windows(*args)

    def advance_apart(self, X, *args):
        self._note("e" * len(X))  # one evolved patch each
        return super().advance_apart(X, *args)


def test_a_cached_search_over_lam_simulates_once_per_split(small, reference, tmp_path):
    """Three candidates, two splits of 20 training snapshots each, and the refit on all 40."""
    grid = {"sde__lam": ["K", 1.0, 16.0]}
    scores = {}
    for memory, fits in [(None, 3 * (20 + 20) + 40), (str(tmp_path / "cache"), 20 + 20 + 40)]:
        log = tmp_path / f"log-{memory is None}"
        pipe = pipeline(CountedIsing(log=str(log)), memory)
        fitted = search(pipe, grid, reference).fit(small, groups=GROUPS)
        calls = log.read_text()
        assert (calls.count("r"), calls.count("e")) == (fits, fits)
        scores[memory] = fitted.cv_results_["mean_test_score"]
    assert np.array_equal(*scores.values())


def test_a_cached_search_over_physics_simulates_anew(small, reference, tmp_path):
    """Negative control: the cache must not hide a change of the simulator."""
    log = tmp_path / "log"
    pipe = pipeline(CountedIsing(log=str(log)), str(tmp_path / "cache"))
    grid = {"evolve__simulator__temperature": [3.0, 4.0]}
    search(pipe, grid, reference, refit=False).fit(small, groups=GROUPS)
    # The two steps share one simulator, which clone makes into two.
    assert (log.read_text().count("r"), log.read_text().count("e")) == (40, 80)


# --- groups --------------------------------------------------------------------------------------


class GroupRecorder(TransformerMixin, BaseEstimator):
    """Write down which snapshots are fitted, by the numbers that stand in them."""

    def __init__(self, log=""):
        self.log = log

    def fit(self, X, y=None):
        with open(self.log, "a") as file:
            file.write(" ".join(str(round(v)) for v in X[:, 0]) + "\n")
        return self

    def transform(self, X):
        return X

    def __sklearn_is_fitted__(self):
        return True


def test_groups_are_kept_together_in_a_search(tmp_path):
    chain = LinearChain(force=0.0)
    X = np.arange(40.0)[:, None] + np.zeros(8)  # every snapshot holds its own number
    times = np.linspace(0, 1, 3)
    x0 = chain.sample_initial(6, 8, random_state=0)
    truth = ReferencePaths(x0, chain.simulate(x0, times, observe=True, random_state=1), times)
    log = tmp_path / "log"
    pipe = Pipeline(
        [
            ("record", GroupRecorder(str(log))),
            ("evolve", PartialEvolutionSampler(chain, patch=4, random_state=0)),
            ("closure", PatchAutoencoder(chain, n_closure=0)),
            ("sde", PatchSDERegressor(drift_model="linear", diffusion_model="constant")),
        ]
    )
    search(pipe, {"sde__lam": ["K"]}, truth, refit=False).fit(X, groups=GROUPS)
    splits = [np.array(line.split(), int) for line in log.read_text().splitlines()]
    assert [len(rows) for rows in splits] == [20, 20]
    for rows in splits:
        assert (np.bincount(GROUPS[rows], minlength=10) % 4 == 0).all()
    assert sorted(np.concatenate(splits)) == list(range(40))


def test_groups_reach_the_latent_pairs(small):
    """By metadata routing, for early stopping of the nets behind."""
    with sklearn.config_context(enable_metadata_routing=True):
        evolve = PartialEvolutionSampler(ISING, patch=4, dt=0.5, random_state=1)
        evolve.set_transform_request(groups=True)
        pipe = Pipeline([("evolve", evolve), ("closure", PatchAutoencoder(ISING, n_closure=0))])
        pairs = pipe.fit_transform(small, groups=GROUPS)
    assert np.array_equal(pairs["group"], GROUPS)
    direct = PartialEvolutionSampler(ISING, patch=4, dt=0.5, random_state=1)
    assert np.array_equal(direct.fit_transform(small, groups=GROUPS)["group"], GROUPS)
    assert np.array_equal(direct.fit_transform(small)["group"], np.arange(40))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9])
def test_held_out_rows_keep_groups_together(fraction):
    train, held = held_out_rows(GROUPS, fraction, np.random.default_rng(0))
    if fraction == 0:
        assert np.array_equal(train, held)
        return
    assert sorted([*train, *held]) == list(range(40))
    assert not set(GROUPS[train]) & set(GROUPS[held])
    assert len(held) == 40 * fraction
