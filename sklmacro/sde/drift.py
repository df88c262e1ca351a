"""What a drift is: an object that fits a model to increments, with parameters of its own.

    dz ~ N(mu(z, c) dt, lam Sigma(z, c) dt),   mu of the drift's form, Sigma of the diffusion's

Shape vocabulary::

    u           (n, d + n_context)   standardised state and context; odd components not shifted
    increments  of n pairs           dz (n, d), dt (n,), lam (n,), cov (n, d, d) or None
    groups      (n,)                 source trajectories
    parity      (d + n_context,)     signs of the components, all 1 where there is no symmetry
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from sklmacro._base.roles import Roles
from sklmacro.sde.likelihood import Increments
from sklmacro.training.loop import Run


@dataclass(frozen=True)
class FitData:
    """What a model is fitted to, and who follows the fit; see the shape vocabulary."""

    u: np.ndarray
    increments: Increments
    groups: np.ndarray  # those of one group are held out together
    parity: np.ndarray
    scale: np.ndarray  # (d + n_context,), by which u is standardised
    diffusion: str  # "full", "diagonal" or "constant"
    run: Run  # seed, and who follows the fit

    @property
    def n_state(self) -> int:
        """Return d, the dimension of the state."""
        return self.increments.dz.shape[1]

    @property
    def symmetric(self) -> bool:
        """Return whether a component changes its sign by the symmetry."""
        return bool((self.parity == -1).any())

    def settings(self) -> dict[str, Any]:
        """Return the data that a fit depends on."""
        own = {f.name: getattr(self.increments, f.name) for f in fields(self.increments)}
        return {"u": self.u, "groups": self.groups, **own}

    def take(self, rows: np.ndarray) -> "FitData":
        """Return some of the pairs."""
        own = {name: getattr(self, name)[rows] for name in ("u", "groups")}
        return replace(self, increments=self.increments.take(rows), **own)


class Drift(Roles):
    """Base of the drifts, for fits without training."""

    @property
    def n_epochs(self) -> int:
        """Return the largest number of epochs of a fit; 0 where nothing is trained."""
        return 0

    @property
    def holds_out_groups(self) -> bool:
        """Return whether a fit is judged by groups that are held out."""
        return False

    def check(self) -> None:
        """Raise ValueError unless the parameters make sense."""

    def fit_model(self, data: FitData) -> Any:
        """Return a PolynomialSDE, KernelSDE or NeuralSDE, fitted by maximum likelihood (Eq. 7)."""
        raise NotImplementedError
