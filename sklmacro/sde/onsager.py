"""Macroscopic SDE with a thermodynamically structured drift: OnsagerNet (Eq. 5).

    mu(z, c) = -(M(z, c) + W(z, c)) grad V(z, c) + f(z, c)

M symmetric positive definite (dissipation), W skew-symmetric (conservation), V a potential bounded
below, f an external force. Without f, dV/dt = -grad V . M grad V <= 0 along the noise-free flow.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sklmacro._base.workers import plain_torch
from sklmacro.sde.base import PatchSDE
from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.nets import EquivariantOnsagerDrift, OnsagerDrift
from sklmacro.sde.neural import MLP, NeuralSDE
from sklmacro.sde.onsager_start import MOST_ROWS, soften, start_onsager
from sklmacro.sde.starts import Rates
from sklmacro.training.training import Training, as_training, former_names


class Onsager(MLP):
    """OnsagerNet drift of nets with `hidden` layers, for `OnsagerSDE`."""

    def __init__(self, hidden: Sequence[int], training: Training | None, forcing: bool):
        super().__init__(hidden, training=training)
        self.forcing = forcing

    def build_drift(self, data: FitData) -> nn.Module:
        """Return the drift's module, of the data's parity."""
        d = data.n_state
        options = d, data.u.shape[1] - d, tuple(self.hidden), self.forcing
        if data.symmetric:
            return EquivariantOnsagerDrift(*options, data.parity.tolist())
        return OnsagerDrift(*options)

    def start(self, drift: nn.Module, rates: Rates) -> None:
        """Set the weights from which a drift's training starts."""
        assert isinstance(drift, OnsagerDrift)
        start_onsager(drift, rates)

    def soften(self, drift: nn.Module, rates: Rates) -> bool:
        """Make the weights of a start small enough to be trained, or return False."""
        assert isinstance(drift, OnsagerDrift)
        return soften(drift, rates)

    def gauge(self, model: NeuralSDE, data: FitData) -> float:
        """Return the unit of M in which its trace is half that of the noise, both over z^2."""
        rows = np.linspace(0, len(data.u) - 1, min(MOST_ROWS, len(data.u))).astype(int)
        u, unit = data.u[rows], state_unit(data.scale[: data.n_state], model.drift_scale)
        drift = model.net.drift
        assert isinstance(drift, OnsagerDrift)
        with torch.no_grad(), plain_torch():
            M = drift.matrices(model.tensor(u))[0].cpu().numpy()
        of_M = np.einsum("nii->ni", M) * model.drift_scale / unit
        noise = data.increments.take(rows).noise(model.coefficients(u)[0]) / unit
        of_Sigma, of_M = np.sum(noise**2), np.sum(of_M)
        if of_Sigma == 0:
            return 1.0
        return float(of_Sigma / (2 * of_M))

    def drift_scale(self, data: FitData, size: np.ndarray) -> np.ndarray:
        """Return the unit (d,) of the net's drift, proportional to that of the state.

        The net's vector field is then the physical one in standardised coordinates, up to a factor
        of time.
        """
        scale = data.scale[: data.n_state]  # infinite where z is constant
        known = np.isfinite(scale)
        if not known.any():
            return size
        return np.where(known, scale * np.median((size / scale)[known]), size)


def state_unit(scale: np.ndarray, drift_scale: np.ndarray) -> np.ndarray:
    """Return physical z over the net's (d,); of constant components, as the drift's."""
    known = np.isfinite(scale)
    rate = (drift_scale / scale)[known][0] if known.any() else 1.0
    return np.where(known, scale, drift_scale / rate)


class OnsagerSDE(PatchSDE):
    """Macroscopic SDE with OnsagerNet drift (Eqs. 5, 7, 31).

    Only the products of M + W and grad V are in the data. Training starts from M proportional to
    Sigma, the fluctuation-dissipation relation, W constant, and no more of f than the evidence asks
    for. The unit is that in which M has the trace of Sigma / 2, on average over states: with
    mu = -(M + W) grad V + f and Sigma = 2 M T, what is returned is T M, T W and V / T, and exp(-V)
    the stationary density of a constant M + W without f.

    Parameters
    ----------
    forcing : bool, default=True
        Whether the drift has an external force f.
    parity : sequence of int, default=None
        1 or -1 for each component of the state, a symmetry z -> P z of the dynamics, as in
        `PatchSDERegressor`: V(P z) = V(z), M(P z) = P M(z) P, and W and f likewise.
    hidden : sequence of int, default=(64, 64)
        Hidden layers of the nets.
    training : Training, default=None
        How the nets are trained; None stands for `Training()`.
    lam, diffusion_model, dt, bounds, random_state, verbose, checkpoint_dir
        As in `PatchSDERegressor`.

    Attributes
    ----------
    lam_, lam_error_, n_state_, n_sites_, sizes_, coverage_, relations_, model_, history_
    n_features_in_
        As in `PatchSDERegressor`.

    References
    ----------
    H. Yu, X. Tian, W. E and Q. Li, Phys. Rev. Fluids 6, 114402 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import OnsagerSDE, Training
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (2_000, 2))
    >>> dz = -z * 0.1 + 0.1 * rng.standard_normal(z.shape)
    >>> sde = OnsagerSDE(training=Training(max_epochs=5), dt=0.1, random_state=0).fit(z, dz)
    >>> sde.dissipation(z[:3]).shape, sde.potential(z[:3]).shape
    ((3, 2, 2), (3,))
    """

    roles: ClassVar = {"training": as_training}
    former: ClassVar = former_names()

    def __init__(
        self,
        *,
        lam: float | str = "K",
        forcing: bool = True,
        diffusion_model: str = "full",
        parity: Sequence[int] | None = None,
        hidden: Sequence[int] = (64, 64),
        dt: float = 1.0,
        bounds: Sequence[tuple[float, float]] | None = None,
        training: Training | None = None,
        random_state: Any = None,
        verbose: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.lam = lam
        self.forcing = forcing
        self.diffusion_model = diffusion_model
        self.parity = parity
        self.hidden = hidden
        self.dt = dt
        self.bounds = bounds
        self.training = training
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint_dir = checkpoint_dir

    @property
    def _drift(self) -> Drift:
        return Onsager(self.hidden, self.training, self.forcing)

    def potential(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the potential V (n_samples,) at macrostates z (n_samples, d)."""
        return self._evaluate(lambda net, u: net.potential(u), z, context) / self._gauge

    def potential_gradient(self, z: Any, context: Any = None) -> np.ndarray:
        """Return grad V (n_samples, d) with respect to z.

        Where components obey `relations_`, it is that along the free ones; it is 0 in the others.
        """
        gradient = self._evaluate(lambda net, u: net.gradient(u), z, context, "d")
        gradient = gradient / (self._unit * self._gauge)
        if self.relations_ is None:
            return gradient
        full = np.zeros((len(gradient), self.n_state_))
        full[:, self.relations_.free] = gradient
        return full

    def dissipation(self, z: Any, context: Any = None) -> np.ndarray:
        """Return M (n_samples, d, d), symmetric positive definite.

        Where components obey `relations_`, its kernel are those, as of the diffusion, and of W.
        """
        return self._matrix(lambda net, u: net.matrices(u)[0], z, context)

    def conservation(self, z: Any, context: Any = None) -> np.ndarray:
        """Return W (n_samples, d, d), skew-symmetric."""
        return self._matrix(lambda net, u: net.matrices(u)[1], z, context)

    def force(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the external force f (n_samples, d)."""
        force = self._evaluate(lambda net, u: net.force(u), z, context, "d")
        return self._expand(force * self.model_.drift_scale)

    def _matrix(self, part: Callable[[Any, Tensor], Tensor], z: Any, context: Any) -> np.ndarray:
        """Return M or W: mu_z = drift_scale (-(M + W) grad_u V) in the net's coordinates."""
        matrix = self._evaluate(part, z, context, "dd")
        matrix = matrix * np.outer(self.model_.drift_scale, self._unit * self._gauge)
        return self._expand(self._expand(matrix).mT).mT

    def _evaluate(
        self, part: Callable[[Any, Tensor], Tensor], z: Any, context: Any, axes: str = ""
    ) -> np.ndarray:
        """Return a part of the drift in the net's coordinates, with `axes` of the components."""
        columns = self._coordinates(self._columns(z, context))
        if not isinstance(self.model_, NeuralSDE):  # there is no net where nothing ever changes
            return np.zeros((len(columns), *(0 for _ in axes)))
        u = (columns - self.mean_) / self.scale_
        with torch.no_grad(), plain_torch():
            return part(self.model_.net.drift, self.model_.tensor(u)).cpu().numpy()

    @property
    def _unit(self) -> np.ndarray:
        """Physical z of the free components over the net's."""
        drift_scale = self.model_.drift_scale
        return state_unit(self.scale_[: len(drift_scale)], drift_scale)

    @property
    def _gauge(self) -> float:
        """Physical M over the net's, and the net's V over the physical."""
        return self.model_.gauge if isinstance(self.model_, NeuralSDE) else 1.0
