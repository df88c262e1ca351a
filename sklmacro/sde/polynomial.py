"""Linear and polynomial drifts, and a degree chosen by the likelihood of held-out increments.

    m is better than n  where  trimmed mean over pairs of  log p_m(dz) - log p_n(dz)  >  0

p_m is fitted to the folds that the pair does not belong to; groups stay together. The mean is
trimmed since a pair beyond those of the other folds, where a polynomial of high degree may be
anything, would decide alone. Of moments the likelihood is the expected one, with drift and noise of
one weight (`Increments.in_own_time`), so that the choice does not depend on the length of dt.
"""

import numpy as np
from scipy.stats import trim_mean

from sklmacro._base.checks import check_integer
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro.sde.drift import Drift, FitData
from sklmacro.sde.likelihood import log_likelihood
from sklmacro.sde.regressions import PolynomialSDE, fit_polynomial, monomial_factors

DEGREES = range(1, 10)  # higher ones go astray outside of the data, where rare paths come
N_FOLDS = 10
TRIMMED = 0.02  # of the differences, at either end
PATIENCE = 3  # degrees in a row that are no better, after which no more are tried
TIE = 1e-7  # of the mean log-likelihood: what fits to convergence leave open


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


class Polynomial(Drift):
    """Polynomial drift, and a diffusion by polynomial regressions, for `PatchSDERegressor`.

    Parameters
    ----------
    degree : int or "auto", default=2
        Degree of the polynomials. "auto" takes, of 1 to 9, the one of the largest likelihood of
        held-out increments, in ten folds of the groups; of ties the smallest. The mean over pairs
        is trimmed: those beyond all others would decide alone.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import PatchSDERegressor, Polynomial
    >>> z = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> sde = PatchSDERegressor(drift_model=Polynomial(degree=3), diffusion_model="constant")
    >>> sde.fit(z, z - z**3).drift([[0.5]]).round(6)
    array([[0.375]])
    """

    def __init__(self, degree: int | str = 2):
        self.degree = degree

    @property
    def holds_out_groups(self) -> bool:
        """Return whether the degree is chosen by groups that are held out."""
        return isinstance(self.degree, str)

    def check(self) -> None:
        """Raise ValueError unless the degree makes sense."""
        if self.degree != "auto":
            check_integer(self.degree, "degree", low=1, remedy="pass an integer or 'auto'")

    def fit_model(self, data: FitData) -> PolynomialSDE:
        """Fit drift and diffusion by regressions (Eq. 7)."""
        degree = choose_degree(data) if isinstance(self.degree, str) else int(self.degree)
        return fit_polynomial(data, degree)


def choose_degree(data: FitData) -> int:
    """Return the degree of `DEGREES` that held-out pairs prefer; of ties the smallest.

    Each is compared with the best of the smaller ones. Degrees with more monomials than there are
    pairs to fit them to are left out. A single group, none to be held out, is a ValueError.
    """
    folds = _folds(data.groups, stream(resolve_entropy(data.run.random_state), Stage.SPLIT))
    n_fitted = min(len(fitted) for fitted, _ in folds)
    best, choice = None, DEGREES[0]
    for degree in DEGREES:
        too_many = degree > choice and len(monomial_factors(data.u.shape[1], degree)) > n_fitted
        if too_many or degree > choice + PATIENCE:
            break
        score = np.empty(len(data.groups))
        for fitted, held in folds:
            model, test = fit_polynomial(data.take(fitted), degree), data.take(held)
            score[held] = log_likelihood(test.increments, *model.coefficients(test.u))
        if best is None or trim_mean(score - best, TRIMMED) > TIE:
            best, choice = score, degree
    return choice


def _folds(groups: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return training and held-out rows of each fold."""
    names, which = np.unique(groups, return_inverse=True)
    everything = np.arange(len(groups))
    n_folds = min(N_FOLDS, len(names))
    if n_folds < 2:
        raise ValueError(
            "Expected pairs of at least 2 groups to choose the degree by those held out, but got "
            f"{len(names)}; pass more source trajectories, or an integer degree."
        )
    fold = (rng.permutation(len(names)) % n_folds)[which]
    return [(everything[fold != k], everything[fold == k]) for k in range(n_folds)]
