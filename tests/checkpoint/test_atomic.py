"""Where files are written: through links, with their permissions, under any name, or not at all."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest

import sklmacro as skm
from sklmacro.checkpoint import atomic
from sklmacro.checkpoint.atomic import atomic_files, atomic_write, check_out, fill_array
from sklmacro.simulators import LinearChain

SDE = skm.PatchSDERegressor()


def fill(path):
    return fill_array(path, (3,), np.dtype(float), lambda array: array.fill(1.0))


WRITERS = {"save": lambda path: skm.save(SDE, path), "out": fill}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", ["file", "dangling", "chain"])
def test_links_stay_and_what_they_lead_to_is_written(tmp_path, name, kind):
    target, link = tmp_path / "far" / "file.npy", tmp_path / "link.npy"
    target.parent.mkdir()
    if kind == "file":
        target.write_bytes(b"old")
    between = tmp_path / "between.npy" if kind == "chain" else target
    link.symlink_to(between)
    if kind == "chain":
        between.symlink_to(Path("far") / "file.npy")
    WRITERS[name](link)
    assert link.is_symlink()
    assert not target.is_symlink()
    assert target.stat().st_size > 100
    assert [path.name for path in target.parent.iterdir()] == ["file.npy"]


def test_links_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "link")
    with pytest.raises(OSError, match="got a circle"):
        skm.save(SDE, tmp_path / "link")


def test_a_link_may_be_a_checkpoint_dir(tmp_path):
    chain = LinearChain()
    X = chain.sample_initial(2, 8, random_state=0)
    (tmp_path / "there").mkdir()
    for name in ("there", "dangling"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(tmp_path / name)
        chain.simulate(X, [1.0], random_state=0, checkpoint_dir=link)
        assert link.is_symlink()
        assert (tmp_path / name / "checkpoint.json").is_file()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_permissions_of_a_replaced_file_are_kept(tmp_path, mode):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    WRITERS["save"](path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize(
    "name", [".hidden", "-dash", "with space", "Zustände 漢字", "%s {}", "x" * 251, "é" * 125]
)
def test_any_name_will_do(tmp_path, name):
    path = tmp_path / f"{name}.npy"
    for given in (path, str(path), os.fsencode(path)):
        skm.save(SDE, given)
        skm.load(given)
        fill(given)
        check_out(given)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("path", [3, None, ["a"]])
def test_what_is_no_path_is_refused(path):
    for call in (skm.load, lambda path: skm.save(SDE, path)):
        with pytest.raises(ValueError, match="Expected the path of a file or a folder, but got"):
            call(path)


def test_only_regular_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"a regular file, but got .*pipe"):
        skm.save(SDE, tmp_path / "pipe")
    with pytest.raises(IsADirectoryError, match="but got the folder"):
        skm.save(SDE, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"a folder that exists, but got .*missing"):
        skm.save(SDE, tmp_path / "missing" / "file")


def test_a_read_only_folder_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "access", lambda path, mode: False)
    for call in (WRITERS["save"], check_out):
        with pytest.raises(PermissionError, match=r"may be written, but got .*which is read-only"):
            call(tmp_path / "file.npy")
    assert not [*tmp_path.iterdir()]


def test_drafts_of_a_killed_process_do_not_stay(tmp_path, monkeypatch):
    """Beside files, in folders, and for folders; the next to write there deletes them."""
    child = os.fork()
    if child == 0:
        with atomic_write(tmp_path / "file") as draft, atomic_files(tmp_path / "new", ["a"]) as two:
            draft.touch()
            two["a"].touch()
            os._exit(0)
    os.waitpid(child, 0)
    assert len([*tmp_path.iterdir()]) == 2
    fill(tmp_path / "other.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["other.npy"]


def test_files_of_a_folder_come_together_and_others_stay(tmp_path):
    folder = tmp_path / "results"
    for text in ("first", "second"):
        with atomic_files(folder, ["last", "one"]) as drafts:
            for path in drafts.values():
                path.write_text(text)
        (folder / "mine").write_text("mine")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "last": "second", "one": "second", "mine": "mine",
    }  # fmt: skip


def test_a_file_that_must_not_be_there_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("earlier")

    def no_links(*args):
        raise OSError("no hard links here")

    for _ in range(2):
        with pytest.raises(FileExistsError), atomic_write(tmp_path / "file", replace=False) as path:
            path.write_text("later")
        monkeypatch.setattr(atomic.os, "link", no_links)
    with atomic_write(tmp_path / "other", replace=False) as path:
        path.write_text("new")
    assert (tmp_path / "file").read_text() == "earlier"
    assert (tmp_path / "other").read_text() == "new"
