"""A Gaussian process as drift: flexible where there are data, linear where there are none.

    mu_i(u) = sum_q B_iq f_q(u) + g_i(u),   g_i a Gaussian process of kernel s_i^2 k

with f the monomials up to order 3. Those of orders 2 and 3 have normal coefficients of a size that
the data choose, so that little is left of them where they do not help; see `evidence`. The process
is represented by at most 256 kernel functions about states of the data (`kernels`), chosen one by
one, each where those before it leave most open, until what is left is small beside the noise.
Given the hyperparameters, coefficients have a normal law, and its mean solves linear equations.

Moments scatter about a function of z, by what z does not see: each component by an amount of its
own, the same everywhere, and correlated within groups. Sampled increments are dominated by their
own noise: it is fitted to the residuals, the equations are weighted by the inverse of lam Sigma dt,
and both are repeated. Hyperparameters are told from some rows of moments, and of sampled increments
from means over cells of equal numbers of pairs.
"""

from dataclasses import replace

import numpy as np

from sklmacro._base.checks import check_integer
from sklmacro._base.streams import Stage, stream
from sklmacro._base.units import binary_unit
from sklmacro.sde.coefficients import (
    MOST_MONOMIALS,
    Coefficients,
    Covariance,
    States,
    choose_kernel,
    joint_drift,
    kinds_of,
    number_of_monomials,
    prior,
    solve,
)
from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.evidence import Rows, most_likely
from sklmacro.sde.group_errors import equations_of_blocks, understated
from sklmacro.sde.kernels import KernelSDE
from sklmacro.sde.regressions import (
    PolynomialSDE,
    least_squares_drift,
    monomials,
)

MOST_ROWS = 400  # that hyperparameters are told from, rows or cells
MOST_UNKNOWNS = 1500  # coefficients of all components that depend on each other
NOISE_DEGREES = range(5)  # of the covariance of sampled increments
NOISE_DEGREE = 2  # of the covariance of moments
LEFT_OUT = 0.005  # of the states at either end, where one pair may decide what the noise is
TOLD = 0.01  # of the log-likelihood of all pairs, what covariances need not be known to
SMALLEST_NOISE = 1e-8  # of what a linear function leaves of rates, variances


class GaussianProcess(Drift):
    """Gaussian process as drift, for `PatchSDERegressor`.

    Parameters
    ----------
    n_centres : int, default=256
        Largest number of kernel functions; fewer serve where the drift is smooth, or the noise
        large. Paths and fits take a time proportional to it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import GaussianProcess, PatchSDERegressor
    >>> z = np.linspace(-2, 2, 200)[:, np.newaxis]
    >>> sde = PatchSDERegressor(drift_model=GaussianProcess(), diffusion_model="constant")
    >>> sde.fit(z, np.sin(2 * z)).drift([[0.5]]).round(3)
    array([[0.841]])
    """

    def __init__(self, n_centres: int = 256):
        self.n_centres = n_centres

    def check(self) -> None:
        """Raise ValueError unless the number of centres makes sense."""
        check_integer(self.n_centres, "n_centres", low=1)

    def fit_model(self, data: FitData) -> KernelSDE:
        """Fit drift and diffusion (Eq. 7)."""
        increments, common = data.increments.without_common_lam()
        unit = binary_unit(increments.sizes())
        root = float(binary_unit(np.sqrt(increments.dt.max())))
        increments = increments.in_units(unit, root**2)
        u, increments, count = increments.merge_states(data.u)
        groups = data.groups if len(u) == len(data.u) else np.arange(len(u))
        states = States(u, increments, count, groups, data.parity, data.diffusion)
        fit = _fit_moments if increments.cov is not None else _fit_sampled
        drift, covariance = fit(states, int(self.n_centres))
        return _model(states, drift, covariance.divided_by(common), unit, root)


# Moments ------------------------------------------------------------------------------------------


def _fit_moments(states: States, most: int) -> tuple[Coefficients, Covariance]:
    """Return drift and covariance of moments; the latter does not depend on the drift."""
    increments = states.increments
    assert increments.root is not None
    degree = 0 if states.diffusion == "constant" else NOISE_DEGREE
    covariance = Covariance.of(states, increments.root, degree, 0.0)
    weight = increments.dt / increments.lam
    weight = weight / weight.mean()
    rows, scale = _some_rows(states, weight)
    h = most_likely(rows)
    noise = np.maximum(h.noise * scale, np.sqrt(SMALLEST_NOISE) * scale)
    kernel = choose_kernel(states, h, noise / (h.signal * scale), most)
    parts = equations_of_blocks(states, kernel, weight, h)
    gram, right = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
    mean, spread = [], []
    priors = [prior(states, h, scale, i, len(kernel.centres)) for i in range(states.d)]
    for i, kind in enumerate(kinds_of(states)):
        precision, used = priors[i]
        A = gram[kind] / noise[i] ** 2 + np.diag(precision)
        one, root = solve(A, right[kind][:, i] / noise[i] ** 2, used)
        mean.append(one)
        spread.append(root)
    drift = Coefficients(kernel, np.stack(mean), np.stack(spread), False, h.signal * scale)
    factors = understated(states, drift, parts, noise, priors)
    return replace(drift, spread=drift.spread * factors[:, None, None]), covariance


def _some_rows(states: States, weight: np.ndarray) -> tuple[Rows, np.ndarray]:
    """Return what hyperparameters of moments are told from, and the unit (d,) of the rates."""
    n = len(states.u)
    some = np.sort(stream(0, Stage.SPLIT).permutation(n)[:MOST_ROWS])
    groups = states.groups[some]
    same = groups[:, None] == groups
    noise = np.repeat(1 / weight[some, None], states.d, axis=1)
    return _rows(states, states.u[some], states.rates[some], noise, same, False)


def _rows(
    states: States,
    u: np.ndarray,
    y: np.ndarray,
    noise: np.ndarray,
    same: np.ndarray | None,
    known: bool,
) -> tuple[Rows, np.ndarray]:
    """Return what hyperparameters are told from, and the unit (d,) of the rates y (n, d)."""
    used, orders = states.used(), states.orders
    f = monomials(u, states.order)
    scale = np.empty(states.d)
    for i in range(states.d):
        H = f[:, used[i] & (orders < 2)]
        rest = y[:, i] - H @ np.linalg.lstsq(H, y[:, i], rcond=None)[0] if H.size else y[:, i]
        size = np.sqrt(np.mean(y[:, i] ** 2))
        scale[i] = max(np.sqrt(np.mean(rest**2)), 1e-6 * size) or 1.0
    if known:
        noise = np.maximum(noise / scale**2, SMALLEST_NOISE)
    if same is not None and not (same.sum(axis=1) > 1).any():
        same = None
    parts = [orders < 2] + [orders == k for k in range(2, states.order + 1)]
    return Rows(
        u, y / scale, noise, same, known, states.parity,
        [f[:, part] for part in parts], [used[:, part] for part in parts],
    ), scale  # fmt: skip


# Sampled increments -------------------------------------------------------------------------------


def _fit_sampled(states: States, most: int) -> tuple[Coefficients, Covariance]:
    """Return drift and covariance of sampled increments."""
    f, used = monomials(states.u, states.order), states.used()
    mu = f @ least_squares_drift(f, states.increments, used).T
    covariance = _covariance(states, mu)
    rows, scale = _cells(states, _variances(states, covariance))
    h = most_likely(rows)
    for _ in range(2):
        variances = _variances(states, covariance)
        noise = np.sqrt(1 / np.mean(1 / variances, axis=0))
        cap = max(MOST_UNKNOWNS // states.d - f.shape[1], 1)
        kernel = choose_kernel(states, h, noise / (h.signal * scale), min(most, cap))
        drift = joint_drift(states, kernel, h, scale, covariance)
        covariance = _covariance(states, drift.at(states))
    return drift, covariance


def _covariance(states: States, mu: np.ndarray) -> Covariance:
    """Return the covariance of the degree that predicts best, with ten pairs a coefficient or more.

    By the criterion of Akaike, IEEE Trans. Automat. Contr. 19, 716 (1974).
    """
    r, n, n_in = states.increments.noise(mu), len(mu), states.u.shape[1]
    # Coefficients of the last component, for each monomial: it depends on all others.
    share = 1 if states.diffusion == "diagonal" else states.d
    found: list[Covariance] = []
    losses: list[float] = []
    for degree in NOISE_DEGREES:
        size = number_of_monomials(n_in, degree)
        unknown = states.diffusion == "constant" or share * size > n // 10
        if degree > 0 and (unknown or size > MOST_MONOMIALS):
            break
        found.append(Covariance.of(states, r, degree, LEFT_OUT, tolerance=TOLD / n))
        losses.append(n * found[-1].loss + found[-1].n_coefficients)
        if min(losses[-2:]) > min(losses):  # twice no better
            break
    return found[int(np.argmin(losses))]


def _variances(states: States, covariance: Covariance) -> np.ndarray:
    """Return the variances (n, d) of the rates."""
    squares = np.sum(covariance.factors(states) ** 2, axis=2)
    return squares * (states.increments.lam / states.increments.dt)[:, None]


def _cells(states: States, variances: np.ndarray) -> tuple[Rows, np.ndarray]:
    """Return means over cells of sampled increments, and the unit (d,) of the rates."""
    labels = cells_of(states.u, MOST_ROWS)
    weight = 1 / variances
    shared = (weight / weight.mean(axis=0)).mean(axis=1)

    def sums(values: np.ndarray) -> np.ndarray:
        return np.column_stack([np.bincount(labels, column) for column in values.T])

    u = sums(states.u * shared[:, None]) / np.bincount(labels, shared)[:, None]
    total = sums(weight)
    return _rows(states, u, sums(weight * states.rates) / total, 1 / total, None, True)


def cells_of(u: np.ndarray, n_cells: int) -> np.ndarray:
    """Return which of at most `n_cells` cells each row of u (n, n_in) is in.

    Halves of equal numbers, split where the spread is largest, again and again.
    """
    labels = np.zeros(len(u), np.int64)
    parts = [np.arange(len(u))]
    while 2 * len(parts) <= n_cells and len(parts[0]) >= 2:
        halves = []
        for rows in parts:
            width = u[rows].std(axis=0).round(6)  # equal ones are so in any unit
            column = u[rows, np.argmax(width)]
            order = np.argsort(column, kind="stable")
            halves += [rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]]
        parts = halves
    for number, rows in enumerate(parts):
        labels[rows] = number
    return labels


# Both ---------------------------------------------------------------------------------------------


def _model(
    states: States,
    drift: Coefficients,
    covariance: Covariance,
    unit: np.ndarray,
    root: float,
) -> KernelSDE:
    """Return the model in terms of monomials of one degree and of kernel functions."""
    u, parity, d, q = states.u, states.parity, states.d, len(states.orders)
    phi, g = covariance.phi, covariance.g
    degree = next(k for k in range(10) if number_of_monomials(u.shape[1], k) >= max(q, g.shape[1]))
    size = number_of_monomials(u.shape[1], degree)
    padded = [np.zeros((*part.shape[:-1], size)) for part in (drift.mean[:, :q], phi, g)]
    for whole, part in zip(padded, (drift.mean[:, :q], phi, g), strict=True):
        whole[..., : part.shape[-1]] = part
    spread = np.zeros((d, size + len(drift.kernel.centres), drift.spread.shape[2]))
    spread[:, :q], spread[:, size:] = drift.spread[:, :q], drift.spread[:, q:]
    line = np.append(1.0, parity) == parity[:d, None]
    slope = least_squares_drift(monomials(u, 1), states.increments, line)[:, 1:]
    reach = np.abs(u).max(axis=0)
    low = np.where(parity == 1, u.min(axis=0), -reach)
    high = np.where(parity == 1, u.max(axis=0), reach)
    polynomial = PolynomialSDE(
        degree, low, high, padded[0], np.ascontiguousarray(slope), padded[1], padded[2],
        unit / root**2, unit / root, covariance.limits,
    )  # fmt: skip
    kernel = drift.kernel
    kinds, w = kinds_of(states), drift.mean[:, q:]
    weights = kernel.weights(np.broadcast_to(w, (len(kernel.signs), *w.shape)))
    weights = np.ascontiguousarray(weights[kinds, np.arange(d)])
    return KernelSDE(
        polynomial, kernel.centres, kernel.lengths, parity, weights, drift.signal, spread,
        drift.joint,
    )  # fmt: skip
