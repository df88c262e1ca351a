"""Paths of the macroscopic SDE by Euler-Maruyama steps (Eq. 4).

    z_{t+dt} = z_t + mu(z_t) dt + L(z_t) sqrt(dt) xi,   xi ~ N(0, 1)

Every path has its own random stream. Observables stay within their bounds. A path that leaves
the finite numbers is reported by a warning that counts such paths; it is NaN from there on.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from sklmacro._base.streams import Stage, stream

NOISE_STEPS = 128  # steps for which the noise of all paths is drawn at a time


class DivergedPathsWarning(RuntimeWarning):
    """Some simulated paths left the finite numbers."""


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


Advance: TypeAlias = Callable[[np.ndarray, np.ndarray, Steps, int, np.ndarray], None]


def advance_by_calls(
    coefficients: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    z: np.ndarray,
    noise: np.ndarray,
    steps: Steps,
    start: int,
    paths: np.ndarray,
) -> None:
    """`advance` of `euler_maruyama`, by a function that gives drift (n, d) and L (n, d, d)."""
    for k in range(noise.shape[1]):
        with np.errstate(over="ignore", invalid="ignore"):
            mu, factor = coefficients(z)
            z[:] = z + mu * steps.dt + np.einsum("nij,nj->ni", factor, noise[:, k])
        np.clip(z, steps.low, steps.high, out=z)
        z[~np.isfinite(z).all(axis=1)] = np.nan
        stored, rest = divmod(start + k + 1, steps.store_every)
        if rest == 0:
            paths[:, stored] = z


def euler_maruyama(
    advance: Advance, z0: np.ndarray, n_steps: int, steps: Steps, entropy: int
) -> np.ndarray:
    """Return a path (n_steps // store_every + 1, d) from every row of `z0` (n, d), z0 included.

    `advance(z, noise, steps, start, paths)` takes z (n, d), in place, from step `start` through as
    many steps as `noise` (n, n_noise, d) has, and stores them in `paths`: `advance_by_calls`, or
    `compiled.paths.advance_paths`. `entropy` is the seed; path k has its own stream.
    """
    n, d = z0.shape
    rngs = [stream(entropy, Stage.ROLLOUT, k) for k in range(n)]
    paths = np.empty((n, n_steps // steps.store_every + 1, d))
    z = np.ascontiguousarray(np.clip(z0, steps.low, steps.high))
    paths[:, 0] = z
    for first in range(0, n_steps, NOISE_STEPS):
        count = min(NOISE_STEPS, n_steps - first)
        noise = np.empty((n, count, d))
        for rng, row in zip(rngs, noise, strict=True):
            rng.standard_normal(out=row)
        noise *= np.sqrt(steps.dt)
        advance(z, noise, steps, first, paths)
    lost = int(np.isnan(z).any(axis=1).sum())
    if lost:
        warnings.warn(
            f"{lost} of {n} simulated paths diverged and are NaN from there on; use a smaller dt, "
            "give bounds, or train on states that reach further.",
            DivergedPathsWarning,
            stacklevel=3,
        )
    return paths
