"""Ising: events, attempts, packed replicas, large lattices, LocalRelax."""

import numpy as np
import torch

from benchmarks.baselines_ising import (
    draw_by_multinomial,
    draw_by_search,
    rates_of,
    rebuild_events,
    rebuild_events_by_table,
    relax_torch,
)
from benchmarks.measure import compare
from sklmacro.lattice import Lattice
from sklmacro.simulators import Duration, EventCount, Evolution, Evolutions, Ising

FIELD = 0.1  # of LocalRelax
WINDOW, STRIDE, BATCH = 16, 8, 256


class System:
    """A lattice near equilibrium, and what is done to it."""

    def __init__(self, cells, temperature, field=0.0, kind="square", sweeps=100.0):
        self.model = Ising(temperature, field, kind=kind)
        self.rng = np.random.default_rng(0)
        self.x = np.ones(Lattice(kind, cells).site_shape, np.int8)
        self.lattice = self.model.lattice(self.x.shape)
        self.attempts(sweeps)

    def evolve(self, span):
        evolution = Evolution(self.lattice.full_window, span, self.rng)
        self.model.advance_window(self.x, self.lattice, evolution)

    def attempts(self, duration):
        self.evolve(Duration(duration))
        return duration * self.lattice.n_sites

    def events(self, n_events):
        self.evolve(EventCount(n_events))
        return n_events

    def relax(self):
        """One pass of LocalRelax, one event a site and visit."""
        starts = [range(0, n, STRIDE) for n in self.lattice.cells]
        origins = np.array([(i, j) for i in starts[0] for j in starts[1]])
        extent, n_events = (WINDOW, WINDOW), WINDOW**2
        evolutions = Evolutions(origins, extent, EventCount(n_events), self.rng)
        self.model.advance_windows(self.x, self.lattice, evolutions)
        return n_events * len(origins)


class Events:
    params = ([32, 64, 128], [1.5, 2.27, 2.5])
    param_names = ("side", "temperature")

    def setup(self, side, temperature):
        self.system = System((side, side), temperature)

    def time_events(self, side, temperature):
        self.system.events(20_000)

    def peakmem_events(self, side, temperature):
        self.system.events(20_000)


class Attempts:
    params = (60, 64, 100, 128, 512, 4096)
    param_names = ("side",)

    def setup(self, side):
        self.system = System((side, side), 2.27, sweeps=1.0)

    def time_attempts(self, side):
        self.system.attempts(max(1.0, 4e5 / side**2))

    def peakmem_attempts(self, side):
        self.system.attempts(1.0)


class Kinds:
    params = ("chain", "cubic", "bcc", "fcc", "hcp", "diamond")
    param_names = ("kind",)

    def setup(self, kind):
        self.system = System((4096,) if kind == "chain" else (8, 8, 8), 6.0, kind=kind)

    def time_attempts(self, kind):
        self.system.attempts(10.0)


class Packed:
    params = (64, 512)
    param_names = ("side",)

    def setup(self, side):
        self.model, self.X = Ising(2.27), np.ones((64, side, side), np.int8)

    def time_packed(self, side):
        self.model.simulate(self.X, [1.0], observe=True, packed=True, random_state=0)

    def peakmem_packed(self, side):
        self.model.simulate(self.X, [1.0], observe=True, packed=True, random_state=0)


class Relax:
    def setup(self):
        self.system = System((64, 64), 2.5, FIELD)

    def time_relax(self):
        self.system.relax()


def against_rebuilt(side, temperature, goal):
    system, plain = System((side, side), temperature), System((side, side), temperature)
    rates, n = rates_of(4, temperature, 0.0), max(50, 4_000_000 // side**2)

    def theirs():
        rebuild_events(plain.x, rates, n, plain.rng)
        return n

    return compare(
        "Ising events", "all rates rebuilt, numba", f"L={side} T={temperature}",
        lambda: system.events(50_000), theirs, goal=goal,
    )  # fmt: skip


def against_rebuilt_by_table(kind, cells, temperature):
    system = System(cells, temperature, kind=kind)
    table, flat = system.lattice.neighbors(), system.x.ravel().copy()
    rates = rates_of(table.shape[1], temperature, 0.0)

    def theirs():
        rebuild_events_by_table(flat, table, rates, 500, system.rng)
        return 500

    return compare(
        f"Ising events, {kind}", "all rates rebuilt, numba", f"{flat.size} sites T={temperature}",
        lambda: system.events(50_000), theirs,
    )  # fmt: skip


def packed_against_one(side, temperature, duration):
    model = Ising(temperature)
    start = System((side, side), temperature, sweeps=20.0).x
    X = np.repeat(start[np.newaxis], 64, axis=0)

    def run(X, packed):
        model.simulate(X, [duration], observe=True, packed=packed, random_state=0)
        return X.size * duration

    return compare(
        "64 packed replicas", "one of ours, a replica and attempt", f"L={side} T={temperature}",
        lambda: run(X, True), lambda: run(X[:1], False), goal=8,
    )  # fmt: skip


def side_against(side, other, goal, turns=5):
    duration = max(1.0, 2e6 / side**2)
    system = System((side, side), 2.27, sweeps=1.0 if side > 1000 else 20.0)
    plain = System((other, other), 2.27)
    return compare(
        f"Ising attempts, L={side}", f"L={other}, an attempt", "T=2.27",
        lambda: system.attempts(duration), lambda: plain.attempts(100.0), goal=goal, turns=turns,
    )  # fmt: skip


def relax_against_torch(draw, goal):
    system, source = System((64, 64), 2.5, FIELD), System((64, 64), 2.5, FIELD)
    rings = []
    for _ in range(BATCH):
        source.attempts(5.0)
        rings.append(source.x[: WINDOW + 2, : WINDOW + 2].copy())
    ring = torch.tensor(np.array(rings), dtype=torch.float32)
    x = ring[:, 1:-1, 1:-1].clone()

    def theirs():
        relax_torch(x, ring, 64, 2.5, FIELD, draw)
        return 64 * BATCH

    against = f"all rates rebuilt, torch, {BATCH} windows, {draw.__name__}"
    return compare(
        "LocalRelax, one event a site", against,
        "16x16 of L=64, T=2.5 h=0.1", system.relax, theirs, goal=goal,
    )  # fmt: skip


def ratios():
    for temperature, goal in ((1.5, 250), (2.27, 600), (2.5, 800)):
        yield against_rebuilt(64, temperature, goal)
    for side in (32, 128):
        yield against_rebuilt(side, 2.27, None)
    yield against_rebuilt_by_table("bcc", (8, 8, 8), 6.5)
    yield against_rebuilt_by_table("fcc", (8, 8, 8), 10.0)
    for side, temperature, duration in ((64, 2.27, 500.0), (64, 2.5, 500.0), (512, 2.27, 20.0)):
        yield packed_against_one(side, temperature, duration)
    yield side_against(60, 64, 0.9)
    yield side_against(100, 128, 0.9)
    yield side_against(1000, 1024, 0.9)
    yield side_against(1024, 64, None)
    yield side_against(8192, 64, 0.5)
    yield relax_against_torch(draw_by_multinomial, 150)
    yield relax_against_torch(draw_by_search, None)
