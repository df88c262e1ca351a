"""Clusters: products of site functions at fixed offsets, whose means over sites are closures.

    zhat_c(x) = < f_0(x_{i + o_0}) f_1(x_{i + o_1}) ... >      mean over sites i and images of c

The images are those under the point group of the lattice where the dynamics are isotropic, and c
alone otherwise. A cluster has a name that says all: "s s (1,1)" is the product of two spins that
are diagonal neighbours, "s s s (0,1)(1,0)(0,-1)" that of three neighbours of a site, "Mo Mo shell
2" two Mo atoms at the second shortest distance, "u v (0)" two fields at one site.

Shape vocabulary::

    factor      (cell, basis, letters)   a site, and the numbers of the letters multiplied there
    instance    tuple of factors         the first of which is in cell 0
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, combinations_with_replacement, permutations, product

import numpy as np

from sklmacro.closure.site_functions import SiteFunctions
from sklmacro.lattice.lattice import Lattice, n_axes, nearest_distance, offsets_within

Cell = tuple[int, ...]
Factor = tuple[Cell, int, tuple[int, ...]]
Instance = tuple[Factor, ...]

FORM = re.compile(
    r"\s*(?P<letters>[^()]+?)\s*(shell (?P<shell>\d+)|(?P<offsets>(\([-\d,\s]+\))*))\s*"
)
FAR, NEAR = 4, 2  # default distances of pairs, of one letter and of several, in nearest distances
STAR = 5  # most sites of a shape
MOST_LETTERS, MOST_SHELLS = 32, 64


@dataclass(frozen=True)
class Cluster:
    """A product of site functions.

    Parameters
    ----------
    letters : tuple of str, (m,)
        Site functions: "s" for spins, names of states, or "u", "v", ... for fields.
    offsets : tuple of tuple of int, (m, ndim)
        Cells of the factors. None are needed for one letter.
    shell : int, default=None
        For two letters, in the place of offsets: the factors are at the shortest (1), second
        shortest (2), ... distance of sites.

    Examples
    --------
    >>> from sklmacro import Cluster
    >>> Cluster.from_name("s s (1,1)").name
    's s (1,1)'
    >>> Cluster(("u", "v"), ((0,), (0,))).name
    'u v (0)'
    """

    letters: tuple[str, ...]
    offsets: tuple[tuple[int, ...], ...] = ()
    shell: int | None = None

    @property
    def name(self) -> str:
        """Readable name, from which `from_name` makes the cluster."""
        letters = " ".join(self.letters)
        if self.shell is not None:
            return f"{letters} shell {self.shell}"
        offsets = self.offsets[1:] if len(self.offsets) == 2 else self.offsets
        return f"{letters} {''.join(map(_parentheses, offsets))}".strip()

    @classmethod
    def from_name(cls, name: str) -> "Cluster":
        """Return the cluster of a name; the first of m letters is at 0 for m - 1 offsets."""
        match = FORM.fullmatch(name)
        letters = tuple(match["letters"].split()) if match else ()
        if match and match["shell"] and len(letters) == 2:
            return cls(letters, shell=int(match["shell"]))
        if match and not match["shell"]:
            inside = re.findall(r"\(([^)]*)\)", match["offsets"] or "")
            offsets = tuple(tuple(int(o) for o in one.split(",")) for one in inside)
            if len(offsets) == len(letters) - 1 > 0:
                offsets = ((0,) * len(offsets[0]), *offsets)
            if len(offsets) == len(letters) or (len(letters) == 1 and not offsets):
                return cls(letters, offsets)
        raise ValueError(
            f"Expected the name of a cluster, such as 's s (1,1)' or 'Mo Mo shell 2', but got "
            f"{name!r}; name the letters, then an offset for each but the first, or a shell."
        )


def _parentheses(offset: Iterable[int]) -> str:
    return f"({','.join(map(str, offset))})"


# Images -------------------------------------------------------------------------------------------


def instances(
    cluster: Cluster, kind: str, isotropic: bool, functions: SiteFunctions
) -> list[Instance]:
    """Return the images of a cluster that start in cell 0, each once.

    On crystals with a basis they are all pairs of sites at a distance.

    Raises
    ------
    ValueError
        If the cluster does not go with the lattice or with the functions of a site.
    """
    ndim, n_basis = n_axes(kind), Lattice(kind, (1,) * n_axes(kind)).n_basis
    unknown = set(cluster.letters) - set(functions.letters)
    if unknown or not 0 < len(cluster.letters) <= MOST_LETTERS:
        raise ValueError(
            f"Expected clusters of 1 to {MOST_LETTERS} of the letters "
            f"{', '.join(functions.letters)}, but got {cluster.name!r}; use these letters."
        )
    numbers = [functions.letters.index(letter) for letter in cluster.letters]
    if cluster.shell is not None:
        if len(numbers) != 2 or not 0 <= cluster.shell <= MOST_SHELLS:
            raise ValueError(
                f"Expected two letters and a shell of 0 to {MOST_SHELLS}, but got "
                f"{cluster.name!r}; name offsets for other clusters."
            )
        places = _shell(kind, cluster.shell)
    elif n_basis > 1:
        if len(cluster.letters) > 1:
            raise ValueError(
                f"Expected a pair at a distance on a {kind} lattice, but got {cluster.name!r}; "
                "write for instance 'a b shell 1'."
            )
        places = [[((0,) * ndim, b)] for b in range(n_basis)]
    else:
        offsets = cluster.offsets or ((0,) * ndim,) * len(numbers)
        if len(offsets) != len(numbers) or any(len(o) != ndim for o in offsets):
            raise ValueError(
                f"Expected an offset of {ndim} cells for each letter on a {kind} lattice, but got "
                f"{cluster.name!r}; write one number for each axis."
            )
        turns = point_group(ndim) if isotropic else point_group(ndim)[:1]
        places = [[(_turn(o, turn), 0) for o in offsets] for turn in turns]
    found = {_canonical(place, numbers) for place in places}
    if functions.states and any(len(own) > 1 for one in found for _, _, own in one):
        raise ValueError(
            f"Expected indicators of states at different sites, but got {cluster.name!r}, of which "
            "two are at one site; one site has one state, so leave one out."
        )
    return sorted(found)


def _canonical(places: Sequence[tuple[Cell, int]], numbers: Sequence[int]) -> Instance:
    """Return factors in one order, moved to cell 0, letters at one site put together."""
    at: dict[tuple[Cell, int], list[int]] = {}
    for place, number in zip(places, numbers, strict=True):
        at.setdefault(place, []).append(number)
    factors = sorted((cell, basis, tuple(sorted(own))) for (cell, basis), own in at.items())
    first = factors[0][0]
    return tuple((tuple(np.subtract(c, first).tolist()), b, own) for c, b, own in factors)


@lru_cache
def point_group(ndim: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the turns and reflections of a cube: axes and signs, the identity first."""
    axes = range(ndim)
    return [(p, s) for p in permutations(axes) for s in product((1, -1), repeat=ndim)]


def _turn(offset: Cell, turn: tuple[tuple[int, ...], tuple[int, ...]]) -> Cell:
    axes, signs = turn
    return tuple(sign * offset[axis] for axis, sign in zip(axes, signs, strict=True))


@lru_cache
def _shell(kind: str, shell: int) -> list[list[tuple[Cell, int]]]:
    """Return all ordered pairs of sites at the distance of a shell, the first in cell 0."""
    ndim = n_axes(kind)
    lattice = Lattice(kind, (1,) * ndim)
    zero, vectors, basis = (0,) * ndim, lattice.cell_vectors, lattice.basis
    if shell == 0:
        return [[(zero, b), (zero, b)] for b in range(lattice.n_basis)]
    radius = nearest_distance(kind) * (1 + shell)  # a shell is at most a nearest distance wide
    offsets = offsets_within(kind, radius)
    steps = offsets[..., :-1] + basis[offsets[..., -1]] - basis[:, np.newaxis]
    distances = np.linalg.norm(steps @ vectors, axis=-1).round(6)
    wanted = np.unique(distances)[shell - 1]
    return [
        [(zero, b), (tuple(o[:-1].tolist()), int(o[-1]))]
        for b in range(lattice.n_basis)
        for o in offsets[b][distances[b] == wanted]
    ]


def n_shells(kind: str, distance: float) -> int:
    """Return the number of shells within a distance, in lattice constants."""
    lattice, offsets = Lattice(kind, (1,) * n_axes(kind)), offsets_within(kind, distance)[0]
    steps = offsets[:, :-1] + lattice.basis[offsets[:, -1]] - lattice.basis[0]
    return len(np.unique(np.linalg.norm(steps @ lattice.cell_vectors, axis=-1).round(6)))


# Library ------------------------------------------------------------------------------------------


def library(
    kind: str,
    isotropic: bool,
    functions: SiteFunctions,
    max_distance: float | None = None,
    *,
    shapes: bool = True,
) -> tuple[Cluster, ...]:
    """Return clusters that may matter: pairs by distance, then shapes of spins.

    Pairs are those up to `max_distance` in units of the nearest distance; None stands for 4 for
    spins and one field, and for 2 otherwise. Of fields there are also the pairs at one site, of
    states their shares, and of spins the subsets of a site and its neighbours, on which the rates
    of Ising models depend, and the plaquette, unless `shapes` are not wanted.
    """
    letters, spins = functions.independent, functions.letters == ("s",)
    if max_distance is None:
        max_distance = FAR if len(letters) == 1 else NEAR
    pairs = list(combinations_with_replacement(letters, 2))
    fields = not spins and not functions.states
    found = [Cluster((letter,)) for letter in letters] if functions.states else []
    if Lattice(kind, (1,) * n_axes(kind)).n_basis > 1:
        shells = range(
            0 if fields else 1, n_shells(kind, max_distance * nearest_distance(kind)) + 1
        )
        return (*found, *(Cluster(pair, shell=shell) for shell in shells for pair in pairs))
    zero = (0,) * n_axes(kind)
    if fields:
        found += [Cluster(pair, (zero, zero)) for pair in pairs]
    for offset in _offsets(kind, max_distance):
        for a, b in pairs:
            found += [Cluster((a, b), (zero, offset)), Cluster((b, a), (zero, offset))]
    if spins and shapes:
        found += [Cluster(("s",) * len(shape), shape) for shape in _shapes(kind)]
    unique: dict[tuple[Instance, ...], Cluster] = {}
    for cluster in found:
        unique.setdefault(tuple(instances(cluster, kind, isotropic, functions)), cluster)
    return tuple(unique.values())


def _offsets(kind: str, distance: float) -> list[Cell]:
    """Return offsets within a distance, nearest first, those of positive cells before others."""
    offsets = [tuple(o.tolist()) for o in offsets_within(kind, distance)[0, :, :-1]]
    return sorted(offsets, key=lambda o: (sum(c * c for c in o), [(c < 0, c) for c in o]))


def _shapes(kind: str) -> list[tuple[Cell, ...]]:
    """Return the sites of shapes: parts of a site and its neighbours, and the plaquette."""
    zero = (0,) * n_axes(kind)
    near = _offsets(kind, 1)
    star = [zero, *near[::2], *near[1::2]] if len(near) == 4 else [zero, *near]
    sizes = range(3, min(STAR if len(near) <= 4 else STAR - 1, len(star)) + 1)
    shapes = [shape for size in sizes for shape in combinations(star, size)]
    units = [o for o in near if max(o) == 1]
    for a, b in combinations(units, 2):
        shapes.append((zero, a, tuple(np.add(a, b).tolist()), b))
    return shapes
