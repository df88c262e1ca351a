"""Checkpoints: parts are whole or absent, and those of other work are refused by name."""

import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklmacro import MLP, PatchSDERegressor, SDEEnsemble, Training
from sklmacro._base import checks as _checks
from sklmacro.checkpoint import atomic
from sklmacro.checkpoint.atomic import atomic_files, atomic_write, remove_drafts
from sklmacro.checkpoint.checkpoint import Checkpoint, interruptible, resume
from sklmacro.checkpoint.identity import differences, digest, identity
from sklmacro.simulators import Ising

SETTINGS = {"temperature": 2.5, "X": np.arange(6), "simulator": Ising(2.5)}


def checkpoint(folder, random_state=0, **changes):
    return Checkpoint(folder, "test", {**SETTINGS, **changes}, random_state)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_part_comes_back(tmp_path):
    one = checkpoint(tmp_path / "new")
    assert one.load("first") is None
    x = np.arange(6, dtype=np.int8).reshape(2, 3).T
    value = {"x": x, "t": np.array([0.1, np.nan]), "state": (np.array(3.0), [2**70, None, "a"])}
    one.save("first", value)
    again = checkpoint(tmp_path / "new").load("first")
    assert repr(again) == repr(value)
    assert again["x"].dtype == x.dtype
    one.delete("first")
    assert one.load("first") is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"temperature": 2.0}, "temperature=2.5, not 2.0"),
        ({"temperature": np.nan}, "temperature=2.5, not 'nan'"),
        ({"X": np.arange(6.0)}, "X='<i8 6 sha256"),
        ({"simulator": Ising(2.5, field=0.1)}, "simulator.field"),
        ({"more": 1}, "more=None, not 1"),
        ({"random_state": 1}, "entropy='0', not '1'"),
    ],
)
def test_other_settings_are_refused_and_named(tmp_path, changes, named):
    checkpoint(tmp_path).save("part", {"x": np.ones(2)})
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="Expected a checkpoint of the same work") as error:
        checkpoint(tmp_path, **changes)
    assert named in str(error.value)
    assert contents(tmp_path) == before


def test_without_a_seed_the_first_entropy_serves(tmp_path):
    first = checkpoint(tmp_path, random_state=None)
    assert checkpoint(tmp_path, random_state=None).entropy == first.entropy
    assert checkpoint(tmp_path / "other", random_state=None).entropy != first.entropy


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', "years of work"])
def test_a_folder_with_something_else_is_refused(tmp_path, content):
    (tmp_path / "checkpoint.json").write_text(content)
    with pytest.raises(ValueError, match="holds something else; choose another folder"):
        checkpoint(tmp_path)
    assert (tmp_path / "checkpoint.json").read_text() == content


@pytest.mark.parametrize("spoil", [lambda d: d[:-8], lambda d: d[:-8] + bytes(8), lambda d: b""])
def test_a_spoilt_part_is_refused_and_named(tmp_path, spoil):
    one = checkpoint(tmp_path)
    one.save("part", {"x": np.ones(100)})
    path = tmp_path / "part.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=r"part.safetensors.*delete the file"):
        one.load("part")


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [TypeError, KeyboardInterrupt])
def test_a_failing_write_leaves_what_was_there(tmp_path, error):
    one, several = tmp_path / "one", tmp_path / "several"
    for _ in range(2):  # the folder is new, and then it is there
        with atomic_write(one) as draft, atomic_files(several, ["a", "b"]) as drafts:
            for path in (draft, *drafts.values()):
                path.write_bytes(b"earlier")
    with pytest.raises(error), atomic_write(one):
        raise error
    for folder in (several, tmp_path / "new"):
        with pytest.raises(error), atomic_files(folder, ["a", "b"]):
            raise error
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "missing" / "file") as draft:
        draft.write_bytes(b"nowhere")
    assert contents(several) == {"a": b"earlier", "b": b"earlier"}
    assert one.read_bytes() == b"earlier"
    assert len(list(tmp_path.iterdir())) == 2


def test_files_are_on_the_disk_before_they_are_moved_and_their_names_after(tmp_path, monkeypatch):
    events = []

    def sync(handle):
        events.append(os.readlink(f"/proc/self/fd/{handle}"))

    def replace(source, target):
        events.append("move")
        move(source, target)

    move = os.replace
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    with atomic_write(tmp_path / "file") as draft:
        draft.touch()
    assert events == [str(draft), "move", str(tmp_path)]


def test_only_drafts_of_dead_processes_are_deleted(tmp_path, monkeypatch):
    """Another process, or another machine, may be writing; and other files are the user's."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: process.pid)
        with atomic_write(tmp_path / "file") as dead:
            dead.touch()
    (tmp_path / "file").rename(dead)
    machine = re.search(r"[0-9a-f]{8}(?=-\d+-)", dead.name)[0]
    others = {".file-k3x_.partial", "mine.partial", ".hidden", dead.name.replace(machine, "0" * 8)}
    for name in others:
        (tmp_path / name).touch()
    with atomic_write(tmp_path / "living") as living:
        living.touch()
        remove_drafts(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {*others, living.name}
    monkeypatch.setattr(atomic.os, "name", "nt")  # where processes cannot be asked for
    dead.touch()
    remove_drafts(tmp_path)
    assert dead.exists()


def test_a_head_that_was_never_whole_is_no_hindrance(tmp_path):
    """A process was killed while it wrote it."""
    (tmp_path / ".checkpoint.json-k3x_.partial").write_text('{"form')
    assert checkpoint(tmp_path).load("part") is None
    checkpoint(tmp_path)


# --- interrupts -----------------------------------------------------------------------------------


def with_parts(folder):
    with interruptible(folder):
        pass
    with interruptible(folder):
        raise KeyboardInterrupt


def test_an_interrupt_names_the_outermost_folder(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    all_of_it = tmp_path / "all"
    work = resume(all_of_it, "test", {}, 0)
    with pytest.raises(KeyboardInterrupt) as interrupt, resume(None, "test", {}), work:
        with_parts(tmp_path / "part")
    (message,) = [record.message for record in caplog.records]
    assert f"the same call with checkpoint_dir={str(all_of_it)!r} resumes it" in message
    assert interrupt.value.__notes__ == [message]


# --- identities -----------------------------------------------------------------------------------


@dataclass
class Own:
    values: np.ndarray


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"verbose": True}, True),
        ({"checkpoint_dir": "here"}, True),
        ({"drift_model__training__device": "cpu:1"}, True),
        ({"drift_model__training__device": "cuda"}, False),
        ({"drift_model__training__lr": 0.1}, False),
        ({"random_state": 1}, False),
    ],
)
def test_what_changes_no_result_does_not_count_in_nested_estimators_either(changes, same):
    """Negative controls: what does change it counts."""
    plain, other = (PatchSDERegressor(drift_model=MLP(training=Training())) for _ in range(2))
    other.set_params(**changes)
    for wrap in (lambda e: e, SDEEnsemble, lambda e: make_pipeline(FrozenEstimator(e))):
        assert (identity(wrap(plain)) == identity(wrap(other))) is same


def test_only_frozen_estimators_count_with_what_they_have_learned():
    X = np.arange(6.0).reshape(3, 2)
    fits = [StandardScaler().fit(X), StandardScaler().fit(X + 1)]
    assert identity(fits[0]) == identity(fits[1]) == identity(StandardScaler())
    frozen = [identity(FrozenEstimator(fit)) for fit in fits]
    assert frozen[0] != frozen[1]
    both = [identity(make_pipeline(fit, FrozenEstimator(fit))) for fit in fits]
    assert both[0] != both[1]


def test_functions_without_a_name_have_no_identity():
    with pytest.raises(ValueError, match="a function; leave checkpoint_dir at None"):
        identity({"f": lambda: None})
    assert identity(contents) == f"{__name__}.contents"


def test_identities_are_json_and_name_differences():
    values = {
        "generator": np.random.default_rng(0), "own": Own(np.zeros((2, 3)).T), "path": Path("a"),
        "numbers": (1, 2.5, np.nan, np.int8(3)), "pairs": np.zeros(2, "i4, f8"),
        "texts": np.array(["a", "b"]), 3: None,
    }  # fmt: skip
    one = identity(values)
    assert json.loads(json.dumps(one)) == one
    assert one["numbers"] == [1, 2.5, "nan", 3]
    assert one["own"] == {"class": "Own", "values": digest(np.zeros((3, 2)))}
    other = identity({**values, "generator": np.random.default_rng(1), "texts": ["a", "b", 1]})
    names = [name for name, _, _ in differences(one, other)]
    assert set(names) >= {"generator.state.state.state", "texts"}
    assert all(differences(*pair) for pair in ((-0.0, 0.0), (1, 1.0), (1, True)))


def test_a_digest_sees_every_element_the_type_and_the_shape(monkeypatch):
    X = np.zeros((3, 4))
    others = [X.astype(np.float32), X.reshape(4, 3), np.eye(3, 4), np.zeros(12), X[:0], X[0, 0]]
    digests = [digest(Y) for Y in (X, *others)]
    assert len(set(digests)) == 7
    assert digest(X.T.copy().T) == digest(X)
    for n_bytes in (1, 64, 100):  # rows that are read at once
        monkeypatch.setattr(_checks, "PIECE", n_bytes)
        assert [digest(Y) for Y in (X, *others)] == digests
