"""How good a learned law is: paths from given starts beside direct simulations.

The error of a start is `mean_path_error`, its observables scaled by `Scale`; `floor` is the true
mean's own, from halves of the paths. `std` are the ratios of the predicted to the true standard
deviations, a mean over time and starts.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import sklmacro as skm
from sklmacro.scoring import mean_path_error

EARLY = 5  # times that spreads leave out: all paths start as one


class Scale(NamedTuple):
    """Offsets and widths (q,) of the observables."""

    low: np.ndarray
    width: np.ndarray

    @classmethod
    def of(cls, truths: list[np.ndarray]) -> "Scale":
        """Return the ranges of all true paths."""
        low = np.min([t.min(axis=(0, 1)) for t in truths], axis=0)
        return cls(low, np.max([t.max(axis=(0, 1)) for t in truths], axis=0) - low)

    def __call__(self, paths: np.ndarray) -> np.ndarray:
        return (paths - self.low) / self.width


class Judgement(NamedTuple):
    """Errors (n_starts,) of the mean paths, and std ratios (q,)."""

    errors: np.ndarray
    ratios: np.ndarray


def judge(
    simulate: Callable[[int], np.ndarray], truths: list[np.ndarray], scale: Scale
) -> Judgement:
    """Compare the paths that `simulate` gives of start k with the true ones."""
    errors, ratios = [], []
    for k, truth in enumerate(truths):
        paths = simulate(k)[..., : truth.shape[-1]]
        errors.append(mean_path_error(scale(paths), scale(truth)))
        true = truth[:, EARLY:].std(0).mean(0)
        ratios.append(paths[:, EARLY:].std(0).mean(0) / np.where(true > 0, true, np.nan))
    return Judgement(np.array(errors), np.mean(ratios, axis=0))


def floor(truths: list[np.ndarray], scale: Scale) -> float:
    """Return the error of the mean of the true paths, from halves of them."""
    halves = [(scale(t[::2]), scale(t[1::2])) for t in truths]
    return float(np.mean([mean_path_error(*pair) / 4 for pair in halves]))


def learn(
    simulator, starts: np.ndarray, *, small, large, duration: float, budget: float, seed: int
) -> tuple[skm.ActiveLearner, float]:
    """Return the law that defaults learn, and the seconds that it took."""
    begin = time.perf_counter()
    pipeline = skm.make_macro_pipeline(simulator, small, large)
    learner = skm.ActiveLearner(
        pipeline, small=small, duration=duration, max_site_time=budget, random_state=seed
    ).fit(starts)
    return learner, time.perf_counter() - begin


def line(
    what: str, own: Judgement, least: float, learner: skm.ActiveLearner, seconds: float
) -> None:
    """Print the line of a seed."""
    print(
        f"{what}: error {own.errors.mean():.2e} (floor {least:.0e}, estimated "
        f"{learner.error_:.1e}), worst start {own.errors.max():.1e}, std {own.ratios.round(2)}, "
        f"{learner.site_time_:.1e} updates, {seconds:.0f} s",
        flush=True,
    )


def summary(what: str, errors: list[float]) -> None:
    """Print median and worst of the seeds."""
    print(
        f"{what}: median {np.median(errors):.2e}, worst {max(errors):.2e} of {len(errors)} seeds",
        flush=True,
    )
