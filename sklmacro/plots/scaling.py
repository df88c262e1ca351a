"""Finite-size scaling (Eqs. 25-29): curves of all sizes, powers of the size, collapse."""

from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from sklmacro._base.checks import check_choice, check_real
from sklmacro.measures.scaling import (
    CollapseResidual,
    Estimate,
    check_points,
    collapse,
    collapse_residual,
    power_law,
)
from sklmacro.plots._axes import Display, legend
from sklmacro.plots.style import TRUE, curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("temperature", "size", "collapse")
FILLS = ("full", "none", "left", "right")


@dataclass(eq=False, repr=False)
class ScalingDisplay(Display):
    """A quantity on lattices of several sizes, over temperature or size, or collapsed.

    Parameters
    ----------
    T, L, y : array-like of shape (n_points,)
        Temperatures, sizes and values: <|M|>, the susceptibility, the Binder cumulant or its slope.
    error : array-like of shape (n_points,), default=None
        Standard errors of y.
    Tc, nu : float, default=None
        Critical temperature, and exponent of the correlation length for the collapse.
    exponent : float, default=None
        y goes as L^exponent at Tc, by theory: -beta/nu for <|M|>, gamma/nu for the susceptibility,
        0 for the Binder cumulant, 1/nu for its slope.

    Attributes
    ----------
    errorbars_ : list of matplotlib ErrorbarContainer
        The points: one for each size, the smallest first, or one for all over size.
    lines_ : list of matplotlib Line2D
        Critical temperature; or the power law fitted, and that of theory.
    exponent_ : Estimate or None
        Exponent fitted, over size; None where too few or negative points leave it open.
    residual_ : CollapseResidual or None
        How far the collapse is from one curve; None where sizes do not overlap.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro.plots import ScalingDisplay
    >>> T, L = np.meshgrid(np.linspace(2.2, 2.34, 8), [16, 32, 64])
    >>> T, L = T.ravel(), L.ravel()
    >>> y = L**-0.125 * np.exp(-(T - 2.269) * L / 4)
    >>> display = ScalingDisplay(T, L, y, Tc=2.269, nu=1.0, exponent=-0.125)
    >>> display.plot(kind="collapse").residual_.relative < 0.1
    True
    """

    T: Any
    L: Any
    y: Any
    error: Any = None
    _: KW_ONLY
    Tc: float | None = None
    nu: float | None = None
    exponent: float | None = None

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "temperature",
        temperature: float | None = None,
        name: str | None = None,
        style: int = 0,
        label: str = "y",
    ) -> Self:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes; None makes a new figure
        kind : {"temperature", "size", "collapse"}, default="temperature"
            y over T, one curve for each size; y over L at one temperature, with a power law fitted
            by `scaling.power_law`; y L^-exponent over (T - Tc) L^(1/nu), by `scaling.collapse`.
        temperature : float, default=None
            The one of T to draw over size; None takes the nearest to Tc, or the only one.
        name : str, default=None
            Name of these points in the legend.
        style : int, default=0
            Number of their style, so that several displays can share the axes: filled, open and
            half filled markers over temperature, colours over size.
        label : str, default="y"
            Name of the quantity.

        Raises
        ------
        ValueError
            If points and errors do not fit together, or Tc, nu or exponent is missing for `kind`.
        """
        check_choice(kind, "kind", KINDS)
        T = np.full(np.shape(self.y), self.T) if np.ndim(self.T) == 0 else self.T
        points = _Points(*check_points(T=T, L=self.L, y=self.y, error=self.error))
        (ax,) = self._panels(ax, 1)
        self.errorbars_: list = []
        self.lines_: list = []
        self.exponent_: Estimate | None = None
        self.residual_: CollapseResidual | None = None
        if kind == "size":
            at = _one_temperature(points.T, temperature, self.Tc)
            self._plot_size(ax, points.take(np.equal(points.T, at)), name, style)
        elif kind == "temperature":
            if self.Tc is not None:
                self.lines_.append(ax.axvline(self.Tc, color=TRUE, ls=":", lw=1.2, zorder=0))
            self._plot_curves(ax, points, name, style, curve(style)["linestyle"])
            ax.set(xlabel="T")
        else:
            label = _scaled_label(label, self._plot_collapse(ax, points, name, style))
        ax.set_ylabel(label)
        legend(ax, fontsize="small")
        return self

    def _plot_curves(
        self, ax: "Axes", points: "_Points", name: str | None, style: int, line: Any
    ) -> None:
        """Draw y over T, one curve for each size."""
        for k, size in enumerate(np.unique(points.L)):
            one = points.take(size == points.L)
            one = one.take(np.argsort(one.T, kind="stable"))
            bars = ax.errorbar(
                one.T, one.y, one.error, **curve(k) | {"linestyle": line}, lw=1.0, ms=5, capsize=2,
                fillstyle=FILLS[style % len(FILLS)], label=_size_label(size, name, style, k == 0),
            )  # fmt: skip
            self.errorbars_.append(bars)

    def _plot_collapse(self, ax: "Axes", points: "_Points", name: str | None, style: int) -> float:
        """Draw y L^p over (T - Tc) L^(1/nu), and return the power p."""
        theory = {key: self._require(key) for key in ("Tc", "nu", "exponent")}
        power = theory["exponent"]
        x, scaled = collapse(points.T, points.L, points.y, **theory)
        error = None if points.error is None else points.error * points.L**-power
        self._plot_curves(ax, _Points(x, points.L, scaled, error), name, style, "none")
        with suppress(ValueError):  # of sizes whose scaled temperatures do not overlap
            self.residual_ = collapse_residual(points.T, points.L, points.y, points.error, **theory)
        if (residual := self.residual_) is not None and style == 0:
            title = f"chi2 per point {residual.chi2:.2g}"
            if points.error is None:
                title = f"relative distance {residual.relative:.1g}"
            ax.set_title(title, fontsize="medium")
        ax.set(xlabel=_scaled_label("(T - Tc)", 1 / theory["nu"]))
        return -power

    def _plot_size(self, ax: "Axes", points: "_Points", name: str | None, style: int) -> None:
        from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

        look, label, sizes = curve(style), name, np.unique(points.L)
        with suppress(ValueError):  # too few or negative points leave it open
            self.exponent_ = power_law(points.L, points.y, points.error)
        if (fitted := self.exponent_) is not None:
            power = f"L^p, p = {fitted.value:.3f} +- {fitted.error:.1g}"
            label = f"{name}: {power}" if name else power
            self.lines_ += ax.plot(
                sizes, points.power(sizes, fitted.value), lw=1.2, **look | {"marker": "none"}
            )
        look["linestyle"] = "none"
        bars = ax.errorbar(points.L, points.y, points.error, ms=5, capsize=3, label=label, **look)
        self.errorbars_.append(bars)
        if self.exponent is not None and style == 0 and (points.y > 0).all():
            self.lines_ += ax.plot(
                sizes, points.power(sizes, self.exponent), color=TRUE, ls=":", lw=1.2,
                label=f"theory, p = {self.exponent:.4g}",
            )  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="L")
        ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
        ax.xaxis.set_minor_locator(NullLocator())
        low, high = ax.get_ylim()
        if high < 10 * low:  # no power of ten to label, or one
            ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            ax.yaxis.set_major_formatter(ScalarFormatter())
            ax.yaxis.set_minor_locator(NullLocator())

    def _require(self, key: str) -> float:
        value = getattr(self, key)
        if value is None:
            raise ValueError(
                f"Expected {key} for the collapse, but got None; construct the display with Tc, nu "
                "and exponent."
            )
        return check_real(value, key)


class _Points(NamedTuple):
    """Points (n_points,), with errors or None."""

    T: np.ndarray
    L: np.ndarray
    y: np.ndarray
    error: np.ndarray | None

    def take(self, rows: np.ndarray) -> "_Points":
        """Return some of the points."""
        error = None if self.error is None else self.error[rows]
        return _Points(self.T[rows], self.L[rows], self.y[rows], error)

    def power(self, sizes: np.ndarray, exponent: float) -> np.ndarray:
        """Return a power law through the middle of the points, weighted as a fit weights them."""
        weights = None if self.error is None else (self.y / self.error) ** 2
        level = np.average(np.log(self.y) - exponent * np.log(self.L), weights=weights)
        return np.exp(level) * sizes**exponent


def _one_temperature(T: np.ndarray, temperature: float | None, Tc: float | None) -> float:
    """Return the temperature whose points are drawn over size."""
    known = np.unique(T)
    if temperature is None and (Tc is not None or len(known) == 1):
        return float(known[np.argmin(np.abs(known - (Tc or 0.0)))])
    if temperature is not None and temperature in known:
        return temperature
    raise ValueError(
        f"Expected temperature to be one of {', '.join(f'{t:g}' for t in known)}, but got "
        f"{temperature!r}; choose one, or construct the display with Tc to take the nearest."
    )


def _size_label(size: float, name: str | None, style: int, first: bool) -> str | None:
    """Return the label of a size: later styles repeat the sizes, and name themselves once."""
    if style == 0:
        return f"L = {size:g}" + (f", {name}" if name else "")
    return name if first else None


def _scaled_label(name: str, power: float) -> str:
    """Return the label of a quantity times a power of L."""
    if power == 0:
        return name
    return f"{name} L" if power == 1 else f"{name} L^{power:.4g}"
