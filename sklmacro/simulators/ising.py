"""Ising model with continuous-time Glauber dynamics (Eq. 23, Algorithm 2).

    H = -J sum_bonds s_i s_j - h sum_i s_i,     flip of spin i at rate r_i = 1 / (1 + exp(H_i / T))

with H_i = 2 s_i (J sum_nn s_j + h) the energy that the flip costs; k_B = 1. Two exact ways:

- Attempts (uniformisation). The heat-bath law of a spin does not depend on its old value, so that
  drawing every spin anew at rate 1 flips it at rate r_i. In a time t there is a Poisson number of
  attempts of mean n t; and the time that A attempts on n spins take is a Gamma variable of shape A
  over n, whatever they did, which is all that a given number of events has to draw.
- Events without rejections, from lists of spins of equal rate: faster where few attempts succeed.

Attempts come first, and hand over where they turn out to be the slower way. The choice looks at the
past alone, and both are exact, so that the law is not touched.

A window evolves among its surroundings, which stay frozen. What lies beyond an open edge counts 0.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sklmacro._base.checks import check_choice, check_real
from sklmacro.lattice.lattice import KINDS, Lattice
from sklmacro.lattice.windows import Window
from sklmacro.simulators.events import Events
from sklmacro.simulators.glauber.attempts import BLOCK
from sklmacro.simulators.glauber.bits import LEAST_SITES, evolve_bits
from sklmacro.simulators.glauber.moments import flip_moments, flips
from sklmacro.simulators.glauber.patches import evolve_patches
from sklmacro.simulators.glauber.rates import rate_tables
from sklmacro.simulators.glauber.rejection_free import evolve_classes
from sklmacro.simulators.glauber.replicas import N_REPLICAS, Replicas
from sklmacro.simulators.glauber.rings import window_tables, write_back
from sklmacro.simulators.glauber.square import evolve_square, window_sums
from sklmacro.simulators.glauber.tables import (
    evolve_tables,
    neighbour_table,
    pad_spins,
    places_inside,
    table_sums,
    window_sites,
)
from sklmacro.simulators.machine.random_words import check_elapsed
from sklmacro.simulators.machine.word_blocks import word_source
from sklmacro.simulators.protocol import Evolution, Evolutions
from sklmacro.simulators.simulator import Simulator
from sklmacro.simulators.trajectories import Trajectory

PROBE = 4096  # attempts by which it is judged whether to continue without rejections


@lru_cache(maxsize=256)
def _meets_itself(lattice: Lattice) -> bool:
    """Say whether a site of a periodic lattice is its own neighbour."""
    return lattice.boundary == "periodic" and any(
        offset[-1] == basis and not (offset[:-1] % lattice.cells).any()
        for basis, offsets in enumerate(lattice.neighbor_offsets)
        for offset in offsets
    )


class Ising(Simulator):
    """Ising model under continuous-time Glauber dynamics.

    The observables are the magnetisation M and the domain wall density, (1/(2 z)) sum_nn (1 - s s')
    a site with z neighbours in the bulk: the fraction of unequal bonds (Eq. 24, where z = 4). Time
    is in sweeps: in unit time every spin is attempted once on average.

    Probabilities of attempts are kept to 2**-32. On the square lattice, the rates of a temperature
    below about 0.4 J can be smaller than that: count events there, which continue without
    rejections, and with exact rates, when none has come for long.

    Parameters
    ----------
    temperature : float, default=2.5
        Temperature T in units of J/k_B, positive. Critical: 2 / ln(1 + sqrt 2) = 2.26919.
    field : float, default=0.0
        External field h, in units of J.
    coupling : float, default=1.0
        Coupling J.
    boundary : {"periodic", "open"}, default="periodic"
        Edges of the lattice.
    kind : {"square", "chain", "cubic", "bcc", "fcc", "hcp", "diamond"}, default="square"
        Lattice, see `sklmacro.lattice.Lattice`. The square one has kernels of its own.

    Examples
    --------
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=2.27)
    >>> X = ising.sample_initial(4, 16, random_state=0)
    >>> X_next, elapsed = ising.advance(X, n_events=100, random_state=0)
    >>> ising.observe(X_next).shape
    (4, 2)
    >>> Ising(temperature=6.0, kind="bcc").sample_initial(1, 3, random_state=0).shape
    (1, 3, 3, 3, 2)
    """

    state_dtype = np.int8
    two_valued = True
    observable_names = ("magnetisation", "domain wall density")
    observable_units = ("1", "1")
    observable_bounds = ((-1.0, 1.0), (0.0, 1.0))
    observable_range = 1
    fast_observables = ("domain wall density",)
    has_events = True
    isotropic = True
    start_method = "shuffle"
    relax_time = 8.0
    pair_time = 0.5

    def __init__(
        self,
        temperature: float = 2.5,
        field: float = 0.0,
        coupling: float = 1.0,
        boundary: str = "periodic",
        kind: str = "square",
    ):
        self.temperature = temperature
        self.field = field
        self.coupling = coupling
        self.boundary = boundary
        self.kind = kind

    @property
    def parity(self) -> tuple[int, ...] | None:
        """(-1, 1) in the absence of a field, where all spins may be turned over; else None."""
        return (-1, 1) if self.field == 0 else None

    def check_parameters(self) -> None:
        check_real(self.temperature, "temperature", low=0.0, strict=True)
        check_real(self.field, "field")
        check_real(self.coupling, "coupling")
        check_choice(self.boundary, "boundary", ("periodic", "open"))
        check_choice(self.kind, "kind", KINDS)

    def lattice(self, snapshot_shape: Sequence[int]) -> Lattice:
        """Return the lattice of snapshots; a periodic one is so large that no spin meets itself."""
        check_choice(self.kind, "kind", KINDS)
        lattice = super().lattice(snapshot_shape)
        if _meets_itself(lattice):
            raise ValueError(
                "Expected at least 2 cells along each axis of a periodic Ising lattice, but got "
                f"{lattice.cells}; a spin would be its own neighbour, so use a larger lattice."
            )
        return lattice

    def density(self, x: np.ndarray) -> np.ndarray:
        """Return s_i and (1/(2 z)) sum_nn (1 - s_i s_j), shape (*site_shape, 2)."""
        spins = np.asarray(x)
        lattice = self.lattice(spins.shape)
        flat = pad_spins(spins)
        walls = (flat[:-1, np.newaxis] * flat[neighbour_table(lattice)] < 0).mean(axis=1)
        return np.stack([spins.astype(np.float64), walls.reshape(spins.shape)], axis=-1)

    @property
    def n_packed(self) -> int:  # type: ignore[override]
        """Trajectories that advance together with packed=True, on a periodic square lattice."""
        return N_REPLICAS if self.kind == "square" and self._periodic else 1

    def packed_trajectory(
        self, X: np.ndarray, lattice: Lattice, rng: np.random.Generator
    ) -> Trajectory:
        return Replicas(self._tables()[1], self, X, lattice, rng)

    def draw_initial(self, lattice: Lattice, rng: np.random.Generator) -> np.ndarray:
        """Draw independent spins whose magnetisation is uniform on its possible values."""
        return random_spins(lattice.site_shape, int(rng.integers(lattice.n_sites + 1)), rng)

    def rates(self) -> np.ndarray:
        """Return the rates (2 z + 1, 2) of a down and an up spin for neighbour sums -z ... z."""
        return self._tables()[0]

    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        return rate_tables(self.kind, self.temperature, self.field, self.coupling)

    def _evolve(self, x: np.ndarray, lattice: Lattice, evolutions: Evolutions) -> float:
        """Evolve windows one after the other, in place; return the time that the last one took."""
        (origins, extent, span, rng), (rates, up) = evolutions, self._tables()
        source, square, periodic = word_source(rng), self.kind == "square", self._periodic
        n_windows, n_sites = len(origins), math.prod(extent) * (1 if square else lattice.n_basis)
        probe = rest = np.zeros(n_windows, np.int64)
        share, limit, goal = 1.0, np.inf, -1
        if span.time is None:
            goal = span.number
        else:
            n_attempts = span.time * n_sites
            large = square and periodic and extent == lattice.cells and n_sites >= LEAST_SITES
            if large and span.time >= 1.0:  # the lattice has to be packed and unpacked
                evolve_bits(x, up, rng.poisson(n_attempts), source)
                return span.time
            if n_attempts > 2 * PROBE:
                share = PROBE / n_attempts
                rest = rng.poisson((1.0 - share) * span.time * n_sites, n_windows)
            probe = rng.poisson(share * span.time * n_sites, n_windows)
            limit = (1.0 - share) * span.time
        if not square:
            flat, table = pad_spins(x), neighbour_table(lattice)
        elapsed, first = 0.0, 0
        while first < n_windows:
            if square:
                left = slice(first, None)
                done, flips, attempts = evolve_square(
                    x, origins[left], extent, periodic, up, (probe[left], rest[left], goal), source
                )
                ready = done == n_windows - first
                first += done
            else:
                sites = window_sites(lattice, tuple(origins[first]), extent)
                box, plan = (flat, sites, table, up), (probe[first], rest[first], goal)
                words = np.empty(BLOCK, np.uint64)
                ready, flips, attempts = evolve_tables(box, n_sites, plan, source, words)
                first += ready
            if goal >= 0:
                elapsed = rng.standard_gamma(attempts) / n_sites
            if not ready:  # continue without rejections
                origin = tuple(origins[first].tolist())
                if square:
                    flat, sites, table, inside = window_tables(x, origin, extent, periodic)
                else:
                    inside = places_inside(sites, table)
                missing = np.iinfo(np.int64).max if goal < 0 else goal - flips
                limits = missing, limit
                elapsed += evolve_classes(flat, sites, table, inside, rates, limits, source)
                check_elapsed(elapsed, self.temperature)
                if square:
                    write_back(flat, x, origin, extent)
                first += 1
        if not square:
            x[:] = flat[:-1].reshape(x.shape)
        return elapsed if span.time is None else span.time

    @property
    def _periodic(self) -> bool:
        return self.boundary == "periodic"

    def advance_window(self, x: np.ndarray, lattice: Lattice, evolution: Evolution) -> float:
        (origin, extent), span, rng = evolution
        return self._evolve(x, lattice, Evolutions(np.array([origin]), extent, span, rng))

    def advance_windows(self, x: np.ndarray, lattice: Lattice, evolutions: Evolutions) -> None:
        self._evolve(x, lattice, evolutions)

    def advance_apart(
        self, X: np.ndarray, lattice: Lattice, evolutions: Evolutions
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evolve patches; the usual ones, small and for a short time, in one call."""
        origins, extent, span, streams = evolutions
        n_attempts = np.inf if span.time is None else span.time * math.prod(extent)
        narrow = all(e < n for e, n in zip(extent, lattice.cells, strict=True))
        if self.kind != "square" or not narrow or n_attempts > 2 * PROBE:
            return super().advance_apart(X, lattice, evolutions)
        shape, law = origins.shape[:2], (self._tables()[1], n_attempts)
        patches, changes = np.empty((*shape, *extent), self.state_dtype), np.empty((*shape, 2))
        evolve_patches(X, origins, self._periodic, law, streams.states, patches, changes)
        changes[..., 1] *= 0.5  # 2 of the 4 neighbours of a site: both see their bond
        return patches, np.full(shape, span.time), changes

    def events(self, x: np.ndarray, lattice: Lattice, window: Window) -> Events:
        return flips(x, lattice, window, self.rates())

    def moments_apart(
        self, X: np.ndarray, lattice: Lattice, origins: np.ndarray, extent: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        return flip_moments(X, lattice, origins, extent, self.rates())

    def site_sums(self, x: np.ndarray, lattice: Lattice, window: Window) -> np.ndarray:
        if self.kind == "square":
            spins, unequal = window_sums(x, *window.origin, *window.extent, self._periodic)
        else:
            sites = window_sites(lattice, *window)
            spins, unequal = table_sums(pad_spins(x), sites, neighbour_table(lattice))
        return np.array([spins, unequal / lattice.coordination])


def random_spins(shape: tuple[int, ...], n_up: int, rng: np.random.Generator) -> np.ndarray:
    """Return spins of the given shape, `n_up` of them up at random places."""
    spins = np.full(int(np.prod(shape)), -1, np.int8)
    spins[:n_up] = 1
    return rng.permutation(spins).reshape(shape)
