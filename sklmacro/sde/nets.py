"""Torch modules: drifts, and the Cholesky factor of the diffusion.

All work on standardised coordinates. Shapes: `u` (n, d + n_context) holds the macrostate first and
the context behind it; a drift gives (n, d), a diffusion factor L (n, d, d), lower triangular with a
positive diagonal, so that Sigma = L L^T is positive definite whatever the input.

Modules that a fitted model is put together from keep the arguments of their constructor under their
own names, so that a file can tell how to build them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklmacro.training.mlp import mlp, zero_last_layer

SMALLEST_DIAGONAL = 1e-6  # of L, in units of the increments' own standard deviation


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
        return (
            torch.zeros_like(u[:, : self.n_state])
            if self.force_net is None
            else (self.force_net(u))
        )

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
        flat = flat.index_copy(1, self.place, entries)
        return flat.view(-1, self.n_out, self.n_out)


class SDENet(nn.Module):
    """Drift and diffusion factor of one SDE: u -> (drift, L)."""

    def __init__(self, drift: nn.Module, diffusion: CholeskyDiffusion):
        super().__init__()
        self.drift = drift
        self.diffusion = diffusion

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the drift (n, d) and the factor L (n, d, d)."""
        return self.drift(u), self.diffusion(u)
