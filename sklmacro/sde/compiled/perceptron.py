"""Multilayer perceptrons on plain arrays, a block of samples at a time.

    h_0 = u,   h_l = tanh(W_l h_{l-1} + b_l),   out += W_L h_{L-1} + b_L

Samples lie along the last axis: operations are on vectors of samples, the result for a sample does
not depend on its neighbours, and a block stays in the cache from layer to layer. The torch modules
in `nets` are the definition, from which `pack` takes the weights.

Shape vocabulary::

    u, out      (n_in, n_lanes), (n_out, n_lanes)   inputs and sums of outputs
    hidden      (n_hidden, n_lanes)                 h_1, h_2, ... of all nets, one below the other

All sizes are rounded up to multiples of `TILE`; what is added is zero and has no gradient.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from sklmacro._base.kernels import njit
from sklmacro.sde.compiled.elementary import tanh

TILE = 4
LANES = 128  # long loops, and the activations of two nets of the usual size in the second cache

Layer: TypeAlias = tuple[np.ndarray | None, np.ndarray]  # W (b, a), None where a = 0; b (b,)
Net: TypeAlias = tuple[int, Sequence[Layer]]  # first row of the output, layers


class Perceptrons(NamedTuple):
    """Nets on plain arrays, for kernels."""

    flat: np.ndarray  # (n_weights,), W_1, b_1, W_2, b_2, ... of all nets
    table: np.ndarray  # (n_nets, most layers + 3): first row in `out`, L and the L + 1 sizes


@njit(cache=False)
def round_up(size: int) -> int:
    """Return the next multiple of `TILE`."""
    return -(-size // TILE) * TILE


def _places(nets: Sequence[Net]) -> Iterator[tuple[np.ndarray, slice, tuple[int, int]]]:
    """Yield every weight and bias, as a matrix, with its place in `flat` and its padded shape."""
    start = 0
    for _, layers in nets:
        for weight, bias in layers:
            matrices = [] if weight is None else [(weight, round_up(weight.shape[1]))]
            for matrix, columns in [*matrices, (bias[:, np.newaxis], 1)]:
                shape = round_up(len(matrix)), columns
                stop = start + shape[0] * columns
                yield matrix, slice(start, stop), shape
                start = stop


def pack(nets: Sequence[Net]) -> Perceptrons:
    """Return nets on plain arrays."""
    table = np.zeros((len(nets), 3 + max(len(layers) for _, layers in nets)), np.int64)
    for line, (row, layers) in zip(table, nets, strict=True):
        line[:2] = row, len(layers)
        for index, (weight, bias) in enumerate(layers):
            line[2 + index] = 0 if weight is None else round_up(weight.shape[1])
            line[3 + index] = round_up(len(bias))
    places = list(_places(nets))
    flat = np.zeros(places[-1][1].stop)
    for matrix, place, shape in places:
        flat[place].reshape(shape)[: len(matrix), : matrix.shape[1]] = matrix
    return Perceptrons(flat, table)


def unpack(flat: np.ndarray, nets: Sequence[Net]) -> None:
    """Write `flat` back into the arrays of `nets`."""
    for matrix, place, shape in _places(nets):
        matrix[...] = flat[place].reshape(shape)[: len(matrix), : matrix.shape[1]]


@njit(nogil=True, cache=False)
def hidden_rows(table: np.ndarray) -> tuple[int, int]:
    """Return the number of rows of `hidden`, and the largest number of a layer."""
    total = largest = 0
    for net in range(table.shape[0]):
        for layer in range(1, table[net, 1]):
            total += table[net, 2 + layer]
            largest = max(largest, table[net, 2 + layer])
    return total, largest


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _add_product(W: np.ndarray, h: np.ndarray, out: np.ndarray) -> None:
    """Add W h to `out`, in tiles whose 16 weights stay in registers along all lanes."""
    for j in range(0, W.shape[0], TILE):
        for k in range(0, W.shape[1], TILE):
            a0, a1, a2, a3 = W[j, k], W[j, k + 1], W[j, k + 2], W[j, k + 3]
            b0, b1, b2, b3 = W[j + 1, k], W[j + 1, k + 1], W[j + 1, k + 2], W[j + 1, k + 3]
            c0, c1, c2, c3 = W[j + 2, k], W[j + 2, k + 1], W[j + 2, k + 2], W[j + 2, k + 3]
            d0, d1, d2, d3 = W[j + 3, k], W[j + 3, k + 1], W[j + 3, k + 2], W[j + 3, k + 3]
            for p in range(h.shape[1]):
                h0, h1, h2, h3 = h[k, p], h[k + 1, p], h[k + 2, p], h[k + 3, p]
                out[j, p] += a0 * h0 + a1 * h1 + a2 * h2 + a3 * h3
                out[j + 1, p] += b0 * h0 + b1 * h1 + b2 * h2 + b3 * h3
                out[j + 2, p] += c0 * h0 + c1 * h1 + c2 * h2 + c3 * h3
                out[j + 3, p] += d0 * h0 + d1 * h1 + d2 * h2 + d3 * h3


@njit(nogil=True, cache=False, fastmath={"contract", "reassoc"}, error_model="numpy")
def _add_outer(d: np.ndarray, h: np.ndarray, gradient: np.ndarray) -> None:
    """Add d h^T, summed over the lanes, to the gradient of a weight matrix."""
    for j in range(0, gradient.shape[0], TILE):
        for k in range(0, gradient.shape[1], TILE):
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
            for p in range(h.shape[1]):
                d0, d1, d2, d3 = d[j, p], d[j + 1, p], d[j + 2, p], d[j + 3, p]
                h0, h1, h2, h3 = h[k, p], h[k + 1, p], h[k + 2, p], h[k + 3, p]
                s00, s01, s02, s03 = s00 + d0 * h0, s01 + d0 * h1, s02 + d0 * h2, s03 + d0 * h3
                s10, s11, s12, s13 = s10 + d1 * h0, s11 + d1 * h1, s12 + d1 * h2, s13 + d1 * h3
                s20, s21, s22, s23 = s20 + d2 * h0, s21 + d2 * h1, s22 + d2 * h2, s23 + d2 * h3
                s30, s31, s32, s33 = s30 + d3 * h0, s31 + d3 * h1, s32 + d3 * h2, s33 + d3 * h3
            sums = (s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33)
            for index in range(16):
                gradient[j + index // 4, k + index % 4] += sums[index]


@njit(nogil=True, cache=False, fastmath={"contract", "reassoc"}, error_model="numpy")
def _add_sums(d: np.ndarray, gradient: np.ndarray) -> None:
    """Add d, summed over the lanes, to the gradient of a bias."""
    for j in range(d.shape[0]):
        total = 0.0
        for p in range(d.shape[1]):
            total += d[j, p]
        gradient[j] += total


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _apply_tanh(x: np.ndarray) -> None:
    """Replace all numbers by their hyperbolic tangents."""
    for p in range(x.shape[0]):
        x[p] = tanh(x[p])


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def forward(nets: Perceptrons, u: np.ndarray, hidden: np.ndarray, out: np.ndarray) -> None:
    """Add the outputs of all nets at `u` to `out`; their activations go to `hidden`."""
    flat, table = nets
    start = first = 0
    for net in range(table.shape[0]):
        row, depth, h = table[net, 0], table[net, 1], u
        for layer in range(depth):
            a, b = table[net, 2 + layer], table[net, 3 + layer]
            W = flat[start : start + a * b].reshape((b, a))
            bias = flat[start + a * b : start + (a + 1) * b]
            start += (a + 1) * b
            last = layer == depth - 1
            to = out[row : row + b] if last else hidden[first : first + b]
            for j in range(b):
                for p in range(u.shape[1]):
                    to[j, p] = bias[j] + (to[j, p] if last else 0.0)
            _add_product(W, h[:a], to)
            if not last:
                _apply_tanh(to.reshape(-1))
                first += b
            h = to


@njit(nogil=True, cache=False)
def transpose(nets: Perceptrons) -> Perceptrons:
    """Return nets with every W_l transposed in its place."""
    flat, table = nets
    result, start = np.empty_like(flat), 0
    for net in range(table.shape[0]):
        for layer in range(table[net, 1]):
            a, b = table[net, 2 + layer], table[net, 3 + layer]
            for j in range(b):
                for k in range(a):
                    result[start + k * b + j] = flat[start + j * a + k]
            start += (a + 1) * b
    return Perceptrons(result, table)


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def backward(
    nets: Perceptrons,
    u: np.ndarray,
    hidden: np.ndarray,
    d_out: np.ndarray,
    deltas: np.ndarray,
    gradient: np.ndarray,
    d_u: np.ndarray,
) -> None:
    """Add derivatives to `gradient` (n_weights,) and `d_u` (n_in, n_lanes), unless they are empty.

    `nets` are those of `transpose`, `d_out` holds the derivative in the outputs and `hidden` the
    activations of `forward`; `deltas` (2, largest hidden size, n_lanes) is scratch.
    """
    transposed, table = nets
    stop, last = len(transposed), len(hidden)
    for net in range(table.shape[0] - 1, -1, -1):
        row, depth = table[net, 0], table[net, 1]
        delta = d_out[row : row + table[net, 2 + depth]]
        for layer in range(depth - 1, -1, -1):
            a, b = table[net, 2 + layer], table[net, 3 + layer]
            middle, start = stop - b, stop - (a + 1) * b
            h = hidden[last - a : last] if layer > 0 else u[:a]
            if len(gradient) > 0:
                _add_sums(delta, gradient[middle:stop])
                _add_outer(delta, h, gradient[start:middle].reshape((b, a)))
            W_transposed = transposed[start:middle].reshape((a, b))
            if layer > 0:
                below = deltas[layer % 2, :a]
                below[:] = 0.0
                _add_product(W_transposed, delta, below)
                for k in range(a):
                    for p in range(u.shape[1]):  # tanh' = 1 - tanh^2
                        below[k, p] *= 1 - h[k, p] * h[k, p]
                delta = below
                last -= a
            elif len(d_u) > 0:
                _add_product(W_transposed, delta, d_u[:a])
            stop = start
