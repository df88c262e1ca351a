"""Bands of paths: a centre line and the spread about it."""

from typing import TYPE_CHECKING, Any

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


def centre_and_band(
    paths: np.ndarray, band: Band
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the centre and both edges of paths of one component.

    Parameters
    ----------
    paths : ndarray of shape ([n_members,] n_paths, n_times)
    band : {"std", "error"}, (low, high) or None
        As in `TrajectoryDisplay.plot`.

    Returns
    -------
    centre : ndarray of shape (n_times,)
    low, high : ndarray of shape (n_times,), or None where there is no band, as of a single path
    """
    pooled = paths.reshape(-1, paths.shape[-1])
    mean = pooled.mean(axis=0)
    if band is None or len(pooled) < 2:
        return mean, None, None
    if not isinstance(band, str):
        low, centre, high = np.quantile(pooled, [band[0], 0.5, band[1]], axis=0)
        return centre, low, high
    width = pooled.std(axis=0, ddof=1)
    if band == "error":
        width = width / np.sqrt(len(pooled))
        if paths.ndim == 3:
            width = paths.mean(axis=1).std(axis=0, ddof=1)
    return mean, mean - width, mean + width


def draw_bands(
    ax: "Axes",
    times: np.ndarray,
    paths: np.ndarray,
    groups: np.ndarray | None,
    band: Band,
    look: dict[str, Any],
) -> tuple[list, list]:
    """Draw one centre and one band for each group of paths ([n_members,] n_paths, n_times).

    `look` has the keywords color, fill, alpha, ls, label and zorder. Lines and bands are returned.
    """
    groups = np.zeros(paths.shape[-2]) if groups is None else groups
    lines: list = []
    bands: list = []
    color, line, zorder = look["color"], look["ls"], look["zorder"]
    for group in np.unique(groups):
        centre, low, high = centre_and_band(paths[..., groups == group, :], band)
        label = None if lines else look["label"]
        lines += ax.plot(
            times, centre, color=color, ls=line, lw=1.8, label=label, zorder=zorder + 1
        )
        if low is not None and high is not None:
            filled = ax.fill_between(
                times, low, high, facecolor=look["fill"], edgecolor=color, alpha=look["alpha"],
                ls=line, lw=0.8, zorder=zorder,
            )  # fmt: skip
            bands.append(filled)
    return lines, bands
