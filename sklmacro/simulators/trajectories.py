"""Trajectories: snapshots on their way through time, which can be interrupted and resumed.

All that the future of a trajectory depends on is its state: the snapshot, the random generator, and
what a simulator keeps between two times. With the state and the records so far in a checkpoint, a
trajectory that is resumed ends with the bits that it would have had without an interruption.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from sklmacro._base.streams import Stage, stream
from sklmacro._base.workers import numbered_rows
from sklmacro.checkpoint.checkpoint import Checkpoint, checkpoint_of, resumable
from sklmacro.checkpoint.rows import Pace, fill_rows
from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators.protocol import Duration, Evolution, SimulatorProtocol


class Trajectory:
    """One snapshot on its way, with no memory but the snapshot and the generator.

    Parameters
    ----------
    simulator : Simulator
    x : ndarray
        Snapshot, which changes in place.
    lattice : Lattice
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        simulator: SimulatorProtocol,
        x: np.ndarray,
        lattice: Lattice,
        rng: np.random.Generator,
    ):
        self.simulator, self.x, self.lattice, self.rng = simulator, x, lattice, rng

    def advance(self, duration: float) -> None:
        """Evolve the snapshot."""
        evolution = Evolution(self.lattice.full_window, Duration(duration), self.rng)
        self.simulator.advance_window(self.x, self.lattice, evolution)

    def record(self, observe: bool) -> np.ndarray:
        """Return the snapshot, or its observables (n_observables,)."""
        return self.simulator.site_means(self.x, self.lattice) if observe else self.x

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of the state, not copied: `resume` writes to them."""
        return {"x": self.x}

    def state(self) -> tuple[dict[str, np.ndarray], Any]:
        """Return all that the future depends on: arrays, and a JSON object."""
        return self.arrays(), self.rng.bit_generator.state

    def resume(self, arrays: dict[str, np.ndarray], state: Any) -> None:
        """Continue from a state that a trajectory from the same start was in."""
        for name, array in self.arrays().items():
            array[...] = arrays[name]
        self.rng.bit_generator.state = state


def follow(
    trajectory: Trajectory,
    steps: np.ndarray,
    observe: bool,
    records: np.ndarray,
    checkpoint: Checkpoint | None,
    part: str,
) -> None:
    """Take a trajectory through time steps (n_times,) and fill its records (n_times, ...)."""
    first, pace = 0, Pace(checkpoint)
    saved = None if checkpoint is None else checkpoint.part(part)
    if saved is not None:
        arrays, (first, state) = saved
        records[:first] = arrays.pop("records")
        trajectory.resume(arrays, state)
    for j in range(first, len(steps)):
        if steps[j] > 0:
            trajectory.advance(float(steps[j]))
        records[j] = trajectory.record(observe)
        if pace.due():
            arrays, state = trajectory.state()
            pace.keep(part, {"records": records[: j + 1], **arrays}, [j + 1, state])


def simulate_rows(
    simulator: SimulatorProtocol,
    begin: Callable[[np.ndarray, np.random.Generator], Trajectory],
    X: np.ndarray,
    times: np.ndarray,
    *,
    observe: bool,
    together: int = 1,
    random_state: Any,
    checkpoint_dir: str | os.PathLike[str] | None,
    **options: Any,
) -> np.ndarray:
    """Return paths (n_samples, n_times, ...) of trajectories that start at X.

    `begin` makes one trajectory of `together` rows of X, with a random generator of its own. The
    other parameters are those of `Simulator.simulate`.
    """
    steps = np.diff(times, prepend=0.0)
    shape = (len(simulator.observable_names),) if observe else X.shape[1:]
    dtype = np.float64 if observe else simulator.state_dtype
    settings = {
        "simulator": simulator, "X": X, "times": times, "observe": observe, "packed": together > 1,
    }  # fmt: skip
    name = f"simulate {type(simulator).__name__}"
    with resumable(checkpoint_dir):
        checkpoint, entropy = checkpoint_of(checkpoint_dir, name, settings, random_state)

        def work(starts: np.ndarray, first: int) -> dict[str, np.ndarray]:
            batch = np.empty((len(starts), len(steps), *shape), dtype)
            for i in range(0, len(starts), together):
                own, k = slice(i, i + together), first + i
                trajectory = begin(starts[own], stream(entropy, Stage.ADVANCE, k // together))
                records = batch[own].swapaxes(0, 1)
                follow(trajectory, steps, observe, records, checkpoint, f"row-{k}")
            return {"paths": batch}

        rows = fill_rows(
            work, numbered_rows(X), len(X), checkpoint, together=together, desc=name, **options
        )
    return rows["paths"]
