"""Equilibrium of a magnet near its critical point, in numbers with errors (Eqs. 26 and 28).

    chi = (L^2 / T) (<M^2> - <|M|>^2),      U = 1 - <M^4> / (3 <M^2>^2)

Errors are those of the jackknife over blocks. Blocks have to be longer than the memory of a series;
independent paths are blocks by themselves.
"""

from dataclasses import dataclass

import numpy as np

from sklmacro._base.checks import check_finite, check_integer
from sklmacro._base.jackknife import jackknife_error
from sklmacro.measures.scaling import binder, susceptibility

NAMES = ("mean |M|", "susceptibility", "Binder cumulant", "domain wall density")


@dataclass(frozen=True)
class Criticality:
    """Statistics of equilibrium, and their standard errors.

    Attributes
    ----------
    values, errors : ndarray of shape (4,)
        Mean of |M|, susceptibility chi, Binder cumulant U, mean domain wall density; see `NAMES`.
    """

    values: np.ndarray
    errors: np.ndarray

    def __str__(self) -> str:
        parts = zip(NAMES, self.values, self.errors, strict=True)
        return ", ".join(f"{name} {value:.5g} +- {error:.1g}" for name, value, error in parts)


def criticality(
    series: np.ndarray, n_sites: int, temperature: float, n_blocks: int = 64
) -> Criticality:
    """Return the statistics of one long series, or of many independent ones.

    Parameters
    ----------
    series : ndarray of shape (n_samples, 2) or (n_paths, n_times, 2)
        Magnetisation and domain wall density. A series is cut into `n_blocks` blocks of equal
        length, what is left over at its end is dropped; paths are the blocks themselves.
    n_sites : int
        Sites of the lattice, L^2.
    temperature : float
        Temperature in units of J/k_B.
    n_blocks : int, default=64
        Blocks of one series.

    Returns
    -------
    statistics : Criticality

    Raises
    ------
    ValueError
        If there are not at least two blocks, or values are not finite.
    """
    z = check_finite(np.asarray(series, float), "series")
    if z.ndim == 2:
        check_integer(n_blocks, "n_blocks", low=2)
        z = z[: len(z) // n_blocks * n_blocks].reshape(n_blocks, -1, z.shape[1])
    if z.ndim != 3 or len(z) < 2 or z.shape[1] < 1 or z.shape[2] != 2:
        raise ValueError(
            "Expected series of shape (n_samples, 2), one sample for each block or more, or "
            f"(n_paths >= 2, n_times, 2), but got {np.shape(series)}; pass more samples."
        )
    M2 = z[..., 0] ** 2
    moments = np.stack([np.sqrt(M2), M2, M2**2, z[..., 1]], axis=-1).mean(axis=1)
    n = len(moments)
    whole = moments.mean(axis=0)
    without = (n * whole - moments) / (n - 1)  # each block left out in turn
    errors = jackknife_error(_statistics(without, n_sites, temperature))
    return Criticality(_statistics(whole, n_sites, temperature), errors)


def _statistics(moments: np.ndarray, n_sites: int, temperature: float) -> np.ndarray:
    """Return the four statistics (..., 4) from the means (..., 4) of |M|, M^2, M^4 and walls."""
    m, m2, m4, walls = np.moveaxis(moments, -1, 0)
    chi = susceptibility(m2, m, np.sqrt(n_sites), temperature)
    return np.stack([m, chi, binder(m2, m4), walls], axis=-1)
