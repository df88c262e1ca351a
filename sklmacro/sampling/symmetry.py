"""Symmetries of the dynamics, and snapshots turned and mirrored by them.

If a map g of snapshots commutes with the dynamics in law, g(x_t) evolves into g(x_{t+dt}), then the
pairs made from g(x) are as good as those made from x. A simulator declares two kinds:

- `parity`: the mirror image -x evolves as x does, and its observables are `parity` times those of
  x. The conditional mean b of the increments then has b(P z) = P b(z), P = diag(parity).
- `isotropic`: so does every image under the point group of the lattice's box, the permutations and
  reflections of its axes that keep its shape. Observables are the same.

Shape vocabulary::

    element       (axes, flipped)      axis `axes[k]` becomes axis k, then axes are reversed
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product

import numpy as np

from sklmacro._base.streams import Stage, Streams, choose
from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators import Simulator

Element = tuple[tuple[int, ...], tuple[int, ...]]
ONE_SITE = ("chain", "square", "cubic")  # lattices whose cells look the same from all sides


def point_group(lattice: Lattice) -> list[Element]:
    """Return the permutations and reflections of the axes that map a lattice onto itself.

    They are 2, 8 and 48 for a chain, a square and a cube, and fewer for boxes of unequal sides. For
    crystals with a basis only the identity is given, which comes first in every case.
    """
    axes = tuple(range(lattice.ndim))
    if lattice.kind not in ONE_SITE:
        return [(axes, ())]
    return [
        (order, tuple(axis for axis in axes if signs[axis]))
        for order in permutations(axes)
        if tuple(lattice.cells[a] for a in order) == lattice.cells
        for signs in product((0, 1), repeat=lattice.ndim)
    ]


def turn(x: np.ndarray, element: Element) -> np.ndarray:
    """Return a snapshot x (*cells[, n_fields]) turned by an element of the point group: a view."""
    axes, flipped = element
    return np.flip(x.transpose(*axes, *range(len(axes), x.ndim)), flipped)


@dataclass(frozen=True)
class Augmentation:
    """Images of snapshots of a lattice under the symmetries that a simulator declares.

    One that declares none is a ValueError.
    """

    simulator: Simulator
    lattice: Lattice

    def __post_init__(self) -> None:
        if self.simulator.parity is None and len(self.elements) == 1:
            raise ValueError(
                "Expected a simulator that declares symmetries, for augment=True, but got "
                f"{self.simulator!r} on a {self.lattice.kind} lattice, which has neither parity "
                "nor turns of its lattice; use augment=False."
            )

    @cached_property
    def elements(self) -> list[Element]:
        """Point group, of the identity alone where the simulator is not isotropic."""
        group = point_group(self.lattice)
        return group if self.simulator.isotropic else group[:1]

    def fill(self, rows: np.ndarray, X: np.ndarray, numbers: np.ndarray, entropy: int) -> None:
        """Fill `rows` (n_samples or 2 n_samples, ...) with the images of X (n_samples, ...).

        Snapshot k is turned by a random element of the point group, drawn from the stream that its
        number of `numbers` (n_samples,) names. It gives row k, or, where there are mirror images,
        rows 2 k and 2 k + 1, the second the mirror image of the first.
        """
        keys = Streams(entropy, Stage.AUGMENT, numbers).keys[:, 0]
        images = zip(X, choose(len(self.elements), 1, keys)[:, 0], strict=True)
        copies = 1 if self.simulator.parity is None else 2
        for k, (x, element) in enumerate(images):
            rows[copies * k] = turn(x, self.elements[element])
            if copies == 2:
                rows[2 * k + 1] = -rows[2 * k]
