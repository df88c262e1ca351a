"""Energy barriers of vacancy jumps, behind one interface.

A barrier model says which sites it looks at, those within `radius` lattice constants of the
vacancy, and turns the species found there into the barriers of the z jumps to the nearest sites.

Shape vocabulary::

    environments  (m, n_sites) int8     species around each vacancy: 0 vacancy or nothing, 1 ... n
    basis         (m,) int64            which basis site of the unit cell each vacancy is on
    barriers      (m, z)                eV; the order of jumps is that of the displacements

Environments and jumps are listed in lexicographic order of the displacements, see
`sklmacro.lattice.lattice.offsets_within`. Barriers do not depend on the temperature.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import uint64

from sklmacro._base.checks import check_choice, check_finite, check_numbers, check_real
from sklmacro._base.kernels import njit
from sklmacro.lattice.lattice import KINDS, nearest_distance, offsets_within
from sklmacro.simulators.machine.vectors import CHAINS, SHORT, sum_rows


@njit(nogil=True)
def _ask(environment: np.ndarray, b: int, out: np.ndarray, params: Any) -> bool:
    """Leave the barriers to Python."""
    return False


LARGEST_RADIUS = 10.0  # lattice constants: thousands of sites


class BarrierModel:
    """Base of the barrier models; a subclass writes `evaluate`, or `compiled` for a fast kernel.

    A model that is to be saved keeps the arguments of its constructor under their own names.

    Parameters
    ----------
    kind : str
        Kind of lattice, see `Lattice`.
    radius : float
        How far the model looks, in lattice constants.
    n_species : int
        Number of species that it knows.
    """

    storable = True  # in files, by the arguments of its constructor

    def __init__(self, kind: str, radius: float, n_species: int):
        self.kind = check_choice(kind, "kind", KINDS)
        self.radius = check_real(radius, "radius", low=nearest_distance(kind), high=LARGEST_RADIUS)
        self.n_species = n_species

    def evaluate(self, environments: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return the barriers (m, z) in eV of environments (m, n_sites)."""
        kernel, params = self.compiled()
        if kernel is _ask:
            raise NotImplementedError(f"{type(self).__name__} does not evaluate barriers.")
        environments = np.asarray(environments, np.int8)
        out = np.empty((len(environments), self.jumps.shape[1]))
        for environment, b, row in zip(environments, basis, out, strict=True):
            kernel(environment, b, row, params)
        return out

    def compiled(self) -> tuple[Callable, Any]:
        """Return a numba function and the arrays that it works with.

        The function `(environment, b, out, params) -> bool` fills the barriers `out` (z,) of one
        environment (n_sites,) of a vacancy on basis site b and returns True. The default returns
        False, upon which `evaluate` is asked.
        """
        return _ask, None

    @property
    def offsets(self) -> np.ndarray:
        """Sites around each basis site, int (n_basis, n_sites, ndim + 1)."""
        return offsets_within(self.kind, self.radius)

    @cached_property
    def jumps(self) -> np.ndarray:
        """Where the z nearest sites stand in an environment, int (n_basis, z)."""
        return positions_in(self.offsets, offsets_within(self.kind, nearest_distance(self.kind)))

    def __sklearn_clone__(self) -> "BarrierModel":
        return self  # a model is never changed, so that clones of a simulator can share it


def positions_in(offsets: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where each of the offsets `wanted` (n_basis, z, ndim + 1) stands in `offsets`."""
    equal = (offsets[:, np.newaxis] == wanted[:, :, np.newaxis]).all(axis=-1)
    return equal.argmax(axis=-1)


@lru_cache(maxsize=64)
def sites_out_of_reach(kind: str, radius: float) -> np.ndarray:
    """Return which sites around a vacancy are too far away once it has jumped.

    Returns
    -------
    behind : ndarray of int, shape (n_basis, z, q)
        Their places in the environment, for each jump; filled up by repeating one of them.
    """
    halo, shell = offsets_within(kind, radius), offsets_within(kind, nearest_distance(kind))
    lists = []
    for b, steps in enumerate(shell):
        for step in steps:
            moved = halo[b] - np.append(step[:-1], 0)  # seen from the new place
            near = np.append(halo[step[-1]], [np.append(np.zeros_like(step[:-1]), step[-1])], 0)
            lists.append(np.flatnonzero(~(moved[:, np.newaxis] == near).all(axis=2).any(axis=1)))
    longest = max(map(len, lists))
    behind = np.array([np.resize(one, longest) for one in lists])
    return behind.reshape(*shell.shape[:2], longest)


class Tables(NamedTuple):
    """Tables of a cluster expansion, and memory to work in."""

    rows: np.ndarray  # (n_basis, n_states**2 (n_sites / 2 + n_pairs) + 1, z * n_species)
    pairs: np.ndarray  # (n_basis, 2, n_pairs)
    jumps: np.ndarray  # (n_basis, z)
    chosen: np.ndarray  # numbers of the rows that an environment adds up
    total: np.ndarray  # (z * n_species,) their sum
    n_species: np.uint64


@njit(nogil=True)
def _sum_clusters(environment: np.ndarray, b: int, out: np.ndarray, tables: Tables) -> bool:
    """Fill the barriers of one environment from tables.

    Every two sites, and every pair, add a row of z * n_species numbers, for each jump and each
    species that might make it. Those of the species that are there remain.
    """
    rows, pairs, jumps, chosen, total, n_species = tables
    s, z = n_species + uint64(1), out.shape[0]
    half, start = uint64(environment.shape[0] // 2), uint64(0)
    for q in range(half):
        k = q + q
        chosen[q] = start + s * uint64(environment[k]) + uint64(environment[k + uint64(1)])
        start += s * s
    if environment.shape[0] % 2 == 1:
        chosen[half] = start + s * uint64(environment[environment.shape[0] - 1])
        half, start = half + uint64(1), start + s * s
    for p in range(uint64(pairs.shape[2])):
        one, other = environment[pairs[b, 0, p]], environment[pairs[b, 1, p]]
        chosen[half + p] = start + s * uint64(one) + uint64(other)
        start += s * s
    sum_rows(rows[b], chosen, total)
    for d in range(z):
        atom = np.int64(environment[jumps[b, d]])
        barrier = total[d * np.int64(n_species) + (atom - 1 if atom > 0 else 0)]
        out[d] = barrier if atom > 0 else np.inf  # a vacancy makes no jump
    return True


class ClusterBarriers(BarrierModel):
    """Barriers as a cluster expansion: sums over the sites around the vacancy, and pairs of them.

        E_d = sum_k T[k, x_k, d, a] + sum_kl P[kl, x_k, x_l, d, a]

    with x_k the species on site k, and a that of the atom that makes jump d.

    Parameters
    ----------
    kind : str
        Kind of lattice.
    radius : float
        Radius of the environment in lattice constants.
    points : ndarray of shape (n_basis, n_sites, n_species + 1, z, n_species)
        T in eV, for each basis site that the vacancy can be on.
    pairs : ndarray of int, shape (n_basis, n_pairs, 2), default=None
        Sites k and l of each pair, by their places in the environment.
    joint : ndarray of shape (n_basis, n_pairs, n_species + 1, n_species + 1, z, n_species), \
            default=None
        P in eV.

    Raises
    ------
    ValueError
        If a table has another shape, or is not finite.
    """

    def __init__(self, kind: str, radius: float, points: Any, pairs: Any = None, joint: Any = None):
        points = check_finite(check_numbers(points, "points"), "points")
        super().__init__(kind, radius, points.shape[-1] if points.ndim else 0)
        n_basis, z = self.jumps.shape
        n_sites, s = self.offsets.shape[1], self.n_species + 1
        pairs = np.zeros((n_basis, 0, 2), int) if pairs is None else np.asarray(pairs)
        n_pairs = pairs.shape[1] if pairs.ndim == 3 else 0
        tail = (z, self.n_species)
        joint = np.zeros((n_basis, 0, s, s, *tail)) if joint is None else joint
        joint = check_finite(check_numbers(joint, "joint"), "joint")
        for name, array, shape in (
            ("points", points, (n_basis, n_sites, s, *tail)),
            ("pairs", pairs, (n_basis, n_pairs, 2)),
            ("joint", joint, (n_basis, n_pairs, s, s, *tail)),
        ):
            if array.shape != shape:
                raise ValueError(
                    f"Expected {name} of shape {shape} for {self.n_species} species on a {kind} "
                    f"lattice within {radius:g} lattice constants, but got {array.shape}; reshape "
                    "it, or choose the radius that it was made for."
                )
        if n_pairs and (pairs.dtype.kind not in "iu" or pairs.min() < 0 or pairs.max() >= n_sites):
            raise ValueError(
                f"Expected pairs of sites 0 to {n_sites - 1} of the environment, but got "
                f"{pairs.dtype} {pairs.min()} to {pairs.max()}; count the sites within the radius."
            )
        self.points, self.pairs, self.joint = points, pairs, joint
        # Sites by two, a missing last one empty; every row filled up to whole vectors.
        even = np.concatenate([points, np.zeros((n_basis, n_sites % 2, s, *tail))], axis=1)
        by_two = even[:, ::2, :, np.newaxis] + even[:, 1::2, np.newaxis]
        table = np.concatenate([by_two, joint], axis=1).reshape(n_basis, -1, z * self.n_species)
        self._rows = np.zeros(
            (n_basis, table.shape[1] + 1, -(-table.shape[2] // SHORT) * SHORT), np.float32
        )
        self._rows[:, :-1, : table.shape[2]] = table
        self._pairs = np.ascontiguousarray(pairs.swapaxes(1, 2), np.uint64)

    def compiled(self) -> tuple[Callable, Any]:
        """Return the kernel, its tables and memory to work in."""
        n_chosen = -(-self.offsets.shape[1] // 2) + self._pairs.shape[2]
        chosen = np.full(-(-n_chosen // CHAINS) * CHAINS, self._rows.shape[1] - 1, np.uint64)
        total, n_species = np.empty(self._rows.shape[2], np.float32), np.uint64(self.n_species)
        jumps = self.jumps.astype(np.uint64)
        return _sum_clusters, Tables(self._rows, self._pairs, jumps, chosen, total, n_species)


def pairwise_barriers(kind: str, energies: Any, saddle: Any) -> ClusterBarriers:
    """Return barriers that follow from energies of nearest-neighbour pairs.

        E_ij = E0[a] + (H' - H) / 2,        H = sum_<kl> V[x_k, x_l]

    where the jump of an atom a leads from energy H to H'. There and back differ by H' - H, so that
    the dynamics is in detailed balance with exp(-H / (k_B T)).

    Parameters
    ----------
    kind : str
        Kind of lattice.
    energies : array-like of shape (n_species + 1, n_species + 1)
        V in eV, symmetric; row and column 0 are those of a vacancy.
    saddle : float or array-like of shape (n_species,)
        E0 in eV, for each species.

    Returns
    -------
    model : ClusterBarriers

    Raises
    ------
    ValueError
        If V is not a symmetric matrix, or E0 does not go with it.

    Examples
    --------
    >>> from sklmacro.simulators import Alloy, pairwise_barriers
    >>> ordering = pairwise_barriers("fcc", [[0, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], saddle=0.8)
    >>> alloy = Alloy(temperature=600.0, barriers=ordering, species=("Cu", "Au"))
    >>> alloy.sample_initial(1, 4, random_state=0).shape
    (1, 4, 4, 4, 4)
    """
    V = check_finite(check_numbers(energies, "energies"), "energies")
    n = len(V) - 1 if V.ndim == 2 else 0
    if n < 1 or V.shape != (n + 1, n + 1) or not (V == V.T).all():
        raise ValueError(
            "Expected energies to be a symmetric matrix (n_species + 1, n_species + 1), row 0 "
            f"that of a vacancy, but got shape {V.shape}; make V[k, l] equal to V[l, k]."
        )
    E0 = check_finite(check_numbers(saddle, "saddle"), "saddle")
    if E0.shape not in ((), (n,)):
        raise ValueError(
            f"Expected saddle to be one energy or {n}, one for each species, but got {E0.shape}; "
            "pass a number."
        )
    reach = nearest_distance(check_choice(kind, "kind", KINDS))
    halo, shell = offsets_within(kind, 2 * reach), offsets_within(kind, reach)
    jumps = positions_in(halo, shell)
    table = np.zeros((*halo.shape[:2], n + 1, shell.shape[1], n))
    bond = (V[:, 1:] - V[:, :1]) / 2  # (x, a): half of what a in the place of a vacancy gains
    for b in range(len(halo)):
        for d, step in enumerate(shell[b]):
            for offset in np.setdiff1d(np.arange(shell.shape[1]), d):  # next to the vacancy
                table[b, jumps[b, offset], :, d] += bond
            for other in shell[step[-1]]:  # next to the atom before it jumps
                seen = np.append(step[:-1] + other[:-1], other[-1])
                if seen[:-1].any() or seen[-1] != b:  # all but the vacancy
                    k = np.flatnonzero((halo[b] == seen).all(axis=1))
                    table[b, k, :, d] -= bond
            table[b, jumps[b, d], :, d] += E0
    return ClusterBarriers(kind, 2 * reach, table)


class CallableBarriers(BarrierModel):
    """Barriers from a Python function: slow, and anything goes.

    Parameters
    ----------
    function : callable
        `function(environments, basis)` returns barriers (m, z) in eV; shapes as in the module.
    kind : str, default="bcc"
        Kind of lattice.
    radius : float, default=None
        How far the function looks, in lattice constants; None for the nearest sites only.
    n_species : int, default=3
        Number of species.
    """

    def __init__(
        self, function: Callable, kind: str = "bcc", radius: float | None = None, n_species: int = 3
    ):
        reach = nearest_distance(check_choice(kind, "kind", KINDS)) if radius is None else radius
        super().__init__(kind, reach, n_species)
        self.function = function

    def evaluate(self, environments: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return what the function returns, checked.

        Raises
        ------
        ValueError
            If it is not an array (m, z) of numbers without NaN.
        """
        barriers = check_numbers(self.function(environments, basis), "barriers")
        shape = (len(environments), self.jumps.shape[1])
        if barriers.shape != shape or np.isnan(barriers).any():
            raise ValueError(
                f"Expected the function of barriers to return numbers of shape {shape}, but got "
                f"shape {barriers.shape} with {np.isnan(barriers).sum()} NaN; return one barrier "
                "in eV for each jump, infinity for one that cannot be made."
            )
        return barriers
