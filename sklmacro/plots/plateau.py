"""Rates and diffusion over dt, with the plateau where dt belongs."""

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sklmacro._base.checks import check_real
from sklmacro.measures.plateau import Plateau
from sklmacro.plots._axes import Display, legend
from sklmacro.plots.style import SHADE, TRUE, curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(eq=False, repr=False)
class PlateauDisplay(Display):
    """Relaxation rate and diffusion of every observable over dt, the plateau shaded.

    Parameters
    ----------
    plateau : Plateau
        What `plateau.dt_plateau` returns.
    dt : float, default=None
        The dt chosen.

    Attributes
    ----------
    errorbars_ : list of matplotlib ErrorbarContainer
        Rates of all observables, then diffusions.
    spans_ : list of matplotlib Rectangle
        The plateau in both panels; empty where there is none.
    dt_lines_ : list of matplotlib Line2D
        The dt chosen, in both panels.
    axes_ : ndarray of matplotlib Axes of shape (2,)
        Rates and diffusion.

    Examples
    --------
    >>> from sklmacro.scoring import dt_plateau
    >>> from sklmacro.plots import PlateauDisplay
    >>> from sklmacro.simulators import LinearChain
    >>> chain = LinearChain(force=0.0, gamma=0.1)
    >>> X = chain.sample_initial(40, 12, random_state=0)
    >>> plateau = dt_plateau(chain, X, [0.1, 0.2, 0.4, 10.0, 40.0], random_state=0)
    >>> display = PlateauDisplay(plateau, dt=0.2).plot()
    >>> len(display.errorbars_), display.axes_[1].get_ylabel()
    (2, 'diffusion')
    """

    plateau: Plateau
    _: KW_ONLY
    dt: float | None = None

    def plot(self, ax: Any = None, *, relative: bool = False, time_label: str = "dt") -> Self:
        """Draw both panels.

        Parameters
        ----------
        ax : two matplotlib Axes, for rates and diffusion; None makes a new figure
        relative : bool, default=False
            Draw each curve over its value at the shortest dt, so that observables of different
            size compare.
        time_label : str, default="dt"
            Label of the axis of dt.
        """
        axes = self._panels(ax, 2)
        plateau = self.plateau
        dt = None if self.dt is None else check_real(self.dt, "dt", low=0.0, strict=True)
        look: dict[str, Any]
        self.errorbars_: list = []
        self.spans_: list = []
        self.dt_lines_: list = []
        for panel, what in zip(axes, ("rate", "diffusion"), strict=True):
            values, errors = getattr(plateau, what), getattr(plateau, f"{what}_error")
            unit = values[0] if relative else np.ones(len(plateau.names))
            for k, name in enumerate(plateau.names):
                bars = panel.errorbar(
                    plateau.dts, values[:, k] / unit[k], errors[:, k] / abs(unit[k]), label=name,
                    capsize=2, ms=5, lw=1.4, **curve(k),
                )  # fmt: skip
                self.errorbars_.append(bars)
            if plateau.interval is not None:
                look = {"color": SHADE, "lw": 0, "zorder": 0, "label": "plateau"}
                self.spans_.append(panel.axvspan(*plateau.interval, **look))
            if dt is not None:
                look = {"color": TRUE, "ls": ":", "lw": 1.2, "label": f"dt = {dt:g}"}
                self.dt_lines_.append(panel.axvline(dt, **look))
            _time_axis(panel, plateau.dts)
            panel.set(xlabel=time_label, ylabel=f"{what} / first" if relative else what)
        legend(axes[1])
        return self


def _time_axis(ax: "Axes", dts: np.ndarray) -> None:
    """Scale the axis of dt by logarithms, with a place for 0."""
    shortest = dts[dts > 0][0]
    if dts[0] > 0:
        ax.set_xscale("log")
        return
    ax.set_xscale("symlog", linthresh=shortest, linscale=0.5)
    ax.set_xlim(-0.3 * shortest, 1.3 * dts[-1])
    decades = 10.0 ** np.arange(np.ceil(np.log10(shortest)), np.log10(dts[-1]) + 0.1)
    ax.set_xticks([0.0, *decades], ["0", *(f"{decade:g}" for decade in decades)])
    ax.minorticks_off()
