"""The vacancies of one window of a snapshot, from Python: set up, let jump, look around."""

import numpy as np

from sklmacro.lattice import Lattice, nearest_distance
from sklmacro.simulators._sites import address_map, shell
from sklmacro.simulators._vacancies import (
    ASK,
    Scale,
    Walk,
    count_pairs_in,
    count_species,
    gather_all,
    run,
    set_up,
    vacant_sites,
)
from sklmacro.simulators._windows import Window, whole
from sklmacro.simulators.barriers import BarrierModel, left_behind

N_KEPT = 4  # last surroundings that are kept for each vacancy


class VacancyWalk:
    """Vacancies of a window of one snapshot, which changes in place as they jump.

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
        self._flat, self._model, self._scale = x.reshape(-1), model, scale
        self._where = where = address_map(lattice, model.radius)
        self._around = shell(lattice, model.radius, model.radius)
        self._nearest = shell(lattice, nearest_distance(lattice.kind), model.radius)
        sites = _vacant_sites(x, lattice, window, n_species)
        n, z = len(sites), model.jumps.shape[1]
        leaves = 1 << max(n - 1, 0).bit_length()
        inside = np.zeros(where.wrap.shape, bool)
        for axis, (o, e) in enumerate(zip(*_three_axes(window), strict=True)):
            cells = np.arange(-where.reach[axis], where.shape[axis] + where.reach[axis])
            inside[axis, : len(cells)] = (cells - o) % where.shape[axis] < e
        self._walk = Walk(
            sites=sites,
            cells=np.empty((n, 4), np.int64),
            slots=np.empty(4 * leaves, np.int64),
            seen=np.full((n, N_KEPT, model.offsets.shape[1]), -1, np.int8),
            kept=np.zeros((n, N_KEPT, z)),
            now=np.zeros(n, np.int64),
            rates=np.zeros((n, z)),
            tree=np.zeros(2 * leaves),
            pairs=np.zeros((n_species + 1,) * 2, np.int64),
            pending=np.empty(max(n, 1), np.int64),
            asked=np.empty(n, np.int64),
            counters=np.zeros(3, np.int64),
            clock=np.zeros(1),
            inside=inside,
            jumps=model.jumps,
            behind=left_behind(model.kind, model.radius),
        )
        set_up(self._walk, where)

    @property
    def n_vacancies(self) -> int:
        """Number of vacancies in the window."""
        return len(self._walk.sites)

    @property
    def pairs(self) -> np.ndarray:
        """Change of the number of ordered nearest-neighbour pairs since the start."""
        return self._walk.pairs

    def run(self, duration: float | None, n_events: int | None, words: np.ndarray) -> float:
        """Let the vacancies jump for a time or a number of events; return the time that passed.

        It is infinite if nothing can happen and events are counted. `words` is the random stream.
        """
        walk = self._walk
        evaluate, params = self._model.compiled()
        walk.clock[0], walk.counters[2] = 0.0, 0
        until = np.inf if duration is None else float(duration)
        most = np.iinfo(np.int64).max if n_events is None else n_events
        known = False
        while (
            run(
                self._flat, self._where, self._around, self._nearest, evaluate, params,
                self._scale, walk, known, until, most, words,
            )
            == ASK
        ):  # fmt: skip
            asked = walk.asked[: walk.counters[1]]
            present = asked, walk.now[asked]
            barriers = self._model.evaluate(walk.seen[present], walk.cells[asked, 3])
            walk.kept[present] = barriers
            known = True
        return float(walk.clock[0])

    def environments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return surroundings (n_vacancies, m) and basis numbers (n_vacancies,)."""
        walk = self._walk
        environments = np.empty((self.n_vacancies, walk.seen.shape[2]), np.int8)
        gather_all(self._flat, self._where, self._around, walk, environments)
        return environments, walk.cells[:, 3]


def window_pairs(flat: np.ndarray, lattice: Lattice, window: Window, n_species: int) -> np.ndarray:
    """Return the numbers (n_species + 1, n_species + 1) of pairs of a window's sites.

    Ordered pairs of a site of the window and a nearest neighbour, which may lie outside.
    """
    reach = nearest_distance(lattice.kind)
    pairs = np.zeros((n_species + 1,) * 2, np.int64)
    where, nearest = address_map(lattice, reach), shell(lattice, reach, reach)
    count_pairs_in(flat, where, nearest, *_three_axes(window), pairs)
    return pairs


def species_counts(flat: np.ndarray, n_species: int) -> np.ndarray:
    """Return the number of vacancies and of atoms of each species, (n_species + 1,)."""
    counts = np.empty(n_species + 1, np.int64)
    count_species(flat, counts)
    return counts


def _vacant_sites(x: np.ndarray, lattice: Lattice, window: Window, n_species: int) -> np.ndarray:
    """Return the flat numbers of the vacancies in a window."""
    if window == whole(lattice):
        flat = x.reshape(-1)
        sites = np.empty(species_counts(flat, n_species)[0], np.int64)
        vacant_sites(flat, sites)
        return sites
    found = np.nonzero(x[lattice.mesh(*window)] == 0)
    boxes = zip(window[0], found, lattice.cells, strict=False)
    cells = [(o + cell) % n for o, cell, n in boxes]
    return np.ravel_multi_index((*cells, *found[lattice.ndim :]), lattice.site_shape)


def _three_axes(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return origin and extent of a window on three axes."""
    missing = 3 - len(window[0])
    origin, extent = (0,) * missing + window[0], (1,) * missing + window[1]
    return np.array(origin, np.int64), np.array(extent, np.int64)
