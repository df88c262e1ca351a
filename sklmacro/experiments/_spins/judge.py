"""Errors of predicted mean paths of a spin system, as in `_spins`, with few and with many paths.

Few is what was published; many shows what few paths hide. The floor of each is the error of half of
the true paths against the other half, halved: what two sets of as many true paths differ by.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sklmacro import PatchAutoencoder, PatchSDERegressor
from sklmacro.experiments._spins.protocol import TIME_STRIDE, scale_components
from sklmacro.measures.paths import mean_path_error
from sklmacro.simulators import Ising, Simulator
from sklmacro.simulators.ising import random_spins

LANES = 64  # paths of `Ising.simulate(packed=True)` that are not independent of each other
FIRST_SEED = 1_000_000  # of the true paths; those of training lie below


class Truth(NamedTuple):
    """True paths from one initial magnetisation.

    Attributes
    ----------
    x0 : ndarray of shape (n_many, side, side)
    paths : ndarray of shape (n_blocks, n_lanes, n_times, n_observables)
        Blocks are independent.
    """

    x0: np.ndarray
    paths: np.ndarray

    @property
    def many(self) -> np.ndarray:
        """All paths (n_many, n_times, n_observables)."""
        return self.paths.reshape(-1, *self.paths.shape[2:])


def true_paths(
    simulator: Simulator,
    side: int,
    magnetisation: float,
    n_many: int,
    times: np.ndarray,
    rng: np.random.Generator,
    seed: int,
    **options: Any,
) -> Truth:
    """Return true paths from random spins, drawn from rng; `seed` and `options` of `simulate`."""
    n_up = round((1 + magnetisation) / 2 * side**2)
    x0 = np.stack([random_spins((side, side), n_up, rng) for _ in range(n_many)])
    if packed := isinstance(simulator, Ising):
        options["packed"] = True
    paths = simulator.simulate(x0, times, observe=True, random_state=seed, **options)
    return Truth(x0, paths.reshape(-1, LANES if packed else 1, *paths.shape[1:]))


def halves(truth: Truth, low: np.ndarray, high: np.ndarray) -> float:
    """Return the error of every other block of true paths against the rest, scaled by a range."""
    u = scale_components(truth.paths, low, high)
    return mean_path_error(*(u[part::2].reshape(-1, *u.shape[2:]) for part in (0, 1)))


def predicted_paths(
    sde: PatchSDERegressor, starts: list[np.ndarray], n_times: int, dt: float, seed: int
) -> list[np.ndarray]:
    """Return predicted paths from each array of starts, `TIME_STRIDE` between two of the times."""
    every = round(TIME_STRIDE / dt)
    return [
        sde.simulate(
            z0, every * (n_times - 1), dt, store_every=every, random_state=1000 * (seed + 1) + i
        )
        for i, z0 in enumerate(starts)
    ]


def mean_error(
    P: list[np.ndarray], Q: list[np.ndarray], low: np.ndarray, high: np.ndarray
) -> float:
    """Return the error of P against Q, scaled by a range, averaged over the magnetisations."""
    pairs = [[scale_components(z, low, high) for z in pair] for pair in zip(P, Q, strict=True)]
    return float(np.mean([mean_path_error(*pair) for pair in pairs]))


@dataclass(frozen=True)
class Judge:
    """Errors, averaged over initial magnetisations.

    Attributes
    ----------
    truths : tuple of Truth
        One for each magnetisation.
    times : ndarray of shape (n_times,)
        Multiples of `TIME_STRIDE`.
    n_few : int
        Paths of each magnetisation that count as few.
    """

    truths: tuple[Truth, ...]
    times: np.ndarray
    n_few: int

    @cached_property
    def names(self) -> tuple[str, str]:
        """How the errors with few and with many paths are called."""
        return f"{self.n_few} paths", f"{len(self.truths[0].x0)} paths"

    @cached_property
    def _range(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest value of each observable on true paths."""
        low = np.min([t.many.min(axis=(0, 1)) for t in self.truths], axis=0)
        return low, np.max([t.many.max(axis=(0, 1)) for t in self.truths], axis=0)

    def floor(self) -> dict[str, float]:
        """Return the errors of half of the true paths against the other half, halved."""
        few, many, n = [], [], self.n_few
        for truth in self.truths:
            u = scale_components(truth.paths, *self._range)
            many.append(halves(truth, *self._range) / 2)
            for start in range(0, len(u) - n + 1, n):
                group = u[start : start + n].swapaxes(0, 1)
                few += [mean_path_error(lane[::2], lane[1::2]) / 2 for lane in group]
        return dict(zip(self.names, (float(np.mean(few)), float(np.mean(many))), strict=True))

    def predict(
        self, sde: PatchSDERegressor, dt: float, seed: int, starts: list[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """Return predicted paths of each magnetisation, from where the true ones start."""
        starts = [t.many[:, 0] for t in self.truths] if starts is None else starts
        return predicted_paths(sde, starts, len(self.times), dt, seed)

    def errors(self, predicted: list[np.ndarray]) -> dict[str, float]:
        """Return both errors of the observables of predicted paths."""
        few = [truth.paths[: self.n_few, 0] for truth in self.truths]
        many = [truth.many for truth in self.truths]
        results = (
            mean_error([P[: self.n_few] for P in predicted], few, *self._range),
            mean_error(predicted, many, *self._range),
        )
        return dict(zip(self.names, results, strict=True))

    def errors_with_closures(
        self,
        simulator: Simulator,
        closure: PatchAutoencoder,
        sde: PatchSDERegressor,
        dt: float,
        seed: int,
        **options: Any,
    ) -> dict[str, float]:
        """Return errors over the observables, and over all of z; `options` of `simulate`."""
        n, n_obs = self.n_few, simulator.n_observables
        true = []
        for i, truth in enumerate(self.truths):
            snapshots = simulator.simulate(
                truth.x0[:n], self.times, random_state=FIRST_SEED + 500 + i, **options
            )
            z = closure.transform(snapshots.reshape(-1, *truth.x0.shape[1:]))
            true.append(z.reshape(n, len(self.times), -1))
        starts = [closure.transform(truth.x0) for truth in self.truths]
        predicted = self.predict(sde, dt, seed, starts)
        observables = self.errors([P[..., :n_obs] for P in predicted])
        every_z = np.concatenate([z.reshape(-1, z.shape[-1]) for z in true])
        low, high = every_z.min(axis=0), every_z.max(axis=0)
        few = [P[:n] for P in predicted]
        half, other = ([z[part::2] for z in true] for part in (0, 1))
        return {
            **{f"observables, {name}": error for name, error in observables.items()},
            f"all of z, {self.names[0]}": mean_error(few, true, low, high),
            f"floor, all of z, {self.names[0]}": mean_error(half, other, low, high) / 2,
        }
