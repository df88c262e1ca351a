"""Coefficients of monomials and kernel functions, by linear equations.

    mu_i = sum_a w_ia Phi_a(u),   Phi = (f, psi),   w_i ~ N(0, diag(v_i))  before there are data
    (Phi^T N_i^{-1} Phi + diag(1 / v_i)) w_i = Phi^T N_i^{-1} y_i          moments, y = dz / dt
    (sum_n Phi Phi^T (x) Lambda + diag(1 / v)) w = sum_n Phi (x) Lambda y   sampled increments

with N_i the noise, correlated within groups (see `evidence`), and Lambda = (lam Sigma)^{-1} dt of
each pair. The coefficients' law is normal, of covariance the inverse of the matrix on the left.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist

from sklmacro._base.streams import Stage, stream
from sklmacro.sde.evidence import Hyperparameters, within_groups
from sklmacro.sde.kernels import BATCH, Kernel
from sklmacro.sde.likelihood import Increments, noise_nll
from sklmacro.sde.regressions import cholesky_factor, fit_covariance, monomial_factors, monomials

ORDER = 3  # of the monomials beside the process, if there are not more than
MOST_MONOMIALS = 84
MOST_CANDIDATES = 2000  # states of which some become centres
MOST_RELATED = 64  # rows of a group, next to each other, whose correlation counts
OPEN = 0.05  # of the error of the noise, what kernel functions may leave open
RIDGE = 1e-11  # of the diagonal of linear equations, against rounding


@dataclass(frozen=True)
class States:
    """What is fitted, in units of its own."""

    u: np.ndarray  # (n, n_in)
    increments: Increments
    count: np.ndarray  # (n,)
    groups: np.ndarray  # (n,)
    parity: np.ndarray  # (n_in,)
    diffusion: str

    def take(self, rows: np.ndarray) -> "States":
        """Return some of the rows."""
        own = {name: getattr(self, name)[rows] for name in ("u", "count", "groups")}
        return replace(self, increments=self.increments.take(rows), **own)

    @property
    def rates(self) -> np.ndarray:
        """Return dz / dt (n, d)."""
        return self.increments.dz / self.increments.dt[:, None]

    @property
    def d(self) -> int:
        """Return the dimension of the state."""
        return self.increments.dz.shape[1]

    @property
    def order(self) -> int:
        """Return the order of the monomials of the drift."""
        n_in = self.u.shape[1]
        return max(
            k
            for k in range(1, ORDER + 1)
            if k == 1 or number_of_monomials(n_in, k) <= MOST_MONOMIALS
        )

    @property
    def orders(self) -> np.ndarray:
        """Return the order of each monomial of the drift, (q,)."""
        counts = [1] + [number_of_monomials(self.u.shape[1], k) for k in range(self.order + 1)]
        sizes = [counts[1], *np.diff(counts[1:])]
        return np.repeat(np.arange(self.order + 1), sizes)

    def used(self) -> np.ndarray:
        """Return which monomials of the drift each component has, (d, q)."""
        return monomials(self.parity[None, :], self.order)[0] == self.parity[: self.d, None]


def number_of_monomials(n_in: int, order: int) -> int:
    """Return the number of monomials up to an order."""
    return len(monomial_factors(n_in, order))


@dataclass(frozen=True)
class Covariance:
    """A fitted covariance, with the ranges of its parts over the states."""

    phi: np.ndarray  # (d, d, q)
    g: np.ndarray  # (d, q)
    limits: np.ndarray  # (2, d, d)
    loss: float  # mean over the states, but for constants

    @classmethod
    def of(
        cls, states: "States", r: np.ndarray, degree: int, left_out: float, **options: float
    ) -> "Covariance":
        """Fit monomials of this degree to vectors r (n, m, d), with options of `fit_covariance`.

        Their values stay in the range that they have at all states but a share `left_out` at either
        end: beyond, one state decides what they are.
        """
        u, count, parity = states.u, states.count, states.parity
        phi, g = fit_covariance(u, count, r, degree, parity, states.diffusion, **options)
        f, d = monomials(u, degree), len(g)
        limits, ends = np.zeros((2, d, d)), [left_out, 1 - left_out]
        for i in range(d):
            limits[:, i, i] = np.quantile(f @ g[i], ends)
            for j in range(i):
                limits[:, i, j] = np.quantile(f @ phi[i, j], ends)
                if parity[i] != parity[j]:
                    limits[:, i, j] = np.array([-1, 1]) * np.abs(limits[:, i, j]).max()
        loss = np.average(noise_nll(cholesky_factor(f, phi, g, limits), r), weights=count)
        return cls(phi, g, limits, float(loss))

    @property
    def n_coefficients(self) -> int:
        """Return the number of coefficients that are not 0."""
        return int(np.count_nonzero(self.phi) + np.count_nonzero(self.g))

    def factors(self, states: "States") -> np.ndarray:
        """Return the factor L (n, d, d) at the states."""
        n_in, q = states.u.shape[1], self.g.shape[1]
        degree = next(k for k in range(10) if number_of_monomials(n_in, k) == q)
        return cholesky_factor(monomials(states.u, degree), self.phi, self.g, self.limits)

    def divided_by(self, lam: float) -> "Covariance":
        """Return the covariance over a number."""
        g, limits, diagonal = self.g.copy(), self.limits.copy(), np.arange(len(self.g))
        g[:, 0] -= np.log(lam)
        limits[:, diagonal, diagonal] -= np.log(lam)
        return replace(self, g=g, limits=limits)


@dataclass(frozen=True)
class Coefficients:
    """A fitted drift; coefficients of (f, psi)."""

    kernel: Kernel
    mean: np.ndarray  # (d, q + M)
    spread: np.ndarray  # (d, q + M, r)
    joint: bool
    signal: np.ndarray  # (d,)

    def at(self, states: States) -> np.ndarray:
        """Return the drift (n, d) at the states of the fit."""
        values = np.empty((len(states.u), states.d))
        for rows in batches(len(states.u)):
            features = features_of(self.kernel, states, rows)
            for i, kind in enumerate(kinds_of(states)):
                values[rows, i] = features[kind] @ self.mean[i]
        return values


def batches(n: int) -> list[slice]:
    """Return slices of n rows, whose kernel functions fit in memory."""
    return [slice(start, min(start + BATCH, n)) for start in range(0, n, BATCH)]


def kinds_of(states: States) -> np.ndarray:
    """Return which sign of kernel functions each component has, (d,)."""
    return (states.parity[: states.d] == -1).astype(int)


def features_of(kernel: Kernel, states: States, rows: slice | np.ndarray) -> np.ndarray:
    """Return (f, psi) of either sign, (n_signs, n, q + M)."""
    f, psi = monomials(states.u[rows], states.order), kernel.independent(states.u[rows])
    return np.concatenate([np.broadcast_to(f, (len(psi), *f.shape)), psi], axis=2)


def choose_kernel(states: States, h: Hyperparameters, ratio: np.ndarray, most: int) -> Kernel:
    """Return kernel functions about states, chosen where those before leave most open.

    `ratio` (d,) is the noise of a row over the signal.
    """
    n = len(states.u)
    some = stream(0, Stage.SPLIT).permutation(n)[:MOST_CANDIDATES]
    symmetric = bool((states.parity == -1).any())
    kernel = Kernel(states.u[some], h.lengths, states.parity)
    open_ = kernel.own(kernel.centres)[0]
    most = min(most // (1 + symmetric) or 1, len(some))
    columns, chosen = np.empty((most, len(some))), []
    for m in range(most):
        place = int(np.argmax(open_))
        if m > 0 and open_[place] <= max(OPEN * np.min(ratio) ** 2 * m / n, 1e-9):
            break
        one = replace(kernel, centres=kernel.centres[place : place + 1])
        column = one.values(kernel.centres)[0][:, 0] - columns[:m].T @ columns[:m, place]
        columns[m] = column / np.sqrt(open_[place])
        open_ = np.maximum(open_ - columns[m] ** 2, 0.0)
        chosen.append(place)
    return replace(kernel, centres=np.ascontiguousarray(kernel.centres[chosen]))


def prior(
    states: States, h: Hyperparameters, scale: np.ndarray, i: int, n_centres: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inverse variances (q + M,) of component i's coefficients, and which it has."""
    sizes = np.concatenate([[np.inf, np.inf], h.orders[:, i] * scale[i]])
    precision = np.concatenate(
        [sizes[states.orders] ** -2.0, np.full(n_centres, (h.signal[i] * scale[i]) ** -2.0)]
    )
    return precision, np.concatenate([states.used()[i], np.ones(n_centres, bool)])


def equations(
    states: States, kernel: Kernel, weight: np.ndarray, h: Hyperparameters
) -> tuple[np.ndarray, np.ndarray]:
    """Return Phi^T N^{-1} Phi and Phi^T N^{-1} y of either sign, N the noise in units of t."""
    n_unknowns = len(states.orders) + len(kernel.centres)
    gram = np.zeros((len(kernel.signs), n_unknowns, n_unknowns))
    right = np.zeros((len(kernel.signs), n_unknowns, states.d))
    order = np.argsort(states.groups, kind="stable")
    rates = states.rates
    for batch in batches(len(order)):
        rows = order[batch]
        root = np.sqrt(weight[rows, None])
        phi = features_of(kernel, states, rows) * root
        both = np.concatenate(
            [phi, np.broadcast_to(rates[rows] * root, (len(phi), len(rows), states.d))], axis=2
        )
        if h.share > 0.01:
            both = _without_correlation(both, states.u[rows], states.groups[rows], h)
        phi, y = both[..., : phi.shape[2]], both[..., phi.shape[2] :]
        gram, right = gram + phi.mT @ phi, right + phi.mT @ y
    return gram, right


def _without_correlation(
    values: np.ndarray, u: np.ndarray, groups: np.ndarray, h: Hyperparameters
) -> np.ndarray:
    """Return rows of values (n_signs, n, k), of groups side by side, with independent noise."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    for first, last in zip(starts, [*starts[1:], len(groups)], strict=True):
        for start in range(first, last, MOST_RELATED):
            rows = slice(start, min(start + MOST_RELATED, last))
            n = rows.stop - start
            if n > 1:
                distances = cdist(u[rows], u[rows])
                N = within_groups(np.ones((n, n), bool), distances, h.share, h.range)
                root = np.linalg.cholesky(N)
                for one in values:
                    one[rows] = solve_triangular(root, one[rows], lower=True)
    return values


def solve(A: np.ndarray, right: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean A^{-1} right and a root S of A^{-1}, both 0 but for the unknowns `used`."""
    mean, spread = np.zeros(len(A)), np.zeros((len(A), len(A)))
    A = A[np.ix_(used, used)]
    scale = np.sqrt(np.maximum(np.diag(A), np.finfo(float).tiny))
    scale = np.where(np.diag(A) > 0, scale, 1.0)
    scaled = A / np.outer(scale, scale) + RIDGE * np.eye(len(A))
    factor = cholesky(scaled, lower=True)
    inverse = solve_triangular(factor, np.eye(len(A)), lower=True) / scale
    mean[used] = inverse.T @ (inverse @ right[used])
    spread[np.ix_(used, used)] = inverse.T
    return mean, spread


def joint_drift(
    states: States,
    kernel: Kernel,
    h: Hyperparameters,
    scale: np.ndarray,
    covariance: Covariance,
) -> Coefficients:
    """Return the drift by equations weighted with the inverse of lam Sigma dt."""
    d, kinds, increments = states.d, kinds_of(states), states.increments
    inverse = np.linalg.inv(covariance.factors(states))
    precision = np.einsum("nki,nkj->ijn", inverse, inverse) / increments.lam
    target = np.einsum("ijn,nj->in", precision, increments.dz)
    n_unknowns = len(states.orders) + len(kernel.centres)
    gram, right = np.zeros((d, d, n_unknowns, n_unknowns)), np.zeros((d, n_unknowns))
    for rows in batches(len(states.u)):
        features, dt = features_of(kernel, states, rows), increments.dt[rows]
        for i in range(d):
            mine = features[kinds[i]]
            right[i] += mine.T @ target[i, rows]
            for j in range(i + 1):
                weight = precision[i, j, rows] * dt
                gram[i, j] += mine.T @ (features[kinds[j]] * weight[:, None])
    for i in range(d):
        for j in range(i):
            gram[j, i] = gram[i, j].T
    whole = gram.transpose(0, 2, 1, 3).reshape(d * n_unknowns, d * n_unknowns)
    priors = [prior(states, h, scale, i, len(kernel.centres)) for i in range(d)]
    whole[np.diag_indices_from(whole)] += np.concatenate([one for one, _ in priors])
    mean, spread = solve(whole, right.ravel(), np.concatenate([used for _, used in priors]))
    spread = spread.reshape(d, n_unknowns, -1)
    return Coefficients(kernel, mean.reshape(d, -1), spread, True, h.signal * scale)
