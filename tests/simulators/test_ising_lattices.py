"""Ising on every lattice, and each of its kernels alone: exact in law, shown by enumeration.

Thresholds PASS and FAIL: see tests/naive.py.
"""

from functools import partial

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone

from sklmacro._base.streams import Stage, stream
from sklmacro.lattice.lattice import KINDS, Lattice
from sklmacro.simulators import Ising, ising
from sklmacro.simulators.glauber.attempts import BLOCK
from sklmacro.simulators.glauber.bits import evolve_bits
from sklmacro.simulators.glauber.rejection_free import evolve_classes
from sklmacro.simulators.glauber.tables import (
    evolve_tables,
    neighbour_table,
    pad_spins,
    places_inside,
    window_sites,
)
from sklmacro.simulators.machine.random_words import LOW32, probability_words
from sklmacro.simulators.machine.word_blocks import draw_words, fill_times, fill_words, word_source
from tests import naive
from tests.naive import FAIL, PASS
from tests.problems import start_spins

# kind, cells, window or None, boundary; the enumerated states are those of the window
BOXES = {
    "chain": ("chain", (7,), None, "periodic"),
    "open chain": ("chain", (7,), None, "open"),
    "window of a chain": ("chain", (9,), ((7,), (4,)), "periodic"),
    "cubic, doubled bonds": ("cubic", (2, 2, 2), None, "periodic"),
    "open cubic": ("cubic", (2, 1, 3), None, "open"),
    "window of cubic": ("cubic", (4, 3, 5), ((3, 1, 2), (2, 3, 1)), "periodic"),
    "bcc": ("bcc", (2, 1, 2), None, "periodic"),
    "open bcc": ("bcc", (2, 1, 2), None, "open"),
    "window of bcc": ("bcc", (3, 3, 3), ((2, 0, 1), (2, 1, 2)), "periodic"),
    "fcc": ("fcc", (2, 1, 1), None, "periodic"),
    "open fcc": ("fcc", (1, 2, 1), None, "open"),
    "hcp": ("hcp", (2, 2, 1), None, "periodic"),
    "window of open hcp": ("hcp", (3, 3, 3), ((1, 2, 0), (2, 1, 2)), "open"),
    "diamond": ("diamond", (1, 1, 1), None, "periodic"),
    "open diamond": ("diamond", (1, 1, 1), None, "open"),
}
MODEL = {"temperature": 3.1, "field": 0.15, "coupling": 0.9}
HOT = MODEL | {"temperature": 3.9}


def problem(kind, cells, window, boundary, model=None):
    """Simulator, lattice, start, index of the window, generator on its states, start's number."""
    model = Ising(**(model or MODEL), boundary=boundary, kind=kind)
    lattice = Lattice(kind, cells, boundary)
    x = start_spins(lattice.site_shape)
    box = lattice.window(*(window or lattice.full_window))
    states = naive.spin_states(x[box].shape)
    everything = np.repeat(x[np.newaxis], len(states), axis=0)
    everything[(slice(None), *box)] = states
    H = naive.lattice_energy(everything, lattice, model.coupling, model.field)
    Q = naive.glauber_generator(H, model.temperature)
    return model, lattice, x, box, Q, int(naive.spin_numbers(x[box][np.newaxis])[0])


def many(x, n):
    return np.broadcast_to(x, (n, *x.shape))


@pytest.mark.statistical
@pytest.mark.parametrize("box", BOXES)
def test_law_after_a_time(box):
    model, _, x, inside, Q, start = problem(*BOXES[box])
    n = 10_000
    X, _ = model.advance(many(x, n), duration=0.7, window=BOXES[box][2], random_state=2)
    counts = np.bincount(naive.spin_numbers(X[(slice(None), *inside)]), minlength=Q.shape[0])
    assert naive.pearson(counts, naive.law_at(Q, start, 0.7)) > PASS
    assert naive.pearson(counts, naive.law_at(Q, start, 1.0)) < FAIL
    X[(slice(None), *inside)] = x[inside]
    assert (x == X).all()  # the outside is frozen


@pytest.mark.statistical
@pytest.mark.parametrize("box", BOXES)
def test_joint_law_of_events_and_their_time(box):
    (model, _, x, inside, Q, start), n = problem(*BOXES[box]), 10_000
    X, elapsed = model.advance(many(x, n), n_events=3, window=BOXES[box][2], random_state=3)
    times = np.array([0.4, 1.1]) * 3 / -Q.diagonal()[start]
    numbers = naive.spin_numbers(X[(slice(None), *inside)])
    cells = np.searchsorted(times, elapsed) * Q.shape[0] + numbers
    counts = np.bincount(cells, minlength=3 * Q.shape[0])
    assert naive.pearson(counts, naive.law_of_events(Q, start, 3, times).ravel()) > PASS
    assert naive.pearson(counts, naive.law_of_events(Q, start, 3, 1.2 * times).ravel()) < FAIL


# --- each kernel alone ---------------------------------------------------------------------------

SQUARES = {
    "torus": ((3, 3), None, "periodic"),
    "open": ((2, 4), None, "open"),
    "window": ((5, 6), ((4, 5), (2, 4)), "periodic"),
}


def run_tables(model, lattice, x, window, duration, n_events, rng):
    sites, spins, table = window_sites(lattice, *window), pad_spins(x), neighbour_table(lattice)
    up = probability_words(model.rates()[:, 0])
    m = len(sites)
    source = word_source(rng)
    probe, rest = (0, 0) if duration is None else rng.poisson(m * duration / 2, 2)
    goal = -1 if n_events is None else n_events
    box, words = (spins, sites, table, up), np.empty(BLOCK, np.uint64)
    ready, _, attempts = evolve_tables(box, m, (probe, rest, goal), source, words)
    assert ready
    return spins[:-1].reshape(x.shape), rng.standard_gamma(attempts) / m


def run_classes(model, lattice, x, window, duration, n_events, rng):
    sites, spins, table = window_sites(lattice, *window), pad_spins(x), neighbour_table(lattice)
    inside = places_inside(sites, table)
    goal, limit = (10**9, duration) if n_events is None else (n_events, np.inf)
    source = word_source(rng)
    elapsed = evolve_classes(spins, sites, table, inside, model.rates(), (goal, limit), source)
    return spins[:-1].reshape(x.shape), elapsed


def run_bits(model, lattice, x, window, duration, n_events, rng):
    y = x.copy()
    up = probability_words(model.rates()[:, 0])
    evolve_bits(y, up, rng.poisson(x.size * duration), word_source(rng))
    return y, duration


def test_large_lattices_are_advanced_in_bits(monkeypatch):
    model, rng = Ising(2.3), stream(5, Stage.ADVANCE)
    x = model.sample_initial(1, 64, random_state=0)
    y, source = x[0].copy(), word_source(rng)
    up = probability_words(model.rates()[:, 0])
    evolve_bits(y, up, rng.poisson(3.0 * y.size), source)
    assert not np.array_equal(model.advance(x, duration=3.0, random_state=5)[0][0], y)  # control
    monkeypatch.setattr(ising, "LEAST_SITES", y.size)
    found, elapsed = model.advance(x, duration=3.0, random_state=5)
    assert np.array_equal(found[0], y)
    assert elapsed == [3.0]


def sample(run, box, how, n, model=None):
    """States of the window and times from `n` runs of a kernel, with the exact problem."""
    exact = problem(*box, model)
    model, lattice, x, inside, _, _ = exact
    window = box[2] or lattice.full_window
    rng = np.random.default_rng(1)
    runs = [run(model, lattice, x, window, *how, rng) for _ in range(n)]
    return np.array([y[inside] for y, _ in runs]), np.array([t for _, t in runs]), exact


@pytest.mark.statistical
@pytest.mark.parametrize("run", [run_tables, run_classes])
@pytest.mark.parametrize("box", SQUARES)
def test_kernels_for_any_lattice_on_the_square_one(run, box):
    box = ("square", *SQUARES[box])
    Y, elapsed, (_, _, _, _, Q, start) = sample(run, box, (0.7, None), 6000)
    counts = np.bincount(naive.spin_numbers(Y), minlength=Q.shape[0])
    assert naive.pearson(counts, naive.law_at(Q, start, 0.7)) > PASS
    assert naive.pearson(counts, naive.law_at(Q, start, 1.0)) < FAIL
    Y, elapsed, _ = sample(run, box, (None, 4), 6000)
    times = np.array([0.4, 1.1]) * 4 / -Q.diagonal()[start]
    cells = np.searchsorted(times, elapsed) * Q.shape[0] + naive.spin_numbers(Y)
    counts = np.bincount(cells, minlength=3 * Q.shape[0])
    assert naive.pearson(counts, naive.law_of_events(Q, start, 4, times).ravel()) > PASS
    assert naive.pearson(counts, naive.law_of_events(Q, start, 4, 1.2 * times).ravel()) < FAIL


@pytest.mark.statistical
@pytest.mark.parametrize("cells", [(3, 3), (2, 4), (4, 2)])
def test_bits_have_the_exact_law(cells):
    Y, _, (_, _, _, _, Q, start) = sample(
        run_bits, ("square", cells, None, "periodic"), (0.7, None), 6000
    )
    counts = np.bincount(naive.spin_numbers(Y), minlength=Q.shape[0])
    assert naive.pearson(counts, naive.law_at(Q, start, 0.7)) > PASS
    assert naive.pearson(counts, naive.law_at(Q, start, 1.0)) < FAIL


@pytest.mark.statistical
@pytest.mark.parametrize("cells", [(9, 62), (3, 63), (17, 130), (8, 124)])
def test_bits_agree_with_bytes(cells):
    # Rows of one word, of several, of a last word with one site; compared by the walls and spins.
    lattice, model, n = Lattice("square", cells), Ising(**MODEL), 800
    x, rng = start_spins(lattice.site_shape), np.random.default_rng(0)
    bits = np.array([run_bits(model, lattice, x, None, 1.5, None, rng)[0] for _ in range(n)])
    fast, _ = model.advance(many(x, n), duration=1.5, random_state=1)
    hot, _ = Ising(**HOT).advance(many(x, n), duration=1.5, random_state=2)
    first, second, third = (model.observe(X) for X in (bits, fast, hot))
    for k in range(2):
        assert stats.ks_2samp(first[:, k], second[:, k]).pvalue > PASS
    assert stats.ks_2samp(first[:, 1], third[:, 1]).pvalue < FAIL
    # Site by site, next to the words' borders above all.
    ups, others = ((X > 0).sum(axis=0).ravel() for X in (bits, fast))
    chi2 = (ups - others) ** 2 / np.maximum((ups + others) * (1 - (ups + others) / (2 * n)), 1e-9)
    assert stats.chi2.sf(chi2.sum(), x.size) > PASS


@pytest.fixture
def handovers(monkeypatch):
    """List with the duration of every call of the kernel without rejections."""
    calls = []

    def counted(*arguments):
        calls.append(arguments[5][1])
        return evolve_classes(*arguments)

    monkeypatch.setattr("sklmacro.simulators.ising.evolve_classes", counted)
    return calls


COLD = {"square": ((3, 3), 1.1), "chain": ((7,), 0.5)}  # about 1 attempt in 100 succeeds


@pytest.mark.statistical
@pytest.mark.parametrize("kind", COLD)
def test_cold_lattice_goes_on_without_rejections(kind, handovers):
    # 4096 attempts by which to judge, then events until the time is over.
    cells, temperature = COLD[kind]
    cold = {"temperature": temperature, "field": -0.2, "coupling": 1.0}
    model, _, x, _, Q, start = problem(kind, cells, None, "periodic", cold)
    X, elapsed = model.advance(many(x, 4000), duration=2500.0, random_state=0)
    assert (elapsed == 2500.0).all()
    assert len(handovers) > 2000
    assert max(handovers) < 2500.0
    counts = np.bincount(naive.spin_numbers(X), minlength=Q.shape[0])
    assert naive.pearson(counts, naive.law_at(Q, start, 2500.0)) > PASS
    warm = cold | {"temperature": 1.4 * temperature}
    warmer = problem(kind, cells, None, "periodic", warm)[4]
    assert naive.pearson(counts, naive.law_at(warmer, start, 2500.0)) < FAIL


@pytest.mark.statistical
@pytest.mark.parametrize("kind", COLD)
def test_events_handed_over_have_their_law(kind, handovers):
    # From all up in a field that is against it: 1e4 attempts bring few flips or none.
    cells, temperature = COLD[kind]
    cold = {"temperature": 0.7 * temperature, "field": -0.1, "coupling": 1.0}
    model, _, x, _, Q, _ = problem(kind, cells, None, "periodic", cold)
    n, last = 6000, Q.shape[0] - 1
    X, elapsed = model.advance(many(np.ones_like(x), n), n_events=4, random_state=0)
    assert len(handovers) > 2000
    times = np.array([0.4, 1.1]) / -Q.diagonal()[last]
    numbers = np.searchsorted(times, elapsed) * (last + 1) + naive.spin_numbers(X)
    counts = np.bincount(numbers, minlength=3 * (last + 1))
    assert naive.pearson(counts, naive.law_of_events(Q, last, 4, times).ravel()) > PASS
    assert naive.pearson(counts, naive.law_of_events(Q, last, 4, 1.2 * times).ravel()) < FAIL


# --- random words --------------------------------------------------------------------------------


def test_blocks_of_words_are_eight_streams():
    lanes = word_source(np.random.default_rng(0)).lanes
    words, start = np.empty(80, np.uint64), lanes.copy()
    fill_words(lanes, words)
    expected = [naive.xoshiro(start[:, k], 11) for k in range(8)]
    np.testing.assert_array_equal(words.reshape(10, 8).T, [e[:10] for e in expected])
    fill_words(lanes, words[:8])  # the state goes on
    np.testing.assert_array_equal(words[:8], [e[10] for e in expected])


@pytest.mark.statistical
def test_waiting_times_are_logarithms():
    lanes = word_source(np.random.default_rng(0)).lanes
    words, times = np.empty(40_000, np.uint64), np.empty(40_000)
    start = lanes.copy()
    fill_words(lanes, words)
    u = (words >> np.uint64(12)) * 2.0**-52 + 2.0**-53
    fill_times(start, words, times)
    np.testing.assert_allclose(times, -np.log(u), rtol=1e-14, atol=1e-16)
    assert stats.kstest(times, "expon").pvalue > PASS
    assert stats.kstest(1.1 * times, "expon").pvalue < FAIL


@pytest.mark.statistical
@pytest.mark.parametrize("n", [3 << 30, 60, 1 << 12])
def test_sites_are_uniform(n):
    rng = np.random.default_rng(0)
    source, words = word_source(rng), np.empty(40_000, np.uint64)
    draw_words(source, words, n)
    products = (words >> np.uint64(32)) * np.uint64(n)
    assert (products & LOW32).min() >= 2**32 % n
    counts = np.bincount((products >> np.uint64(32)).astype(np.int64) * 60 // n, minlength=60)
    assert naive.pearson(counts, np.ones(60)) > PASS
    if n > 1 << 31:  # a quarter had to be drawn again: the bare product favours every third site
        fill_words(source.lanes, words)
        sites = ((words >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)
        assert naive.pearson(np.bincount((sites % np.uint64(3)).astype(int)), np.ones(3)) < FAIL


# --- observables, parameters, errors -------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("kind", KINDS)
def test_walls_are_the_fraction_of_unequal_bonds(kind, boundary):
    model = Ising(kind=kind, boundary=boundary)
    X = model.sample_initial(3, 3, random_state=0)
    lattice = model.lattice(X.shape[1:])
    expected = [[x.mean(), naive.lattice_walls(x, lattice)] for x in X]
    np.testing.assert_allclose(model.observe(X), expected, rtol=1e-13)
    densities = np.array([model.density(x) for x in X])
    assert densities.shape == (*X.shape, 2)
    axes = tuple(range(1, X.ndim))
    np.testing.assert_allclose(densities.mean(axis=axes), expected, rtol=1e-13)
    origin, extent = (1,) * lattice.ndim, (2,) * lattice.ndim
    inside = densities[0][lattice.window(origin, extent)]
    seen = model.observe_window(X[0], (origin, extent))
    np.testing.assert_allclose(seen, inside.reshape(-1, 2).mean(axis=0), rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_a_parameter(kind):
    model = clone(Ising(kind=kind))
    assert model.get_params()["kind"] == kind
    assert Ising().set_params(kind=kind).kind == kind
    X = model.sample_initial(2, 4, random_state=0)
    one, two = (model.simulate(X, [0.5, 1.0], random_state=0, n_jobs=jobs) for jobs in (1, 2))
    assert one.shape == (2, 2, *X.shape[1:])
    np.testing.assert_array_equal(one, two)
    large = model.upsample(X[0], (2,) * model.lattice(X[0].shape).ndim, np.random.default_rng(0))
    assert model.lattice(large.shape).n_sites == X[0].size * 2 ** model.lattice(X[0].shape).ndim


def test_wrong_kind_is_refused():
    text = "Expected kind to be one of .*square.*, but got 'kagome'"
    with pytest.raises(ValueError, match=text):
        Ising(kind="kagome").observe(np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match=text):
        Ising(kind="kagome").sample_initial(1, 4)


def test_a_spin_is_not_its_own_neighbour():
    refused = partial(pytest.raises, ValueError, match="a spin would be its own neighbour")
    with refused():
        Ising(kind="chain").observe(np.ones((1, 1)))
    with refused():
        Ising(kind="cubic").observe(np.ones((1, 3, 1, 3)))
    with refused():
        Ising(kind="hcp").observe(np.ones((1, 1, 2, 2, 2)))
    Ising(kind="hcp").observe(np.ones((1, 2, 2, 1, 2)))  # next layers are other sites of the cell
    Ising(kind="bcc").observe(np.ones((1, 1, 1, 1, 2)))
    Ising(kind="cubic", boundary="open").observe(np.ones((1, 1, 1, 1)))
