"""Torch modules: encoder and decoder of patches (Eq. 2)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklmacro.training.mlp import mlp


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
