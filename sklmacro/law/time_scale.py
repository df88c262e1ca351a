"""The scale of time, by which exact moments are too fast, from short runs of whole lattices.

    dz = c mu dt + (c Sigma)^{1/2} dB,      E[z*(t) | z(0)] = m(c t)

Moments of dt -> 0 count every event, also those that the next ones undo: a vacancy mostly jumps
straight back. What is left of them after a while is a factor c on time. With m the mean path of the
law as it is, and y_i the changes of the observables of snapshot i in a run of the whole lattice
until t,

    c(t) = argmin_c sum_i (y_i - m_i(c t))^T C_i^{-1} (y_i - m_i(c t))

C_i is the law's covariance of that change. The error is a jackknife's, over snapshots. c(t) falls
from 1 to a plateau: it is seen at several times.

Shape vocabulary::

    y       (n, n_times, q)              changes in the runs
    paths   (n, n_paths, n_steps + 1, q)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sklmacro._base.jackknife import jackknife_error
from sklmacro._base.streams import Stage, stream_seed
from sklmacro.sampling.context import with_parameters
from sklmacro.sde.base import PatchSDE
from sklmacro.simulators import Simulator

SPANS = (8, 32)  # times of the runs, in the simulator's time of a pair
N_PATHS = 64
FACTORS = np.geomspace(1 / 64, 1.5, 400)
NEAR = 0.25  # of log c, about the least distance
SURE = 5  # standard errors


@dataclass(frozen=True)
class TimeFactor:
    """The factor c on time, at the times that it was seen at.

    Attributes
    ----------
    times : tuple of float
    factors, errors : tuple of float
        c until each of the times, and its standard error.
    gains : tuple of float
        What c gains in chi^2 over 1, in units of what is left per number seen.
    """

    times: tuple[float, ...]
    factors: tuple[float, ...]
    errors: tuple[float, ...]
    gains: tuple[float, ...]

    @property
    def in_use(self) -> float:
        """Return the last factor where it is surely none of chance, or 1."""
        factor, error, gain = self.factors[-1], self.errors[-1], self.gains[-1]
        sure = abs(factor - 1) > SURE * error and gain > SURE**2
        return factor if sure else 1.0


class Runs(NamedTuple):
    """Runs of whole lattices: macrostates z (n, d) at the start, changes, and parameters."""

    z: np.ndarray
    y: np.ndarray
    context: np.ndarray  # (n, n_context)
    site_time: float  # sites times units of time

    def join(self, other: "Runs") -> "Runs":
        """Return the runs of both."""
        z, y, context = map(np.concatenate, zip(self[:-1], other[:-1], strict=True))
        return Runs(z, y, context, self.site_time + other.site_time)


def span_times(simulator: Simulator) -> np.ndarray:
    """Return the times (n_times,) until which changes are seen."""
    return np.array(SPANS) * simulator.pair_time


def run_jointly(
    simulator: Simulator, X: np.ndarray, z: np.ndarray, names: Sequence[str], context: np.ndarray,
    entropy: int,
) -> Runs:  # fmt: skip
    """Return runs of snapshots X, with macrostates z, each with its own values of `names`."""
    y, times = [], span_times(simulator)
    for k, (x, values) in enumerate(zip(X, context, strict=True)):
        own = with_parameters(simulator, names, values)
        seed = stream_seed(entropy, Stage.LEARN, k) % 2**31
        y.append(own.simulate(x[np.newaxis], times, observe=True, random_state=seed)[0])
    changes = np.array(y) - z[:, np.newaxis, : simulator.n_observables]
    n_sites = simulator.lattice(X.shape[1:]).n_sites
    return Runs(z, changes, context, float(len(X) * n_sites * times[-1]))


def estimate_time_factor(
    runs: Runs, times: np.ndarray, sde: PatchSDE, dt: float, entropy: int
) -> TimeFactor:
    """Estimate c of a law from runs until `times`; `dt` is the step of its paths."""
    q, n_steps = runs.y.shape[2], int(np.ceil(FACTORS[-1] * times[-1] / dt))
    paths, _ = sde.rollout(
        runs.z, n_steps, dt, n_paths=N_PATHS, random_state=entropy, outside="ignore",
        context=runs.context if runs.context.shape[1] else None,
    )  # fmt: skip
    paths = paths[..., :q].reshape(len(runs.z), N_PATHS, -1, q)
    found = [factor_at(runs.y[:, k], paths, dt, t) for k, t in enumerate(times)]
    return TimeFactor(tuple(times.tolist()), *zip(*found, strict=True))


def factor_at(y: np.ndarray, paths: np.ndarray, dt: float, t: float) -> tuple[float, float, float]:
    """Return c, its standard error and its gain from the changes y (n, q) until the time t."""
    changes = paths - paths[:, :, :1]
    position = FACTORS * t / dt
    before = np.minimum(position.astype(int), paths.shape[2] - 2)
    share = (position - before)[:, np.newaxis]
    m = changes.mean(axis=1)  # (n, n_steps + 1, q)
    m = (1 - share) * m[:, before] + share * m[:, before + 1]  # (n, n_factors, q)
    last = changes[:, :, round(t / dt)]
    unit = np.where((size := last.std(axis=(0, 1))) > 0, size, np.inf)
    residuals = (y[:, np.newaxis] - m) / unit
    noise = (last - last.mean(axis=1, keepdims=True)) / unit
    C = np.einsum("npa,npb->nab", noise, noise) / (N_PATHS - 1)
    inverse = np.linalg.pinv(C, rcond=1e-6, hermitian=True)
    distances = np.einsum("nfa,nab,nfb->nf", residuals, inverse, residuals)
    total = distances.sum(axis=0)
    left_out = [_lowest(total - row) for row in distances]
    factor = float(np.exp(_lowest(total)))
    gain = total[np.abs(FACTORS - 1).argmin()] - total.min()
    gain /= max(1.0, total.min() / y.size)
    return factor, factor * float(jackknife_error(np.array(left_out))), float(gain)


def _lowest(distances: np.ndarray) -> float:
    """Return log c of the least distance, of a parabola about the least one on the grid.

    The mean path is that of some hundred paths: its noise makes dips, from one of which to the next
    the least one would jump.
    """
    logs = np.log(FACTORS)
    near = np.abs(logs - logs[distances.argmin()]) < NEAR
    x = logs[near] - logs[near].mean()
    curvature, slope, _ = np.polyfit(x, distances[near], 2)
    if curvature <= 0:
        return float(logs[distances.argmin()])
    return float(logs[near].mean() + np.clip(-slope / (2 * curvature), x[0], x[-1]))


def young(pairs: np.ndarray, age: float) -> np.ndarray:
    """Return the pairs whose snapshots are younger than an age: they change fast."""
    return pairs[pairs["age"] < age] if "age" in (pairs.dtype.names or ()) else pairs
