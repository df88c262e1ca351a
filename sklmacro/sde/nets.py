"""Torch modules: drifts, the Cholesky factor of the diffusion, their symmetries and likelihood.

All work on standardised coordinates. Shapes: `u` (n, d + n_context) holds the macrostate first and
the context after it; a drift gives (n, d), a diffusion factor L (n, d, d), lower triangular with a
positive diagonal, so that Sigma = L L^T is positive definite whatever the input.

With a parity P = diag(+-1), a symmetry z -> P z of the dynamics that leaves the context as it is,

    mu(P z) = P mu(z),   Sigma(P z) = P Sigma(z) P.

Whatever a net gives is averaged with what it gives at P u, with the signs restored. For a drift m
that is (m(u) + P m(P u)) / 2, and for the entries of the factor

    L_ij(u) = (l_ij(u) + P_i P_j l_ij(P u)) / 2,   hence   L(P u) = P L(u) P.

In OnsagerNet (Eq. 5) V, M, W and f are averaged each: V stays bounded below, its gradient changes
sign with P, M stays positive definite and W skew-symmetric.

Modules store the arguments of their constructor under their own names, by which files build them.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklmacro.sde.likelihood import expected_nll, scaled_nll
from sklmacro.training.mlp import mlp, zero_last_layer

SMALLEST_DIAGONAL = 1e-6  # of L, in units of the increments' own standard deviation
LEAST_VARIANCE = 0.25  # at the start of a training, in units of the increments' own
CORRELATED = 0.5  # of correlations at the start; near 1 the first steps do harm


class MLPDrift(nn.Module):
    """Drift A u + b + net(u); the net starts at zero, so that A and b can be given beforehand."""

    def __init__(self, n_in: int, n_out: int, hidden: Sequence[int]):
        super().__init__()
        self.n_in, self.n_out, self.hidden = n_in, n_out, tuple(hidden)
        self.linear = nn.Linear(n_in, n_out)
        self.net = zero_last_layer(mlp(n_in, n_out, hidden))

    def forward(self, u: Tensor) -> Tensor:
        """Return the drift."""
        return self.linear(u) + self.net(u)


class OnsagerDrift(nn.Module):
    """OnsagerNet drift, mu = -(M(u) + W(u)) grad V(u) + f(u) (Eq. 5).

    M = A A^T + alpha 1 is symmetric positive definite (dissipation), W = B - B^T skew-symmetric
    (conservation), V = |U(z)|^2 / 2 + beta |z|^2 / 2 bounded below (Yu et al., Phys. Rev. Fluids
    6, 114402 (2021)), where U and the entries of A, B and f are nets of u. Without forcing,
    dV/dt = -grad V^T M grad V <= 0 along the noise-free flow. The gradient is taken in the state;
    the context enters as a parameter.
    """

    ALPHA = 0.01
    BETA = 0.1

    def __init__(self, n_state: int, n_context: int, hidden: Sequence[int], forcing: bool):
        super().__init__()
        self.n_state, self.n_context = n_state, n_context
        self.hidden, self.forcing = tuple(hidden), forcing
        n_in = n_state + n_context
        width = max(hidden[-1] // 2, n_state) if hidden else n_state
        self.potential_net = mlp(n_in, width, hidden)
        self.matrix_net = mlp(n_in, 2 * n_state * n_state, hidden)
        self.force_net = zero_last_layer(mlp(n_in, n_state, hidden)) if forcing else None

    def potential(self, u: Tensor) -> Tensor:
        """Return the potential V, shape (n,)."""
        z = u[:, : self.n_state]
        deep = self.potential_net(u).square().sum(1)
        return 0.5 * deep + 0.5 * self.BETA * z.square().sum(1)

    def gradient(self, u: Tensor) -> Tensor:
        """Return grad V with respect to the state, shape (n, d)."""
        with torch.enable_grad():
            z = u[:, : self.n_state]
            if not z.requires_grad:
                z = z.detach().requires_grad_()
            total = self.potential(torch.cat([z, u[:, self.n_state :]], dim=1)).sum()
            (gradient,) = torch.autograd.grad(total, z, create_graph=self.training)
        return gradient

    def matrices(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the dissipation M and the conservation W, each of shape (n, d, d)."""
        A, B = self.matrix_net(u).view(-1, 2, self.n_state, self.n_state).unbind(1)
        M = A @ A.mT + self.ALPHA * torch.eye(self.n_state, dtype=u.dtype, device=u.device)
        return M, B - B.mT

    def force(self, u: Tensor) -> Tensor:
        """Return the external force f, shape (n, d)."""
        if self.force_net is None:
            return torch.zeros_like(u[:, : self.n_state])
        return self.force_net(u)

    def forward(self, u: Tensor) -> Tensor:
        """Return the drift."""
        M, W = self.matrices(u)
        return -((M + W) @ self.gradient(u).unsqueeze(2)).squeeze(2) + self.force(u)


class CholeskyDiffusion(nn.Module):
    """Factor L of the diffusion: "full" or "diagonal" in the state, or a "constant" full matrix."""

    place: Tensor

    def __init__(self, n_in: int, n_out: int, hidden: Sequence[int], kind: str):
        super().__init__()
        self.n_in, self.n_out, self.hidden, self.kind = n_in, n_out, tuple(hidden), kind
        n_entries = n_out if kind == "diagonal" else n_out * (n_out + 1) // 2
        rows, columns = torch.tril_indices(n_out, n_out)
        order = torch.argsort((rows != columns).to(torch.int8), stable=True)  # diagonal first
        self.register_buffer("place", (rows * n_out + columns)[order][:n_entries])
        start = torch.zeros(n_entries)
        start[:n_out] = math.log(math.e - 1)  # softplus(start) = 1
        self.start = nn.Parameter(start)
        self.net = None if kind == "constant" else zero_last_layer(mlp(n_in, n_entries, hidden))

    def set_constant(self, Sigma: np.ndarray) -> None:
        """Set L L^T to a covariance (d, d), or its diagonal; variances are kept off 0."""
        size = np.sqrt(np.maximum(np.diag(Sigma), LEAST_VARIANCE))
        correlation = CORRELATED * Sigma / np.outer(size, size)
        np.fill_diagonal(correlation, 1.0)
        if self.kind == "diagonal":
            correlation = np.eye(len(size))
        L = torch.as_tensor(size[:, None] * np.linalg.cholesky(correlation))
        raw = L.flatten()[self.place]
        raw[: self.n_out] = torch.log(torch.expm1(raw[: self.n_out]))  # softplus gives it back
        with torch.no_grad():
            self.start.copy_(raw)

    def raw(self, u: Tensor) -> Tensor:
        """Return the entries of L in the order of `place`, before softplus."""
        start = self.start.expand(len(u), -1)
        return start if self.net is None else start + self.net(u)

    def forward(self, u: Tensor) -> Tensor:
        """Return L, shape (n, d, d)."""
        raw = self.raw(u)
        diagonal = functional.softplus(raw[:, : self.n_out]) + SMALLEST_DIAGONAL
        entries = torch.cat([diagonal, raw[:, self.n_out :]], dim=1)
        flat = entries.new_zeros(len(u), self.n_out * self.n_out)
        return flat.index_copy(1, self.place, entries).view(-1, self.n_out, self.n_out)


class SDENet(nn.Module):
    """Drift and diffusion factor of one SDE: u -> (drift, L)."""

    def __init__(self, drift: nn.Module, diffusion: CholeskyDiffusion):
        super().__init__()
        self.drift, self.diffusion = drift, diffusion

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the drift (n, d) and the factor L (n, d, d)."""
        return self.drift(u), self.diffusion(u)


class Likelihood(nn.Module):
    """Mean loss of an SDE's nets (Eq. 7): (u, y, weight) -> scalar, and with `root` of moments."""

    def __init__(self, net: SDENet):
        super().__init__()
        self.net = net

    def forward(self, u: Tensor, y: Tensor, weight: Tensor, root: Tensor | None = None) -> Tensor:
        """Return the mean of -log p, up to constants, for residuals y - weight * drift."""
        drift, factor = self.net(u)
        residual = y - weight * drift
        nll = scaled_nll(factor, residual) if root is None else expected_nll(factor, residual, root)
        return nll.mean()

    def trained_net(self) -> SDENet:
        """Return the nets with the present weights."""
        return self.net


def average(function: Callable[[Tensor], Tensor], u: Tensor, P: Tensor, sign: Tensor) -> Tensor:
    """Return (function(u) + sign * function(P u)) / 2; `sign` is that of the function's values."""
    return 0.5 * (function(u) + sign * function(u * P))


class Equivariant(nn.Module):
    """Module with the signs `parity` (d + n_context,), and P as a tensor."""

    P: Tensor

    def set_parity(self, parity: Sequence[float]) -> None:
        """Set the signs."""
        self.parity = tuple(parity)
        self.register_buffer("P", torch.as_tensor(parity, dtype=torch.float64))


class EquivariantDrift(Equivariant):
    """Drift (m(u) + P m(P u)) / 2 of any module m."""

    def __init__(self, module: nn.Module, parity: Sequence[float], n_state: int):
        super().__init__()
        self.module, self.n_state = module, n_state
        self.set_parity(parity)

    def forward(self, u: Tensor) -> Tensor:
        """Return the drift."""
        return average(self.module, u, self.P, self.P[: self.n_state])


class EquivariantOnsagerDrift(OnsagerDrift, Equivariant):
    """OnsagerNet drift whose potential, matrices and force have the parity each."""

    def __init__(
        self,
        n_state: int,
        n_context: int,
        hidden: Sequence[int],
        forcing: bool,
        parity: Sequence[float],
    ):
        super().__init__(n_state, n_context, hidden, forcing)
        self.set_parity(parity)

    def potential(self, u: Tensor) -> Tensor:
        """Return the potential V, shape (n,), the same at u and P u."""
        return average(super().potential, u, self.P, torch.ones_like(self.P[0]))

    def matrices(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the dissipation M and the conservation W, each of shape (n, d, d)."""
        P = self.P[: self.n_state]
        sign = torch.outer(P, P)
        (M, W), (M_turned, W_turned) = super().matrices(u), super().matrices(u * self.P)
        return 0.5 * (M + sign * M_turned), 0.5 * (W + sign * W_turned)

    def force(self, u: Tensor) -> Tensor:
        """Return the external force f, shape (n, d)."""
        return average(super().force, u, self.P, self.P[: self.n_state])


class EquivariantDiffusion(CholeskyDiffusion, Equivariant):
    """Factor L with L(P u) = P L(u) P."""

    def __init__(
        self, n_in: int, n_out: int, hidden: Sequence[int], kind: str, parity: Sequence[float]
    ):
        super().__init__(n_in, n_out, hidden, kind)
        self.set_parity(parity)

    def raw(self, u: Tensor) -> Tensor:
        """Return the entries of L in the order of `place`, before softplus."""
        P = self.P[: self.n_out]
        return average(super().raw, u, self.P, torch.outer(P, P).flatten()[self.place])
