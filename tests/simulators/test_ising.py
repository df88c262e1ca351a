"""Ising: exact in law, shown against the enumeration of all states and against slow twins.

Thresholds PASS and FAIL: see tests/naive.py.
"""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from sklmacro.simulators import Duration, Evolutions, Ising
from tests import naive
from tests.naive import FAIL, PASS
from tests.problems import start_spins

# shape of the snapshots, window or None, boundary; the enumerated states are those of the window
BOXES = {
    "periodic": ((3, 3), None, "periodic"),
    "open": ((3, 3), None, "open"),
    "open, not square": ((2, 5), None, "open"),
    "doubled bonds": ((2, 5), None, "periodic"),
    "window": ((6, 6), ((1, 2), (2, 3)), "periodic"),
    "window over the edge": ((6, 7), ((5, 5), (2, 3)), "periodic"),
    "window of whole rows": ((4, 5), ((3, 0), (2, 5)), "periodic"),
    "window of whole columns, shifted": ((3, 7), ((2, 6), (3, 3)), "periodic"),
    "window in an open corner": ((4, 6), ((2, 3), (2, 3)), "open"),
    "window of one site": ((4, 4), ((3, 3), (1, 1)), "periodic"),
}
MODEL = {"temperature": 2.2, "field": 0.15, "coupling": 0.9}


def energy_of(model):
    return partial(
        naive.ising_energy,
        coupling=model.coupling,
        field=model.field,
        periodic=model.boundary == "periodic",
    )


def inside_of(model, x, window):
    """Index of the window's cells, the whole lattice for None."""
    return model.lattice(x.shape).window(*(window or ((0, 0), x.shape)))


def generator(model, x, window):
    """Generator on the states of the window with the rest of x frozen, and the state of x."""
    box = inside_of(model, x, window)
    states = naive.spin_states(x[box].shape)
    everything = np.repeat(x[np.newaxis], len(states), axis=0)
    everything[(slice(None), *box)] = states
    Q = naive.glauber_generator(energy_of(model)(everything), model.temperature)
    return Q, int(naive.spin_numbers(x[box][np.newaxis])[0])


def many(x, n):
    return np.broadcast_to(x, (n, *x.shape))


@pytest.mark.statistical
def test_chi_square_raises_false_alarms_at_its_rate():
    law = np.exp(-naive.ising_energy(naive.spin_states((3, 3)), 0.9, 0.15, False) / 2.2)
    counts = np.random.default_rng(0).multinomial(10_000, law / law.sum(), size=1500)
    alarms = sum(naive.pearson(c, law) < 0.01 for c in counts)
    assert 3 <= alarms <= 32  # 15 expected; a Poisson number is outside once in 1e4


# --- equilibrium ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def boltzmann():
    """Energies of the 2**16 states of the periodic 4x4 lattice with h = 0.05."""
    return naive.ising_energy(naive.spin_states((4, 4)), 1.0, 0.05, True)


@pytest.mark.statistical
def test_4x4_has_the_boltzmann_law(boltzmann):
    """The law exp(-H / T) of the energies of Eq. 23."""
    # The magnetisation relaxes within 40 sweeps (second eigenvalue of the generator: -0.0252), so
    # that 200 leave an error far below that of the sample; 30 would not.
    model, n = Ising(temperature=2.5, field=0.05), 100_000
    X = start_spins((n, 4, 4))
    X, elapsed = model.advance(X, duration=200.0, random_state=1)
    assert (elapsed == 200.0).all()
    counts = np.bincount(naive.spin_numbers(X), minlength=2**16)
    for least in (5, 200):  # the second pools states of like energy, which sharpens the control
        assert naive.pearson(counts, np.exp(-boltzmann / 2.5), least) > PASS
        assert naive.pearson(counts, np.exp(-boltzmann * (1 / 2.5 + 0.01)), least) < FAIL
    assert naive.pearson(counts, np.exp(-boltzmann * (1 / 2.5 - 0.01)), 200) < FAIL


@pytest.mark.statistical
def test_events_weighted_by_their_waiting_time_have_the_boltzmann_law(boltzmann):
    # The chain of visited states has the law exp(-H/T) R, R being the total rate of leaving. An
    # event changes the parity of the number of up spins, so that half the runs have one more.
    model, n = Ising(temperature=2.5, field=0.05), 50_000
    X = start_spins((n, 4, 4))
    X = np.concatenate(
        [
            model.advance(X[k::2], n_events=events, random_state=k)[0]
            for k, events in enumerate((400, 401))
        ]
    )
    counts = np.bincount(naive.spin_numbers(X), minlength=2**16)
    weight = np.exp(-boltzmann / 2.5)
    leaving = -naive.glauber_generator(boltzmann, 2.5).diagonal()
    assert naive.pearson(counts, weight * leaving) > PASS
    assert naive.pearson(counts, weight) < FAIL
    hotter = np.exp(-boltzmann / 2.7) * -naive.glauber_generator(boltzmann, 2.7).diagonal()
    assert naive.pearson(counts, hotter) < FAIL


# --- dynamics against enumeration ----------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("box", BOXES)
def test_law_after_a_time(box):
    shape, window, boundary = BOXES[box]
    model, x, n = Ising(**MODEL, boundary=boundary), start_spins(shape), 10_000
    X, elapsed = model.advance(many(x, n), duration=0.7, window=window, random_state=2)
    assert (elapsed == 0.7).all()
    inside = inside_of(model, x, window)
    counts = np.bincount(
        naive.spin_numbers(X[(slice(None), *inside)]), minlength=2 ** x[inside].size
    )
    Q, start = generator(model, x, window)
    assert naive.pearson(counts, naive.law_at(Q, start, 0.7)) > PASS
    assert naive.pearson(counts, naive.law_at(Q, start, 1.4)) < FAIL
    X[(slice(None), *inside)] = x[inside]
    assert (x == X).all()  # the outside is frozen


@pytest.mark.statistical
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("n_events", [1, 4])
def test_joint_law_of_events_and_their_time(box, n_events):
    shape, window, boundary = BOXES[box]
    model, x, n = Ising(**MODEL, boundary=boundary), start_spins(shape), 6_000
    X, elapsed = model.advance(many(x, n), n_events=n_events, window=window, random_state=3)
    inside = inside_of(model, x, window)
    numbers = naive.spin_numbers(X[(slice(None), *inside)])
    Q, start = generator(model, x, window)
    times = np.array([0.4, 1.1]) * n_events / -Q.diagonal()[start]
    cells = np.searchsorted(times, elapsed) * Q.shape[0] + numbers
    counts = np.bincount(cells, minlength=3 * Q.shape[0])
    assert naive.pearson(counts, naive.law_of_events(Q, start, n_events, times).ravel()) > PASS
    late = naive.law_of_events(Q, start, n_events, 1.2 * times).ravel()
    assert naive.pearson(counts, late) < FAIL
    X[(slice(None), *inside)] = x[inside]
    assert (x == X).all()


@pytest.mark.statistical
def test_first_event_has_the_rates_of_algorithm_2():
    model, x, n = Ising(temperature=1.7, field=-0.2), start_spins((4, 6), seed=5), 40_000
    X, elapsed = model.advance(many(x, n), n_events=1, random_state=4)
    changed = (x != X).reshape(n, -1)
    assert (changed.sum(axis=1) == 1).all()
    sites = changed.argmax(axis=1)
    costs = naive.flip_costs(x, energy_of(model))
    rates, wrong = (1 / (1 + np.exp(costs / T)).ravel() for T in (1.7, 2.1))
    counts = np.bincount(sites, minlength=x.size)
    assert naive.pearson(counts, rates) > PASS
    assert naive.pearson(counts, wrong) < FAIL
    assert stats.kstest(elapsed, "expon", args=(0, 1 / rates.sum())).pvalue > PASS
    assert stats.kstest(elapsed, "expon", args=(0, 1.1 / rates.sum())).pvalue < FAIL
    late = elapsed > np.median(elapsed)  # time and site are independent
    assert naive.two_samples(sites[late], sites[~late]) > PASS


@pytest.mark.statistical
def test_windows_one_after_the_other():
    model, x = Ising(**MODEL), start_spins((2, 4))
    lattice, n = model.lattice(x.shape), 20_000
    origins = np.array([[0, 3], [0, 1]])
    rng = np.random.default_rng(6)
    X = many(x, n).copy()
    for sample in X:
        model.advance_windows(sample, lattice, Evolutions(origins, (2, 2), Duration(0.8), rng))
    counts = np.bincount(naive.spin_numbers(X), minlength=2**8)
    states = naive.spin_states(x.shape)
    energies = energy_of(model)(states)
    law = np.eye(1, 2**8, naive.spin_numbers(x[np.newaxis])[0])[0]
    laws = []
    for order in (origins, origins[::-1]):
        now = law
        for origin in order:
            free = np.zeros(x.shape, bool)
            free[lattice.window(tuple(origin.tolist()), (2, 2))] = True
            Q = naive.glauber_generator(energies, model.temperature, free.ravel())
            now = sum(p * naive.law_at(Q, k, 0.8) for k, p in enumerate(now) if p > 0)
        laws.append(now)
    assert naive.pearson(counts, laws[0]) > PASS
    assert naive.pearson(counts, laws[1]) < FAIL  # the order matters


# --- dynamics against the slow twin, beyond enumeration ------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("how", [{"n_events": 12}, {"duration": 0.8}], ids=["events", "time"])
def test_kernels_agree_with_their_slow_twin(how, boundary):
    model, x, n = Ising(**MODEL, boundary=boundary), start_spins((4, 7), seed=8), 500
    rng = np.random.default_rng(7)
    twins = [naive.glauber(x, energy_of(model), MODEL["temperature"], rng, **how) for _ in range(n)]
    slow, slow_time = np.array([s for s, _ in twins]), np.array([t for _, t in twins])
    fast, fast_time = model.advance(many(x, 20 * n), **how, random_state=8)
    hot, _ = Ising(6.0, 0.15, 0.9, boundary).advance(many(x, 20 * n), **how, random_state=9)

    def walls(X):
        return np.rint(model.observe(X)[:, 1] * x.size * 2).astype(int)

    def ups(X):
        return (X > 0).sum(axis=(1, 2))

    for statistic in (walls, ups):
        assert naive.two_samples(statistic(slow), statistic(fast)) > PASS
    assert naive.two_samples(walls(slow), walls(hot)) < FAIL
    if "n_events" in how:
        assert stats.ks_2samp(slow_time, fast_time).pvalue > PASS
        assert stats.ks_2samp(slow_time, 1.5 * fast_time).pvalue < FAIL
    else:
        assert (slow_time == 0.8).all()
        assert (fast_time == 0.8).all()


# --- rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("temperature", [0.1, 0.25, 2.5, 50.0])
@pytest.mark.parametrize("coupling", [1.0, -0.7])
def test_rates_obey_detailed_balance(temperature, boundary, coupling):
    model = Ising(temperature, 0.3, coupling, boundary)
    rates, x = model.rates(), start_spins((4, 5), seed=1)
    around = np.pad(x, 1, mode="wrap" if boundary == "periodic" else "constant")
    fields = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    costs = naive.flip_costs(x, energy_of(model))
    there = rates[fields + 4, (x > 0).astype(int)]
    back = rates[fields + 4, (x < 0).astype(int)]
    np.testing.assert_allclose(there, 1 / (1 + np.exp(costs / temperature)), rtol=1e-11)
    # Ratios, since at T = 0.1 a rate is 1e-40 of another; a difference 1 - p would give 0.
    np.testing.assert_allclose(there / back, np.exp(-costs / temperature), rtol=1e-11)
    wrong = -costs / (1.01 * temperature)
    assert not np.allclose(np.log(there / back), wrong, rtol=1e-3, atol=0)


@pytest.mark.statistical
def test_rare_events_of_a_cold_lattice_take_their_time():
    # All 36 spins aligned at T = 0.2: each flips at rate 1 / (1 + exp(40)).
    X = np.ones((2000, 6, 6), np.int8)
    X_next, elapsed = Ising(temperature=0.2).advance(X, n_events=1, random_state=0)
    assert (X_next.sum(axis=(1, 2)) == 34).all()
    assert stats.kstest(elapsed, "expon", args=(0, (1 + np.exp(40)) / 36)).pvalue > PASS


def test_frozen_lattice_has_no_events():
    X = np.ones((1, 4, 4), np.int8)
    cold = Ising(temperature=0.005)
    with pytest.raises(ValueError, match="some spin can flip, but got one whose rates all vanish"):
        cold.advance(X, n_events=1, random_state=0)
    X_next, elapsed = cold.advance(X, duration=3.0, random_state=0)
    assert (X_next == X).all()
    assert elapsed == 3.0


@pytest.mark.parametrize("nothing", [{"n_events": 0}, {"duration": 0.0}])
def test_nothing_happens_in_no_time(nothing):
    X = start_spins((3, 4, 5))
    X_next, elapsed = Ising().advance(X, **nothing, random_state=0)
    assert (X_next == X).all()
    assert (elapsed == 0).all()


@pytest.mark.statistical
def test_n_events_flip_n_spins_of_odd_parity():
    x = start_spins((5, 6))
    X, _ = Ising().advance(many(x, 200), n_events=7, random_state=0)
    changed = (x != X).sum(axis=(1, 2))
    assert set(changed) <= {1, 3, 5, 7}
    assert 7 in changed


# --- observables ---------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (7, 4), (2, 9)])
def test_observables_are_the_magnetisation_and_the_walls(shape, boundary):
    """Eq. 24."""
    model, X = Ising(boundary=boundary), start_spins((5, *shape))
    expected = [[x.mean(), naive.ising_walls(x, boundary == "periodic")] for x in X]
    np.testing.assert_allclose(model.observe(X), expected, rtol=1e-14)
    densities = np.array([model.density(x) for x in X])
    np.testing.assert_allclose(densities.mean(axis=(1, 2)), expected, rtol=1e-14)
    other = "open" if boundary == "periodic" else "periodic"
    assert not np.allclose(Ising(boundary=other).observe(X), expected)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_window_sees_its_true_neighbours(boundary):
    model, x = Ising(boundary=boundary), start_spins((5, 6))
    lattice, density = model.lattice(x.shape), model.density(x)
    origins = [(1, 2), (0, 0), (3, 4)] + ([(4, 5)] if boundary == "periodic" else [])
    for origin in origins:
        for extent in [(2, 2), (1, 1), (2, 1)]:
            inside = density[lattice.window(origin, extent)]
            np.testing.assert_allclose(
                model.observe_window(x, (origin, extent)), inside.mean(axis=(0, 1)), rtol=1e-14
            )


def test_walls_are_the_fraction_of_unequal_bonds():
    assert Ising().observe(np.ones((1, 4, 6)))[0] == pytest.approx([1.0, 0.0])
    checkerboard = 1 - 2 * (np.indices((4, 6)).sum(axis=0) % 2)
    assert Ising().observe([checkerboard])[0] == pytest.approx([0.0, 1.0])
    stripes = np.repeat([[1], [1], [-1], [-1]], 6, axis=1)  # 2 of 4 rows of vertical bonds cut
    assert Ising().observe([stripes])[0] == pytest.approx([0.0, 0.25])


# --- initial snapshots and errors ----------------------------------------------------------------


@pytest.mark.statistical
def test_initial_magnetisation_is_uniform_and_places_are_random():
    X = Ising().sample_initial(20_000, (2, 3), random_state=0)
    ups = (X > 0).sum(axis=(1, 2))
    assert naive.pearson(np.bincount(ups, minlength=7), np.ones(7)) > PASS
    assert naive.pearson(np.bincount(ups, minlength=7), stats.binom.pmf(range(7), 6, 0.5)) < FAIL
    places = naive.spin_numbers(X[ups == 2])
    pairs = np.flatnonzero((naive.spin_states((2, 3)) > 0).sum(axis=(1, 2)) == 2)
    counts = np.bincount(places, minlength=64)
    assert counts[pairs].sum() == counts.sum()
    assert naive.pearson(counts[pairs], np.ones(len(pairs))) > PASS


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"temperature": 0.0}, r"Expected temperature to be .* 0 < temperature, but got 0\.0"),
        ({"temperature": np.nan}, "Expected temperature to be a finite real number .* got nan"),
        ({"field": np.inf}, "Expected field to be a finite real number, but got inf"),
        ({"coupling": "1"}, "Expected coupling to be a finite real number, but got '1'"),
        ({"boundary": "closed"}, "Expected boundary to be one of .*open.*, but got 'closed'"),
    ],
)
def test_wrong_parameters_are_refused(parameters, text):
    with pytest.raises(ValueError, match=text):
        Ising(**parameters).advance(np.ones((1, 4, 4)), duration=1.0)


def test_a_spin_is_not_its_own_neighbour():
    with pytest.raises(ValueError, match="at least 2 cells along each axis of a periodic Ising"):
        Ising().observe(np.ones((1, 1, 4)))
    assert Ising(boundary="open").observe(np.ones((1, 1, 4)))[0] == pytest.approx([1, 0])
