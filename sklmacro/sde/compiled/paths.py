"""Euler-Maruyama steps of learned SDEs on plain arrays, many steps of many paths in one kernel.

    z <- clip(z + mu(z) dt + L(z) xi),   xi ~ N(0, dt)

A model is evaluated in three stages, of which only the last depends on its kind:

    features   (z, c) standardised; monomials of them, and what lies beyond their range; kernels
    raw        sum of the outputs of perceptrons, see `perceptron`
    head       raw -> drift and L xi

Paths lie along the last axis, the lanes, where every operation treats each by itself: a path does
not depend on those beside it, to the last bit.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from sklmacro._base.kernels import heed, njit
from sklmacro.sde.compiled.elementary import exp, softplus
from sklmacro.sde.compiled.likelihood import below_diagonal, diffusion_nets, layers
from sklmacro.sde.compiled.perceptron import (
    LANES,
    Perceptrons,
    backward,
    forward,
    hidden_rows,
    pack,
    round_up,
    transpose,
)
from sklmacro.sde.kernels import FARTHEST, KernelSDE
from sklmacro.sde.nets import (
    SMALLEST_DIAGONAL,
    CholeskyDiffusion,
    EquivariantDiffusion,
    MLPDrift,
    OnsagerDrift,
)
from sklmacro.sde.neural import NeuralSDE
from sklmacro.sde.path_record import Contacts
from sklmacro.sde.regressions import LARGEST_EXPONENT, PolynomialSDE, monomial_factors
from sklmacro.sde.rollout import Steps

VECTOR = 16  # lanes of a block come in multiples of it, so that the inner loops have no rest
NO_KERNELS = np.empty((0, 0)), np.empty(0), np.empty(0)
ALPHA, BETA = OnsagerDrift.ALPHA, OnsagerDrift.BETA


class ArrayModel(NamedTuple):
    """An SDE on plain arrays, for kernels."""

    entries: int  # number of raw outputs for L, in the rows from 0 on; those of the drift follow
    n_raw: int  # number of raw outputs
    nets: Perceptrons  # raw outputs of features
    transposed: Perceptrons  # with their matrices transposed
    drift_scale: np.ndarray  # (d,), physical drift over that of the model
    noise_scale: np.ndarray  # (d,), physical rows of L over those of the model
    factors: np.ndarray  # (q, 2), of `monomial_factors`; q = 0 where features are (z, c) themselves
    low: np.ndarray  # (n_in,), with `high` the range in which monomials are taken
    high: np.ndarray
    centres: np.ndarray  # (n_centres, n_in), of kernel functions, in units of their lengths
    lengths: np.ndarray  # (n_in,)
    parity: np.ndarray  # (n_in,), or (0,) where there is no symmetry
    limits: np.ndarray  # (2, d, d), ranges of g and phi


class Block(NamedTuple):
    """A block of paths in the middle of a step, for kernels."""

    features: np.ndarray  # (n_features, n_lanes), inputs of the nets
    hidden: np.ndarray  # (n_hidden, n_lanes), their activations
    raw: np.ndarray  # (n_raw, n_lanes), their outputs
    xi: np.ndarray  # (d, n_lanes), noise
    kick: np.ndarray  # (d, n_lanes), L xi


# Kernel that computes L xi from raw outputs, and returns those from the drift's d rows on.
Head: TypeAlias = Callable[[ArrayModel, Block], np.ndarray]


def array_model(model: PolynomialSDE | KernelSDE | NeuralSDE) -> tuple[Head, ArrayModel] | None:
    """Return a fitted SDE on plain arrays; None where its nets have a parity, or another device."""
    if isinstance(model, PolynomialSDE):
        return _from_polynomials(model)
    if isinstance(model, KernelSDE):
        return _from_kernels(model)
    equivariant = isinstance(model.net.diffusion, EquivariantDiffusion)
    if equivariant or next(model.net.parameters()).device.type != "cpu":
        return None
    return _from_nets(model)


def _from_nets(model: NeuralSDE) -> tuple[Head, ArrayModel]:
    drift, diffusion = model.net.drift, model.net.diffusion
    assert isinstance(diffusion, CholeskyDiffusion)
    entries, nets = diffusion_nets(diffusion)
    first, d = round_up(entries), len(model.drift_scale)
    if isinstance(drift, MLPDrift):
        head = _mlp_head
        nets += [(first, layers(drift.linear)), (first, layers(drift.net))]
        n_raw = first + round_up(d)
    else:
        assert isinstance(drift, OnsagerDrift)
        # Rows: force, then A and B, then U; the net of U last, where the head expects it.
        head, matrices = _onsager_head, first + round_up(d)
        deep = matrices + round_up(2 * d * d)
        nets.append((matrices, layers(drift.matrix_net)))
        if drift.force_net is not None:
            nets.append((first, layers(drift.force_net)))
        potential = layers(drift.potential_net)
        nets.append((deep, potential))
        n_raw = deep + round_up(len(potential[-1][1]))
    packed = pack(nets)
    none = np.empty((0, 2), np.int64), np.empty(0), np.empty(0)
    scales = model.drift_scale, model.noise_scale
    return head, ArrayModel(
        entries, n_raw, packed, transpose(packed), *scales, *none, *NO_KERNELS, np.empty((2, 0, 0))
    )


def _from_polynomials(model: PolynomialSDE) -> tuple[Head, ArrayModel]:
    layer = _polynomial_layer(model)
    nets = pack([(0, [layer])])
    return _polynomial_head, _with_monomials(model, nets, *NO_KERNELS)


def _from_kernels(model: KernelSDE) -> tuple[Head, ArrayModel]:
    weights, kernel, d = model.weights, model.kernel, len(model.weights)
    parity = kernel.parity if len(kernel.signs) == 2 else np.empty(0)
    if len(parity):  # odd functions stand below the even ones
        odd = (parity[:d] == -1)[:, np.newaxis]
        weights = np.hstack([np.where(odd, 0.0, weights), np.where(odd, weights, 0.0)])
    layer = _polynomial_layer(model.polynomial)
    weights = np.hstack([np.zeros((d, round_up(layer[0].shape[1]))), weights])
    nets = pack([(0, [layer]), (round_up(d * (d + 1) // 2), [(weights, np.zeros(d))])])
    centres = np.ascontiguousarray(kernel.centres / kernel.lengths)
    return _polynomial_head, _with_monomials(
        model.polynomial, nets, centres, kernel.lengths, parity
    )


def _polynomial_layer(model: PolynomialSDE) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and biases of g, phi and the drift, of monomials and the excess."""
    d, n_in = model.slope.shape
    entries, q = d * (d + 1) // 2, model.B.shape[1]
    coefficients = np.zeros((round_up(entries) + d, q + n_in))
    coefficients[:d, :q] = model.g
    for i in range(d):
        for j in range(i):
            coefficients[below_diagonal(d, i, j), :q] = model.phi[i, j]
    coefficients[round_up(entries) :, :q] = model.B
    coefficients[round_up(entries) :, q:] = model.slope
    return coefficients[:, 1:], coefficients[:, 0]


def _with_monomials(
    model: PolynomialSDE,
    nets: Perceptrons,
    centres: np.ndarray,
    lengths: np.ndarray,
    parity: np.ndarray,
) -> ArrayModel:
    """Return an SDE whose raw outputs are those of nets of monomials and kernel functions."""
    d, n_in = model.slope.shape
    entries = d * (d + 1) // 2
    drift_scale, noise_scale = (
        np.broadcast_to(scale, d).copy() for scale in (model.drift_scale, model.noise_scale)
    )
    limits = np.broadcast_to(model.limits, (2, d, d)).clip(-LARGEST_EXPONENT, LARGEST_EXPONENT)
    limits = np.where(np.eye(d, dtype=bool), limits, model.limits)
    return ArrayModel(
        entries, round_up(entries) + round_up(d), nets, nets, drift_scale, noise_scale,
        monomial_factors(n_in, model.degree), model.low, model.high,
        centres, lengths, parity, limits,
    )  # fmt: skip


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _cholesky_kick(entries: int, block: Block) -> None:
    """L xi, with the entries of L as in `CholeskyDiffusion`."""
    _, _, raw, xi, kick = block
    d, n_lanes = xi.shape
    for i in range(d):
        for p in range(n_lanes):
            kick[i, p] = (softplus(raw[i, p]) + SMALLEST_DIAGONAL) * xi[i, p]
        if entries > d:
            for j in range(i):
                entry = below_diagonal(d, i, j)
                for p in range(n_lanes):
                    kick[i, p] += raw[entry, p] * xi[j, p]


@njit(nogil=True, cache=False)
def _mlp_head(model: ArrayModel, block: Block) -> np.ndarray:
    """`MLPDrift`: the raw drift."""
    _cholesky_kick(model.entries, block)
    return block.raw[round_up(model.entries) :]


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _polynomial_head(model: ArrayModel, block: Block) -> np.ndarray:
    """`PolynomialSDE`: L xi = x solves x_i = exp(g_i / 2) xi_i + sum_{j<i} phi_ij x_j."""
    _, _, raw, xi, kick = block
    d, n_lanes = xi.shape
    lows, highs = model.limits[0], model.limits[1]
    for i in range(d):
        low, high = lows[i, i], highs[i, i]
        for p in range(n_lanes):
            g = min(max(raw[i, p], low), high)
            kick[i, p] = exp(0.5 * g) * xi[i, p]
        for j in range(i):
            entry, low, high = below_diagonal(d, i, j), lows[i, j], highs[i, j]
            for p in range(n_lanes):
                kick[i, p] += min(max(raw[entry, p], low), high) * kick[j, p]
    return raw[round_up(model.entries) :]


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _onsager_head(model: ArrayModel, block: Block) -> np.ndarray:
    """`OnsagerDrift`: -(A A^T + alpha + B - B^T) grad V + f, grad V = (dU/dz)^T U + beta z.

    The gradient is carried back through the last net, that of U.
    """
    features, hidden, raw, xi, _ = block
    d, n_lanes = xi.shape
    flat, table = model.transposed
    _cholesky_kick(model.entries, block)
    _, largest = hidden_rows(table)
    gradient = np.zeros((len(features), n_lanes))
    deltas = np.empty((2, largest, n_lanes))
    last = Perceptrons(flat, table[-1:])
    backward(last, features, hidden, raw, deltas, np.empty(0), gradient)
    drift = raw[round_up(model.entries) :]
    A = drift[round_up(d) :]
    B = A[d * d :]
    for i in range(d):
        for p in range(n_lanes):
            gradient[i, p] += BETA * features[i, p]
    for i in range(d):
        for p in range(n_lanes):
            drift[i, p] -= ALPHA * gradient[i, p]
        for j in range(d):
            for p in range(n_lanes):
                drift[i, p] -= (B[i * d + j, p] - B[j * d + i, p]) * gradient[j, p]
    projection = deltas[0, 0] if largest > 0 else np.empty(n_lanes)
    for k in range(d):
        projection[:] = 0.0  # (A^T grad V)_k
        for j in range(d):
            for p in range(n_lanes):
                projection[p] += A[j * d + k, p] * gradient[j, p]
        for i in range(d):
            for p in range(n_lanes):
                drift[i, p] -= A[i * d + k, p] * projection[p]
    return drift


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _fill_monomials(model: ArrayModel, u: np.ndarray, features: np.ndarray) -> None:
    """Monomials of u, clipped to its range, but for the first, which is 1; then the excess."""
    factors, low, high = model.factors, model.low, model.high
    n_lanes, q, n_in = u.shape[1], len(factors), len(low)
    for k in range(n_in):
        inside = features[q - 1 + k]
        for p in range(n_lanes):
            inside[p] = min(max(u[k, p], low[k]), high[k])
    for index in range(1, q):
        before, column = factors[index]
        for p in range(n_lanes):
            former = features[before - 1, p] if before > 0 else 1.0
            features[index - 1, p] = former * features[q - 1 + column, p]
    for k in range(n_in):
        for p in range(n_lanes):
            features[q - 1 + k, p] = u[k, p] - features[q - 1 + k, p]


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _fill_matern(
    v: np.ndarray, turn: np.ndarray, centres: np.ndarray, features: np.ndarray
) -> None:
    """k(u, c) about all centres, for v = u / l, turned by the signs `turn` (n_in,)."""
    n_in, n_lanes = v.shape[0], v.shape[1]
    for m in range(len(centres)):
        row = features[m]
        for p in range(n_lanes):
            row[p] = 0.0
        for k in range(n_in):
            c, sign = centres[m, k], turn[k]
            for p in range(n_lanes):
                row[p] += (sign * v[k, p] - c) * (sign * v[k, p] - c)
        for p in range(n_lanes):
            square = min(5.0 * row[p], FARTHEST)
            r = math.sqrt(square)
            row[p] = (1.0 + r + square / 3.0) * exp(-r)


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _fill_kernels(model: ArrayModel, u: np.ndarray, features: np.ndarray) -> None:
    """Kernel functions of u; with a symmetry the even ones, then the odd ones."""
    centres, lengths, parity = model.centres, model.lengths, model.parity
    n_in, n_lanes, n = len(lengths), u.shape[1], len(centres)
    v = np.empty((n_in, n_lanes))
    for k in range(n_in):
        for p in range(n_lanes):
            v[k, p] = u[k, p] / lengths[k]
    _fill_matern(v, np.ones(n_in), centres, features)
    if len(parity) > 0:
        _fill_matern(v, parity, centres, features[n:])
        for m in range(n):
            for p in range(n_lanes):
                here, there = features[m, p], features[n + m, p]
                features[m, p] = 0.5 * (here + there)
                features[n + m, p] = 0.5 * (here - there)


@njit(nogil=True, cache=False, error_model="numpy")
def _clip(z: np.ndarray, low: float, high: float, first: int, i: int, contacts: Contacts) -> None:
    """Clip component i of lanes z to its bounds, and count that; `first` is the first path."""
    n_contacts, excess, run, longest_run = contacts
    for p in range(min(len(z), len(n_contacts) - first)):
        path, value = first + p, z[p]
        beyond = max(value - high, low - value)
        if beyond > 0.0:
            n_contacts[path] += 1
            excess[path, i] = max(excess[path, i], beyond)
            run[path, i] += 1
            longest_run[path, i] = max(longest_run[path, i], run[path, i])
            z[p] = low if value < low else high
        else:
            run[path, i] = 0


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def advance_paths(
    head: Head,
    model: ArrayModel,
    mean: np.ndarray,
    scale: np.ndarray,
    outer: np.ndarray,
    z: np.ndarray,
    noise: np.ndarray,
    steps: Steps,
    start: int,
    paths: np.ndarray,
    contacts: Contacts,
) -> None:
    """Advance z (n, d) in place: `advance` of `rollout.euler_maruyama`, with what comes before z.

    `head` and `model` are those of `array_model`, `mean` and `scale` (n_in,) standardise state and
    context, and `outer` (n, n_context) is the context of each path.
    """
    (n, d), n_in, q = z.shape, len(mean), len(model.factors)
    drift_scale, noise_scale = model.drift_scale, model.noise_scale
    dt, low, high, store_every = steps
    n_hidden, _ = hidden_rows(model.nets.table)
    kernels = round_up(q - 1 + n_in)  # first row of kernel functions
    n_kernels = len(model.centres) * (2 if len(model.parity) > 0 else 1)
    first = 0
    while first < n:
        count = min(LANES, n - first)
        n_lanes = -(-count // VECTOR) * VECTOR
        u = np.zeros((round_up(n_in), n_lanes))
        features = np.zeros((kernels + round_up(n_kernels), n_lanes)) if q > 0 else u
        hidden, raw = np.empty((n_hidden, n_lanes)), np.empty((model.n_raw, n_lanes))
        Z, xi, kick = np.zeros((d, n_lanes)), np.zeros((d, n_lanes)), np.empty((d, n_lanes))
        block = Block(features, hidden, raw, xi, kick)
        for p in range(count):
            for i in range(d):
                Z[i, p] = z[first + p, i]
            for k in range(d, n_in):
                u[k, p] = (outer[first + p, k - d] - mean[k]) / scale[k]
        for step in range(noise.shape[1]):
            if step % 32 == 31:
                heed()
            for i in range(d):
                for p in range(count):
                    xi[i, p] = noise[first + p, step, i]
                for p in range(n_lanes):
                    u[i, p] = (Z[i, p] - mean[i]) / scale[i]
            if q > 0:
                _fill_monomials(model, u, features)
            if n_kernels > 0:
                _fill_kernels(model, u, features[kernels:])
            raw[:] = 0.0
            forward(model.nets, features, hidden, raw)
            drift = head(model, block)
            finite = kick[0]  # 0, or NaN where a component is not finite; kick[0] is used up first
            for i in range(d):
                for p in range(n_lanes):
                    value = Z[i, p] + drift_scale[i] * drift[i, p] * dt
                    value += noise_scale[i] * kick[i, p]
                    finite[p] = value * 0.0 + (finite[p] if i > 0 else 0.0)
                    Z[i, p] = value
                if low[i] > -np.inf or high[i] < np.inf:
                    _clip(Z[i], low[i], high[i], first, i, contacts)
            for i in range(d):
                for p in range(n_lanes):
                    Z[i, p] = Z[i, p] if finite[p] == 0.0 else np.nan
            stored, rest = divmod(start + step + 1, store_every)
            if rest == 0:
                for p in range(count):
                    for i in range(d):
                        paths[first + p, stored, i] = Z[i, p]
        for p in range(count):
            for i in range(d):
                z[first + p, i] = Z[i, p]
        first += count
