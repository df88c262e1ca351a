"""Encoder and decoder of patches, trained together on Eq. 2.

    patch (n, *patch_shape) -> closures (n, n_closure)
    macrostate z = (z*, zhat) (n, d) -> patch (n, *patch_shape)

Patches of real fields, and the observables that the decoder sees, are standardised. Closures come
out with mean 0 and standard deviation 1 over the training patches.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklmacro._base.workers import single_threaded
from sklmacro.closure.nets import PatchAutoencoderNet
from sklmacro.training.loop import train

ENCODE_BATCH = 8192  # patches encoded at a time
# Patches are encoded by multiples of so many. Vector kernels treat what is left over in another way
# (products by tiles of up to 48 rows, tanh by 32 numbers), so that the last bits of a closure would
# depend on what is encoded with it.
ROWS = 96


@dataclass
class Standardizer:
    """Mean and standard deviation of data (n, m), with 1 for what does not vary."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Standardizer":
        """Return the standardizer of `values` (n, m)."""
        mean, spread = values.mean(axis=0), values.std(axis=0)
        return cls(mean, np.where(spread > 1e-12 * (1 + np.abs(mean)), spread, 1.0))

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Return standardised values."""
        return (values - self.mean) / self.scale

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Return values in their own units."""
        return values * self.scale + self.mean


@dataclass
class PatchCodec:
    """Trained encoder and decoder of patches.

    Attributes
    ----------
    net : PatchAutoencoderNet
    patch_shape : tuple of int
    n_axes : int
        Axes of cells; the axes behind them become channels.
    two_valued : bool
    observables, fields, closures : Standardizer
        Of the observables, of the fields, and of the encoder's raw output.
    history : list of dict
        Losses of every epoch.
    """

    net: nn.Module
    patch_shape: tuple[int, ...]
    n_axes: int
    two_valued: bool
    observables: Standardizer
    fields: Standardizer
    closures: Standardizer
    history: list[dict[str, float]] = field(repr=False)

    def encode(self, patches: np.ndarray) -> np.ndarray:
        """Return closures (n, n_closure) of patches (n, *patch_shape)."""
        batches = [
            self._raw(patches[start : start + ENCODE_BATCH])
            for start in range(0, len(patches), ENCODE_BATCH)
        ]
        return self.closures.forward(np.concatenate(batches))

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return patches (n, *patch_shape) of macrostates (n, d); mean spins for two values."""
        n_obs = len(self.observables.mean)
        latent = np.hstack(
            [self.observables.forward(z[:, :n_obs]), self.closures.backward(z[:, n_obs:])]
        )
        with torch.no_grad(), single_threaded():
            flat = self.net.decoder(_tensor(self.net, latent))  # type: ignore[operator]
            if self.two_valued:
                flat = torch.tanh(flat / 2)  # 2 sigmoid(logit) - 1
        patches = flat.cpu().numpy().astype(float).reshape(len(z), *self.patch_shape)
        return self.fields.backward(patches)

    def _raw(self, patches: np.ndarray) -> np.ndarray:
        n = len(patches)
        if n % ROWS:
            patches = np.concatenate([patches, np.repeat(patches[-1:], -n % ROWS, axis=0)])
        with torch.no_grad(), single_threaded():
            inputs = _tensor(self.net, _channels(self.fields.forward(patches), self.n_axes))
            raw = self.net.encoder(inputs)  # type: ignore[operator]
        return raw[:n].cpu().numpy().astype(float)


def fit_codec(
    patches: np.ndarray,
    observables: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    *,
    kind: str,
    n_axes: int,
    n_closure: int,
    two_valued: bool,
    n_fields: int,
    hidden: Sequence[int],
    device: str,
    **training: Any,
) -> PatchCodec:
    """Train encoder and decoder (Eq. 2).

    Parameters
    ----------
    patches : ndarray of shape (n, *patch_shape)
        Training patches.
    observables : ndarray of shape (n, n_observables)
        Their observables.
    rows : (ndarray, ndarray)
        Training and held-out rows.
    kind : {"dense", "conv"}
        Encoder. Convolutions run in single precision, where they are several times as fast.
    n_axes, n_closure, two_valued, n_fields
        Axes of cells, closures, whether states are -1 and +1, fields per site.
    hidden : sequence of int
        Hidden layers.
    device : str
        Where torch computes.
    **training
        Passed to `train`.
    """
    if two_valued:
        fields = Standardizer(np.zeros(n_fields), np.ones(n_fields))
    else:
        fields = Standardizer.of(patches.reshape(-1, n_fields))
    if n_fields == 1:
        fields = Standardizer(fields.mean.reshape(()), fields.scale.reshape(()))
    inputs = _channels(fields.forward(patches), n_axes)
    seen = Standardizer.of(observables)

    def build() -> PatchAutoencoderNet:
        cells, channels = inputs.shape[1:-1], inputs.shape[-1]
        return PatchAutoencoderNet(kind, cells, channels, observables.shape[1], n_closure, hidden)

    def loss(outputs: Tensor, batch: tuple[Tensor]) -> Tensor:
        (target,) = batch
        if two_valued:
            return functional.binary_cross_entropy_with_logits(outputs, (target + 1) / 2)
        return functional.mse_loss(outputs, target)

    def codec(net: nn.Module, history: list[dict[str, float]]) -> PatchCodec:
        unit = Standardizer(np.zeros(n_closure), np.ones(n_closure))
        shape, net = patches.shape[1:], deepcopy(net).eval().requires_grad_(False)
        found = PatchCodec(net, shape, n_axes, two_valued, seen, fields, unit, history)
        return replace(found, closures=Standardizer.of(found.encode(patches)))

    trained, history = train(
        build, loss, [inputs, seen.forward(observables)], [inputs.reshape(len(inputs), -1)], rows,
        dtype=torch.float64 if kind == "dense" else torch.float32, desc="fit closure",
        device=device, fitted=lambda net: {"codec_": codec(net, [])}, **training,
    )  # fmt: skip
    return codec(trained, history)


def _channels(patches: np.ndarray, n_axes: int) -> np.ndarray:
    """Return patches (n, *cells, channels); channels are basis and fields."""
    return patches.reshape(*patches.shape[: 1 + n_axes], -1)


def _tensor(net: nn.Module, array: np.ndarray) -> Tensor:
    """Return an array as a tensor of the net's type, where the net lies."""
    like = next(net.parameters())
    return torch.as_tensor(array).to(device=like.device, dtype=like.dtype)
