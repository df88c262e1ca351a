"""Patches of snapshots, evolved among what surrounds them: what stages 1 and 2 have in common.

Shape vocabulary, p patches of each of n snapshots::

    x, X        (*snapshot shape,), (n, *snapshot shape)
    origins     (n, p, ndim)                   first cells of the patches
    d_obs       (n, p, n_observables)          increments of the patches' observables

The increment of a patch is seen among its neighbours as they are. With a wide buffer the increments
of all patches add up to that of the lattice (Eq. 15). Among ghost cells the neighbours stand still,
and the sum runs over all terms that the patch takes part in: Eq. 15 holds to first order in time.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklmacro._base.streams import Streams
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.sampling.boundary import Boundary, Buffer, Ghost, Periodic
from sklmacro.simulators import Simulator
from sklmacro.simulators.protocol import Duration, Evolution, Evolutions, Span


@dataclass(frozen=True)
class PatchEvolver:
    """Evolution of patches.

    Parameters
    ----------
    simulator : Simulator
    lattice : Lattice
        That of the snapshots.
    extent : tuple of int, (ndim,)
        Cells of a patch.
    boundary : Ghost, Buffer or Periodic
        What surrounds a patch while it evolves.
    span : Duration or EventCount
        For how long a patch evolves.

    Raises
    ------
    ValueError
        If a patch closed on itself has no lattice of its own.
    """

    simulator: Simulator
    lattice: Lattice
    extent: tuple[int, ...]
    boundary: Boundary
    span: Span

    def __post_init__(self) -> None:
        if not isinstance(self.boundary, Periodic):
            return
        if self.lattice.boundary == "open":
            raise ValueError(
                "Expected a periodic lattice for boundary='periodic', but got the open one of "
                f"{type(self.simulator).__name__}, on which no patch closes on itself; use 'ghost' "
                "or a buffer."
            )
        self.simulator.lattice(self._alone.site_shape)

    @cached_property
    def sites_per_patch(self) -> int:
        """Number n_s of sites in a patch."""
        return math.prod(self.extent) * self.lattice.n_basis

    @property
    def _alone(self) -> Lattice:
        """The lattice of a patch that is closed on itself."""
        return Lattice(self.lattice.kind, self.extent, "periodic")

    def evolve(
        self, x: np.ndarray, window: Window, rng: np.random.Generator
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Evolve one patch of a snapshot `x`, which comes back as it was.

        Returns
        -------
        patch : ndarray of the patch's shape
        elapsed : float
        d_obs : ndarray of shape (n_observables,)
        """
        simulator, lattice, box = self.simulator, self.lattice, self.lattice.mesh(*window)
        if isinstance(self.boundary, Periodic):
            patch, alone = x[box], self._alone  # a copy, since the index is a mesh of arrays
            before = simulator.site_sums(patch, alone, alone.full_window)
            evolution = Evolution(alone.full_window, self.span, rng)
            elapsed = simulator.advance_window(patch, alone, evolution)
            change = simulator.site_sums(patch, alone, alone.full_window) - before
            return patch, elapsed, change / self.sites_per_patch
        region = self._region(lattice, window)
        cells = lattice.mesh(*region)
        saved, evolution = x[cells], Evolution(region, self.span, rng)
        if isinstance(self.boundary, Ghost):
            elapsed, change = simulator.advance_observed(x, lattice, evolution)
        else:
            before = simulator.site_sums(x, lattice, window)
            elapsed = simulator.advance_window(x, lattice, evolution)
            change = simulator.site_sums(x, lattice, window) - before
        patch = x[box]
        x[cells] = saved
        return patch, elapsed, change / self.sites_per_patch

    def apart(
        self, X: np.ndarray, origins: np.ndarray, streams: Streams
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evolve p patches of each snapshot, each by itself; X is not changed (Eq. 3).

        Returns
        -------
        patches : ndarray of shape (n, p, *patch shape)
        elapsed : ndarray of shape (n, p)
        d_obs : ndarray of shape (n, p, n_observables)
        """
        if isinstance(self.boundary, Ghost):
            evolutions = Evolutions(origins, self.extent, self.span, streams)
            patches, elapsed, changes = self.simulator.advance_apart(X, self.lattice, evolutions)
            return patches, elapsed, changes / self.sites_per_patch
        evolved = [
            [self.evolve(x, Window(tuple(origin), self.extent), rng) for origin in own]
            for x, own, rng in zip(X.copy(), origins.tolist(), streams, strict=True)
        ]
        patches, elapsed, d_obs = (
            np.array([[one[part] for one in row] for row in evolved]) for part in range(3)
        )
        return patches, elapsed, d_obs

    def relax(
        self, x: np.ndarray, stride: tuple[int, ...], n_passes: int, rng: np.random.Generator
    ) -> None:
        """Evolve overlapping patches of a snapshot in place, pass by pass (LocalRelax)."""
        self.visit(x, overlapping_origins(self.lattice, self.extent, stride, n_passes, rng), rng)

    def visit(self, x: np.ndarray, origins: np.ndarray, rng: np.random.Generator) -> None:
        """Evolve patches (p, ndim) of a snapshot in place, one after the other."""
        if isinstance(self.boundary, Ghost):
            evolutions = Evolutions(origins, self.extent, self.span, rng)
            self.simulator.advance_windows(x, self.lattice, evolutions)
            return
        for origin in origins.tolist():
            window = Window(tuple(origin), self.extent)
            x[self.lattice.mesh(*window)] = self.evolve(x, window, rng)[0]

    def follow(
        self, x: np.ndarray, window: Window, steps: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Evolve one patch through durations `steps`; x is changed.

        Returns
        -------
        d_obs : ndarray of shape (n_steps, n_observables)
            Increments of the patch's observables since the start.
        """
        simulator, lattice = self.simulator, self.lattice
        if isinstance(self.boundary, Periodic):
            x, lattice = x[lattice.mesh(*window)], self._alone
            window = lattice.full_window
        changes = np.zeros((len(steps), simulator.n_observables))
        region = self._region(lattice, window)
        before = simulator.site_sums(x, lattice, window)
        for row, step in zip(changes, steps.tolist(), strict=True):
            evolution = Evolution(region, Duration(step), rng)
            if isinstance(self.boundary, Ghost):
                row[:] = simulator.advance_observed(x, lattice, evolution)[1]
            else:
                simulator.advance_window(x, lattice, evolution)
                after = simulator.site_sums(x, lattice, window)
                row[:], before = after - before, after
        return changes.cumsum(axis=0) / self.sites_per_patch

    def moments(self, X: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the moments per time of the mean over p patches of the increment, as dt -> 0.

        Patches change independently as dt -> 0, so that the covariances of p of them add up, and
        that of their mean is the mean of the covariances over p.

        Returns
        -------
        mean : ndarray of shape (n, n_observables)
        cov : ndarray of shape (n, n_observables, n_observables)
        """
        b, A = self.simulator.moments_apart(X, self.lattice, origins, self.extent)
        n_s, p = self.sites_per_patch, origins.shape[1]
        return b.mean(axis=1) / n_s, A.mean(axis=1) / (p * n_s**2)

    def _region(self, lattice: Lattice, window: Window) -> Window:
        """Return the cells that evolve: those of a patch, and of its buffer."""
        if isinstance(self.boundary, Buffer):
            return lattice.grow(*window, self.boundary.width)
        return window


@dataclass(frozen=True)
class Visits:
    """The visits of LocalRelax to the patches of one lattice.

    Attributes
    ----------
    evolver : PatchEvolver
        Of one patch, for the longest visit.
    stride : tuple of int, (ndim,)
        Cells between neighbouring patches.
    shortest : float
        Duration of the shortest visit.
    """

    evolver: PatchEvolver
    stride: tuple[int, ...]
    shortest: float

    @property
    def length(self) -> float:
        """Duration of the longest visit, or its number of events; 0 where nothing relaxes."""
        span = self.evolver.span
        return span.number if span.time is None else span.time

    @property
    def vary(self) -> bool:
        """Whether the duration of the visits is drawn for each snapshot."""
        time = self.evolver.span.time
        return time is not None and self.shortest < time

    def relax(self, x: np.ndarray, n_passes: int, share: float, rng: np.random.Generator) -> None:
        """Relax a large snapshot in place; `share` says where in a range its duration lies."""
        if not self.length:
            return
        evolver = self.evolver
        if self.vary:
            time = self.shortest * (self.length / self.shortest) ** share
            evolver = replace(evolver, span=Duration(time))
        evolver.relax(x, self.stride, n_passes, rng)


def overlapping_origins(
    lattice: Lattice,
    extent: tuple[int, ...],
    stride: tuple[int, ...],
    n_passes: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the origins (n_passes * n_patches, ndim) of patches that overlap, pass by pass.

    Those of each pass cover the lattice. On a periodic lattice the grid of patches is shifted at
    random, so that no site stands at an edge in every snapshot; on an open one the last patch ends
    with the lattice.
    """
    axes, ndim = [], len(extent)
    for cells, width, step in zip(lattice.cells, extent, stride, strict=True):
        if width == cells:
            starts = np.zeros((n_passes, 1), np.int64)
        elif lattice.boundary == "periodic":
            shifts = rng.integers(step, size=(n_passes, 1))
            starts = (shifts + np.arange(0, cells, step)) % cells
        else:
            starts = np.tile([*range(0, cells - width, step), cells - width], (n_passes, 1))
        axes.append(starts)
    grid = tuple(starts.shape[1] for starts in axes)
    origins = np.empty((n_passes, *grid, ndim), np.int64)
    for axis, starts in enumerate(axes):
        along = [1] * ndim
        along[axis] = -1
        origins[..., axis] = starts.reshape(n_passes, *along)
    return origins.reshape(-1, ndim)
