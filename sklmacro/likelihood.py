"""Likelihood of macroscopic increments (Eqs. 6-7), as free functions.

    dz ~ N(mu dt, lam Sigma dt),   Sigma = L L^T

with `lam = 1` for the whole system evolved (Eq. 6) and `lam = K` for one of K patches (Eq. 7). In
terms of the whitened residual w = L^{-1} (dz - mu dt) / sqrt(lam dt), solved for row by row:

    -log p = |w|^2 / 2 + sum_i log L_ii + d/2 log(2 pi lam dt)

For exact Gaussian data N(mu* dt, K Sigma* dt) the minimiser is mu*, and (K / lam) Sigma*: the
optimum of lam Sigma is the same for every lam, so that the likelihood cannot choose lam.
"""

from typing import Any

import numpy as np


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


def scaled_nll(factor: Any, residual: Any) -> Any:
    """Return |w|^2 / 2 + sum_i log L_ii per sample; `residual` is (dz - mu dt) / sqrt(lam dt)."""
    total = 0.0
    for i, component in enumerate(whiten(factor, residual)):
        diagonal = factor[:, i, i]
        log = np.log(diagonal) if isinstance(diagonal, np.ndarray) else diagonal.log()
        total = total + 0.5 * component * component + log
    return total


def transition_log_likelihood(
    dz: np.ndarray,
    dt: np.ndarray | float,
    mu: np.ndarray,
    factor: np.ndarray,
    lam: np.ndarray | float = 1.0,
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

    Returns
    -------
    log_likelihood : ndarray of shape (n,)
    """
    dt = np.broadcast_to(np.asarray(dt, float), len(dz))
    scale = np.asarray(lam, float) * dt
    residual = (dz - mu * dt[:, None]) / np.sqrt(scale)[:, None]
    return -scaled_nll(factor, residual) - 0.5 * dz.shape[1] * np.log(2 * np.pi * scale)
