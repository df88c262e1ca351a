"""Finite-size scaling at a critical point (Eqs. 25-29), with error bars.

With exponents beta, gamma and nu of the magnetisation M, the susceptibility and the correlation
length, on lattices of linear size L:

    <|M|>(T, L) = L^(-beta/nu) F((T - Tc) L^(1/nu)),    at Tc:  <|M|> ~ L^(-beta/nu)    (25, 27)
    chi = L^d / T (<M^2> - <|M|>^2),                    at Tc:  chi ~ L^(gamma/nu)      (26, 27)
    U(T, L) = 1 - <M^4> / (3 <M^2>^2),                  at Tc:  |dU/dT| ~ L^(1/nu)      (28, 29)

Curves of all sizes, y L^a against (T - Tc) L^(1/nu), fall on one for the right exponents. How well
they do is measured after Houdayer and Hartmann, Phys. Rev. B 70, 014418 (2004), appendix.

Shape vocabulary::

    T, L, y, error    (n_points,)      temperature, size, quantity and its standard error
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklmacro._base.checks import check_finite_numbers, check_integer, check_numbers, check_real


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class CollapseResidual:
    """How far data are from falling on one curve.

    Attributes
    ----------
    chi2 : float
        Mean over the points compared of the squared distance in standard errors: about 1 for a
        perfect collapse, NaN without errors.
    relative : float
        Root of the mean square of the distance over that of the values, no errors needed.
    n_points : int
        Number of points that could be compared.
    """

    chi2: float
    relative: float
    n_points: int


def power_law(L: Any, y: Any, error: Any = None) -> Estimate:
    """Return the exponent p of y ~ L^p (Eq. 27) by a weighted straight line, log y against log L.

    Parameters
    ----------
    L, y : array-like of shape (n_points,)
        Sizes and positive values.
    error : array-like of shape (n_points,), default=None
        Standard errors of y, which weight the points and give the exponent's. None weights all
        points alike and takes the error from their scatter about the line: at least 3 sizes.

    Raises
    ------
    ValueError
        If a number is not positive, or there are too few different sizes.

    Examples
    --------
    >>> from sklmacro.scoring import power_law
    >>> exponent = power_law([16, 32, 64], [0.71, 0.65, 0.60], [0.004, 0.004, 0.004])
    >>> round(exponent.value, 3), round(exponent.error, 3)
    (-0.122, 0.006)
    """
    L, y, error = check_points(L=L, y=y, error=error)
    _check_positive(L=L, y=y, error=error)
    _check_different(L, "sizes L", 2 if error is not None else 3)
    relative = None if error is None else error / y
    coefficients, covariance = _weighted_fit(np.log(L), np.log(y), relative, 1)
    return Estimate(float(coefficients[1]), float(np.sqrt(covariance[1, 1])))


def binder(M2: Any, M4: Any) -> np.ndarray:
    """Return the Binder cumulant U = 1 - <M^4> / (3 <M^2>^2) (Eq. 28), 2/3 for M = +-m.

    Parameters
    ----------
    M2, M4 : array-like
        Means of the second and fourth power of the magnetisation.
    """
    M2, M4 = (check_finite_numbers(m, "moments") for m in (M2, M4))
    _check_positive(M2=M2)
    return 1 - M4 / (3 * M2**2)


def susceptibility(M2: Any, M_abs: Any, L: Any, T: Any, *, ndim: int = 2) -> np.ndarray:
    """Return chi = L^ndim / T (<M^2> - <|M|>^2) (Eq. 26).

    Parameters
    ----------
    M2, M_abs : array-like
        Means of M^2 and of |M|.
    L, T : array-like
        Linear size and temperature.
    ndim : int, default=2
        Dimensions of space, so that L^ndim is the number of sites.
    """
    M2, M_abs = (check_finite_numbers(m, "moments") for m in (M2, M_abs))
    L, T = check_numbers(L, "L"), check_numbers(T, "T")
    _check_positive(L=L, T=T)
    return L**ndim / T * (M2 - M_abs**2)


def value_at(T: Any, y: Any, error: Any = None, *, at: float, degree: int = 2) -> Estimate:
    """Return y of one size at a temperature, from a weighted polynomial through all of them.

    Neighbouring temperatures share their noise that way.

    Parameters
    ----------
    T, y : array-like of shape (n_points,)
        Temperatures, and the values there.
    error : array-like of shape (n_points,), default=None
        Standard errors of y; None takes them from the scatter about the polynomial.
    at : float
        Temperature asked for.
    degree : int, default=2
        Degree of the polynomial.

    Raises
    ------
    ValueError
        If there are fewer different temperatures than the polynomial needs.
    """
    return _derivative(T, y, error, at, degree, order=0)


def binder_slope(T: Any, U: Any, error: Any = None, *, Tc: float, degree: int = 1) -> Estimate:
    """Return dU/dT at Tc of one size (Eq. 29), from a weighted polynomial in T - Tc.

    Parameters
    ----------
    T, U, error
        As `T`, `y` and `error` in `value_at`; U are Binder cumulants.
    Tc : float
        Critical temperature.
    degree : int, default=1
        Degree of the polynomial, at least 1.

    Raises
    ------
    ValueError : as in `value_at`
    """
    return _derivative(T, U, error, Tc, check_integer(degree, "degree", low=1), order=1)


def _derivative(T: Any, y: Any, error: Any, at: float, degree: int, order: int) -> Estimate:
    """Return a coefficient of a weighted polynomial in T - at."""
    T, y, error = check_points(T=T, y=y, error=error)
    _check_positive(error=error)
    degree, at = check_integer(degree, "degree", low=0), check_real(at, "temperature")
    _check_different(T, f"temperatures T, for degree {degree}", degree + 1 + (error is None))
    width = np.abs(T - at).max() or 1.0  # scaled to 1, lest powers be lost
    coefficients, covariance = _weighted_fit((T - at) / width, y, error, degree)
    spread = np.sqrt(covariance[order, order])
    return Estimate(float(coefficients[order] / width**order), float(spread / width**order))


def correlation_exponent(L: Any, slopes: Any, error: Any = None) -> Estimate:
    """Return nu from the slopes of the Binder cumulant, |dU/dT| ~ L^(1/nu) (Eq. 29).

    Parameters
    ----------
    L, slopes, error
        As `L`, `y` and `error` in `power_law`; slopes are dU/dT at Tc, of either sign.
    """
    inverse = power_law(L, np.abs(check_numbers(slopes, "slopes")), error)
    return Estimate(1 / inverse.value, inverse.error / inverse.value**2)


def collapse(
    T: Any, L: Any, y: Any, *, Tc: float, nu: float, exponent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (T - Tc) L^(1/nu) and y L^(-exponent), which fall on one curve (Eq. 25).

    Parameters
    ----------
    T, L, y : array-like of shape (n_points,)
        Temperatures, sizes, and a quantity that goes as L^exponent at Tc.
    Tc, nu : float
        Critical temperature and exponent of the correlation length.
    exponent : float
        -beta/nu for <|M|>, gamma/nu for chi, 0 for U.

    Returns
    -------
    x, scaled : ndarray of shape (n_points,)
    """
    T, L, y = (check_finite_numbers(v, name) for v, name in ((T, "T"), (L, "L"), (y, "y")))
    _check_positive(L=L)
    Tc, exponent = check_real(Tc, "Tc"), check_real(exponent, "exponent")
    nu = check_real(nu, "nu", low=0.0, strict=True)
    return (T - Tc) * L ** (1 / nu), y * L ** (-exponent)


def collapse_residual(
    T: Any, L: Any, y: Any, error: Any = None, *, Tc: float, nu: float, exponent: float
) -> CollapseResidual:
    """Return how far data of several sizes are from one curve, for given exponents.

    Each point is compared with a straight line, fitted by weighted least squares to its neighbours
    among the scaled points of every other size, the one on the left and the one on the right of it.
    Points without neighbours on both sides are left out. A point's squared distance is divided by
    its own variance plus the line's (Houdayer and Hartmann 2004). Curvature of the scaling function
    between neighbours counts as distance: space the temperatures closely.

    Parameters
    ----------
    T, L, y, Tc, nu, exponent
        As for :func:`collapse`; at least two sizes.
    error : array-like of shape (n_points,), default=None
        Standard errors of y.

    Raises
    ------
    ValueError
        If no point of one size lies between two of another.
    """
    T, L, y, error = check_points(T=T, L=L, y=y, error=error)
    _check_positive(error=error)
    x, scaled = collapse(T, L, y, Tc=Tc, nu=nu, exponent=exponent)
    sigma = np.ones(len(x)) if error is None else error * L ** (-float(exponent))
    order = np.argsort(x, kind="stable")
    curves = [order[size == L[order]] for size in np.unique(L)]
    distance, variance, value = [], [], []
    for i in range(len(x)):
        near: list[int] = []
        for curve in curves:
            k = int(np.searchsorted(x[curve], x[i]))
            if L[curve[0]] != L[i] and 0 < k < len(curve):
                near += [curve[k - 1], curve[k]]
        if near:
            line, covariance = _weighted_fit(x[near] - x[i], scaled[near], sigma[near], 1)
            distance.append(scaled[i] - line[0])
            variance.append(sigma[i] ** 2 + covariance[0, 0])
            value.append(line[0])
    if not distance:
        raise ValueError(
            "Expected sizes whose scaled temperatures overlap, but got no point of one size that "
            "lies between two of another; add temperatures or sizes."
        )
    squares, power = np.square(distance), np.square(value)
    chi2 = float(np.mean(squares / variance)) if error is not None else float("nan")
    relative = float(np.sqrt(squares.mean() / power.mean()))
    return CollapseResidual(chi2, relative, len(squares))


def _weighted_fit(
    x: np.ndarray, y: np.ndarray, error: np.ndarray | None, degree: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (degree + 1,) of powers of x and their covariance.

    Without errors the variance of y is taken from the residuals.
    """
    sigma = np.ones(len(x)) if error is None else error
    design = np.vander(x, degree + 1, increasing=True) / sigma[:, None]
    inverse = np.linalg.pinv(design)  # of full rank, or the shortest solution
    coefficients = inverse @ (y / sigma)
    covariance = inverse @ inverse.T
    if error is None:
        covariance *= np.sum((y - design @ coefficients) ** 2) / (len(x) - degree - 1)
    return coefficients, covariance


def check_points(**columns: Any) -> list[Any]:
    """Return columns of one length, or None in the place of one that is None, as checked floats."""
    given = {name: values for name, values in columns.items() if values is not None}
    arrays = {name: check_finite_numbers(values, name) for name, values in given.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(min(shapes)) != 1 or shapes == {(0,)}:
        raise ValueError(
            f"Expected {', '.join(arrays)} of one shape (n_points,), but got "
            f"{', '.join(str(a.shape) for a in arrays.values())}; pass one number for each point."
        )
    return [arrays.get(name) for name in columns]


def _check_positive(**arrays: np.ndarray | None) -> None:
    for name, array in arrays.items():
        if array is not None and not (array > 0).all():
            raise ValueError(
                f"Expected {name} to be positive, but got a smallest of {np.min(array):g}; remove "
                "such points."
            )


def _check_different(values: np.ndarray, name: str, least: int) -> None:
    n = len(np.unique(values))
    if n < least:
        raise ValueError(
            f"Expected at least {least} different {name}, but got {n}; add points, or pass their "
            "errors."
        )
