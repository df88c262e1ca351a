"""What all simulators share: streams, untouched input, errors, and a simulator of one's own."""

from typing import ClassVar

import numba
import numpy as np
import pytest
from scipy.linalg import expm
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from sklmacro.simulators import CurieWeiss, Ising, LinearChain, PredatorPrey, Simulator
from sklmacro.simulators.linear_chain import _transition
from sklmacro.simulators.protocol import FORMER_HOOKS
from tests import naive
from tests.naive import FAIL, PASS


class Walkers(Simulator):
    """Independent walkers on a ring; a site holds their number, a walker hops at rate 1 each way.

    Hops out of the window are not made.
    """

    kind = "chain"
    boundary = "periodic"
    state_dtype = np.int64
    observable_names = ("mean number", "mean step")
    observable_units = ("1", "1")
    observable_bounds: ClassVar = ((0.0, np.inf), (0.0, np.inf))
    observable_range = 1
    has_events = True

    def __init__(self, filling=3.0):
        self.filling = filling

    def draw_initial(self, lattice, rng):
        return rng.poisson(self.filling, lattice.cells)

    def advance_window(self, x, lattice, evolution):
        ((start,), (extent,)), span, rng = evolution
        n, time, events = lattice.cells[0], 0.0, 0
        places = (start + np.arange(extent)) % n
        while span.number is None or events < span.number:
            total = 2 * x[places].sum()
            waiting = rng.exponential(1 / total) if total > 0 else np.inf
            if span.time is not None and time + waiting > span.time:
                return span.time
            k = rng.choice(extent, p=x[places] / x[places].sum())
            to = k + rng.choice([-1, 1])
            if extent == n or 0 <= to < extent:
                x[places[k]] -= 1
                x[places[to % extent]] += 1
            time, events = time + waiting, events + 1
        return time

    def density(self, x):
        return np.stack([x, np.abs(np.roll(x, -1) - x)], axis=-1).astype(float)


SIMULATORS = {
    "Ising": (Ising(), (5, 6)),
    "open Ising": (Ising(boundary="open"), (4, 5)),
    "CurieWeiss": (CurieWeiss(), (4, 5)),
    "LinearChain": (LinearChain(), (9,)),
    "PredatorPrey": (PredatorPrey(), (8,)),
    "Walkers": (Walkers(), (7,)),
}


@pytest.fixture(params=SIMULATORS)
def simulator(request):
    return SIMULATORS[request.param][0]


@pytest.fixture
def X(request, simulator):
    cells = next(cells for s, cells in SIMULATORS.values() if s is simulator)
    return simulator.sample_initial(12, cells, random_state=0)


def ways(simulator):
    return [{"duration": 0.13}] + ([{"n_events": 5}] if simulator.has_events else [])


# --- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [2, 4])
def test_number_of_workers_changes_no_bit(simulator, X, n_jobs):
    for how in ways(simulator):
        one = simulator.advance(X, **how, random_state=3, n_jobs=1)
        more = simulator.advance(X, **how, random_state=3, n_jobs=n_jobs)
        for a, b in zip(one, more, strict=True):
            np.testing.assert_array_equal(a, b)
    for observe in (False, True):
        one = simulator.simulate(X, [0, 0.1, 0.3], observe=observe, random_state=4, n_jobs=1)
        more = simulator.simulate(X, [0, 0.1, 0.3], observe=observe, random_state=4, n_jobs=n_jobs)
        np.testing.assert_array_equal(one, more)
    assert not np.array_equal(simulator.simulate(X, [0.3], random_state=5)[:, 0], more[:, -1])


@pytest.mark.parametrize("n_threads", [2, 4])
def test_number_of_blas_threads_changes_no_bit(n_threads):
    # joblib's worker processes have fewer of them; 300 sites are enough for BLAS to use several.
    chain, results = LinearChain(), []
    X = chain.sample_initial(2, 300, random_state=0)
    for limit in (1, n_threads):
        _transition.cache_clear()
        with threadpool_limits(limits=limit, user_api="blas"):
            results.append(chain.advance(X, duration=0.1, random_state=1)[0])
    np.testing.assert_array_equal(*results)


def test_a_sample_does_not_depend_on_the_others(simulator, X):
    for how in ways(simulator):
        everything, times = simulator.advance(X, **how, random_state=6)
        first, first_times = simulator.advance(X[:3], **how, random_state=6)
        np.testing.assert_array_equal(everything[:3], first)
        np.testing.assert_array_equal(times[:3], first_times)
        others = X.copy()
        others[:5] = X[5]
        changed, _ = simulator.advance(others, **how, random_state=6)
        np.testing.assert_array_equal(changed[5:], everything[5:])
    paths = simulator.simulate(X, [0.1, 0.2], random_state=7)
    np.testing.assert_array_equal(simulator.simulate(X[:2], [0.1, 0.2], random_state=7), paths[:2])


def test_samples_have_streams_of_their_own(simulator, X):
    same = np.repeat(X[:1], 8, axis=0)
    X_next, _ = simulator.advance(same, duration=2.0, random_state=8)
    assert len({x.tobytes() for x in X_next}) > 2
    again, _ = simulator.advance(same, duration=2.0, random_state=8)
    np.testing.assert_array_equal(again, X_next)
    other, _ = simulator.advance(same, duration=2.0, random_state=9)
    assert not np.array_equal(other, X_next)
    drawn = simulator.advance(same, duration=2.0, random_state=np.random.default_rng(0))[0]
    redrawn = simulator.advance(same, duration=2.0, random_state=np.random.default_rng(0))[0]
    np.testing.assert_array_equal(drawn, redrawn)


def test_initial_snapshots_are_a_prefix_of_more(simulator, X):
    np.testing.assert_array_equal(
        simulator.sample_initial(5, X.shape[1 : 1 + simulator.lattice(X.shape[1:]).ndim],
                                 random_state=0),
        X[:5],
    )  # fmt: skip


def test_input_is_read_only_and_not_changed(simulator, X):
    before = X.copy()
    X.setflags(write=False)
    for how in ways(simulator):
        X_next, _ = simulator.advance(X, **how, random_state=10)
        assert X_next.flags.writeable
        assert not np.shares_memory(X_next, X)
    simulator.simulate(X, [0.0, 0.2], random_state=10)
    simulator.simulate(X, [0.0, 0.2], observe=True, random_state=10)
    simulator.observe(X)
    np.testing.assert_array_equal(X, before)


def test_layout_and_type_of_the_input_are_immaterial(simulator, X):
    expected, _ = simulator.advance(X, duration=0.2, random_state=11)
    for other in (np.asfortranarray(X), X.astype(np.float64), X.tolist(), np.repeat(X, 2, 0)[::2]):
        X_next, _ = simulator.advance(other, duration=0.2, random_state=11)
        np.testing.assert_array_equal(X_next, expected)
        assert X_next.dtype == simulator.state_dtype


@numba.njit
def _seed_numba(seed):
    np.random.seed(seed)  # noqa: NPY002 - numba's own state, which no other test sees


@numba.njit
def _draw_numba():
    return np.random.random()  # noqa: NPY002


def test_no_global_generator_is_read_or_changed(simulator, X):
    # numpy's and torch's states are compared after every test; these are numba's.
    results = []
    for seed in (0, 1):
        _seed_numba(seed)
        expected = _draw_numba()
        _seed_numba(seed)
        ends = [simulator.advance(X, **how, random_state=12)[0] for how in ways(simulator)]
        results.append([*ends, simulator.simulate(X, [0.1], random_state=12)])
        assert _draw_numba() == expected
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    again = simulator.simulate(X, [0.1], random_state=12)
    np.random.set_state(state)  # noqa: NPY002
    np.testing.assert_array_equal(again, results[0][-1])


def test_clones_behave_alike(simulator, X):
    copy = clone(simulator)
    assert copy.get_params() == simulator.get_params()
    for a, b in zip(
        copy.advance(X, duration=0.2, random_state=1),
        simulator.advance(X, duration=0.2, random_state=1),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


# --- trajectories and observables ----------------------------------------------------------------


def test_observed_paths_are_the_observables_of_the_paths(simulator, X):
    times = [0.0, 0.1, 0.35]
    paths = simulator.simulate(X, times, random_state=13)
    assert paths.shape == (12, 3, *X.shape[1:])
    np.testing.assert_array_equal(paths[:, 0], X)
    z = simulator.simulate(X, times, observe=True, random_state=13)
    assert z.shape == (12, 3, simulator.n_observables)
    for j in range(3):
        np.testing.assert_array_equal(z[:, j], simulator.observe(paths[:, j]))


def test_observables_are_means_of_densities(simulator, X):
    axes = tuple(range(simulator.lattice(X.shape[1:]).ndim))
    means = np.array([simulator.density(x).mean(axis=axes) for x in X])
    np.testing.assert_allclose(simulator.observe(X), means, rtol=1e-12, atol=1e-14)
    low, high = np.transpose(simulator.observable_bounds)
    assert ((means >= low) & (means <= high)).all()
    assert len(simulator.observable_units) in (1, simulator.n_observables)


def test_windows_that_tile_the_lattice_have_the_mean_of_all(simulator, X):
    lattice, x = simulator.lattice(X.shape[1:]), X[0]
    cut = lattice.cells[0] // 2
    low = ((0,) * lattice.ndim, (cut, *lattice.cells[1:]))
    high = ((cut, *(0,) * (lattice.ndim - 1)), (lattice.cells[0] - cut, *lattice.cells[1:]))
    share = cut / lattice.cells[0]
    both = share * simulator.observe_window(x, low) + (1 - share) * simulator.observe_window(
        x, high
    )
    np.testing.assert_allclose(both, simulator.observe(X[:1])[0], rtol=1e-12)


def test_outside_of_a_window_is_frozen(simulator, X):
    lattice = simulator.lattice(X.shape[1:])
    origin = tuple(2 for _ in lattice.cells)
    extent = tuple(c // 2 for c in lattice.cells)
    inside = (slice(None), *lattice.window(origin, extent))
    for how in ({"duration": 2.0}, ways(simulator)[-1]):
        X_next, _ = simulator.advance(X, **how, window=(origin, extent), random_state=14)
        assert not np.array_equal(X_next, X)
        X_next[inside] = X[inside]
        np.testing.assert_array_equal(X_next, X)


# --- a simulator of one's own --------------------------------------------------------------------


@pytest.mark.statistical
def test_walkers_are_conserved_and_diffuse():
    model, t = Walkers(), 0.3
    x = np.array([12, 0, 3, 0, 1])
    X, elapsed = model.advance(np.broadcast_to(x, (1500, 5)), duration=t, random_state=0)
    assert (X.sum(axis=1) == 16).all()
    assert (elapsed == t).all()
    hop = np.roll(np.eye(5), 1, axis=1)
    P = expm(t * (hop + hop.T - 2 * np.eye(5)))  # of one walker
    mean = x @ P
    covariance = np.diag(mean) - P.T @ np.diag(x) @ P  # a sum of multinomial laws
    free = slice(0, 4)  # the last number follows from the others
    assert naive.gaussian(X[:, free], mean[free], covariance[free, free])[0] > PASS
    still = expm(0.8 * t * (hop + hop.T - 2 * np.eye(5)))
    assert naive.gaussian(X[:, free], (x @ still)[free], covariance[free, free])[0] < FAIL


def test_walkers_have_events_windows_and_observables():
    model = Walkers()
    X = model.sample_initial(50, 7, random_state=0)
    X_next, elapsed = model.advance(X, n_events=1, random_state=1)
    assert (np.abs(X_next - X).sum(axis=1) == 2).all()
    assert (elapsed > 0).all()
    z = model.observe(X)
    np.testing.assert_allclose(z[:, 0], X.mean(axis=1))
    np.testing.assert_allclose(z[:, 1], np.abs(np.diff(X, axis=1, append=X[:, :1])).mean(axis=1))
    inside = model.advance(X, duration=1.0, window=((5,), (4,)), random_state=2)[0]
    np.testing.assert_array_equal(inside[:, 2:5], X[:, 2:5])
    np.testing.assert_array_equal(inside.sum(axis=1), X.sum(axis=1))


def test_defaults_of_a_simulator_without_hooks():
    class Empty(Simulator):
        pass

    with pytest.raises(NotImplementedError, match="Empty does not draw initial snapshots"):
        Empty().sample_initial(1, 4)
    with pytest.raises(NotImplementedError, match="Empty does not evolve snapshots"):
        Empty().advance(np.zeros((1, 4)), duration=1.0)
    assert Empty().observe([[1.0, 2.0, 6.0]]) == pytest.approx(3.0)
    enlarged = Empty().upsample(np.array([1.0, 2.0]), (2,), np.random.default_rng(0))
    assert enlarged.tolist() == [1, 1, 2, 2]


# --- errors --------------------------------------------------------------------------------------


GOOD = np.ones((2, 4, 5), np.int8)
BAD_CALLS = {
    "both": ({"duration": 1.0, "n_events": 2}, "either duration or n_events, but got duration=1.0"),
    "neither": ({}, "either duration or n_events, but got duration=None and n_events=None"),
    "negative time": ({"duration": -1.0}, r"0 <= duration, but got -1\.0"),
    "endless": ({"duration": np.inf}, "Expected duration to be a finite real number .* got inf"),
    "no number": ({"duration": "1"}, "Expected duration to be .* but got '1'; pass a number"),
    "negative events": ({"n_events": -1}, "n_events to be an integer of at least 0, but got -1"),
    "part of an event": ({"n_events": 1.5}, "n_events to be an integer of at least 0, but got 1.5"),
    "large window": (
        {"duration": 1.0, "window": ((0, 0), (5, 5))},
        r"Expected a box of at most \(4, 5\) cells, the whole lattice, but got \(5, 5\)",
    ),
    "flat window": (
        {"duration": 1.0, "window": ((0,), (2, 2))},
        "Expected window origin to have one integer for each of the 2 axes",
    ),
    "empty window": (
        {"duration": 1.0, "window": ((0, 0), (0, 2))},
        "Expected window extent to be an integer of at least 1, but got 0",
    ),
    "negative origin": (
        {"duration": 1.0, "window": ((-1, 0), (2, 2))},
        "Expected window origin to be an integer of at least 0, but got -1",
    ),
    "seed": ({"duration": 1.0, "random_state": -3}, "Expected random_state to be .* but got -3"),
}


@pytest.mark.parametrize("call", BAD_CALLS)
def test_wrong_calls_are_refused(call):
    keywords, text = BAD_CALLS[call]
    for simulator in (Ising(), CurieWeiss()):
        with pytest.raises(ValueError, match=text):
            simulator.advance(GOOD, **keywords)


def test_a_window_outside_an_open_lattice_is_refused():
    with pytest.raises(ValueError, match="Expected a box inside the open lattice"):
        LinearChain().advance(np.zeros((1, 6)), duration=1.0, window=((4,), (3,)))
    with pytest.raises(ValueError, match="Expected a box inside the open lattice"):
        Ising(boundary="open").advance(GOOD, duration=1.0, window=((3, 0), (2, 2)))


@pytest.mark.parametrize(
    ("simulator", "X", "text"),
    [
        (Ising(), np.ones((2, 4)), r"Expected snapshots X of shape \(n_samples, n_cells_0, n_cell"),
        (Ising(), np.ones((2, 4, 5, 1)), r"but got snapshots of shape \(4, 5, 1\)"),
        (LinearChain(), np.ones((2, 4, 2)), r"\(n_samples, n_cells_0\) for LinearChain on a chain"),
        (PredatorPrey(), np.ones((2, 4)), r"\(n_samples, n_cells_0, 2\) for PredatorPrey"),
        (PredatorPrey(), np.ones((2, 4, 3)), r"but got snapshots of shape \(4, 3\)"),
        (LinearChain(), np.ones((2, 0)), r"but got snapshots of shape \(0,\)"),
        (LinearChain(), np.ones((0, 5)), r"Expected at least one snapshot, but got .* \(0, 5\)"),
        (LinearChain(), 3.0, r"Expected at least one snapshot, but got an array of shape \(\)"),
        (LinearChain(), [["a", "b"]], "Expected snapshots to be real numbers, but got a list"),
        (LinearChain(), [[1.0, np.nan]], r"Expected finite snapshots.*first at index \(0, 1\)"),
        (PredatorPrey(), np.full((1, 2, 2), np.inf), "4 values that are NaN or infinity"),
        (Ising(), np.zeros((1, 4, 4)), r"states of Ising to be -1 or \+1, but got .*0\.0"),
        (CurieWeiss(), [[[1, 2]]], r"states of CurieWeiss to be -1 or \+1, but got .*2.*map 0 and"),
        (Ising(), [[[1.0, np.nan], [1, 1]]], "Expected finite snapshots, but got 1 values"),
    ],
)
def test_wrong_snapshots_are_refused(simulator, X, text):
    for call in (
        simulator.observe,
        lambda X: simulator.advance(X, duration=1.0),
        lambda X: simulator.simulate(X, [0.0, 1.0]),
    ):
        with pytest.raises(ValueError, match=text):
            call(X)


@pytest.mark.parametrize(
    "times", [[], [1.0, 1.0], [2.0, 1.0], [-1.0, 0.0], [0.0, np.nan], [[0.0, 1.0]]]
)
def test_wrong_times_are_refused(times):
    with pytest.raises(ValueError, match="Expected times to be an increasing list of finite"):
        LinearChain().simulate(np.zeros((1, 3)), times)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="n_samples to be an integer of at least 1, but got 0"):
        Ising().sample_initial(0, 4)
    with pytest.raises(ValueError, match="one integer for each of the 2 axes"):
        Ising().sample_initial(1, (4,))
    with pytest.raises(ValueError, match="Expected cells to be an integer of at least 1, but got"):
        LinearChain().sample_initial(1, 0)


@pytest.mark.parametrize("former", sorted(FORMER_HOOKS))
def test_former_hooks_are_refused_by_their_present_names(former):
    present = FORMER_HOOKS[former].partition("(")[0]
    assert callable(getattr(Simulator, present))
    with pytest.raises(TypeError, match=f"but got {former} in Mine; write {present}"):
        type("Mine", (Simulator,), {former: lambda self, *arguments: None})
