"""What surrounds an evolved patch: ghost cells, a buffer, or itself.

- "ghost": the cells outside the patch are frozen while it evolves (Sec. II.1).
- "buffer": a rim of `buffer` cells evolves with the patch, the cells beyond it are frozen.
- "periodic": the patch is closed on itself. Wrong, and offered for comparison only: on the
  critical Ising lattice the mean increment of a 16x16 patch is then off by twice its own size.
"""

from dataclasses import dataclass

import numpy as np

from sklmacro._base.checks import check_choice, check_integer
from sklmacro._base.streams import Streams
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window, grown, whole
from sklmacro.simulators import Simulator

KINDS = ("ghost", "buffer", "periodic")


@dataclass(frozen=True)
class Surroundings:
    """Boundary condition of evolved patches.

    Parameters
    ----------
    kind : {"ghost", "buffer", "periodic"}
    buffer : int
        Width of the rim in cells; positive for "buffer", 0 otherwise.

    Raises
    ------
    ValueError
        If the kind is unknown or the buffer does not go with it.
    """

    kind: str
    buffer: int = 0

    def __post_init__(self) -> None:
        check_choice(self.kind, "boundary", KINDS)
        check_integer(self.buffer, "buffer", low=0)
        if (self.kind == "buffer") != (self.buffer > 0):
            raise ValueError(
                "Expected a positive buffer with boundary='buffer' and buffer=0 otherwise, but got "
                f"boundary={self.kind!r} with buffer={self.buffer}; set both."
            )

    def check(self, simulator: Simulator, lattice: Lattice, extent: tuple[int, ...]) -> None:
        """Raise ValueError if patches of `extent` cells cannot be evolved this way."""
        if self.kind != "periodic":
            return
        if lattice.boundary == "open":
            raise ValueError(
                "Expected a periodic lattice for boundary='periodic', but got the open one of "
                f"{type(simulator).__name__}, on which no patch closes on itself; use 'ghost' or "
                "'buffer'."
            )
        simulator.lattice(Lattice(lattice.kind, extent, "periodic").site_shape)

    def evolve(
        self,
        simulator: Simulator,
        x: np.ndarray,
        lattice: Lattice,
        window: Window,
        duration: float | None,
        n_events: int | None,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Evolve one patch of a snapshot `x`, which comes back as it was.

        Returns
        -------
        patch : ndarray
            The evolved patch.
        elapsed : float
            Time that passed.
        d_obs : ndarray of shape (n_observables,)
            Increment of the patch's observables. Under "buffer" the patch is seen among its
            evolved neighbours, and for a wide buffer the increments of all patches add up to that
            of the lattice (Eq. 15). Under "ghost" the neighbours stand still, and the sum runs over
            all terms that the patch takes part in: Eq. 15 holds to first order in the elapsed time.
        """
        n_sites = int(np.prod(window[1])) * lattice.n_basis
        box = lattice.mesh(*window)
        if self.kind == "periodic":
            patch = x[box]  # a copy, since the index is a mesh of arrays
            alone = Lattice(lattice.kind, window[1], "periodic")
            before = simulator._site_sums(patch, alone, whole(alone))
            elapsed = simulator._advance_window(patch, alone, whole(alone), duration, n_events, rng)
            after = simulator._site_sums(patch, alone, whole(alone))
            return patch, elapsed, (after - before) / n_sites
        region = grown(lattice, window, self.buffer) if self.buffer else window
        saved = x[lattice.mesh(*region)]
        if self.buffer:
            before = simulator._site_sums(x, lattice, window)
            elapsed = simulator._advance_window(x, lattice, region, duration, n_events, rng)
            change = simulator._site_sums(x, lattice, window) - before
        else:
            elapsed, change = simulator._advance_observed(
                x, lattice, window, duration, n_events, rng
            )
        patch = x[box]
        x[lattice.mesh(*region)] = saved
        return patch, elapsed, change / n_sites

    def follow(
        self,
        simulator: Simulator,
        x: np.ndarray,
        lattice: Lattice,
        window: Window,
        steps: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Evolve one patch of a snapshot `x` through durations `steps`; x is changed.

        Returns
        -------
        d_obs : ndarray of shape (n_steps, n_observables)
            Increments of the patch's observables since the start, as those of `evolve`.
        """
        n_sites = int(np.prod(window[1])) * lattice.n_basis
        if self.kind == "periodic":
            x, lattice = x[lattice.mesh(*window)], Lattice(lattice.kind, window[1], "periodic")
            window = whole(lattice)
        changes = np.zeros((len(steps), simulator.n_observables))
        region = grown(lattice, window, self.buffer) if self.buffer else window
        before = simulator._site_sums(x, lattice, window)
        for row, step in zip(changes, steps, strict=True):
            if self.kind == "ghost":
                row[:] = simulator._advance_observed(x, lattice, window, step, None, rng)[1]
            else:
                simulator._advance_window(x, lattice, region, step, None, rng)
                after = simulator._site_sums(x, lattice, window)
                row[:], before = after - before, after
        return changes.cumsum(axis=0) / n_sites

    def evolve_apart(
        self,
        simulator: Simulator,
        X: np.ndarray,
        lattice: Lattice,
        origins: np.ndarray,
        extent: tuple[int, ...],
        duration: float | None,
        n_events: int | None,
        streams: Streams,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evolve p patches of each snapshot of X, each by itself; X is not changed.

        Parameters
        ----------
        origins : ndarray of shape (n_samples, p, ndim)
        streams : Streams
            Those of the samples.

        Returns
        -------
        patches : ndarray of shape (n_samples, p, *patch shape)
        elapsed : ndarray of shape (n_samples, p)
        d_obs : ndarray of shape (n_samples, p, n_observables)
            As those of `evolve`.
        """
        if self.kind == "ghost":
            n_sites = int(np.prod(extent)) * lattice.n_basis
            patches, elapsed, changes = simulator._advance_apart(
                X, lattice, origins, extent, duration, n_events, streams
            )
            return patches, elapsed, changes / n_sites
        found = [
            [
                self.evolve(simulator, x, lattice, (tuple(o), extent), duration, n_events, rng)
                for o in places.tolist()
            ]
            for x, places, rng in zip(X.copy(), origins, streams, strict=True)
        ]
        patches, times, d_obs = (
            np.array([[one[part] for one in row] for row in found]) for part in range(3)
        )
        return patches, times, d_obs

    def relax(
        self,
        simulator: Simulator,
        x: np.ndarray,
        lattice: Lattice,
        origins: np.ndarray,
        extent: tuple[int, ...],
        duration: float | None,
        n_events: int | None,
        rng: np.random.Generator,
    ) -> None:
        """Evolve patches of a snapshot `x` one after the other, in place (LocalRelax)."""
        if self.kind == "ghost":
            simulator._advance_windows(x, lattice, origins, extent, duration, n_events, rng)
            return
        for origin in origins:
            window = (tuple(int(o) for o in origin), extent)
            patch, _, _ = self.evolve(simulator, x, lattice, window, duration, n_events, rng)
            x[lattice.mesh(*window)] = patch
