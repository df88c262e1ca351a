"""Simulators as a user writes them, by the guide docs/howto/own-simulator.

    Potts     site -> a at rate e^{n_a/T} / sum_b e^{n_b/T},   n_a neighbours in state a of three
    SIRS      S -> I at rate beta n_I / 4,   I -> R at rate 1,   R -> S at rate xi
    FitzHugh  du = (u - u^3 - v + D lap u) dt + sigma dW,   dv = eps (u - b v + a) dt + sigma dW'

`start` makes a snapshot of given shares of the first two states, or means of the fields, in random
order.
"""

import math
from typing import ClassVar

import numpy as np
from numba import njit

from sklmacro.simulators import Events, Simulator

NEAR = [(step, axis) for step in (1, -1) for axis in (0, 1)]


class ThreeStates(Simulator):
    """States 0, 1, 2 on a periodic square lattice, a site at a time."""

    kind = "square"
    boundary = "periodic"
    state_dtype = np.int8
    isotropic = True
    start_method = "shuffle"
    observable_range = 1

    def draw_initial(self, lattice, rng):
        return self.start(rng.dirichlet(np.ones(3))[:2], lattice.cells, rng)

    @staticmethod
    def start(shares, cells, rng):
        ends = np.round(np.cumsum(shares) * math.prod(cells))
        states = np.searchsorted(ends, np.arange(math.prod(cells)), side="right")
        return rng.permutation(states).astype(np.int8).reshape(cells)

    @staticmethod
    def near(x):
        """Return the numbers (*cells, 3) of neighbours in each state."""
        one = (x[..., np.newaxis] == np.arange(3)).astype(float)
        return sum(np.roll(one, *step) for step in NEAR)


@njit(nogil=True)
def draw_anew(x, origin, extent, n, rng, weights):
    """Draw n sites of a window anew, one after the other, in place."""
    n0, n1 = x.shape
    count = np.empty(3, np.int64)
    for _ in range(n):
        i = (origin[0] + int(rng.random() * extent[0])) % n0
        j = (origin[1] + int(rng.random() * extent[1])) % n1
        count[:] = 0
        count[x[i - 1, j]] += 1
        count[x[(i + 1) % n0, j]] += 1
        count[x[i, j - 1]] += 1
        count[x[i, (j + 1) % n1]] += 1
        w0, w1, w2 = weights[count[0]], weights[count[1]], weights[count[2]]
        u = rng.random() * (w0 + w1 + w2)
        x[i, j] = 0 if u < w0 else (1 if u < w0 + w1 else 2)


class Potts(ThreeStates):
    """Potts model of three states, heat bath; critical at T = 1 / ln(1 + sqrt 3) = 0.995."""

    state_names: ClassVar = {0: "A", 1: "B", 2: "C"}
    observable_names = ("share of A", "share of B", "unequal bonds")
    observable_units = ("1", "1", "1")
    observable_bounds = ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0))
    fast_observables = ("unequal bonds",)
    relax_time, pair_time = 8.0, 0.5

    def __init__(self, temperature=1.3):
        self.temperature = temperature

    def advance_window(self, x, lattice, evolution):
        (origin, extent), span, rng = evolution
        weights = np.exp(np.arange(5) / self.temperature)
        n = rng.poisson(span.time * math.prod(extent))
        draw_anew(x, tuple(origin), tuple(extent), n, rng, weights)
        return span.time

    def density(self, x):
        unlike = np.mean([x != np.roll(x, *step) for step in NEAR], axis=0)
        return np.stack([x == 0, x == 1, unlike], axis=-1).astype(float)

    def events(self, x, lattice, window):
        box = lattice.window(*window)
        state, near = x[box].ravel(), self.near(x)[box].reshape(-1, 3)
        sites = np.arange(x.size).reshape(x.shape)[box].ravel()
        weights = np.exp(near / self.temperature)
        rates = weights / weights.sum(axis=1, keepdims=True)
        rows, kinds = np.arange(len(state)), []
        for turn in (1, 2):
            new = (state + turn) % 3
            changes = [(new == a).astype(float) - (state == a) for a in (0, 1)]
            changes.append((near[rows, state] - near[rows, new]) / 2)  # each bond has two ends
            kinds.append((rates[rows, new], sites[:, None], new[:, None], np.stack(changes, 1)))
        return Events(*map(np.concatenate, zip(*kinds, strict=True)))


@njit(nogil=True)
def attempt(x, origin, extent, n, rng, beta, xi, total):
    """Try to change n sites of a window, one after the other, in place."""
    n0, n1 = x.shape
    for _ in range(n):
        i = (origin[0] + int(rng.random() * extent[0])) % n0
        j = (origin[1] + int(rng.random() * extent[1])) % n1
        rate = 1.0
        if x[i, j] == 0:
            infected = (x[i - 1, j] == 1) + (x[(i + 1) % n0, j] == 1)
            rate = beta / 4 * (infected + (x[i, j - 1] == 1) + (x[i, (j + 1) % n1] == 1))
        elif x[i, j] == 2:
            rate = xi
        if rng.random() * total < rate:
            x[i, j] = (x[i, j] + 1) % 3


class SIRS(ThreeStates):
    """Susceptible, infected, recovered, and susceptible again."""

    state_names: ClassVar = {0: "S", 1: "I", 2: "R"}
    observable_names = ("susceptible", "infected")
    observable_units = ("1", "1")
    observable_bounds = ((0.0, 1.0), (0.0, 1.0))
    observable_range = 0
    relax_time, pair_time = 2.0, 0.2

    def __init__(self, beta=4.0, xi=0.5):
        self.beta = beta
        self.xi = xi

    def advance_window(self, x, lattice, evolution):
        (origin, extent), span, rng = evolution
        total = max(1.0, self.beta, self.xi)
        n = rng.poisson(total * span.time * math.prod(extent))
        attempt(x, tuple(origin), tuple(extent), n, rng, self.beta, self.xi, total)
        return span.time

    def density(self, x):
        return np.stack([x == 0, x == 1], axis=-1).astype(float)

    def events(self, x, lattice, window):
        box = lattice.window(*window)
        state, infected = x[box].ravel(), self.near(x)[box].reshape(-1, 3)[:, 1]
        sites = np.arange(x.size).reshape(x.shape)[box].ravel()
        rates = np.choose(state, [self.beta / 4 * infected, 1.0, self.xi])
        changes = np.array([[-1.0, 1.0], [0.0, -1.0], [1.0, 0.0]])[state]
        return Events(rates, sites[:, None], ((state + 1) % 3)[:, None], changes)


@njit(nogil=True)
def step_fields(x, origin, extent, n_steps, step, rng, parameters):
    """Advance a window of x (n0, n1, 2) by Euler-Maruyama steps, in place; the rest is frozen."""
    n0, n1, _ = x.shape
    a, b, eps, diffusion, sigma = parameters
    root = sigma * math.sqrt(step)
    u, v = np.empty(extent), np.empty(extent)
    for _ in range(n_steps):
        for k in range(extent[0]):
            i = (origin[0] + k) % n0
            for m in range(extent[1]):
                j = (origin[1] + m) % n1
                own, other = x[i, j]
                bend = x[i - 1, j, 0] + x[(i + 1) % n0, j, 0] + x[i, j - 1, 0]
                bend += x[i, (j + 1) % n1, 0] - 4 * own
                u[k, m] = own + step * (own - own**3 - other + diffusion * bend)
                v[k, m] = other + step * eps * (own - b * other + a)
        for k in range(extent[0]):
            i = (origin[0] + k) % n0
            for m in range(extent[1]):
                j = (origin[1] + m) % n1
                x[i, j, 0] = u[k, m] + root * rng.standard_normal()
                x[i, j, 1] = v[k, m] + root * rng.standard_normal()


class FitzHugh(Simulator):
    """Stochastic FitzHugh-Nagumo fields; they oscillate at a = 0, and are excitable at a = 0.5."""

    kind = "square"
    boundary = "periodic"
    n_fields = 2
    isotropic = True
    start_method = "shuffle"
    observable_names = ("mean u", "mean v")
    observable_units = ("1", "1")
    observable_bounds = ((-np.inf, np.inf), (-np.inf, np.inf))
    relax_time, pair_time = 2.0, 0.2

    def __init__(self, a=0.0, b=0.5, eps=0.1, diffusion=1.0, sigma=0.1, step=0.05):
        self.a = a
        self.b = b
        self.eps = eps
        self.diffusion = diffusion
        self.sigma = sigma
        self.step = step

    def draw_initial(self, lattice, rng):
        return self.start(rng.uniform((-1.2, -0.6), (1.2, 0.6)), lattice.cells, rng)

    @staticmethod
    def start(means, cells, rng):
        return means + 0.2 * rng.standard_normal((*cells, 2))

    def advance_window(self, x, lattice, evolution):
        (origin, extent), span, rng = evolution
        n_steps = max(1, math.ceil(span.time / self.step - 1e-9))
        parameters = self.a, self.b, self.eps, self.diffusion, self.sigma
        step = span.time / n_steps
        step_fields(x, tuple(origin), tuple(extent), n_steps, step, rng, parameters)
        return span.time

    def one_step(self, x, lattice, window):
        box = lattice.window(*window)
        u, v = x[..., 0], x[..., 1]
        bend = sum(np.roll(u, *step) for step in NEAR) - 4 * u
        du = u - u**3 - v + self.diffusion * bend
        drift = np.stack([du, self.eps * (u - self.b * v + self.a)], axis=-1)[box]
        return drift, np.full(drift.shape, self.sigma)


class NoMoments:
    """Hides the moments of a simulator: `class Plain(NoMoments, Ising)`."""

    process = None
