"""Colours that stand together can be told apart: in grey, and by the colour-blind."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from sklmacro.plots import style

# What dichromats see, in linear RGB: G. M. Machado, M. M. Oliveira and L. A. F. Fernandes, IEEE
# Trans. Vis. Comput. Graph. 15, 1291 (2009), severity 1.
DICHROMATS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array(  # of linear sRGB, IEC 61966-2-1
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(colors, view="full"):
    """CIELAB (n, 3) of colours: lightness from 0 to 100, distances in just noticeable steps of 2.3.

    `view` is "full", "grey" or a kind of dichromat.
    """
    rgb = np.array([to_rgb(color) for color in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if view in DICHROMATS:
        linear = np.clip(linear @ np.transpose(DICHROMATS[view]), 0, 1)
    t = linear @ XYZ.T / XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    result = np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )
    return result * [1, 0, 0] if view == "grey" else result


def least_distance(colors, view):
    points = lab(colors, view)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    return distances[np.triu_indices(len(colors), 1)].min()


LEAST = {"full": 25, "protanopia": 25, "deuteranopia": 25, "tritanopia": 15, "grey": 9}
TOGETHER = {
    "curves and truth": [*style.COLORS, style.TRUE],
    "spins": [*style.state_colors(2), style.OUTLINE],
    "species, vacancies": [*style.state_colors(3), "white"],
    "pale map, its lines": [*style.pale_map()([0.0, 1.0]), style.TRUE],
    "truth filled, prediction": [style.TRUE_FILL, style.COLORS[0], "white"],
}


@pytest.mark.parametrize("view", LEAST)
@pytest.mark.parametrize("name", TOGETHER)
def test_colors_that_stand_together_differ(name, view):
    least = LEAST[view] if name == "curves and truth" else min(LEAST[view], 12)
    assert least_distance(TOGETHER[name], view) >= least


def test_what_cannot_be_told_apart_is_found():
    """Negative controls: red and green of equal lightness, and matplotlib's own first colours."""
    red_and_green = ["#d03030", "#3e7d25"]
    first = [f"C{k}" for k in range(6)]
    assert least_distance(red_and_green, "full") > 90
    for view in ("protanopia", "deuteranopia", "grey"):
        assert least_distance(red_and_green, view) < LEAST[view]
        assert least_distance(first, view) < LEAST[view]


def steps_of_lightness(name, view):
    return np.diff(lab(matplotlib.colormaps[name](np.linspace(0, 1, 33)), view)[:, 0])


def is_even(steps):
    return steps.min() > steps.mean() / 2 and steps.max() < 2 * steps.mean()


@pytest.mark.parametrize("view", LEAST)
def test_map_grows_lighter_evenly(view):
    steps = steps_of_lightness(style.MAP, view)
    assert (steps > 0).all()
    assert is_even(steps) or view == "tritanopia"  # flat at the light end
    rainbow = steps_of_lightness("jet", view)  # negative control
    assert (rainbow < 0).any()
    assert not is_even(rainbow)


def test_curves_differ_in_color_marker_and_line():
    for key in ("color", "marker", "linestyle"):
        assert len({style.curve(k)[key] for k in range(5)}) == 5
    assert len({tuple(style.curve(k).values()) for k in range(30)}) == 30
