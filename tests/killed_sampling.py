"""Simulations and samplings that are killed at random moments and taken up.

`python -m tests.killed_sampling FOLDER`; see `tests.killed`, which prints alike.
"""

import json
import os
import signal
import sys
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from sklmacro import (
    HierarchicalUpsampler,
    PartialEvolutionSampler,
    PatchAutoencoder,
    StreamedPairs,
    Training,
)
from sklmacro.checkpoint import rows as _rows
from sklmacro.simulators import (
    Alloy,
    CurieWeiss,
    Ising,
    LinearChain,
    PredatorPrey,
)
from sklmacro.simulators.trajectories import Trajectory
from tests.checkpoint.test_resume import IN_PYTHON, JUMP
from tests.killed import N_KILLS, counted, dying, in_process, report, sha256
from tests.simulators.test_simulator import Walkers

STREAMS = ("words", "lanes", "side")  # random streams among the arrays of a trajectory


ALLOY = Alloy(2000.0, vacancy_fraction=0.02)


def simulate(simulator, cells, step, folder, n_jobs=1, n_samples=6, **options):
    """Simulate trajectories of four times."""
    X = simulator.sample_initial(n_samples, cells, random_state=0)
    times = step * np.array([0.5, 1.0, 2.0, 4.0])
    return sha256(
        simulator.simulate(
            X, times, random_state=1, n_jobs=n_jobs, checkpoint_dir=folder, **options
        )
    )


def advance(simulator, cells, **options):
    """Advance snapshots."""

    def run(folder, n_jobs=1):
        X = simulator.sample_initial(20, cells, random_state=0)
        found = simulator.advance(
            X, random_state=1, n_jobs=n_jobs, checkpoint_dir=folder, **options
        )
        return sha256(*found)

    return run


def transform(cells, estimator):
    """Fit an estimator and transform what it was fitted to."""

    def run(folder, n_jobs=1):
        one = estimator().set_params(checkpoint_dir=folder)
        if "n_jobs" in one.get_params():
            one.set_params(n_jobs=n_jobs)
        X = one.get_params().get("simulator", Ising(2.3)).sample_initial(24, cells, random_state=0)
        found = one.fit_transform(X)
        return sha256(*[found[name] for name in found.dtype.names or (...,)])

    return run


def streamed():
    """Return the three steps in one."""
    return StreamedPairs(
        HierarchicalUpsampler(Ising(2.3), relax_duration=0.5, random_state=0),
        PartialEvolutionSampler(Ising(2.3), patch=8, n_joint=6, random_state=0),
        PatchAutoencoder(
            Ising(2.3), n_closure=1, hidden=(8,), training=Training(max_epochs=2), random_state=0
        ),
        batch_size=2,
    )


SIMULATIONS = {
    "Ising": partial(simulate, Ising(2.3), 8, 1.0),
    "Ising of BCC": partial(simulate, Ising(6.0, kind="bcc"), 3, 1.0, observe=True),
    "packed Ising": partial(simulate, Ising(2.3), 6, 1.0, n_samples=130, packed=True),
    "Curie-Weiss": partial(simulate, CurieWeiss(), 6, 1.0),
    "linear chain": partial(simulate, LinearChain(), 9, 0.1),
    "predator and prey": partial(simulate, PredatorPrey(), 12, 0.1, observe=True),
    "alloy": partial(simulate, ALLOY, 4, 30 * JUMP),
    "alloy, observed": partial(simulate, ALLOY, 4, 30 * JUMP, observe=True),
    "alloy of barriers in Python": partial(simulate, IN_PYTHON, 4, 2 * JUMP),
    "simulator in Python": partial(simulate, Walkers(), 7, 0.1),
}
OTHERS = {
    "events of Ising": advance(Ising(2.3), 8, n_events=40),
    "jumps of an alloy": advance(ALLOY, 4, n_events=40),
    "upsampler": transform(
        8,
        partial(
            HierarchicalUpsampler, Ising(2.3), relax_duration=0.2, relax_passes="converged",
            n_pilot=20, random_state=0,
        ),
    ),
    "sampler": transform(
        16, partial(PartialEvolutionSampler, Ising(2.3), patch=8, n_joint=8, random_state=0)
    ),
    "sampler of images": transform(
        16, partial(PartialEvolutionSampler, Ising(2.3), patch=8, augment=True, random_state=0)
    ),
    "streamed pairs": transform(8, streamed),
}  # fmt: skip
WORKS = SIMULATIONS | OTHERS


def dying_on_the_way(work, folder):
    """Do work until the first trajectory has kept half of its way."""
    move, left = os.replace, [2]

    def replace(source, target):
        move(source, target)
        left[0] -= Path(target).name.startswith("row-")
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    return work(folder)


def forgetful(work, folder):
    """Do work that forgets the state of the random streams when it is taken up."""

    def take_up(self, arrays, state):
        for name, array in self.arrays().items():
            if name not in STREAMS:
                array[...] = arrays[name]

    Trajectory.take_up = take_up
    return work(folder)


def killed(name, work, folder):
    """Return results without and with interruptions, and with one badly taken up."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    plain = in_process(work, None)
    kept, n_files = json.loads(in_process(counted, work, folder / "kept"))
    moments = np.sort(rng.choice(n_files // 2, N_KILLS, replace=False)) + 1
    n_killed = 0
    for i, n in enumerate(np.diff(moments, prepend=0).tolist()):
        of_two = partial(work, n_jobs=1 + i % 2)
        said = in_process(dying, of_two, folder / "killed", n, bool(rng.integers(2)))
        n_killed += said is None
    found = {"plain": plain, "kept": kept, "killed": n_killed}
    found["resumed"] = in_process(work, folder / "killed")
    again, n_again = json.loads(in_process(counted, work, folder / "killed"))
    found |= {"again": again, "files": n_files, "files again": n_again}
    if name in SIMULATIONS:
        in_process(dying_on_the_way, work, folder / "forgetful")
        found["forgetful"] = in_process(forgetful, work, folder / "forgetful")
    return found


if __name__ == "__main__":
    os.fsync = lambda file: None  # processes are killed here, not machines
    _rows.INTERVAL, _rows.SHARE = 0.0, np.inf
    report(WORKS, killed, sys.argv[1])
