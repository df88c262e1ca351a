"""SDEs with nets for drift and diffusion, fitted by gradient descent on Eq. 7.

Training works on y = dz / (s sqrt(lam dt)) with s the standard deviation of each component, and
gives A = lam Sigma, whose optimum does not depend on lam. A common factor of lam is therefore taken
out before and divided out afterwards: fits that differ by lam alone have the same drift, to the
last bit, and diffusions in the ratio of 1 / lam.

Increments given by their moments have y = b sqrt(dt / lam) / s, and s^2 is the mean of cov / (lam
dt). The loss is `likelihood.expected_nll`, whose last term passes no derivative to the diffusion.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sklmacro._base.checks import check_widths
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro._base.workers import plain_torch
from sklmacro.sde.compiled.likelihood import CompiledLikelihood
from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.likelihood import half_square
from sklmacro.sde.nets import (
    CholeskyDiffusion,
    EquivariantDiffusion,
    EquivariantDrift,
    Likelihood,
    MLPDrift,
    SDENet,
)
from sklmacro.sde.regressions import least_squares_drift
from sklmacro.sde.starts import Rates, start_mlp
from sklmacro.training.loop import held_out_rows, train
from sklmacro.training.training import Training, as_training

TRAINING = Training(max_epochs=100, batch_size=1024, patience=20)  # of the nets of SDEs

CERTAIN = 3.0  # standard errors; the epoch is the best of many by the same rows


@dataclass(frozen=True)
class NeuralSDE:
    """A fitted SDE; `u` (n, d + n_context) is the standardised state and context."""

    net: SDENet
    drift_scale: np.ndarray  # (d,), physical drift over the net's
    noise_scale: np.ndarray  # (d,), physical rows of L over the net's
    history: list[dict[str, float]]  # losses of every epoch
    gauge: float = 1.0  # of OnsagerNet, physical M over the net's; V by its inverse

    def coefficients(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the drift (n, d) and the factor L (n, d, d)."""
        with torch.no_grad(), plain_torch():
            drift, factor = self.net(self.tensor(u))
            return (
                drift.cpu().numpy() * self.drift_scale,
                factor.cpu().numpy() * self.noise_scale[:, None],
            )

    def scale_noise(self, factor: float) -> "NeuralSDE":
        """Return the SDE with L times a factor."""
        return replace(self, noise_scale=self.noise_scale * factor, gauge=self.gauge * factor**2)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy; weights that inference mode has made take part in no derivative."""
        vars(self).update(state)
        if any(weight.is_inference() for weight in self.net.parameters()):
            with plain_torch():
                vars(self)["net"] = deepcopy(self.net)

    def tensor(self, u: np.ndarray) -> Tensor:
        """Return `u` as a tensor on the net's device."""
        return torch.as_tensor(u, dtype=torch.float64, device=next(self.net.parameters()).device)


class MLP(Drift):
    """Drift and diffusion by multilayer perceptrons, for `PatchSDERegressor`.

    The drift is A u + b + net(u). Training starts from the A, b and last layer of largest evidence
    for hidden layers as they are drawn. The drift of this start is kept, fitted to all pairs, where
    held-out groups do not tell that the trained one is better, by three standard errors.

    Parameters
    ----------
    hidden : sequence of int, default=(64, 64)
        Hidden layers of the nets.
    training : Training, default=None
        How the nets are trained; None stands for `Training()`.

    Examples
    --------
    >>> from sklmacro import MLP, PatchSDERegressor, Training
    >>> PatchSDERegressor(drift_model=MLP(hidden=(32, 32), training=Training(lr=0.01)))
    PatchSDERegressor(drift_model=MLP(hidden=(32, 32), training=Training(lr=0.01)))
    """

    roles: ClassVar = {"training": as_training}

    def __init__(self, hidden: Sequence[int] = (64, 64), *, training: Training | None = None):
        self.hidden = hidden
        self.training = training

    @property
    def n_epochs(self) -> int:
        """Return the largest number of epochs of a fit."""
        return TRAINING.complete(self.training).max_epochs

    @property
    def holds_out_groups(self) -> bool:
        """Return whether training stops by the loss of groups that are held out."""
        return TRAINING.complete(self.training).validation_fraction > 0

    def check(self) -> None:
        """Raise ValueError unless the parameters make sense."""
        check_widths(self.hidden, "hidden")
        TRAINING.complete(self.training).check()

    def build_drift(self, data: FitData) -> nn.Module:
        """Return the drift's module, of the data's parity."""
        drift = MLPDrift(data.u.shape[1], data.n_state, tuple(self.hidden))
        if data.symmetric:
            return EquivariantDrift(drift, data.parity.tolist(), data.n_state)
        return drift

    def start(self, drift: nn.Module, rates: Rates) -> None:
        """Set the weights from which a drift's training starts."""
        plain = drift.module if isinstance(drift, EquivariantDrift) else drift
        assert isinstance(plain, MLPDrift)
        start_mlp(plain, rates)

    def soften(self, drift: nn.Module, rates: Rates) -> bool:
        """Make the weights of a start small enough to be trained, or return False."""
        return True

    def gauge(self, model: NeuralSDE, data: FitData) -> float:
        """Return the unit of the parts of a fitted drift."""
        return 1.0

    def drift_scale(self, data: FitData, size: np.ndarray) -> np.ndarray:
        """Return the unit (d,) of the net's drift, for a linear one of this size (d,)."""
        return size

    def fit_model(self, data: FitData) -> NeuralSDE:
        """Train drift and diffusion (Eq. 7)."""
        u, parity, d, training = data.u, data.parity, data.n_state, TRAINING.complete(self.training)
        increments, common = data.increments.without_common_lam()
        dt, lam = increments.dt, increments.lam
        noise = increments.noise(np.zeros(d))
        noise_scale = np.sqrt(np.mean(np.sum(noise * noise, axis=1), axis=0))
        means = np.sqrt(np.mean(increments.residual(np.zeros(d)) ** 2, axis=0))
        silent = noise_scale == 0  # components that only drift
        noise_scale[silent] = means[silent]
        f = np.column_stack([np.ones(len(u)), u])
        B = least_squares_drift(f, increments, np.append(1.0, parity) == parity[:d, None])
        size = np.sqrt(np.mean((f @ B.T) ** 2, axis=0))
        size = np.maximum(size, 1e-3 * noise_scale / np.sqrt(np.mean(dt)))
        drift_scale = self.drift_scale(data, size)
        weight = np.sqrt(dt / lam)[:, None] * (drift_scale / noise_scale)
        y = increments.residual(np.zeros(d)) / noise_scale
        arrays = [u, y, weight]
        if increments.root is not None:
            arrays.append(increments.root / noise_scale)
        rates = Rates(
            u, y / weight, dt / lam, data.groups, parity,
            increments.noise(f @ B.T) / drift_scale,
        )  # fmt: skip
        unit = drift_scale / noise_scale
        Sigma = rates.covariance * np.outer(unit, unit)
        starts: list[nn.Module] = []

        def build() -> nn.Module:
            drift = self.build_drift(data).double()
            drawn = deepcopy(drift)
            with torch.no_grad():
                self.start(drift, rates.take(rows[0]))
                starts.append(deepcopy(drift))
                if not self.soften(drift, rates.take(rows[0])):
                    drift = drawn
            sizes = u.shape[1], d, tuple(self.hidden), data.diffusion
            if data.symmetric:
                odd = EquivariantDiffusion(*sizes, parity.tolist())
                odd.set_constant(Sigma)
                return Likelihood(SDENet(drift, odd))
            diffusion = CholeskyDiffusion(*sizes)
            diffusion.set_constant(Sigma)
            compiled = isinstance(drift, MLPDrift) and increments.root is None
            compiled = compiled and torch.device(training.device).type == "cpu"
            loss = CompiledLikelihood if compiled else Likelihood
            return loss(SDENet(drift, diffusion))

        def model(loss: Any, history: list[dict[str, float]]) -> NeuralSDE:
            net = deepcopy(loss.trained_net()).eval().requires_grad_(False)
            sde = NeuralSDE(net, drift_scale, noise_scale / np.sqrt(common), history)
            return replace(sde, gauge=self.gauge(sde, data))

        rng = stream(resolve_entropy(data.run.random_state), Stage.SPLIT)
        rows = held_out_rows(data.groups, training.validation_fraction, rng)
        run = replace(data.run, desc="fit SDE", fitted=lambda loss: {"model_": model(loss, [])})
        loss, history = train(build, arrays, rows, training, run)
        held, start = rows[1], starts[0].to(training.device).eval()
        if held is not rows[0] and not is_better(
            loss.trained_net(), start, [a[held] for a in arrays], data.groups[held]
        ):
            with torch.no_grad():
                self.start(start.cpu(), rates)
            loss = Likelihood(SDENet(start.to(training.device), loss.trained_net().diffusion))
        return model(loss, history)


def is_better(net: SDENet, start: nn.Module, arrays: list[np.ndarray], groups: np.ndarray) -> bool:
    """Tell whether a trained drift is likelier than that of the start, beyond chance.

    `arrays` are those of the likelihood, of held-out rows; noise is independent between `groups`.
    """
    device = next(net.parameters()).device
    tensors = [torch.as_tensor(a, dtype=torch.float64, device=device) for a in arrays]
    u, y, weight = tensors[:3]
    with torch.no_grad():
        factor = net.diffusion(u)
        of_start, trained = (
            half_square(factor, y - weight * drift(u)) for drift in (start, net.drift)
        )
    _, which = np.unique(groups, return_inverse=True)
    gains = np.bincount(which, (of_start - trained).cpu().numpy())
    error = np.sqrt(np.sum(gains**2)) if len(gains) > 1 else 0.0
    return bool(np.sum(gains) > CERTAIN * error)
