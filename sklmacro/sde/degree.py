"""Choice of the degree of a polynomial SDE, by the likelihood of held-out increments.

    m is better than n  where  trimmed mean over pairs of  log p_m(dz) - log p_n(dz)  >  0

p_m is fitted to the folds that the pair does not belong to; groups are kept together. The mean is
trimmed since a pair beyond those of the other folds, where a polynomial of high degree may be
anything, would decide alone. Of moments the likelihood is the expected one, with drift and noise of
one weight (`Increments.in_own_time`), so that the choice does not depend on the length of dt.
"""

import numpy as np
from scipy.stats import trim_mean

from sklmacro.sde.likelihood import Increments, log_likelihood
from sklmacro.sde.polynomial import fit_polynomial, monomial_factors

DEGREES = range(1, 10)  # higher ones go astray outside of the data, where rare paths come
N_FOLDS = 10
TRIMMED = 0.02  # of the differences, at either end
PATIENCE = 3  # degrees in a row that are no better, after which no more are tried
TIE = 1e-7  # of the mean log-likelihood: what fits to convergence leave open


def choose_degree(
    u: np.ndarray,
    increments: Increments,
    groups: np.ndarray,
    rng: np.random.Generator,
    *,
    diffusion: str,
    parity: np.ndarray,
) -> int:
    """Return the degree of `DEGREES` that held-out pairs prefer; of ties the smallest.

    Each is held against the best of the smaller ones. Degrees with more monomials than there are
    pairs to fit them to are left out.

    Parameters
    ----------
    u : ndarray of shape (n, d + n_context)
        Standardised state and context.
    increments : Increments
        Of n pairs.
    groups : ndarray of shape (n,)
        Pairs of one group are held out together.
    rng : numpy.random.Generator
        Deals the groups to the folds.
    diffusion, parity
        As in `fit_polynomial`.

    Raises
    ------
    ValueError
        If there is a single group, so that none can be held out.
    """
    folds = _folds(groups, rng)
    n_fitted = min(len(fitted) for fitted, _ in folds)
    best, choice = None, DEGREES[0]
    for degree in DEGREES:
        too_many = degree > choice and len(monomial_factors(u.shape[1], degree)) > n_fitted
        if too_many or degree > choice + PATIENCE:
            break
        score = np.empty(len(groups))
        for fitted, held in folds:
            model = fit_polynomial(
                u[fitted], increments.take(fitted), degree=degree, diffusion=diffusion,
                parity=parity,
            )  # fmt: skip
            mu, factor = model.coefficients(u[held])
            score[held] = log_likelihood(increments.take(held), mu, factor)
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
