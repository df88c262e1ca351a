"""Choice of the degree of a polynomial SDE, by the likelihood of held-out increments.

    degree = argmax_m  mean over folds of  mean log p_m(increments of the fold)

where p_m is fitted to the other folds. Groups are kept together. Of moments the likelihood is
the expected one, with drift and noise of one weight (`Increments.in_own_time`), so that the choice
does not depend on the length of dt.
"""

import numpy as np

from sklmacro.likelihood import Increments, log_likelihood
from sklmacro.polynomial import fit_polynomial, monomial_factors

DEGREES = range(1, 9)
N_FOLDS = 5
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
    """Return the degree of `DEGREES` with the largest held-out likelihood; of ties the smallest.

    Degrees with more monomials than there are pairs to fit them to are left out.

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
    best, choice = -np.inf, DEGREES[0]
    for degree in DEGREES:
        if degree > DEGREES[0] and len(monomial_factors(u.shape[1], degree)) > n_fitted:
            break
        score = 0.0
        for fitted, held in folds:
            model = fit_polynomial(
                u[fitted], increments.take(fitted), degree=degree, diffusion=diffusion,
                parity=parity,
            )  # fmt: skip
            mu, factor = model.coefficients(u[held])
            score += float(log_likelihood(increments.take(held), mu, factor).mean()) / len(folds)
        if score > best + TIE:
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
