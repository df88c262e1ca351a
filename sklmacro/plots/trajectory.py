"""Macroscopic paths against time, predicted and true, with bands."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np

from sklmacro._base.checks import check_numbers, check_times, check_unmasked
from sklmacro.measures.paths import ReferencePaths, outside_states, predict_paths
from sklmacro.plots._axes import Display, legend, require_matplotlib
from sklmacro.plots._bands import Band, Look, band_title, check_band, draw_bands
from sklmacro.plots._labels import Labels, component_labels, labels_of
from sklmacro.plots.style import COLORS, LINES, TRUE, TRUE_FILL

TRUTH = Look(TRUE, TRUE_FILL, 0.5, "-", 1.0, "true")


@dataclass(eq=False, repr=False)
class TrajectoryDisplay(Display):
    """Mean paths with bands, predicted and true, one panel for each component.

    Paths of several starts are drawn as one band for each start.

    Parameters
    ----------
    times : ndarray of shape (n_times,)
        Times of all paths.
    y_pred : ndarray of shape ([n_members,] n_paths, n_times, d)
        Predicted paths, of each member where an ensemble predicts.
    y_true : ndarray of shape (m_paths, n_times, k), default=None
        True paths; the first k components of the predicted ones are drawn beside them.
    groups_pred, groups_true : ndarray of shape (n_paths,) and (m_paths,), default=None
        Start of each path; None puts all paths into one band.
    labels : sequence of str, default=None
        Labels of the components; None numbers them.
    outside : ndarray of bool of shape ([n_members,] n_paths, n_times), default=None
        Predicted states that the data of the fit do not cover; a note counts their paths.

    Attributes
    ----------
    lines_, true_lines_ : list of matplotlib Line2D
        Centres of the predicted and of the true paths, panel by panel, start by start.
    bands_, true_bands_ : list of matplotlib artists
        Their bands, of starts with at least two paths.
    note_ : matplotlib Text or None
        How many predicted paths leave the data of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import PatchSDERegressor
    >>> from sklmacro.plots import TrajectoryDisplay
    >>> from sklmacro.scoring import ReferencePaths
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (1000, 1))
    >>> dz = -0.1 * z + 0.1 * rng.standard_normal(z.shape)
    >>> sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant").fit(z, dz)
    >>> z0, times = np.repeat([[1.0], [-1.0]], 20, axis=0), np.arange(21)
    >>> reference = ReferencePaths(z0, z0[:, None] * 0.9 ** times[:, None], times)
    >>> display = TrajectoryDisplay.from_estimator(
    ...     sde, reference, groups=np.repeat([0, 1], 20), random_state=0
    ... )
    >>> len(display.lines_), display.axes_[0].get_xlabel()
    (2, 'time')
    """

    times: np.ndarray
    y_pred: np.ndarray
    _: KW_ONLY
    y_true: np.ndarray | None = None
    groups_pred: np.ndarray | None = None
    groups_true: np.ndarray | None = None
    labels: Sequence[str] | None = None
    outside: np.ndarray | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        reference: ReferencePaths,
        *,
        dt: float | None = None,
        n_paths: int = 1,
        groups: Any = None,
        random_state: Any = None,
        labels: Labels = None,
        **options: Any,
    ) -> Self:
        """Predict paths from the starts of true ones, and draw both.

        Parameters
        ----------
        estimator : fitted SDE, SDEEnsemble, or Pipeline that ends in one
        reference : ReferencePaths
            Starts, true paths of the observables and their equally spaced times. Where there are
            no true paths, simulate the estimator and use `from_predictions`.
        dt : float, default=None
            Time step, which divides the spacing of the times; None takes the spacing.
        n_paths : int, default=1
            Predicted paths from each start, and from each member of an ensemble.
        groups : array-like of shape (n_starts,), default=None
            Starts that share a band; None puts all into one.
        random_state : None, int, RandomState or Generator, default=None
            Seed of the predicted paths.
        labels : sequence of str or Simulator, default=None
            Labels of the components, or the simulator whose observables they are; None takes that
            of a Pipeline.
        **options : passed to `plot`

        Raises
        ------
        ValueError
            If shapes do not fit, or the times are not equally spaced.
        """
        require_matplotlib()
        if not isinstance(reference, ReferencePaths):
            raise ValueError(
                f"Expected ReferencePaths, but got {type(reference).__name__}; pass "
                "sklmacro.scoring.ReferencePaths(x0, paths, times), or use from_predictions."
            )
        paths = predict_paths(
            estimator, reference, dt, members=True, n_paths=n_paths, random_state=random_state
        )
        return cls.from_predictions(
            reference.paths, paths, times=reference.times, groups_true=groups,
            groups_pred=None if groups is None else np.repeat(_numbers(groups), n_paths),
            labels=labels_of(estimator, labels),
            outside=outside_states(estimator, reference, paths), **options,
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
        labels: Labels = None,
        outside: Any = None,
        **options: Any,
    ) -> Self:
        """Draw predicted paths against true ones.

        Parameters
        ----------
        y_true : array-like of shape (m_paths, n_times, k), or None
            True paths.
        y_pred : array-like of shape ([n_members,] n_paths, n_times, d)
            Predicted paths, as `simulate` of an SDE or `simulate_members` of an ensemble returns
            them; d is at least k.
        times, groups_true, groups_pred, outside : as in the class
        labels, **options : as in `from_estimator`

        Raises
        ------
        ValueError
            If shapes do not fit.
        """
        times = check_times(times)
        y_pred, groups_pred = _check_paths("y_pred", y_pred, times, groups_pred)
        n_shown = y_pred.shape[-1]
        if y_true is not None:
            y_true, groups_true = _check_paths("y_true", y_true, times, groups_true)
            if y_true.shape[-1] > n_shown:
                raise ValueError(
                    f"Expected y_true with at most the {n_shown} components of y_pred, but got "
                    f"{y_true.shape[-1]}; drop those that are not predicted."
                )
            n_shown = y_true.shape[-1]
        display = cls(
            times, y_pred, y_true=y_true, groups_pred=groups_pred, groups_true=groups_true,
            labels=component_labels(n_shown, labels), outside=outside,
        )  # fmt: skip
        return display.plot(**options)

    def plot(
        self,
        ax: Any = None,
        *,
        band: Band = "std",
        name: str = "predicted",
        style: int = 0,
        time_label: str = "time",
    ) -> Self:
        """Draw the paths.

        Parameters
        ----------
        ax : array-like of matplotlib Axes of shape (n_components,); None makes a new figure
        band : {"std", "error"}, (low, high) or None, default="std"
            Mean and one standard deviation over paths to each side; mean and its standard error,
            which for an ensemble is the standard deviation over members of their means; median and
            quantiles, such as (0.05, 0.95); or no band.
        name : str, default="predicted"
            Name of the predicted paths in the legend.
        style : int, default=0
            Number of their style, so that several displays can share the axes.
        time_label : str, default="time"
            Label of the time axis.
        """
        check_band(band)
        n_shown = (self.y_pred if self.y_true is None else self.y_true).shape[-1]
        axes = self._panels(ax, n_shown)
        color, line = COLORS[style % len(COLORS)], LINES[(style + 1) % len(LINES)]
        look = Look(color, color, 0.2, line, 1.5, name)
        self.true_lines_, self.true_bands_ = draw_bands(
            axes, self.times, self.y_true, self.groups_true, band, TRUTH
        )
        self.lines_, self.bands_ = draw_bands(
            axes, self.times, self.y_pred, self.groups_pred, band, look
        )
        for panel, label in zip(axes, component_labels(n_shown, self.labels), strict=True):
            panel.set(xlabel=time_label, ylabel=label)
        self.note_: Any = None
        if self.outside is not None and (n := int(self.outside.any(axis=-1).sum())):
            self.note_ = axes[0].set_title(
                f"{n} of {self.outside[..., 0].size} {name} paths leave the data", fontsize="small"
            )
        legend(axes[0], title=band_title(band) if self.bands_ or self.true_bands_ else None)
        return self


def _numbers(groups: Any) -> np.ndarray:
    """Return the groups of paths, whatever names them."""
    return np.asarray(check_unmasked(groups, "groups"))


def _check_paths(
    name: str, paths: Any, times: np.ndarray, groups: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return paths ([n_members,] n_paths, n_times, d) and their groups (n_paths,)."""
    paths = check_numbers(paths, name)
    axes = (3, 4) if name == "y_pred" else (3,)
    if paths.ndim not in axes or paths.shape[-2] != len(times) or 0 in paths.shape:
        raise ValueError(
            f"Expected {name} of shape (n_paths, {len(times)}, n_components), one state at each of "
            f"the times, but got {paths.shape}; pass paths on these times."
        )
    if groups is None:
        return paths, None
    groups = _numbers(groups)
    if groups.shape != paths.shape[-3:-2]:
        raise ValueError(
            f"Expected the groups of {name} to have one entry for each of the {paths.shape[-3]} "
            f"paths, but got shape {groups.shape}; pass the start of every path."
        )
    return paths, groups
