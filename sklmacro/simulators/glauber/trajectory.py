"""Trajectories of an Ising model by 64, in the bits of words; see `_glauber_replicas`."""

import numpy as np

from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators.glauber.replicas import count, evolve_replicas, pack, unpack
from sklmacro.simulators.machine.random_words import random_words
from sklmacro.simulators.machine.word_blocks import block_lanes
from sklmacro.simulators.simulator import Simulator
from sklmacro.simulators.trajectories import Trajectory


class Replicas(Trajectory):
    """Snapshots on a periodic square lattice, on their way together.

    Parameters
    ----------
    simulator : Ising
    X : ndarray of shape (n_replicas, n0, n1)
        Snapshots at the start; not changed.
    lattice : Lattice
    rng : numpy.random.Generator
    up : ndarray of shape (9,)
        Words of the probability of an up spin, as in `_glauber_square`.
    """

    def __init__(
        self,
        simulator: Simulator,
        X: np.ndarray,
        lattice: Lattice,
        rng: np.random.Generator,
        up: np.ndarray,
    ):
        super().__init__(simulator, X, lattice, rng)
        self._lanes, self._side, self._up = block_lanes(rng), random_words(rng), up
        self._spins = pack(np.ascontiguousarray(X).reshape(len(X), -1))

    def advance(self, duration: float) -> None:
        """Evolve all replicas."""
        n_attempts = self.rng.poisson(duration * self.lattice.n_sites)
        evolve_replicas(
            self._spins, *self.lattice.cells, self._up, n_attempts, self._lanes, self._side
        )

    def record(self, observe: bool) -> np.ndarray:
        """Return the snapshots, or their observables (n_replicas, 2)."""
        n, n_sites = len(self.x), self.lattice.n_sites
        if observe:
            ups, unequal = count(self._spins, *self.lattice.cells)
            return np.column_stack([2.0 * ups - n_sites, unequal / 2.0])[:n] / n_sites
        X = np.empty((n, n_sites), np.int8)
        unpack(self._spins, X)
        return X.reshape(self.x.shape)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the spins and the states of the random streams."""
        return {"spins": self._spins, "lanes": self._lanes, "side": self._side}
