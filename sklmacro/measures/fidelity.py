"""Do upsampled snapshots look like directly simulated ones? Fidelity, with errors.

Upsampling keeps the law of the slow observables, say M, of the small system, and it may: the SDE is
learned from the states at given M. Those have to be right. What is compared is therefore the
conditional mean of every other observable, of the drift where it is known exactly, and of the
structure factor, on which the covariance with what is not observed depends:

    E[f | M] = sum_q c_q M^q,        c by least squares in either batch, errors not assumed equal,

The Wald statistic of the difference of coefficients, d^T (V + V')^-1 d, is a chi-square variable
where the two batches agree. Correlation lengths stand beside it, those of the law of all M; see
`sklmacro.measures.structure`.

Shape vocabulary::

    given    (n_samples, n_given)       slow observables
    f        (n_samples, n_quantities)  what is compared at given ones
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from sklmacro._base.checks import check_integer
from sklmacro.measures.structure import Structure, structure
from sklmacro.simulators import Simulator

ROUNDING = 1e-9  # relative difference of equal curves
N_NODES = 9  # values of the given observables at which the curves are stored


@dataclass(frozen=True, eq=False)
class Fidelity:
    """Upsampled snapshots next to directly simulated ones. The first of two is the upsampled.

    Attributes
    ----------
    given : tuple of str
        Names of the observables at given values of which the others are compared.
    quantities : tuple of str
        Names of what is compared: the other observables, then the drifts "d/dt ...".
    nodes : ndarray of shape (n_nodes, n_given)
        Given values at which `curves` are evaluated, spread over the reference.
    curves, curve_errors : ndarray of shape (2, n_quantities, n_nodes)
        Conditional means and their standard errors.
    difference, difference_error : ndarray of shape (n_quantities,)
        Mean over the reference's given values of the difference of the curves, and its standard
        error. Odd curves under parity are multiplied by the sign of the given value first.
    chi2 : ndarray of shape (n_quantities,)
        Wald statistic of the difference of curves.
    dof : ndarray of shape (n_quantities,)
        Its degrees of freedom.
    z_structure : ndarray of shape (n_pairs, n_shells)
        The same for the structure factor: `difference` in units of its error for each shell, 0
        where a shell never changes.
    structures : (Structure, Structure)
        Structure factors and correlation lengths, of the law of all given values.
    """

    given: tuple[str, ...]
    quantities: tuple[str, ...]
    nodes: np.ndarray
    curves: np.ndarray
    curve_errors: np.ndarray
    difference: np.ndarray
    difference_error: np.ndarray
    chi2: np.ndarray
    dof: np.ndarray
    z_structure: np.ndarray
    structures: tuple[Structure, Structure]

    @property
    def z(self) -> np.ndarray:
        """Differences of the curves in units of their errors, shape (n_quantities,).

        Curves without an error, as of what is conserved, agree (0) or do not (infinite).
        """
        exact = np.where(self.difference == 0, 0.0, np.copysign(np.inf, self.difference))
        known = self.difference_error > 0
        return np.divide(self.difference, self.difference_error, out=exact, where=known)

    @property
    def z_length(self) -> np.ndarray:
        """Differences of correlation lengths in units of their errors, (n_channels,)."""
        a, b = self.structures
        return (a.length - b.length) / np.hypot(a.length_error, b.length_error)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that `z_length` belongs to, which are paired with themselves."""
        parts = (pair.partition("-") for pair in self.structures[0].pairs)
        return tuple(a for a, _, b in parts if a == b)

    @property
    def p_value(self) -> float:
        """Chance of a difference as large in any curve or structure factor if there is none.

        By Bonferroni: the smallest p-value times their number, at most 1. The two families count
        for a half each, so that many shells do not hide a curve.
        """
        curves = stats.chi2.sf(self.chi2, np.maximum(self.dof, 1))
        shells = 2 * stats.norm.sf(np.abs(self.z_structure)).ravel()
        families = [p for p in (curves, shells) if len(p)]
        return float(min([1.0] + [len(families) * len(p) * p.min() for p in families]))

    def __str__(self) -> str:
        lines = [f"Fidelity at given {', '.join(self.given)}: p = {self.p_value:.2g}"]
        lines += [f"  {'':32s}{'difference':>12s}{'error':>9s}{'z':>7s}{'chi2':>8s}/dof"]
        columns = self.difference, self.difference_error, self.z, self.chi2, self.dof
        for row in zip(self.quantities, *columns, strict=True):
            lines.append("  {:32s}{:12.2e}{:9.1e}{:7.1f}{:8.1f}/{:d}".format(*row))
        a, b = self.structures
        for pair, z in zip(a.pairs, self.z_structure, strict=True):
            worst = int(np.abs(z).argmax())
            text = f"largest z {z[worst]:.1f} of {len(z)} shells, at k = {a.k[worst]:.2f}"
            lines.append(f"  S(k) {pair:27s}{text}")
        for i, (name, z) in enumerate(zip(self.fields, self.z_length, strict=True)):
            one, other = (f"{s.length[i]:.3g} +- {s.length_error[i]:.1g}" for s in (a, b))
            lines.append(f"  xi {name:29s}{one} against {other}, z {z:.1f}")
        return "\n".join(lines)


def fidelity(
    simulator: Simulator,
    X: Any,
    reference: Any,
    *,
    given: tuple[str, ...] | None = None,
    parity: bool = False,
    degree: int = 4,
) -> Fidelity:
    """Compare upsampled with directly simulated snapshots of one size.

    Parameters
    ----------
    simulator : Simulator
        The one that both come from.
    X : array-like of shape (n_samples, *site_shape[, n_fields])
        Upsampled snapshots, independent of each other.
    reference : array-like of shape (m_samples, *site_shape[, n_fields])
        Directly simulated ones, independent of each other.
    given : tuple of str, default=None
        Names of the slow observables; None takes the first observable.
    parity : bool, default=False
        Whether the law stays the same when the fields change sign, as that of Ising without a
        field does. Then the given observables and their drifts are odd, all else is even.
    degree : int, default=4
        Largest power of the given observables in conditional means; odd ones have one more. Where
        their laws differ much, raise it: curves of too low a degree depend on the law.

    Raises
    ------
    ValueError
        If sizes differ, there are too few snapshots, or a name is not that of an observable.

    Examples
    --------
    >>> from sklmacro.scoring import fidelity
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=4.0)
    >>> X, _ = ising.advance(ising.sample_initial(400, 8, random_state=0), duration=30.0,
    ...                      random_state=1)
    >>> fidelity(ising, X[:200], X[200:], parity=True).p_value > 0.01
    True
    >>> fidelity(ising, X[:200], abs(X[200:]), parity=True).p_value < 1e-6
    True
    """
    batches = [simulator.check_snapshots(batch) for batch in (X, reference)]
    names = simulator.observable_names
    given = names[:1] if given is None else tuple(given)
    check_integer(degree, "degree", low=1)
    unknown = [name for name in given if name not in names]
    if unknown or not given:
        raise ValueError(
            f"Expected given to name observables of {type(simulator).__name__}, {names}, but got "
            f"{given!r}; choose some of them."
        )
    fewest = 10 * (1 + len(given) * (degree + 1))
    shapes = [batch.shape for batch in batches]
    if shapes[0][1:] != shapes[1][1:] or min(len(batch) for batch in batches) < fewest:
        raise ValueError(
            f"Expected two batches of equal snapshots, each of {fewest} or more for "
            f"{len(given)} given observables with degree={degree}, but got {shapes[0]} and "
            f"{shapes[1]}; simulate the size of X, and pass more or lower the degree."
        )
    slow = [names.index(name) for name in given]
    others = [i for i in range(len(names)) if i not in slow]
    z = [simulator.observe(batch) for batch in batches]
    observed, values = [a[:, slow] for a in z], [a[:, others] for a in z]
    known: list[int] = []  # drifts
    if simulator.process is not None:
        known = list(range(len(names)))
        drifts = (simulator.moments(batch)[0] for batch in batches)
        values = [np.hstack(pair) for pair in zip(values, drifts, strict=True)]
    odd = [False] * len(others) + [parity and i in slow for i in known]
    scale = np.sqrt((observed[1] ** 2).mean(axis=0))
    scale[scale == 0] = 1.0
    nodes = _nodes(np.abs(observed[1]) if parity else observed[1])
    curves, errors = np.empty((2, 2, len(odd), len(nodes)))
    difference, difference_error, chi2, dof = np.empty((4, len(odd)))
    for q, is_odd in enumerate(odd):
        *powers, at = (_powers(w / scale, degree, parity, is_odd) for w in (*observed, nodes))
        sign = np.sign(observed[1][:, :1]) if is_odd else 1.0
        fits = [_fit(A, f[:, q]) for A, f in zip(powers, values, strict=True)]
        for side, (c, V) in enumerate(fits):
            curves[side, q] = at @ c
            errors[side, q] = np.sqrt(np.einsum("ni,ij,nj->n", at, V, at))
        weight = (sign * powers[1]).mean(axis=0)
        difference[q], difference_error[q], d, V = _difference(fits[0], fits[1], weight)
        chi2[q], dof[q] = d @ np.linalg.pinv(V, hermitian=True) @ d, np.linalg.matrix_rank(V)
        if np.abs(d).max() <= ROUNDING * np.abs(values[1][:, q]).max():
            difference[q] = chi2[q] = 0.0  # a function of what is given, but for rounding
        elif dof[q] == 0:
            chi2[q] = np.inf  # two that are exact, and differ
    a, b = (structure(simulator, batch, parity=parity) for batch in batches)
    here, there = (_powers(w / scale, degree, parity, False) for w in observed)
    return Fidelity(
        given, tuple(names[i] for i in others) + tuple(f"d/dt {names[i]}" for i in known),
        nodes, curves, errors, difference, difference_error, chi2, dof.astype(int),
        _structure_scores(here, there, a.power, b.power), (a, b),
    )  # fmt: skip


def _structure_scores(
    here: np.ndarray, there: np.ndarray, power: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Return the differences (n_pairs, n_shells) of S at given values over their errors.

    `here` and `there` are the powers of the given values in the two batches.
    """
    scores = np.zeros(power.shape[1:])
    for place in np.ndindex(scores.shape):
        f, g = power[:, *place], reference[:, *place]
        size = max(np.abs(f).max(), np.abs(g).max())
        if f.std() + g.std() > ROUNDING * size:  # not of a field that never changes
            value, error, _, _ = _difference(_fit(here, f), _fit(there, g), there.mean(axis=0))
            scores[place] = value / error
    return scores


def _difference(
    fit: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], weight: np.ndarray
) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Return the weighted difference of two fits and its error, and that of all coefficients."""
    d, V = fit[0] - other[0], fit[1] + other[1]
    return float(weight @ d), float(np.sqrt(weight @ V @ weight)), d, V


def _nodes(given: np.ndarray) -> np.ndarray:
    """Return given values (n_nodes, n_given): means over parts of equal size by the first one."""
    parts = np.array_split(given[np.argsort(given[:, 0], kind="stable")], N_NODES)
    return np.array([part.mean(axis=0) for part in parts])


def _powers(w: np.ndarray, degree: int, parity: bool, odd: bool) -> np.ndarray:
    """Return the powers (n, n_powers) of given values (n, n_given) that symmetry allows."""
    if odd:
        return np.hstack([w**p for p in range(1, degree + 2, 2)])
    step = 2 if parity else 1
    constant = np.ones((len(w), 1))
    return np.hstack([constant, *(w**p for p in range(step, degree + 1, step))])


def _fit(A: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return least-squares coefficients (n_powers,) of f (n,), and their covariance.

    The covariance is that of H. White, Econometrica 48, 817 (1980), with the factor n / (n - k):
    errors need not be alike at all given values.
    """
    inverse = np.linalg.pinv(A.T @ A, hermitian=True) @ A.T
    c = inverse @ f
    weighted = inverse * (f - A @ c)
    return c, len(f) / (len(f) - A.shape[1]) * weighted @ weighted.T
