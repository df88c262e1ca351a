"""Trajectories: snapshots on their way through time, which can be interrupted and resumed.

All that the future of a trajectory depends on is its state: the snapshot, the random generator, and
what a simulator keeps between two times. With the state and the records so far in a checkpoint, a
trajectory that is resumed ends with the bits that it would have had without an interruption.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklmacro._base.kernels import look_around
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.checkpoint.rows import Saver
from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators.protocol import Duration, Evolution, SimulatorProtocol


@dataclass(eq=False)
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

    simulator: SimulatorProtocol
    x: np.ndarray
    lattice: Lattice
    rng: np.random.Generator

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
        """Return all that the future depends on: arrays, and the state of the generator."""
        return self.arrays(), self.rng.bit_generator.state

    def resume(self, arrays: dict[str, np.ndarray], state: Any) -> None:
        """Continue from a state that a trajectory from the same start was in."""
        for name, array in self.arrays().items():
            array[...] = _like(array, arrays[name])
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
    saver = None if checkpoint is None else Saver(checkpoint)

    def take(value: Any) -> int:
        """Continue from a saved state, and return the number of records that it has."""
        arrays, (n_records, state) = value
        if len(arrays["records"]) != n_records:
            raise ValueError(f"Expected {n_records} records, but got {len(arrays['records'])}.")
        records[:n_records] = _like(records[:n_records], arrays.pop("records"))
        trajectory.resume(arrays, state)
        return n_records

    first = 0 if checkpoint is None else checkpoint.load(part, take) or 0
    for j in range(first, len(steps)):
        if steps[j] > 0:
            trajectory.advance(float(steps[j]))
        look_around()
        records[j] = trajectory.record(observe)
        if saver is not None and saver.is_due():
            arrays, state = trajectory.state()
            saver.save(part, ({"records": records[: j + 1], **arrays}, (j + 1, state)))


def _like(array: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return a value that takes the place of an array, which is of its type and shape."""
    if value.dtype != array.dtype or value.shape != array.shape:
        raise ValueError(
            f"Expected {array.dtype} of shape {array.shape}, but got {value.dtype} of shape "
            f"{value.shape}."
        )
    return value
