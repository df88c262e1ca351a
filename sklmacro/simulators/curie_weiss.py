"""Curie-Weiss model with continuous-time Glauber dynamics (Appendix D.1, Algorithm 2).

    H = -J/(2n) (sum_i s_i)^2 - h sum_i s_i,    flip of spin i at rate 1 / (1 + exp(H_i / T))

with H_i = 2 s_i (J (S - s_i)/n + h) and S = sum_i s_i over the whole lattice: every spin sees the
field of all the others. The spins stand on a square lattice, so that patches mean something.
Within a window there are two classes of spins, up and down, each of one rate.
"""

from functools import lru_cache

import numpy as np

from sklmacro._base.checks import check_real
from sklmacro._base.kernels import STEPS, heed, njit
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.simulators.events import Events
from sklmacro.simulators.glauber.rates import heat_bath
from sklmacro.simulators.glauber.tables import window_sites
from sklmacro.simulators.ising import random_spins
from sklmacro.simulators.machine.random_words import (
    LOW32,
    below,
    check_elapsed,
    next_word,
    random_words,
    uniform,
)
from sklmacro.simulators.protocol import Evolution
from sklmacro.simulators.simulator import Simulator


@njit(nogil=True)
def _attempts(
    spins: np.ndarray, total: int, up: np.ndarray, n_attempts: int, state: np.ndarray
) -> None:
    """Draw `n_attempts` random spins (of a flat window) anew from their heat-bath law, in place.

    `total` is S; `up[(S - s_i + n - 1) // 2]` the word of the heat-bath probability of an up spin.
    """
    shift = up.shape[0] - 1  # n - 1
    for done in range(0, n_attempts, STEPS):
        if done > 0:
            heed()
        for _ in range(min(STEPS, n_attempts - done)):
            site = below(spins.shape[0], state)
            others = total - spins[site]
            below_up = (next_word(state) & LOW32) < up[(others + shift) // 2]
            spins[site] = 1 if below_up else -1
            total = others + spins[site]


@njit(nogil=True)
def _flips(
    spins: np.ndarray, total: int, rates: np.ndarray, n_events: int, state: np.ndarray
) -> float:
    """Flip `n_events` spins of a flat window, in place; return the elapsed time.

    `rates[(S - s_i + n - 1) // 2]` are the rates at which a down and an up spin flip.
    """
    n, shift = spins.shape[0], rates.shape[0] - 1
    members, count = np.empty((2, n), np.int32), np.zeros(2, np.int64)  # sites down, and up
    for site in range(n):
        kind = (spins[site] + 1) // 2
        members[kind, count[kind]] = site
        count[kind] += 1
    elapsed = 0.0
    for k in range(n_events):
        if k % STEPS == STEPS - 1:
            heed()
        rise = count[0] * rates[(total + 1 + shift) // 2, 0] if count[0] > 0 else 0.0
        fall = count[1] * rates[(total - 1 + shift) // 2, 1] if count[1] > 0 else 0.0
        if rise + fall <= 0.0:
            return np.inf
        elapsed -= np.log(uniform(state)) / (rise + fall)  # Alg. 2, line 12
        kind = 0 if uniform(state) * (rise + fall) < rise else 1
        at = below(count[kind], state)
        site = members[kind, at]
        count[kind] -= 1
        members[kind, at] = members[kind, count[kind]]  # the last member takes its place
        members[1 - kind, count[1 - kind]] = site
        count[1 - kind] += 1
        spins[site] = 1 - 2 * kind
        total += 2 - 4 * kind
    return elapsed


@lru_cache(maxsize=64)
def _rates(
    n_sites: int, temperature: float, field: float, coupling: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return `heat_bath` for S - s_i = -(n-1), -(n-3) ... n-1."""
    others = np.arange(1 - n_sites, n_sites, 2)
    return heat_bath(2.0 * (coupling * others / n_sites + field) / temperature)


class CurieWeiss(Simulator):
    """Curie-Weiss model: all spins coupled, under continuous-time Glauber dynamics.

    The observable is the magnetisation M, which is closed by itself. Time is in sweeps.
    Probabilities are kept to 2**-32 when advanced by duration, exactly by number of events.

    Parameters
    ----------
    temperature : float, default=1.1
        Temperature T in units of J/k_B, positive. Critical: 1.
    field : float, default=0.0
        External field h, in units of J.
    coupling : float, default=1.0
        Coupling J.

    Examples
    --------
    >>> from sklmacro.simulators import CurieWeiss
    >>> model = CurieWeiss(temperature=1.1, field=0.1)
    >>> X = model.sample_initial(2, 8, random_state=0)
    >>> model.simulate(X, [0.0, 1.0], observe=True, random_state=0).shape
    (2, 2, 1)
    """

    kind = "square"
    boundary = "periodic"
    state_dtype = np.int8
    two_valued = True
    observable_names = ("magnetisation",)
    observable_bounds = ((-1.0, 1.0),)
    has_events = True
    isotropic = True
    start_method = "shuffle"
    relax_time = 1.0
    pair_time = 0.5

    def __init__(self, temperature: float = 1.1, field: float = 0.0, coupling: float = 1.0):
        self.temperature = temperature
        self.field = field
        self.coupling = coupling

    @property
    def parity(self) -> tuple[int, ...] | None:
        """(-1,) in the absence of a field, where all spins may be turned over; else None."""
        return (-1,) if self.field == 0 else None

    def check_parameters(self) -> None:
        check_real(self.temperature, "temperature", low=0.0, strict=True)
        check_real(self.field, "field")
        check_real(self.coupling, "coupling")

    def draw_initial(self, lattice: Lattice, rng: np.random.Generator) -> np.ndarray:
        """Draw independent spins whose magnetisation is uniform on its possible values."""
        return random_spins(lattice.cells, int(rng.integers(lattice.n_sites + 1)), rng)

    def advance_window(self, x: np.ndarray, lattice: Lattice, evolution: Evolution) -> float:
        window, span, rng = evolution
        box = lattice.mesh(*window)
        spins = x[box].ravel()
        total = int(x.sum(dtype=np.int64))
        rates, up = _rates(lattice.n_sites, self.temperature, self.field, self.coupling)
        if span.time is not None:
            n_attempts = rng.poisson(span.time * len(spins))
            _attempts(spins, total, up, n_attempts, random_words(rng))
            elapsed = span.time
        else:
            elapsed = _flips(spins, total, rates, span.number, random_words(rng))
        check_elapsed(elapsed, self.temperature)
        x[box] = spins.reshape(window.extent)
        return elapsed

    def events(self, x: np.ndarray, lattice: Lattice, window: Window) -> Events:
        sites = window_sites(lattice, *window).astype(np.int64)
        spins, total = x.reshape(-1)[sites].astype(int), int(x.sum(dtype=np.int64))
        rates, _ = _rates(lattice.n_sites, self.temperature, self.field, self.coupling)
        others = (total - spins + lattice.n_sites - 1) // 2
        new = -spins[:, np.newaxis]
        return Events(rates[others, (spins + 1) // 2], sites[:, np.newaxis], new, 2.0 * new)
