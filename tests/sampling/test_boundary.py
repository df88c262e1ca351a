"""Boundaries of patches: increments against their definition, their mean against the drift.

Thresholds PASS and FAIL: see tests/naive.py.
"""

from functools import partial

import numpy as np
import pytest

from sklmacro import HierarchicalUpsampler, LocalRelax, PartialEvolutionSampler
from sklmacro._base.streams import Stage, Streams
from sklmacro.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.sampling.boundary import Buffer, Ghost, Periodic, as_boundary
from sklmacro.sampling.patches import PatchEvolver
from sklmacro.simulators import (
    Alloy,
    CurieWeiss,
    Duration,
    Evolution,
    Evolutions,
    Ising,
    LinearChain,
    PredatorPrey,
)
from tests import naive
from tests.naive import FAIL, PASS

# simulator, cells, windows (origin, extent): in the middle, over an edge or at it, nearly all
CASES = {
    "Ising": (Ising(), (6, 7), [((1, 2), (3, 2)), ((5, 5), (2, 3)), ((0, 0), (6, 6))]),
    "open Ising": (Ising(boundary="open"), (6, 5), [((1, 2), (3, 2)), ((0, 0), (2, 3))]),
    "CurieWeiss": (CurieWeiss(), (4, 6), [((1, 2), (2, 2)), ((3, 4), (2, 3))]),
    "LinearChain": (LinearChain(), (9,), [((3,), (3,)), ((0,), (2,)), ((7,), (2,))]),
    "PredatorPrey": (PredatorPrey(), (8,), [((3,), (3,)), ((0,), (2,)), ((5,), (3,))]),
}
WAYS = {"ghost": "ghost", "buffer": 2, "periodic": "periodic"}
KINDS = tuple(WAYS)


def cases(names=tuple(CASES)):
    return [(*CASES[name][:2], window) for name in names for window in CASES[name][2]]


def start_of(simulator, cells):
    x = simulator.sample_initial(3, cells, random_state=4)[2]
    if simulator.two_valued:  # both phases, so that much happens
        x = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), cells)
    return x, simulator.lattice(x.shape)


def evolver(boundary, simulator, lattice, extent, duration=0.6, n_events=None):
    span = simulator.check_span(duration, n_events)
    return PatchEvolver(simulator, lattice, extent, as_boundary(boundary), span)


def evolve(boundary, simulator, x, lattice, window, seed=0, duration=0.6, n_events=None):
    patch = evolver(boundary, simulator, lattice, window[1], duration, n_events)
    return patch.evolve(x, Window(*window), np.random.default_rng(seed))


def advance(simulator, x, lattice, window, duration=0.6):
    """Evolve a window in place, from seed 0."""
    rng = np.random.default_rng(0)
    simulator.advance_window(x, lattice, Evolution(Window(*window), Duration(duration), rng))


# --- definition ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("simulator", "cells", "window"), cases())
def test_the_snapshot_comes_back_as_it_was(simulator, cells, window, kind):
    if kind == "periodic" and simulator.boundary == "open":
        return  # no patch closes on itself there
    x, lattice = start_of(simulator, cells)
    before = x.copy()
    patch, elapsed, d_obs = evolve(WAYS[kind], simulator, x, lattice, window, duration=4.0)
    np.testing.assert_array_equal(x, before)
    assert elapsed == pytest.approx(4.0)
    assert d_obs.shape == (simulator.n_observables,)
    assert patch.shape == before[lattice.window(*window)].shape
    assert not np.array_equal(patch, before[lattice.window(*window)])
    assert not np.shares_memory(patch, x)


@pytest.mark.parametrize(("simulator", "cells", "window"), cases())
def test_ghost_increment_is_that_of_the_lattice(simulator, cells, window):
    x, lattice = start_of(simulator, cells)
    patch, _, d_obs = evolve(WAYS["ghost"], simulator, x, lattice, window)
    after = x.copy()
    after[lattice.window(*window)] = patch
    change = simulator.observe(after[np.newaxis])[0] - simulator.observe(x[np.newaxis])[0]
    share = np.prod(window[1]) / lattice.n_sites
    np.testing.assert_allclose(d_obs, change / share, rtol=1e-9, atol=1e-13)
    # The patch is evolved as a window of the lattice, everything else frozen.
    expected = x.copy()
    advance(simulator, expected, lattice, window)
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize(("simulator", "cells", "window"), cases())
def test_buffer_increment_is_that_of_the_patch_among_evolved_neighbours(simulator, cells, window):
    x, lattice = start_of(simulator, cells)
    patch, _, d_obs = evolve(WAYS["buffer"], simulator, x, lattice, window)
    after, region = x.copy(), lattice.grow(*window, 2)
    advance(simulator, after, lattice, region)
    np.testing.assert_array_equal(patch, after[lattice.window(*window)])
    change = simulator.observe_window(after, window) - simulator.observe_window(x, window)
    np.testing.assert_allclose(d_obs, change, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("cells", [(6, 4), (4, 8)])
def test_buffered_increments_of_all_patches_add_up_to_that_of_the_lattice(cells):
    # A rim so wide that each patch evolves with the whole lattice, in the same way each time.
    simulator, boundary = Ising(), 8
    x, lattice = start_of(simulator, cells)
    increments = [
        evolve(boundary, simulator, x, lattice, ((i, j), (2, 2)))[2]
        for i in range(0, cells[0], 2)
        for j in range(0, cells[1], 2)
    ]
    after = x.copy()
    advance(simulator, after, lattice, ((0, 0), cells))
    change = simulator.observe(after[np.newaxis])[0] - simulator.observe(x[np.newaxis])[0]
    np.testing.assert_allclose(np.mean(increments, axis=0), change, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("simulator", "cells", "window"), cases(["Ising", "CurieWeiss"]))
def test_periodic_patch_is_a_small_lattice(simulator, cells, window):
    x, lattice = start_of(simulator, cells)
    patch, _, d_obs = evolve(WAYS["periodic"], simulator, x, lattice, window)
    alone = x[lattice.window(*window)].copy()
    before = simulator.observe(alone[np.newaxis])[0]
    small = Lattice("square", window[1])
    origin = (0,) * len(cells)
    advance(simulator, alone, small, (origin, window[1]))
    np.testing.assert_array_equal(patch, alone)
    np.testing.assert_allclose(d_obs, simulator.observe(alone[np.newaxis])[0] - before, atol=1e-14)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_one_event_counts_once(boundary):
    # K d_obs / K: one flip in one patch changes the lattice by 1 / K of the patch's increment.
    simulator = Ising(boundary=boundary)
    x, lattice = start_of(simulator, (6, 6))
    increments, changes, half = [], [], []
    for i in range(0, 6, 2):
        for j in range(0, 6, 3):
            window = ((i, j), (2, 3))
            patch, elapsed, d_obs = evolve(
                WAYS["ghost"], simulator, x, lattice, window, 7, None, n_events=1
            )
            assert elapsed > 0
            after = x.copy()
            after[lattice.window(*window)] = patch
            assert (after != x).sum() == 1
            observed = simulator.observe(np.array([x, after]))
            increments.append(d_obs)
            changes.append(6 * (observed[1] - observed[0]))
            own = simulator.observe_window(after, window) - simulator.observe_window(x, window)
            half.append(own)
    np.testing.assert_allclose(increments, changes, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.array(half)[:, 0], np.array(changes)[:, 0], atol=1e-14)
    assert not np.allclose(half, changes)  # bonds across the patch's edge would count half


# --- mean increments against the drift -----------------------------------------------------------


MODEL = Ising(temperature=2.3, field=0.1)
PATCHES = [((i, j), (2, 3)) for i in range(0, 6, 2) for j in range(0, 6, 3)]


@pytest.fixture(scope="module")
def quench():
    """A 6x6 lattice full of domain walls and the drift sum_i r_i (change by flip i) of (M, walls).

    A checkerboard with two rows of random spins.
    """
    x = (1 - 2 * (np.indices((6, 6)).sum(axis=0) % 2)).astype(np.int8)
    x[1:3] = np.random.default_rng(3).choice([-1, 1], (2, 6))
    energy = partial(naive.ising_energy, coupling=1.0, field=0.1, periodic=True)
    rates = 1 / (1 + np.exp(naive.flip_costs(x, energy) / 2.3))
    drift, z = np.zeros(2), np.array([x.mean(), naive.ising_walls(x, True)])
    for site in np.ndindex(6, 6):
        flipped = x.copy()
        flipped[site] *= -1
        after = np.array([flipped.mean(), naive.ising_walls(flipped, True)])
        drift += rates[site] * (after - z)
    return x, drift


def exact_means(x, dt, half=False):
    """Mean of the increments (6, 2) of all patches at dt, by enumeration of their states.

    With `half` the walls of a patch are seen from the patch alone: half of those at its edge.
    """
    lattice, means = MODEL.lattice(x.shape), []
    for window in PATCHES:
        box = lattice.window(*window)
        states = naive.spin_states((2, 3))
        everything = np.repeat(x[np.newaxis], 64, axis=0)
        everything[(slice(None), *box)] = states
        Q = naive.glauber_generator(naive.ising_energy(everything, 1.0, 0.1, True), 2.3)
        law = naive.law_at(Q, int(naive.spin_numbers(x[box][np.newaxis])[0]), dt)
        if half:
            z = np.array([MODEL.density(s)[box].mean(axis=(0, 1)) for s in everything])
            now = MODEL.density(x)[box].mean(axis=(0, 1))
        else:
            z = 6 * np.array([[s.mean(), naive.ising_walls(s, True)] for s in everything])
            now = 6 * np.array([x.mean(), naive.ising_walls(x, True)])
        means.append(law @ (z - now))
    return np.array(means)


def test_mean_increments_tend_to_the_drift(quench):
    x, drift = quench
    errors = [np.abs(exact_means(x, dt).mean(axis=0) / dt - drift) for dt in (2e-3, 1e-3)]
    assert np.max(errors[0]) < 0.01 * np.abs(drift).max()
    assert errors[0] / errors[1] == pytest.approx([2, 2], rel=0.02)  # of first order in dt
    half = exact_means(x, 1e-3, half=True).mean(axis=0) / 1e-3
    assert half[0] == pytest.approx(drift[0], abs=0.01 * np.abs(drift).max())
    assert abs(half[1] - drift[1]) > 0.2 * abs(drift[1])


def sample(x, kind, dt, n):
    """Increments (n, 6, 2) of all patches."""
    lattice, rng = MODEL.lattice(x.shape), np.random.default_rng(5)
    patch = evolver(WAYS[kind], MODEL, lattice, (2, 3), dt)
    windows = [Window(*w) for w in PATCHES]
    return np.array([[patch.evolve(x, w, rng)[2] for w in windows] for _ in range(n)])


@pytest.mark.statistical
def test_sampled_increments_have_the_exact_mean(quench):
    (x, _), dt = quench, 0.05
    d_obs = sample(x, "ghost", dt, 2000)

    def p_value(mean, d=d_obs):
        """p-value of the mean over the patches, which are independent."""
        d = d.mean(axis=1)
        return naive.gaussian(d, mean, np.cov(d.T))[0]

    assert p_value(exact_means(x, dt).mean(axis=0)) > PASS
    assert p_value(exact_means(x, dt, half=True).mean(axis=0)) < FAIL
    assert p_value(exact_means(x, dt).mean(axis=0), sample(x, "periodic", dt, 2000)) < FAIL


@pytest.mark.statistical
def test_short_increments_have_the_drift_of_the_lattice(quench):
    # At dt = 0.002 the bias of first order is below a tenth of the sampling error.
    x, drift = quench
    dt = 0.002
    d = sample(x, "ghost", dt, 27_000).mean(axis=1)
    bias = exact_means(x, dt).mean(axis=0) - dt * drift
    assert (np.abs(bias) < 0.1 * d.std(axis=0) / len(d) ** 0.5).all()
    assert naive.gaussian(d, dt * drift, np.cov(d.T))[0] > PASS
    half = exact_means(x, dt, half=True).mean(axis=0)
    assert naive.gaussian(d, half, np.cov(d.T))[0] < FAIL


def test_mean_increments_of_the_chain_are_its_closed_drift():
    chain, dt = LinearChain(gamma=0.3, kappa=2.0, force=5.0, sigma=0.0), 1e-6
    x = np.random.default_rng(0).normal(0, 3, 12)
    increments = [
        evolve(WAYS["ghost"], chain, x, chain.lattice(x.shape), ((k,), (3,)), duration=dt)[2][0]
        for k in range(0, 12, 3)
    ]
    assert np.mean(increments) / dt == pytest.approx(-0.3 * x.mean() + 5.0 / 12, rel=1e-4)
    assert increments[0] / dt != pytest.approx(-0.3 * x[:3].mean() + 5.0 / 3, rel=0.1)


# --- LocalRelax visits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, "Ising") for kind in KINDS] + [(kind, "LinearChain") for kind in ("ghost", "buffer")],
)
def test_relax_is_one_visit_after_the_other(kind, name):
    simulator, cells, _ = CASES[name]
    x, lattice = start_of(simulator, cells)
    extent = tuple(2 for _ in cells)
    origins = np.array([[1] * len(cells), [3] * len(cells), [2] * len(cells)])
    relaxed = x.copy()
    rng = np.random.default_rng(6)
    patch_of = evolver(WAYS[kind], simulator, lattice, extent, 1.5)
    patch_of.visit(relaxed, origins, rng)
    visited = np.zeros(cells, bool)
    for origin in origins:
        visited[lattice.window(tuple(origin.tolist()), extent)] = True
    np.testing.assert_array_equal(relaxed[~visited], x[~visited])  # also the buffer's rim
    assert not np.array_equal(relaxed, x)
    if kind == "ghost" and name == "Ising":
        return  # one stream for all visits: the law is tested with the simulator
    expected, rng = x.copy(), np.random.default_rng(6)
    for origin in origins:
        window = Window(tuple(origin.tolist()), extent)
        patch, _, _ = patch_of.evolve(expected, window, rng)
        expected[lattice.window(*window)] = patch
    np.testing.assert_array_equal(relaxed, expected)


@pytest.mark.parametrize("boundary", ["closed", "buffer", 0, -1, 1.5, True, None])
def test_wrong_boundaries_are_refused(boundary):
    text = "Expected boundary to be 'ghost', 'periodic', or the width of a buffer.* but got"
    with pytest.raises(ValueError, match=f"{text} {boundary!r}"):
        as_boundary(boundary)


def test_short_forms_of_boundaries():
    forms = {"ghost": Ghost(), "periodic": Periodic(), 2: Buffer(2)}
    assert all(as_boundary(short) == as_boundary(value) == value for short, value in forms.items())
    with pytest.raises(ValueError, match="width of a buffer to be an integer of at least 1"):
        Buffer(0)


def test_a_patch_of_an_open_lattice_does_not_close_on_itself():
    X = LinearChain().sample_initial(2, 20, random_state=0)
    sampler = PartialEvolutionSampler(LinearChain(), patch=5, boundary="periodic")
    with pytest.raises(ValueError, match=r"the open one of LinearChain.*'ghost' or a buffer"):
        sampler.fit(X)
    upsampler = HierarchicalUpsampler(
        LinearChain(), relaxation=LocalRelax(duration=1.0, boundary="periodic")
    )
    with pytest.raises(ValueError, match="the open one of LinearChain"):
        upsampler.fit(X)


def test_a_periodic_patch_of_one_cell_is_refused():
    X = Ising().sample_initial(2, 4, random_state=0)
    with pytest.raises(ValueError, match="a spin would be its own neighbour"):
        PartialEvolutionSampler(Ising(), patch=(1, 4), boundary="periodic").fit(X)


# --- patches of a batch, each by itself ----------------------------------------------------------

TOGETHER = {
    "Ising": (Ising(2.3, 0.1), (6, 7), (3, 3)),
    "open Ising": (Ising(2.3, 0.1, boundary="open"), (6, 7), (3, 3)),
    "bcc Ising": (Ising(6.0, 0.1, kind="bcc"), (4, 4, 4), (2, 2, 2)),
    "alloy": (Alloy(2000.0, vacancy_fraction=0.05, attempt_frequency=5e3), (4, 4, 4), (3, 2, 2)),
    "PredatorPrey": (PredatorPrey(), (8,), (3,)),
}


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("kind", ["ghost", "buffer"])
def test_patches_evolve_apart(name, kind):
    simulator, cells, extent = TOGETHER[name]
    X = simulator.sample_initial(3, cells, random_state=4)
    before, lattice = X.copy(), simulator.lattice(X.shape[1:])
    high = np.subtract(cells, extent) + 1
    origins = np.random.default_rng(0).integers(high, size=(3, 4, len(cells)))
    X.flags.writeable = False
    streams = Streams(0, Stage.EVOLVE, range(3))
    patch = evolver({"ghost": "ghost", "buffer": 1}[kind], simulator, lattice, extent)
    patches, elapsed, d_obs = patch.apart(X, origins, streams)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_allclose(elapsed, 0.6)
    changed = 0
    for k, q in np.ndindex(3, 4):
        window = tuple(origins[k, q].tolist()), extent
        after = X[k].copy()
        after[lattice.window(*window)] = patches[k, q]
        changed += not np.array_equal(after, X[k])
        if kind == "ghost":
            change = np.subtract(*simulator.observe(np.array([after, X[k]])))
            share = np.prod(extent) * lattice.n_basis / lattice.n_sites
            np.testing.assert_allclose(d_obs[k, q], change / share, rtol=1e-9, atol=1e-12)
    assert changed > 4


@pytest.mark.statistical
def test_patches_of_a_batch_have_the_law_of_a_window():
    simulator, cells, extent = TOGETHER["Ising"]
    x, lattice = start_of(simulator, cells)
    n, window = 20_000, ((2, 5), (3, 3))
    X, origins = np.repeat(x[np.newaxis], n, axis=0), np.tile(window[0], (n, 1, 1))
    streams = Streams(0, Stage.EVOLVE, range(n))
    evolutions = Evolutions(origins, extent, Duration(0.6), streams)
    patches, _, _ = simulator.advance_apart(X, lattice, evolutions)
    one_by_one, _ = simulator.advance(X, duration=0.6, window=window, random_state=1)
    longer, _ = simulator.advance(X, duration=0.75, window=window, random_state=2)

    box = (slice(None), *lattice.window(*window))

    def numbers(boxes):
        return naive.spin_numbers(boxes.reshape(n, -1))

    ours = numbers(patches[:, 0])
    assert naive.two_samples(ours, numbers(one_by_one[box])) > PASS
    assert naive.two_samples(ours, numbers(longer[box])) < FAIL
