"""Torch modules: patch encoder and decoder, drifts, and the Cholesky factor of the diffusion.

All work on standardised coordinates. Shapes: `u` (n, d + n_context) holds the macrostate first and
the context behind it; a drift gives (n, d), a diffusion factor L (n, d, d), lower triangular with a
positive diagonal, so that Sigma = L L^T is positive definite whatever the input.

Modules that a fitted model is put together from keep the arguments of their constructor under their
own names, so that a file can tell how to build them.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_DIAGONAL = 1e-6  # of L, in units of the increments' own standard deviation


def mlp(n_in: int, n_out: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return a multilayer perceptron with tanh between its layers."""
    sizes = [n_in, *hidden]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_out))


def _silence(net: nn.Sequential) -> nn.Sequential:
    """Set the last layer to zero, so that training starts from the terms beside the net."""
    last = net[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return net


class DensePatchEncoder(nn.Module):
    """Patch encoder by a multilayer perceptron: (n, *cells, channels) -> (n, n_closure)."""

    def __init__(self, cells: Sequence[int], channels: int, n_closure: int, hidden: Sequence[int]):
        super().__init__()
        self.net = mlp(math.prod(cells) * channels, n_closure, hidden)

    def forward(self, patch: Tensor) -> Tensor:
        """Return the closure variables of patches."""
        return self.net(patch.flatten(1))


class ConvPatchEncoder(nn.Module):
    """Patch encoder by strided convolutions: (n, *cells, channels) -> (n, n_closure).

    Each of the two layers halves the patch; edges are padded with zeros.
    """

    def __init__(self, cells: Sequence[int], channels: int, n_closure: int, hidden: Sequence[int]):
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(cells) - 1]
        self.features = nn.Sequential(
            conv(channels, 8, 3, stride=2, padding=1),
            nn.Tanh(),
            conv(8, 16, 3, stride=2, padding=1),
            nn.Tanh(),
            nn.Flatten(),
        )
        n_features = 16 * math.prod((c + 3) // 4 for c in cells)  # halved twice, rounded up
        self.head = mlp(n_features, n_closure, hidden[-1:])

    def forward(self, patch: Tensor) -> Tensor:
        """Return the closure variables of patches."""
        return self.head(self.features(patch.movedim(-1, 1)))


class PatchAutoencoderNet(nn.Module):
    """Encoder and decoder of patches (Eq. 2): the decoder sees observables and closures.

    `forward(patch, observables)` with patch (n, *cells, channels) and standardised observables
    (n, n_observables) returns the reconstruction (n, prod(cells) * channels): values for real
    states, logits of the upper value for two-valued ones.
    """

    def __init__(
        self,
        kind: str,
        cells: Sequence[int],
        channels: int,
        n_observables: int,
        n_closure: int,
        hidden: Sequence[int],
    ):
        super().__init__()
        self.kind, self.cells, self.channels = kind, tuple(cells), channels
        self.n_observables, self.n_closure, self.hidden = n_observables, n_closure, tuple(hidden)
        encoder = {"dense": DensePatchEncoder, "conv": ConvPatchEncoder}[kind]
        self.encoder = encoder(cells, channels, n_closure, hidden)
        n_latent, n_out = n_observables + n_closure, math.prod(cells) * channels
        self.decoder = mlp(n_latent, n_out, tuple(reversed(tuple(hidden))))

    def forward(self, patch: Tensor, observables: Tensor) -> Tensor:
        """Return the reconstruction of patches."""
        return self.decoder(torch.cat([observables, self.encoder(patch)], dim=1))


class MLPDrift(nn.Module):
    """Drift A u + b + net(u); the net starts at zero, so that A and b can be given beforehand."""

    def __init__(self, n_in: int, n_out: int, hidden: Sequence[int]):
        super().__init__()
        self.n_in, self.n_out, self.hidden = n_in, n_out, tuple(hidden)
        self.linear = nn.Linear(n_in, n_out)
        self.net = _silence(mlp(n_in, n_out, hidden))

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
        self.force_net = _silence(mlp(n_in, n_state, hidden)) if forcing else None

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
        self.net = None if kind == "constant" else _silence(mlp(n_in, n_entries, hidden))

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
