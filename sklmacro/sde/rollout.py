"""Paths of the macroscopic SDE by Euler-Maruyama steps (Eq. 4).

    z_{t+dt} = z_t + mu(z_t) dt + L(z_t) sqrt(dt) xi,   xi ~ N(0, 1)

Every path has its own random stream. Observables stay within their bounds; a path that leaves the
finite numbers is NaN from there on. What became of paths stands in a `PathRecord`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from sklmacro._base.streams import Stage, stream
from sklmacro.sde.path_record import Contacts, Looks, PathRecord

NOISE_STEPS = 128  # steps for which the noise of all paths is drawn at a time


class Steps(NamedTuple):
    """How paths are stepped and stored, for kernels as well."""

    dt: float  # length of a step
    low: np.ndarray  # (d,), with `high` the range of each component
    high: np.ndarray
    store_every: int  # steps between stored states

    @classmethod
    def of(
        cls, dt: float, bounds: Sequence[tuple[float, float]], d: int, store_every: int
    ) -> "Steps":
        """Return steps with the ranges of the first of d components."""
        low, high = ranges = np.repeat([[-np.inf], [np.inf]], d, axis=1)
        ranges[:, : len(bounds)] = np.reshape(bounds, (-1, 2)).T
        return cls(dt, low, high, store_every)


Advance: TypeAlias = Callable[[np.ndarray, np.ndarray, Steps, int, np.ndarray, Contacts], None]
Look: TypeAlias = Callable[[np.ndarray, int, Looks], None]


def advance_by_calls(
    coefficients: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    z: np.ndarray,
    noise: np.ndarray,
    steps: Steps,
    start: int,
    paths: np.ndarray,
    contacts: Contacts,
) -> None:
    """`advance` of `euler_maruyama`, by a function that gives drift (n, d) and L (n, d, d)."""
    for k in range(noise.shape[1]):
        with np.errstate(over="ignore", invalid="ignore"):
            mu, factor = coefficients(z)
            z[:] = z + mu * steps.dt + np.einsum("nij,nj->ni", factor, noise[:, k])
            z[~np.isfinite(z).all(axis=1)] = np.nan
            excess = np.maximum(z - steps.high, steps.low - z)
        met = excess > 0
        np.fmax(contacts.excess, excess, out=contacts.excess)
        contacts.n_contacts[:] += met.sum(axis=1)
        contacts.run[:] = np.where(met, contacts.run + 1, 0)
        np.fmax(contacts.longest_run, contacts.run, out=contacts.longest_run)
        np.clip(z, steps.low, steps.high, out=z)
        stored, rest = divmod(start + k + 1, steps.store_every)
        if rest == 0:
            paths[:, stored] = z


def euler_maruyama(
    advance: Advance,
    z0: np.ndarray,
    n_steps: int,
    steps: Steps,
    entropy: int,
    look: Look | None = None,
    stop: bool = False,
) -> tuple[np.ndarray, PathRecord]:
    """Return a path (n_steps // store_every + 1, d) from every row of `z0` (n, d), z0 included.

    Parameters
    ----------
    advance : callable
        `advance_by_calls`, or `compiled.paths.advance_paths`. It takes z (n, d), in place, from
        step `start` through as many as `noise` (n, n_noise, d) has, and stores them in `paths`.
    z0, n_steps, steps
        Initial states, number and kind of the steps.
    entropy : int
        Seed; path k has its own stream.
    look : callable, default=None
        Called with the states (n, n_new, d) that are new, the place of the first, and `Looks`.
    stop : bool, default=False
        Whether paths end, by NaN, with the first state that `look` finds outside.
    """
    n, d = z0.shape
    rngs = [stream(entropy, Stage.ROLLOUT, k) for k in range(n)]
    n_stored = n_steps // steps.store_every + 1
    paths = np.empty((n, n_stored, d))
    record = PathRecord.of(n, d, n_stored, steps.store_every * steps.dt)
    looks, contacts = record.looks(), record.contacts()
    z = np.ascontiguousarray(np.clip(z0, steps.low, steps.high))

    def look_at(start: int, stop_at: int) -> None:
        if look is not None and start < stop_at:
            look(paths[:, start:stop_at], start, looks)
            if stop:
                outside = record.first_outside
                for row in np.flatnonzero(outside >= start):
                    paths[row, max(outside[row], 1) : stop_at] = np.nan
                z[outside >= 0] = np.nan

    paths[:, 0] = z
    look_at(0, 1)
    for first in range(0, n_steps, NOISE_STEPS):
        count = min(NOISE_STEPS, n_steps - first)
        noise = np.empty((n, count, d))
        for rng, row in zip(rngs, noise, strict=True):
            rng.standard_normal(out=row)
        noise *= np.sqrt(steps.dt)
        advance(z, noise, steps, first, paths, contacts)
        look_at(first // steps.store_every + 1, (first + count) // steps.store_every + 1)
    record.stopped[:] = stop & (record.first_outside >= 0)
    record.diverged[:] = np.isnan(z).any(axis=1) & ~record.stopped
    return paths, record
