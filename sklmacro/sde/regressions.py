"""SDEs with polynomial drift and diffusion, by regressions in closed form or to convergence.

With monomials f of the standardised state and context, and residuals r scaled to lam dt = 1:

    mu_i(z)  = sum_q B_iq f_q(z)                       generalised least squares
    r_j      = sum_{k<j} phi_jk(z) r_k + e_j           regressions of r_j on its predecessors
    Var e_j  = exp(g_j(z))                             gamma regression with log link

phi_jk and g_j are combinations of the same monomials (modified Cholesky decomposition, Pourahmadi,
Biometrika 86, 677 (1999)): with T = 1 - phi, Sigma = T^{-1} diag(exp g) T^{-T} is positive
definite whatever the coefficients. A constant diffusion is exact after one pass; otherwise the
regressions are repeated until the likelihood no longer changes. Beyond the range of the data the
diffusion has the value at its edge, and the drift continues with the slope of a linear fit: a
polynomial of even degree would sooner or later run away.

Of moments, the d columns of a root of cov / (lam dt) stand in the place of the one r; a pair counts
once in the variances. The fit is linear in the moments, so that pairs of one state are fitted as
one of their mean that counts as many times: on a lattice of N spins M has N + 1 values.

With a parity (see `nets`), the monomials of mu_i have the sign P_i, those of phi_jk the sign
P_j P_k and those of g_j none. All other coefficients are 0, and the range is symmetric.

Increments and times come in binary units of their own, a power of four for times, so that nothing
is rounded, and the result is the same in any unit.

Powers of a heavy-tailed z are all but parallel. The regressions therefore work on orthonormal
combinations h = f W, of monomials of one sign each, and the result is put in terms of f.
"""

from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement

import numpy as np
from scipy.linalg import lapack

from sklmacro._base.units import binary_unit
from sklmacro.sde.drift import FitData
from sklmacro.sde.likelihood import Increments, noise_nll

MAX_PASSES = 50
TOLERANCE = 1e-9  # of the mean negative log-likelihood, between passes
SMALLEST_VARIANCE = 1e-12  # of residuals, in units of the increments' own; where a drift fits all
SMALLEST_DIRECTION = 1e-10  # singular value of the monomials, over the largest; less is rounding
REGULAR = 1e-10  # 1 / condition number of normal equations, from which a factorisation will do
NO_LIMITS = np.array([-np.inf, np.inf]).reshape(2, 1, 1)
LARGEST_EXPONENT = 600.0  # so that variances, and products of their roots, stay finite


@dataclass(frozen=True)
class PolynomialSDE:
    """A fitted SDE; `u` (n, d + n_context) is the standardised state and context."""

    degree: int
    low: np.ndarray  # (d + n_context,), with `high` the range of the training data
    high: np.ndarray  # (d + n_context,); the range is symmetric for components of odd parity
    B: np.ndarray  # (d, q), drift
    slope: np.ndarray  # (d, d + n_context), of a linear drift, for what lies beyond the range
    phi: np.ndarray  # (d, d, q), regressions of the residuals, strictly lower triangular
    g: np.ndarray  # (d, q), logarithms of the conditional variances
    # (d,), or one for all in old files: physical drift, and physical rows of L, over the model's.
    drift_scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    noise_scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    # (2, d, d), or for all alike (2, 1, 1): ranges of g, in the diagonal, and phi
    limits: np.ndarray = field(default_factory=lambda: NO_LIMITS)

    def coefficients(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the drift (n, d) and the factor L (n, d, d)."""
        inside = np.clip(u, self.low, self.high)
        f = monomials(inside, self.degree)
        drift = f @ self.B.T + (u - inside) @ self.slope.T
        factor = cholesky_factor(f, self.phi, self.g, self.limits)
        return drift * self.drift_scale, factor * self.noise_scale[:, None]

    def scale_noise(self, factor: float) -> "PolynomialSDE":
        """Return the SDE with L times a factor."""
        return replace(self, noise_scale=self.noise_scale * factor)

    @classmethod
    def of_nothing(cls, n_columns: int) -> "PolynomialSDE":
        """Return the SDE of no component, where none is free, of u (n, n_columns)."""
        low, high = np.zeros((2, n_columns))
        constant, slope, phi = np.empty((0, 1)), np.empty((0, n_columns)), np.empty((0, 0, 1))
        return cls(0, low, high, constant, slope, phi, np.empty((0, 1)), np.ones(0), np.ones(0))


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


@dataclass(frozen=True)
class Basis:
    """Combinations h = f W of monomials, orthonormal in the sample: h^T diag(count) h = n 1."""

    h: np.ndarray  # (n, k), k smaller than q where the monomials depend on each other
    W: np.ndarray  # (q, k)
    sign: np.ndarray  # (k,), parity of the monomials that are combined
    count: np.ndarray  # (n,), how many times each row counts

    @classmethod
    def of(cls, u: np.ndarray, count: np.ndarray, degree: int, parity: np.ndarray) -> "Basis":
        """Combine the monomials of u (n, m), whose columns have the signs `parity` (m,)."""
        f, root, n = monomials(u, degree), np.sqrt(count)[:, None], count.sum()
        signs = monomials(parity[None, :], degree)[0]
        blocks, kinds = [], []
        for sign in np.unique(signs):
            rows = np.flatnonzero(signs == sign)
            scale = np.sqrt(np.average(f[:, rows] ** 2, axis=0, weights=count))
            scale = np.where(scale > 0, scale, 1.0)
            triangle = np.linalg.qr(root * f[:, rows] / scale, mode="r")
            _, singular, right = np.linalg.svd(triangle, full_matrices=False)
            kept = singular > SMALLEST_DIRECTION * singular[0]
            block = np.zeros((len(signs), int(kept.sum())))
            block[rows] = right[kept].T / singular[kept] * np.sqrt(n) / scale[:, None]
            blocks.append(block)
            kinds += [sign] * block.shape[1]
        W = np.concatenate(blocks, axis=1)
        return cls(f @ W, W, np.array(kinds), count)


def cholesky_factor(
    f: np.ndarray, phi: np.ndarray, g: np.ndarray, limits: np.ndarray | None = None
) -> np.ndarray:
    """Return L = T^{-1} diag(exp(g/2)), T = 1 - phi, at f (n, q), g and phi in `limits`."""
    d = len(g)
    low, high = np.broadcast_to(NO_LIMITS if limits is None else limits, (2, d, d))
    inverse = np.broadcast_to(np.eye(d), (len(f), d, d)).copy()  # T^{-1} = 1 + phi T^{-1}
    for j in range(d):
        for k in range(j):
            inverse[:, j] += np.clip(f @ phi[j, k], low[j, k], high[j, k])[:, None] * inverse[:, k]
    log_variance = np.clip(f @ g.T, np.diag(low), np.diag(high))
    return inverse * np.exp(0.5 * _clip_logarithms(log_variance))[:, None, :]


def _clip_logarithms(log_variance: np.ndarray) -> np.ndarray:
    """Return logarithms whose exponentials are finite and positive."""
    return np.clip(log_variance, -LARGEST_EXPONENT, LARGEST_EXPONENT)


def _solve(gram: np.ndarray, right: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Solve normal equations for the unknowns `used`, with 0 for the others.

    The shortest solution where they are singular, or nearly.
    """
    solution = np.zeros(len(right))
    gram = gram[np.ix_(used, used)]
    scale = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    scaled = gram / np.outer(scale, scale)
    right = right[used] / scale
    if used.any() and (factor := _regular_factor(scaled)) is not None:
        solution[used] = lapack.dpotrs(factor, right)[0] / scale
    else:
        solution[used] = np.linalg.lstsq(scaled, right, rcond=1e-13)[0] / scale
    return solution


def _regular_factor(A: np.ndarray) -> np.ndarray | None:
    """Return the Cholesky factor of A, or None where A is singular, or nearly."""
    factor, failed = lapack.dpotrf(A)
    if failed or lapack.dpocon(factor, np.abs(A).sum(axis=0).max())[0] < REGULAR:
        return None
    return factor


def _gram(h: np.ndarray, weights: list[list[np.ndarray]]) -> np.ndarray:
    """Return the matrix (m k, m k) of the blocks h^T diag(w) h, for h (n, k) and m times m w.

    The weights are symmetric, and the blocks on and below the diagonal are enough.
    """
    m, k = len(weights), h.shape[1]
    gram = np.empty((m, k, m, k))
    for a in range(m):
        for b in range(a + 1):
            gram[a, :, b] = gram[b, :, a] = h.T @ (h * weights[a][b][:, None])
    return gram.reshape(m * k, m * k)


def least_squares_drift(f: np.ndarray, increments: Increments, used: np.ndarray) -> np.ndarray:
    """Return B (d, q) that minimises sum |dz - B f dt|^2 / (lam dt), 0 but for `used` (d, q)."""
    lam = increments.lam[:, None]
    gram = (f * increments.dt[:, None] / lam).T @ f
    right = (f / lam).T @ increments.dz
    return np.array([_solve(gram, column, row) for column, row in zip(right.T, used, strict=True)])


def fit_polynomial(data: FitData, degree: int) -> PolynomialSDE:
    """Fit drift and diffusion by maximum likelihood (Eq. 7), with polynomials of this degree."""
    diffusion, parity = data.diffusion, data.parity
    increments, common = data.increments.without_common_lam()
    unit = binary_unit(increments.sizes())
    root = float(binary_unit(np.sqrt(increments.dt.max())))
    increments = increments.in_units(unit, root**2)
    u, increments, count = increments.merge_states(data.u)
    d, signs = increments.dz.shape[1], parity[: increments.dz.shape[1]]
    basis = Basis.of(u, count, degree, parity)
    of_noise = Basis.of(u, count, 0, parity) if diffusion == "constant" else basis
    phi, g = np.zeros((d, d, len(of_noise.sign))), np.zeros((d, len(of_noise.sign)))
    used = basis.sign == signs[:, None]
    squares = np.sum(increments.noise(np.zeros(d)) ** 2, axis=1)
    scale = np.average(squares, axis=0, weights=count)
    floor = SMALLEST_VARIANCE * np.where(scale > 0, scale, 1.0)
    B = least_squares_drift(basis.h, increments, used)
    before = np.inf
    for _ in range(MAX_PASSES):
        mu = basis.h @ B.T
        r = increments.noise(mu)
        fit_diffusion(of_noise, r, phi, g, floor, signs, diffusion != "diagonal")
        factor = cholesky_factor(of_noise.h, phi, g)
        now = float(np.average(noise_nll(factor, r), weights=count))
        if diffusion == "constant" or before - now < TOLERANCE:
            break  # with a constant one least squares will do: L joins equal regressors only
        before = now
        B = B + _generalised_least_squares(basis.h, increments, mu, factor, used)
    B = B @ basis.W.T
    phi_f, g_f = np.zeros((d, *B.shape)), np.zeros_like(B)
    phi_f[..., : len(of_noise.W)] = phi @ of_noise.W.T
    g_f[:, : len(of_noise.W)] = g @ of_noise.W.T
    g_f[:, 0] -= np.log(common)
    line = np.append(1.0, parity) == signs[:, None]
    slope = B if degree == 1 else least_squares_drift(monomials(u, 1), increments, line)
    slope = np.ascontiguousarray(slope[:, 1:])
    reach = np.abs(u).max(axis=0)
    low = np.where(parity == 1, u.min(axis=0), -reach)
    high = np.where(parity == 1, u.max(axis=0), reach)
    scales = unit / root**2, unit / root
    return PolynomialSDE(degree, low, high, B, slope, phi_f, g_f, *scales)


def fit_diffusion(
    basis: Basis,
    r: np.ndarray,
    phi: np.ndarray,
    g: np.ndarray,
    floor: np.ndarray,
    signs: np.ndarray,
    correlated: bool,
    tolerance: float = TOLERANCE,
) -> None:
    """Regress residuals r (n, m, d) on their predecessors and fit the variances, in place.

    `floor` (d,) is added to the squared residuals, which may all vanish; `signs` (d,) is the parity
    of the components.
    """
    h = basis.h
    for j in range(r.shape[2]):
        e = r[:, :, j]
        if correlated and j > 0:
            weight = basis.count * np.exp(-_clip_logarithms(h @ g[j]))
            weighted = [weight[:, None] * r[:, :, a] for a in range(j)]
            products = [[np.sum(w * r[:, :, b], axis=1) for b in range(j)] for w in weighted]
            right = np.concatenate([h.T @ np.sum(w * e, axis=1) for w in weighted])
            used = (basis.sign == signs[:j, None] * signs[j]).ravel()
            phi[j, :j] = _solve(_gram(h, products), right, used).reshape(j, -1)
            e = e - np.einsum("na,nma->nm", h @ phi[j, :j].T, r[:, :, :j])
        e2 = np.sum(e * e, axis=1) + floor[j]
        _fit_log_variance(basis, e2, g[j], tolerance)


def fit_covariance(
    u: np.ndarray,
    count: np.ndarray,
    r: np.ndarray,
    degree: int,
    parity: np.ndarray,
    kind: str,
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return phi (d, d, q) and g (d, q) for vectors r (n, m, d), to convergence.

    `u` (n, d + n_context) are states that count `count` (n,) times, of signs `parity`; `tolerance`
    is that of the mean negative log-likelihood.
    """
    d = r.shape[2]
    basis = Basis.of(u, count, degree, parity)
    phi, g = np.zeros((d, d, len(basis.sign))), np.zeros((d, len(basis.sign)))
    scale = np.average(np.sum(r**2, axis=1), axis=0, weights=count)
    floor = SMALLEST_VARIANCE * np.where(scale > 0, scale, 1.0)
    before = now = np.inf
    for _ in range(MAX_PASSES):
        fit_diffusion(basis, r, phi, g, floor, parity[:d], kind != "diagonal", tolerance)
        factor = cholesky_factor(basis.h, phi, g)
        before, now = now, float(np.average(noise_nll(factor, r), weights=count))
        if degree == 0 or before - now < tolerance:
            break
    return phi @ basis.W.T, g @ basis.W.T


def _fit_log_variance(basis: Basis, e2: np.ndarray, g: np.ndarray, tolerance: float) -> None:
    """Maximise -sum (h g + e2 exp(-h g)) / 2 over even g by Fisher scoring, in place.

    The Fisher information is n / 2 times 1 at every g, since h is orthonormal. A step that does not
    help is halved.
    """
    h, count = basis.h, basis.count
    even = (basis.sign == 1) / count.sum()
    if not g.any():
        g[:] = np.log(np.average(e2, weights=count)) * even * (h.T @ count)

    def loss(candidate: np.ndarray) -> float:
        log = _clip_logarithms(h @ candidate)
        return float(np.average(log + e2 * np.exp(-log), weights=count))

    best = loss(g)
    for _ in range(MAX_PASSES):
        step = even * (h.T @ (count * (e2 * np.exp(-_clip_logarithms(h @ g)) - 1.0)))
        size, now = 1.0, loss(g + step)
        while now > best and size > 1e-6:
            size /= 2
            now = loss(g + size * step)
        if now <= best:
            g += size * step
        if best - now < tolerance:
            return
        best = now


def _generalised_least_squares(
    h: np.ndarray, increments: Increments, mu: np.ndarray, factor: np.ndarray, used: np.ndarray
) -> np.ndarray:
    """Return what to add to B (d, k) to minimise sum |L^{-1} (dz - B h dt)|^2 / (lam dt).

    `mu` (n, d) is B h as it stands: what is left of dz has the smaller rounding.
    """
    dt, lam = increments.dt, increments.lam
    inverse = np.linalg.inv(factor)
    precision = np.einsum("nki,nkj->nij", inverse, inverse) / lam[:, None, None]
    target = np.einsum("nij,nj->ni", precision, increments.dz - mu * dt[:, None])
    gram = _gram(h, [[weight * dt for weight in row] for row in precision.transpose(1, 2, 0)])
    right = np.concatenate([h.T @ column for column in target.T])
    return _solve(gram, right, used.ravel()).reshape(used.shape)
