"""A snapshot whose vacancies are set up once, and jump from time to time."""

from collections.abc import Callable

import numpy as np

from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators.machine.random_words import random_words
from sklmacro.simulators.protocol import Duration, SimulatorProtocol
from sklmacro.simulators.trajectories import Trajectory
from sklmacro.simulators.vacancies.walk import VacancyWalk


class VacancyTrajectory(Trajectory):
    """A snapshot of an alloy on its way.

    Parameters
    ----------
    simulator : Alloy
    x : ndarray of int8, shape site_shape, contiguous
        Snapshot, which changes in place.
    lattice : Lattice
    rng : numpy.random.Generator
    walk : VacancyWalk
        The vacancies of x.
    order : callable
        Turns changes of the numbers of pairs into those of the observables' sums (n_observables,).
    """

    def __init__(
        self,
        simulator: SimulatorProtocol,
        x: np.ndarray,
        lattice: Lattice,
        rng: np.random.Generator,
        walk: VacancyWalk,
        order: Callable[[np.ndarray], np.ndarray],
    ):
        super().__init__(simulator, x, lattice, rng)
        self._walk, self._order, self._rng_state = walk, order, random_words(rng)
        self._first = simulator.site_means(x, lattice)

    def advance(self, duration: float) -> None:
        """Let the vacancies jump."""
        self._walk.run(Duration(duration), self._rng_state)

    def record(self, observe: bool) -> np.ndarray:
        """Return the snapshot, or its observables, which follow from the jumps."""
        if not observe:
            return self.x
        return self._first + self._order(self._walk.pairs) / self.lattice.n_sites

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the snapshot, the vacancies, and the state of their random stream."""
        return {"x": self.x, "rng_state": self._rng_state, **self._walk.arrays()}
