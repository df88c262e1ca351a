"""Snapshots: spins, fields and atoms, with the evolved patches outlined."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Self

import numpy as np

from sklmacro._base.checks import check_cells, check_integer, check_unmasked
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid
from sklmacro.plots._axes import Display
from sklmacro.plots._plane import Box, Plane
from sklmacro.plots._sites import add_lines, chain_outline, draw_chain, draw_plane
from sklmacro.plots.style import GRID, OUTLINE
from sklmacro.sampling.pairs import (
    has_moments,
    is_snapshot_pairs,
    patch_cells,
)
from sklmacro.simulators import Alloy, Simulator

CHAIN = (7.5, 1.6), (7.5, 3.0)  # inches: discrete states, fields
PLANE = (4.6, 4.0)


@dataclass(eq=False, repr=False)
class SnapshotDisplay(Display):
    """One snapshot, with patches outlined.

    A chain is drawn as a strip of states, or as one curve for each field; a square lattice as one
    image for each field; a crystal as a layer of atoms, one cell thick and seen from above.

    Parameters
    ----------
    snapshot : ndarray of shape (*site_shape[, n_fields])
    lattice : Lattice
    states : mapping of int to str, default=None
        Discrete states and their names, from the darkest to the lightest; state 0 is left white.
        None for fields.
    names : sequence of str, default=None
        Names of the fields; None numbers them.
    windows : sequence of (origin, extent), default=()
        Boxes of cells to outline.
    patch : tuple of int, default=None
        Cells of the patches whose grid to draw.

    Attributes
    ----------
    images_ : list of matplotlib artists
        The states or fields: AxesImage, EllipseCollection or, for fields of a chain, Line2D.
    outlines_ : list of matplotlib LineCollection
        Edges of the windows, panel by panel.
    grid_lines_ : list of matplotlib LineCollection
        Edges of the patches, panel by panel.

    Examples
    --------
    >>> from sklmacro import PartialEvolutionSampler
    >>> from sklmacro.plots import SnapshotDisplay
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=2.5)
    >>> X = ising.sample_initial(3, 32, random_state=0)
    >>> pairs = PartialEvolutionSampler(ising, patch=8, random_state=0).fit_transform(X)
    >>> display = SnapshotDisplay.from_pairs(pairs, ising, index=1, patch_grid=True)
    >>> display.images_[0].get_array().shape, len(display.windows)
    ((32, 32), 1)
    """

    snapshot: np.ndarray
    lattice: Lattice
    _: KW_ONLY
    states: Mapping[int, str] | None = None
    names: Sequence[str] | None = None
    windows: Sequence[Box] = ()
    patch: tuple[int, ...] | None = None

    @classmethod
    def from_snapshot(
        cls,
        x: Any,
        simulator: Simulator,
        *,
        windows: Sequence[Box] = (),
        patch: int | Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Draw a snapshot of a simulator.

        Parameters
        ----------
        x : array-like of shape (*site_shape[, n_fields])
            One snapshot, such as X[0].
        simulator : Simulator
            The one that it comes from, which tells spins, atoms and fields apart.
        windows, patch, names
            As in the class; one integer for `patch` holds for all axes.
        **options : passed to `plot`

        Raises
        ------
        ValueError
            If x is not a snapshot of the simulator, or the patches do not tile it.
        """
        x = simulator.check_snapshots(np.asarray(check_unmasked(x, "x"))[np.newaxis])[0]
        lattice = simulator.lattice(x.shape)
        if patch is not None:
            patch = check_cells(patch, "patch", lattice.ndim)
        boxes = [lattice.box(*window) for window in windows]
        states = _states(simulator)
        return cls(x, lattice, states=states, names=names, windows=boxes, patch=patch).plot(
            **options
        )

    @classmethod
    def from_pairs(
        cls,
        pairs: Any,
        simulator: Simulator,
        *,
        index: int = 0,
        evolved: bool = False,
        patch_grid: bool = False,
        names: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Draw the large snapshot of a snapshot pair, its evolved patches outlined.

        Parameters
        ----------
        pairs : structured ndarray of snapshot pairs
        simulator : Simulator
            The one that they come from.
        index : int, default=0
            Number of the pair.
        evolved : bool, default=False
            Draw the patches as they are at t + dt, not at t.
        patch_grid : bool, default=False
            Draw the grid of all patches, too.
        names, **options : as in `from_snapshot`

        Raises
        ------
        ValueError
            If these are not snapshot pairs of the simulator, there is no such pair, or moments
            were sampled, of which no patch is evolved.
        """
        if not is_snapshot_pairs(pairs):
            raise ValueError(
                "Expected snapshot pairs, but got "
                f"{type(pairs).__name__} without their fields; pass what PartialEvolutionSampler "
                "returns, or use from_snapshot."
            )
        _check_below(index, "index", len(pairs), "pairs")
        lattice, pair = simulator.lattice(pairs["x"].shape[1:]), pairs[index]
        cells, x = patch_cells(pairs, lattice.ndim), pair["x"]
        windows = [(tuple(origin), cells) for origin in pair["origin"].tolist()]
        if evolved:
            if has_moments(pairs):
                raise ValueError(
                    "Expected pairs with evolved patches, but got moments, for which nothing is "
                    "evolved; sample with moments=False, or draw with evolved=False."
                )
            x = x.copy()
            for window, after in zip(windows, pair["x_next"], strict=True):
                x[lattice.window(*window)] = after
        patch = cells if patch_grid else None
        return cls.from_snapshot(x, simulator, windows=windows, patch=patch, names=names, **options)

    def plot(self, ax: Any = None, *, axis: int = 2, layer: int | None = None) -> Self:
        """Draw the snapshot.

        Parameters
        ----------
        ax : matplotlib Axes, or one for each field; None makes a new figure
            Fields of a chain share their axes.
        axis : int, default=2
            Axis across the layer to draw of a crystal.
        layer : int, default=None
            Cell of the layer along that axis; None takes the middle of the first window, or 0.
        """
        fields = [self.snapshot]
        if self.snapshot.ndim > len(self.lattice.site_shape):
            fields = list(np.moveaxis(self.snapshot, -1, 0))
        names = [f"field {k}" for k in range(len(fields))] if self.names is None else self.names
        if len(names) != len(fields):
            raise ValueError(
                f"Expected a name for each of the {len(fields)} fields, but got {names!r}; name "
                "all of them."
            )
        outline: Callable[[Box], np.ndarray]
        if self.lattice.ndim == 1:
            axes = self._panels(ax, 1, size=CHAIN[self.states is None])
            self.images_ = draw_chain(axes[0], fields, names, self.states)
            outline = partial(chain_outline, n=self.lattice.cells[0], ends=axes[0].get_ylim())
        else:
            axes = self._panels(ax, len(fields), size=PLANE)
            plane = self._plane(axis, layer)
            outline = plane.outline
            self.images_ = [
                draw_plane(panel, plane, field, name, self.states)
                for panel, field, name in zip(axes, fields, names, strict=True)
            ]
        boxes: list[Box] = []
        if self.patch is not None:
            origins = PatchGrid(self.lattice, self.patch).origins.tolist()
            boxes = [(tuple(origin), self.patch) for origin in origins]
        edges = [outline(box) for box in boxes]
        self.grid_lines_ = [add_lines(a, edges, colors=GRID, lw=0.6) for a in axes if edges]
        edges = [outline(box) for box in self.windows]
        look = {"colors": OUTLINE, "lw": 2.2, "zorder": 3}
        self.outlines_ = [add_lines(a, edges, **look) for a in axes if edges]
        return self

    def _plane(self, axis: int, layer: int | None) -> Plane:
        """Return the plane to draw."""
        if self.lattice.ndim == 2:
            return Plane(self.lattice)
        if check_integer(axis, "axis", low=0) > 2:
            raise ValueError(f"Expected axis to be 0, 1 or 2, but got {axis}; choose one.")
        n = self.lattice.cells[axis]
        if layer is None:
            middles = [origin[axis] + (extent[axis] - 1) // 2 for origin, extent in self.windows]
            layer = middles[0] % n if middles else 0
        _check_below(layer, "layer", n, f"cells along axis {axis}")
        return Plane(self.lattice, axis, layer)


def _check_below(value: Any, name: str, n: int, things: str) -> None:
    """Raise ValueError unless `value` is the number, from 0 on, of one of n things."""
    if check_integer(value, name, low=0) >= n:
        raise ValueError(
            f"Expected {name} below {n}, the number of {things}, but got {value}; choose another."
        )


def _states(simulator: Simulator) -> dict[int, str] | None:
    """Return the discrete states of a simulator's sites, or None for fields."""
    if simulator.two_valued:
        return {-1: "-1", 1: "+1"}
    if isinstance(simulator, Alloy):
        return {0: "vacancy", **dict(enumerate(simulator.species, 1))}
    return None
