"""Likelihood of macroscopic increments (Eqs. 6-7), as free functions.

    dz ~ N(mu dt, lam Sigma dt),   Sigma = L L^T

with `lam = 1` for the whole system evolved (Eq. 6) and `lam = K` for one of K patches (Eq. 7). In
terms of the whitened residual w = L^{-1} (dz - mu dt) / sqrt(lam dt), solved for row by row:

    -log p = w^T w / 2 + sum_i log L_ii + d/2 log(2 pi lam dt)

For exact Gaussian data N(mu* dt, K Sigma* dt) the minimiser is mu*, and (K / lam) Sigma*: the
optimum of lam Sigma is the same for every lam, so that the likelihood cannot choose lam.

Where the law of the increment is known, with mean b dt and covariance C dt, so is the expectation
of -log p. With c = C / lam it is

    tr(Sigma^{-1} c) / 2 + sum_i log L_ii + (dt / (2 lam)) (b - mu)^T Sigma^{-1} (b - mu) + const

The third term is of order dt. Fits to moments take the limit dt -> 0: Sigma is the optimum of the
first two, C where it depends on z alone, however b may differ between states of one z. (Over a
finite dt Sigma contains dt Var(b | z) / lam as well.) Given Sigma, mu is the optimum of the third.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sklmacro._base.checks import (
    check_covariances,
    check_finite_numbers,
    check_numbers,
    check_positive,
)
from sklmacro._base.units import largest


@dataclass(frozen=True)
class Increments:
    """Increments that a model is fitted to.

    Attributes
    ----------
    dz : ndarray of shape (n, d)
        Increments; with `cov` their conditional means b dt.
    dt, lam : ndarray of shape (n,)
        Elapsed times, and factors on the covariance.
    cov : ndarray of shape (n, d, d), default=None
        Conditional covariances C dt as dt -> 0; None for sampled increments.
    """

    dz: np.ndarray
    dt: np.ndarray
    lam: np.ndarray
    cov: np.ndarray | None = None

    def take(self, rows: np.ndarray | slice) -> "Increments":
        """Return some of the pairs."""
        cov = None if self.cov is None else self.cov[rows]
        return Increments(self.dz[rows], self.dt[rows], self.lam[rows], cov)

    def times_lam(self, factors: np.ndarray) -> "Increments":
        """Return the increments with lam times `factors` (n,), or one for all."""
        return replace(self, lam=self.lam * factors)

    def without_common_lam(self) -> tuple["Increments", float]:
        """Return the increments with `lam` over its median, and that.

        The optimum of lam Sigma does not depend on lam: a common factor is divided out afterwards.
        """
        common = float(np.median(self.lam))  # exact where all are equal, which a mean is not
        return replace(self, lam=self.lam / common), common

    def in_own_time(self) -> "Increments":
        """Return moments with all times, means and covariances multiplied by one number.

        In the limit dt -> 0 the length of dt has no meaning. Mean and noise get one size, so that
        the drift is not lost in the sum of both (Eq. 7), by a power of two, which rounds nothing.
        """
        if self.cov is None:
            return self
        means = np.mean(self.dz**2 / self.dt[:, None], axis=0)
        noise = np.mean(np.einsum("nii->ni", self.cov) / self.dt[:, None], axis=0)
        known = (means > 0) & (noise > 0)
        if not known.any():
            return self
        unit = 2.0 ** np.round(np.median(np.log2(noise[known]) - np.log2(means[known])))
        return replace(self, dz=self.dz * unit, dt=self.dt * unit, cov=self.cov * unit)

    def in_units(self, unit: np.ndarray, time: float) -> "Increments":
        """Return the increments in units (d,) of the components, and a unit of time."""
        cov = None if self.cov is None else self.cov / np.outer(unit, unit)
        return Increments(self.dz / unit, self.dt / time, self.lam, cov)

    def sizes(self) -> np.ndarray:
        """Return the largest size (d,) of mean or noise of each component's increments."""
        means = largest(self.dz)
        if self.cov is None:
            return means
        return np.maximum(means, np.sqrt(largest(np.einsum("nii->ni", self.cov))))

    def merge_states(self, u: np.ndarray) -> tuple[np.ndarray, "Increments", np.ndarray]:
        """Return moments with those of one state as one of their total duration, mean and noise.

        `u` (n, m) is state and context of each pair. Returns those that differ (n_states, m), their
        increments, and how many pairs have each state, dt and lam (n_states,). Sampled increments,
        and moments that mostly have states of their own, are returned unchanged.
        """
        if self.cov is not None:
            keys = np.column_stack([u, self.dt, self.lam])
            order = np.lexsort(keys.T)
            keys = keys[order]
            first = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
            if 2 * len(first) <= len(u):
                dz, dt, cov = (
                    np.add.reduceat(part[order], first) for part in (self.dz, self.dt, self.cov)
                )
                count = np.diff(first, append=len(u)).astype(np.float64)
                return keys[first, : u.shape[1]], Increments(dz, dt, keys[first, -1], cov), count
        return u, self, np.ones(len(u))

    def residual(self, mu: np.ndarray) -> np.ndarray:
        """Return (dz - mu dt) / sqrt(lam dt), shape (n, d), for a drift mu (n, d)."""
        return (self.dz - mu * self.dt[:, None]) / np.sqrt(self.lam * self.dt)[:, None]

    @cached_property
    def root(self) -> np.ndarray | None:
        """Of moments, d vectors a pair (n, d, d) whose products sum up to cov / (lam dt)."""
        if self.cov is None:
            return None
        return covariance_root(self.cov / (self.lam * self.dt)[:, None, None])

    def noise(self, mu: np.ndarray) -> np.ndarray:
        """Return the vectors (n, m, d) whose products, summed over m, Sigma is fitted to.

        Of moments, `root`; of sampled increments the residual, with m = 1.
        """
        return self.residual(mu)[:, None] if self.root is None else self.root


def covariance_root(c: np.ndarray) -> np.ndarray:
    """Return vectors (n, d, d), the k-th of a matrix in row k, whose products sum up to c.

    `c` (n, d, d) is positive semidefinite, but for rounding.
    """
    scale = np.sqrt(np.einsum("nii->i", c) / max(len(c), 1))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(c / np.outer(scale, scale))
    return (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]).mT * scale


def whiten(factor: Any, residual: Any) -> list[Any]:
    """Solve L w = r by forward substitution.

    Parameters
    ----------
    factor : ndarray or Tensor of shape (n, d, d)
        L, lower triangular.
    residual : ndarray or Tensor of shape (n, d)

    Returns
    -------
    w : list of d arrays of shape (n,)
        The components, so that the same lines serve numpy and torch.
    """
    w: list[Any] = []
    for i in range(residual.shape[1]):
        rest = residual[:, i]
        for j in range(i):
            rest = rest - factor[:, i, j] * w[j]
        w.append(rest / factor[:, i, i])
    return w


def half_square(factor: Any, residual: Any) -> Any:
    """Return |L^{-1} r|^2 / 2 per sample, for residuals r (n, d)."""
    return sum(0.5 * component * component for component in whiten(factor, residual))


def log_determinant(factor: Any) -> Any:
    """Return sum_i log L_ii per sample."""
    diagonals = (factor[:, i, i] for i in range(factor.shape[1]))
    return sum(np.log(x) if isinstance(x, np.ndarray) else x.log() for x in diagonals)


def scaled_nll(factor: Any, residual: Any) -> Any:
    """Return |w|^2 / 2 + sum_i log L_ii per sample; `residual` is (dz - mu dt) / sqrt(lam dt)."""
    return half_square(factor, residual) + log_determinant(factor)


def noise_nll(factor: Any, noise: Any) -> Any:
    """Return tr(Sigma^{-1} c) / 2 + sum_i log L_ii per sample.

    `noise` (n, m, d) are vectors whose products, summed over m, are c; of `Increments.noise`.
    """
    vectors = (noise[:, k] for k in range(noise.shape[1]))
    return sum(half_square(factor, vector) for vector in vectors) + log_determinant(factor)


def expected_nll(factor: Any, residual: Any, root: Any) -> Any:
    """Return the expectation of `scaled_nll` per sample, for increments of known moments.

    Parameters
    ----------
    factor : ndarray or Tensor of shape (n, d, d)
        L. The last term, of order dt, passes no derivative to it: the limit dt -> 0 for a fit.
    residual : ndarray or Tensor of shape (n, d)
        (b - mu) sqrt(dt / lam).
    root : ndarray or Tensor of shape (n, d, d)
        Of `covariance_root`.
    """
    fixed = factor if isinstance(factor, np.ndarray) else factor.detach()
    return noise_nll(factor, root) + half_square(fixed, residual)


def transition_log_likelihood(
    dz: np.ndarray,
    dt: np.ndarray | float,
    mu: np.ndarray,
    factor: np.ndarray,
    lam: np.ndarray | float = 1.0,
    cov: np.ndarray | None = None,
) -> np.ndarray:
    """Return log N(dz; mu dt, lam L L^T dt) for every pair (Eq. 7).

    Parameters
    ----------
    dz, mu : ndarray of shape (n, d)
        Increments, and the drift at their start.
    dt, lam : float or ndarray of shape (n,)
        Elapsed times, and factors on the covariance.
    factor : ndarray of shape (n, d, d)
        L, the Cholesky factor of the diffusion.
    cov : ndarray of shape (n, d, d), default=None
        Where given, increments have means dz and these covariances, and the expectation is taken:
        exactly, with the term of order dt.

    Returns
    -------
    log_likelihood : ndarray of shape (n,)
    """
    dz, mu = check_finite_numbers(dz, "dz"), check_finite_numbers(mu, "mu")
    factor, n = check_finite_numbers(factor, "factor"), len(dz)
    cov = None if cov is None else check_covariances(check_numbers(cov, "cov"))
    dt = np.broadcast_to(check_positive(dt, "dt", "remove pairs in which no time passed"), n)
    lam = np.broadcast_to(check_positive(lam, "lam", "pass K over the patches evolved"), n)
    return log_likelihood(Increments(dz, dt, lam, cov), mu, factor)


def log_likelihood(increments: Increments, mu: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return `transition_log_likelihood` of increments, for mu (n, d) and L (n, d, d)."""
    residual, root = increments.residual(mu), increments.root
    nll = scaled_nll(factor, residual) if root is None else expected_nll(factor, residual, root)
    return -nll - 0.5 * mu.shape[1] * np.log(2 * np.pi * increments.lam * increments.dt)
