"""Alloy: vacancy jumps with the network and with the embedded barriers.

The network has the published architecture. Its weights are read from the file named by the
environment variable `SKLMACRO_BARRIERS`; without it they are random, which changes how often a
vacancy jumps back, and with it how much the memory of environments saves.
"""

import os
from collections.abc import Iterator

import numpy as np

from benchmarks.baselines_alloy import EveryVacancyEveryStep
from benchmarks.measure import Row, compare
from sklmacro.simulators import Alloy, BarrierNetwork
from sklmacro.simulators.vacancies.network import read_arrays

TEMPERATURE = 2000.0
SIDES = {1: 8, 8: 16, 64: 32}  # vacancies: unit cells along an axis, one vacancy in 1024 sites


def weights() -> dict[str, np.ndarray]:
    """Return the weights of the network."""
    if path := os.environ.get("SKLMACRO_BARRIERS"):
        return read_arrays(path)
    rng = np.random.default_rng(0)
    arrays = {}
    for i, n_in in enumerate((729, 128, 128, 128)):
        arrays[f"layer{i}_weight"] = rng.normal(0, n_in**-0.5, (n_in, 128))
        for part, value in (("bias", 0.0), ("bn_beta", 0.1), ("bn_mean", 0.0)):
            arrays[f"layer{i}_{part}"] = np.full(128, value)
        for part in ("bn_gamma", "bn_var"):
            arrays[f"layer{i}_{part}"] = np.ones(128)
    arrays["out_weight"], arrays["out_bias"] = rng.normal(0, 0.1, (128, 1)), np.full(1, 1.7)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


class Jumps:
    """Jumps of the vacancies of one snapshot, which goes on from call to call."""

    def __init__(self, alloy: Alloy, side: int, n_vacancies: int, n_events: int):
        self.alloy, self.n_events, self.seed = alloy, n_events, 0
        alloy.set_params(vacancy_fraction=n_vacancies / (2 * side**3))
        self.X = alloy.sample_initial(1, side, random_state=0)
        self()

    def __call__(self) -> float:
        self.seed += 1
        self.X, _ = self.alloy.advance(self.X, n_events=self.n_events, random_state=self.seed)
        return self.n_events


class NetworkJumps:
    """asv: jumps with the network."""

    params = tuple(SIDES)
    param_names = ("n_vacancies",)

    def setup(self, n_vacancies: int) -> None:
        alloy = Alloy(TEMPERATURE, BarrierNetwork(weights()))
        self.jumps = Jumps(alloy, SIDES[n_vacancies], n_vacancies, 10_000)

    def time_jumps(self, n_vacancies: int) -> None:
        self.jumps()

    def peakmem_jumps(self, n_vacancies: int) -> None:
        self.jumps()


class EmbeddedJumps(NetworkJumps):
    """asv: jumps with the embedded barriers, up to 524,288 sites."""

    params = (*SIDES, 512)

    def setup(self, n_vacancies: int) -> None:
        side = {**SIDES, 512: 64}[n_vacancies]
        self.jumps = Jumps(Alloy(TEMPERATURE), side, n_vacancies, 50_000)


def ratios() -> Iterator[Row]:
    """Yield the rows of the table."""
    arrays = weights()
    for n_vacancies, goal in ((1, 50), (8, 120), (64, 600)):
        side = SIDES[n_vacancies]
        ours = Jumps(Alloy(TEMPERATURE, BarrierNetwork(arrays)), side, n_vacancies, 20_000)
        theirs = EveryVacancyEveryStep(ours.X[0], arrays, TEMPERATURE)
        yield compare(
            "alloy jump, network, 2000 K", "every vacancy evaluated at every step (numpy)",
            f"{n_vacancies} vacancies, {2 * side**3} sites", ours,
            lambda twin=theirs: twin.run(4), goal=goal,
        )  # fmt: skip
    embedded = Jumps(Alloy(TEMPERATURE), 16, 8, 100_000)
    network = Jumps(Alloy(TEMPERATURE, BarrierNetwork(arrays)), 16, 8, 10_000)
    yield compare(
        "alloy jump, embedded barriers, 2000 K", "the same with the network",
        "8 vacancies, 8192 sites", embedded, network, goal=20,
    )  # fmt: skip
    few, many = (Jumps(Alloy(TEMPERATURE), 64, n, 100_000) for n in (8, 512))
    yield compare(
        "alloy jump, 512 vacancies (ratio at least 1/1.5)", "8 vacancies",
        "embedded, 524288 sites", many, few, goal=1 / 1.5,
    )  # fmt: skip
    many, few = (Jumps(Alloy(TEMPERATURE, BarrierNetwork(arrays)), 64, n, 10_000) for n in (512, 8))
    yield compare(
        "alloy jump, 512 vacancies (ratio at least 1/1.5)", "8 vacancies",
        "network, 524288 sites", many, few, goal=1 / 1.5,
    )  # fmt: skip
