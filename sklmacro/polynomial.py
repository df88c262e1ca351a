"""SDEs with a linear or polynomial drift, fitted in closed form or to convergence.

With monomials f of the standardised state and context, and residuals r scaled to lam dt = 1:

    mu_i(z)  = sum_q B_iq f_q(z)                       generalised least squares
    r_j      = sum_{k<j} phi_jk(z) r_k + e_j           regressions of r_j on its predecessors
    Var e_j  = exp(g_j(z))                             gamma regression with log link

phi_jk and g_j are combinations of the same monomials (modified Cholesky decomposition, Pourahmadi,
Biometrika 86, 677 (1999)): with T = 1 - phi, Sigma = T^{-1} diag(exp g) T^{-T} is positive
definite whatever the coefficients. A constant diffusion is exact after one pass; else the three
regressions are repeated until the likelihood stands still. Beyond the range of the training data
the diffusion keeps the value at its edge, and the drift continues with the slope of a linear fit: a
polynomial of even degree would sooner or later run away.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from sklmacro.likelihood import scaled_nll

MAX_PASSES = 50
TOLERANCE = 1e-9  # of the mean negative log-likelihood, between passes
SMALLEST_VARIANCE = 1e-12  # of residuals, in units of the increments' own; where a drift fits all
LARGEST_EXPONENT = 600.0  # so that variances, and products of their roots, stay finite


@dataclass(frozen=True)
class PolynomialSDE:
    """A fitted SDE; `u` (n, d + n_context) is the standardised state and context.

    Attributes
    ----------
    degree : int
    low, high : ndarray of shape (d + n_context,)
        Range of the training data.
    B : ndarray of shape (d, q)
        Drift.
    slope : ndarray of shape (d, d + n_context)
        Of the linear drift of least squares, for what lies beyond the range.
    phi : ndarray of shape (d, d, q)
        Regressions of the residuals, strictly lower triangular.
    g : ndarray of shape (d, q)
        Logarithms of the conditional variances.
    """

    degree: int
    low: np.ndarray
    high: np.ndarray
    B: np.ndarray
    slope: np.ndarray
    phi: np.ndarray
    g: np.ndarray

    def coefficients(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the drift (n, d) and the factor L (n, d, d)."""
        inside = np.clip(u, self.low, self.high)
        f = monomials(inside, self.degree)
        return f @ self.B.T + (u - inside) @ self.slope.T, _factor(f, self.phi, self.g)


def monomial_factors(n_columns: int, degree: int) -> np.ndarray:
    """Return which former monomial, times which column, each is, (q, 2); the first is 1."""
    places: dict[tuple[int, ...], int] = {(): 0}
    factors = [(0, 0)]
    for order in range(1, degree + 1):
        for columns in combinations_with_replacement(range(n_columns), order):
            factors.append((places[columns[:-1]], columns[-1]))
            places[columns] = len(places)
    return np.array(factors)


def monomials(u: np.ndarray, degree: int) -> np.ndarray:
    """Return all products of up to `degree` columns of u (n, m), shape (n, q); the first is 1."""
    products = [np.ones(len(u))]
    for before, column in monomial_factors(u.shape[1], degree)[1:]:
        products.append(products[before] * u[:, column])
    return np.column_stack(products)


def _factor(f: np.ndarray, phi: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return L = T^{-1} diag(exp(g/2)), T = 1 - phi, at features f (n, q)."""
    d = len(g)
    inverse = np.broadcast_to(np.eye(d), (len(f), d, d)).copy()  # T^{-1} = 1 + phi T^{-1}
    for j in range(d):
        for k in range(j):
            inverse[:, j] += (f @ phi[j, k])[:, None] * inverse[:, k]
    return inverse * np.exp(0.5 * _bounded(f @ g.T))[:, None, :]


def _bounded(log_variance: np.ndarray) -> np.ndarray:
    """Return logarithms whose exponentials are finite and positive."""
    return np.clip(log_variance, -LARGEST_EXPONENT, LARGEST_EXPONENT)


def _solve(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve normal equations; the shortest solution where they are singular."""
    scale = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    scaled = gram / np.outer(scale, scale)
    solution = np.linalg.lstsq(scaled, (right.T / scale).T, rcond=1e-13)[0]
    return (solution.T / scale).T


def least_squares_drift(
    f: np.ndarray, dz: np.ndarray, dt: np.ndarray, lam: np.ndarray
) -> np.ndarray:
    """Return B (d, q) that minimises sum |dz - B f dt|^2 / (lam dt)."""
    weighted = f * (dt / lam)[:, None]
    return _solve(weighted.T @ f, (f / lam[:, None]).T @ dz).T


def fit_polynomial(
    u: np.ndarray, dz: np.ndarray, dt: np.ndarray, lam: np.ndarray, *, degree: int, diffusion: str
) -> PolynomialSDE:
    """Fit drift and diffusion by maximum likelihood (Eq. 7).

    Parameters
    ----------
    u : ndarray of shape (n, d + n_context)
        Standardised state and context.
    dz : ndarray of shape (n, d)
        Increments.
    dt, lam : ndarray of shape (n,)
        Elapsed times, and factors on the covariance.
    degree : int
        Of the polynomials.
    diffusion : {"full", "diagonal", "constant"}
    """
    f = monomials(u, degree)
    d, q = dz.shape[1], f.shape[1]
    fd = f[:, :1] if diffusion == "constant" else f
    phi, g = np.zeros((d, d, q)), np.zeros((d, q))
    # The optimum of lam Sigma does not depend on lam: a common factor is divided out behind.
    common = float(np.median(lam))
    lam = lam / common
    scale = np.mean(dz * dz / (lam * dt)[:, None], axis=0)
    floor = SMALLEST_VARIANCE * np.where(scale > 0, scale, 1.0)
    B = least_squares_drift(f, dz, dt, lam)
    before = np.inf
    for _ in range(MAX_PASSES):
        r = (dz - (f @ B.T) * dt[:, None]) / np.sqrt(lam * dt)[:, None]
        _fit_diffusion(fd, r, phi, g, floor, correlated=diffusion != "diagonal")
        factor = _factor(f, phi, g)
        now = float(np.mean(scaled_nll(factor, r)))
        if diffusion == "constant" or before - now < TOLERANCE:
            break
        before = now
        B = _generalised_least_squares(f, dz, dt, lam, factor)
    g[:, 0] -= np.log(common)
    linear = B if degree == 1 else least_squares_drift(monomials(u, 1), dz, dt, lam)
    slope = linear[:, 1:]
    return PolynomialSDE(degree, u.min(axis=0), u.max(axis=0), B, slope, phi, g)


def _fit_diffusion(
    f: np.ndarray,
    r: np.ndarray,
    phi: np.ndarray,
    g: np.ndarray,
    floor: np.ndarray,
    *,
    correlated: bool,
) -> None:
    """Regress residuals r (n, d) on their predecessors and fit the variances, in place.

    `floor` (d,) is added to the squared residuals, which may all vanish.
    """
    q, d = f.shape[1], r.shape[1]
    gram = f.T @ f
    for j in range(d):
        e = r[:, j]
        if correlated and j > 0:
            regressors = np.concatenate([f * r[:, k : k + 1] for k in range(j)], axis=1)
            weight = np.exp(-_bounded(f @ g[j, :q]))[:, None]
            weighted = regressors * weight
            solution = _solve(weighted.T @ regressors, weighted.T @ e)
            phi[j, :j, :q] = solution.reshape(j, q)
            e = e - regressors @ solution
        _fit_log_variance(f, gram, e * e + floor[j], g[j, :q])


def _fit_log_variance(f: np.ndarray, gram: np.ndarray, e2: np.ndarray, g: np.ndarray) -> None:
    """Maximise -sum (f g + e2 exp(-f g)) / 2 over g by Fisher scoring, in place.

    The Fisher information is gram / 2 at every g. A step that does not help is halved.
    """
    if not g.any():
        g[0] = np.log(e2.mean())

    def loss(candidate: np.ndarray) -> float:
        log = _bounded(f @ candidate)
        return float(np.mean(log + e2 * np.exp(-log)))

    best = loss(g)
    for _ in range(MAX_PASSES):
        score = f.T @ (e2 * np.exp(-_bounded(f @ g)) - 1.0)
        step = _solve(gram, score)
        size, now = 1.0, loss(g + step)
        while now > best and size > 1e-6:
            size /= 2
            now = loss(g + size * step)
        if best - now < TOLERANCE:
            return
        g += size * step
        best = now


def _generalised_least_squares(
    f: np.ndarray, dz: np.ndarray, dt: np.ndarray, lam: np.ndarray, factor: np.ndarray
) -> np.ndarray:
    """Return B (d, q) that minimises sum |L^{-1} (dz - B f dt)|^2 / (lam dt)."""
    d, q = dz.shape[1], f.shape[1]
    inverse = np.linalg.inv(factor)
    precision = np.einsum("nki,nkj->nij", inverse, inverse)
    gram, right = np.empty((d, q, d, q)), np.empty((d, q))
    target = np.einsum("nij,nj->ni", precision, dz) / lam[:, None]
    for i in range(d):
        right[i] = f.T @ target[:, i]
        for j in range(d):
            gram[i, :, j] = f.T @ (f * (precision[:, i, j] * dt / lam)[:, None])
    return _solve(gram.reshape(d * q, d * q), right.ravel()).reshape(d, q)
