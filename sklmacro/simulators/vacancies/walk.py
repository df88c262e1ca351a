"""The vacancies of a snapshot, from Python: set up, let jump, look around."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from sklmacro.lattice.lattice import Lattice, nearest_distance
from sklmacro.lattice.windows import Window
from sklmacro.simulators.protocol import Span
from sklmacro.simulators.vacancies.addresses import Geometry, Shell, address_map, shell
from sklmacro.simulators.vacancies.barriers import BarrierModel, sites_out_of_reach
from sklmacro.simulators.vacancies.kernel import (
    ASK,
    Scale,
    Walk,
    count_pairs,
    gather_all,
    run,
    vacant_sites,
)
from sklmacro.simulators.vacancies.windows import Tour, open_window, run_windows, settle

N_KEPT = 4  # last surroundings that are kept for each vacancy
# Fields of a walk that change with every jump; the others are scratch, or the same for ever.
CHANGING = (
    "sites", "cells", "slots", "seen", "kept", "stood", "now", "active", "rates", "tree", "pairs",
    "pending", "asked", "counters", "clock",
)  # fmt: skip


@lru_cache(maxsize=64)
def _geometry(lattice: Lattice, radius: float) -> Geometry:
    """Return what vacancies look at on a lattice, with barriers of a radius."""
    halo = shell(lattice, radius, radius)
    nearest = shell(lattice, nearest_distance(lattice.kind), radius)
    chosen = sites_out_of_reach(lattice.kind, radius)  # (n_basis, z, q)
    steps = [s[:, one] for s, rows in zip(halo.steps, chosen, strict=True) for one in rows]
    flat = [f[one] for f, rows in zip(halo.flat, chosen, strict=True) for one in rows]
    behind = Shell(np.ascontiguousarray(steps), np.ascontiguousarray(flat))
    return Geometry(address_map(lattice, radius), halo, nearest, behind)


class VacancyWalk:
    """Vacancies of one snapshot, which changes in place as they jump.

    Parameters
    ----------
    x : ndarray of int8, shape site_shape, contiguous
        Snapshot.
    lattice : Lattice
    window : (origin, extent)
        Cells in which vacancies jump; the rest is frozen.
    model : BarrierModel
    scale : Scale
    n_species : int
    """

    def __init__(
        self,
        x: np.ndarray,
        lattice: Lattice,
        window: Window,
        model: BarrierModel,
        scale: Scale,
        n_species: int,
    ):
        self._flat, self.model, self.scale, self.n_species = x.reshape(-1), model, scale, n_species
        self._geometry = _geometry(lattice, model.radius)
        where = self._geometry.where
        sites = vacant_sites(self._flat)
        n, z = len(sites), model.jumps.shape[1]
        leaves = 1 << max(n - 1, 0).bit_length()
        seen = np.full((n, N_KEPT, -(-model.offsets.shape[1] // 8) * 8), -1, np.int8)
        environment = np.ones(seen.shape[2], np.int8)
        self._walk = Walk(
            sites=sites,
            cells=np.empty((n, 4), np.int64),
            slots=np.empty(4 * leaves, np.int64),
            seen=seen,
            words=seen.view(np.uint64),
            kept=np.zeros((n, N_KEPT, z)),
            stood=np.zeros((n, N_KEPT), np.int64),
            now=np.zeros(n, np.int64),
            active=np.zeros(n, bool),
            rates=np.zeros((n, z)),
            tree=np.zeros(2 * leaves),
            pairs=np.zeros((n_species + 1,) * 2, np.int64),
            pending=np.empty(max(n, 1), np.int64),
            asked=np.empty(n, np.int64),
            counters=np.zeros(4, np.int64),
            clock=np.zeros(1),
            inside=np.zeros(where.wrap.shape, bool),
            jumps=model.jumps,
            environment=environment,
            environment_words=environment.view(np.uint64),
            left=np.empty(4, np.int64),
            departed=np.empty(self._geometry.behind.steps.shape[2], np.int8),
        )
        settle(self._walk, where)
        open_window(self._walk, where, *_three_axes(window))

    @property
    def n_active(self) -> int:
        """Number of vacancies in the window."""
        return int(self._walk.counters[3])

    @property
    def pairs(self) -> np.ndarray:
        """Change of the number of ordered nearest-neighbour pairs since the start."""
        return self._walk.pairs + self._walk.pairs.T

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that jumps change, but for the snapshot; written to, the walk continues there.

        The order of the vacancies is among it, and the barriers that they remember: both show in
        what comes next, the latter where a model in Python evaluates many together.
        """
        return {name: getattr(self._walk, name) for name in CHANGING}

    def run(self, span: Span, rng_state: np.ndarray) -> float:
        """Let the vacancies jump; return the time that passed.

        It is infinite if nothing can happen and events are counted. `rng_state` (4,) is stepped.
        """
        self._walk.clock[0], self._walk.counters[2] = 0.0, 0
        self._finish(run, span, rng_state)
        return float(self._walk.clock[0])

    def visit(
        self,
        origins: np.ndarray,
        extent: tuple[int, ...],
        span: Span,
        rng_state: np.ndarray,
        *,
        apart: bool,
    ) -> Tour:
        """Let the vacancies of windows jump, one window after the other, and return what came.

        With `apart` each window starts from the snapshot as it is, which comes back.
        """
        walk, m = self._walk, len(origins)
        cells = np.zeros((m, 3), np.int64)
        cells[:, 3 - origins.shape[1] :] = origins
        n_sites = int(np.prod(extent)) * len(walk.jumps)
        tour = Tour(
            origins=cells,
            extent=np.array((1,) * (3 - len(extent)) + extent, np.int64),
            at=np.zeros(1, np.int64),
            before=np.empty(n_sites, np.int8),
            home=walk.sites.copy(),
            patches=np.empty((m, n_sites) if apart else (0, 0), np.int8),
            elapsed=np.empty(m),
            pairs=np.empty((m, *walk.pairs.shape), np.int64),
        )
        self._finish(run_windows, span, rng_state, tour)
        return tour._replace(pairs=tour.pairs + tour.pairs.swapaxes(1, 2))

    def _finish(self, kernel: Callable, span: Span, rng_state: np.ndarray, *rest: Any) -> None:
        """Call a kernel until it is done, and evaluate barriers where it asks for them."""
        if span.time is not None and self.scale.mean_times:
            raise ValueError(
                f"Expected a number of events with waiting_times='mean', but got a duration of "
                f"{span.time:g}, which would cut the last waiting time off each time; count events "
                "(n_events, relax_events), or take waiting_times='random'."
            )
        walk, (evaluate, params) = self._walk, self.model.compiled()
        until = np.inf if span.time is None else span.time
        most = np.iinfo(np.int64).max if span.number is None else span.number
        law, limits = (params, self.scale), (until, most)
        shared = self._flat, self._geometry, evaluate, law, walk, limits, rng_state
        while kernel(*shared, *rest) == ASK:
            asked = walk.asked[: walk.counters[1]]
            present = asked, walk.now[asked]
            environments = walk.seen[present][:, : self._geometry.halo.steps.shape[2]]
            walk.kept[present] = self.model.evaluate(environments, walk.cells[asked, 3])

    def environments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return sites (m,), surroundings (m, n_sites) and basis numbers (m,) of the vacancies.

        They are the m in the window.
        """
        walk, (where, halo, _, _) = self._walk, self._geometry
        environments = gather_all(self._flat, where, halo, walk)
        return walk.sites[walk.active], environments[walk.active], walk.cells[walk.active, 3]


def window_pairs(flat: np.ndarray, lattice: Lattice, window: Window, n_species: int) -> np.ndarray:
    """Return the numbers (n_species + 1, n_species + 1) of pairs of a window's sites.

    Ordered pairs of a site of the window and a nearest neighbour, which may lie outside.
    """
    reach = nearest_distance(lattice.kind)
    where, nearest = address_map(lattice, reach), shell(lattice, reach, reach)
    return count_pairs(flat, where, nearest, *_three_axes(window), n_species)


def _three_axes(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return origin and extent of a window on three axes."""
    missing = 3 - len(window[0])
    origin, extent = (0,) * missing + window[0], (1,) * missing + window[1]
    return np.array(origin, np.int64), np.array(extent, np.int64)
