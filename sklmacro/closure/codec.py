"""Encoder and decoder of patches, trained together on Eq. 2.

    patch (n, *patch_shape) -> closures (n, n_closure)
    macrostate z = (z*, zhat) (n, d) -> patch (n, *patch_shape)

Patches of real fields, and the observables that the decoder sees, are standardised; known closures
count as observables here. Closures come out with mean 0 and standard deviation 1 over the training
patches.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklmacro._base.units import standard_scale
from sklmacro._base.workers import single_threaded
from sklmacro.closure.nets import PatchAutoencoderNet
from sklmacro.training.loop import Run, train
from sklmacro.training.training import Training

ENCODE_BATCH = 8192  # patches encoded at a time
# Patches are encoded by multiples of so many. Vector kernels treat what is left over in another way
# (products by tiles of up to 48 rows, tanh by 32 numbers), so that the last bits of a closure would
# depend on what is encoded with it.
ROWS = 96


@dataclass
class Standardizer:
    """Mean and standard deviation of data (n, m), infinite for what does not vary."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Standardizer":
        """Return the standardizer of `values` (n, m)."""
        mean = values.mean(axis=0)
        return cls(mean, standard_scale(values, mean))

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Return standardised values, 0 of what does not vary."""
        return (values - self.mean) / self.scale

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Return values in their own units."""
        return values * np.where(np.isfinite(self.scale), self.scale, 0.0) + self.mean


@dataclass
class PatchCodec:
    """Trained encoder and decoder of patches."""

    net: nn.Module  # PatchAutoencoderNet
    patch_shape: tuple[int, ...]
    n_axes: int  # axes of cells; the axes after them become channels
    two_valued: bool
    observables: Standardizer  # of them, and of known closures
    fields: Standardizer
    closures: Standardizer  # of the encoder's raw output
    history: list[dict[str, float]] = field(repr=False)  # losses of every epoch

    def encode(self, patches: np.ndarray) -> np.ndarray:
        """Return closures (n, n_closure) of patches (n, *patch_shape)."""
        starts = range(0, len(patches), ENCODE_BATCH)
        batches = [self._raw(patches[start : start + ENCODE_BATCH]) for start in starts]
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


@dataclass(frozen=True)
class PatchForm:
    """What patches are, and the nets that encode and decode them."""

    n_axes: int  # axes of cells
    n_fields: int  # per site
    two_valued: bool  # whether states are -1 and +1
    kind: str  # encoder, "dense" or "conv"; convolutions run in single precision, much faster
    n_closure: int
    hidden: Sequence[int]  # hidden layers


class Reconstruction(nn.Module):
    """Loss of Eq. 2, mean over a batch: (patch, observables) -> scalar."""

    def __init__(self, net: PatchAutoencoderNet, two_valued: bool):
        super().__init__()
        self.net, self.two_valued = net, two_valued

    def forward(self, patch: Tensor, observables: Tensor) -> Tensor:
        """Return the squared error, or the cross entropy of two values."""
        decoded, target = self.net(patch, observables), patch.flatten(1)
        if self.two_valued:
            return functional.binary_cross_entropy_with_logits(decoded, (target + 1) / 2)
        return functional.mse_loss(decoded, target)


def fit_codec(
    patches: np.ndarray,
    observables: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    form: PatchForm,
    training: Training,
    run: Run,
) -> PatchCodec:
    """Train encoder and decoder (Eq. 2) on patches and their observables (n, n_observables).

    `rows`, `training` and `run` are those of `train`.
    """
    n_fields, n_closure = form.n_fields, form.n_closure
    if form.two_valued:
        fields = Standardizer(np.zeros(n_fields), np.ones(n_fields))
    else:
        fields = Standardizer.of(patches.reshape(-1, n_fields))
    if n_fields == 1:
        fields = Standardizer(fields.mean.reshape(()), fields.scale.reshape(()))
    inputs = _channels(fields.forward(patches), form.n_axes)
    seen = Standardizer.of(observables)

    def build() -> Reconstruction:
        sizes = inputs.shape[1:-1], inputs.shape[-1], observables.shape[1], n_closure, form.hidden
        return Reconstruction(PatchAutoencoderNet(form.kind, *sizes), form.two_valued)

    def codec(loss: Reconstruction, history: list[dict[str, float]]) -> PatchCodec:
        unit = Standardizer(np.zeros(n_closure), np.ones(n_closure))
        net, shape = deepcopy(loss.net).eval().requires_grad_(False), patches.shape[1:]
        raw = PatchCodec(net, shape, form.n_axes, form.two_valued, seen, fields, unit, history)
        return replace(raw, closures=Standardizer.of(raw.encode(patches)))

    run = replace(run, desc="fit closure", fitted=lambda loss: {"codec_": codec(loss, [])})
    dtype = torch.float64 if form.kind == "dense" else torch.float32
    return codec(*train(build, [inputs, seen.forward(observables)], rows, training, run, dtype))


def _channels(patches: np.ndarray, n_axes: int) -> np.ndarray:
    """Return patches (n, *cells, channels); channels are basis and fields."""
    return patches.reshape(*patches.shape[: 1 + n_axes], -1)


def _tensor(net: nn.Module, array: np.ndarray) -> Tensor:
    """Return an array as a tensor of the net's type, on its device."""
    like = next(net.parameters())
    return torch.as_tensor(array).to(device=like.device, dtype=like.dtype)
