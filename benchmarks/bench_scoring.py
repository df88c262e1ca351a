"""Maximum mean discrepancy of paths."""

import numpy as np

from benchmarks.baselines_sde import mmd2_time_by_time
from benchmarks.measure import compare
from sklmacro.scoring import WIDTHS, mmd2_paths

SIZES = [(50, 3000, 2), (50, 3000, 4), (400, 50, 2), (2000, 1, 2)]  # n_paths, n_times, d


def paths(n_paths, n_times, d):
    P, Q = np.random.default_rng(0).normal(size=(2, n_paths, n_times, d))
    return P, Q + 0.2


class Discrepancy:
    params = SIZES

    def setup(self, size):
        self.P, self.Q = paths(*size)
        mmd2_paths(self.P, self.Q)

    def time_mmd2_paths(self, size):
        mmd2_paths(self.P, self.Q)

    def peakmem_mmd2_paths(self, size):
        mmd2_paths(self.P, self.Q)


def ratios():
    for n_paths, n_times, d in SIZES:
        P, Q = paths(n_paths, n_times, d)
        assert np.allclose(mmd2_paths(P, Q, scale=None), mmd2_time_by_time(P, Q, WIDTHS))
        yield compare(
            "MMD, 6 widths",
            "numpy, time by time, all pairs",
            f"{n_paths} against {n_paths} paths, {n_times} times, d={d}",
            lambda P=P, Q=Q: len(mmd2_paths(P, Q, scale=None)),
            lambda P=P, Q=Q: len(mmd2_time_by_time(P, Q, WIDTHS)),
            goal=40 if n_times == 3000 else None,
            turns=3,
        )
