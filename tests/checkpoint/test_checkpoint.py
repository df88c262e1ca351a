"""Checkpoints: parts are whole or absent, and those of other work are refused by name."""

import json
import logging

import numpy as np
import pytest

from sklmacro import MLP, PatchSDERegressor, Training
from sklmacro._base import checks as _validation
from sklmacro.checkpoint.checkpoint import Checkpoint, described, digest, resumable, write_whole
from sklmacro.simulators import Ising

SETTINGS = {"temperature": 2.5, "X": np.arange(6), "simulator": Ising(2.5)}


def checkpoint(folder, random_state=0, **changes):
    return Checkpoint(folder, "test", {**SETTINGS, **changes}, random_state)


def test_a_part_comes_back(tmp_path):
    one = checkpoint(tmp_path / "new")
    assert one.part("first") is None
    x = np.arange(6, dtype=np.int8).reshape(2, 3).T
    arrays = {"x": x, "t": np.array([0.1, np.nan]), "number": np.array(3.0)}
    one.keep("first", arrays, {"done": 2**70})
    found, state = checkpoint(tmp_path / "new").part("first")
    assert state == {"done": 2**70}
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"temperature": 2.0}, "temperature='2.5', not '2.0'"),
        ({"X": np.arange(6.0)}, "X='<i8 6 sha256"),
        ({"simulator": Ising(2.5, field=0.1)}, "simulator.field"),
        ({"more": 1}, "more=None, not 1"),
        ({"random_state": 1}, "entropy='0', not '1'"),
    ],
)
def test_other_settings_are_refused_and_named(tmp_path, changes, named):
    checkpoint(tmp_path).keep("part", {"x": np.ones(2)})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="Expected a checkpoint of the same work") as error:
        checkpoint(tmp_path, **changes)
    assert named in str(error.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_head_that_was_never_whole_is_no_hindrance(tmp_path):
    """A process was killed while it wrote it."""
    (tmp_path / ".checkpoint.json-k3x_.partial").write_text('{"form')
    assert checkpoint(tmp_path).part("part") is None
    checkpoint(tmp_path)


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


def test_a_spoilt_part_is_refused_and_named(tmp_path):
    one = checkpoint(tmp_path)
    one.keep("part", {"x": np.ones(100)})
    path = tmp_path / "part.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"part.safetensors.*delete the file"):
        one.part("part")


def test_a_failing_write_leaves_the_earlier_file(tmp_path):
    write_whole(tmp_path / "file", b"earlier")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "file", "no bytes")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"earlier"


def test_an_interrupt_says_where_to_go_on(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    with pytest.raises(KeyboardInterrupt) as interrupt, resumable(tmp_path):
        raise KeyboardInterrupt
    assert f"checkpoint_dir={str(tmp_path)!r}" in caplog.text
    assert f"checkpoint_dir={str(tmp_path)!r}" in interrupt.value.__notes__[0]


def with_parts(folder):
    with resumable(folder):
        pass
    with resumable(folder):
        raise KeyboardInterrupt


def test_of_work_within_work_the_outermost_is_named(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    folders = tmp_path / "all", tmp_path / "part"
    with pytest.raises(KeyboardInterrupt), resumable(None), resumable(folders[0]):
        with_parts(folders[1])
    (said,) = [record.message for record in caplog.records]
    assert f"checkpoint_dir={str(tmp_path / 'all')!r}" in said


def test_what_has_no_effect_is_not_described():
    sde = PatchSDERegressor(
        verbose=True, checkpoint_dir="here", drift_model=MLP(training=Training(device="cpu:1"))
    )
    assert described(sde) == described(PatchSDERegressor(drift_model=MLP(training=Training())))
    assert described(sde) != described(
        PatchSDERegressor(drift_model=MLP(training=Training(lr=0.1)))
    )


def test_what_cannot_be_described_is_refused():
    with pytest.raises(ValueError, match="a function; leave checkpoint_dir at None"):
        described({"f": lambda: None})


def test_descriptions_are_json_and_tell_generators_apart():
    first, second = np.random.default_rng(0), np.random.default_rng(1)
    assert json.loads(json.dumps(described(first))) == described(np.random.default_rng(0))
    assert described(first) != described(second)


def test_a_digest_does_not_depend_on_how_many_rows_are_read_at_once(monkeypatch):
    X = np.arange(24.0).reshape(6, 4)
    whole = digest(X)
    for n_bytes in (1, 64, 100):
        monkeypatch.setattr(_validation, "PIECE", n_bytes)
        assert digest(X) == whole
    assert digest(X[:0]).startswith("<f8 0x4")
    assert digest(np.array(2.0)) != digest(np.array(3.0))


def test_a_digest_sees_every_element_the_type_and_the_shape():
    X = np.zeros((3, 4))
    others = [X.astype(np.float32), X.reshape(4, 3), np.eye(3, 4), np.zeros(12)]
    assert len({digest(Y) for Y in (X, *others)}) == 5
    assert digest(X.T.copy().T) == digest(X)
