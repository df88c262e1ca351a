"""What the dynamics of NbMoTa is learned from: small systems, tiled, and pairs of patches.

Order takes from thousands of jumps of each vacancy (3000 K) to millions (700 K). A pilot run at
each temperature measures the relaxation time tau, after which the order parameters have come to
1 - 1/e of their last values, and every duration is a fixed multiple of it, the same at all
temperatures and sizes. No run is longer than a number of jumps, on average; where order does not
settle within it, below about 800 K, "the last values" are those after that time. A cold vacancy may
jump to and fro over one low barrier a hundred times as often as another jumps at all: the average
is one of jumps in a given time, not of the time that a number of jumps takes.

Large snapshots are copies of a small one side by side, periodic and therefore without seams, which
are then relaxed patch by patch. Copies of one snapshot deviate from the mean path as a small system
does, K^{1/2} times as far as a large one would, so that the drift can be told from the noise
however large the system is. But they have in common what the order parameters do not tell: the
patches of one snapshot are not averaged over, which would leave that part K / p times too large,
but are pairs of their own.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import hmean

from sklmacro import HierarchicalUpsampler, LocalRelax, PartialEvolutionSampler
from sklmacro._base.streams import Stage, stream_seed
from sklmacro.experiments._engine.run import Run
from sklmacro.sampling.pairs import common_fields, latent_pairs
from sklmacro.simulators import Alloy


@dataclass(frozen=True)
class SmallSettings:
    """Settings of what is simulated; sides in unit cells of two sites, times in tau."""

    side: int = 8
    n_pilot: int = 8
    first_jumps: int = 250  # of the pilot
    least_order: float = 0.3  # below which random solutions alone would look settled
    most_jumps: int = 4_100_000  # of each vacancy
    duration: float = 40.0
    relax: float = 0.02
    dt: float = 0.2
    buffer: int = 2


class Clock(NamedTuple):
    """Times of one temperature in seconds.

    Attributes
    ----------
    tau : float
        Relaxation time, at most a quarter of the duration.
    end : float
        Duration of trajectories.
    jump : float
        Time over jumps of a vacancy in it, on average over the second half of the pilot.
    settled : bool
        Whether the pilot's order parameters had settled.
    """

    tau: float
    end: float
    jump: float
    settled: bool


def pilot(alloy: Alloy, settings: SmallSettings, run: Run) -> Clock:
    """Measure the relaxation time: double the number of jumps until order grows no more.

    Its size is the norm of the mean order parameters, less those at the start. It has settled when
    it grew by less than 5 % over each of the last two doublings.
    """
    X = alloy.sample_initial(settings.n_pilot, settings.side, random_state=run.seed + 100)
    start = alloy.observe(X).mean(axis=0)
    done, n_events, size, passed = 0, settings.first_jumps, [0.0], [0.0]
    clocks = elapsed = np.zeros(settings.n_pilot)
    settled = False
    while n_events <= settings.most_jumps and not settled:
        X, elapsed = alloy.advance(
            X, n_events=n_events - done, random_state=run.seed + 101 + len(size), n_jobs=run.n_jobs
        )
        clocks, done, n_events = clocks + elapsed, n_events, 2 * n_events
        size.append(float(np.linalg.norm(alloy.observe(X).mean(axis=0) - start)))
        passed.append(float(np.median(clocks)))
        slow = len(size) > 3 and size[-1] < 1.05 * size[-2] and size[-2] < 1.05 * size[-3]
        settled = slow and size[-1] > settings.least_order
    jump = 2 / done * hmean(elapsed)
    level = (1 - np.exp(-1)) * size[-1]
    k = int(np.argmax(np.array(size) >= level))  # the first size is 0
    share = (level - size[k - 1]) / (size[k] - size[k - 1])
    tau = passed[k - 1] + share * (passed[k] - passed[k - 1])
    end = min(settings.duration * tau, settings.most_jumps * jump)
    return Clock(float(min(tau, end / 4)), float(end), float(jump), settled)


def snapshots(
    alloy: Alloy, clock: Clock, settings: SmallSettings, n_runs: int, n_times: int, run: Run
) -> tuple[np.ndarray, np.ndarray]:
    """Return snapshots of trajectories from random solutions, and which trajectory each is of.

    Half of the times are early, on a logarithmic scale.
    """
    early = min(3 * clock.tau, clock.end / 2)
    n = n_times // 2
    late = np.linspace(early, clock.end, n_times - n + 1)[1:]
    times = np.concatenate([np.geomspace(clock.tau / 50, early, n), late])
    start = alloy.sample_initial(n_runs, settings.side, random_state=run.seed + 200)
    X = alloy.simulate(
        start, times, random_state=run.seed + 201, n_jobs=run.n_jobs, verbose=run.verbose
    )
    return X.reshape(-1, *X.shape[2:]), np.repeat(np.arange(n_runs), n_times)


def pairs(
    alloy: Alloy,
    clock: Clock,
    settings: SmallSettings,
    X: np.ndarray,
    groups: np.ndarray,
    factor: int,
    n_repeats: int,
    run: Run,
    seed: int,
) -> np.ndarray:
    """Return latent pairs of systems `factor` times larger along each axis, one patch each.

    There are `n_repeats` of each large snapshot, of patches drawn anew. Large snapshots are made a
    few at a time, and only latent pairs are kept of them.
    """
    common: dict[str, Any] = {"n_jobs": run.n_jobs}
    at_a_time = max(run.n_jobs, 2**26 // (X[0].size * factor**3))
    results = []
    for first in range(0, len(X), at_a_time):
        rows = slice(first, first + at_a_time)
        upsample = HierarchicalUpsampler(
            alloy,
            factor=factor,
            method="tile",
            relaxation=LocalRelax(duration=settings.relax * clock.tau, stride=settings.side),
            random_state=stream_seed(seed, Stage.UPSAMPLE, first),
            **common,
        )
        large = upsample.fit_transform(X[rows])
        z = alloy.observe(large)  # there are no closures, and this is the costly part
        for k in range(n_repeats):
            evolve = PartialEvolutionSampler(
                alloy,
                patch=settings.side,
                dt=settings.dt * clock.tau,
                boundary=settings.buffer,
                context=("temperature",),
                random_state=stream_seed(seed, Stage.EVOLVE, first * n_repeats + k),
                **common,
            )
            evolved = evolve.fit_transform(large, groups=groups[rows])
            results.append(latent_pairs(z, evolved["d_obs"], **common_fields(evolved)))
    return np.concatenate(results)
