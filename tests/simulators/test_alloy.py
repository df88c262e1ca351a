"""Alloy: exact in law, conserving, and the same through every kind of barrier model.

Thresholds PASS and FAIL: see tests/naive.py.
"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklmacro import (
    HierarchicalUpsampler,
    LocalRelax,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    Patches,
    Training,
)
from sklmacro._base.streams import Stage, stream
from sklmacro.lattice.lattice import Lattice, nearest_distance, offsets_within
from sklmacro.simulators import Alloy, CallableBarriers, EventCount, pairwise_barriers
from sklmacro.simulators.alloy import BOLTZMANN
from sklmacro.simulators.machine.random_words import random_words
from tests import naive
from tests.naive import FAIL, PASS

CELLS = {"chain": (7,), "square": (4, 4), "cubic": (3, 3, 3), "bcc": (3, 3, 3), "fcc": (2, 3, 2)}
CELLS |= {"hcp": (3, 3, 3), "diamond": (2, 2, 2)}
V = np.array([[0.0, 0.02, -0.03], [0.02, -0.05, 0.04], [-0.03, 0.04, 0.01]])  # eV
SADDLE = np.array([0.5, 0.6])  # eV


def two_species(kind, temperature=1500.0, **options):
    options.setdefault("vacancy_fraction", 0.1)
    barriers = pairwise_barriers(kind, V, SADDLE)
    return Alloy(temperature, barriers, ("A", "B"), attempt_frequency=1e3, **options)


def jumps_of(alloy, lattice, inside=None, temperature=None, energies=V):
    """What the definition says of an alloy of two species: x -> its possible jumps."""
    neighbours = lattice.neighbors()
    kT = BOLTZMANN * (temperature or alloy.temperature)

    def barrier(x, i, j):
        return naive.pairwise_barrier(x, i, j, neighbours, energies, SADDLE)

    return lambda x: naive.vacancy_jumps(x, neighbours, barrier, 1e3, kT, inside)


# --- rates and waiting times ---------------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("kind", CELLS)
def test_event_choice_follows_the_rates(kind, boundary):
    alloy = two_species(kind, boundary=boundary)
    x = alloy.sample_initial(1, CELLS[kind], random_state=3)[0]
    x.flat = 1 + (np.arange(x.size) ** 2 % 5 < 2)
    x.flat[x.size // 2 :: 10] = 0  # with two possible jumps at least, at every seed
    lattice = alloy.lattice(x.shape)
    n = 20_000
    after, elapsed = alloy.advance(np.repeat(x[np.newaxis], n, 0), n_events=1, random_state=0)
    possible = jumps_of(alloy, lattice)(x.ravel())
    rates = {}
    for rate, i, j in possible:  # two ways to one site count together
        rates[i, j] = rates.get((i, j), 0.0) + rate
    moved = np.nonzero(after.reshape(n, -1) != x.ravel())[1].reshape(n, 2)
    first_empty = x.ravel()[moved[:, :1]] == 0
    ends = np.where(first_empty, moved, moved[:, ::-1])
    counts = np.array([(ends == end).all(axis=1).sum() for end in rates])
    assert counts.sum() == n
    law = np.array(list(rates.values()))
    assert naive.pearson(counts, law) > PASS
    wrong = law * np.linspace(1, 1.5, len(law))
    assert naive.pearson(counts, wrong) < FAIL  # negative control
    total = law.sum()
    assert stats.kstest(elapsed, "expon", args=(0, 1 / total)).pvalue > PASS
    assert stats.kstest(elapsed, "expon", args=(0, 1.1 / total)).pvalue < FAIL  # negative control


def test_mean_waiting_times_are_the_means_along_the_same_jumps():
    alloy = two_species("bcc", waiting_times="mean")
    x = alloy.sample_initial(1, 3, random_state=0)[0]
    jumps = jumps_of(alloy, alloy.lattice(x.shape))
    for k in range(5):
        total = sum(rate for rate, _, _ in jumps(x.ravel()))
        after, elapsed = alloy.advance(x[np.newaxis], n_events=1, random_state=k)
        assert elapsed[0] == pytest.approx(1 / total, rel=1e-6)
        x = after[0]


def test_mean_waiting_times_go_with_events_only():
    alloy = two_species("bcc", waiting_times="mean")
    X = alloy.sample_initial(1, 3, random_state=0)
    for evolve in (alloy.advance, alloy.simulate):
        options = {"duration": 1.0} if evolve == alloy.advance else {"times": [1.0]}
        with pytest.raises(ValueError, match="number of events with waiting_times='mean'"):
            evolve(X, **options)


def test_reference_barrier_sets_the_unit_of_time():
    seconds, reduced = two_species("bcc"), two_species("bcc", reference_barrier=0.5)
    X = seconds.sample_initial(3, 3, random_state=0)
    unit = np.exp(0.5 / (BOLTZMANN * 1500.0)) / 1e3
    (one, t), (other, s) = (a.advance(X, n_events=50, random_state=1) for a in (seconds, reduced))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(s * unit, t)
    assert reduced.pair_time * unit == pytest.approx(seconds.pair_time)


# --- exact laws by enumeration -------------------------------------------------------------------

SMALL = {
    "square": ((3, 3), [0, 1, 1, 1, 2, 2, 2, 2, 2]),
    "chain": ((7,), [0, 0, 1, 1, 2, 2, 2]),
    "bcc": ((2, 2, 2), [0, 1, 1, *[2] * 13]),
    "fcc": ((2, 2, 2), [0, 1, *[2] * 30]),
}


def small_problem(kind):
    alloy = two_species(kind, temperature=1500.0)
    cells, start = SMALL[kind]
    lattice = Lattice(kind, cells)
    states, number = naive.arrangements(np.array(start, np.int8))
    return alloy, lattice, states, number


def kernel_generator(alloy, lattice, states, number):
    """Matrix Q of the chain whose rates are those of the kernel, state by state."""

    def jumps(x):
        walk = alloy.walk(x.reshape(lattice.site_shape), lattice, lattice.full_window)
        walk.run(EventCount(0), random_words(stream(0, Stage.ADVANCE)))
        steps = offsets_within(lattice.kind, nearest_distance(lattice.kind))
        for i, rates in zip(walk._walk.sites, walk._walk.rates, strict=True):
            *cell, b = np.unravel_index(i, (*lattice.cells, lattice.n_basis))
            for (*step, other), rate in zip(steps[b], rates, strict=True):
                place = (*(np.add(cell, step) % lattice.cells), other)
                if rate > 0:
                    yield (
                        rate,
                        i,
                        int(np.ravel_multi_index(place, (*lattice.cells, lattice.n_basis))),
                    )

    return naive.vacancy_generator(states, number, jumps)


@pytest.mark.parametrize("kind", SMALL)
def test_rates_are_the_definition_and_in_detailed_balance(kind):
    alloy, lattice, states, number = small_problem(kind)
    Q = kernel_generator(alloy, lattice, states, number).toarray()
    expected = naive.vacancy_generator(states, number, jumps_of(alloy, lattice)).toarray()
    np.testing.assert_allclose(Q, expected, rtol=1e-5, atol=1e-9)
    H = np.array([naive.pair_energy(x, lattice.neighbors(), V) for x in states])
    for temperature, balanced in ((1500.0, True), (1550.0, False)):  # the second must fail
        law = np.exp(-(H - H.min()) / (BOLTZMANN * temperature))
        flow = law[:, np.newaxis] * Q
        assert np.allclose(flow, flow.T, rtol=1e-5, atol=1e-12) == balanced


@pytest.mark.statistical
@pytest.mark.parametrize("kind", SMALL)
def test_law_at_a_time_is_that_of_the_generator(kind):
    alloy, lattice, states, number = small_problem(kind)
    Q = naive.vacancy_generator(states, number, jumps_of(alloy, lattice))
    duration = 4 / -Q.diagonal().min()
    n = 20_000
    X = np.repeat(states[:1].reshape(1, *lattice.site_shape), n, 0)
    after, _ = alloy.advance(X, duration=duration, random_state=5)
    counts = np.bincount([number[y.tobytes()] for y in after.reshape(n, -1)], minlength=len(states))
    assert naive.pearson(counts, naive.law_at(Q, 0, duration)) > PASS
    wrong = jumps_of(alloy, lattice, temperature=1500.0 * 1.1)
    W = naive.vacancy_generator(states, number, wrong)
    assert naive.pearson(counts, naive.law_at(W, 0, duration)) < FAIL  # negative control


@pytest.mark.statistical
def test_window_evolves_as_the_whole_does_with_its_outside_frozen():
    alloy, lattice, states, number = small_problem("square")
    window = ((2, 0), (2, 3))  # wraps around the edge
    inside = np.zeros(lattice.site_shape, bool)
    inside[lattice.window(*window)] = True
    start = int(np.flatnonzero(states[:, 6] == 0)[0])  # a vacancy inside
    jumps = jumps_of(alloy, lattice, inside.ravel())
    Q = naive.vacancy_generator(states, number, jumps)
    full = naive.vacancy_generator(states, number, jumps_of(alloy, lattice))
    duration, n = 3 / -full.diagonal().min(), 20_000
    X = np.repeat(states[start : start + 1].reshape(1, 3, 3), n, 0)
    after, _ = alloy.advance(X, duration=duration, window=window, random_state=6)
    assert (after[:, ~inside] == X[:, ~inside]).all()
    counts = np.bincount([number[y.tobytes()] for y in after.reshape(n, -1)], minlength=len(states))
    assert naive.pearson(counts, naive.law_at(Q, start, duration)) > PASS
    free = naive.law_at(full, start, duration)
    assert naive.pearson(counts, free) < FAIL  # negative control: the outside not frozen


@pytest.mark.statistical
def test_long_runs_reach_the_boltzmann_law():
    alloy, lattice, states, number = small_problem("square")
    H = np.array([naive.pair_energy(x, lattice.neighbors(), V) for x in states])
    Q = naive.vacancy_generator(states, number, jumps_of(alloy, lattice))
    X = np.repeat(states[:1].reshape(1, 3, 3), 10_000, 0)
    after, _ = alloy.advance(X, duration=400 / -Q.diagonal().min(), random_state=7)
    counts = np.bincount([number[y.tobytes()] for y in after.reshape(len(X), -1)], minlength=len(H))
    kT = BOLTZMANN * alloy.temperature
    assert naive.pearson(counts, np.exp(-(H - H.min()) / kT)) > PASS
    assert naive.pearson(counts, np.exp(-(H - H.min()) / (2 * kT))) < FAIL  # negative control


@pytest.mark.statistical
def test_plain_twin_has_the_same_law():
    alloy, lattice, states, number = small_problem("bcc")
    rng = np.random.default_rng(0)
    jumps = jumps_of(alloy, lattice)
    walks = [naive.vacancy_walk(states[0], jumps, rng, n_events=4)[0] for _ in range(600)]
    n = 20_000
    X = np.repeat(states[:1].reshape(1, 2, 2, 2, 2), n, 0)
    after, _ = alloy.advance(X, n_events=4, random_state=8)
    first = np.array([number[y.tobytes()] for y in walks])
    second = np.array([number[y.tobytes()] for y in after.reshape(n, -1)])
    assert naive.two_samples(first, second) > PASS


# --- bookkeeping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CELLS)
def test_barriers_are_brought_up_to_date_where_they_change(kind):
    """After many jumps of many vacancies the rates are those that a fresh start finds."""
    alloy = two_species(kind, vacancy_fraction=0.12)
    x = alloy.sample_initial(1, CELLS[kind], random_state=1)[0]
    lattice = alloy.lattice(x.shape)
    walk = alloy.walk(x, lattice, lattice.full_window)
    walk.run(EventCount(300), random_words(stream(0, Stage.ADVANCE)))
    fresh = alloy.walk(x, lattice, lattice.full_window)
    fresh.run(EventCount(0), random_words(stream(0, Stage.ADVANCE)))
    order = np.argsort(walk._walk.sites)
    np.testing.assert_array_equal(walk._walk.sites[order], fresh._walk.sites)
    np.testing.assert_array_equal(walk._walk.rates[order], fresh._walk.rates)
    assert walk._walk.tree[1] == pytest.approx(fresh._walk.tree[1])


def test_equal_surroundings_of_unlike_sites_are_told_apart():
    """In a pure crystal every surrounding is the same, but the two basis sites are not."""

    def barriers(environments, basis):
        return np.repeat(np.where(basis == 0, 0.5, 0.9)[:, np.newaxis], 8, axis=1)

    model = CallableBarriers(barriers, n_species=1)
    alloy = Alloy(2000.0, model, species=("W",), waiting_times="mean")
    X = alloy.sample_initial(1, 4, random_state=0)
    _, elapsed = alloy.advance(X, n_events=100, random_state=0)
    rates = alloy.attempt_frequency * np.exp(-np.array([0.5, 0.9]) / (BOLTZMANN * 2000.0))
    assert elapsed[0] == pytest.approx(50 * (1 / (8 * rates)).sum())


@pytest.mark.statistical
def test_only_what_changed_is_evaluated_again():
    """Far apart, one vacancy is evaluated a jump; side by side, two."""
    inner, asked = pairwise_barriers("square", V, SADDLE), []

    def function(environments, basis):
        asked.append(len(environments))
        return inner.evaluate(environments, basis)

    model = CallableBarriers(function, "square", inner.radius, 2)
    alloy = Alloy(1500.0, model, ("A", "B"), attempt_frequency=1e3)
    x = np.random.default_rng(0).integers(1, 3, (1, 90, 90)).astype(np.int8)
    x[0, 5, 5] = x[0, 50, 50] = 0
    alloy.advance(x, n_events=1, random_state=0)
    assert asked == [2, 1]
    asked.clear()
    alloy.advance(x, n_events=100, random_state=0)
    assert set(asked[1:]) == {1}
    assert len(asked) < 95  # the jumps back cost nothing; 69(6) of eight seeds
    asked.clear()
    x[0, 50, 50], x[0, 5, 6] = 1, 0
    alloy.advance(x, n_events=1, random_state=0)
    assert asked == [2, 2]


@pytest.mark.parametrize("kind", CELLS)
def test_observables_are_the_order_parameters(kind):
    """Eq. 30."""
    alloy = two_species(kind)
    X = alloy.sample_initial(3, CELLS[kind], random_state=0)
    lattice = alloy.lattice(X.shape[1:])
    expected = [
        naive.order_parameters(x.ravel(), lattice.neighbors(), lattice.coordination, 2) for x in X
    ]
    np.testing.assert_allclose(alloy.observe(X), expected, atol=1e-12)
    densities = np.array([alloy.density(x).reshape(-1, 3).mean(axis=0) for x in X])
    np.testing.assert_allclose(densities, expected, atol=1e-12)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_orders_counted_jump_by_jump_are_those_counted_anew(boundary):
    alloy = Alloy(2000.0, vacancy_fraction=0.02, boundary=boundary)
    X = alloy.sample_initial(2, 5, random_state=0)
    times = alloy.jump_time() * np.array([0.0, 3.0, 30.0, 300.0])
    paths = alloy.simulate(X, times, observe=True, random_state=1)
    snapshots = alloy.simulate(X, times, random_state=1)
    for k in range(2):
        np.testing.assert_allclose(paths[k], alloy.observe(snapshots[k]), atol=1e-12)
    assert (snapshots[:, 0] == X).all()
    assert (snapshots[:, -1] != X).any()


def test_increments_of_patches_use_true_neighbours_and_add_up():
    """Eq. 15: with frozen surroundings the change over a patch is that of the whole lattice."""
    alloy = Alloy(2000.0, vacancy_fraction=0.02)
    X = alloy.sample_initial(6, 4, random_state=0)
    sampler = PartialEvolutionSampler(alloy, patch=Patches(2, n_evolved=8), random_state=0)
    pairs = sampler.fit_transform(X)
    lattice = alloy.lattice(X.shape[1:])
    for pair in pairs:
        total = np.zeros(6)
        for patch, origin in zip(pair["x_next"], pair["origin"], strict=True):
            y = pair["x"].copy()
            y[lattice.window(tuple(origin.tolist()), (2, 2, 2))] = patch
            total += (
                alloy.observe(np.stack([pair["x"], y]))[1] - alloy.observe(pair["x"][np.newaxis])[0]
            )
        np.testing.assert_allclose(pair["d_obs"] * pair["n_evolved"] / 8, total, atol=1e-12)


@given(
    kind=st.sampled_from(sorted(CELLS)),
    seed=st.integers(0, 10**6),
    n_events=st.integers(1, 50),
    windowed=st.booleans(),
    boundary=st.sampled_from(["periodic", "open"]),
)
def test_composition_vacancies_and_lattice_are_conserved(kind, seed, n_events, windowed, boundary):
    alloy = two_species(kind, boundary=boundary, vacancy_fraction=0.3)
    X = alloy.sample_initial(2, CELLS[kind], random_state=seed)
    ndim = len(CELLS[kind])
    window = ((1,) * ndim, tuple(max(c - 1, 1) for c in CELLS[kind])) if windowed else None
    if windowed and boundary == "open":
        window = ((0,) * ndim, window[1])
    before = X.copy()
    duration = n_events * alloy.jump_time()
    after, _ = alloy.advance(X, duration=duration, window=window, random_state=seed)
    assert after.shape == X.shape
    assert after.dtype == np.int8
    np.testing.assert_array_equal(X, before)
    for x, y in zip(X, after, strict=True):
        np.testing.assert_array_equal(np.bincount(x.ravel()), np.bincount(y.ravel()))


def test_a_large_snapshot_takes_less_than_two_bytes_a_site():
    alloy = Alloy(2000.0, vacancy_fraction=2.0**-16)
    X = alloy.sample_initial(1, 64, random_state=0)
    alloy.advance(X, n_events=1, random_state=0)  # compiles, and fills the caches of addresses
    tracemalloc.start()
    try:
        alloy.advance(X, n_events=100, random_state=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert X.size <= peak < 1.2 * X.size  # the result, and what 8 vacancies need


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_results_do_not_depend_on_workers(n_jobs):
    alloy = Alloy(2000.0, vacancy_fraction=0.01)
    X = alloy.sample_initial(8, 4, random_state=0)
    one, t = alloy.advance(X, n_events=200, random_state=1)
    other, s = alloy.advance(X, n_events=200, random_state=1, n_jobs=n_jobs)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(t, s)


def test_initial_snapshots_have_the_composition_asked_for():
    alloy = two_species("bcc", composition=(3, 1), vacancy_fraction=0.05)
    X = alloy.sample_initial(2, 10, random_state=0)
    assert [np.bincount(x.ravel()).tolist() for x in X] == [[100, 1425, 475]] * 2
    assert (X[0] != X[1]).any()
    assert (Alloy().sample_initial(1, 8, random_state=0) == 0).sum() == 1
    assert clone(alloy).get_params()["barriers"] is alloy.barriers


# --- upsampling ----------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(["square", "bcc", "hcp"]),
    seed=st.integers(0, 10**6),
    factor=st.integers(1, 3),
    nearby=st.integers(0, 3),
)
def test_upsampling_keeps_the_exact_composition(kind, seed, factor, nearby):
    alloy = two_species(kind, vacancy_fraction=0.05)
    rng = np.random.default_rng(seed)
    shape = alloy.lattice(alloy.sample_initial(1, CELLS[kind], random_state=0).shape[1:]).site_shape
    X = rng.integers(0, 3, (5, *shape)).astype(np.int8)  # each of its own composition
    upsampler = HierarchicalUpsampler(
        alloy,
        factor=factor,
        nearby=nearby,
        relaxation=LocalRelax(duration=3 * alloy.jump_time()),
        random_state=seed,
    )
    large = upsampler.fit_transform(X)
    blocks = factor ** len(CELLS[kind])
    for x, y in zip(X, large, strict=True):
        np.testing.assert_array_equal(
            blocks * np.bincount(x.ravel(), minlength=3), np.bincount(y.ravel(), minlength=3)
        )


@pytest.mark.statistical
def test_upsampling_draws_blocks_from_nearby_snapshots():
    alloy = two_species("square", vacancy_fraction=0.0)
    X = np.ones((9, 6, 6), np.int8)
    X[:, 0, 0] = 0
    X[4:, 1:3, 1:3], X[:4, 2:4, 3:5] = 2, 2  # two shapes of the same composition
    X[:4, 4, 3], X[:4, 3, 3] = 2, 1
    alone = HierarchicalUpsampler(alloy, factor=4, relaxation=None, random_state=0)
    mixed = HierarchicalUpsampler(alloy, factor=4, nearby=2, relaxation=None, random_state=0)

    def shapes(large):
        blocks = large.reshape(4, 6, 4, 6).transpose(0, 2, 1, 3).reshape(-1, 6, 6)
        rolled = {
            np.roll(x, (i, j), (0, 1)).tobytes(): k // 4
            for k, x in enumerate(X)
            for i in range(6)
            for j in range(6)
        }
        return {min(rolled[b.tobytes()], 1) for b in blocks}

    assert shapes(alone.fit_transform(X)[0]) == {0}
    assert shapes(mixed.fit_transform(X)[3]) == {0, 1}
    assert shapes(mixed.fit_transform(X)[0]) == {0}
    assert shapes(mixed.fit_transform(X)[8]) == {1}


def test_local_relaxation_moves_vacancies_in_their_windows_only():
    alloy = Alloy(2000.0, vacancy_fraction=0.005)
    X = alloy.sample_initial(3, 4, random_state=0)
    large = HierarchicalUpsampler(
        alloy, relaxation=LocalRelax(n_events=2.0), random_state=0
    ).fit_transform(X)
    still = HierarchicalUpsampler(alloy, relaxation=None, random_state=0).fit_transform(X)
    assert (large != still).any()
    assert ((large == 0).sum(axis=(1, 2, 3, 4)) == 8 * (X == 0).sum(axis=(1, 2, 3, 4))).all()


@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")  # of relaxed snapshots
def test_the_whole_method_runs_on_an_alloy():
    alloy = Alloy(2000.0, vacancy_fraction=0.01, reference_barrier=1.5)
    X = alloy.sample_initial(40, 4, random_state=0)
    model = make_pipeline(
        HierarchicalUpsampler(alloy, nearby=3, random_state=0),
        PartialEvolutionSampler(alloy, patch=4, context=["temperature"], random_state=0),
        PatchAutoencoder(alloy, n_closure=0),
        OnsagerSDE(
            hidden=(8,),
            training=Training(max_epochs=2),
            bounds=alloy.observable_bounds,
            random_state=0,
        ),
    ).fit(X)
    z0 = model[-2].transform(alloy.sample_initial(2, 8, random_state=1))
    paths = model[-1].simulate(z0, 5, alloy.pair_time, context=[2000.0], random_state=0)
    assert paths.shape == (2, 6, 6)
    assert np.isfinite(paths).all()


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature to be a finite real number with 0 < temperature"),
        ({"species": ("Nb", "Mo")}, "Expected 3 species, as many as the barriers know"),
        ({"composition": (1.0, 1.0)}, "composition to be None or 3 fractions"),
        ({"composition": (1.0, -1.0, 1.0)}, "composition to be a finite real number"),
        ({"vacancy_fraction": 1.5}, "vacancy_fraction to be a finite real number"),
        ({"waiting_times": "median"}, "waiting_times to be one of 'random', 'mean'"),
        ({"attempt_frequency": 0.0}, "attempt_frequency to be a finite real number"),
        ({"reference_barrier": np.nan}, "reference_barrier to be a finite real number"),
        ({"barriers": lambda e, b: e}, "Expected barriers to be a BarrierModel"),
        ({"boundary": "helical"}, "boundary to be one of 'periodic', 'open'"),
    ],
)
def test_wrong_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Alloy(**options).sample_initial(1, 4)


@pytest.mark.parametrize("wrong", [4, -1, 1.5])
def test_states_that_are_no_species_are_refused(wrong):
    X = np.ones((1, 4, 4, 4, 2))
    X[0, 1, 1, 1, 0] = wrong
    with pytest.raises(ValueError, match=rf"0 \(vacancy\) to 3 \(Ta\), but got .*{wrong}"):
        Alloy().observe(X)


def test_counting_events_where_nothing_can_happen_is_refused():
    alloy, X = Alloy(), np.ones((1, 4, 4, 4, 2), np.int8)
    with pytest.raises(ValueError, match="in which a vacancy can jump, but got 0 vacancies"):
        alloy.advance(X, n_events=1)
    after, elapsed = alloy.advance(X, duration=1.0)
    assert (after == X).all()
    assert elapsed[0] == 1.0


def test_nearby_needs_a_method_that_uses_it():
    upsampler = HierarchicalUpsampler(Alloy(), method="tile", nearby=2)
    with pytest.raises(ValueError, match="Expected nearby=0 with method='tile'"):
        upsampler.fit(Alloy().sample_initial(2, 4))
