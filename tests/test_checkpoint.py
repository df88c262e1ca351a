"""Checkpoints: parts are whole or absent, and those of other work are refused by name."""

import json
import logging

import numpy as np
import pytest

from sklmacro.checkpoint import Checkpoint, described, digest, resumable, write_whole
from sklmacro.simulators import Ising

SETTINGS = {"temperature": 2.5, "X": np.arange(6), "simulator": Ising(2.5)}


def checkpoint(folder, random_state=0, **changes):
    return Checkpoint(folder, "test", {**SETTINGS, **changes}, random_state)


def test_a_part_comes_back(tmp_path):
    one = checkpoint(tmp_path / "new")
    assert one.part("first") is None
    arrays = {"x": np.arange(6, dtype=np.int8).reshape(2, 3).T, "t": np.array([0.1, np.nan])}
    one.keep("first", arrays, {"done": 2**70})
    found, state = checkpoint(tmp_path / "new").part("first")
    assert state == {"done": 2**70}
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == array.dtype


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


def test_what_cannot_be_described_is_refused():
    with pytest.raises(ValueError, match="a function; leave checkpoint_dir at None"):
        described({"f": lambda: None})


def test_descriptions_are_json_and_tell_generators_apart():
    first, second = np.random.default_rng(0), np.random.default_rng(1)
    assert json.loads(json.dumps(described(first))) == described(np.random.default_rng(0))
    assert described(first) != described(second)


def test_a_digest_sees_every_element_the_type_and_the_shape():
    X = np.zeros((3, 4))
    others = [X.astype(np.float32), X.reshape(4, 3), np.eye(3, 4), np.zeros(12)]
    assert len({digest(Y) for Y in (X, *others)}) == 5
    assert digest(X.T.copy().T) == digest(X)
