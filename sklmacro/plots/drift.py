"""Drift and potential of a fitted SDE, in one or two coordinates."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_choice, check_finite_numbers, check_integer
from sklmacro._base.units import largest, spread
from sklmacro.measures.paths import macrostates, states_of
from sklmacro.measures.potential import nearest_potential, thermodynamic_force
from sklmacro.measures.stationary import stationary_density
from sklmacro.plots._axes import Display, require_matplotlib
from sklmacro.plots._bands import draw_error
from sklmacro.plots._labels import Labels, component_labels, labels_of
from sklmacro.plots.style import COLORS, TRUE, pale_map
from sklmacro.sampling.pairs import is_structured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("streams", "arrows")
N_LEVELS = 10
N_ARROWS = 17  # along each axis
MOST_STATES = 400  # drawn


@dataclass(eq=False, repr=False)
class DriftDisplay(Display):
    """Drift and potential: a field over two coordinates, or curves over one.

    Parameters
    ----------
    grids : tuple of ndarrays of shape (n_x,) and (n_y,), or of one of them
        Evenly spaced values of the coordinates.
    drift : ndarray of shape (n_x, n_y, 2) or (n_x, 1)
        Drift along the coordinates.
    potential : ndarray of shape (n_x, n_y) or (n_x,)
        Potential, with smallest value 0.
    drift_error : ndarray of the shape of `drift`, default=None
        Standard error of the drift, drawn over one coordinate.
    states : ndarray of shape (n_states, 1 or 2), default=None
        Coordinates of known states, where the SDE can be trusted. The colours of the potential
        reach as high as they do.
    covered : ndarray of bool of shape (n_x, n_y) or (n_x,), default=None
        Whether the data of the fit cover the states of the grid; the others are hatched.
    potential_label : str, default="potential"
    labels : sequence of str, default=None
        Labels of the coordinates; None numbers them.

    Attributes
    ----------
    contour_ : matplotlib QuadContourSet
        The potential; over two coordinates.
    colorbar_ : matplotlib Colorbar
        Over two coordinates.
    field_ : matplotlib StreamplotSet or Quiver
        The drift; over two coordinates.
    states_ : matplotlib Line2D or None
        Some of the states; ticks at the lower edge over one coordinate.
    lines_ : list of matplotlib Line2D
        Drift and potential; over one coordinate.
    uncovered_ : list of matplotlib artists
        Hatched areas, one on each panel; none where everything is covered.
    axes_ : ndarray of matplotlib Axes, (1,) for two coordinates, (2,) for one

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import PatchSDERegressor, Polynomial
    >>> from sklmacro.plots import DriftDisplay
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (5000, 2))
    >>> dz = 0.1 * (z - z**3) + 0.1 * rng.standard_normal(z.shape)
    >>> sde = PatchSDERegressor(drift_model=Polynomial(degree=3), dt=0.1).fit(z, dz)
    >>> display = DriftDisplay.from_estimator(sde, z, labels=["x", "y"])
    >>> display.drift.shape, display.axes_[0].get_ylabel()
    ((51, 51, 2), 'y')
    """

    grids: tuple[np.ndarray, ...]
    drift: np.ndarray
    potential: np.ndarray
    _: KW_ONLY
    drift_error: np.ndarray | None = None
    states: np.ndarray | None = None
    covered: np.ndarray | None = None
    potential_label: str = "potential"
    labels: Sequence[str] | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        components: tuple[int, int] = (0, 1),
        at: Any = None,
        context: Any = None,
        grid_resolution: int = 51,
        labels: Labels = None,
        **options: Any,
    ) -> Self:
        """Evaluate a fitted SDE over the range of states X and draw it.

        An `OnsagerSDE` has a potential of its own. In the place of another's stands the effective
        potential, in units of the noise: -log p of the stationary density for one component, see
        `stationary.stationary_density`; else the potential nearest to the SDE, see
        `sklmacro.measures.potential`, with the share of drift and noise that it accounts for.

        Parameters
        ----------
        estimator : fitted SDE, SDEEnsemble, or Pipeline that ends in one
        X : array-like of shape (n_states, d), latent pairs, or what a Pipeline's encoder takes
            Known states, such as those of the fit.
        components : (int, int), default=(0, 1)
            The two coordinates, of a state with several components.
        at : array-like of shape (d,), default=None
            Values at which the other components are held; None takes the mean of X.
        context : array-like of shape (n_context,), default=None
            Outer parameters.
        grid_resolution : int, default=51
            Points along each coordinate.
        labels : sequence of str of length d, or Simulator, default=None
            Labels of the components, or the simulator whose observables they are; None takes that
            of a Pipeline.
        **options : passed to `plot`

        Raises
        ------
        ValueError
            If X is not states of the SDE, or there are no such components.
        """
        require_matplotlib()
        sde, z = macrostates(estimator, X)
        check_is_fitted(sde)
        d = sde.n_state_
        states = states_of(sde, z["z"] if is_structured(z) else z)
        if states.ndim != 2 or states.shape[1] != d or len(states) < 2:
            raise ValueError(
                f"Expected at least 2 states X of shape (n_states, {d}), but got {states.shape}; "
                "pass macrostates of this SDE."
            )
        shown = _check_components(components, d)
        n = check_integer(grid_resolution, "grid_resolution", low=5)
        grids = tuple(np.linspace(states[:, k].min(), states[:, k].max(), n) for k in shown)
        size = largest(states)
        width = spread(states, states.mean(axis=0))
        if not width[shown].all():
            raise ValueError(
                f"Expected states X that differ in components {shown}, but got one value; pass "
                "states that span the range to draw."
            )
        z = np.tile(_fixed_values(at, states), (n ** len(shown), 1))
        z[:, shown] = list(product(*grids))
        shape = (*(n,) * len(shown), len(shown))
        drift = sde.drift(z, context)[:, shown].reshape(shape)
        error = None
        if hasattr(sde, "drift_error"):
            error = sde.drift_error(z, context)[:, shown].reshape(shape)
        covered = sde.covers(z, context).reshape(shape[:-1]) if hasattr(sde, "covers") else None
        scale = np.where(width > 0, width, size)
        potential, potential_label = _potential(sde, grids, z, shown, scale, context)
        names = component_labels(d, labels_of(estimator, labels))
        return cls(
            grids, drift, potential, drift_error=error, states=states[:, shown], covered=covered,
            potential_label=potential_label, labels=[names[k] for k in shown],
        ).plot(**options)  # fmt: skip

    def plot(self, ax: Any = None, *, kind: str = "streams") -> Self:
        """Draw drift and potential.

        Parameters
        ----------
        ax : matplotlib Axes, or two of them for one coordinate; None makes a new figure
        kind : {"streams", "arrows"}, default="streams"
            Lines along the drift, or arrows in proportion to it; over two coordinates.
        """
        check_choice(kind, "kind", KINDS)
        n = len(self.grids)
        axes = self._panels(ax, 3 - n)
        labels = component_labels(n, self.labels)
        self.states_: Any = None
        if n == 1:
            self._plot_curves(*axes)
            axes[0].set(xlabel=labels[0], ylabel="drift")
            axes[1].set(xlabel=labels[0], ylabel=self.potential_label)
        else:
            self._plot_field(axes[0], kind)
            axes[0].set(xlabel=labels[0], ylabel=labels[1])
        self.uncovered_: list[Any] = []
        if self.covered is not None and not self.covered.all():
            self.uncovered_ = [self._hatch(ax, ~self.covered) for ax in axes]
        return self

    def _hatch(self, ax: "Axes", where: np.ndarray) -> Any:
        """Hatch the part of a panel where the grid is not covered."""
        look: dict[str, Any] = {"hatch": "////", "facecolor": "none", "edgecolor": TRUE}
        if len(self.grids) == 1:
            across = ax.get_xaxis_transform()
            (x,) = self.grids
            return ax.fill_between(x, 0, 1, where=where, transform=across, alpha=0.3, **look)
        return ax.contourf(*self.grids, where.T, levels=[0.5, 1], hatches=["////"], colors="none")

    def _plot_curves(self, left: "Axes", right: "Axes") -> None:
        (x,), drift = self.grids, self.drift[:, 0]
        left.axhline(0.0, color=TRUE, lw=0.8, zorder=0)
        self.lines_ = left.plot(x, drift, color=COLORS[0], lw=1.8)
        error = None if self.drift_error is None else self.drift_error[:, 0]
        draw_error(left, x, drift, error, COLORS[0])
        if self.states is not None:
            ticks = self._thin_states()[:, 0]
            (self.states_,) = left.plot(
                ticks, np.full(len(ticks), 0.02), "|", ms=5, color=TRUE, alpha=0.5, mew=0.5,
                transform=left.get_xaxis_transform(),
            )  # fmt: skip
        self.lines_ += right.plot(x, self.potential, color=COLORS[0], lw=1.8)

    def _plot_field(self, ax: "Axes", kind: str) -> None:
        from matplotlib.ticker import MaxNLocator

        x, y = self.grids
        levels = MaxNLocator(N_LEVELS).tick_values(0.0, self._highest_potential())
        self.contour_ = ax.contourf(
            x, y, self.potential.T, levels=levels, cmap=pale_map(), extend="max"
        )
        self.colorbar_ = ax.figure.colorbar(self.contour_, ax=ax, label=self.potential_label)
        if self.states is not None:
            (self.states_,) = ax.plot(
                *self._thin_states().T, "o", ms=2.2, mfc="white", mec=TRUE, mew=0.3, zorder=1.5
            )
        if kind == "streams":
            u, v = self.drift.transpose(2, 1, 0)
            self.field_: Any = ax.streamplot(
                x, y, u, v, color=TRUE, linewidth=0.7, density=1.1, arrowsize=0.8
            )
        else:
            few = slice(None, None, max(1, round(len(x) / N_ARROWS)))
            u, v = self.drift[few, few].transpose(2, 1, 0)
            self.field_ = ax.quiver(x[few], y[few], u, v, color=TRUE, angles="xy", width=0.003)
        ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))

    def _thin_states(self) -> np.ndarray:
        states: Any = self.states
        return states[:: -(-len(states) // MOST_STATES)]

    def _highest_potential(self) -> float:
        """Return the largest potential near a known state, or on the grid."""
        places = [slice(None), slice(None)]
        if self.states is not None:
            coordinates = zip(self.grids, self.states.T, strict=True)
            places = [np.abs(np.subtract.outer(s, grid)).argmin(1) for grid, s in coordinates]
        highest = float(np.max(self.potential[tuple(places)]))
        return highest if highest > 0 else 1.0


def _check_components(components: Any, d: int) -> list[int]:
    """Return the coordinates to draw, of a state of d components."""
    if d == 1:
        return [0]
    chosen = [check_integer(k, "components", low=0) for k in np.atleast_1d(components)]
    if len(set(chosen)) != 2 or len(chosen) != 2 or max(chosen) >= d:
        raise ValueError(
            f"Expected components to be two different ones of 0 to {d - 1}, but got "
            f"{components!r}; choose the coordinates to draw."
        )
    return chosen


def _fixed_values(at: Any, states: np.ndarray) -> np.ndarray:
    """Return the values (d,) at which components are held."""
    if at is None:
        return states.mean(axis=0)
    at = check_finite_numbers(at, "at")
    if at.shape != states.shape[1:]:
        raise ValueError(
            f"Expected at to have one value for each of the {states.shape[1]} components, but got "
            f"shape {at.shape}; those of the coordinates drawn are not used."
        )
    return at


def _potential(
    sde: Any,
    grids: tuple[np.ndarray, ...],
    z: np.ndarray,
    shown: list[int],
    scale: np.ndarray,
    context: Any,
) -> tuple[np.ndarray, str]:
    """Return the potential on the grid, and its label."""
    shape = tuple(len(grid) for grid in grids)
    if hasattr(sde, "potential"):
        own = sde.potential(z, context).reshape(shape)
        return own - own.min(), "potential V"
    if len(grids) == 1:
        with np.errstate(divide="ignore"):  # a density of 0: infinite
            values = -np.log(stationary_density(sde, grids[0], context))
        return values - values.min(), "effective potential -log p"
    force = thermodynamic_force(sde, z, np.where(scale > 0, scale, 1.0), context)
    spacing = grids[0][1] - grids[0][0], grids[1][1] - grids[1][0]
    potential = nearest_potential(force[:, shown].reshape(*shape, 2), spacing)
    return potential.values, f"effective potential ({100 * potential.share:.0f} % of the force)"
