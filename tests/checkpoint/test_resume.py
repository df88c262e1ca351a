"""Interrupted simulations and samplings are resumed with the same bits, or refused by name.

Killed processes: test_killed.py.
"""

import os

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone

from sklmacro import (
    Convergence,
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    Patches,
)
from sklmacro.checkpoint import rows as _rows
from sklmacro.simulators import (
    Alloy,
    BarrierModel,
    CallableBarriers,
    CurieWeiss,
    Ising,
    LinearChain,
    pairwise_barriers,
)
from tests.killed_works import IN_PYTHON, JUMP, python_barriers
from tests.simulators.test_simulator import Walkers

SIMULATIONS = {  # all others are killed
    "packed, observed": (Ising(2.3), 6, 1.0, {"packed": True, "observe": True}),
    "barriers in Python": (IN_PYTHON, 4, 2 * JUMP, {}),
    "Walkers": (Walkers(), 7, 0.1, {}),
}


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Write whenever something is ready, and do not wait for the disk."""
    monkeypatch.setattr(_rows, "INTERVAL", 0.0)
    monkeypatch.setattr(_rows, "SHARE", np.inf)
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def interrupt(monkeypatch):
    """Do work that is interrupted when it has written a number of files."""

    def run(work, n_files):
        move, left = os.replace, [n_files]

        def replace(source, target):
            move(source, target)
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt) as interrupt:
            work()
        monkeypatch.setattr(os, "replace", move)
        return interrupt.value

    return run


@pytest.mark.parametrize("name", SIMULATIONS)
def test_interrupted_trajectories_resume(name, tmp_path, interrupt):
    simulator, cells, step, options = SIMULATIONS[name]
    n = 130 if "packed" in options else 5
    X, times = simulator.sample_initial(n, cells, random_state=0), step * np.array([0.5, 1, 2, 3])

    def run(n_jobs=1, folder=tmp_path):
        return simulator.simulate(
            X, times, random_state=1, n_jobs=n_jobs, checkpoint_dir=folder, **options
        )

    expected = run(folder=None)
    interrupt(run, 3)  # on the way of a trajectory
    assert list(tmp_path.glob("row-*"))
    interrupt(lambda: run(2), 2)
    np.testing.assert_array_equal(run(2), expected)
    assert not list(tmp_path.glob("row-*"))
    np.testing.assert_array_equal(run(), expected)


def test_without_a_seed_the_first_entropy_stays(tmp_path, interrupt):
    chain, X = LinearChain(), np.zeros((6, 5))

    def run():
        return chain.simulate(X, [1.0, 2.0], checkpoint_dir=tmp_path)

    interrupt(run, 5)
    once, again = run(), run()
    np.testing.assert_array_equal(once, again)
    assert len(np.unique(once[:, 1, 0])) == 6


def test_threads_begin_and_processes_end(tmp_path, interrupt):
    chain = LinearChain()
    X = chain.sample_initial(6, 5, random_state=0)

    def run(folder=tmp_path):
        return chain.simulate(X, [0.5, 1.0, 2.0], random_state=1, n_jobs=2, checkpoint_dir=folder)

    interrupt(run, 5)
    with parallel_config("loky"):
        found = run()
    np.testing.assert_array_equal(found, run(None))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"simulator": Ising(2.4)}, "simulator.temperature=2.3, not 2.4"),
        ({"simulator": CurieWeiss()}, "work='simulate Ising', not 'simulate CurieWeiss'"),
        ({"X": np.ones((2, 4, 4))}, "X="),
        ({"times": [0.5, 2.0]}, "times="),
        ({"observe": True}, "observe=False, not True"),
        ({"packed": True}, "packed=False, not True"),
        ({"random_state": 1}, "entropy='0', not '1'"),
    ],
)
def test_other_simulations_are_refused_and_named(tmp_path, changes, named):
    X = Ising().sample_initial(2, 4, random_state=0)
    call = {"X": X, "times": [0.5, 1.0], "random_state": 0, "checkpoint_dir": tmp_path}
    Ising(2.3).simulate(**call)
    simulator = changes.pop("simulator", Ising(2.3))
    with pytest.raises(ValueError, match="Expected a checkpoint of the same work") as error:
        simulator.simulate(**call | changes)
    assert named in str(error.value)


def test_other_evolutions_are_refused_and_named(tmp_path):
    X = Ising().sample_initial(2, 4, random_state=0)
    Ising().advance(X, n_events=3, random_state=0, checkpoint_dir=tmp_path)
    window = ((0, 0), (2, 2))
    with pytest.raises(ValueError, match=r"n_events=3, not 4; window=\[.*\], not \[\[0, 0\]"):
        Ising().advance(X, n_events=4, window=window, random_state=0, checkpoint_dir=tmp_path)


class Own(BarrierModel):
    """Barriers of all jumps alike, which keep one of their arguments."""

    def __init__(self, height, depth=0.0):
        super().__init__("bcc", 1.0, 2)
        self.height = height

    def evaluate(self, environments, basis):
        return np.full((len(environments), 8), self.height)


def test_barriers_are_told_apart(tmp_path):
    ordering = {"kind": "bcc", "saddle": 0.8}
    weak, strong = (
        pairwise_barriers(energies=[[0, 0, 0], [0, v, 0], [0, 0, v]], **ordering)
        for v in (0.05, 0.1)
    )
    binary = {"species": ("A", "B"), "vacancy_fraction": 0.02}
    X = Alloy(900.0, weak, **binary).sample_initial(1, 3, random_state=0)

    def run(barriers, folder):
        model = Alloy(900.0, barriers, **binary)
        model.advance(X, n_events=3, random_state=0, checkpoint_dir=folder)

    run(weak, tmp_path / "pairs")
    run(weak, tmp_path / "pairs")
    with pytest.raises(ValueError, match=r"simulator\.barriers\.points="):
        run(strong, tmp_path / "pairs")
    named = CallableBarriers(python_barriers, n_species=2)
    run(named, tmp_path / "named")
    with pytest.raises(ValueError, match=r"barriers\.class='CallableBarriers', not 'ClusterBarr"):
        run(weak, tmp_path / "named")
    with pytest.raises(ValueError, match="a function; leave checkpoint_dir at None"):
        run(CallableBarriers(lambda e, b: python_barriers(e, b), n_species=2), tmp_path / "x")
    with pytest.raises(ValueError, match=r"Expected Own to keep the arguments .* got no depth"):
        run(Own(1.0), tmp_path / "x")
    assert not (tmp_path / "x").exists()


# --- samplers ------------------------------------------------------------------------------------

SMALL = Ising().sample_initial(24, 8, random_state=0)
RELAXATION = LocalRelax(duration=0.2, n_passes=Convergence(n_pilot=20))
UPSAMPLER = {"relaxation": RELAXATION, "random_state": 0}
SAMPLER = {"patch": Patches(4, n_joint=8), "random_state": 0}
KEPT = {"relaxation": clone(RELAXATION).set_params(n_kept=3), "random_state": 0}


@pytest.mark.parametrize(
    ("estimator", "options"),
    [
        (HierarchicalUpsampler, UPSAMPLER),
        (HierarchicalUpsampler, KEPT),
        (PartialEvolutionSampler, SAMPLER),
    ],
    ids=["upsampler", "states kept", "sampler"],
)
def test_interrupted_samplers_resume(estimator, options, tmp_path, interrupt):
    def run(folder=tmp_path, n_jobs=1):
        one = estimator(Ising(), **options, checkpoint_dir=folder, n_jobs=n_jobs)
        return one.fit_transform(SMALL)

    expected = run(None)
    interrupt(run, 5)  # in fit
    interrupt(run, 7)  # in transform, or nearly
    assert run(n_jobs=2).tobytes() == expected.tobytes()
    assert {path.name for path in tmp_path.iterdir()} == {"fit", "transform"}


def test_samplers_refuse_other_settings_by_name(tmp_path):
    def run(X=SMALL, groups=None, **changes):
        one = PartialEvolutionSampler(Ising(), **SAMPLER | changes, checkpoint_dir=tmp_path)
        return one.fit(X).transform(X, groups)

    run()
    run(n_jobs=2, verbose=False)
    with pytest.raises(ValueError, match=r"fit'.*patch.cells=4, not 2"):
        run(patch=Patches(2, n_joint=8))
    with pytest.raises(ValueError, match=r"fit'.*X="):
        run(SMALL[:20])
    with pytest.raises(ValueError, match=r"transform'.*groups="):
        run(groups=np.zeros(24, int))
    with pytest.raises(ValueError, match=r"'fit PartialEvolutionSampler', not 'fit Hierarchical"):
        HierarchicalUpsampler(Ising(), **UPSAMPLER, checkpoint_dir=tmp_path).fit(SMALL)


def test_a_wrong_call_makes_no_folder(tmp_path):
    folder = tmp_path / "new"
    with pytest.raises(ValueError, match="Expected n_joint of 0"):
        PartialEvolutionSampler(Ising(), patch=Patches(n_joint=2), checkpoint_dir=folder).fit(SMALL)
    with pytest.raises(ValueError, match="Expected times"):
        Ising().simulate(SMALL, [1.0, 0.5], checkpoint_dir=folder)
    assert not folder.exists()
