"""Torch modules with a parity, a symmetry z -> P z of the dynamics with P = diag(+-1).

    mu(P z) = P mu(z),   Sigma(P z) = P Sigma(z) P

P leaves the context as it is. Whatever a net gives is averaged with what it gives at P u, signs
turned back. For a drift m that is (m(u) + P m(P u)) / 2, and for the entries of the factor

    L_ij(u) = (l_ij(u) + P_i P_j l_ij(P u)) / 2,   hence   L(P u) = P L(u) P.

In OnsagerNet (Eq. 5) V, M, W and f are averaged each: V stays bounded below, its gradient turns
with P, M stays positive definite and W skew-symmetric.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sklmacro.sde.nets import CholeskyDiffusion, OnsagerDrift


def average(function: Callable[[Tensor], Tensor], u: Tensor, P: Tensor, sign: Tensor) -> Tensor:
    """Return (function(u) + sign * function(P u)) / 2; `sign` is that of the function's values."""
    return 0.5 * (function(u) + sign * function(u * P))


class EquivariantDrift(nn.Module):
    """Drift (m(u) + P m(P u)) / 2 of a module m; `parity` (d + n_context,) holds the signs."""

    P: Tensor

    def __init__(self, module: nn.Module, parity: Sequence[float], n_state: int):
        super().__init__()
        self.module = module
        self.parity = tuple(parity)
        self.n_state = n_state
        self.register_buffer("P", torch.as_tensor(parity, dtype=torch.float64))

    def forward(self, u: Tensor) -> Tensor:
        """Return the drift."""
        return average(self.module, u, self.P, self.P[: self.n_state])


class EquivariantOnsagerDrift(OnsagerDrift):
    """OnsagerNet drift whose potential, matrices and force have the parity each."""

    P: Tensor

    def __init__(
        self,
        n_state: int,
        n_context: int,
        hidden: Sequence[int],
        forcing: bool,
        parity: Sequence[float],
    ):
        super().__init__(n_state, n_context, hidden, forcing)
        self.parity = tuple(parity)
        self.register_buffer("P", torch.as_tensor(parity, dtype=torch.float64))

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


class EquivariantDiffusion(CholeskyDiffusion):
    """Factor L with L(P u) = P L(u) P."""

    P: Tensor

    def __init__(
        self, n_in: int, n_out: int, hidden: Sequence[int], kind: str, parity: Sequence[float]
    ):
        super().__init__(n_in, n_out, hidden, kind)
        self.parity = tuple(parity)
        self.register_buffer("P", torch.as_tensor(parity, dtype=torch.float64))

    def raw(self, u: Tensor) -> Tensor:
        """Return the entries of L in the order of `place`, before softplus."""
        P = self.P[: self.n_out]
        return average(super().raw, u, self.P, torch.outer(P, P).flatten()[self.place])
