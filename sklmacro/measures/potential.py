"""Effective potential of an SDE in two coordinates, the others held fixed.

In detailed balance the stationary density p of dz = mu dt + Sigma^(1/2) dB (Ito) carries no
current, and Phi = -log p is known up to a constant from its gradient (C. W. Gardiner, Stochastic
Methods, 4th ed., Sec. 6.2, potential conditions):

    -grad Phi = F = Sigma^{-1} (2 mu - div Sigma),      (div Sigma)_i = sum_j d Sigma_ij / d z_j

A learned SDE need not be in detailed balance: then F is no gradient. The effective potential is the
Phi whose gradient is nearest to F, in least squares over the edges of a grid,

    sum over edges of  (Phi_b - Phi_a + h (F_a + F_b) / 2)^2,

with a, b the ends of an edge and h its length. The normal equations are a Poisson equation with
free edges, which the cosine transform solves.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import dctn, idctn

from sklmacro._base.checks import check_finite_numbers, check_positive, check_real
from sklmacro.measures.paths import states_of

STEP = 1e-4  # of the spread of a component, for central differences
SINGULAR = 1e-10  # part of the largest eigenvalue of Sigma below which there is no noise


@dataclass(frozen=True)
class EffectivePotential:
    """An effective potential on a grid.

    Attributes
    ----------
    values : ndarray of shape (n_x, n_y)
        Phi, in units of the noise (k_B T), with smallest value 0.
    share : float
        Part of F that it accounts for: 1 - (sum of squares left) / (sum of squares), in detailed
        balance 1.
    """

    values: np.ndarray
    share: float


def thermodynamic_force(sde: Any, z: np.ndarray, scale: np.ndarray, context: Any) -> np.ndarray:
    """Return F = Sigma^{-1} (2 mu - div Sigma) at macrostates.

    Where components are bound together, so that Sigma is singular, the inverse is the
    pseudo-inverse of Sigma in units of `scale`.

    Parameters
    ----------
    sde : PatchSDERegressor, OnsagerSDE or SDEEnsemble
    z : ndarray of shape (n, d)
    scale : ndarray of shape (d,)
        Spread of the components; derivatives of Sigma are differences over `STEP` of it.
    context : array-like of shape (n_context,), or None

    Returns
    -------
    force : ndarray of shape (n, d)
    """
    z, scale = states_of(sde, z), check_positive(scale, "scale", "pass 1 for what is constant")
    divergence = np.zeros_like(z)
    for j, h in enumerate(STEP * scale):
        step = np.zeros(len(scale))
        step[j] = h
        change = sde.diffusion(z + step, context) - sde.diffusion(z - step, context)
        divergence += change[:, :, j] / (2 * h)
    right = (2 * sde.drift(z, context) - divergence) / scale
    unit = sde.diffusion(z, context) / np.outer(scale, scale)
    inverse = np.linalg.pinv(unit, rcond=SINGULAR, hermitian=True)
    return np.einsum("nij,nj->ni", inverse, right) / scale


def nearest_potential(force: np.ndarray, spacing: tuple[float, float]) -> EffectivePotential:
    """Return the potential whose gradient is nearest to minus a force on a grid.

    Parameters
    ----------
    force : ndarray of shape (n_x, n_y, 2)
    spacing : (float, float)
        Distance of neighbouring points along each axis.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro.scoring import nearest_potential
    >>> x, y = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21), indexing="ij")
    >>> potential = nearest_potential(np.stack([-2 * x, -4 * y], axis=-1), (0.1, 0.1))
    >>> bool(np.allclose(potential.values, x**2 + 2 * y**2)), round(potential.share, 6)
    (True, 1.0)
    """
    force = check_finite_numbers(force, "force")
    h_x, h_y = (check_real(h, "spacing", low=0.0, strict=True) for h in spacing)
    along_x = -h_x * (force[1:, :, 0] + force[:-1, :, 0]) / 2  # differences of Phi to come close to
    along_y = -h_y * (force[:, 1:, 1] + force[:, :-1, 1]) / 2
    right = np.zeros(force.shape[:2])
    right[1:] += along_x
    right[:-1] -= along_x
    right[:, 1:] += along_y
    right[:, :-1] -= along_y
    eigenvalues = np.add.outer(_waves(force.shape[0]), _waves(force.shape[1]))
    eigenvalues[0, 0] = 1.0  # the constant is free
    values = idctn(dctn(right, type=2) / eigenvalues, type=2)
    left = np.sum((np.diff(values, axis=0) - along_x) ** 2)
    left += np.sum((np.diff(values, axis=1) - along_y) ** 2)
    total = np.sum(along_x**2) + np.sum(along_y**2)
    share = float(1 - left / total) if total > 0 else 1.0
    return EffectivePotential(values - values.min(), share)


def _waves(n: int) -> np.ndarray:
    """Return the eigenvalues of minus the second difference on n points with free ends."""
    return 2 - 2 * np.cos(np.pi * np.arange(n) / n)
