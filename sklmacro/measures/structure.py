"""Structure of snapshots in space: structure factors and second-moment correlation lengths.

    S_ab(k) = <a(k)* b(k)> / n,      a(k) = sum_i a_i exp(-i k r_i)
    xi      = sqrt(S(0) / S(k_min) - 1) / (2 sin(k_min / 2)),      S(0) = n (<a^2> - <a>^2)

The sum runs over all n sites, the fields a are taken at the wave vectors of the box of cells, and
S(0) belongs to the mean of a over the lattice. Fields are those of the snapshot: spins, real ones,
or for an alloy one indicator a species. Where the sign of a field is without meaning, <a> is 0.

Shape vocabulary::

    a        (n_channels, n_samples, *cells, n_basis)   fields
    power    (n_samples, n_pairs, n_shells)             S of each snapshot, averaged over a shell
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from scipy import sparse

from sklmacro._base.jackknife import jackknife_error
from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators import Simulator

N_BLOCKS = 50  # of the jackknife
SITES_AT_A_TIME = 1 << 20  # whose fields are transformed together


@dataclass(frozen=True, eq=False)
class Structure:
    """Structure factors of a batch of snapshots.

    Attributes
    ----------
    k : ndarray of shape (n_shells,)
        Mean wave number of each shell in 1 / lattice constant; shells are k_min wide.
    pairs : tuple of str
        Names of the pairs of fields, "a-b".
    power : ndarray of shape (n_samples, n_pairs, n_shells)
        S_ab of each snapshot, real part, averaged over the wave vectors of a shell.
    length, length_error : ndarray of shape (n_channels,)
        Correlation length xi of each field in lattice constants, and its jackknife error; NaN where
        S(0) is below S(k_min), as where the mean of a field is conserved.
    """

    k: np.ndarray
    pairs: tuple[str, ...]
    power: np.ndarray
    length: np.ndarray
    length_error: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """S_ab of the shells, the mean over snapshots, shape (n_pairs, n_shells)."""
        return self.power.mean(axis=0)

    @property
    def error(self) -> np.ndarray:
        """Standard error of `mean`, shape (n_pairs, n_shells)."""
        return self.power.std(axis=0, ddof=1) / np.sqrt(len(self.power))


def channel_names(simulator: Simulator) -> tuple[str, ...]:
    """Return the names of the fields whose structure is measured."""
    species = getattr(simulator, "species", None)
    if species is not None:
        return tuple(species)
    if simulator.two_valued:
        return ("spin",)
    return tuple(f"field {i}" for i in range(simulator.n_fields))


def structure(simulator: Simulator, X: np.ndarray, *, parity: bool = False) -> Structure:
    """Measure structure factors and correlation lengths of snapshots.

    Parameters
    ----------
    simulator : Simulator
        The one that X comes from.
    X : array-like of shape (n_samples, *site_shape[, n_fields])
        Independent snapshots, at least two.
    parity : bool, default=False
        Whether states of opposite sign are as likely, so that <a> is 0 in S(0).

    Returns
    -------
    measured : Structure

    Raises
    ------
    ValueError
        If there are fewer than two snapshots, or a lattice has a single cell.
    """
    X = simulator.check_snapshots(X)
    lattice = simulator.lattice(X.shape[1:])
    if len(X) < 2 or max(lattice.cells) < 2:
        raise ValueError(
            f"Expected two snapshots or more, of two cells or more, but got {len(X)} of "
            f"{lattice.cells} cells; pass more."
        )
    names = channel_names(simulator)
    which = list(combinations_with_replacement(range(len(names)), 2))
    number, phases = wave_numbers(lattice), _phases(lattice)
    least = number.flat[1:].min()
    shell = np.rint(number / least).astype(int).ravel()
    content = np.bincount(shell)
    average = sparse.csr_array((1 / content[shell], (shell, np.arange(len(shell)))))
    seen = np.flatnonzero(content[1:]) + 1  # without k = 0
    first = np.isclose(number.ravel(), least)
    power, lowest, means = [], [], []
    rows = max(1, SITES_AT_A_TIME // lattice.n_sites)
    for start in range(0, len(X), rows):
        fields = _fields(simulator, X[start : start + rows], lattice)
        a = _transform(fields, phases)  # (n_channels, rows, n_cells)
        means.append(a[..., 0].real.T / lattice.n_sites)
        both = [(a[i].conj() * a[j]).real / lattice.n_sites for i, j in which]
        power.append(np.stack([(average @ p.T)[seen].T for p in both], axis=1))
        alike = [p for p, (i, j) in zip(both, which, strict=True) if i == j]
        lowest.append(np.stack([p[:, first].mean(axis=1) for p in alike], axis=1))
    length, length_error = _lengths(
        np.concatenate(lowest), np.concatenate(means), lattice.n_sites, float(least), parity
    )
    return Structure(
        np.bincount(shell, number.ravel())[seen] / content[seen],
        tuple(f"{names[i]}-{names[j]}" for i, j in which),
        np.concatenate(power),
        length,
        length_error,
    )


def wave_vectors(lattice: Lattice) -> np.ndarray:
    """Return the wave vectors (*cells, ndim) of the box in 1 / lattice constant, in fft's order."""
    turns = np.meshgrid(*(np.fft.fftfreq(n) for n in lattice.cells), indexing="ij")
    return 2 * np.pi * np.stack(turns, axis=-1) @ np.linalg.inv(lattice.cell_vectors).T


def wave_numbers(lattice: Lattice) -> np.ndarray:
    """Return the lengths (*cells,) of the wave vectors."""
    return np.linalg.norm(wave_vectors(lattice), axis=-1)


def _phases(lattice: Lattice) -> np.ndarray:
    """Return exp(-i k r_b) (*cells, n_basis) for each wave vector and place r_b in the cell."""
    places = lattice.basis @ lattice.cell_vectors
    return np.exp(-1j * wave_vectors(lattice) @ places.T)


def _fields(simulator: Simulator, X: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Return the fields (n_channels, n_samples, *cells, n_basis) of snapshots."""
    species = getattr(simulator, "species", None)
    if species is not None:
        a = np.stack([k == X for k in range(1, len(species) + 1)]).astype(float)
    else:
        a = np.moveaxis(X, -1, 0) if simulator.n_fields > 1 else X[np.newaxis]
    return a.reshape(len(a), len(X), *lattice.cells, lattice.n_basis)


def _transform(a: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Return a(k) (n_channels, n_samples, n_cells) of what `_fields` returns."""
    waves = np.fft.fftn(a, axes=tuple(range(2, a.ndim - 1)))
    return (waves * phases).sum(axis=-1).reshape(*a.shape[:2], -1)


def _lengths(
    lowest: np.ndarray, means: np.ndarray, n_sites: int, least: float, parity: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return xi (n_channels,) and its error from S(k_min) and means (n_samples, n_channels)."""
    sums = np.stack([lowest, means**2, np.zeros_like(means) if parity else means])

    def xi(s_min: np.ndarray, square: np.ndarray, mean: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = n_sites * (square - mean**2) / s_min - 1
            real = (excess >= 0) & np.isfinite(excess)
            return np.sqrt(np.where(real, excess, np.nan)) / (2 * np.sin(least / 2))

    n = len(means)
    without = np.stack([xi(*part) for part in _means_without_blocks(sums, min(N_BLOCKS, n))])
    return xi(*sums.mean(axis=1)), jackknife_error(without)


def _means_without_blocks(sums: np.ndarray, n_blocks: int) -> Iterator[np.ndarray]:
    """Yield the means of values (3, n_samples, n_channels) without each of n_blocks blocks."""
    n, total = sums.shape[1], sums.sum(axis=1)
    for block in np.array_split(np.arange(n), n_blocks):
        yield (total - sums[:, block].sum(axis=1)) / (n - len(block))
