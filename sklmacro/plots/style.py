"""Colours, markers and lines, told apart in grey and by colour-blind eyes.

Curves that stand together differ in lightness as well as in hue, and in marker and line beside.
`tests/plots/test_style.py` holds them to it, by a published model of colour blindness.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

COLORS = ("#1c6ab8", "#ea8a3c", "#471a66", "#2f9173", "#8fc1ec", "#8c2d2d")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))

TRUE = "#111111"  # what is compared with: the truth, or a theory
TRUE_FILL = "#c8c8c8"
SHADE = "#e2e2e2"  # intervals, behind everything
GRID = "#808080"  # of patches
OUTLINE = "#e8522a"  # of evolved patches, over all states and fields

MAP = "viridis"  # perceptually uniform, and lighter throughout


def curve(k: int) -> dict[str, Any]:
    """Return colour, marker and line of the k-th curve, as keywords of `Axes.plot`."""
    return {
        "color": COLORS[k % len(COLORS)],
        "marker": MARKERS[k % len(MARKERS)],
        "linestyle": LINES[k % len(LINES)],
    }


def state_colors(n: int) -> list[str]:
    """Return colours of n discrete states, of evenly spaced lightness from dark to light."""
    import matplotlib
    from matplotlib.colors import to_hex

    colormap = matplotlib.colormaps[MAP]
    return [to_hex(colormap(0.08 + 0.86 * k / max(n - 1, 1))) for k in range(n)]


@cache
def pale_map() -> "Colormap":
    """Return the map from light to half dark, on which black lines can be read."""
    import matplotlib
    import numpy as np
    from matplotlib.colors import ListedColormap

    colors = matplotlib.colormaps[MAP](np.linspace(0.98, 0.38, 256))
    return ListedColormap(colors, name=f"pale {MAP}")
