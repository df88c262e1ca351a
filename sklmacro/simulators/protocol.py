"""What a simulator may or must provide, with slow defaults in plain numpy."""

from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from sklmacro._base.streams import Streams
from sklmacro.lattice.enlarge import enlarge
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window, grown, whole
from sklmacro.simulators.events import Events


class Hooks(BaseEstimator):
    """Attributes and hooks of `Simulator`."""

    kind: str = "chain"
    boundary: str = "open"
    n_fields: ClassVar[int] = 1
    state_dtype: ClassVar[type] = np.float64
    two_valued: ClassVar[bool] = False
    observable_names: ClassVar[tuple[str, ...]] = ("mean",)
    observable_units: ClassVar[tuple[str, ...]] = ("1",)
    observable_bounds: ClassVar[tuple[tuple[float, float], ...]] = ((-np.inf, np.inf),)
    observable_range: ClassVar[int] = 0
    fast_observables: ClassVar[tuple[str, ...]] = ()
    has_events: ClassVar[bool] = False
    isotropic: ClassVar[bool] = False
    upsample_method: ClassVar[str] = "replicate"
    relax_time: ClassVar[float] = 0.0
    pair_time: ClassVar[float] = 0.1

    # Hooks ------------------------------------------------------------------------------------

    @property
    def parity(self) -> tuple[int, ...] | None:
        """Signs +-1 of the observables of -x relative to x, where -x evolves as x does.

        None where the dynamics have no such symmetry.
        """
        return None

    def _draw_initial(self, lattice: Lattice, rng: np.random.Generator) -> np.ndarray:
        """Return one initial snapshot."""
        raise NotImplementedError(f"{type(self).__name__} does not draw initial snapshots.")

    def _advance_window(
        self,
        x: np.ndarray,
        lattice: Lattice,
        window: Window,
        duration: float | None,
        n_events: int | None,
        rng: np.random.Generator,
    ) -> float:
        """Evolve the cells of `window` in place, the rest frozen; return the elapsed time.

        Exactly one of `duration` and `n_events` is given.
        """
        raise NotImplementedError(f"{type(self).__name__} does not evolve snapshots.")

    def _events(self, x: np.ndarray, lattice: Lattice, window: Window) -> Events:
        """Return what can happen next in `window`, for a jump process; see `Events`."""
        raise NotImplementedError(f"{type(self).__name__} does not list events.")

    def _one_step(
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

        The default is the fields themselves, so that the observables are their means.
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

    def _validate_parameters(self) -> None:
        """Raise ValueError for parameters that make no sense."""

    @property
    def process(self) -> str | None:
        """How moments are found: "jump" by `_events`, "diffusion" by `_one_step`, None by none."""
        for process, hook in (("jump", "_events"), ("diffusion", "_one_step")):
            if getattr(type(self), hook) is not getattr(Hooks, hook):
                return process
        return None

    def check_moments(self) -> None:
        """Raise ValueError unless the moments of increments can be given."""
        name = type(self).__name__
        if self.process is None:
            raise ValueError(
                f"Expected a simulator with moments of increments, but got {name}, which has "
                "neither _events (a jump process) nor _one_step (a diffusion); write one of them, "
                "or sample increments."
            )
        plain = type(self).density is Hooks.density and self.n_observables == self.n_fields
        if self.process == "diffusion" and not plain:
            raise ValueError(
                "Expected the fields' means as the observables of a diffusion, but got densities "
                f"of their own in {name}; override _moments_apart, or sample increments."
            )

    # Overridden where a kernel is faster --------------------------------------------------------

    def _advance_windows(
        self,
        x: np.ndarray,
        lattice: Lattice,
        origins: np.ndarray,
        extent: tuple[int, ...],
        duration: float | None,
        n_events: int | None,
        rng: np.random.Generator,
    ) -> None:
        """Evolve windows of one extent one after the other, in place."""
        for origin in origins:
            window = (tuple(int(o) for o in origin), extent)
            self._advance_window(x, lattice, window, duration, n_events, rng)

    def _advance_observed(
        self,
        x: np.ndarray,
        lattice: Lattice,
        window: Window,
        duration: float | None,
        n_events: int | None,
        rng: np.random.Generator,
    ) -> tuple[float, np.ndarray]:
        """Evolve the cells of `window` in place; return the elapsed time and a change.

        It is the change (n_observables,) of the densities' sums over the whole lattice.
        """
        reach = self.observable_range
        seen = grown(lattice, window, reach) if reach else window
        before = self._site_sums(x, lattice, seen)
        elapsed = self._advance_window(x, lattice, window, duration, n_events, rng)
        return elapsed, self._site_sums(x, lattice, seen) - before

    def _advance_apart(
        self,
        X: np.ndarray,
        lattice: Lattice,
        origins: np.ndarray,
        extent: tuple[int, ...],
        duration: float | None,
        n_events: int | None,
        streams: Streams,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evolve windows of snapshots X, each by itself; X is not changed.

        `origins` (n_samples, p, ndim) are those of p windows of each snapshot. Returns the evolved
        windows (n_samples, p, ...), their times (n_samples, p), and the changes
        (n_samples, p, n_observables) of the densities' sums over the whole lattice.
        """
        evolved, elapsed, changes = [], [], []
        for x, places, rng in zip(X, origins, streams, strict=True):
            y = x.copy()
            for place in places.tolist():
                window = tuple(place), extent
                box = lattice.mesh(*window)
                time, change = self._advance_observed(y, lattice, window, duration, n_events, rng)
                evolved.append(y[box])
                elapsed.append(time)
                changes.append(change)
                y[box] = x[box]
        shape = origins.shape[:2]
        return (
            np.reshape(evolved, (*shape, *evolved[0].shape)),
            np.reshape(elapsed, shape),
            np.reshape(changes, (*shape, -1)),
        )

    def _moments_apart(
        self, X: np.ndarray, lattice: Lattice, origins: np.ndarray, extent: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the moments per time of what windows of snapshots X do as dt -> 0.

        `origins` (n_samples, p, ndim) are those of p windows of each snapshot. They are b
        (n_samples, p, n_observables) and A (n_samples, p, n_observables, n_observables), mean and
        covariance of the change of the densities' sums over the whole lattice; see `_events`.
        """
        find = self._event_moments if self.process == "jump" else self._field_moments
        found = [
            find(x, lattice, (tuple(place), extent))
            for x, places in zip(X, origins, strict=True)
            for place in places.tolist()
        ]
        b, A = (np.array(part) for part in zip(*found, strict=True))
        shape = origins.shape[:2]
        return b.reshape(*shape, *b.shape[1:]), A.reshape(*shape, *A.shape[1:])

    def _event_moments(
        self, x: np.ndarray, lattice: Lattice, window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._events(x, lattice, window).moments()

    def _field_moments(
        self, x: np.ndarray, lattice: Lattice, window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        drift, noise = (
            np.reshape(part, (-1, self.n_fields)) for part in self._one_step(x, lattice, window)
        )
        return drift.sum(axis=0), np.diag((noise**2).sum(axis=0))

    def _site_sums(self, x: np.ndarray, lattice: Lattice, window: Window) -> np.ndarray:
        """Return the sum over a window's sites of each density, shape (n_observables,)."""
        box = lattice.mesh(*window)
        density = self.density(x)[box] if self.observable_range else self.density(x[box])
        return density.sum(axis=tuple(range(density.ndim - 1)), dtype=np.float64)

    def _means(self, x: np.ndarray, lattice: Lattice) -> np.ndarray:
        return self._site_sums(x, lattice, whole(lattice)) / lattice.n_sites
