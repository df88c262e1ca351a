"""Bands of paths: a centre line and the spread about it."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Band = str | tuple[float, float] | None
TITLES = {"std": "mean and std", "error": "mean and standard error"}


def check_band(band: Any) -> None:
    """Raise ValueError unless `band` is "std", "error", None or a pair of quantiles."""
    if band is None or (isinstance(band, str) and band in TITLES):
        return
    if not isinstance(band, str) and len(band) == 2 and 0 <= band[0] < band[1] <= 1:
        return
    raise ValueError(
        "Expected band to be 'std', 'error', None or a pair of quantiles 0 <= low < high <= 1, but "
        f"got {band!r}; pass for instance (0.05, 0.95)."
    )


def band_title(band: Band) -> str | None:
    """Return the title of a legend of lines and bands."""
    if band is None or isinstance(band, str):
        return TITLES.get(band or "")
    return f"median, {100 * band[0]:g} % to {100 * band[1]:g} %"


class Look(NamedTuple):
    """How centre lines and bands are drawn."""

    color: str
    fill: str
    alpha: float
    line: Any
    zorder: float
    label: str


def draw_error(
    ax: "Axes", x: np.ndarray, y: np.ndarray, error: np.ndarray | None, color: str
) -> Any:
    """Draw and return the standard error to either side of a curve, None where there is none."""
    if error is None:
        return None
    return ax.fill_between(x, y - error, y + error, color=color, alpha=0.25, lw=0)


def centre_and_band(paths: np.ndarray, band: Band) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the centre (n_times,) of paths ([n_members,] n_paths, n_times), and their band.

    The band, lower and upper edge (2, n_times), is as in `TrajectoryDisplay.plot`. There is none,
    but None, of a single path.
    """
    pooled = paths.reshape(-1, paths.shape[-1])
    mean = pooled.mean(axis=0)
    if band is None or len(pooled) < 2:
        return mean, None
    if not isinstance(band, str):
        low, centre, high = np.quantile(pooled, [band[0], 0.5, band[1]], axis=0)
        return centre, np.stack([low, high])
    width = pooled.std(axis=0, ddof=1)
    if band == "error":
        width = width / np.sqrt(len(pooled))
        if paths.ndim == 3:
            width = paths.mean(axis=1).std(axis=0, ddof=1)
    return mean, np.stack([mean - width, mean + width])


def draw_bands(
    axes: "list[Axes]",
    times: np.ndarray,
    paths: np.ndarray | None,
    groups: np.ndarray | None,
    band: Band,
    look: Look,
) -> tuple[list, list]:
    """Draw a centre line and a band for each group of paths, one component in each of the axes.

    `paths` are ([n_members,] n_paths, n_times, d), or None where there are none, and `groups`
    (n_paths,), or None for one group of all paths. Lines and bands are returned.
    """
    lines: list = []
    bands: list = []
    if paths is None:
        return lines, bands
    groups = np.zeros(paths.shape[-3]) if groups is None else groups
    for k, ax in enumerate(axes):
        for number, group in enumerate(np.unique(groups)):
            centre, edges = centre_and_band(paths[..., k][..., groups == group, :], band)
            lines += ax.plot(
                times, centre, color=look.color, ls=look.line, lw=1.8, zorder=look.zorder + 1,
                label=look.label if number == 0 else None,
            )  # fmt: skip
            if edges is not None:
                filled = ax.fill_between(
                    times, *edges, facecolor=look.fill, edgecolor=look.color, alpha=look.alpha,
                    ls=look.line, lw=0.8, zorder=look.zorder,
                )  # fmt: skip
                bands.append(filled)
    return lines, bands
