"""Sites of chains, planes and layers drawn on axes, and lines around boxes of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import KDTree

from sklmacro.plots._axes import legend
from sklmacro.plots._plane import Box, Plane, wrap_span
from sklmacro.plots.style import MAP, TRUE, curve, state_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

States = Mapping[int, str]
DIAMETER = 0.9  # of a site, over the distance of neighbours in the plane


def draw_chain(
    ax: "Axes", fields: Sequence[np.ndarray], names: Sequence[str], states: States | None
) -> list[Any]:
    """Draw a strip of discrete states, or one curve for each field (n_cells,) of a chain."""
    n = len(fields[0])
    ax.set(xlabel="cell", xlim=(-0.5, n - 0.5))
    if states is not None:
        strip = ax.imshow(
            _codes(fields[0], states)[np.newaxis], aspect="auto", interpolation="nearest",
            extent=(-0.5, n - 0.5, 0.0, 1.0), **_colors(states),
        )  # fmt: skip
        ax.set_yticks([])
        _name_states(ax, strip, states, 1.0)
        return [strip]
    lines: list[Any] = []
    for k, (field, name) in enumerate(zip(fields, names, strict=True)):
        lines += ax.plot(np.arange(n), field, lw=1.6, label=name, **curve(k) | {"marker": "none"})
    if len(names) == 1:
        ax.set_ylabel(names[0])
    else:
        ax.set_ylabel("field")
        legend(ax)
    return lines


def draw_plane(
    ax: "Axes", plane: Plane, field: np.ndarray, name: str, states: States | None
) -> Any:
    """Draw one field (*site_shape) of a square lattice as an image, of a crystal as a layer."""
    values = plane.take(field)
    colors: dict[str, Any] = {"cmap": MAP}
    if states is not None:
        values, colors = _codes(values, states), _colors(states)
    low, high = plane.limits()
    if plane.lattice.kind == "square":
        image: Any = ax.imshow(
            values.T, origin="lower", interpolation="nearest",
            extent=(low[0], high[0], low[1], high[1]), **colors,
        )  # fmt: skip
    else:
        empty = (plane.take(field) == 0).ravel() & (states is not None)
        image = _draw_sites(ax, plane.places(), values.ravel(), np.where(empty, 1.5, 0.3), colors)
        ax.set_title(f"cell {plane.layer} along axis {plane.axis}", fontsize="medium")
    unit = "cell" if plane.lattice.kind == "square" else "lattice constants"
    first, second = ("xyz"[k] for k in plane.axes)
    ax.set(
        xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal",
        xlabel=f"{first} [{unit}]", ylabel=f"{second} [{unit}]",
    )  # fmt: skip
    if states is None:
        ax.figure.colorbar(image, ax=ax, label=name)
    else:
        _name_states(ax, image, states, min(1.0, 0.1 * len(states)))
    return image


def _draw_sites(
    ax: "Axes", places: np.ndarray, values: np.ndarray, rims: np.ndarray, colors: dict[str, Any]
) -> Any:
    """Draw discs at places (n, 2)."""
    from matplotlib.collections import EllipseCollection

    distance = KDTree(places).query(places, k=2)[0][:, 1].min() if len(places) > 1 else 1.0
    size = np.full(len(places), DIAMETER * distance)
    discs = EllipseCollection(
        size, size, np.zeros(len(places)), units="xy", offsets=places,
        transOffset=ax.transData, array=values, edgecolors=TRUE, linewidths=rims, **colors,
    )  # fmt: skip
    return ax.add_collection(discs)


def _codes(field: np.ndarray, states: States) -> np.ndarray:
    """Return the number of each site's state, in the order of `states`."""
    codes = np.full(field.shape, -1)
    for number, state in enumerate(states):
        codes[field == state] = number
    if (codes < 0).any():
        raise ValueError(
            f"Expected states {', '.join(map(str, states))}, but got {field[codes < 0][0]}; name "
            "all states that a site can have."
        )
    return codes


def _colors(states: States) -> dict[str, Any]:
    """Return the map of colours of states' numbers, as keywords; state 0 is white."""
    from matplotlib.colors import ListedColormap

    shades = iter(state_colors(sum(state != 0 for state in states)))
    listed = ["#ffffff" if state == 0 else next(shades) for state in states]
    return {"cmap": ListedColormap(listed), "clim": (-0.5, len(states) - 0.5)}


def _name_states(ax: "Axes", image: Any, states: States, shrink: float) -> None:
    """Name the states' colours beside the axes."""
    n = len(states)
    bar = ax.figure.colorbar(
        image, ax=ax, ticks=range(n), aspect=2.2 * n, shrink=shrink, anchor=(0.0, 1.0)
    )
    bar.ax.set_yticklabels(states.values())
    bar.ax.tick_params(length=0)


def chain_outline(box: Box, n: int, ends: tuple[float, float]) -> np.ndarray:
    """Return the edges (n_edges, 2, 2) of a box of a chain of n cells, between two heights."""
    pieces, borders = wrap_span(box[0][0], box[1][0], n)
    upright = [[(x - 0.5, y) for y in ends] for x in borders]
    level = [[(x - 0.5, y) for x in piece] for piece in pieces for y in ends]
    return np.array(upright + level)


def add_lines(ax: "Axes", edges: Sequence[np.ndarray], **look: Any) -> Any:
    """Draw line segments, arrays (n, 2, 2), with a white rim if they are thick."""
    from matplotlib import patheffects
    from matplotlib.collections import LineCollection

    limits = ax.axis()
    lines = LineCollection(list(np.concatenate(edges)), capstyle="projecting", **look)
    if look["lw"] > 1:
        rim = patheffects.withStroke(linewidth=look["lw"] + 1.4, foreground="white")
        lines.set_path_effects([rim])
    ax.add_collection(lines)
    ax.axis(limits)
    return lines
