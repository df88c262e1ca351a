"""Threads, processes and the workers of a cluster give the same bits, even where one is killed."""

import itertools
import logging
import multiprocessing
import time
from multiprocessing.forkserver import ensure_running

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from sklmacro import (
    MLP,
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    PatchAutoencoder,
    Patches,
    PatchSDERegressor,
    SDEEnsemble,
    Training,
)
from sklmacro.checkpoint import rows as _rows
from sklmacro.simulators import LinearChain
from tests.killed import of_net, sha256
from tests.problems import exact_pairs

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
from tests import mortal  # noqa: E402

CHAIN = LinearChain()
RELAX = LocalRelax(duration=0.1)
SMALL = CHAIN.sample_initial(200, 6, random_state=0)
GROUPS = np.repeat(np.arange(20), 10)
SPLITS = list(GroupKFold(3).split(SMALL, groups=GROUPS))
PAIRS, _, _ = exact_pairs(n=200)


def evolve(seed):
    return PartialEvolutionSampler(CHAIN, patch=Patches(6, n_evolved=2), random_state=seed)


def sampler(seed=0):
    upsampler = HierarchicalUpsampler(CHAIN, relaxation=RELAX, n_repeats=2, random_state=seed)
    pairs = evolve(seed).fit_transform(upsampler.fit_transform(SMALL))
    return sha256(*[pairs[name] for name in pairs.dtype.names])


def ensemble(seed=0):
    nets = PatchSDERegressor(
        drift_model=MLP(hidden=(6,), training=Training(max_epochs=3)), parity=(-1, 1)
    )
    members = SDEEnsemble(nets, n_members=6, random_state=seed).fit(PAIRS).members_
    return " ".join(of_net(member.model_.net, member.history_) for member in members)


def search(seed=0):
    steps = [
        ("upsample", HierarchicalUpsampler(CHAIN, relaxation=RELAX, random_state=seed)),
        ("evolve", evolve(seed)),
        ("closure", PatchAutoencoder(CHAIN, n_closure=0)),
        ("sde", PatchSDERegressor(drift_model="linear", diffusion_model="constant")),
    ]
    grid = {"evolve__dt": [0.1, 0.2], "sde__lam": ["K", 1.0]}
    found = GridSearchCV(Pipeline(steps), grid, cv=SPLITS, refit=False, error_score="raise")
    found = found.fit(SMALL).cv_results_
    return sha256(*[found[name] for name in sorted(found) if "test" in name])


WORKS = [sampler, ensemble, search]


@pytest.fixture(scope="module")
def alone():
    """SHA-256 of each result of one thread."""
    return {work: work() for work in WORKS}


@pytest.fixture(scope="module")
def cluster():
    """Two workers, forked from a process that has loaded the library."""
    multiprocessing.set_forkserver_preload(["tests.mortal", "sklmacro", "sklearn.pipeline"])
    ensure_running()
    options = {
        "worker.multiprocessing-method": "forkserver",
        "comm.timeouts.connect": "600s",  # patience with a busy machine
        "scheduler.worker-ttl": None,
    }
    with (
        dask.config.set({f"distributed.{name}": value for name, value in options.items()}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture
def workers(cluster):
    """Both workers, the one that took a dead one's place included."""
    cluster.wait_for_workers(2, timeout=300)
    # One that dies before its nanny knows that it runs would be waited for without end.
    for nanny in cluster.cluster.workers.values():
        while nanny.process.status != distributed.Status.running:
            time.sleep(0.01)
    return cluster


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize(("backend", "n_jobs"), [("threading", 4), ("loky", 2)])
def test_workers_of_one_machine(alone, backend, n_jobs, work):
    with parallel_config(backend, n_jobs=n_jobs):
        assert work() == alone[work]


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.usefixtures("workers")
def test_a_cluster(alone, work):
    with parallel_config("dask"):
        assert work() == alone[work]


def test_a_killed_worker_changes_nothing(alone, workers, tmp_path):
    workers.register_plugin(mortal.SecondTask(tmp_path))
    # What a search hands out could be lost with the worker that it is laid down at: copies for all.
    workers.amm.stop()
    with parallel_config("dask", scatter=[SMALL, *itertools.chain(*SPLITS)]):
        assert search() == alone[search]
    workers.unregister_worker_plugin("second task")
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("work", WORKS)
def test_another_seed_has_another_result(alone, work):
    """Negative control."""
    assert work(seed=1) != alone[work]


@pytest.mark.parametrize("kept", [True, False])
def test_a_killed_worker_costs_no_part_that_is_saved(workers, kept, tmp_path, monkeypatch):
    monkeypatch.setattr(_rows, "INTERVAL", 0.0)
    monkeypatch.setattr(_rows, "SHARE", np.inf)
    workers.register_plugin(mortal.SaveAtOnce())
    chain = mortal.MortalChain(folder=str(tmp_path))
    options = {"checkpoint_dir": tmp_path / "parts" if kept else None, "random_state": 1}
    times = [0.1, 0.2, 0.3, 0.4]
    with parallel_config("dask"):
        found = chain.simulate(SMALL[:20], times, **options)
    np.testing.assert_array_equal(found, CHAIN.simulate(SMALL[:20], times, random_state=1))
    assert (tmp_path / "died").exists()
    n_steps = sum(notes.stat().st_size for notes in tmp_path.glob("steps of *"))
    n_again = n_steps - 20 * len(times)
    # The step at which the worker died is made again; or the whole trajectory, or all of a batch.
    assert n_again == 1 if kept else n_again > 1
