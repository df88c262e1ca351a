"""Two-dimensional Ising model with continuous-time Glauber dynamics (Eq. 23, Algorithm 2).

    H = -J sum_bonds s_i s_j - h sum_i s_i,     flip of spin i at rate r_i = 1 / (1 + exp(H_i / T))

with H_i = 2 s_i (J sum_nn s_j + h) the energy that the flip costs; k_B = 1. Two exact kernels:

- by duration: uniformisation. Every spin is drawn anew from its heat-bath law at rate 1, which
  flips it at rate r_i. The number of attempts in time t is Poisson with mean n t.
- by number of events: rejection-free, from lists of spins of equal rate.

A window is copied with a ring of its surroundings, which stays frozen. Beyond an open edge the ring
holds 0. Along an axis that the window fills on a periodic lattice the ring mirrors the other side.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit, uint64
from scipy.special import expit

from sklmacro._validation import check_choice, check_real
from sklmacro.lattice import Lattice
from sklmacro.simulators._base import Simulator, Window
from sklmacro.simulators._kmc import (
    LOW32,
    below,
    check_elapsed,
    class_draw,
    class_insert,
    class_remove,
    probability_words,
    random_words,
    rotate_left,
    uniform,
)

N_FIELDS = 9  # sums of up to four neighbours: -4 ... 4, odd ones at open edges


@njit(nogil=True)
def _load(x: np.ndarray, o0: int, o1: int, e0: int, e1: int, periodic: bool) -> np.ndarray:
    """Return a window of x with a ring of one site around it, (e0 + 2, e1 + 2)."""
    n0, n1 = x.shape
    ringed = np.zeros((e0 + 2, e1 + 2), np.int8)
    for i in range(e0 + 2):
        a = o0 + i - 1
        if periodic or 0 <= a < n0:
            a %= n0
            for j in range(e1 + 2):
                b = o1 + j - 1
                if periodic:  # b is less than one lattice away: no division
                    b += n1 if b < 0 else -n1 if b >= n1 else 0
                if 0 <= b < n1:
                    ringed[i, j] = x[a, b]
    return ringed


@njit(nogil=True)
def _store(ringed: np.ndarray, x: np.ndarray, o0: int, o1: int) -> None:
    """Write a window without its ring back to x."""
    n0, n1 = x.shape
    for i in range(ringed.shape[0] - 2):
        a = (o0 + i) % n0
        for j in range(ringed.shape[1] - 2):
            b = o1 + j
            x[a, b if b < n1 else b - n1] = ringed[i + 1, j + 1]


@njit(nogil=True)
def _mirror(ringed: np.ndarray, i: int, j: int, wrap0: bool, wrap1: bool) -> None:
    """Copy site (i, j) of the window to the ring, along axes that close on themselves."""
    e0, e1 = ringed.shape[0] - 2, ringed.shape[1] - 2
    spin = ringed[i + 1, j + 1]
    if wrap0:
        if i == 0:
            ringed[e0 + 1, j + 1] = spin
        if i == e0 - 1:
            ringed[0, j + 1] = spin
    if wrap1:
        if j == 0:
            ringed[i + 1, e1 + 1] = spin
        if j == e1 - 1:
            ringed[i + 1, 0] = spin


@njit(nogil=True)
def _attempts(
    ringed: np.ndarray, wrap0: bool, wrap1: bool, up: np.ndarray, n_attempts: int, state: np.ndarray
) -> None:
    """Draw `n_attempts` random spins anew from their heat-bath law, in place.

    One random word serves an attempt: its upper half picks the site (Lemire 2019, unbiased), its
    lower half the spin, up if below `up[4 + sum of neighbours]`.
    """
    e1, width = ringed.shape[1] - 2, ringed.shape[1]
    e0 = ringed.shape[0] - 2
    flat = ringed.ravel()
    n = uint64(e0 * e1)
    limit = (uint64(1) << uint64(32)) % n
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    done = 0
    while done < n_attempts:
        word = rotate_left(s0 + s3, 23) + s0
        t = s1 << uint64(17)
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= t
        s3 = rotate_left(s3, 45)
        product = (word >> uint64(32)) * n
        if (product & LOW32) < limit:
            continue
        done += 1
        site = np.uint32(product >> uint64(32))
        i = np.int64(site // np.uint32(e1))
        j = np.int64(site) - i * e1
        p = (i + 1) * width + j + 1
        around = flat[p - 1] + flat[p + 1] + flat[p - width] + flat[p + width]
        flat[p] = 2 * np.int8((word & LOW32) < up[around + 4]) - 1  # no branch to mispredict
        if i == 0 or j == 0 or i == e0 - 1 or j == e1 - 1:
            _mirror(ringed, i, j, wrap0, wrap1)
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3


@njit(nogil=True)
def _class_of(ringed: np.ndarray, i: int, j: int) -> np.int64:
    """Return 2 * (sum of neighbours + 4) + (1 if the spin is up)."""
    around = ringed[i, j + 1] + ringed[i + 2, j + 1] + ringed[i + 1, j] + ringed[i + 1, j + 2]
    return 2 * (np.int64(around) + 4) + (1 if ringed[i + 1, j + 1] > 0 else 0)


@njit(nogil=True)
def _events(
    ringed: np.ndarray,
    wrap0: bool,
    wrap1: bool,
    rates: np.ndarray,
    n_events: int,
    state: np.ndarray,
) -> float:
    """Flip `n_events` spins, each with probability r_i / R, in place; return the elapsed time.

    `rates` (18,) belongs to the classes of `_class_of`. The time is infinite if nothing can happen.
    """
    e0, e1 = ringed.shape[0] - 2, ringed.shape[1] - 2
    n = e0 * e1
    members = np.empty((2 * N_FIELDS, n), np.int32)
    place = np.empty(n, np.int32)
    kinds = np.empty(n, np.int64)
    count = np.zeros(2 * N_FIELDS, np.int64)
    for i in range(e0):
        for j in range(e1):
            kinds[i * e1 + j] = _class_of(ringed, i, j)
            class_insert(i * e1 + j, kinds[i * e1 + j], members, place, count)
    elapsed = 0.0
    for _ in range(n_events):
        total = 0.0
        for kind in range(2 * N_FIELDS):
            total += count[kind] * rates[kind]
        if total <= 0.0:
            return np.inf
        drawn = class_draw(rates, count, total, state)
        site = members[drawn, below(count[drawn], state)]
        elapsed -= np.log(uniform(state)) / total  # Alg. 2, line 12
        i, j = site // e1, site % e1
        turn = -np.int64(ringed[i + 1, j + 1])  # -1 if the spin goes down, +1 if up
        ringed[i + 1, j + 1] = turn
        _mirror(ringed, i, j, wrap0, wrap1)
        _reclass(site, turn, kinds, members, place, count)
        for step in range(4):  # the sum of each neighbour changes by 2 turn
            a = i + (1 if step == 0 else -1 if step == 1 else 0)
            b = j + (1 if step == 2 else -1 if step == 3 else 0)
            if wrap0:
                a %= e0
            if wrap1:
                b %= e1
            if 0 <= a < e0 and 0 <= b < e1:
                _reclass(a * e1 + b, 4 * turn, kinds, members, place, count)
    return elapsed


@njit(nogil=True)
def _reclass(
    site: int,
    change: int,
    kinds: np.ndarray,
    members: np.ndarray,
    place: np.ndarray,
    count: np.ndarray,
) -> None:
    """Move a site to the class `change` places further."""
    class_remove(site, kinds[site], members, place, count)
    kinds[site] += change
    class_insert(site, kinds[site], members, place, count)


@njit(nogil=True)
def _evolve_windows(
    x: np.ndarray,
    origins: np.ndarray,
    e0: int,
    e1: int,
    periodic: bool,
    up: np.ndarray,
    rates: np.ndarray,
    n_attempts: np.ndarray,
    n_events: int,
    state: np.ndarray,
) -> float:
    """Evolve windows one after the other, in place; return the time that all events took.

    By attempts (one number a window) if `n_events` is negative, else by events.
    """
    wrap0, wrap1 = periodic and e0 == x.shape[0], periodic and e1 == x.shape[1]
    elapsed = 0.0
    for w in range(origins.shape[0]):
        ringed = _load(x, origins[w, 0], origins[w, 1], e0, e1, periodic)
        if n_events < 0:
            _attempts(ringed, wrap0, wrap1, up, n_attempts[w], state)
        else:
            elapsed += _events(ringed, wrap0, wrap1, rates, n_events, state)
        _store(ringed, x, origins[w, 0], origins[w, 1])
    return elapsed


@njit(nogil=True)
def _sums(x: np.ndarray, o0: int, o1: int, e0: int, e1: int, periodic: bool) -> tuple[float, float]:
    """Return the sums over a window of s_i and of (1/8) sum_nn (1 - s_i s_j)."""
    ringed = _load(x, o0, o1, e0, e1, periodic)
    spins, walls = np.int64(0), np.int64(0)
    for i in range(1, e0 + 1):
        for j in range(1, e1 + 1):
            s = np.int64(ringed[i, j])
            spins += s
            for t in (ringed[i - 1, j], ringed[i + 1, j], ringed[i, j - 1], ringed[i, j + 1]):
                walls += 1 if s * t < 0 else 0
    return float(spins), walls / 4.0


class Ising(Simulator):
    """Ising model on the square lattice under continuous-time Glauber dynamics.

    The observables are the magnetisation M and the domain wall density (Eq. 24), the fraction of
    unequal bonds. Time is in sweeps: in unit time every spin is attempted once on average.
    Probabilities are kept to 2**-32 when advanced by duration, exactly by number of events: below a
    temperature of about 0.4 J count events.

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

    Examples
    --------
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=2.27)
    >>> X = ising.sample_initial(4, 16, random_state=0)
    >>> X_next, elapsed = ising.advance(X, n_events=100, random_state=0)
    >>> ising.observe(X_next).shape
    (4, 2)
    """

    kind = "square"
    state_dtype = np.int8
    two_valued = True
    observable_names = ("magnetisation", "domain wall density")
    observable_units = ("1", "1")
    observable_bounds = ((-1.0, 1.0), (0.0, 1.0))
    observable_range = 1
    has_events = True
    relax_time = 8.0
    pair_time = 0.5

    def __init__(
        self,
        temperature: float = 2.5,
        field: float = 0.0,
        coupling: float = 1.0,
        boundary: str = "periodic",
    ):
        self.temperature = temperature
        self.field = field
        self.coupling = coupling
        self.boundary = boundary

    def _validate_parameters(self) -> None:
        check_real(self.temperature, "temperature", low=0.0, strict=True)
        check_real(self.field, "field")
        check_real(self.coupling, "coupling")
        check_choice(self.boundary, "boundary", ("periodic", "open"))

    def lattice(self, snapshot_shape: Sequence[int]) -> Lattice:
        """Return the lattice of snapshots; a periodic one has at least two cells an axis."""
        lattice = super().lattice(snapshot_shape)
        if self.boundary == "periodic" and min(lattice.cells) < 2:
            raise ValueError(
                "Expected at least 2 cells along each axis of a periodic Ising lattice, but got "
                f"{lattice.cells}; a spin would be its own neighbour, so use a larger lattice."
            )
        return lattice

    def density(self, x: np.ndarray) -> np.ndarray:
        """Return s_i and (1/8) sum_nn (1 - s_i s_j), shape (n_x, n_y, 2)."""
        spins = np.asarray(x, np.float64)
        around = np.pad(spins, 1, mode="wrap" if self.boundary == "periodic" else "constant")
        neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
        walls = sum(spins * n < 0 for n in neighbours) / 4.0
        return np.stack([spins, walls], axis=-1)

    def _draw_initial(self, lattice: Lattice, rng: np.random.Generator) -> np.ndarray:
        """Draw independent spins whose magnetisation is uniform on its possible values."""
        return random_spins(lattice.cells, int(rng.integers(lattice.n_sites + 1)), rng)

    def _rates(self) -> np.ndarray:
        """Return the rates (9, 2) at which a down and an up spin flip for neighbour sums -4 ... 4.

        The first column is the heat-bath probability of an up spin, the second one minus it, not
        taken as a difference, which would lose the rare flips of low temperatures.
        """
        cost = 2.0 * (self.coupling * np.arange(-4.0, 5.0) + self.field) / self.temperature
        return np.column_stack([expit(cost), expit(-cost)])

    def _evolve(
        self,
        x: np.ndarray,
        origins: np.ndarray,
        extent: tuple[int, ...],
        duration: float | None,
        n_events: int | None,
        rng: np.random.Generator,
    ) -> float:
        rates = self._rates()
        n_attempts = (
            np.zeros(len(origins), np.int64)
            if duration is None
            else rng.poisson(duration * extent[0] * extent[1], len(origins))
        )
        elapsed = _evolve_windows(
            x,
            origins,
            *extent,
            self.boundary == "periodic",
            probability_words(rates[:, 0]),
            rates.ravel(),
            n_attempts,
            -1 if n_events is None else n_events,
            random_words(rng),
        )
        check_elapsed(elapsed, self.temperature)
        return elapsed if duration is None else float(duration)

    def _advance_window(
        self,
        x: np.ndarray,
        lattice: Lattice,
        window: Window,
        duration: float | None,
        n_events: int | None,
        rng: np.random.Generator,
    ) -> float:
        return self._evolve(x, np.array([window[0]]), window[1], duration, n_events, rng)

    def _advance_windows(
        self,
        x: np.ndarray,
        lattice: Lattice,
        origins: np.ndarray,
        extent: tuple[int, ...],
        duration: float | None,
        n_events: int | None,
        rng: np.random.Generator,
    ) -> None:
        self._evolve(x, origins, extent, duration, n_events, rng)

    def _site_sums(self, x: np.ndarray, lattice: Lattice, window: Window) -> np.ndarray:
        return np.array(_sums(x, *window[0], *window[1], self.boundary == "periodic"))


def random_spins(shape: tuple[int, ...], n_up: int, rng: np.random.Generator) -> np.ndarray:
    """Return spins of the given shape, `n_up` of them up at random places."""
    spins = np.full(int(np.prod(shape)), -1, np.int8)
    spins[:n_up] = 1
    return rng.permutation(spins).reshape(shape)
