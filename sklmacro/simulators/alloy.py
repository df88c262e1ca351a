"""Vacancy diffusion in an alloy by rejection-free kinetic Monte Carlo (Sec. III.3).

    k_ij = k0 exp(-E_ij / (k_B T)),        delta_ab = n_ab - z c_b                          (Eq. 30)

A vacancy exchanges places with one of its z nearest neighbours; the barrier E_ij depends on the
atoms around it. The observables are the short-range-order parameters: n_ab is the mean number of b
atoms next to an a atom, z c_b what a random solution has (8/3 for three equal parts on BCC), c_b
the fraction of b among the atoms of the whole lattice. They are counted with the true neighbours
across the edges of patches, and brought up to date jump by jump.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from sklmacro._base.checks import check_choice, check_finite, check_real
from sklmacro.lattice.enlarge import apportion, tile_shifted
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.simulators.events import Events
from sklmacro.simulators.machine.random_words import random_words
from sklmacro.simulators.protocol import Evolution, Evolutions
from sklmacro.simulators.simulator import Simulator
from sklmacro.simulators.trajectories import Trajectory
from sklmacro.simulators.vacancies.barriers import BarrierModel
from sklmacro.simulators.vacancies.events import vacancy_jumps
from sklmacro.simulators.vacancies.kernel import Scale, species_counts
from sklmacro.simulators.vacancies.nbmota import nbmota_barriers
from sklmacro.simulators.vacancies.orders import centred_sums, normalisation
from sklmacro.simulators.vacancies.trajectory import VacancyTrajectory
from sklmacro.simulators.vacancies.walk import VacancyWalk, window_pairs

BOLTZMANN = 8.617333e-5  # eV/K


class Alloy(Simulator):
    """Vacancy diffusion in an alloy, by default NbMoTa on the BCC lattice (Sec. III.3).

    Snapshots are int8, 0 a vacancy and 1, 2, ... the species. Jumps conserve composition, number of
    vacancies and lattice. The observables are the short-range-order parameters delta_ab of Eq. 30
    for a <= b in the order of the species. A vacancy mostly jumps straight back: `moments`, which
    hold as dt -> 0, have the right equilibrium but overstate the kinetics of longer times.

    Parameters
    ----------
    temperature : float, default=2000.0
        Temperature in K, positive.
    barriers : BarrierModel, default=None
        Barriers in eV; None takes the embedded ones of NbMoTa.
    species : sequence of str, default=("Nb", "Mo", "Ta")
        Names of species 1, 2, ...
    composition : sequence of float, default=None
        Fraction of each species among the atoms of initial snapshots; None for equal parts.
    vacancy_fraction : float, default=1/1024
        Vacancies per site of initial snapshots; at least one vacancy is made.
    attempt_frequency : float, default=1e13
        k0 in 1/s, positive.
    waiting_times : {"random", "mean"}, default="random"
        Exponential waiting times, or their means 1/R, which have less variance; with means the
        evolution is by number of events, not by duration.
    reference_barrier : float, default=None
        Time is in units of exp(E / (k_B T)) / k0 for this barrier E in eV: the mean time of one
        jump over it, with which times at all temperatures compare. None gives seconds.
    boundary : {"periodic", "open"}, default="periodic"
        Edges of the lattice. What is beyond an open one enters barriers like vacancies.

    Examples
    --------
    >>> from sklmacro.simulators import Alloy
    >>> alloy = Alloy(temperature=2000.0)
    >>> X = alloy.sample_initial(2, 8, random_state=0)
    >>> X_next, elapsed = alloy.advance(X, n_events=100, random_state=0)
    >>> X_next.shape, alloy.observe(X_next).shape
    ((2, 8, 8, 8, 2), (2, 6))
    """

    state_dtype = np.int8
    observable_range = 1
    has_events = True
    upsample_method = "tile"
    start_method = "shuffle"

    def __init__(
        self,
        temperature: float = 2000.0,
        barriers: BarrierModel | None = None,
        species: Sequence[str] = ("Nb", "Mo", "Ta"),
        composition: Sequence[float] | None = None,
        vacancy_fraction: float = 1 / 1024,
        attempt_frequency: float = 1e13,
        waiting_times: str = "random",
        reference_barrier: float | None = None,
        boundary: str = "periodic",
    ):
        self.temperature = temperature
        self.barriers = barriers
        self.species = species
        self.composition = composition
        self.vacancy_fraction = vacancy_fraction
        self.attempt_frequency = attempt_frequency
        self.waiting_times = waiting_times
        self.reference_barrier = reference_barrier
        self.boundary = boundary

    # What the model is --------------------------------------------------------------------------

    @property
    def kind(self) -> str:  # type: ignore[override]
        """Kind of lattice, that of the barriers."""
        return self._model.kind

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs (a, b) of species, counted from 0, that the observables belong to."""
        return list(combinations_with_replacement(range(len(self.species)), 2))

    @property
    def state_names(self) -> dict[int, str]:  # type: ignore[override]
        """Names of the states: the vacancy and the species."""
        return dict(enumerate(("vacancy", *self.species)))

    @property
    def observable_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the short-range-order parameters."""
        return tuple(f"{self.species[a]}-{self.species[b]} order" for a, b in self.pairs)

    @property
    def observable_units(self) -> tuple[str, ...]:  # type: ignore[override]
        """Units of the observables: atoms."""
        return ("1",) * len(self.pairs)

    @property
    def observable_bounds(self) -> tuple[tuple[float, float], ...]:  # type: ignore[override]
        """Range that no observable can leave."""
        z = float(self._z)
        return ((-z, z),) * len(self.pairs)

    @property
    def relax_time(self) -> float:  # type: ignore[override]
        """Time of about 1000 jumps of a vacancy among random atoms."""
        return 1000 * self.jump_time()

    @property
    def pair_time(self) -> float:  # type: ignore[override]
        """Time of about 100 jumps of a vacancy among random atoms."""
        return 100 * self.jump_time()

    def jump_time(self) -> float:
        """Return the mean waiting time 1/R of one vacancy among random atoms."""
        model, scale = self._model, self._scale()
        rng = np.random.Generator(np.random.PCG64(0))
        n_basis, n_sites = model.offsets.shape[:2]
        environments = rng.integers(1, len(self.species) + 1, (256, n_sites)).astype(np.int8)
        barriers = model.evaluate(environments, np.arange(256) % n_basis)
        return float(1 / (scale.attempt * np.exp(-scale.beta * barriers)).sum(axis=1).mean())

    def check_parameters(self) -> None:
        check_real(self.temperature, "temperature", low=0.0, strict=True)
        check_real(self.attempt_frequency, "attempt_frequency", low=0.0, strict=True)
        check_real(self.vacancy_fraction, "vacancy_fraction", low=0.0, high=1.0)
        check_choice(self.waiting_times, "waiting_times", ("random", "mean"))
        check_choice(self.boundary, "boundary", ("periodic", "open"))
        if self.reference_barrier is not None:
            check_real(self.reference_barrier, "reference_barrier")
        if len(self.species) != self._model.n_species:
            raise ValueError(
                f"Expected {self._model.n_species} species, as many as the barriers know, but got "
                f"{tuple(self.species)}; name one for each, in the order of their numbers."
            )
        self._fractions()

    @property
    def _model(self) -> BarrierModel:
        if self.barriers is None:
            return nbmota_barriers()
        if isinstance(self.barriers, BarrierModel):
            return self.barriers
        raise ValueError(
            "Expected barriers to be a BarrierModel, but got "
            f"{self.barriers!r}; wrap a function in CallableBarriers."
        )

    @property
    def _z(self) -> int:
        return self._model.jumps.shape[1]

    def _scale(self) -> Scale:
        beta = 1 / (BOLTZMANN * self.temperature)
        unit = 1.0  # of time, in 1 / k0
        if self.reference_barrier is not None:
            unit = np.exp(beta * self.reference_barrier) / self.attempt_frequency
        return Scale(float(self.attempt_frequency * unit), beta, self.waiting_times == "mean")

    def _fractions(self) -> np.ndarray:
        """Return the fraction of each species among the atoms."""
        n = len(self.species)
        parts = [1.0] * n if self.composition is None else list(self.composition)
        parts = [check_real(part, "composition", low=0.0) for part in parts]
        if len(parts) != n or sum(parts) <= 0:
            raise ValueError(
                f"Expected composition to be None or {n} fractions, one for each species, not all "
                f"0, but got {self.composition!r}; pass for instance {(1 / n,) * n}."
            )
        return np.array(parts) / sum(parts)

    # Snapshots ------------------------------------------------------------------------------------

    def check_states(self, X: np.ndarray) -> np.ndarray:
        """Return `X` as int8, if all states are vacancies or species."""
        highest = len(self.species)
        real = X.dtype.kind == "f"
        if real:
            check_finite(X, "snapshots")
        if X.min() < 0 or X.max() > highest or (real and not np.array_equal(X, np.rint(X))):
            wrong = (np.rint(X) != X) | (X < 0) | (highest < X)
            raise ValueError(
                f"Expected the states of {type(self).__name__} to be 0 (vacancy) to {highest} "
                f"({self.species[-1]}), but got {X[wrong][0]!r}; number the species from 1."
            )
        return X.astype(self.state_dtype, copy=False)

    def draw_initial(self, lattice: Lattice, rng: np.random.Generator) -> np.ndarray:
        """Draw a random solution of the given composition, and vacancies."""
        n = lattice.n_sites
        n_vacancies = max(1, round(self.vacancy_fraction * n))
        counts = np.array([n_vacancies, *apportion(self._fractions(), n - n_vacancies)])
        states = np.repeat(np.arange(len(counts), dtype=np.int8), counts)
        return rng.permutation(states).reshape(lattice.site_shape)

    def environments(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return what surrounds the vacancies of snapshots, as the barrier model sees it.

        Parameters
        ----------
        X : array-like of shape (n_samples, *site_shape)

        Returns
        -------
        environments : ndarray of int8, shape (n_vacancies, n_sites)
            All vacancies of the first snapshot, then those of the second, and so on.
        basis : ndarray of shape (n_vacancies,)
            Basis site that each vacancy is on.
        """
        X = self.check_snapshots(X)
        lattice = self.lattice(X.shape[1:])
        each = [self.walk(x, lattice, lattice.full_window).environments()[1:] for x in X]
        environments, basis = zip(*each, strict=True)
        return np.concatenate(environments), np.concatenate(basis)

    def density(self, x: np.ndarray) -> np.ndarray:
        """Return the centred densities of the order parameters, (*site_shape, n_observables).

        Those of every site among its neighbours; see `sklmacro.simulators.vacancies.orders`.
        """
        lattice, flat = self.lattice(x.shape), x.ravel()
        neighbours, states = lattice.neighbors(), np.arange(len(self.species) + 1)
        beside = np.where(neighbours >= 0, flat[neighbours], -1)
        itself = flat[:, np.newaxis] == states
        counts = (beside[..., np.newaxis] == states).sum(axis=1)
        pairs = itself[:, :, np.newaxis] * counts[:, np.newaxis, :]
        sums = centred_sums(pairs, itself, 1, flat, np.array(self.pairs), self._z)
        return sums.reshape(*lattice.site_shape, -1)

    def site_sums(self, x: np.ndarray, lattice: Lattice, window: Window) -> np.ndarray:
        flat, n_species = x.reshape(-1), len(self.species)
        pairs = window_pairs(flat, lattice, window, n_species)
        n_sites = math.prod(window[1]) * lattice.n_basis
        part = flat if n_sites == flat.size else x[lattice.mesh(*window)].reshape(-1)
        inside = species_counts(part, n_species)
        return centred_sums(pairs, inside, n_sites, flat, np.array(self.pairs), self._z)

    def _order(self, x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return what turns changes of the numbers of pairs into those of the observables' sums."""
        weight, _ = normalisation(x.reshape(-1), len(self.species), self._z)
        a, b = np.transpose(self.pairs)
        return lambda pairs: weight[a] * pairs[..., a + 1, b + 1]

    def upsample(
        self,
        x: np.ndarray,
        factor: tuple[int, ...],
        rng: np.random.Generator,
        nearby: np.ndarray | None = None,
    ) -> np.ndarray:
        """Tile copies, each shifted at random, of snapshots drawn from `nearby`, or of x itself.

        Atoms and vacancies are then exchanged at random places until the composition is that of x.
        """
        return tile_shifted(x, factor, rng, nearby, periodic=self.boundary == "periodic")

    # Dynamics -------------------------------------------------------------------------------------

    def walk(self, x: np.ndarray, lattice: Lattice, window: Window) -> VacancyWalk:
        """Return the vacancies of a snapshot x, which changes as those in a window jump."""
        return VacancyWalk(x, lattice, window, self._model, self._scale(), len(self.species))

    def advance_window(self, x: np.ndarray, lattice: Lattice, evolution: Evolution) -> float:
        return self.advance_observed(x, lattice, evolution)[0]

    def advance_observed(
        self, x: np.ndarray, lattice: Lattice, evolution: Evolution
    ) -> tuple[float, np.ndarray]:
        walk = self.walk(x, lattice, evolution.window)
        elapsed = walk.run(evolution.span, random_words(evolution.rng))
        _check_elapsed(elapsed, walk.n_active)
        return elapsed, self._order(x)(walk.pairs)

    def advance_windows(self, x: np.ndarray, lattice: Lattice, evolutions: Evolutions) -> None:
        """Evolve windows one after the other; one without vacancies stays as it is."""
        origins, extent, span, rng = evolutions
        walk = self.walk(x, lattice, lattice.full_window)
        walk.visit(origins, extent, span, random_words(rng), apart=False)

    def advance_apart(
        self, X: np.ndarray, lattice: Lattice, evolutions: Evolutions
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        origins, extent, span, streams = evolutions
        evolved = []
        for x, own, rng in zip(X, origins, streams, strict=True):
            walk = self.walk(x.copy(), lattice, lattice.full_window)
            tour = walk.visit(own, extent, span, random_words(rng), apart=True)
            _check_elapsed(tour.elapsed.max(), walk.n_active)
            evolved.append((tour.patches, tour.elapsed, self._order(x)(tour.pairs)))
        patches, elapsed, changes = map(np.array, zip(*evolved, strict=True))
        shape = (*extent, *lattice.site_shape[lattice.ndim :])
        return patches.reshape(*origins.shape[:2], *shape), elapsed, changes

    def events(self, x: np.ndarray, lattice: Lattice, window: Window) -> Events:
        """Return the jumps of the vacancies that stand in a window, those out of it included."""
        walk = self.walk(x.copy(), lattice, window)
        rates, ends, atoms, pairs = vacancy_jumps(x, lattice, walk)
        states = np.column_stack([atoms, np.zeros_like(atoms)])
        return Events(rates, ends, states, self._order(x)(pairs))

    def trajectory(self, x: np.ndarray, lattice: Lattice, rng: np.random.Generator) -> Trajectory:
        walk = self.walk(x, lattice, lattice.full_window)
        return VacancyTrajectory(walk, self._order(x), self, x, lattice, rng)


def _check_elapsed(elapsed: float, n_vacancies: int) -> None:
    """Raise ValueError if the time of some jumps is infinite, since none can happen."""
    if not np.isfinite(elapsed):
        raise ValueError(
            f"Expected a window in which a vacancy can jump, but got {n_vacancies} "
            "vacancies and none that can; advance by duration, or choose another window."
        )
