"""Where the training of OnsagerNet starts: the likeliest V, W and f for M of the noise.

    mu = -(M + W) grad V + f,   M proportional to the diffusion, W constant

The coefficients of V, of quadratic and hidden functions, and of f, of linear and hidden ones, have
normal laws, whose widths have the largest evidence, as in `starts`; so has W, by the
expectation-maximisation that takes their law for given W and N and, for that law, W and the
covariance N of the noise. For a linear drift, V and W are those of the stationary law exp(-V),
and unique. A force enters where the evidence with one is clearly the larger: what V and W explain
as well is left to them.

The nets of M and W have a bias alone then; that of V is U = (U_1, 0, ...), with U_1^2 / 2 + beta
|z|^2 / 2 = V up to a constant, by Gauss-Newton steps; and that of f is a least-squares fit.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, solve_continuous_lyapunov
from torch import nn

from sklmacro.sde.nets import OnsagerDrift
from sklmacro.sde.starts import Rates, even_and_odd, hidden_slopes, hidden_values

N_STEPS = 30  # of expectation and maximisation
N_NEWTON = 8
MOST_UNKNOWNS = 1200  # of V and f together; with more, f starts at 0
MOST_ROWS = 2000  # by which nets are made to follow V and f
PRECISIONS = (1e-4, 1e6)
START = (0.1, 1.0, 1.0, 1.0)  # precisions of quadratic, hidden, linear and hidden coefficients
NEVER = 1e9  # precision of coefficients of the wrong parity
PRECISION_OF_W = 0.1  # in units of M, of trace d
LEAST_NOISE = 1e-6  # of the rates' own variance
LEAST_M = 0.03
ENOUGH = 3.0  # of the logarithm of the evidence, by which a larger force has to be the likelier
RIDGE = 1e-6  # of least squares, in units of the mean square
GENTLE = (1e-3, 1e-2, 1e-1)  # the same, until weights are small enough for training
LARGEST = 6.0  # norm of last weights, by which a step of hidden ones is multiplied
NEAR = 0.2  # relative error of the drift


@dataclass
class Law:
    """Normal law of the coefficients of V and f for given W and N."""

    C: np.ndarray  # (q,), of V
    F: np.ndarray  # (d, q_f), of f
    W: np.ndarray  # (d, d)
    evidence: float  # its logarithm
    work: float  # weighted sum of f^2


def start_onsager(drift: OnsagerDrift, rates: Rates) -> None:
    """Set the last layers of an OnsagerNet's drift."""
    if not drift.hidden:
        return
    functions = Functions(drift, rates)
    law = likeliest(functions, rates)
    rows = _some(rates)
    u = rows.u
    V, gradient = functions.potential(u, law.C)
    # M and V in units in which the gradient is of order 1, as a net's.
    size = float(np.clip(np.sqrt(np.mean(gradient**2)), 0.01, 100.0))
    values, vectors = np.linalg.eigh(rates.dissipation * size)
    A = vectors * np.sqrt(np.maximum(values, LEAST_M) - drift.ALPHA)
    biases = np.concatenate([A.ravel(), law.W.ravel() * (size / 2)])
    _set_last(drift.matrix_net, np.zeros((len(biases), 1)), biases)
    _follow_potential(drift, rows, V / size, gradient / size)
    if drift.force_net is not None and law.F.any():
        G = A @ A.T + drift.ALPHA * np.eye(rates.d) + law.W * size
        found = drift.gradient(torch.as_tensor(u)).detach().numpy()
        mu = functions.force(u, law.F) - gradient @ (rates.dissipation + law.W).T
        _follow_force(drift.force_net, rows, mu + found @ G.T)


def soften(drift: OnsagerDrift, rates: Rates) -> bool:
    """Give a drift that has been started nearly the same with small weights, if there is one."""
    if not drift.hidden:
        return True
    rows = _some(rates)
    u = torch.as_tensor(rows.u)
    mu, V, gradient = (part(u).detach() for part in (drift, drift.potential, drift.gradient))
    for ridge in GENTLE:
        _follow_potential(drift, rows, V.numpy(), gradient.numpy(), ridge)
        if _size(drift.potential_net) < LARGEST:
            break
    if drift.force_net is not None and _size(drift.force_net) > 0:
        f = (mu - drift(u) + drift.force(u)).detach().numpy()
        for ridge in GENTLE:
            _follow_force(drift.force_net, rows, f, ridge)
            if _size(drift.force_net) < LARGEST:
                break
    nets = [net for net in (drift.potential_net, drift.force_net) if net is not None]
    near = (drift(u).detach() - mu).norm() < NEAR * mu.norm()
    return bool(near) and all(_size(net) < LARGEST for net in nets)


def _size(net: nn.Sequential) -> float:
    """Return the norm of the last weights."""
    last = net[-1]
    assert isinstance(last, nn.Linear)
    return float(last.weight.norm())


def _some(rates: Rates) -> Rates:
    """Return at most MOST_ROWS rows, evenly among all."""
    n = len(rates.u)
    return rates.take(np.linspace(0, n - 1, min(MOST_ROWS, n)).astype(int))


class Functions:
    """Functions of which V and f are combinations, averaged over the parity."""

    def __init__(self, drift: OnsagerDrift, rates: Rates):
        self.drift, self.rates = drift, rates
        self.n_quadratic = self._quadratic(rates.u[:1])[0].shape[1]
        self.force_net = drift.force_net

    def _quadratic(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return monomials of degrees 1 and 2 with a component of the state, and derivatives."""
        d, m = self.rates.d, u.shape[1]
        pairs = [(i, j) for i in range(d) for j in range(i, m)]
        slope = np.zeros((len(u), d + len(pairs), d))
        slope[:, np.arange(d), np.arange(d)] = 1.0
        for k, (i, j) in enumerate(pairs, start=d):
            slope[:, k, i] += u[:, j] / np.sqrt(2)
            if j < d:
                slope[:, k, j] += u[:, i] / np.sqrt(2)
        products = [u[:, i] * u[:, j] / np.sqrt(2) for i, j in pairs]
        return np.column_stack([u[:, :d], *products]), slope

    def of_potential(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the functions (n, q) of V and their derivatives (n, q, d)."""
        d, images = self.rates.d, self.rates.images
        values, slopes = [], []
        for P in images:
            v = u * P
            parts = self._quadratic(v), hidden_slopes(self.drift.potential_net, v, d)
            values.append(np.concatenate([part[0] for part in parts], axis=1))
            slopes.append(np.concatenate([part[1] for part in parts], axis=1) * P[:d])
        return np.mean(values, axis=0), np.mean(slopes, axis=0)

    def of_force(self, u: np.ndarray) -> np.ndarray:
        """Return the functions (n, q_f) of f, the even and then, if any, the odd ones."""

        def plain(u: np.ndarray) -> np.ndarray:
            assert self.force_net is not None
            return np.column_stack([np.ones(len(u)), u, hidden_values(self.force_net, u)])

        return even_and_odd(plain, self.rates.images)(u)

    def columns(self, u: np.ndarray) -> np.ndarray:
        """Return all functions (n, d q + q_f), derivatives of V's by component first."""
        slope = self.of_potential(u)[1]
        gradients = slope.transpose(0, 2, 1).reshape(len(u), -1)
        if self.force_net is None:
            return gradients
        return np.concatenate([gradients, self.of_force(u)], axis=1)

    def potential(self, u: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return V (n,) and grad V (n, d)."""
        values, slopes = self.of_potential(u)
        return values @ C, C @ slopes

    def force(self, u: np.ndarray, F: np.ndarray) -> np.ndarray:
        """Return f (n, d)."""
        return self.of_force(u) @ F.T


def likeliest(functions: Functions, rates: Rates) -> Law:
    """Return the law of the largest evidence, of those with a force and without one."""
    moments = [part / rates.shared for part in rates.moments(functions.columns)]
    n_rows, d = len(rates.u) / rates.shared, rates.d
    q = functions.of_potential(rates.u[:1])[0].shape[1]
    a = d * q
    gram, right, square = moments
    without = (gram[:a, :a], right[:a], square)
    first = _maximise(without, n_rows, functions, rates, _linear_start(rates))
    n_force = d * (len(gram) - a)
    if n_force == 0 or q + n_force > MOST_UNKNOWNS:
        return first
    others = [
        _maximise((gram, right, square), n_rows, functions, rates, W)
        for W in (first.W, np.zeros((d, d)))
    ]
    best = first
    for law in sorted(others, key=lambda law: law.work):
        if law.evidence > best.evidence + ENOUGH:
            best = law
    return best


def _linear_start(rates: Rates) -> np.ndarray:
    """Return W (d, d) of the linear drift A: A X = -(M + W), X the stationary covariance."""
    d, M = rates.d, rates.dissipation
    line = np.column_stack([np.ones(len(rates.u)), rates.u])
    root = np.sqrt(rates.weight)[:, None]
    A = np.linalg.lstsq(line * root, rates.t * root, rcond=None)[0][1 : 1 + d].T
    if np.linalg.eigvals(A).real.max() >= -1e-3:
        return np.zeros((d, d))
    W = -(A @ solve_continuous_lyapunov(A, -2 * M)) - M
    return np.where(np.outer(rates.parity[:d], rates.parity[:d]) == 1, (W - W.T) / 2, 0.0)


def _maximise(
    moments: tuple[np.ndarray, np.ndarray, np.ndarray],
    n_rows: float,
    functions: Functions,
    rates: Rates,
    W: np.ndarray,
) -> Law:
    """Return the law of (nearly) the largest evidence, from W on."""
    gram, right, square = moments
    d, M, parity = rates.d, rates.dissipation, rates.parity
    nq, q = functions.n_quadratic, functions.of_potential(rates.u[:1])[0].shape[1]
    a = d * q
    qf = len(gram) - a
    K = gram[:a, :a].reshape(d, q, d, q)
    across, own = gram[:a, a:].reshape(d, q, qf), gram[a:, a:]
    skew = [(i, j) for i, j in combinations(range(d), 2) if parity[i] == parity[j]]
    basis = np.zeros((len(skew), d, d))
    for k, (i, j) in enumerate(skew):
        basis[k, i, j], basis[k, j, i] = 1.0, -1.0
    E = basis.reshape(len(skew), d * d)
    block = np.concatenate([np.repeat([0, 1], [nq, q - nq]), _blocks_of_force(qf, rates)])
    tau = np.array([*START, NEVER])
    floor = LEAST_NOISE * np.diag(square) / n_rows
    floor = np.where(floor > 0, floor, 1.0)
    N = square / n_rows + np.diag(floor)
    for _ in range(N_STEPS):
        G, P = M + W, np.linalg.inv(N)
        RP = right @ P
        of_V = RP[:a].reshape(d, q, d)
        H = np.tensordot(G.T @ P @ G, K, axes=([0, 1], [0, 2]))
        b = -np.tensordot(G, of_V, axes=([1, 0], [0, 2]))
        if qf > 0:
            mixed = -np.tensordot(P @ G, across, axes=(1, 0)).transpose(1, 0, 2)
            mixed = mixed.reshape(q, d * qf)
            H = np.block([[H, mixed], [mixed.T, np.kron(P, own)]])
            b = np.concatenate([b, RP[a:].T.ravel()])
        prior = tau[block]
        root = cho_factor(H + np.diag(prior + 1e-12 * np.diag(H).mean()), lower=True)
        cov = cho_solve(root, np.eye(len(b)))
        mean = cov @ b
        evidence = 0.5 * (b @ mean - np.sum(P * square) + np.log(prior).sum())
        evidence -= 0.25 * PRECISION_OF_W * np.sum(W**2)
        evidence -= np.log(np.diag(root[0])).sum() + 0.5 * n_rows * np.linalg.slogdet(N)[1]
        C, F = mean[:q], mean[q:].reshape(d, qf)
        now = Law(C, F, W, float(evidence), float(np.sum(F * (F @ own))))
        # W for the law of C and F: the derivative P (M + W) Q - Z is 0 along skew matrices.
        Q = np.tensordot(K, cov[:q, :q] + np.outer(C, C), axes=([1, 3], [0, 1]))
        Z = -np.tensordot(of_V, C, axes=(1, 0)).T
        if qf > 0:
            joint = (cov[:q, q:] + np.outer(C, mean[q:])).reshape(q, d, qf)
            Z = Z + P @ np.tensordot(across, joint, axes=([1, 2], [0, 2])).T
        if skew:
            curvature = E @ np.kron(P, Q) @ E.T + PRECISION_OF_W * np.eye(len(E))
            w = np.linalg.solve(curvature, E @ (Z - P @ M @ Q).ravel())
            W = (w @ E).reshape(d, d)
        known = np.zeros(len(tau))
        for k in range(4):
            mine = block == k
            if mine.any():
                known[k] = max(mine.sum() - tau[k] * np.diag(cov)[mine].sum(), 1e-9)
                size = max(mean[mine] @ mean[mine], np.finfo(float).tiny)
                tau[k] = np.clip(known[k] / size, *PRECISIONS)
        Omega = np.concatenate([-np.einsum("ij,q->ijq", G, C).reshape(d, a), F], axis=1)
        rest = square - Omega @ right - (Omega @ right).T + Omega @ gram @ Omega.T
        n_left = max(n_rows - known.sum() / d, 0.1 * n_rows)
        N = rest / n_left + np.diag(floor)
    return now


def _blocks_of_force(qf: int, rates: Rates) -> np.ndarray:
    """Return which precision each coefficient of f has, by component."""
    n_images, n_linear = len(rates.images), 1 + rates.u.shape[1]
    one = np.repeat([2, 3], [n_linear, max(qf // n_images - n_linear, 0)])
    if qf == 0:
        return np.empty(0, int)
    never = np.full(len(one), 4)
    of = {1.0: [one, never][:n_images], -1.0: [never, one]}
    return np.concatenate([np.concatenate(of[sign]) for sign in rates.parity[: rates.d]])


def _set_last(net: nn.Sequential, weight: np.ndarray, bias: np.ndarray) -> None:
    last = net[-1]
    assert isinstance(last, nn.Linear)
    last.weight.copy_(torch.as_tensor(weight).expand_as(last.weight))
    last.bias.copy_(torch.as_tensor(bias))


def _follow_potential(
    drift: OnsagerDrift,
    rows: Rates,
    V: np.ndarray,
    gradient: np.ndarray,
    ridge: float = RIDGE,
) -> None:
    """Set the last layer of U so that grad V is `gradient` (n, d) at u, as nearly as it can be."""
    u, d, z = rows.u, rows.d, rows.u[:, : rows.d]
    above = V - 0.5 * drift.BETA * np.sum(z * z, axis=1)
    above -= above.min()
    target = np.sqrt(2 * (above + above.mean() + 0.1))
    values, slopes = [], []
    for P in rows.images:
        h, slope = hidden_slopes(drift.potential_net, u * P, d)
        values.append(np.column_stack([np.ones(len(u)), h]))
        slopes.append(np.concatenate([np.zeros((len(u), 1, d)), slope * P[:d]], axis=1))
    c = _solve(np.mean(values, axis=0), target, ridge)

    def residual(c: np.ndarray) -> np.ndarray:
        found = sum((h @ c)[:, None] * (c @ slope) for h, slope in zip(values, slopes, strict=True))
        return gradient - drift.BETA * z - found / len(values)

    left, damping = residual(c), ridge
    for _ in range(N_NEWTON):
        slope = sum(
            np.einsum("nq,nk->nkq", h, c @ s) + np.einsum("n,nqk->nkq", h @ c, s)
            for h, s in zip(values, slopes, strict=True)
        )
        step = _solve((slope / len(values)).reshape(-1, len(c)), left.ravel(), damping)
        new = residual(c + step)
        if np.sum(new**2) < np.sum(left**2):
            c, left, damping = c + step, new, max(damping / 10, ridge)
        else:
            damping *= 100
    last = drift.potential_net[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(0.01)
    last.bias.zero_()
    last.weight[0] = torch.as_tensor(c[1:])
    last.bias[0] = float(c[0])


def _follow_force(net: nn.Sequential, rows: Rates, f: np.ndarray, ridge: float = RIDGE) -> None:
    """Set the last layer of the net of f so that it is f (n, d) at u, by least squares."""
    u, weights, biases = rows.u, [], []
    for i in range(rows.d):
        sign = [1.0, rows.parity[i]][: len(rows.images)]
        X = sum(
            s * np.column_stack([np.ones(len(u)), hidden_values(net, u * P)])
            for s, P in zip(sign, rows.images, strict=True)
        )
        c = _solve(X / len(sign), f[:, i], ridge)
        biases.append(c[0])
        weights.append(c[1:])
    _set_last(net, np.array(weights), np.array(biases))


def _solve(X: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """Return least-squares coefficients (q,), with a ridge in units of the mean square."""
    gram = X.T @ X
    least = ridge * np.trace(gram) / len(gram) + np.finfo(float).tiny
    return np.linalg.solve(gram + least * np.eye(len(gram)), X.T @ y)
