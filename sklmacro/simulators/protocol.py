"""The protocol of simulators: what a subclass writes, and what the estimators call.

A snapshot `x` has shape `(*site_shape,)`, or `(*site_shape, n_fields)` where a site carries several
fields; a batch `X` has `n_samples` in front. The observables are site-additive: observable k of a
snapshot is the mean over its sites of a density `f_k(x_i, neighbours of i)`. Hence they are
intensive, they apply to every lattice size, and Eqs. 14-15 hold exactly.

A subclass writes `draw_initial`, `advance_window` and, unless the observables are the fields'
means, `density`. For moments of increments it writes `events` if it is a jump process, or
`one_step` if it is a diffusion. All else has defaults in plain numpy, which fast simulators replace
by kernels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator

from sklmacro._base.checks import (
    as_data,
    check_finite,
    check_integer,
    check_real,
    is_exact,
    pieces,
)
from sklmacro.lattice.enlarge import enlarge
from sklmacro.lattice.lattice import Lattice, n_axes
from sklmacro.lattice.windows import Window
from sklmacro.simulators.events import Events

# Hooks as they were named before.
FORMER_HOOKS = {
    "_draw_initial": "draw_initial(lattice, rng)",
    "_advance_window": "advance_window(x, lattice, evolution)",
    "_events": "events(x, lattice, window)",
    "_one_step": "one_step(x, lattice, window)",
    "_validate_parameters": "check_parameters()",
    "_advance_windows": "advance_windows(x, lattice, evolutions)",
    "_advance_observed": "advance_observed(x, lattice, evolution)",
    "_advance_apart": "advance_apart(X, lattice, evolutions)",
    "_moments_apart": "moments_apart(X, lattice, origins, extent)",
    "_site_sums": "site_sums(x, lattice, window)",
    "_trajectory": "trajectory(x, lattice, rng)",
}


@dataclass(frozen=True)
class Duration:
    """Evolve for a physical time."""

    time: float
    number: ClassVar[None] = None


@dataclass(frozen=True)
class EventCount:
    """Evolve for a number of events; the time that they take is random."""

    number: int
    time: ClassVar[None] = None


Span: TypeAlias = Duration | EventCount


class Evolution(NamedTuple):
    """One evolution of a snapshot: where, for how long, and with which random numbers.

    Attributes
    ----------
    window : Window
        Cells that evolve, as (origin, extent); the rest is frozen.
    span : Duration or EventCount
        `span.time` is the physical time, or None where `span.number` counts events.
    rng : numpy.random.Generator
    """

    window: Window
    span: Span
    rng: np.random.Generator


class Evolutions(NamedTuple):
    """Evolutions of windows of one extent, for one span.

    Attributes
    ----------
    origins : ndarray of int, shape (p, ndim) or (n_samples, p, ndim)
        First cells of p windows of one snapshot, or of each of several.
    extent : tuple of int, (ndim,)
        Cells of a window.
    span : Duration or EventCount
    rng : numpy.random.Generator, or Streams
        Generator of the snapshot, or one for each.
    """

    origins: np.ndarray
    extent: tuple[int, ...]
    span: Span
    rng: Any


class SimulatorProtocol(BaseEstimator):
    """Attributes and hooks of `Simulator`."""

    kind: str = "chain"
    boundary: str = "open"
    n_fields: ClassVar[int] = 1
    state_dtype: ClassVar[type] = np.float64
    two_valued: ClassVar[bool] = False
    state_names: Mapping[int, str] = {}
    observable_names: ClassVar[tuple[str, ...]] = ("mean",)
    observable_units: ClassVar[tuple[str, ...]] = ("1",)
    observable_bounds: ClassVar[tuple[tuple[float, float], ...]] = ((-np.inf, np.inf),)
    observable_range: ClassVar[int] = 0
    fast_observables: ClassVar[tuple[str, ...]] = ()
    conserved_observables: ClassVar[tuple[str, ...]] = ()
    has_events: ClassVar[bool] = False
    isotropic: ClassVar[bool] = False
    upsample_method: ClassVar[str] = "replicate"
    start_method: ClassVar[str] = "simulator"
    n_packed: ClassVar[int] = 1
    relax_time: ClassVar[float] = 0.0
    pair_time: ClassVar[float] = 0.1

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in FORMER_HOOKS.keys() & vars(cls).keys():
            raise TypeError(
                f"Expected hooks of a simulator by their present names, but got {name} in "
                f"{cls.__name__}; write {FORMER_HOOKS[name]}, see "
                "sklmacro.simulators.Simulator."
            )

    # Written by a subclass ------------------------------------------------------------------------

    @property
    def parity(self) -> tuple[int, ...] | None:
        """Signs +-1 of the observables of -x relative to x, where -x evolves as x does.

        None where the dynamics have no such symmetry.
        """
        return None

    def draw_initial(self, lattice: Lattice, rng: np.random.Generator) -> np.ndarray:
        """Return one initial snapshot."""
        raise NotImplementedError(f"{type(self).__name__} does not draw initial snapshots.")

    def advance_window(self, x: np.ndarray, lattice: Lattice, evolution: Evolution) -> float:
        """Evolve the cells of a window in place, the rest frozen; return the elapsed time."""
        raise NotImplementedError(f"{type(self).__name__} does not evolve snapshots.")

    def events(self, x: np.ndarray, lattice: Lattice, window: Window) -> Events:
        """Return what can happen next in `window`, for a jump process; see `Events`."""
        raise NotImplementedError(f"{type(self).__name__} does not list events.")

    def one_step(
        self, x: np.ndarray, lattice: Lattice, window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return drift and noise of the fields in `window`, for a diffusion.

        Both have the shape of the window, fields included: dx = drift dt + noise dW with
        independent dW; drift is a change per time, noise one per square root of time. For a model
        in discrete steps they are the mean and the standard deviation of one.
        """
        raise NotImplementedError(f"{type(self).__name__} does not give drift and noise.")

    def density(self, x: np.ndarray) -> np.ndarray:
        """Return the observables' densities (*site_shape, n_observables) of one snapshot.

        It is called with boxes of a snapshot, too. An edge of a box is an edge of the lattice, or
        what comes within `observable_range` cells of it is not used. The default is the fields
        themselves, so that the observables are their means.
        """
        return x if self.n_fields > 1 else x[..., np.newaxis]

    def upsample(
        self,
        x: np.ndarray,
        factor: tuple[int, ...],
        rng: np.random.Generator,
        nearby: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return one snapshot `factor` times larger along each axis, by `upsample_method`.

        `nearby` (m, *snapshot shape) are snapshots close in time to x, x among them, for methods
        that put a large snapshot together from several.
        """
        periodic = self.boundary == "periodic"
        return enlarge(x, factor, self.upsample_method, rng, periodic=periodic)

    def check_parameters(self) -> None:
        """Raise ValueError for parameters that make no sense."""

    # Replaced where a kernel is faster ------------------------------------------------------------

    def advance_windows(self, x: np.ndarray, lattice: Lattice, evolutions: Evolutions) -> None:
        """Evolve p windows in place, one after the other."""
        origins, extent, span, rng = evolutions
        for origin in origins.tolist():
            self.advance_window(x, lattice, Evolution(Window(tuple(origin), extent), span, rng))

    def advance_observed(
        self, x: np.ndarray, lattice: Lattice, evolution: Evolution
    ) -> tuple[float, np.ndarray]:
        """Evolve the cells of a window in place; return the elapsed time and a change.

        It is the change (n_observables,) of the densities' sums over the whole lattice.
        """
        reach, window = self.observable_range, evolution.window
        halo = lattice.grow(*window, reach) if reach else window
        before = self.site_sums(x, lattice, halo)
        elapsed = self.advance_window(x, lattice, evolution)
        return elapsed, self.site_sums(x, lattice, halo) - before

    def advance_apart(
        self, X: np.ndarray, lattice: Lattice, evolutions: Evolutions
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evolve p windows of each snapshot of X, each by itself; X is not changed.

        Returns the evolved windows (n_samples, p, ...), their times (n_samples, p), and the changes
        (n_samples, p, n_observables) of the densities' sums over the whole lattice.
        """
        origins, extent, span, streams = evolutions
        evolved, times, changes = [], [], []
        for x, own, rng in zip(X, origins.tolist(), streams, strict=True):
            y = x.copy()
            for origin in own:
                window = Window(tuple(origin), extent)
                box = lattice.mesh(*window)
                elapsed, change = self.advance_observed(y, lattice, Evolution(window, span, rng))
                evolved.append(y[box])
                times.append(elapsed)
                changes.append(change)
                y[box] = x[box]
        shape = origins.shape[:2]
        return (
            np.reshape(evolved, (*shape, *evolved[0].shape)),
            np.reshape(times, shape),
            np.reshape(changes, (*shape, -1)),
        )

    def moments_apart(
        self, X: np.ndarray, lattice: Lattice, origins: np.ndarray, extent: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the moments per time of what windows of snapshots X do as dt -> 0.

        `origins` (n_samples, p, ndim) are those of p windows of each snapshot. They are b
        (n_samples, p, n_observables) and A (n_samples, p, n_observables, n_observables), mean and
        covariance of the change of the densities' sums over the whole lattice; see `Events`.
        """
        moments = []
        for x, own in zip(X, origins.tolist(), strict=True):
            for origin in own:
                window = Window(tuple(origin), extent)
                if self.process == "jump":
                    moments.append(self.events(x, lattice, window).moments())
                    continue
                drift, noise = (
                    np.reshape(part, (-1, self.n_fields))
                    for part in self.one_step(x, lattice, window)
                )
                moments.append((drift.sum(axis=0), np.diag((noise**2).sum(axis=0))))
        b, A = (np.array(part) for part in zip(*moments, strict=True))
        shape = origins.shape[:2]
        return b.reshape(*shape, *b.shape[1:]), A.reshape(*shape, *A.shape[1:])

    def site_sums(self, x: np.ndarray, lattice: Lattice, window: Window) -> np.ndarray:
        """Return the sum over a window's sites of each density, shape (n_observables,).

        Densities use the true neighbours across the window's edge: that of the window and a rim of
        `observable_range` cells is computed, whose outermost values are not used, and no more.
        """
        if self.observable_range:
            seen = lattice.grow(*window, self.observable_range)
            density = self.density(x[lattice.mesh(*seen)])[lattice.mesh_within(seen, window)]
        else:
            density = self.density(x[lattice.mesh(*window)])
        return density.sum(axis=tuple(range(density.ndim - 1)), dtype=np.float64)

    # Called by the estimators ---------------------------------------------------------------------

    @property
    def n_observables(self) -> int:
        """Number of observables."""
        return len(self.observable_names)

    @property
    def changing(self) -> np.ndarray:
        """Whether each observable can change, (n_observables,): not the conserved ones.

        Raises
        ------
        ValueError
            If `conserved_observables` names another observable than the simulator has.
        """
        names, conserved = self.observable_names, self.conserved_observables
        if isinstance(conserved, str) or not set(conserved) <= set(names):
            raise ValueError(
                f"Expected conserved_observables to be a tuple of some of {names}, but "
                f"{type(self).__name__} has {conserved!r}; name observables that never change."
            )
        return np.array([name not in conserved for name in names])

    def conserve(self, changes: np.ndarray) -> np.ndarray:
        """Return changes (..., n_observables) of observables, exactly 0 in the conserved ones."""
        return np.where(self.changing, changes, 0.0) if self.conserved_observables else changes

    def site_means(self, x: np.ndarray, lattice: Lattice) -> np.ndarray:
        """Return the observables (n_observables,) of one snapshot."""
        return self.site_sums(x, lattice, lattice.full_window) / lattice.n_sites

    @property
    def process(self) -> str | None:
        """How moments are found: "jump" by `events`, "diffusion" by `one_step`, None by none."""
        for process, hook in (("jump", "events"), ("diffusion", "one_step")):
            if getattr(type(self), hook) is not getattr(SimulatorProtocol, hook):
                return process
        return None

    def lattice(self, snapshot_shape: Sequence[int]) -> Lattice:
        """Return the lattice of snapshots of shape `(*site_shape[, n_fields])`.

        Raises
        ------
        ValueError
            If no lattice of this simulator's kind has such snapshots.
        """
        shape = tuple(int(s) for s in snapshot_shape)
        probe = Lattice(self.kind, (1,) * n_axes(self.kind), self.boundary)
        tail = probe.site_shape[probe.ndim :] + ((self.n_fields,) if self.n_fields > 1 else ())
        if len(shape) != probe.ndim + len(tail) or shape[probe.ndim :] != tail or 0 in shape:
            wanted = ", ".join([f"n_cells_{a}" for a in range(probe.ndim)] + [str(t) for t in tail])
            raise ValueError(
                f"Expected snapshots X of shape (n_samples, {wanted}) for {type(self).__name__} "
                f"on a {self.kind} lattice, but got snapshots of shape {shape}; reshape X, or "
                "choose the simulator that it comes from."
            )
        return Lattice(self.kind, shape[: probe.ndim], self.boundary)

    def check_snapshots(self, X: Any) -> np.ndarray:
        """Return `X` as a checked array of snapshots in the simulator's own type.

        Raises
        ------
        ValueError
            If X has the wrong shape, is empty, or holds NaN, infinity or states that the model
            does not have.
        """
        X = np.asarray(as_data(X, "snapshots", booleans=True))
        if X.dtype.kind not in "biuf":
            raise ValueError(
                f"Expected numeric snapshots, but got an array of dtype {X.dtype}; "
                "pass an array of numbers."
            )
        if X.ndim < 1 or len(X) == 0:
            raise ValueError(
                f"Expected at least one snapshot, but got an array of shape {X.shape}; pass X of "
                "shape (n_samples, ...)."
            )
        self.lattice(X.shape[1:])
        return self.check_states(X)

    def check_states(self, X: np.ndarray) -> np.ndarray:
        """Return numbers `X` in the simulator's own type, if the model has such states.

        Raises
        ------
        ValueError
            If X holds NaN, infinity or states that the model, or its type, does not have.
        """
        real = X.dtype.kind == "f"
        if real:
            check_finite(X, "snapshots")
        if self.two_valued and not (
            X.min() >= -1
            and X.max() <= 1
            and np.count_nonzero(X) == X.size
            and (not real or all((np.abs(piece) == 1).all() for piece in pieces(X)))
        ):
            wrong = X[np.abs(X) != 1].ravel()[0]
            raise ValueError(
                f"Expected the states of {type(self).__name__} to be -1 or +1, but got {wrong!r}; "
                "map 0 and 1 with 2 * X - 1."
            )
        if self.two_valued or np.can_cast(X.dtype, self.state_dtype):
            return X.astype(self.state_dtype, copy=False)
        return self._cast(X)

    def _cast(self, X: np.ndarray) -> np.ndarray:
        """Return finite numbers in the simulator's own type, if it can hold them."""
        dtype = np.dtype(self.state_dtype)
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                return check_finite(X.astype(dtype), f"snapshots of type {dtype}")
        for piece in pieces(X):
            exact = is_exact(piece, dtype)
            if not exact.all():
                raise ValueError(
                    f"Expected the states of {type(self).__name__} to be numbers that {dtype} "
                    f"holds, but got {piece[~exact][0]!r}; encode them as such, or choose the "
                    "simulator that they come from."
                )
        return X.astype(dtype)

    def check_span(self, duration: float | None = None, n_events: int | None = None) -> Span:
        """Return the span of an evolution, given by exactly one of its two sizes.

        Raises
        ------
        ValueError
            If none or both are given, or the one given, or a parameter, makes no sense.
        """
        self.check_parameters()
        if (duration is None) == (n_events is None):
            raise ValueError(
                "Expected either duration or n_events, but got "
                f"duration={duration!r} and n_events={n_events!r}; give exactly one."
            )
        if duration is not None:
            return Duration(check_real(duration, "duration", low=0.0))
        if not self.has_events:
            raise ValueError(
                f"Expected a duration for {type(self).__name__}, but got n_events={n_events}; "
                "its dynamics is continuous and has no events, so pass duration."
            )
        return EventCount(check_integer(n_events, "n_events", low=0))

    def check_moments(self) -> None:
        """Raise ValueError unless the moments of increments can be given."""
        name = type(self).__name__
        if self.process is None:
            raise ValueError(
                f"Expected a simulator with moments of increments, but got {name}, which has "
                "neither events (a jump process) nor one_step (a diffusion); write one of them, "
                "or sample increments."
            )
        plain = type(self).density is SimulatorProtocol.density
        if self.process == "diffusion" and not (plain and self.n_observables == self.n_fields):
            raise ValueError(
                "Expected the fields' means as the observables of a diffusion, but got densities "
                f"of their own in {name}; override moments_apart, or sample increments."
            )
