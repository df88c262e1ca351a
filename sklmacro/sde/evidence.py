"""Hyperparameters of a Gaussian process, by the likelihood with the process integrated out.

Each component i of the drift, at rows of states, has a law of its own,

    y_i ~ N(H b_i, V_i),   V_i = s_i^2 k + sum_o p_io^2 h_o h_o^T + t_i^2 N_i

with k the kernel, whose lengths all components share, H constant and linear functions with any
coefficients b_i, h_o the monomials of order o > 1, and N_i the noise. The coefficients b_i are
integrated out as well (restricted likelihood, Patterson and Thompson, Biometrika 58, 545 (1971)):
with P = V^{-1} - V^{-1} H (H^T V^{-1} H)^{-1} H^T V^{-1}, up to constants

    log p(y) = -(y^T P y + log det V + log det H^T V^{-1} H) / 2
    d log p / d V = (P y y^T P - P) / 2

Sampled increments have known noise, N_i diagonal and t_i = 1. What moments scatter about a function
of z, states of one trajectory share: rows m, n of one group have the correlation

    (1 - rho) [m = n] + rho exp(-|u_m - u_n| / c)

so that what a trajectory has of its own is not taken for what z explains.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

MAX_STEPS = 40
GRID = 16  # to the 16th part of a logarithm; what is finer the data do not tell, and rounding might
# Ranges of natural logarithms. Lengths are in standard deviations: the longer, the farther from the
# data is what the kernel says still heard.
LENGTHS = (-1.5, 2.5)
SIGNALS = (-7.0, 4.0)  # in units of what a linear function leaves of the data
NOISES = (-9.0, 1.0)
SHARES = (-5.0, 5.0)  # of log(rho / (1 - rho))
RANGES = (-3.0, 3.0)  # of c, in standard deviations
LARGEST = 1e10  # what a failed evaluation returns


@dataclass(frozen=True)
class Rows:
    """What hyperparameters are told from."""

    u: np.ndarray  # (n, n_in)
    y: np.ndarray  # (n, d), in units of what a linear function leaves
    noise: np.ndarray  # (n, d), diagonal of N
    same: (
        np.ndarray | None
    )  # (n, n), whether rows are of one group; None where all are by themselves
    known: bool  # whether the noise is known, t = 1
    parity: np.ndarray  # (n_in,)
    orders: list[np.ndarray]  # monomials of orders (0 and 1), 2, 3, ..., (n, q) each
    used: list[np.ndarray]  # which of them a component has, (d, q) each


@dataclass(frozen=True)
class Hyperparameters:
    """See the module."""

    lengths: np.ndarray  # (n_in,)
    signal: np.ndarray  # (d,), s
    orders: np.ndarray  # (n_orders, d), p of orders 2, 3, ...
    noise: np.ndarray  # (d,), t
    share: float  # rho
    range: float  # c

    @classmethod
    def of(cls, p: np.ndarray, rows: Rows) -> "Hyperparameters":
        """Return those of a vector of logarithms."""
        (_, d), m, n_orders = rows.y.shape, rows.u.shape[1], len(rows.orders) - 1
        lengths, signal, rest = np.split(np.exp(p), [m, m + d])
        orders, rest = rest[: n_orders * d].reshape(n_orders, d), rest[n_orders * d :]
        noise = np.ones(d) if rows.known else rest[:d]
        odds, reach = rest[-2:] if rows.same is not None else (0.0, 1.0)
        return cls(lengths, signal, orders, noise, odds / (1 + odds), reach)


def within_groups(same: np.ndarray, distances: np.ndarray, share: float, c: float) -> np.ndarray:
    """Return the correlation (n, n) of the noise of rows at these distances (n, n)."""
    correlation = np.where(same, share * np.exp(-distances / c), 0.0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _start(rows: Rows) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return logarithms to start from, and their ranges."""
    d, m, n_orders = rows.y.shape[1], rows.u.shape[1], len(rows.orders) - 1
    parts = [(1.0, LENGTHS, m), (-0.5, SIGNALS, d), (-1.5, SIGNALS, n_orders * d)]
    if not rows.known:
        parts.append((-1.5, NOISES, d))
    if rows.same is not None:
        parts += [(0.0, SHARES, 1), (0.0, RANGES, 1)]
    start = np.concatenate([np.full(n, value) for value, _, n in parts])
    return start, [limits for _, limits, n in parts for _ in range(n)]


def most_likely(rows: Rows) -> Hyperparameters:
    """Return the hyperparameters that maximise the restricted likelihood."""
    start, bounds = _start(rows)
    loss = Evidence(rows)
    p = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": MAX_STEPS}
    ).x
    return Hyperparameters.of(np.round(p * GRID) / GRID, rows)


class Evidence:
    """The negative log-likelihood of logarithms of hyperparameters, and its gradient."""

    def __init__(self, rows: Rows):
        self.rows = rows
        turned = rows.u * rows.parity
        self.images = [rows.u] if (rows.parity == 1).all() else [rows.u, turned]
        self.kinds = (rows.parity[: rows.y.shape[1]] == -1).astype(int)
        if rows.same is not None:
            self.distances = cdist(rows.u, rows.u)

    def __call__(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        """Return both; a large number where rounding leaves no positive covariance."""
        rows = self.rows
        n, d = rows.y.shape
        h = Hyperparameters.of(p, rows)
        kernel, slopes = self._kernel(h.lengths)
        correlation = np.eye(n)
        if rows.same is not None:
            correlation = within_groups(rows.same, self.distances, h.share, h.range)
        by_kernel = np.zeros((len(self.images), n, n))  # derivatives in k, summed over components
        by_noise = np.zeros((n, n))
        loss, signal, noise, orders = 0.0, np.zeros(d), np.zeros(d), np.zeros(h.orders.shape)
        for i, kind in enumerate(self.kinds):
            root = np.sqrt(rows.noise[:, i])
            own = np.outer(root, root) * correlation * h.noise[i] ** 2
            V = h.signal[i] ** 2 * kernel[kind] + own
            features = [f[:, used[i]] for f, used in zip(rows.orders, rows.used, strict=True)]
            for f, scale in zip(features[1:], h.orders[:, i], strict=True):
                V += scale**2 * f @ f.T
            value, G = _restricted(V, features[0], rows.y[:, i])
            if G is None:
                return LARGEST, np.zeros_like(p)
            loss += value
            signal[i] = 2 * h.signal[i] ** 2 * np.vdot(G, kernel[kind])
            noise[i] = 2 * np.vdot(G, own)
            for k, f in enumerate(features[1:]):
                orders[k, i] = 2 * h.orders[k, i] ** 2 * np.vdot(f, G @ f)
            by_kernel[kind] += h.signal[i] ** 2 * G
            if rows.same is not None:
                by_noise += h.noise[i] ** 2 * np.outer(root, root) * G
        parts = [self._by_lengths(by_kernel, slopes, h.lengths), signal, orders.ravel()]
        if not rows.known:
            parts.append(noise)
        if rows.same is not None:
            parts.append(self._by_groups(by_noise, correlation, h))
        return loss, np.concatenate(parts)

    def _kernel(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return k of either sign (n_signs, n, n), and -2 dk / dr^2 of each image."""
        squares = [
            5 * cdist(self.rows.u / lengths, image / lengths, "sqeuclidean")
            for image in self.images
        ]
        values, slopes = [], []
        for square in squares:
            r = np.sqrt(square)
            decay = np.exp(-r)
            values.append((1 + r + square / 3) * decay)
            slopes.append((1 + r) * decay / 3)
        if len(values) == 2:
            values = [(values[0] + values[1]) / 2, (values[0] - values[1]) / 2]
        return np.stack(values), np.stack(slopes)

    def _by_lengths(
        self, by_kernel: np.ndarray, slopes: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """Return the derivatives in log l_k, of r^2 -10 (u_k - u'_k)^2 / l_k^2."""
        if len(by_kernel) == 2:
            even, odd = by_kernel
            by_kernel = np.stack([(even + odd) / 2, (even - odd) / 2])
        total, u = np.zeros(len(lengths)), self.rows.u / lengths
        for G, slope, image in zip(by_kernel, slopes, self.images, strict=True):
            weight, v = G * slope, image / lengths
            total += weight.sum(axis=1) @ u**2 + weight.sum(axis=0) @ v**2
            total -= 2 * np.sum(u * (weight @ v), axis=0)
        return 5 * total

    def _by_groups(self, G: np.ndarray, correlation: np.ndarray, h: Hyperparameters) -> np.ndarray:
        """Return the derivatives in log(rho / (1 - rho)) and log c."""
        decay = correlation.copy()
        np.fill_diagonal(decay, 0.0)
        total = np.vdot(G, decay)
        return np.array([total * (1 - h.share), np.vdot(G, decay * self.distances) / h.range])


def _restricted(V: np.ndarray, H: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Return the negative restricted log-likelihood, and its derivative in V."""
    factor, failed = lapack.dpotrf(V, lower=1, overwrite_a=0)
    if failed:
        return LARGEST, None
    inverse, _ = lapack.dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    Z = inverse @ H
    middle = H.T @ Z
    scale = np.sqrt(np.maximum(np.diag(middle), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(middle / np.outer(scale, scale))
    kept = values > 1e-12 * values[-1]
    W = (Z / scale) @ vectors[:, kept] / np.sqrt(values[kept])
    P = inverse - W @ W.T
    alpha = P @ y
    loss = 0.5 * y @ alpha + np.log(np.diag(factor)).sum() + 0.5 * np.log(values[kept]).sum()
    return loss + np.log(scale).sum(), 0.5 * (P - np.outer(alpha, alpha))
