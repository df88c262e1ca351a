"""Two workers against one, for each stage that goes from snapshot to snapshot.

The goal is 1.9 on two idle cores. The seconds are those of one snapshot with two workers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.measure import Row, compare
from sklmacro import HierarchicalUpsampler, LocalRelax, PartialEvolutionSampler, Patches
from sklmacro.simulators import Alloy, Ising, Simulator

GOAL = 1.9
SYSTEMS = ("Ising", "alloy")
STAGES = ("simulate", "upsample", "evolve")


class Stages:
    """The three stages of one system, each a function of `n_jobs` that returns its snapshots."""

    def __init__(self, system: str):
        self.simulator: Simulator
        self.settings: dict[str, dict[str, Any]]
        if system == "Ising":  # 16x16 to 64x64
            self.simulator, n_samples, small, large = Ising(2.5), 384, 16, 64
            self.times = [50.0, 100.0, 150.0]
            self.settings = {
                "upsample": {
                    "factor": 4, "method": "shuffle",
                    "relaxation": LocalRelax(duration=(0.004, 1.0), n_passes=16),
                },
                "evolve": {"patch": Patches(16, n_evolved=4), "dt": 0.5},
            }  # fmt: skip
        else:  # 8^3 to 16^3 cells of two sites
            self.simulator, n_samples, small, large = (alloy := Alloy(2000.0)), 192, 8, 16
            jump = alloy.jump_time()
            self.times = [200 * jump, 400 * jump, 600 * jump]
            self.settings = {
                "upsample": {"nearby": 10, "relaxation": LocalRelax(duration=200 * jump)},
                "evolve": {"patch": Patches(8, n_evolved=4), "dt": 4000 * jump},
            }
        self.small = self.simulator.sample_initial(n_samples, small, random_state=0)
        self.large = self.simulator.sample_initial(n_samples, large, random_state=1)

    def run(self, stage: str, n_jobs: int) -> float:
        """Run a stage on all snapshots; return their number."""
        if stage == "simulate":
            self.simulator.simulate(self.large, self.times, random_state=0, n_jobs=n_jobs)
            return len(self.large)
        of_stage: Callable = HierarchicalUpsampler
        X = self.small
        if stage == "evolve":
            of_stage, X = PartialEvolutionSampler, self.large
        of_stage(
            self.simulator, random_state=0, n_jobs=n_jobs, **self.settings[stage]
        ).fit_transform(X)
        return len(X)


class Parallel:
    """asv: stages with one and two workers."""

    params = (SYSTEMS, STAGES, (1, 2))
    param_names = ("system", "stage", "n_jobs")

    def setup(self, system: str, stage: str, n_jobs: int) -> None:
        self.stages = Stages(system)

    def time_stage(self, system: str, stage: str, n_jobs: int) -> None:
        self.stages.run(stage, n_jobs)

    def peakmem_stage(self, system: str, stage: str, n_jobs: int) -> None:
        self.stages.run(stage, n_jobs)


def ratios() -> Iterator[Row]:
    """Yield the rows of the table."""
    for system in SYSTEMS:
        stages = Stages(system)
        for stage in STAGES:
            two, one = (partial(stages.run, stage, n) for n in (2, 1))
            size = f"{stages.run(stage, 1):.0f} snapshots"
            yield compare(f"{stage}, {system}, n_jobs=2", "n_jobs=1", size, two, one, goal=GOAL)
