"""Stochastic predator-prey field in one dimension (Eqs. 20-22).

    u_t = u (1 - u - v) + c u_xx + sigma_u xi_u
    v_t = a v (u - b)   +   v_xx + sigma_v xi_v        zero flux at both ends

on cells of width `spacing`, by explicit Euler-Maruyama steps. Space-time white noise gives each
cell an independent increment of variance sigma^2 step / spacing. The discrete model in steps of
`step` is the model here; a snapshot has shape (n_cells, 2), prey u first.
"""

import math

import numpy as np

from sklmacro._base.checks import check_real
from sklmacro._base.kernels import njit
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.simulators.protocol import Evolution
from sklmacro.simulators.simulator import Simulator

NOISE_CHUNK = 1 << 16  # normal numbers drawn at a time


@njit(nogil=True)
def _euler_maruyama(
    x: np.ndarray,
    start: int,
    stop: int,
    noise: np.ndarray,
    step: float,
    parameters: tuple[float, float, float, float],
    amplitude: np.ndarray,
) -> None:
    """Advance cells [start, stop) of x (n_cells, 2) by noise.shape[0] steps, in place.

    `parameters` are a, b, c and 1 / spacing^2. Cells outside the window are frozen; at the chain's
    ends there is no flux.
    """
    n = x.shape[0]
    a, b, c, inverse_spacing2 = parameters
    for k in range(noise.shape[0]):
        u_left = x[start - 1, 0] if start > 0 else x[start, 0]
        v_left = x[start - 1, 1] if start > 0 else x[start, 1]
        for i in range(start, stop):
            u, v = x[i, 0], x[i, 1]
            u_right = x[i + 1, 0] if i + 1 < n else u
            v_right = x[i + 1, 1] if i + 1 < n else v
            # Eq. 20; `left` holds the neighbour's value before this step
            du = u * (1.0 - u - v) + c * inverse_spacing2 * (u_left - 2.0 * u + u_right)
            dv = a * v * (u - b) + inverse_spacing2 * (v_left - 2.0 * v + v_right)
            x[i, 0] = u + step * du + amplitude[0] * noise[k, i - start, 0]
            x[i, 1] = v + step * dv + amplitude[1] * noise[k, i - start, 1]
            u_left, v_left = u, v


class PredatorPrey(Simulator):
    """Stochastic predator-prey SPDE on an open chain (Eqs. 20-22).

    Parameters
    ----------
    a, b : float, default=3.0, 0.4
        Growth rate of the predator and the prey density at which it is zero.
    c : float, default=0.0
        Diffusion coefficient of the prey, at least 0; the predator's is 1.
    sigma_u, sigma_v : float, default=0.02
        Noise strengths, at least 0.
    spacing : float, default=1.0
        Width of a cell. The published figures use 1.
    step : float, default=0.01
        Time step. A step above `spacing**2 / (2 max(1, c))` is unstable and refused.
    amplitude_range, mean_range : (float, float), default=(0.05, 0.15), (0.45, 0.55)
        Initial snapshots are u = m + k cos(10 pi x), v = 1 - m - k cos(10 pi x) with k and m
        uniform in these ranges and x in (0, 1) the centre of a cell.

    Examples
    --------
    >>> from sklmacro.simulators import PredatorPrey
    >>> spde = PredatorPrey()
    >>> X = spde.sample_initial(2, 100, random_state=0)
    >>> X_next, elapsed = spde.advance(X, duration=0.1, random_state=0)
    >>> X_next.shape
    (2, 100, 2)
    """

    kind = "chain"
    boundary = "open"
    n_fields = 2
    has_events = True
    isotropic = True
    observable_names = ("mean prey", "mean predator")
    observable_units = ("1", "1")
    observable_bounds = ((-np.inf, np.inf), (-np.inf, np.inf))
    upsample_method = "linear"  # Sec. III.1
    pair_time = 0.01

    def __init__(
        self,
        a: float = 3.0,
        b: float = 0.4,
        c: float = 0.0,
        sigma_u: float = 0.02,
        sigma_v: float = 0.02,
        spacing: float = 1.0,
        step: float = 0.01,
        amplitude_range: tuple[float, float] = (0.05, 0.15),
        mean_range: tuple[float, float] = (0.45, 0.55),
    ):
        self.a = a
        self.b = b
        self.c = c
        self.sigma_u = sigma_u
        self.sigma_v = sigma_v
        self.spacing = spacing
        self.step = step
        self.amplitude_range = amplitude_range
        self.mean_range = mean_range

    def check_parameters(self) -> None:
        check_real(self.a, "a")
        check_real(self.b, "b")
        for name in ("c", "sigma_u", "sigma_v"):
            check_real(getattr(self, name), name, low=0.0)
        for name in ("amplitude_range", "mean_range"):
            low, high = (check_real(v, name) for v in getattr(self, name))
            if low > high:
                raise ValueError(
                    f"Expected {name} to be a pair (low, high), low at most high, but got "
                    f"({low:g}, {high:g}); exchange them."
                )
        check_real(self.spacing, "spacing", low=0.0, strict=True)
        check_real(self.step, "step", low=0.0, strict=True)
        limit = self.spacing**2 / (2 * max(1.0, self.c))
        if self.step > limit:
            raise ValueError(
                "Expected a stable explicit step, D step / spacing**2 <= 1/2 with D = "
                f"{max(1.0, self.c):g}, but got step={self.step:g} with spacing={self.spacing:g}, "
                f"which gives {self.step / limit / 2:g}; use a step of at most {limit:g} "
                "or a larger spacing."
            )

    def draw_initial(self, lattice: Lattice, rng: np.random.Generator) -> np.ndarray:
        k, m = rng.uniform(*self.amplitude_range), rng.uniform(*self.mean_range)
        return self.initial_state(lattice.cells[0], k, m)

    @staticmethod
    def initial_state(n_cells: int, amplitude: float, mean: float) -> np.ndarray:
        """Return the snapshot (n_cells, 2) with the given modulation and mean (Eq. 22)."""
        wave = amplitude * np.cos(10 * np.pi * (np.arange(n_cells) + 0.5) / n_cells)
        return np.stack([mean + wave, 1 - mean - wave], axis=-1)

    def advance_window(self, x: np.ndarray, lattice: Lattice, evolution: Evolution) -> float:
        """Evolve a window; an event is one time step."""
        ((start,), (extent,)), span, rng = evolution
        if span.time is None:
            n_steps, step = span.number, self.step
        else:
            n_steps = max(math.ceil(span.time / self.step - 1e-9), int(span.time > 0))
            step = span.time / max(n_steps, 1)
        scale = math.sqrt(step / self.spacing)
        amplitude = np.array([self.sigma_u * scale, self.sigma_v * scale])
        parameters = self.a, self.b, self.c, self.spacing**-2
        chunk = max(1, NOISE_CHUNK // (2 * extent))
        for done in range(0, n_steps, chunk):
            noise = rng.standard_normal((min(chunk, n_steps - done), extent, 2))
            _euler_maruyama(x, start, start + extent, noise, step, parameters, amplitude)
        return n_steps * step

    def one_step(
        self, x: np.ndarray, lattice: Lattice, window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        (start,), (extent,) = window
        padded = np.concatenate([x[:1], x, x[-1:]])  # zero flux
        bend = (padded[:-2] - 2 * x + padded[2:]) / self.spacing**2
        u, v = x.T
        local = np.column_stack([u * (1 - u - v), self.a * v * (u - self.b)])
        drift = local + np.array([self.c, 1.0]) * bend  # Eq. 20
        noise = np.array([self.sigma_u, self.sigma_v]) / math.sqrt(self.spacing)
        return drift[start : start + extent], np.tile(noise, (extent, 1))
