"""Patches of large snapshots: which of them evolve, and how, in stages 1 and 2.

Shape vocabulary, p patches each of n snapshots::

    x, X        (*snapshot shape,), (n, *snapshot shape)
    origins     (n, p, ndim)                   first cells of the patches
    d_obs       (n, p, n_observables)          increments of the patches' observables

The increment of a patch is seen among its neighbours as they are. With a wide buffer the increments
of all patches add up to that of the lattice (Eq. 15). Among ghost cells the neighbours stand still,
and the sum runs over all terms that the patch takes part in: Eq. 15 holds to first order in time.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sklearn.base import BaseEstimator

from sklmacro._base.checks import check_cells, check_choice, check_integer
from sklmacro._base.streams import Stage, Streams, choose
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid
from sklmacro.lattice.windows import Window
from sklmacro.sampling.boundary import Boundary, Buffer, Ghost, Periodic
from sklmacro.sampling.relaxed import spread_ages
from sklmacro.simulators import Simulator
from sklmacro.simulators.protocol import Duration, Evolution, Evolutions, Span

ROUNDING = 1e-9  # of a pass
# A snapshot, its lattice, the window of the patch, and the window that evolves.
Place = tuple[np.ndarray, Lattice, Window, Window]


class Patches(BaseEstimator):
    """Which patches of a large snapshot evolve.

    Parameters
    ----------
    cells : int or sequence of int, default=None
        Cells of a patch; None takes the whole lattice.
    n_evolved : int, default=1
        Different patches p evolved of each snapshot, at most K; increments are averaged over them.
    origins : {"grid", "random"}, default="grid"
        Patches of the grid, or patches at random places of a periodic lattice.
    n_joint : int, default=0
        Snapshots of which the whole lattice is also evolved, 4 times each, to estimate the factor
        lam on the covariance; 0 estimates none. Its standard error is at best lam/sqrt(n_joint).

    Examples
    --------
    >>> from sklmacro import PartialEvolutionSampler, Patches
    >>> PartialEvolutionSampler(patch=Patches(16, n_evolved=4))
    PartialEvolutionSampler(patch=Patches(cells=16, n_evolved=4))
    """

    def __init__(
        self,
        cells: int | Sequence[int] | None = None,
        *,
        n_evolved: int = 1,
        origins: str = "grid",
        n_joint: int = 0,
    ):
        self.cells = cells
        self.n_evolved = n_evolved
        self.origins = origins
        self.n_joint = n_joint

    def grid(self, lattice: Lattice) -> PatchGrid:
        """Return the patches that tile a lattice.

        Raises
        ------
        ValueError
            If they do not, or a parameter does not fit.
        """
        cells = lattice.cells if self.cells is None else self.cells
        grid = PatchGrid(lattice, check_cells(cells, "patch", lattice.ndim))
        p = check_integer(self.n_evolved, "n_evolved", low=1)
        if p > grid.n_patches:
            raise ValueError(
                f"Expected n_evolved of at most K={grid.n_patches}, the number of patches, but got "
                f"{p}; evolve fewer patches, or use smaller ones."
            )
        check_choice(self.origins, "origins", ("grid", "random"))
        check_integer(self.n_joint, "n_joint", low=0)
        if self.origins == "random" and lattice.boundary == "open":
            raise ValueError(
                "Expected a periodic lattice for origins='random', but got an open one; sites near "
                "its edges would be evolved too rarely, so use origins='grid'."
            )
        return grid

    def draw(self, grid: PatchGrid, entropy: int, rows: np.ndarray) -> tuple[np.ndarray, Streams]:
        """Draw origins (n, p, ndim) of different patches of rows (n,), and their streams."""
        streams = Streams(entropy, Stage.EVOLVE, rows)
        origins = grid.origins[choose(len(grid.origins), self.n_evolved, streams.keys[:, 0])]
        if self.origins == "random":  # the whole grid is shifted: the patches stay disjoint
            cells = grid.lattice.cells
            axes = zip(cells, streams.keys[:, 1:].T, strict=False)
            shifts = np.stack([choose(n, 1, key) for n, key in axes], axis=-1)
            origins = (origins + shifts) % cells
        return origins, streams


def as_patches(value: int | Sequence[int] | Patches | None) -> Patches:
    """Return patches; cells, or None for the whole lattice, are short for `Patches(cells)`."""
    return value if isinstance(value, Patches) else Patches(value)


@dataclass(frozen=True)
class PatchEvolver:
    """Evolution, for one span, of patches of `extent` (ndim,) cells, surrounded by a boundary.

    Raises
    ------
    ValueError
        If a patch closed on itself has no lattice of its own, or `conserved_observables` of the
        simulator are none of its observables.
    """

    simulator: Simulator
    lattice: Lattice
    extent: tuple[int, ...]
    boundary: Boundary
    span: Span

    def __post_init__(self) -> None:
        _ = self.simulator.changing  # which checks the names of what is conserved
        if not isinstance(self.boundary, Periodic):
            return
        if self.lattice.boundary == "open":
            raise ValueError(
                "Expected a periodic lattice for boundary='periodic', but got the open one of "
                f"{type(self.simulator).__name__}, on which no patch closes on itself; use 'ghost' "
                "or a buffer."
            )
        self.simulator.lattice(self._patch_lattice.site_shape)

    @cached_property
    def sites_per_patch(self) -> int:
        """Number n_s of sites in a patch."""
        return math.prod(self.extent) * self.lattice.n_basis

    @property
    def _patch_lattice(self) -> Lattice:
        """The lattice of a patch that is closed on itself."""
        return Lattice(self.lattice.kind, self.extent, "periodic")

    def evolve(
        self, x: np.ndarray, window: Window, rng: np.random.Generator
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Evolve one patch of a snapshot `x`, which comes back as it was.

        It returns the evolved patch, the elapsed time and d_obs (n_observables,).
        """
        place = self._place(x, window)
        with _kept(place) as patch:
            ((elapsed, change),) = self._advance(place, [self.span], rng)
            return patch(), elapsed, change / self.sites_per_patch

    def follow(
        self, x: np.ndarray, window: Window, steps: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Evolve one patch through durations `steps` (n_steps,); x is changed.

        It returns d_obs (n_steps, n_observables) since the start.
        """
        spans = map(Duration, steps.tolist())
        changes = [change for _, change in self._advance(self._place(x, window), spans, rng)]
        return np.cumsum(changes, axis=0) / self.sites_per_patch

    def apart(
        self, X: np.ndarray, origins: np.ndarray, streams: Streams
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evolve p patches of each snapshot, each by itself; X is not changed (Eq. 3).

        It returns the patches (n, p, *patch shape), the elapsed times (n, p), and d_obs.
        """
        if isinstance(self.boundary, Ghost):
            evolutions = Evolutions(origins, self.extent, self.span, streams)
            patches, elapsed, changes = self.simulator.advance_apart(X, self.lattice, evolutions)
            return patches, elapsed, self.simulator.conserve(changes) / self.sites_per_patch
        evolved = [
            [self.evolve(x, Window(tuple(origin), self.extent), rng) for origin in own]
            for x, own, rng in zip(X.copy(), origins.tolist(), streams, strict=True)
        ]
        patches, elapsed, d_obs = (
            np.array([[one[part] for one in row] for row in evolved]) for part in range(3)
        )
        return patches, elapsed, d_obs

    def visit(self, x: np.ndarray, origins: np.ndarray, rng: np.random.Generator) -> None:
        """Evolve patches (n_visits, ndim) of a snapshot in place, one after the other."""
        if isinstance(self.boundary, Ghost):
            evolutions = Evolutions(origins, self.extent, self.span, rng)
            self.simulator.advance_windows(x, self.lattice, evolutions)
            return
        for origin in origins.tolist():
            window = Window(tuple(origin), self.extent)
            small, lattice, _, region = place = self._place(x, window)
            with _kept(place) as patch:
                self.simulator.advance_window(small, lattice, Evolution(region, self.span, rng))
                evolved = patch()
            x[self.lattice.mesh(*window)] = evolved

    def moments(self, X: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the moments per time of the mean over p patches of the increment, as dt -> 0.

        Patches change independently as dt -> 0, so that the covariances of p of them add up, and
        that of their mean is the mean of the covariances over p. It returns the means
        (n, n_observables) and the covariances (n, n_observables, n_observables).
        """
        b, A = self.simulator.moments_apart(X, self.lattice, origins, self.extent)
        n_s, p = self.sites_per_patch, origins.shape[1]
        A = self.simulator.conserve(self.simulator.conserve(A).mT).mT
        return self.simulator.conserve(b).mean(axis=1) / n_s, A.mean(axis=1) / (p * n_s**2)

    def _place(self, x: np.ndarray, window: Window) -> Place:
        """Return where a patch evolves: in the snapshot, or on a lattice of its own."""
        lattice = self.lattice
        if isinstance(self.boundary, Periodic):
            x, lattice = x[lattice.mesh(*window)], self._patch_lattice
            window = lattice.full_window
        elif isinstance(self.boundary, Buffer):
            return x, lattice, window, lattice.grow(*window, self.boundary.width)
        return x, lattice, window, window

    def _advance(
        self, place: Place, spans: Iterable[Span], rng: np.random.Generator
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Evolve a patch in place, span by span; yield elapsed times and changes of the sums."""
        simulator, (x, lattice, window, region) = self.simulator, place
        if isinstance(self.boundary, Ghost):
            for span in spans:
                elapsed, change = simulator.advance_observed(
                    x, lattice, Evolution(region, span, rng)
                )
                yield elapsed, simulator.conserve(change)
            return
        after = simulator.site_sums(x, lattice, window)
        for span in spans:
            elapsed = simulator.advance_window(x, lattice, Evolution(region, span, rng))
            before, after = after, simulator.site_sums(x, lattice, window)
            yield elapsed, simulator.conserve(after - before)


@contextmanager
def _kept(place: Place) -> Iterator[Callable[[], np.ndarray]]:
    """Put what evolves back afterwards; until then the function returns the patch."""
    x, lattice, window, region = place
    cells = lattice.mesh(*region)
    before = x[cells]  # a copy, since the index is a mesh of arrays
    yield lambda: x[lattice.mesh(*window)]
    x[cells] = before


@dataclass(frozen=True)
class Visits:
    """The visits of LocalRelax to the patches of one lattice.

    `evolver` is of one patch, for the longest visit; `stride` (ndim,) are the cells between
    neighbouring patches, and `shortest` is the duration of the shortest visit.
    """

    evolver: PatchEvolver
    stride: tuple[int, ...]
    shortest: float

    @property
    def alike(self) -> bool:
        """Whether patches relax, and all for one duration or number of events."""
        span = self.evolver.span
        return bool(span.number) or (bool(span.time) and self.shortest == span.time)

    @property
    def per_pass(self) -> float:
        """Visits to a site in a pass, as a mean over the sites."""
        origins = self.origins(1, np.random.Generator(np.random.PCG64(0)))
        return len(origins) * self.evolver.sites_per_patch / self.evolver.lattice.n_sites

    def duration(self, share: float) -> float:
        """Return the time of a visit; `share` says where in a range it lies. 0 for events."""
        longest = self.evolver.span.time or 0.0
        if not self.shortest < longest:
            return longest
        return self.shortest * (longest / self.shortest) ** share

    def mean_age(self, n_passes: int) -> float:
        """Return the time for which sites evolve, a mean over a range; NaN for events."""
        low, span = self.shortest, self.evolver.span
        high = math.nan if span.time is None else span.time
        time = high if not low < high else (high - low) / math.log(high / low)
        return n_passes * self.per_pass * time

    def relax(self, x: np.ndarray, n_passes: int, share: float, rng: np.random.Generator) -> None:
        """Relax a large snapshot in place; `share` says where in a range its duration lies."""
        if self.evolver.span.number:
            self.evolver.visit(x, self.origins(n_passes, rng), rng)
        elif time := self.duration(share):
            self._visit_for(time, x, n_passes, rng)

    def keep(
        self, x: np.ndarray, n_passes: int, n_kept: int, share: float, rng: np.random.Generator
    ) -> Iterator[float]:
        """Relax a large snapshot in place, and yield its age at each of `n_kept` states.

        Its age in the end is that after `relax`, and no visit is longer than there.
        """
        per_pass = self.per_pass
        longest = per_pass * self.duration(share)  # time that a pass may add
        ages = spread_ages(n_passes * longest, n_kept, self.evolver.simulator.pair_time)
        yield 0.0
        for age, before in zip(ages[1:].tolist(), ages.tolist(), strict=False):
            n = max(1, math.ceil((age - before) / longest - ROUNDING))
            self._visit_for((age - before) / (n * per_pass), x, n, rng)
            yield age

    def _visit_for(
        self, time: float, x: np.ndarray, n_passes: int, rng: np.random.Generator
    ) -> None:
        """Go over a large snapshot, for a time a visit."""
        evolver = replace(self.evolver, span=Duration(time))
        evolver.visit(x, self.origins(n_passes, rng), rng)

    def origins(self, n_passes: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the origins (n_passes * n_patches, ndim) of patches that overlap, pass by pass.

        Those of each pass cover the lattice. On a periodic lattice the grid of patches is shifted
        at random, so that no site stands at an edge in every snapshot; on an open one the last
        patch ends with the lattice.
        """
        lattice, ndim, axes = self.evolver.lattice, len(self.stride), []
        sizes = zip(lattice.cells, self.evolver.extent, self.stride, strict=True)
        for cells, width, step in sizes:
            if width == cells:
                starts = np.zeros((n_passes, 1), np.int64)
            elif lattice.boundary == "periodic":
                shifts = rng.integers(step, size=(n_passes, 1))
                starts = (shifts + np.arange(0, cells, step)) % cells
            else:
                starts = np.tile([*range(0, cells - width, step), cells - width], (n_passes, 1))
            axes.append(starts)
        origins = np.empty((n_passes, *(starts.shape[1] for starts in axes), ndim), np.int64)
        for axis, starts in enumerate(axes):
            along = (-1 if other == axis else 1 for other in range(ndim))
            origins[..., axis] = starts.reshape(n_passes, *along)
        return origins.reshape(-1, ndim)
