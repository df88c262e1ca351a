"""SDEs whose drift is polynomials and kernel functions, and what their coefficients leave open.

    mu_i(u)  = sum_q B_iq f_q(u) + sum_m a_im k(u, c_m)
    k(u, c)  = (1 + r + r^2 / 3) e^{-r},   r^2 = 5 sum_k (u_k - c_k)^2 / l_k^2     Matern 5/2

Near the centres c_m, chosen from the data, the kernel functions say how the drift differs from a
polynomial of low degree; far from them they vanish. Polynomials and covariance are those of
`regressions`, linear beyond the range of the data.

With psi = R^{-1} k(c, u), R R^T = k(c, c), the coefficients w = R^T a are independent of each other
before there are data. After them, coefficients are known but for S xi with xi ~ N(0, 1), and

    Var mu_i(u) = |S_i^T (f, psi)|^2 + s_i^2 (k(u, u) - |psi|^2)

The second term is what no coefficient describes: s_i^2 far from all centres.

With a parity k is replaced by (k(u, c) + P_i k(P u, c)) / 2, exactly of the sign of mu_i.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist

from sklmacro.sde.regressions import PolynomialSDE, monomials

JITTER = 1e-10  # on the diagonal of k(c, c); rounding makes near centres dependent
FARTHEST = 1e4  # r^2 at which k, of 1e-40, no longer becomes smaller
BATCH = 4096  # states whose kernel functions are held at a time


def matern(a: np.ndarray, b: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return k (n, m) of a (n, n_in) and b (m, n_in)."""
    return _matern(cdist(a / lengths, b / lengths, "sqeuclidean"))


def _matern(squares: np.ndarray) -> np.ndarray:
    """Return k for squared distances in units of the lengths."""
    r = np.sqrt(np.minimum(5 * squares, FARTHEST))
    return (1 + r + r * r / 3) * np.exp(-r)


@dataclass(frozen=True)
class Kernel:
    """Kernel functions about centres, in the two kinds that a symmetry has."""

    centres: np.ndarray  # (M, n_in)
    lengths: np.ndarray  # (n_in,)
    parity: np.ndarray  # (n_in,), all 1 where there is no symmetry

    @property
    def signs(self) -> np.ndarray:
        """Return the signs that functions can have: 1, and -1 where there is a symmetry."""
        return np.array([1.0, -1.0]) if (self.parity == -1).any() else np.ones(1)

    def values(self, u: np.ndarray) -> np.ndarray:
        """Return k(u, c) of either sign, (n_signs, n, M)."""
        here = matern(u, self.centres, self.lengths)
        if len(self.signs) == 1:
            return here[None]
        there = matern(u * self.parity, self.centres, self.lengths)
        return np.stack([(here + there) / 2, (here - there) / 2])

    def own(self, u: np.ndarray) -> np.ndarray:
        """Return k(u, u) of either sign, (n_signs, n)."""
        if len(self.signs) == 1:
            return np.ones((1, len(u)))
        turned = _matern(np.sum(((u - u * self.parity) / self.lengths) ** 2, axis=1))
        return np.stack([(1 + turned) / 2, (1 - turned) / 2])

    @cached_property
    def root(self) -> np.ndarray:
        """R of either sign, (n_signs, M, M)."""
        return np.linalg.cholesky(self.values(self.centres) + JITTER * np.eye(len(self.centres)))

    def independent(self, u: np.ndarray) -> np.ndarray:
        """Return psi (n_signs, n, M), whose coefficients are independent of each other."""
        pairs = zip(self.root, self.values(u), strict=True)
        return np.stack([solve_triangular(R, k.T, lower=True).T for R, k in pairs])

    def weights(self, w: np.ndarray) -> np.ndarray:
        """Return a = R^{-T} w for w (n_signs, ..., M)."""
        flat = w.reshape(len(w), -1, w.shape[-1])
        pairs = zip(self.root, flat, strict=True)
        a = [solve_triangular(R, one.T, lower=True, trans=1).T for R, one in pairs]
        return np.stack(a).reshape(w.shape)


@dataclass(frozen=True)
class KernelSDE:
    """A fitted SDE; `u` (n, d + n_context) is the standardised state and context."""

    polynomial: PolynomialSDE  # the part without kernel functions, and the covariance
    centres: np.ndarray  # (M, d + n_context)
    lengths: np.ndarray  # (d + n_context,), of the kernel
    parity: np.ndarray  # (d + n_context,)
    weights: np.ndarray  # (d, M), a
    signal: np.ndarray  # (d,), s, in units of `polynomial.drift_scale` as `weights` and `spread`
    spread: np.ndarray  # (d, q + M, r), S_i of the coefficients of (f, psi)
    joint: bool  # whether all components share one xi (r,), or have one each

    @property
    def drift_scale(self) -> np.ndarray:
        """Return the physical drift over the model's, (d,)."""
        return self.polynomial.drift_scale

    @property
    def noise_scale(self) -> np.ndarray:
        """Return the physical rows of L over the model's, (d,)."""
        return self.polynomial.noise_scale

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel functions."""
        return Kernel(self.centres, self.lengths, self.parity)

    @property
    def kinds(self) -> np.ndarray:
        """Return which sign of kernel functions each component has, (d,): 0 for even, 1 for odd."""
        return (self.parity[: len(self.weights)] == -1).astype(int)

    def coefficients(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the drift (n, d) and the factor L (n, d, d)."""
        drift, factor = self.polynomial.coefficients(u)
        for start in range(0, len(u), BATCH):
            rows = slice(start, start + BATCH)
            for kind, values in enumerate(self.kernel.values(u[rows])):
                mine = self.kinds == kind
                drift[rows, mine] += (values @ self.weights[mine].T) * self.drift_scale[mine]
        return drift, factor

    def drift_covariance(self, u: np.ndarray) -> np.ndarray:
        """Return the covariance (n, d, d) of the drift's error."""
        d = len(self.weights)
        covariance = np.empty((len(u), d, d))
        for start in range(0, len(u), BATCH):
            rows = slice(start, start + BATCH)
            f, psi = self._mean(u[rows]), self.kernel.independent(u[rows])
            own = self.kernel.own(u[rows]) - np.sum(psi**2, axis=2)
            known = [
                np.hstack([f, psi[k]]) @ S for k, S in zip(self.kinds, self.spread, strict=True)
            ]
            for i in range(d):
                for j in range(d):
                    shared = np.sum(known[i] * known[j], axis=1) if self.joint or i == j else 0.0
                    covariance[rows, i, j] = shared
                rest = self.signal[i] ** 2 * np.maximum(own[self.kinds[i]], 0.0)
                covariance[rows, i, i] += rest
        return covariance * np.outer(self.drift_scale, self.drift_scale)

    def sample(self, rng: np.random.Generator) -> "KernelSDE":
        """Return an SDE whose drift is drawn from what the data leave open."""
        d, n, r = self.spread.shape
        xi = rng.standard_normal((1 if self.joint else d, r))
        change = np.einsum("ipr,ir->ip", self.spread, np.broadcast_to(xi, (d, r)))
        q = n - len(self.centres)
        w = self.kernel.weights(np.broadcast_to(change[:, q:], (len(self.kernel.signs), d, n - q)))
        old = self.polynomial
        slope = old.slope + change[:, 1 : 1 + old.slope.shape[1]]
        polynomial = replace(old, B=old.B + change[:, :q], slope=slope)
        weights = self.weights + w[self.kinds, np.arange(d)]
        return replace(self, polynomial=polynomial, weights=weights)

    def _mean(self, u: np.ndarray) -> np.ndarray:
        """Return the monomials at u (n, n_in), of which the linear ones go on beyond the range."""
        f = monomials(np.clip(u, self.polynomial.low, self.polynomial.high), self.polynomial.degree)
        f[:, 1 : 1 + u.shape[1]] = u
        return f
