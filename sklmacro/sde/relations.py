"""Exact relations between the increments of components, and coordinates that keep them.

Some components never change, others follow from the rest, as the last of fractions that sum up to
one. With f the components that are free and r the others,

    dz_r = E dz_f,   E = 0 for what is conserved;   c = z_r - E z_f is constant along every path

A model is one of the free components alone. It sees the coordinates (z_f, c), in which c serves as
context does, and its drift and diffusion are those of z by

    mu = F mu_f,   L = F L_f,   F = 1 for the free components, E for the others

so that relations hold as exactly as numbers can, in drift, diffusion and paths.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklmacro._base.units import ROUNDING, binary_unit, largest
from sklmacro.sde.likelihood import Increments

TOLERANCE = 1e-10  # what is left of increments, over their size, that counts as none
SQUARED = 1e-13  # the same of covariances
SNAP = 1e-9  # relative distance to a number of few digits, which is then meant
FEW = 1000  # pairs, spread over all, that are asked first
DIGITS = 1 << 10  # binary ones of such a number


@dataclass(frozen=True)
class Relations:
    """Which components are free, and how the others follow them.

    Attributes
    ----------
    free : ndarray of int, shape (d_free,)
        Components that are free, in increasing order.
    matrix : ndarray of shape (d - d_free, d_free)
        E, for the other components in increasing order.
    """

    free: np.ndarray
    matrix: np.ndarray

    @cached_property
    def rest(self) -> np.ndarray:
        """The components that follow, shape (d - d_free,)."""
        return np.setdiff1d(np.arange(sum(self.matrix.shape)), self.free)

    @cached_property
    def embedding(self) -> np.ndarray:
        """F, shape (d, d_free)."""
        full = np.zeros((sum(self.matrix.shape), len(self.free)))
        full[self.free], full[self.rest] = np.eye(len(self.free)), self.matrix
        return full

    def split(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return z_f, z_r and the context of columns (..., d + n_context)."""
        d = sum(self.matrix.shape)
        return columns[..., self.free], columns[..., self.rest], columns[..., d:]

    def order(self, columns: np.ndarray) -> np.ndarray:
        """Return columns in the order of the coordinates."""
        return np.concatenate(self.split(columns), axis=-1)

    def coordinates(self, columns: np.ndarray) -> np.ndarray:
        """Return (z_f, c, context) for columns (z, context), both (n, d + n_context)."""
        free, rest, outer = self.split(columns)
        return np.hstack([free, rest - free @ self.matrix.T, outer])

    def sizes(self, columns: np.ndarray) -> np.ndarray:
        """Return the largest absolute value of what each coordinate is computed from."""
        free, rest, outer = self.split(np.abs(columns))
        return largest(np.hstack([free, rest + free @ np.abs(self.matrix).T, outer]))

    def states(self, paths: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Return paths (n, n_times, d) for those of the free components and c (n, d - d_free)."""
        full = np.empty((*paths.shape[:2], sum(self.matrix.shape)))
        full[..., self.free] = paths
        full[..., self.rest] = c[:, np.newaxis] + paths @ self.matrix.T
        return full

    def reduce(self, increments: Increments) -> Increments:
        """Return the increments of the free components."""
        cov = increments.cov
        if cov is not None:
            cov = np.ascontiguousarray(cov[:, self.free[:, np.newaxis], self.free])
        return replace(increments, dz=np.ascontiguousarray(increments.dz[:, self.free]), cov=cov)

    def expand(self, values: np.ndarray) -> np.ndarray:
        """Return F times what the free components have, (n, d_free) or (n, d_free, m)."""
        return values @ self.embedding.T if values.ndim == 2 else self.embedding @ values


def find_relations(z: np.ndarray, increments: Increments, parity: np.ndarray) -> Relations | None:
    """Return the relations that the increments of all pairs obey; None where there are none.

    Components follow those before them, of the same sign in `parity` (d,): with a symmetry the two
    kinds obey relations of their own. They are compared in their own units, with what rounding
    makes of differences of macrostates z (n, d), or of sums over events. From fewer than 2 d rows
    that are not 0 only what is conserved is told.
    """
    some = slice(None, None, max(1, len(z) // FEW))
    if _search(z[some], increments.take(some), parity) is None:
        return None
    return _search(z, increments, parity)


def _search(z: np.ndarray, increments: Increments, parity: np.ndarray) -> Relations | None:
    """Return the relations that the increments of these pairs obey."""
    rows, unit, rounding, tolerance = _normalised(z, increments)
    d, n_rows = len(unit), max(int(rows.any(axis=1).sum()), 1)
    triangle = np.linalg.qr(rows, mode="r") / np.sqrt(n_rows)
    free: list[int] = []
    matrix = np.zeros((d, d))
    for j, column in enumerate(triangle.T):
        size = np.linalg.norm(column)
        if size <= rounding[j]:
            continue
        before = [k for k in free if parity[k] == parity[j]] if n_rows > 2 * d else []
        others = triangle[:, before]
        a = np.linalg.lstsq(others, column, rcond=None)[0] if before else np.zeros(0)
        for row in (_snapped(a), a):
            allowed = tolerance * size + rounding[j] + np.abs(row) @ rounding[before]
            if before and np.linalg.norm(column - others @ row) <= allowed:
                matrix[j, before] = row * unit[j] / unit[before]
                break
        else:
            free.append(j)
    if len(free) == d:
        return None
    rest = np.setdiff1d(np.arange(d), free)
    return Relations(np.array(free, np.int64), matrix[rest][:, free])


def _normalised(
    z: np.ndarray, increments: Increments
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return what relations annul (m, d), in units (d,), its rounding (d,), and the tolerance.

    Of moments these are the means and the rows of the covariances, which are squares.
    """
    amount, size = increments.sizes(), largest(z)
    unit = binary_unit(amount)
    own = increments.in_units(unit, 1.0)
    if own.cov is None:
        return own.dz, unit, ROUNDING * size / unit, TOLERANCE
    relative = np.divide(amount, size, out=np.zeros_like(amount), where=size > 0)
    rows = [own.cov.reshape(-1, len(unit)), own.dz * (SQUARED / TOLERANCE)]
    return np.concatenate(rows), unit, ROUNDING * relative.max() * size / unit, SQUARED


def _snapped(a: np.ndarray) -> np.ndarray:
    """Return coefficients, those near a number of few binary digits replaced by it."""
    mantissa, exponent = np.frexp(np.where(np.abs(a) > SNAP, a, 0.0))
    near = np.ldexp(np.rint(mantissa * DIGITS) / DIGITS, exponent)
    return np.where(np.abs(near - a) <= SNAP * np.maximum(np.abs(a), 1.0), near, a)
