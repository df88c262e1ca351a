"""Which closures the dynamics of the observables needs: forward selection by held-out groups.

What z leaves unexplained of the observables' drift b is seen before a path is simulated:

    loss(z)        = mean over k of  (b_k - bhat_k(z))^2 / E (b_k - bhat_k(z*))^2
    unexplained(z) = exp mean over blocks of groups of  log mean loss(z) / loss(z*)

where bhat is a ridge regression on polynomials of z, learned without the groups that it is held
against, and z* are the observables alone: 1 to begin with. Logarithms keep a few states at the edge
of the data, to which polynomials extrapolate, from deciding all. In each step the candidate joins z
that leaves least. The end is where the gain is below twice its standard error over blocks, or,
where b has no noise of its own, below a share of what is left.

What is unexplained for a short time averages out, and what lasts moves the observables. Where the
own drift a of a candidate c is known, the candidate joins z whose part of the drift lasts longest:

    lasting(c) = mean over k of  E (b_k - E[b_k | z] by c)^2 / E (b_k - bhat_k(z*))^2  / rate(c)^2

with "by c" the regression on c - E[c | z], and rate(c) that of a - E[a | z] on it, with a minus
sign: the rate at which c forgets what z does not know. A candidate that explains all that is left
comes before all others: the drift is written in it.

Shape vocabulary::

    z           (n, q)    observables
    candidates  (n, M)    values of the candidates
    targets     (n, m)    increments per time; (n,) weights, the inverse of their variances
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.preprocessing import PolynomialFeatures

from sklmacro._base.workers import single_threaded

N_FOLDS = 5
N_BLOCKS = 40  # of groups, over which errors are found
LEAST_GAIN = 0.01  # of what is left unexplained, in the absence of noise
NOTHING = 1e-6  # unexplained part that is none: regressions do not resolve less
ALL = 1 - 1e-5  # explained share of what is left, with which a candidate comes first
SAME = 1e-9  # share of the variance of a candidate below which it follows from others
SIGNIFICANT = 2.0  # standard errors
SLOWEST = 0.03  # rate that counts, in units of the largest
PENALTIES = 10.0 ** np.arange(-12, 1, 2)
DEGREE, MOST_TERMS = 5, 60  # of polynomials of the observables


@dataclass(frozen=True)
class SelectionStep:
    """What is left unexplained once a closure has joined z.

    Attributes
    ----------
    name : str
        The closure; "observables" for the first step, in which there is none.
    unexplained : float
        Part of the drift that z leaves unexplained, 1 for the observables alone.
    error : float
        Standard error, over the groups held out, of the difference to the step before.
    by_observable : tuple of float
        For each observable whose drift varies, the unexplained share of the drift's variance.
    """

    name: str
    unexplained: float
    error: float
    by_observable: tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """Held-out squared errors of a regression, over their scale.

    `losses` (n_blocks,) are means over the rows of blocks and over targets, `shares` (m,) over all
    rows, as shares of the targets' variances.
    """

    losses: np.ndarray
    shares: np.ndarray


def independent(z: np.ndarray, values: np.ndarray) -> bool:
    """Tell whether values (n,) vary, and do not follow linearly from z (n, q)."""
    spread = values.std()
    if not spread > 1e-12 * np.abs(values).max(initial=0.0):
        return False
    u = np.column_stack([np.ones(len(z)), _standard(z)])
    v = (values - values.mean()) / spread
    left = v - u @ np.linalg.lstsq(u, v)[0]
    return bool((left**2).mean() > SAME)


class Selection:
    """Forward selection of candidates.

    Parameters
    ----------
    z, candidates : ndarray of shape (n, q) and (n, n_candidates)
    targets : ndarray of shape (n, m)
    weights : ndarray of shape (n,)
    groups : ndarray of shape (n,)
        Held out as a whole.
    exact : bool
        Whether the targets have no noise of their own.
    some, drifts : ndarray of shape (n_some,) and (n_some, n_candidates), default=None
        Rows for which the own drift of the candidates is known, if it counts how long they last.
    """

    def __init__(
        self, z: np.ndarray, candidates: np.ndarray, targets: np.ndarray, weights: np.ndarray,
        groups: np.ndarray, exact: bool, some: np.ndarray | None = None,
        drifts: np.ndarray | None = None,
    ):  # fmt: skip
        _, number = np.unique(groups, return_inverse=True)
        self.z, self.candidates, self.exact, self.groups = z, candidates, exact, groups
        self.some, self.drifts = some, drifts
        self.weights = weights / weights.mean()
        self.targets = targets - targets.mean(axis=0)
        self.variance = self.weights @ self.targets**2 / len(z)
        self.blocks = number % N_BLOCKS
        n_folds = min(N_FOLDS, number.max() + 1)
        self.folds = [np.flatnonzero(number % n_folds == k) for k in range(n_folds)]

    def run(
        self, names: list[str], n_wanted: int | None, most: int, usable: Callable[[int], bool]
    ) -> tuple[list[int], list[SelectionStep]]:
        """Return the numbers of the chosen candidates, in order, and the steps.

        `n_wanted` are chosen, or for None as many as significant, up to `most`. A candidate that is
        not `usable` is passed over.
        """
        with single_threaded():
            return self._run(names, n_wanted, most, usable)

    def _run(
        self, names: list[str], n_wanted: int | None, most: int, usable: Callable[[int], bool]
    ) -> tuple[list[int], list[SelectionStep]]:
        chosen = self._more([], n_wanted, most, usable)
        steps = self._told(names, chosen)
        if n_wanted is None and steps[-1].unexplained < NOTHING:
            chosen = self._closed(self._needed(chosen), most, usable)
            steps = self._told(names, chosen)
        return chosen, steps

    def _more(
        self, chosen: list[int], n_wanted: int | None, most: int, usable: Callable[[int], bool]
    ) -> list[int]:
        """Return the candidates that are to be chosen after `chosen`, in order."""
        start = now = self._begin(chosen)
        more: list[int] = []
        left = [k for k in range(self.candidates.shape[1]) if k not in chosen]
        while len(chosen) + len(more) < (most if n_wanted is None else n_wanted):
            if n_wanted is None and np.exp(_ratio(now, start)[0]) < NOTHING:
                break
            z = self._with(chosen + more)
            left = [k for k in left if independent(z, self.candidates[:, k])]
            for k, fit in self._ranked(z, left):
                change, error = _ratio(fit, now)
                if (n_wanted is not None or self._is_gain(change, error)) and usable(k):
                    break
            else:
                break
            now = fit
            more.append(k)
            left.remove(k)
        return more

    def _needed(self, chosen: list[int]) -> list[int]:
        """Return those of the chosen candidates without which z does not explain all."""
        start = self._begin([])
        for k in chosen:
            others = [other for other in chosen if other != k]
            if np.exp(_ratio(self._fit(self._with(others)), start)[0]) < NOTHING:
                chosen = others
        return chosen

    def _closed(self, chosen: list[int], most: int, usable: Callable[[int], bool]) -> list[int]:
        """Return chosen candidates, which explain all, and those that their own drifts need.

        The latter are those that explain most: what lasts longest stands for it at a distance.
        """
        if self.some is None or self.drifts is None or not chosen:
            return chosen
        some = self.some
        of_closures = Selection(
            self.z[some], self.candidates[some], self.drifts[:, chosen], self.weights[some],
            self.groups[some], self.exact,
        )  # fmt: skip
        return chosen + of_closures._more(chosen, None, most, usable)

    def _told(self, names: list[str], chosen: list[int]) -> list[SelectionStep]:
        """Return what is left unexplained as the chosen candidates join z one by one."""
        start = now = self._begin([])
        steps = [SelectionStep("observables", 1.0, 0.0, tuple(start.shares.tolist()))]
        for n, k in enumerate(chosen, 1):
            before, now = now, self._fit(self._with(chosen[:n]))
            unexplained = float(np.exp(_ratio(now, start)[0]))
            error = unexplained * _ratio(now, before)[1]
            steps.append(SelectionStep(names[k], unexplained, error, tuple(now.shares.tolist())))
        return steps

    def _begin(self, chosen: list[int]) -> Fit:
        """Return the fit to z and chosen candidates, whose errors become the scale of losses."""
        z = self._with(chosen)
        errors = self._errors(z)
        share = errors.mean(axis=0) / np.where(self.variance > 0, self.variance, np.inf)
        self.scale = np.where(share > NOTHING**2, errors.mean(axis=0), np.inf)
        return self._fit(z)

    def _with(self, chosen: list[int]) -> np.ndarray:
        """Return z with some of the candidates."""
        return np.column_stack([self.z, self.candidates[:, chosen]])

    def _ranked(self, z: np.ndarray, left: list[int]) -> Iterator[tuple[int, Fit]]:
        """Yield the numbers of candidates and their fits, the best first."""

        def fit(k: int) -> Fit:
            return self._fit(np.column_stack([z, self.candidates[:, k]]))

        if self.drifts is None:
            now, fits = self._fit(z), {k: fit(k) for k in left}
            by_gain = sorted(left, key=lambda k: _ratio(fits[k], now)[0])
            yield from ((k, fits[k]) for k in by_gain)
        elif left:
            lasting, share = self._lasting(z, left)
            order = np.lexsort((-lasting, share <= ALL))
            yield from ((left[i], fit(left[i])) for i in order)

    def _lasting(self, z: np.ndarray, left: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return how much of the drift candidates explain, and how long it lasts: (n_left,).

        And the share of what is left unexplained that each explains.
        """
        features = self._features(z)[self.some]

        def unknown(values: np.ndarray) -> np.ndarray:
            return values - features @ np.linalg.lstsq(features, values, rcond=1e-10)[0]

        drifts = self.drifts if self.drifts is not None else np.empty((0, 0))
        c, own = unknown(self.candidates[self.some][:, left]), unknown(drifts[:, left])
        b, square = unknown(self.targets[self.some]), (c**2).sum(axis=0)
        rate = -(c * own).sum(axis=0) / square
        rate = np.maximum(rate, SLOWEST * np.abs(rate).max())
        rate = np.where(rate > 0, rate, 1.0)  # nothing changes
        part = (b.T @ c) ** 2 / square / len(c)
        part /= self.scale[:, np.newaxis]
        rest = ((b**2).mean(axis=0) / self.scale).sum()
        return part.mean(axis=0) / rate**2, part.sum(axis=0) / (rest if rest > 0 else 1.0)

    def _is_gain(self, change: float, error: float) -> bool:
        """Tell whether a change of the logarithm of what is unexplained is worth a closure."""
        least = -np.log1p(-LEAST_GAIN) if self.exact else 0.0
        return -change > max(least, SIGNIFICANT * error)

    def _fit(self, z: np.ndarray) -> Fit:
        errors = self._errors(z)
        losses = (errors / self.scale).mean(axis=1)
        count = np.bincount(self.blocks)
        shares = errors.mean(axis=0) / np.where(self.variance > 0, self.variance, np.inf)
        return Fit(np.bincount(self.blocks, losses) / count + NOTHING / 10, shares)

    def _errors(self, z: np.ndarray) -> np.ndarray:
        """Return held-out squared errors (n, m), weighted, of ridge regressions on z.

        Each target has the penalty that is best for it.
        """
        root = np.sqrt(self.weights)[:, np.newaxis]
        X, Y = self._features(z) * root, self.targets * root
        grams = [(X[fold].T @ X[fold], X[fold].T @ Y[fold]) for fold in self.folds]
        gram, product = (sum(part[1:], start=part[0]) for part in zip(*grams, strict=True))
        errors = np.empty((len(PENALTIES), *Y.shape))
        for fold, (own_gram, own_product) in zip(self.folds, grams, strict=True):
            values, vectors = np.linalg.eigh(gram - own_gram)
            values = np.maximum(values, 0.0)
            along, seen = vectors.T @ (product - own_product), X[fold] @ vectors
            for k, penalty in enumerate(PENALTIES):
                shrunk = along / (values + penalty * values.mean())[:, np.newaxis]
                errors[k, fold] = (Y[fold] - seen @ shrunk) ** 2
        best = errors.mean(axis=1).argmin(axis=0)
        return np.take_along_axis(errors, best[np.newaxis, np.newaxis], axis=0)[0]

    def _features(self, z: np.ndarray) -> np.ndarray:
        """Return polynomials of the observables, and the closures times all that stand before."""
        q = self.z.shape[1]
        u = _orthogonal(z)
        degree = DEGREE
        limit = min(MOST_TERMS, len(z) // 5)
        while degree > 1 and _n_terms(q, degree) > limit:
            degree -= 1
        columns = [PolynomialFeatures(degree).fit_transform(u[:, :q])]
        for k in range(q, u.shape[1]):
            columns.append(u[:, k : k + 1] * np.column_stack([np.ones(len(u)), u[:, : k + 1]]))
        return np.column_stack(columns)


def _ratio(fit: Fit, other: Fit) -> tuple[float, float]:
    """Return the mean over blocks of the logarithm of two fits' losses, and its error."""
    logs = np.log(fit.losses / other.losses)
    return float(logs.mean()), float(logs.std() / np.sqrt(max(len(logs) - 1, 1)))


def _standard(z: np.ndarray) -> np.ndarray:
    spread = z.std(axis=0)
    return (z - z.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _orthogonal(z: np.ndarray) -> np.ndarray:
    """Return z in columns without mean, each of what the former ones leave, of variance 1."""
    u = _standard(z)
    for k in range(1, u.shape[1]):
        for _ in range(2):
            u[:, k] -= u[:, :k] @ (u[:, :k].T @ u[:, k]) / len(u)
        spread = u[:, k].std()
        u[:, k] /= spread if spread > 0 else 1.0
    return u


def _n_terms(n: int, degree: int) -> int:
    terms = 1
    for order in range(1, degree + 1):
        terms = terms * (n + order) // order
    return terms
