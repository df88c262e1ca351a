"""The likelihood of Eq. 7 with its derivative, nets and all, in one pass over a batch.

With r = y - weight * mu, w = L^{-1} r and v = L^{-T} w, the loss |w|^2 / 2 + sum_i log L_ii of a
sample (see `likelihood`) has the derivatives

    d/d mu_i = -weight_i v_i,   d/d L_ij = -v_i w_j + [i = j] / L_ii,   j <= i,

and the diagonal is softplus(raw_i) + eps, whose derivative is 1 / (1 + exp(-raw_i)). They are
carried back through the nets at once, while the activations of a block are in the cache.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklmacro._base.kernels import heed, njit
from sklmacro.sde.compiled.elementary import exp, softplus
from sklmacro.sde.compiled.perceptron import (
    LANES,
    Layer,
    Net,
    Perceptrons,
    backward,
    forward,
    hidden_rows,
    pack,
    round_up,
    transpose,
    unpack,
)
from sklmacro.sde.nets import SMALLEST_DIAGONAL, CholeskyDiffusion, MLPDrift, SDENet


def layers(net: nn.Module) -> list[Layer]:
    """Return the weights and biases of a perceptron's layers, or of one layer, as arrays."""
    linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
    return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in linear]


def diffusion_nets(diffusion: CholeskyDiffusion) -> tuple[int, list[Net]]:
    """Return the number of entries of L and the nets that give them, in rows from 0 on."""
    start = diffusion.start.detach().numpy()
    nets: list[Net] = [(0, [(None, start)])]
    if diffusion.net is not None:
        nets.append((0, layers(diffusion.net)))
    return len(start), nets


@njit(nogil=True, cache=False)
def below_diagonal(d: int, i: int, j: int) -> int:
    """Row of L_ij, j < i, among the entries of `CholeskyDiffusion`: the diagonal comes first."""
    return d + i * (i - 1) // 2 + j


@njit(nogil=True, cache=False, fastmath={"contract"}, error_model="numpy")
def _block_nll(
    out: np.ndarray,
    entries: int,
    y: np.ndarray,
    weight: np.ndarray,
    share: np.ndarray,
    scratch: np.ndarray,
    d_out: np.ndarray,
) -> float:
    """Return the sum of share * loss over a block's lanes, and its derivative in `d_out`.

    All arrays have the lanes last; `scratch` has shape (2, d, n_lanes).
    """
    (d, n_lanes), w, diagonal = y.shape, scratch[0], scratch[1]
    drift, full = round_up(entries), entries > d
    total = 0.0
    for i in range(d):  # forward substitution, L w = r
        for p in range(n_lanes):
            w[i, p] = y[i, p] - weight[i, p] * out[drift + i, p]
            diagonal[i, p] = softplus(out[i, p]) + SMALLEST_DIAGONAL
        if full:
            for j in range(i):
                entry = below_diagonal(d, i, j)
                for p in range(n_lanes):
                    w[i, p] -= out[entry, p] * w[j, p]
        for p in range(n_lanes):
            w[i, p] /= diagonal[i, p]
        for p in range(n_lanes):
            total += share[p] * (0.5 * w[i, p] * w[i, p] + math.log(diagonal[i, p]))
    for i in range(d - 1, -1, -1):  # backward substitution, L^T v = w; v in the rows of the drift
        v = d_out[drift + i]
        for p in range(n_lanes):
            v[p] = w[i, p]
        if full:
            for k in range(i + 1, d):
                entry = below_diagonal(d, k, i)
                for p in range(n_lanes):
                    v[p] -= out[entry, p] * d_out[drift + k, p]
        for p in range(n_lanes):
            v[p] /= diagonal[i, p]
            e = exp(-abs(out[i, p]))
            slope = (1.0 if out[i, p] >= 0 else e) / (1 + e)
            d_out[i, p] = share[p] * slope * (1 / diagonal[i, p] - v[p] * w[i, p])
    for i in range(d):
        if full:
            for j in range(i):
                entry = below_diagonal(d, i, j)
                for p in range(n_lanes):
                    d_out[entry, p] = -share[p] * d_out[drift + i, p] * w[j, p]
        for p in range(n_lanes):
            d_out[drift + i, p] *= -share[p] * weight[i, p]
    return total


@njit(nogil=True, cache=False)
def mean_nll(
    nets: Perceptrons,
    entries: int,
    u: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    gradient: np.ndarray,
) -> float:
    """Return the mean loss of a batch u (n, n_in), y (n, d) and weight (n, d).

    `nets` give the `entries` of L, d where it is diagonal, in the rows from 0 on, and the drift in
    those after them. The derivative is added to `gradient` (n_weights,), unless that is empty.
    """
    (n, d), n_in = y.shape, u.shape[1]
    n_hidden, largest = hidden_rows(nets.table)
    n_out = round_up(entries) + round_up(d)
    out, d_out = np.empty((n_out, LANES)), np.zeros((n_out, LANES))
    U, none = np.zeros((round_up(n_in), LANES)), np.empty((0, LANES))
    Y, M, share = np.zeros((d, LANES)), np.zeros((d, LANES)), np.empty(LANES)
    scratch = np.empty((2, d, LANES))
    hidden, deltas = np.empty((n_hidden, LANES)), np.empty((2, largest, LANES))
    transposed = transpose(nets) if len(gradient) > 0 else nets
    total = 0.0
    for first in range(0, n, LANES):
        if first // LANES % 16 == 15:
            heed()
        count = min(LANES, n - first)
        share[:count], share[count:] = 1 / n, 0.0
        for p in range(count):
            for k in range(n_in):
                U[k, p] = u[first + p, k]
            for i in range(d):
                Y[i, p], M[i, p] = y[first + p, i], weight[first + p, i]
        out[:] = 0.0
        forward(nets, U, hidden, out)
        total += _block_nll(out, entries, Y, M, share, scratch, d_out)
        if len(gradient) > 0:
            backward(transposed, U, hidden, d_out, deltas, gradient, none)
    return total


class _MeanNLL(torch.autograd.Function):
    """`mean_nll` for autograd: the derivative is known with the value."""

    @staticmethod
    def forward(
        ctx: Any, flat: Tensor, table: np.ndarray, entries: int, batch: tuple[Tensor, ...]
    ) -> Tensor:
        gradient = np.zeros(len(flat))
        arrays = [t.numpy() for t in batch]
        nets = Perceptrons(flat.detach().numpy(), table)
        value = mean_nll(nets, entries, *arrays, gradient)
        ctx.gradient = torch.from_numpy(gradient)
        return flat.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, *derivative: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.gradient * derivative[0], None, None, None


class CompiledLikelihood(nn.Module):
    """`Likelihood` of an `MLPDrift` on the CPU, in one kernel; all weights are one parameter."""

    def __init__(self, net: SDENet):
        super().__init__()
        assert isinstance(net.drift, MLPDrift)
        self._net = (net.to(torch.float64),)  # in a tuple, so that its weights are no parameters
        self._entries, nets = diffusion_nets(net.diffusion)
        drift = round_up(self._entries)
        self._nets = [*nets, (drift, layers(net.drift.linear)), (drift, layers(net.drift.net))]
        flat, self._table = pack(self._nets)
        self.weights = nn.Parameter(torch.from_numpy(flat))

    def forward(self, u: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Return the mean of -log p, up to constants, for residuals y - weight * drift."""
        if torch.is_grad_enabled():
            return _MeanNLL.apply(self.weights, self._table, self._entries, (u, y, weight))
        arrays = [t.numpy() for t in (u, y, weight)]
        nets = Perceptrons(self.weights.detach().numpy(), self._table)
        return self.weights.new_tensor(mean_nll(nets, self._entries, *arrays, np.empty(0)))

    def trained_net(self) -> SDENet:
        """Return the nets with the present weights."""
        unpack(self.weights.detach().numpy(), self._nets)
        return self._net[0]
