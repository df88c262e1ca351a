"""Work that is killed at random moments and taken up: `python -m tests.killed FOLDER`.

Every process is forked from this one, which has loaded and compiled all that the work needs.
Moments are counted in files written: a process kills itself just before, or just after, a file
comes to its place. Prints, as JSON, the SHA-256 of every result without and with interruptions, and
how many there were.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.base import clone

from sklmacro import MLP, OnsagerSDE, PatchAutoencoder, PatchSDERegressor, SDEEnsemble, Training
from sklmacro.checkpoint.checkpoint import PARTIAL, Checkpoint
from sklmacro.experiments import EXPERIMENTS, run_experiment
from sklmacro.simulators import Ising, PredatorPrey
from sklmacro.training import epochs
from tests.problems import exact_pairs

N_KILLS = 5
TRAINING = Training(max_epochs=9, batch_size=32)
OPTIONS = {"hidden": (6,), "training": TRAINING, "random_state": 0}
MLP_OPTIONS = {"drift_model": MLP((6,), training=TRAINING), "random_state": 0}


def sha256(*arrays):
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def of_net(net, history):
    weights = [tensor.numpy() for tensor in net.state_dict().values()]
    return sha256(*weights, [[e["train_loss"], e["valid_loss"]] for e in history])


def sde(model, **options):
    """Fit an SDE; SHA-256 of weights, losses and predictions."""

    def fit(folder):
        pairs, _, _ = exact_pairs(n=200)
        own = OPTIONS if model is OnsagerSDE else MLP_OPTIONS
        fitted = model(**own, **options, checkpoint_dir=folder).fit(pairs)
        z = pairs["z"]
        whole = of_net(fitted.model_.net, fitted.history_)
        return f"{whole} {sha256(fitted.drift(z), fitted.diffusion(z))}"

    return fit


def ensemble(folder):
    pairs, _, _ = exact_pairs(n=200)
    member = PatchSDERegressor(**MLP_OPTIONS, diffusion_model="diagonal")
    fitted = SDEEnsemble(member, n_members=2, random_state=0, checkpoint_dir=folder).fit(pairs)
    return " ".join(of_net(member.model_.net, member.history_) for member in fitted.members_)


def closure(simulator, size, patch):
    """Fit an autoencoder; SHA-256 of weights, losses and closures."""

    def fit(folder):
        X = simulator.sample_initial(30, size, random_state=0)
        training = clone(TRAINING).set_params(validation_fraction=0.2)
        found = PatchAutoencoder(
            simulator, patch=patch, **OPTIONS | {"training": training}, checkpoint_dir=folder
        ).fit(X)
        return f"{of_net(found.codec_.net, found.history_)} {sha256(found.transform(X))}"

    return fit


def experiment(folder):
    """Run an experiment of six pieces; SHA-256 of its numbers and arrays."""
    chain = replace(EXPERIMENTS["linear-chain"], draw=lambda *args: Figure())
    with TemporaryDirectory() as beside:
        out = Path(beside) / "result"
        result = run_experiment(chain, out=out, changes={"n_seeds": 6}, checkpoint_dir=folder)
        with np.load(out / "arrays.npz") as arrays:
            return sha256(*arrays.values(), repr(result["numbers"]))


WORKS = {
    "net in one kernel": sde(PatchSDERegressor),
    "net of torch modules": sde(PatchSDERegressor, parity=(-1, 1)),
    "OnsagerNet": sde(OnsagerSDE),
    "ensemble": ensemble,
    "dense autoencoder": closure(PredatorPrey(), 20, 10),
    "convolutional autoencoder": closure(Ising(2.3), 16, 8),
    "experiment": experiment,
}


# Processes ----------------------------------------------------------------------------------------


def in_process(work, *arguments):
    """Do work in a process of its own; return what it returns, or None if it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            os.write(writer, work(*arguments).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert status == 0
    return said


def dying(work, folder, n_files, after):
    """Do work until the process has written a number of files, but maybe for the last step."""
    move, left = os.replace, [n_files]

    def replace(source, target):
        left[0] -= 1
        if left[0] <= 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        move(source, target)
        if left[0] <= 0:  # another thread may have counted on
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    return work(folder)


def counted(work, folder):
    """Do work; return its result and how many files were written."""
    move, n_files = os.replace, [0]

    def replace(source, target):
        n_files[0] += 1
        move(source, target)

    os.replace = replace
    return json.dumps([work(folder), n_files[0]])


def forgetful(work, folder):
    """Do work that is badly taken up: without the moments of AdamW, or with a piece for another."""
    read, part = epochs._tensors, Checkpoint.part
    epochs._tensors = lambda what, arrays: {} if "optimizer" in what else read(what, arrays)
    Checkpoint.part = lambda self, name: part(self, "seed 0" if name == "seed 5" else name)
    return work(folder)


def killed(name, work, folder, forgetful=forgetful):
    """Return results without and with interruptions, and with one badly taken up."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    plain, n_files = json.loads(in_process(counted, work, folder / "plain"))
    moments = np.sort(rng.choice(n_files - 1, N_KILLS, replace=False)) + 1
    n_killed = 0
    for n in np.diff(moments, prepend=0).tolist():
        said = in_process(dying, work, folder / "killed", n, bool(rng.integers(2)))
        n_killed += said is None
    found = {
        "plain": plain, "files": n_files, "killed": n_killed,
        "resumed": in_process(work, folder / "killed"),
    }  # fmt: skip
    in_process(dying, work, folder / "forgetful", n_files // 3, True)
    found["forgetful"] = in_process(forgetful, work, folder / "forgetful")
    found["again"], found["files again"] = json.loads(in_process(counted, work, folder / "killed"))
    found["half-written"] = [path.name for path in (folder / "killed").rglob(f"*{PARTIAL}")]
    return found


def report(works, killed, folder):
    """Print, as JSON, what `killed` finds for each work, in a folder of its own."""
    torch.set_num_threads(1)
    found = {}
    for name, work in works.items():
        work(None)  # compiles
        found[name] = killed(name, work, Path(folder) / name)
    print(json.dumps(found))


def reported(module, folder):
    """Run `python -m module folder`, and return what it prints."""
    process = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


if __name__ == "__main__":
    epochs.SAVE_SECONDS = 0.0
    report(WORKS, killed, sys.argv[1])
