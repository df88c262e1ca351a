"""Driven linear chain (Appendix D.2): the model with a known macroscopic SDE.

    dX_1 = [-gamma X_1 + kappa (X_2 - X_1) + F] dt + sigma dW_1
    dX_i = [-gamma X_i + kappa (X_{i-1} - 2 X_i + X_{i+1})] dt + sigma dW_i
    dX_N = [-gamma X_N + kappa (X_{N-1} - X_N)] dt + sigma dW_N

The mean m of N sites is closed: dm = (-gamma m + F/N) dt + sigma/sqrt(N) dB. The chain is linear,
so that a step of any length is drawn from its exact Gaussian transition.
"""

from functools import lru_cache

import numpy as np

from sklmacro._base.checks import check_real
from sklmacro._base.kernels import njit
from sklmacro._base.workers import single_threaded
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.simulators.protocol import Evolution
from sklmacro.simulators.simulator import Simulator


@njit(nogil=True)
def _affine_step(
    x: np.ndarray,
    left: float,
    right: float,
    matrix: np.ndarray,
    response: np.ndarray,
    factor: np.ndarray,
    noise: np.ndarray,
) -> np.ndarray:
    """Return matrix x + response push + factor noise, summed in one fixed order.

    `left` and `right` are the constant pushes on the first and the last site.
    """
    n = x.shape[0]
    out = np.empty(n)
    for i in range(n):
        total = response[i, 0] * left + response[i, n - 1] * right
        for j in range(n):
            total += matrix[i, j] * x[j] + factor[i, j] * noise[j]
        out[i] = total
    return out


@lru_cache(maxsize=64)
def _transition(
    n: int, at_start: bool, at_end: bool, gamma: float, kappa: float, sigma: float, duration: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `LinearChain.propagator` does."""
    A = np.diag(np.full(n, -gamma - 2 * kappa)) + kappa * (np.eye(n, k=1) + np.eye(n, k=-1))
    A[0, 0] += kappa * at_start
    A[-1, -1] += kappa * at_end
    with single_threaded():  # the same bits in every worker, see there
        rates, Q = np.linalg.eigh(A)
        rates = np.where(np.abs(rates) < 1e-12, 0.0, rates)
        safe = np.where(rates == 0.0, 1.0, rates)
        integral = np.where(rates == 0.0, duration, np.expm1(safe * duration) / safe)
        variance = np.where(rates == 0.0, duration, np.expm1(2 * safe * duration) / (2 * safe))
        parts = (
            (Q * np.exp(rates * duration)) @ Q.T,
            (Q * integral) @ Q.T,
            sigma * (Q * np.sqrt(variance)) @ Q.T,
        )
    for part in parts:
        part.setflags(write=False)
    return parts


class LinearChain(Simulator):
    """Open chain of linearly coupled particles, the first one driven (Appendix D.2).

    Parameters
    ----------
    gamma : float, default=0.1
        Friction on every site, 1/time, at least 0.
    kappa : float, default=1.0
        Coupling of neighbours, 1/time, at least 0.
    force : float, default=15.0
        Constant force F on the first site, displacement/time.
    sigma : float, default=1.0
        Noise strength, displacement/sqrt(time), at least 0.
    initial_spread : float, default=10.0
        Initial snapshots are a common displacement drawn from U(-spread, spread) plus independent
        standard normal numbers.

    Examples
    --------
    >>> from sklmacro.simulators import LinearChain
    >>> chain = LinearChain()
    >>> X = chain.sample_initial(3, 10, random_state=0)
    >>> chain.simulate(X, [0.0, 1.0, 2.0], random_state=0).shape
    (3, 3, 10)
    """

    kind = "chain"
    boundary = "open"
    observable_names = ("mean displacement",)
    start_method = "shuffle"
    pair_time = 0.05

    def __init__(
        self,
        gamma: float = 0.1,
        kappa: float = 1.0,
        force: float = 15.0,
        sigma: float = 1.0,
        initial_spread: float = 10.0,
    ):
        self.gamma = gamma
        self.kappa = kappa
        self.force = force
        self.sigma = sigma
        self.initial_spread = initial_spread

    def check_parameters(self) -> None:
        for name in ("gamma", "kappa", "sigma", "initial_spread"):
            check_real(getattr(self, name), name, low=0.0)
        check_real(self.force, "force")

    def draw_initial(self, lattice: Lattice, rng: np.random.Generator) -> np.ndarray:
        common = rng.uniform(-self.initial_spread, self.initial_spread)
        return common + rng.standard_normal(lattice.cells[0])

    def transition(
        self, n_sites: int, duration: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the exact Gaussian transition of a whole chain.

        Returns
        -------
        matrix : ndarray of shape (n_sites, n_sites)
        offset : ndarray of shape (n_sites,)
        covariance : ndarray of shape (n_sites, n_sites)
            X(t + duration) given X(t) is N(matrix X(t) + offset, covariance).
        """
        matrix, response, factor = self.propagator(n_sites, True, True, duration)
        return matrix.copy(), self.force * response[:, 0], factor @ factor.T

    def propagator(
        self, n: int, at_start: bool, at_end: bool, duration: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return exp(A t), its integral over [0, t], and a factor of the noise covariance.

        A (n, n) is the symmetric matrix of the drift within a window of n sites, whose outside is
        frozen unless the window is `at_start` or `at_end` of the chain.
        """
        return _transition(n, at_start, at_end, self.gamma, self.kappa, self.sigma, float(duration))

    def advance_window(self, x: np.ndarray, lattice: Lattice, evolution: Evolution) -> float:
        duration = evolution.span.time
        if not duration:
            return 0.0
        (start,), (extent,) = evolution.window
        stop, n = start + extent, lattice.cells[0]
        left = self.force if start == 0 else self.kappa * x[start - 1]
        right = 0.0 if stop == n else self.kappa * x[stop]
        parts = self.propagator(extent, start == 0, stop == n, duration)
        noise = evolution.rng.standard_normal(extent)
        x[start:stop] = _affine_step(x[start:stop].copy(), left, right, *parts, noise)
        return duration

    def one_step(
        self, x: np.ndarray, lattice: Lattice, window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        (start,), (extent,) = window
        padded = np.concatenate([x[:1], x, x[-1:]])  # a force between equals vanishes
        drift = -self.gamma * x + self.kappa * (padded[:-2] - 2 * x + padded[2:])
        drift[0] += self.force
        return drift[start : start + extent], np.full(extent, float(self.sigma))
