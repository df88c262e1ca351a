"""A lattice seen in a plane: its sites, and the outlines of boxes of cells.

Crystals are seen along an edge of their cells, so that boxes of cells are parallelograms.

Shape vocabulary::

    place    (n, 2)       positions in the plane, in lattice constants
    box      origin (ndim,), extent (ndim,)      cells, wrapped on a periodic lattice
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sklmacro.lattice.lattice import Lattice

Box = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Plane:
    """Two axes of a lattice of cells, and of a three-dimensional one a layer across the third.

    Parameters
    ----------
    lattice : Lattice
        Of two or three dimensions.
    axis : int, default=2
        Axis across the layer; of no use in two dimensions.
    layer : int, default=0
        Cell of the layer along that axis.
    """

    lattice: Lattice
    axis: int = 2
    layer: int = 0

    @property
    def axes(self) -> tuple[int, int]:
        """Axes of cells in the plane."""
        first, second = (k for k in range(self.lattice.ndim) if k != self.axis)
        return first, second

    @cached_property
    def vectors(self) -> np.ndarray:
        """Edges of a cell in the plane, (2, 2): the first along the horizontal axis."""
        edges = self.lattice.cell_vectors[list(self.axes)]
        along = edges[0] / np.linalg.norm(edges[0])
        across = edges[1] - (edges[1] @ along) * along
        return edges @ np.stack([along, across / np.linalg.norm(across)], axis=1)

    @property
    def corner(self) -> np.ndarray:
        """Corner of cell 0 in fractions of its edges, (2,), so that its sites are at its centre."""
        return self.lattice.basis[:, list(self.axes)].mean(axis=0) - 0.5

    def take(self, x: np.ndarray) -> np.ndarray:
        """Return the sites of a snapshot (*site_shape) in the layer, (n_first, n_second, ...)."""
        return x if self.lattice.ndim == 2 else np.take(x, self.layer, axis=self.axis)

    def places(self) -> np.ndarray:
        """Return where the sites of the layer stand, in the order of `take`."""
        counts = [self.lattice.cells[k] for k in self.axes]
        cells = np.indices(counts).reshape(2, -1).T
        sites = cells[:, None] + self.lattice.basis[:, list(self.axes)]
        return sites.reshape(-1, 2) @ self.vectors

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper ends (2,) of the plane."""
        counts = np.array([self.lattice.cells[k] for k in self.axes])
        unit = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        ends = (self.corner + unit * counts) @ self.vectors
        return ends.min(axis=0), ends.max(axis=0)

    def _cuts(self, box: Box) -> bool:
        if self.lattice.ndim == 2:
            return True
        origin, extent = box[0][self.axis], box[1][self.axis]
        return (self.layer - origin) % self.lattice.cells[self.axis] < extent

    def outline(self, box: Box) -> np.ndarray:
        """Return the edges of a box in the plane, (n_edges, 2, 2): none where the layer misses it.

        A box that is wrapped has no edges along the borders of the lattice.
        """
        if not self._cuts(box):
            return np.empty((0, 2, 2))
        spans, ends = [], []
        for k in self.axes:
            pieces, edges = wrap_span(box[0][k], box[1][k], self.lattice.cells[k])
            spans.append(pieces)
            ends.append(edges)
        lines = [((at, low), (at, high)) for at in ends[0] for low, high in spans[1]]
        lines += [((low, at), (high, at)) for at in ends[1] for low, high in spans[0]]
        return (np.array(lines, float).reshape(-1, 2, 2) + self.corner) @ self.vectors


def wrap_span(origin: int, extent: int, n: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the pieces and the ends of a span of cells on an axis of n cells.

    A span that covers the axis has both its ends at the borders.
    """
    origin = 0 if extent == n else origin % n
    stop = origin + extent
    if stop <= n:
        return [(origin, stop)], [origin, stop]
    return [(origin, n), (0, stop - n)], [origin, stop - n]
