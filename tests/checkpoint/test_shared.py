"""Several calls on one folder: one is at work, the others wait and end with the same result."""

import logging
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from sklmacro import MLP, PatchSDERegressor, SDEEnsemble, Training
from sklmacro.checkpoint import checkpoint as _checkpoint
from sklmacro.checkpoint import lock, rows
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.simulators import LinearChain
from tests.problems import exact_pairs

N_CALLS = 3
CHAIN = LinearChain()
START = CHAIN.sample_initial(12, 8, random_state=0)
PAIRS = exact_pairs(n=60)[0]
NET = MLP((4,), training=Training(max_epochs=2, batch_size=32))

pytestmark = pytest.mark.skipif(lock.fcntl is None, reason="there are no locks of files")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(rows, "INTERVAL", 0.0)
    monkeypatch.setattr(rows, "SHARE", np.inf)
    monkeypatch.setattr(os, "fsync", lambda file: None)


def without_seed(folder):
    return CHAIN.simulate(START, [0.0, 0.1, 0.2], checkpoint_dir=folder)


def nested(folder):
    sde = PatchSDERegressor(drift_model=NET)
    ensemble = SDEEnsemble(sde, n_members=2, random_state=0, checkpoint_dir=folder)
    return ensemble.fit(PAIRS).drift(PAIRS["z"])


def repeated(work, folder, results):
    for k in range(N_CALLS):
        results.append(work(folder / str(k)).tobytes())


@pytest.mark.parametrize("work", [without_seed, nested])
def test_threads_on_one_folder_have_one_result(tmp_path, work):
    results = [[], []]
    threads = [threading.Thread(target=repeated, args=(work, tmp_path, r)) for r in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    assert len(results[0]) == N_CALLS
    assert not [*tmp_path.rglob(".*")]


def test_processes_on_one_folder_have_one_result(tmp_path):
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        results = [manager.list() for _ in range(2)]
        processes = [
            context.Process(target=repeated, args=(without_seed, tmp_path, r)) for r in results
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [*results[0]] == [*results[1]]
        assert len(results[0]) == N_CALLS


def test_of_two_that_begin_a_folder_one_has_its_way(tmp_path):
    """Another call writes the head between the look for one and the writing of it."""
    late = Checkpoint.__new__(Checkpoint)
    late.folder = tmp_path
    first = Checkpoint(tmp_path, "test", {}, None)
    head = late._write_head({"format": 3, "work": "test", "settings": {}, "entropy": "7"})
    assert int(head["entropy"]) == first.entropy != 7


def test_who_waits_says_so_and_goes_on_when_the_holder_is_killed(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(lock, "TOLD", 0.0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with lock.alone_in(tmp_path):
            os.write(writer, b"in")
            time.sleep(60)
    os.read(reader, 2)
    killer = threading.Timer(0.3, os.kill, (child, signal.SIGKILL))
    killer.start()
    with caplog.at_level(logging.WARNING), lock.alone_in(tmp_path):
        assert f"waiting for another call that works in {tmp_path}" in caplog.text
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    assert not [*tmp_path.iterdir()]


def test_a_forked_process_does_not_hold_on_to_a_lock(tmp_path):
    with lock.alone_in(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    with lock.alone_in(tmp_path):  # would wait for the child
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("error", [OSError("no locks here"), PermissionError("read-only")])
def test_without_locks_calls_go_on_side_by_side(tmp_path, monkeypatch, error):
    def refuse(*args):
        raise error

    place = (lock.os, "open") if isinstance(error, PermissionError) else (lock.fcntl, "flock")
    with lock.alone_in(tmp_path):
        monkeypatch.setattr(*place, refuse)
        with lock.alone_in(tmp_path):
            pass
        monkeypatch.undo()


# --- what is in a folder --------------------------------------------------------------------------


def test_a_part_in_the_place_of_another_is_refused(tmp_path):
    """Swapped, doubled, or of a checkpoint with other settings; a part in its own place is read."""
    one, other = (Checkpoint(tmp_path / str(k), "test", {"a": k}, 0) for k in range(2))
    for checkpoint in (one, other):
        for name in ("rows-0", "rows-5"):
            checkpoint.save(name, {"x": np.arange(5)})
    (tmp_path / "0" / "rows-0.safetensors").replace(tmp_path / "0" / "rows-5.safetensors")
    (tmp_path / "1" / "rows-0.safetensors").replace(tmp_path / "0" / "rows-0.safetensors")
    for name in ("rows-0", "rows-5"):
        with pytest.raises(ValueError, match="of another name, or of another checkpoint"):
            one.load(name)
    np.testing.assert_array_equal(other.load("rows-5")["x"], np.arange(5))


def test_a_head_that_was_changed_is_refused(tmp_path):
    Checkpoint(tmp_path, "test", {"a": 1}, 12)
    head = tmp_path / "checkpoint.json"
    head.write_text(head.read_text().replace('"12"', '"13"'))
    with pytest.raises(ValueError, match=r"checkpoint.json' as it was written, but its checksum"):
        Checkpoint(tmp_path, "test", {"a": 1}, None)


def test_other_versions_of_packages_are_a_warning(tmp_path, monkeypatch):
    Checkpoint(tmp_path, "test", {}, 0)
    monkeypatch.setattr(_checkpoint, "version", lambda name: "99.1")
    with pytest.warns(UserWarning, match="numpy .*, not 99.1.* the rest may round otherwise"):
        Checkpoint(tmp_path, "test", {}, 0)


@pytest.mark.parametrize(
    "value", [3, None, [], {"x": np.zeros((5, 2, 1))}, {"x": np.zeros((5, 3)), "y": np.zeros(4)}]
)
def test_a_part_of_another_form_is_a_value_error(tmp_path, value):
    checkpoint = Checkpoint(tmp_path, "test", {}, 0)
    checkpoint.save("rows-0", value)
    with pytest.raises(ValueError, match=r"rows-0.safetensors.*delete the file"):
        checkpoint.rows("rows", 5, {"x": np.zeros((5, 3))})
