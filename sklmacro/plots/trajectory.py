"""Macroscopic paths against time, predicted and true, with bands."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from sklmacro._base.checks import check_numbers, check_times
from sklmacro.measures.paths import macrostates, time_steps
from sklmacro.plots._axes import legend, panels, require_matplotlib
from sklmacro.plots._bands import Band, band_title, check_band, draw_bands
from sklmacro.plots._labels import component_labels, simulator_of
from sklmacro.plots.style import COLORS, LINES, TRUE, TRUE_FILL
from sklmacro.sde.ensemble import SDEEnsemble

TRUTH = {
    "color": TRUE, "fill": TRUE_FILL, "alpha": 0.5, "ls": "-", "zorder": 1.0, "label": "true",
}  # fmt: skip


class TrajectoryDisplay:
    """Mean paths with bands, predicted and true, one panel for each component.

    Paths of several starts are drawn as one band for each start.

    Parameters
    ----------
    times : ndarray of shape (n_times,)
        Times of all paths.
    y_pred : ndarray of shape (n_paths, n_times, d)
        Predicted paths.
    y_true : ndarray of shape (m_paths, n_times, k), default=None
        True paths; the first k components of the predicted ones are drawn beside them.
    groups_pred, groups_true : ndarray of shape (n_paths,) and (m_paths,), default=None
        Start of each path; None puts all paths into one band.
    members : ndarray of shape (n_paths,), default=None
        Member of an ensemble that each predicted path belongs to.
    labels : sequence of str, default=None
        Labels of the components; None numbers them.
    time_label : str, default="time"
        Label of the time axis.

    Attributes
    ----------
    lines_, true_lines_ : list of matplotlib Line2D
        Centres of the predicted and of the true paths, panel by panel, start by start.
    bands_, true_bands_ : list of matplotlib artists
        Their bands, of starts with at least two paths.
    axes_ : ndarray of matplotlib Axes of shape (n_components,)
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import PatchSDERegressor
    >>> from sklmacro.plots import TrajectoryDisplay
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (1000, 1))
    >>> dz = -0.1 * z + 0.1 * rng.standard_normal(z.shape)
    >>> sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant").fit(z, dz)
    >>> display = TrajectoryDisplay.from_estimator(
    ...     sde, [[1.0], [-1.0]], times=np.arange(21), n_paths=50, groups=[0, 1], random_state=0
    ... )
    >>> len(display.lines_), display.axes_[0].get_xlabel()
    (2, 'time')
    """

    def __init__(
        self,
        times: np.ndarray,
        y_pred: np.ndarray,
        *,
        y_true: np.ndarray | None = None,
        groups_pred: np.ndarray | None = None,
        groups_true: np.ndarray | None = None,
        members: np.ndarray | None = None,
        labels: Sequence[str] | None = None,
        time_label: str = "time",
    ):
        self.times = times
        self.y_pred = y_pred
        self.y_true = y_true
        self.groups_pred = groups_pred
        self.groups_true = groups_true
        self.members = members
        self.labels = labels
        self.time_label = time_label

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        times: Any,
        dt: float | None = None,
        n_paths: int = 1,
        groups: Any = None,
        context: Any = None,
        random_state: Any = None,
        simulator: Any = None,
        labels: Sequence[str] | None = None,
        time_label: str = "time",
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Predict paths from X and draw them against the true ones.

        Parameters
        ----------
        estimator : fitted SDE, SDEEnsemble, or Pipeline that ends in one
        X : array-like of shape (n_starts, d) or (n_starts, *site_shape[, n_fields])
            Macrostates at the first of the times; snapshots for a Pipeline.
        y : array-like of shape (n_starts, n_times, k), default=None
            True paths of the observables from X, such as `Simulator.simulate(X, times,
            observe=True)`; rows of X may repeat a start. None draws the predicted paths alone.
        times : array-like of shape (n_times,)
            Equally spaced times of the paths.
        dt : float, default=None
            Time step, which divides the spacing of the times; None takes the spacing.
        n_paths : int, default=1
            Predicted paths from each row of X, and from each member of an ensemble.
        groups : array-like of shape (n_starts,), default=None
            Rows of X that share a band; None puts all into one.
        context : array-like of shape (n_context,) or (n_starts, n_context), default=None
            Outer parameters.
        random_state : None, int, RandomState or Generator, default=None
            Seed of the predicted paths.
        simulator : Simulator, default=None
            Names and units of the observables; None takes the simulator of a Pipeline.
        labels : sequence of str, default=None
            Labels of the components, in the place of the simulator's.
        time_label : str, default="time"
        ax : array-like of matplotlib Axes, default=None
            See `plot`.
        **options
            Passed to `plot`.

        Returns
        -------
        display : TrajectoryDisplay

        Raises
        ------
        ValueError
            If shapes do not fit, or the times are not equally spaced.
        """
        require_matplotlib()
        times = check_times(times)
        if len(times) < 2:
            raise ValueError(
                f"Expected at least 2 times, but got {times.tolist()}; pass those of whole paths."
            )
        step, stride = time_steps(times, dt)
        sde, z0 = macrostates(estimator, X)
        common: dict[str, Any] = {
            "n_paths": n_paths,
            "store_every": stride,
            "random_state": random_state,
            **({} if context is None else {"context": context}),
        }
        n_steps, members = stride * (len(times) - 1), None
        if isinstance(sde, SDEEnsemble):
            paths = sde.simulate_members(z0, n_steps, step, **common)
            members = np.repeat(np.arange(len(paths)), paths.shape[1])
            paths = paths.reshape(-1, *paths.shape[2:])
        else:
            paths = sde.simulate(z0, n_steps, step, **common)
        groups_pred = None
        if groups is not None:
            groups_pred = np.repeat(np.asarray(groups), n_paths)
            groups_pred = np.tile(groups_pred, 1 if members is None else members[-1] + 1)
        return cls.from_predictions(
            y, paths, times=times, groups_true=None if y is None else groups,
            groups_pred=groups_pred, members=members, labels=labels, time_label=time_label,
            simulator=simulator_of(estimator) if simulator is None else simulator, ax=ax, **options,
        )  # fmt: skip

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        times: Any,
        groups_true: Any = None,
        groups_pred: Any = None,
        members: Any = None,
        simulator: Any = None,
        labels: Sequence[str] | None = None,
        time_label: str = "time",
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Draw predicted paths against true ones.

        Parameters
        ----------
        y_true : array-like of shape (m_paths, n_times, k), or None
            True paths.
        y_pred : array-like of shape (n_paths, n_times, d)
            Predicted paths, d at least k.
        times : array-like of shape (n_times,)
            Times of the paths.
        groups_true, groups_pred : array-like of shape (m_paths,) and (n_paths,), default=None
            Start of each path; None puts all paths into one band.
        members : array-like of shape (n_paths,), default=None
            Member of an ensemble that each predicted path belongs to.
        simulator : Simulator, default=None
            Names and units of the observables.
        labels, time_label, ax, **options
            As in `from_estimator`.

        Returns
        -------
        display : TrajectoryDisplay

        Raises
        ------
        ValueError
            If shapes do not fit.
        """
        require_matplotlib()
        times = check_times(times)
        y_pred, groups_pred = _checked("y_pred", y_pred, times, groups_pred)
        if y_true is not None:
            y_true, groups_true = _checked("y_true", y_true, times, groups_true)
            if y_true.shape[2] > y_pred.shape[2]:
                raise ValueError(
                    f"Expected y_true with at most the {y_pred.shape[2]} components of y_pred, but "
                    f"got {y_true.shape[2]}; drop those that are not predicted."
                )
        if members is not None:
            members = _checked_groups("members", members, y_pred)
        shown = y_pred.shape[2] if y_true is None else y_true.shape[2]
        display = cls(
            times, y_pred, y_true=y_true, groups_pred=groups_pred, groups_true=groups_true,
            members=members, labels=component_labels(shown, labels, simulator),
            time_label=time_label,
        )  # fmt: skip
        return display.plot(ax, **options)

    def plot(
        self,
        ax: Any = None,
        *,
        band: Band = "std",
        name: str = "predicted",
        style: int = 0,
    ) -> Self:
        """Draw the paths.

        Parameters
        ----------
        ax : array-like of matplotlib Axes of shape (n_components,), default=None
            Where to draw; None makes a new figure.
        band : {"std", "error"}, (low, high) or None, default="std"
            Mean and one standard deviation over paths to each side; mean and its standard error,
            which for an ensemble is the standard deviation over members of their means; median and
            quantiles, such as (0.05, 0.95); or no band.
        name : str, default="predicted"
            Name of the predicted paths in the legend.
        style : int, default=0
            Number of their style, so that several displays can share the axes.

        Returns
        -------
        self : TrajectoryDisplay
        """
        check_band(band)
        shown = (self.y_pred if self.y_true is None else self.y_true).shape[2]
        axes = panels(ax, shown)
        self.lines_: list = []
        self.bands_: list = []
        self.true_lines_: list = []
        self.true_bands_: list = []
        color, line = COLORS[style % len(COLORS)], LINES[(style + 1) % len(LINES)]
        look = {"color": color, "fill": color, "alpha": 0.2, "ls": line, "zorder": 1.5}
        for k, panel in enumerate(axes):
            if self.y_true is not None:
                lines, bands = draw_bands(
                    panel, self.times, self.y_true[..., k], self.groups_true, None, band, TRUTH
                )
                self.true_lines_ += lines
                self.true_bands_ += bands
            lines, bands = draw_bands(
                panel, self.times, self.y_pred[..., k], self.groups_pred, self.members, band,
                look | {"label": name},
            )  # fmt: skip
            self.lines_ += lines
            self.bands_ += bands
        labels = component_labels(shown, self.labels, None)
        for panel, label in zip(axes, labels, strict=True):
            panel.set(xlabel=self.time_label, ylabel=label)
        legend(axes[0], title=band_title(band) if self.bands_ or self.true_bands_ else None)
        self.axes_ = np.array(axes, dtype=object)
        self.figure_ = axes[0].figure
        return self


def _checked(
    name: str, paths: Any, times: np.ndarray, groups: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return paths (n_paths, n_times, d) and their groups (n_paths,)."""
    paths = check_numbers(paths, name)
    if paths.ndim != 3 or paths.shape[1] != len(times) or 0 in paths.shape:
        raise ValueError(
            f"Expected {name} of shape (n_paths, {len(times)}, n_components), one state at each of "
            f"the times, but got {paths.shape}; pass paths on these times."
        )
    if groups is not None:
        groups = _checked_groups(f"the groups of {name}", groups, paths)
    return paths, groups


def _checked_groups(name: str, groups: Any, paths: np.ndarray) -> np.ndarray:
    groups = np.asarray(groups)
    if groups.shape != (len(paths),):
        raise ValueError(
            f"Expected {name} to have one entry for each of the {len(paths)} paths, but got shape "
            f"{groups.shape}; pass the start or the member of every path."
        )
    return groups
