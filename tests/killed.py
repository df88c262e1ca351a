"""Work that is killed at random moments and resumed: `python -m tests.killed FOLDER`.

Every process is forked from one that has loaded and compiled all that the work needs. Moments are
counted in files written: a process kills itself just before, or just after, a file comes to its
place. Prints, as JSON, the SHA-256 of every result without and with kills, and numbers of files.
"""

import gc
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

N_KILLS = 5
N_BRANCHES = 2  # processes that share the works


def sha256(*arrays):
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def of_net(net, history):
    weights = [tensor.numpy() for tensor in net.state_dict().values()]
    return sha256(*weights, [[e["train_loss"], e["valid_loss"]] for e in history])


class Branch:
    """A function in a forked process; `result` is what it returns, or None if it was killed."""

    def __init__(self, function, *arguments, **options):
        reader, writer = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(reader)
            status = 1
            try:
                with os.fdopen(writer, "w") as pipe:
                    json.dump(function(*arguments, **options), pipe)
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        self.pipe = os.fdopen(reader)

    def result(self):
        with self.pipe as pipe:
            text = pipe.read()
        _, status = os.waitpid(self.child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return None
        assert status == 0
        return json.loads(text)


def forked(function, *arguments, **options):
    return Branch(function, *arguments, **options).result()


def counted(work, folder, kill_at=None, after=False, part="", **options):
    """Do work; return its result and how many files it wrote. It may kill itself at one of them.

    Only files count that have `part` in their names.
    """
    move, n_files = os.replace, [0]

    def replace(source, target):
        n_files[0] += part in Path(target).name
        due = kill_at is not None and n_files[0] >= kill_at
        if due and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        move(source, target)
        if due:  # another thread may have counted on
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    try:
        return work(folder, **options), n_files[0]
    finally:
        os.replace = move


def resumed(work, folder):
    """Do work to its end; do it again; and once more when one part of it is lost."""
    results = [counted(work, folder), counted(work, folder)]
    drafts = [path.name for path in folder.rglob("*.partial")]
    parts = sorted(folder.rglob("*.safetensors"))
    parts[len(parts) // 2].unlink()
    return *results, counted(work, folder), drafts


def killed(name, work, folder):
    """Return the results of a work without and with kills, and with one that is badly resumed."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    plain = work.run(None)  # compiles
    whole, n_files = counted(work.run, folder / "whole")
    moments = np.sort(rng.choice(int(work.until * (n_files - 1)), N_KILLS, replace=False)) + 1
    n_killed = 0
    for i, n in enumerate(np.diff(moments, prepend=0).tolist()):
        options = {"n_jobs": 1 + i % 2} if work.parallel else {}
        after = bool(rng.integers(2))
        n_killed += forked(counted, work.run, folder / "killed", n, after, **options) is None
        if i == N_KILLS // 2:
            shutil.copytree(folder / "killed", folder / "control")
    end, again, mended, drafts = forked(resumed, work.run, folder / "killed")
    result = {
        "killed": n_killed, "plain": plain, "results": [whole, end[0], again[0], mended[0]],
        "files": n_files, "files again": again[1], "files mended": mended[1], "drafts": drafts,
    }  # fmt: skip
    if work.part:
        shutil.rmtree(folder / "control")
        forked(counted, work.run, folder / "control", 2, True, work.part)
    if work.control is not None:
        result["control"] = forked(work.control, folder / "control")
    shutil.rmtree(folder)
    return result


def report(works, folder):
    return {name: killed(name, work, folder / name) for name, work in works.items()}


def reported(folder):
    """Run this module, and return what it prints."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.killed", str(folder)],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


if __name__ == "__main__":
    from tests import killed_works

    killed_works.write_at_once()
    gc.collect()
    gc.freeze()  # so that forks share what is there
    folder, works = Path(sys.argv[1]), list(killed_works.WORKS.items())
    branches = [
        Branch(report, {k: v for k, v in works if v.branch == branch}, folder)
        for branch in range(N_BRANCHES)
    ]
    results = [branch.result() for branch in branches]
    print(json.dumps({name: one for part in results for name, one in part.items()}))
