"""How far correlations reach: whether a law of one size can be that of another.

    S(k) = S(0) / (1 + xi^2 k^2),    k^2 = sum_axes (2 sin(pi j / N))^2       (Ornstein and Zernike)

S(k) is that of relaxed snapshots: every wave has the power S(k) in the mean, distributed
exponentially, and xi and S(0) are of maximum likelihood over the long waves. S(0) is at least
n Var(z*), what the law says of the spread of its paths in the end: near a critical point relaxed
patches hold no long waves as yet, and xi comes out too long rather than too short. Terms that a
lattice of N cells adds to drift and covariance per site are of the order of xi^d / n.

Shape vocabulary::

    density   (*cells, q)          of the slow observables
    power     (n_waves, q)         mean over snapshots
"""

from collections.abc import Sequence

import numpy as np

from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators import Simulator

MOST = 256  # snapshots
OLD = 0.75  # of the last age, from which they count as relaxed
LONGEST = 0.8  # k of the waves that count, over the lattice constant
FEWEST = 3  # different waves
CELLS_PER_LENGTH = 4  # which a lattice needs, to stand for larger ones
STEPS = np.geomspace(0.02, 10.0, 400)  # xi over cells along the longest axis


def correlation_length(simulator: Simulator, X: np.ndarray, spread: np.ndarray) -> float:
    """Return xi in cells, the largest of the slow observables.

    `X` are relaxed snapshots, `spread` (q,) is n Var(z*). NaN if the lattice is too small for three
    long waves.
    """
    X = X[np.linspace(0, len(X) - 1, min(MOST, len(X))).astype(int)]
    slow = [name not in simulator.fast_observables for name in simulator.observable_names]
    lattice, q = simulator.lattice(X.shape[1:]), simulator.n_observables
    power = np.zeros((*lattice.cells, q))
    for x in X:
        density = (
            np.asarray(simulator.density(x), float).reshape(*lattice.cells, -1, q).sum(axis=-2)
        )
        waves = np.fft.fftn(density, axes=tuple(range(lattice.ndim)))
        power += np.abs(waves) ** 2 / (lattice.n_sites * len(X))
    parts = (2 * np.sin(np.pi * np.arange(n) / n) for n in lattice.cells)
    k2 = np.sum(np.square(np.meshgrid(*parts, indexing="ij")), axis=0)
    long = (k2 > 0) & (k2 < LONGEST**2)
    moves = (power[long] > 0).all(axis=0) & (spread > 0) & (slow if any(slow) else True)
    if len(np.unique(k2[long].round(9))) < FEWEST or not moves.any():
        return np.nan
    lengths = np.append(0.0, STEPS * max(lattice.cells))
    shape = 1 / (1 + lengths[:, np.newaxis] ** 2 * k2[long])  # (n_lengths, n_waves)
    flat = power[long][:, moves].T @ (1 / shape).T / shape.shape[1]  # (q, n_lengths), of most S(0)
    largest = np.maximum(flat, spread[moves, np.newaxis])
    likelihood = -np.log(shape).mean(axis=-1) - np.log(largest) - flat / largest
    return float(lengths[likelihood.argmax(axis=-1)].max())


def relaxed(pairs: np.ndarray) -> np.ndarray:
    """Return the snapshots of pairs that have relaxed for long."""
    if "age" not in (pairs.dtype.names or ()):
        return pairs["x"]
    return pairs["x"][pairs["age"] >= OLD * pairs["age"].max()]


def check_other_size(lattice: Lattice, sizes: Sequence[int], length: float) -> None:
    """Refuse a lattice of another size than a law was learned at, where correlations are long.

    `sizes` are numbers of sites, in increasing order, and `length` is xi.
    """
    if lattice.n_sites in sizes or not sizes:
        return
    cells = (sizes[-1] / lattice.n_basis) ** (1 / lattice.ndim)
    if length * CELLS_PER_LENGTH > cells:
        raise ValueError(
            f"Expected correlations of at most {cells / CELLS_PER_LENGTH:.1f} cells, a quarter of "
            f"the lattice that the law was learned at, for one of {lattice.n_sites} sites, but got "
            f"{length:.1f}; learn it from larger snapshots, or at that size itself. "
            "model_['sde'].simulate(..., n_sites=...) does not ask."
        )
