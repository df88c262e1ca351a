"""A snapshot whose vacancies are set up once, and jump from time to time."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sklmacro.simulators.machine.random_words import random_words
from sklmacro.simulators.protocol import Duration
from sklmacro.simulators.trajectories import Trajectory
from sklmacro.simulators.vacancies.walk import VacancyWalk


class VacancyTrajectory(Trajectory):
    """A snapshot of an alloy on its way.

    Parameters
    ----------
    walk : VacancyWalk
        The vacancies of x.
    order : callable
        Turns changes of the numbers of pairs into those of the observables' sums (n_observables,).
    *start
        Parameters of `Trajectory`; x is int8 and contiguous.
    """

    def __init__(self, walk: VacancyWalk, order: Callable[[np.ndarray], np.ndarray], *start: Any):
        super().__init__(*start)
        self._walk, self._order, self._rng_state = walk, order, random_words(self.rng)
        self._first = self.simulator.site_means(self.x, self.lattice)

    def advance(self, duration: float) -> None:
        self._walk.run(Duration(duration), self._rng_state)

    def record(self, observe: bool) -> np.ndarray:
        """Return the snapshot, or its observables, which follow from the jumps."""
        if not observe:
            return self.x
        return self._first + self._order(self._walk.pairs) / self.lattice.n_sites

    def arrays(self) -> dict[str, np.ndarray]:
        return {"x": self.x, "rng_state": self._rng_state, **self._walk.arrays()}
