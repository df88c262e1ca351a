"""Where the training of drifts starts: last layers by regressions, hidden layers as they are drawn.

With rates t = dz / dt, and the values h(u) of the last hidden layer,

    t_i = a_i + A_i u + C_i h(u) + noise,   C_i ~ N(0, 1 / tau_i),

where tau_i has the largest evidence, the likelihood once C_i is integrated out (MacKay, Neural
Comput. 4, 415 (1992)). Where a linear function has the largest, C_i is 0. What rows of a group
share makes the evidence smaller, by the ratio of the variances of linear coefficients with and
without it (Cameron and Miller, J. Hum. Resour. 50, 317 (2015)).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from sklmacro.sde.nets import MLPDrift

CHUNK = 4096  # rows whose features are in memory at a time
RATIOS = 10.0 ** np.arange(-6, 6.25, 0.25)  # tau over the precision of a row


@dataclass(frozen=True)
class Rates:
    """What a start is fitted to."""

    u: np.ndarray  # (n, d + n_context)
    t: np.ndarray  # (n, d), dz / dt in units of the net's drift
    weight: np.ndarray  # (n,), dt / lam, over which t has a covariance that is the same for all
    groups: np.ndarray  # (n,)
    parity: np.ndarray  # (d + n_context,)
    noise: np.ndarray  # (n, m, d), vectors whose products have the mean Sigma, in units of t

    @property
    def d(self) -> int:
        """Return the dimension of the state."""
        return self.t.shape[1]

    @property
    def images(self) -> list[np.ndarray]:
        """Return the signs of the symmetries, over which functions are averaged."""
        one = np.ones_like(self.parity)
        return [one] if (self.parity == 1).all() else [one, self.parity]

    def take(self, rows: np.ndarray) -> "Rates":
        """Return some of the rows."""
        own = {name: getattr(self, name)[rows] for name in ("u", "t", "weight", "groups", "noise")}
        return replace(self, **own)

    @property
    def covariance(self) -> np.ndarray:
        """Return the mean (d, d) of the products of noise."""
        Sigma = np.einsum("nmi,nmj->ij", self.noise, self.noise) / len(self.noise)
        signs = self.parity[: self.d]
        return np.where(np.outer(signs, signs) == 1, Sigma, 0.0)

    @property
    def dissipation(self) -> np.ndarray:
        """Return M (d, d), of trace d, proportional to the covariance, where there is any."""
        Sigma = self.covariance
        size = np.trace(Sigma)
        return Sigma * (self.d / size) if size > 0 else np.eye(self.d)

    @property
    def shared(self) -> float:
        """Return by what rows of a group make the variance of linear coefficients larger, >= 1."""
        names, which = np.unique(self.groups, return_inverse=True)
        if len(names) in (1, len(self.u)):
            return 1.0
        line = np.column_stack([np.ones(len(self.u)), self.u])
        root = np.sqrt(self.weight)[:, None]
        B = np.linalg.lstsq(line * root, self.t * root, rcond=None)[0]
        rest = (self.t - line @ B) * self.weight[:, None]
        ratios = []
        for i in range(self.d):
            scores = line * rest[:, i : i + 1]
            sums = np.zeros((len(names), line.shape[1]))
            np.add.at(sums, which, scores)
            own, of_groups = np.sum(scores**2, axis=0), np.sum(sums**2, axis=0)
            ratios += list(of_groups[own > 0] / own[own > 0])
        return max(1.0, float(np.mean(ratios))) if ratios else 1.0

    def moments(self, features: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        """Return X^T X, X^T t and t^T t, weighted, for features X (n, p) of u."""
        total: list[np.ndarray] = []
        for k in range(0, len(self.u), CHUNK):
            part = slice(k, k + CHUNK)
            X, t, w = features(self.u[part]), self.t[part], self.weight[part, None]
            new = [(X * w).T @ X, (X * w).T @ t, (t * w).T @ t]
            total = [a + b for a, b in zip(total, new, strict=True)] if total else new
        return total


def hidden_values(net: nn.Sequential, u: np.ndarray) -> np.ndarray:
    """Return the values h (n, m) of a perceptron's last hidden layer; u where there is none."""
    h = u
    for layer in _hidden_layers(net):
        h = np.tanh(h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
    return h


def hidden_slopes(net: nn.Sequential, u: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return h (n, m), and its derivatives (n, m, d) in the first d columns of u."""
    h, slope = u, np.eye(u.shape[1])[:, :d] + np.zeros((len(u), 1, 1))
    for layer in _hidden_layers(net):
        weight = layer.weight.detach().numpy()
        h = np.tanh(h @ weight.T + layer.bias.detach().numpy())
        slope = (1 - h * h)[:, :, None] * (weight @ slope)
    return h, slope


def _hidden_layers(net: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in net if isinstance(layer, nn.Linear)][:-1]


def even_and_odd(
    function: Callable[[np.ndarray], np.ndarray], images: list[np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that gives the even values (n, q), and, if there is a parity, the odd."""
    if len(images) == 1:
        return function

    def both(u: np.ndarray) -> np.ndarray:
        value, turned = function(u), function(u * images[1])
        return np.concatenate([value + turned, value - turned], axis=1) / 2

    return both


def start_mlp(drift: MLPDrift, rates: Rates) -> None:
    """Set the linear part and the last layer of a drift, of even and odd functions each its own."""
    n_in, last, d = rates.u.shape[1], drift.net[-1], rates.d
    assert isinstance(last, nn.Linear)
    if not drift.hidden:
        return

    def features(u: np.ndarray) -> np.ndarray:
        return np.column_stack([np.ones(len(u)), u, hidden_values(drift.net, u)])

    gram, right, square = rates.moments(even_and_odd(features, rates.images))
    n_rows, q = len(rates.u) / rates.shared, 1 + n_in + last.in_features
    for i in range(d):
        own = slice(0, q) if rates.parity[i] == 1 else slice(q, 2 * q)
        B = evidence_ridge(gram[own, own], right[own, i], square[i, i], n_rows, 1 + n_in)
        found = torch.as_tensor(B)
        drift.linear.bias[i] = found[0]
        drift.linear.weight[i] = found[1 : 1 + n_in]
        last.weight[i] = found[1 + n_in :]


def evidence_ridge(
    gram: np.ndarray, right: np.ndarray, square: float, n_rows: float, n_free: int
) -> np.ndarray:
    """Return coefficients (q,), those after the first `n_free` by the ridge of largest evidence."""
    a, b = slice(0, n_free), slice(n_free, None)
    scale = np.sqrt(np.maximum(np.diag(gram)[a], np.finfo(float).tiny))
    inverse = np.linalg.pinv(gram[a, a] / np.outer(scale, scale), rcond=1e-12, hermitian=True)
    inverse /= np.outer(scale, scale)
    left = square - right[a] @ inverse @ right[a]  # what a linear function leaves
    n_left = n_rows - n_free
    C = np.zeros(len(right) - n_free)
    if n_left > 0 and left > 1e-12 * square:
        values, vectors = np.linalg.eigh(gram[b, b] - gram[b, a] @ inverse @ gram[a, b])
        values = np.maximum(values, 0.0)
        along = vectors.T @ (right[b] - gram[b, a] @ inverse @ right[a])
        best = -0.5 * n_left * np.log(left)
        unit = max(values.max(), np.finfo(float).tiny) / len(values)
        for ridge in unit * RATIOS:
            rest = max(left - np.sum(along**2 / (values + ridge)), 1e-12 * square)
            evidence = -0.5 * (n_left * np.log(rest) + np.log1p(values / ridge).sum())
            if evidence > best:
                best, C = evidence, vectors @ (along / (values + ridge))
    return np.concatenate([inverse @ (right[a] - gram[a, b] @ C), C])
