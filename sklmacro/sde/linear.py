"""Linear drift, mu(u) = A u + b, in closed form or to convergence."""

from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.regressions import PolynomialSDE, fit_polynomial


class Linear(Drift):
    """Linear drift, and a diffusion by linear regressions, for `PatchSDERegressor`.

    Examples
    --------
    >>> from sklmacro import Linear, PatchSDERegressor
    >>> PatchSDERegressor(drift_model=Linear(), diffusion_model="constant")
    PatchSDERegressor(diffusion_model='constant', drift_model=Linear())
    """

    def fit_model(self, data: FitData) -> PolynomialSDE:
        """Fit drift and diffusion by regressions (Eq. 7)."""
        return fit_polynomial(data, degree=1)
