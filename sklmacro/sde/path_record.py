"""What became of simulated paths: whether they diverged, left the data, or met their bounds.

A law that was learned is known where it has seen states. Paths that go elsewhere follow what its
drift happens to be there, and bounds can hide it: a path that would run away stays at its bound.

Good paths have a few states outside of what the data cover, see `coverage`. A warning tells of more
than that, of the starts or of all states, or of one that is far outside.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numpy as np

FAR = 2.0  # standard deviations beyond what is covered, of which a single state is told; or a bound


class DivergedPathsWarning(RuntimeWarning):
    """Some simulated paths left the finite numbers, or were held by their bounds."""


class UncoveredPathsWarning(RuntimeWarning):
    """Some simulated paths left the states that the SDE was fitted to."""


class Looks(NamedTuple):
    """Where each path was outside, for kernels; see `PathRecord`."""

    first_outside: np.ndarray
    component: np.ndarray
    n_outside: np.ndarray
    farthest: np.ndarray
    nearest: np.ndarray  # (n_paths,), centre of the state that was looked at last


class Contacts(NamedTuple):
    """How each path met its bounds, for kernels; see `PathRecord`."""

    n_contacts: np.ndarray
    excess: np.ndarray
    run: np.ndarray  # (n_paths, d), steps in a row, up to the last, that met a bound
    longest_run: np.ndarray


@dataclass(frozen=True)
class PathRecord:
    """What became of simulated paths.

    Attributes
    ----------
    first_outside : ndarray of int of shape (n_paths,)
        The first stored state that the data of the fit do not cover, 0 for the start; -1 for none.
    component : ndarray of int of shape (n_paths,)
        The component that was farthest from known states there; from d on, the context.
    n_outside : ndarray of int of shape (n_paths,)
        Number of stored states that are not covered.
    farthest : ndarray of shape (n_paths,)
        How far these lie beyond what is covered at most, in standard deviations, to a tenth of it;
        0 for none.
    n_contacts : ndarray of int of shape (n_paths,)
        Number of times that a component was clipped to a bound.
    excess : ndarray of shape (n_paths, d)
        How far beyond a bound each component went at most before it was clipped; 0 for never.
    longest_run : ndarray of int of shape (n_paths, d)
        How many steps in a row each component was clipped at most.
    clipped_start : ndarray of bool of shape (n_paths,)
        Whether its start was outside of the bounds, but for rounding.
    diverged : ndarray of bool of shape (n_paths,)
        Whether the path left the finite numbers and is NaN from there on.
    held : ndarray of bool of shape (n_paths,)
        Whether it would have run away without bounds: a step passed them by more than two
        standard deviations of the data, or 30 in a row were clipped.
    stopped : ndarray of bool of shape (n_paths,)
        Whether it is NaN from its first state outside on.
    n_stored : int
        Number of stored states of each path.
    spacing : float
        Time between two of them.
    """

    first_outside: np.ndarray
    component: np.ndarray
    n_outside: np.ndarray
    farthest: np.ndarray
    n_contacts: np.ndarray
    excess: np.ndarray
    longest_run: np.ndarray
    clipped_start: np.ndarray
    diverged: np.ndarray
    held: np.ndarray
    stopped: np.ndarray
    n_stored: int
    spacing: float

    @classmethod
    def of(cls, n: int, d: int, n_stored: int, spacing: float) -> Self:
        """Return the record of n paths of d components before they begin."""
        falses = [np.zeros(n, bool) for _ in range(4)]
        return cls(
            np.full(n, -1), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n),
            np.zeros(n, np.int64), np.zeros((n, d)), np.zeros((n, d), np.int64),
            falses[0], falses[1], falses[2], falses[3], n_stored, spacing,
        )  # fmt: skip

    @classmethod
    def interleave(cls, records: "Sequence[PathRecord]") -> "PathRecord":
        """Return the record of paths of which the k-th of m records has each m-th, from k on."""
        first, n = records[0], sum(len(record.diverged) for record in records)
        whole = cls.of(n, first.excess.shape[1], first.n_stored, first.spacing)
        for name in (f.name for f in fields(cls) if f.type is np.ndarray):
            for k, record in enumerate(records):
                getattr(whole, name)[k :: len(records)] = getattr(record, name)
        return whole

    def expand(self, free: np.ndarray, d: int) -> "PathRecord":
        """Return the record of d components for that of the components `free` alone."""
        excess = np.zeros((len(self.diverged), d))
        longest_run = np.zeros(excess.shape, np.int64)
        excess[:, free], longest_run[:, free] = self.excess, self.longest_run
        return replace(self, excess=excess, longest_run=longest_run)

    def contacts(self) -> Contacts:
        """Return what kernels write of contacts with the bounds."""
        run = np.zeros_like(self.longest_run)
        return Contacts(self.n_contacts, self.excess, run, self.longest_run)

    def looks(self) -> Looks:
        """Return what kernels write of states outside."""
        own = self.first_outside, self.component, self.n_outside, self.farthest
        return Looks(*own, np.zeros(len(self.diverged), np.int64))

    def warn(self, unseen: float, names: Sequence[str]) -> None:
        """Warn of paths that diverged, and of those that left the data.

        Outside of these can be a share `unseen` of the states of good paths; `names` (d +
        n_context,) are those of the components, and of the context.
        """
        n = len(self.diverged)
        n_diverged, n_held = self.diverged.sum(), self.held.sum()
        if n_diverged or n_held:
            warnings.warn(
                f"{n_diverged + n_held} of {n} simulated paths diverged: {n_diverged} are NaN from "
                f"there on, {n_held} were held by their bounds, against which they kept running; "
                "use a smaller dt, give bounds, or train on states that reach further.",
                DivergedPathsWarning,
                stacklevel=4,
            )
        outside = np.flatnonzero(self.first_outside >= 0)
        share = self.n_outside.sum() / (n * self.n_stored)
        far, n_starts = self.farthest.max(initial=0.0), int((self.first_outside == 0).sum())
        if n_clipped := self.clipped_start.sum():
            warnings.warn(
                f"{n_clipped} of {n} paths start outside of their bounds, and were put there; pass "
                "starts within, or other bounds.",
                UncoveredPathsWarning,
                stacklevel=4,
            )
        if self.stopped.any() or max(share, n_starts / n) > unseen or far > FAR:
            first = outside[np.argmin(self.first_outside[outside])]
            held = self.n_contacts.astype(bool).sum()
            warnings.warn(
                f"{len(outside)} of {n} simulated paths leave the states that the model was fitted "
                f"to, the first at time {self.first_outside[first] * self.spacing:g} in "
                f"{names[self.component[first]]}; {n_starts} start there, {held} meet their "
                f"bounds. Outside are {100 * share:.3g} % of the states, the farthest by {far:.2g} "
                "standard deviations. What the model says there is a guess: train on states that "
                "reach further, or pass outside='stop'.",
                UncoveredPathsWarning,
                stacklevel=4,
            )
