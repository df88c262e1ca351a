"""SDEs with nets for drift and diffusion, fitted by gradient descent on Eq. 7.

Training works on y = dz / (s sqrt(lam dt)) with s the standard deviation of each component, and
gives A = lam Sigma, whose optimum does not depend on lam. A common factor of lam is therefore taken
out before and divided out afterwards: fits that differ by lam alone have the same drift, to the
last bit, and diffusions in the ratio of 1 / lam.

Increments given by their moments have y = b sqrt(dt / lam) / s, and s^2 is the mean of cov / (lam
dt). The loss is `likelihood.expected_nll`, whose last term passes no derivative to the diffusion.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro.sde.compiled.likelihood import CompiledLikelihood
from sklmacro.sde.drift import FitData
from sklmacro.sde.nets import (
    CholeskyDiffusion,
    EquivariantDiffusion,
    EquivariantDrift,
    Likelihood,
    MLPDrift,
    SDENet,
)
from sklmacro.sde.regressions import least_squares_drift
from sklmacro.training.loop import held_out_rows, train
from sklmacro.training.training import Training

TRAINING = Training(max_epochs=100, batch_size=1024, patience=20)  # of the nets of SDEs


@dataclass(frozen=True)
class NeuralSDE:
    """A fitted SDE; `u` (n, d + n_context) is the standardised state and context."""

    net: SDENet
    drift_scale: np.ndarray  # (d,), physical drift over the net's
    noise_scale: np.ndarray  # (d,), physical rows of L over the net's
    history: list[dict[str, float]]  # losses of every epoch

    def coefficients(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the drift (n, d) and the factor L (n, d, d)."""
        with torch.no_grad():
            drift, factor = self.net(self.tensor(u))
        return (
            drift.cpu().numpy() * self.drift_scale,
            factor.cpu().numpy() * self.noise_scale[:, None],
        )

    def tensor(self, u: np.ndarray) -> Tensor:
        """Return `u` as a tensor on the net's device."""
        return torch.as_tensor(u, dtype=torch.float64, device=next(self.net.parameters()).device)


def fit_neural(
    data: FitData,
    hidden: Sequence[int],
    training: Training,
    build_drift: Callable[[], nn.Module] | None = None,
    state_scale: np.ndarray | None = None,
) -> NeuralSDE:
    """Fit drift and diffusion by maximum likelihood (Eq. 7); `training` is complete.

    `build_drift` returns the drift's module, of the data's parity; without it the drift is an
    `MLPDrift` that starts from the linear drift of least squares. The drift's scale is proportional
    to `state_scale` (d,) where that is given, so that the net's vector field is the physical one in
    standardised coordinates, up to a factor of time.
    """
    u, parity, d = data.u, data.parity, data.n_state
    increments, common = data.increments.without_common_lam()
    dt, lam = increments.dt, increments.lam
    noise = increments.noise(np.zeros(d))
    noise_scale = _positive(np.sqrt(np.mean(np.sum(noise * noise, axis=1), axis=0)))
    f = np.column_stack([np.ones(len(u)), u])
    B = least_squares_drift(f, increments, np.append(1.0, parity) == parity[:d, None])
    size = np.sqrt(np.mean((f @ B.T) ** 2, axis=0))
    size = np.maximum(size, 1e-3 * noise_scale / np.sqrt(np.mean(dt)))
    drift_scale = size if state_scale is None else state_scale * np.median(size / state_scale)
    weight = np.sqrt(dt / lam)[:, None] * (drift_scale / noise_scale)
    arrays = [u, increments.residual(np.zeros(d)) / noise_scale, weight]
    symmetric = bool((parity == -1).any())
    if increments.root is not None:
        arrays.append(increments.root / noise_scale)
    compiled = build_drift is None and not symmetric and increments.root is None
    compiled = compiled and torch.device(training.device).type == "cpu"
    Loss: Callable[[SDENet], nn.Module] = CompiledLikelihood if compiled else Likelihood

    def build() -> nn.Module:
        sizes = u.shape[1], d, hidden
        drift = MLPDrift(*sizes) if build_drift is None else build_drift()
        if isinstance(drift, MLPDrift):
            start = torch.as_tensor(B / drift_scale[:, None])
            with torch.no_grad():
                drift.linear.bias.copy_(start[:, 0])
                drift.linear.weight.copy_(start[:, 1:])
        if not symmetric:
            return Loss(SDENet(drift, CholeskyDiffusion(*sizes, data.diffusion)))
        signs = parity.tolist()
        drift = EquivariantDrift(drift, signs, d) if build_drift is None else drift
        return Loss(SDENet(drift, EquivariantDiffusion(*sizes, data.diffusion, signs)))

    def model(loss: Any, history: list[dict[str, float]]) -> NeuralSDE:
        net = deepcopy(loss.trained_net()).eval().requires_grad_(False)
        return NeuralSDE(net, drift_scale, noise_scale / np.sqrt(common), history)

    rng = stream(resolve_entropy(data.run.random_state), Stage.SPLIT)
    rows = held_out_rows(data.groups, training.validation_fraction, rng)
    run = replace(data.run, desc="fit SDE", fitted=lambda loss: {"model_": model(loss, [])})
    return model(*train(build, arrays, rows, training, run))


def _positive(scale: np.ndarray) -> np.ndarray:
    """Return `scale` with 1 in the place of 0."""
    return np.where(scale > 0, scale, 1.0)
