"""Simulator: the microscopic physics, and nothing that learns.

What a simulator of one's own writes, and what the estimators call, stands in
`sklmacro.simulators.protocol`; here is what its users call.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sklmacro._base.checks import (
    as_data,
    check_cells,
    check_choice,
    check_integer,
    check_numbers,
    check_times,
)
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro._base.workers import fill_rows, numbered_rows
from sklmacro.checkpoint.checkpoint import resume
from sklmacro.lattice.lattice import Lattice, n_axes
from sklmacro.lattice.windows import Window
from sklmacro.simulators.protocol import Evolution, SimulatorProtocol
from sklmacro.simulators.starts import choose_even, choose_near, n_candidates
from sklmacro.simulators.trajectories import Trajectory, follow

AT_A_TIME = 1 << 18  # sites of draws that are observed together


class Simulator(SimulatorProtocol):
    """Base class of the microscopic simulators.

    Subclasses set the class attributes below and write the hooks `draw_initial`, `advance_window`
    and `density`, and one of `events` and `one_step` for moments of increments. Parameters are
    those of the subclass's `__init__`, which only assigns them.

    Attributes
    ----------
    kind : str
        Kind of lattice, see `Lattice`.
    boundary : str
        "periodic" or "open".
    n_fields : int
        Fields per site; one field adds no axis to the snapshots.
    state_dtype : type
        Type in which snapshots are held.
    two_valued : bool
        True if sites are -1 or +1.
    state_names : dict of int to str
        Names of all states of a site, where they are some integers; empty if not declared.
    observable_names, observable_units : tuple of str
        Names and units of the observables.
    observable_bounds : tuple of (float, float)
        Range that no observable can leave.
    observable_range : int
        Distance in cells over which a site's density depends on its neighbours.
    fast_observables : tuple of str
        Names of the observables that soon follow the others, see `LocalRelax`.
    conserved_observables : tuple of str
        Names of the observables that the dynamics on the whole lattice never changes, such as a
        composition. What flows across the edges of a patch cancels over the lattice: increments of
        patches, their moments and the diffusion are exactly 0 in these.
    has_events : bool
        True if the dynamics can be advanced by a number of events.
    parity : tuple of int, or None
        Signs of the observables of -x relative to x; None unless -x evolves as x does.
    isotropic : bool
        True if the dynamics are the same after turns and reflections of the lattice.
    upsample_method : str
        How `upsample` enlarges a snapshot: "replicate", "linear", "tile" or "shuffle".
    start_method : str
        The `method` by which `HierarchicalUpsampler` makes large snapshots as `draw_initial` would
        draw them, of initial ones: "shuffle" where it draws sites in random order, else
        "simulator".
    n_packed : int
        Trajectories that `simulate` advances together with packed=True; 1 if it cannot.
    relax_time, pair_time : float
        Suggested duration of one LocalRelax visit and of one partial evolution.
    """

    @property
    def observable_labels(self) -> tuple[str, ...]:
        """Names of the observables, with units but for pure numbers, as in "length [nm]"."""
        pairs = zip(self.observable_names, self.observable_units, strict=True)
        return tuple(name if unit == "1" else f"{name} [{unit}]" for name, unit in pairs)

    def sample_initial(
        self,
        n_samples: int,
        cells: int | Sequence[int],
        *,
        observables: Any = None,
        random_state: Any = None,
    ) -> np.ndarray:
        """Draw initial snapshots.

        Parameters
        ----------
        n_samples : int
            Number of snapshots.
        cells : int or sequence of int
            Cells along each axis.
        observables : "even" or array-like of shape (n_samples, n_observables), default=None
            Which of many draws are taken, see `sklmacro.simulators.starts`. "even" takes those
            whose observables are spread evenly over the range that draws have; the
            `fast_observables` do not count, and where none varies the first draws are taken. With
            values, draw k is the one nearest to row k, in which NaN stands for any value. How near
            it is, `observe` tells: no draw is outside the range of draws. None takes every draw.
        random_state : None, int, RandomState or Generator
            Seed; draw k has its own stream.

        Returns
        -------
        X : ndarray of shape (n_samples, *site_shape[, n_fields])

        Examples
        --------
        >>> from sklmacro.simulators import Ising
        >>> ising = Ising()
        >>> X = ising.sample_initial(5, 16, observables="even", random_state=0)
        >>> ising.observe(X)[:, 0].round(2)
        array([-1. , -0.5,  0. ,  0.5,  1. ])
        >>> given = [[0.25, float("nan")], [0.75, float("nan")]]
        >>> X = ising.sample_initial(2, 16, observables=given, random_state=0)
        >>> ising.observe(X)[:, 0]
        array([0.25, 0.75])
        """
        self.check_parameters()
        n_samples = check_integer(n_samples, "n_samples", low=1)
        lattice = Lattice(self.kind, check_cells(cells, "cells", n_axes(self.kind)), self.boundary)
        entropy = resolve_entropy(random_state)

        def draw(number: int) -> np.ndarray:
            return self.draw_initial(lattice, stream(entropy, Stage.INITIAL, number))

        numbers = range(n_samples)
        if observables is not None:
            numbers = self._choose_draws(n_samples, lattice, observables, draw)
        return np.stack([draw(number) for number in numbers])

    def _choose_draws(
        self, n: int, lattice: Lattice, observables: Any, draw: Callable[[int], np.ndarray]
    ) -> Any:
        """Return the numbers (n,) of the draws whose observables are as they are wanted."""
        even = isinstance(observables, str)
        if even:
            check_choice(observables, "observables", ("even",))
        else:
            targets, shape = check_numbers(observables, "observables"), (n, self.n_observables)
            if targets.shape != shape or np.isinf(targets).any():
                raise ValueError(
                    f"Expected observables to be 'even' or numbers of shape {shape}, none of them "
                    f"infinite, but got shape {targets.shape}; pass a row for each snapshot, with "
                    "NaN for what may have any value."
                )
        last, step = n_candidates(n, lattice.n_sites), max(1, AT_A_TIME // lattice.n_sites)
        batches = (range(k, min(k + step, last)) for k in range(0, last, step))
        z = np.concatenate([self.observe(np.stack([*map(draw, batch)])) for batch in batches])
        if not even:
            return choose_near(z, targets)
        slow = [name not in self.fast_observables for name in self.observable_names]
        return choose_even(z[:, slow] if any(slow) else z, n)

    def advance(
        self,
        X: Any,
        *,
        duration: float | None = None,
        n_events: int | None = None,
        window: Window | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Evolve every snapshot for a time or for a number of events.

        Parameters
        ----------
        X : array-like of shape (n_samples, *site_shape[, n_fields])
            Snapshots; not changed.
        duration : float, default=None
            Physical time. Give this or `n_events`.
        n_events : int, default=None
            Number of events.
        window : (origin, extent), default=None
            Box of cells to evolve, the outside frozen; None evolves the whole lattice.
        random_state : None, int, RandomState or Generator
            Seed; snapshot k has its own stream.
        n_jobs : int, default=None
            Workers over the snapshots; the result does not depend on it.
        checkpoint_dir : str or Path, default=None
            Folder in which finished snapshots are saved; after an interrupt, the same call resumes
            from there, with the same result.

        Returns
        -------
        X_next : ndarray of the shape of X
        elapsed : ndarray of shape (n_samples,)
            Physical time that passed.
        """
        X, span = self.check_snapshots(X), self.check_span(duration, n_events)
        lattice = self.lattice(X.shape[1:])
        window = lattice.full_window if window is None else lattice.check_window(window)
        settings = {
            "simulator": self, "X": X, "duration": duration, "n_events": n_events, "window": window,
        }  # fmt: skip
        name = f"advance {type(self).__name__}"
        with resume(checkpoint_dir, name, settings, random_state) as (checkpoint, entropy):

            def work(batch: np.ndarray, start: int) -> dict[str, np.ndarray]:
                batch = batch.copy()
                rngs = (stream(entropy, Stage.ADVANCE, k) for k in range(start, start + len(batch)))
                times = [
                    self.advance_window(x, lattice, Evolution(window, span, rng))
                    for x, rng in zip(batch, rngs, strict=True)
                ]
                return {"X_next": batch, "elapsed": np.array(times)}

            rows = fill_rows(work, numbered_rows(X), len(X), checkpoint, n_jobs=n_jobs)
        return rows["X_next"], rows["elapsed"]

    def simulate(
        self,
        X: Any,
        times: Any,
        *,
        observe: bool = False,
        packed: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> np.ndarray:
        """Simulate trajectories that start at X at time 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, *site_shape[, n_fields])
            Snapshots at time 0; not changed.
        times : array-like of shape (n_times,)
            Increasing times at which to record, 0 or later.
        observe : bool, default=False
            Record the observables instead of the snapshots.
        packed : bool, default=False
            Advance 64 trajectories at once, in the bits of words: about ten times faster, for an
            `Ising` model on a periodic square lattice. Rows 64 k ... 64 k + 63 share one stream,
            and with it the times and the sites of the attempts, but no random bit that decides an
            attempt. Each path has the exact law; the paths of one block are not independent of
            each other, so that their mean is less certain than that of as many independent ones.
            Blocks are independent.
        random_state : None, int, RandomState or Generator
            Seed; each trajectory, or each block, has its own stream.
        n_jobs : int, default=None
            Workers over the trajectories or blocks; the result does not depend on it.
        verbose : bool, default=False
            Show progress with the time left.
        checkpoint_dir : str or Path, default=None
            Folder in which finished trajectories are saved, and how far the others have come; an
            interrupted call resumes there when it is made again, with the same result.

        Returns
        -------
        paths : ndarray of shape (n_samples, n_times, *snapshot shape), or with `observe` \
                (n_samples, n_times, n_observables)
        """
        X, times = self.check_snapshots(X), check_times(times)
        self.check_parameters()
        if packed and self.n_packed == 1:
            raise ValueError(
                "Expected an Ising model on a periodic square lattice for packed=True, but got "
                f"{self!r}; leave packed at False."
            )
        lattice, steps = self.lattice(X.shape[1:]), np.diff(times, prepend=0.0)
        together = self.n_packed if packed else 1
        begin = self.packed_trajectory if packed else self.trajectory
        shape = (self.n_observables,) if observe else X.shape[1:]
        dtype = np.float64 if observe else self.state_dtype
        settings = {"simulator": self, "X": X, "times": times, "observe": observe, "packed": packed}
        name = f"simulate {type(self).__name__}"
        with resume(checkpoint_dir, name, settings, random_state) as (checkpoint, entropy):

            def work(starts: np.ndarray, first: int) -> dict[str, np.ndarray]:
                batch = np.empty((len(starts), len(steps), *shape), dtype)
                for i in range(0, len(starts), together):
                    own, k = slice(i, i + together), first + i
                    x, rng = starts[own].copy(), stream(entropy, Stage.ADVANCE, k // together)
                    trajectory = begin(x if packed else x[0], lattice, rng)
                    records = batch[own].swapaxes(0, 1)
                    follow(trajectory, steps, observe, records, checkpoint, f"row-{k}")
                return {"paths": batch}

            rows = fill_rows(
                work, numbered_rows(X), len(X), checkpoint, together=together, desc=name,
                n_jobs=n_jobs, verbose=verbose,
            )  # fmt: skip
        return rows["paths"]

    def trajectory(self, x: np.ndarray, lattice: Lattice, rng: np.random.Generator) -> Trajectory:
        """Return a trajectory of x, which changes in place.

        Replaced where a simulator keeps more between two times than the snapshot and `rng`.
        """
        return Trajectory(self, x, lattice, rng)

    def packed_trajectory(
        self, X: np.ndarray, lattice: Lattice, rng: np.random.Generator
    ) -> Trajectory:
        """Return one trajectory of up to `n_packed` snapshots X, for packed=True."""
        raise NotImplementedError(f"{type(self).__name__} does not pack trajectories.")

    def observe(self, X: Any) -> np.ndarray:
        """Return the observables z* (n_samples, n_observables) of snapshots."""
        X = self.check_snapshots(X)
        lattice = self.lattice(X.shape[1:])
        return np.stack([self.site_means(x, lattice) for x in X])

    def observe_window(self, x: np.ndarray, window: Window) -> np.ndarray:
        """Return the observables (n_observables,) of a window of one snapshot.

        Densities use the true neighbours across the window's edge.
        """
        x = as_data(x, "x", booleans=True)
        lattice = self.lattice(x.shape)
        n_sites = int(np.prod(window[1])) * lattice.n_basis
        return self.site_sums(x, lattice, Window(*window)) / n_sites

    def moments(
        self, X: Any, *, window: Window | None = None, n_jobs: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the covariance of the observables' increments, per time, as dt -> 0.

        They are exact sums over all that can happen next, `sum_e r_e dphi_e` and
        `sum_e r_e dphi_e dphi_e^T` over the events e of a jump process, and hold no sampling noise.
        Kinetics at dt -> 0 is not always that of longer times: a vacancy mostly jumps straight
        back, so that an `Alloy` moves far less than its rates say.

        Parameters
        ----------
        X : array-like of shape (n_samples, *site_shape[, n_fields])
            Snapshots; not changed.
        window : (origin, extent), default=None
            Box of cells whose events count; None takes all. Windows that tile the lattice add up.
            For an `Alloy` they are the jumps of the vacancies that stand in the window, those that
            leave it included; a window that is evolved keeps its vacancies.
        n_jobs : int, default=None
            Workers over the snapshots; the result does not depend on it.

        Returns
        -------
        drift : ndarray of shape (n_samples, n_observables)
            Observables of the whole lattice, per time.
        covariance : ndarray of shape (n_samples, n_observables, n_observables)
            Squared observables per time.

        Raises
        ------
        ValueError
            If the simulator has no moments, X is not a batch of its snapshots, or the window does
            not fit.
        """
        X = self.check_snapshots(X)
        self.check_parameters()
        self.check_moments()
        lattice = self.lattice(X.shape[1:])
        origin, extent = lattice.full_window if window is None else lattice.check_window(window)
        n = lattice.n_sites

        def work(batch: np.ndarray) -> dict[str, np.ndarray]:
            origins = np.tile(origin, (len(batch), 1, 1))
            b, A = self.moments_apart(batch, lattice, origins, extent)
            A = self.conserve(self.conserve(A[:, 0]).mT).mT
            return {"drift": self.conserve(b[:, 0]) / n, "covariance": A / n**2}

        rows = fill_rows(work, lambda start, stop: (X[start:stop],), len(X), n_jobs=n_jobs)
        return rows["drift"], rows["covariance"]
