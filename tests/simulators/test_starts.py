"""Initial snapshots by their observables: evenly spread, near given values, and as ever without."""

import numpy as np
import pytest

from sklmacro import HierarchicalUpsampler
from sklmacro.simulators import Alloy, CurieWeiss, Ising, LinearChain, PredatorPrey, Simulator
from sklmacro.simulators.starts import choose_even, choose_near, n_candidates

RNG = np.random.default_rng(0)


class Discs(Simulator):
    """A simulator of one's own: two independent observables, and one that never varies."""

    n_fields = 3
    observable_names = ("a", "b", "constant")
    observable_units = ("1",) * 3

    def draw_initial(self, lattice, rng):
        a, b = 10 * rng.random() ** 3, 1e-3 * rng.random()  # uneven, and of unlike scales
        return np.tile([a, b, 2.0], (lattice.cells[0], 1))

    def advance_window(self, x, lattice, evolution):
        return evolution.span.time


def spaces(z):
    return np.diff(z[:, 0])


CASES = {  # simulator, cells, and the first and last even value of the first observable
    "ising": (Ising(), 16, (-1.0, 1.0)),
    "crystal": (Ising(kind="bcc"), 4, (-1.0, 1.0)),
    "curie-weiss": (CurieWeiss(), 12, (-1.0, 1.0)),
    "predator-prey": (PredatorPrey(), 20, (0.45, 0.55)),
}


@pytest.mark.parametrize("name", CASES)
def test_starts_are_even_from_end_to_end(name):
    simulator, cells, ends = CASES[name]
    X = simulator.sample_initial(11, cells, observables="even", random_state=0)
    z, width = simulator.observe(X), ends[1] - ends[0]
    np.testing.assert_allclose(z[:, 0], np.linspace(*ends, 11), atol=0.01 * width)
    drawn = simulator.observe(simulator.sample_initial(11, cells, random_state=0))
    assert spaces(np.sort(drawn, axis=0)).max() > 1.5 * spaces(z).max()  # negative control


def test_every_simulator_has_even_starts():
    chain = LinearChain(initial_spread=10)
    z = chain.observe(chain.sample_initial(9, 100, observables="even", random_state=1))
    assert (z[0] < -9.8, z[-1] > 9.8) == (True, True)
    np.testing.assert_allclose(spaces(z), spaces(z).mean(), rtol=0.05)
    alloy = Alloy()
    X, plain = (
        alloy.sample_initial(6, 3, observables=observables, random_state=0)
        for observables in ("even", None)
    )
    assert alloy.observe(X).std(axis=0).min() > alloy.observe(plain).std(axis=0).mean()


def test_two_observables_fill_their_range():
    """Nothing is left empty; of plain draws half are in a twentieth of the range."""
    z = Discs().observe(Discs().sample_initial(60, 2, observables="even", random_state=0))
    plain = Discs().observe(Discs().sample_initial(60, 2, random_state=0))
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21)), -1).reshape(-1, 2)

    def largest_hole(z):
        u = z[:, :2] / [10, 1e-3]
        return np.linalg.norm(grid[:, None] - u, axis=-1).min(axis=1).max()

    assert largest_hole(z) < 0.16
    assert largest_hole(plain) > 0.2
    first = Discs().observe(Discs().sample_initial(60, 2, observables="even", random_state=0)[:15])
    assert largest_hole(first) < 0.4  # the first of many cover already


def test_given_observables_are_met():
    ising = Ising()
    M = np.array([0.9, -0.35, 0.9, 0.0, -1.0])
    given = np.column_stack([M, np.full(5, np.nan)])
    X = ising.sample_initial(5, 32, observables=given, random_state=0)
    np.testing.assert_allclose(ising.observe(X)[:, 0], M, atol=0.01)
    assert not np.array_equal(X[0], X[2])  # never the same draw
    both = np.column_stack([M[1:2], [0.4]])  # more walls than random spins have
    z = ising.observe(ising.sample_initial(1, 32, observables=both, random_state=0))
    assert abs(z[0, 0] + 0.35) < 0.2
    near = Discs().sample_initial(2, 2, observables=[[9, 5e-4, 0], [1, np.nan, 7]], random_state=3)
    z = Discs().observe(near)
    np.testing.assert_allclose(z[:, 0], [9, 1], atol=0.7)
    assert abs(z[0, 1] - 5e-4) < 1e-4


def test_draws_stay_as_they_are_and_are_repeatable():
    ising = Ising()
    plain = ising.sample_initial(2000, 4, random_state=5)
    even, again = (
        ising.sample_initial(30, 4, observables="even", random_state=5) for _ in range(2)
    )
    np.testing.assert_array_equal(even, again)
    draws = {x.tobytes() for x in plain}
    assert all(x.tobytes() in draws for x in even)
    other = ising.sample_initial(30, 4, observables="even", random_state=6)
    assert not np.array_equal(even, other)


def test_without_anything_that_varies_the_first_draws_are_taken():
    spde = PredatorPrey(amplitude_range=(0.1, 0.1), mean_range=(0.5, 0.5))
    for observables in ("even", [[0.1, 0.9]] * 3):
        np.testing.assert_array_equal(
            spde.sample_initial(3, 10, observables=observables, random_state=0),
            spde.sample_initial(3, 10, random_state=0),
        )


def test_fast_observables_do_not_count_unless_there_are_no_others():
    class Walls(Ising):
        fast_observables = Ising.observable_names

    ising = Ising()
    M = ising.observe(ising.sample_initial(9, 16, observables="even", random_state=0))
    np.testing.assert_allclose(M[:, 0], np.linspace(-1, 1, 9), atol=1e-12)
    z = Walls().observe(Walls().sample_initial(9, 16, observables="even", random_state=0))
    assert np.abs(spaces(np.sort(z, axis=0)) - 0.25).max() > 0.05


def test_choices_do_not_depend_on_units():
    z = RNG.random((500, 3)) * [1, 2, 3]
    units = np.array([1e-9, 1.0, 1e9])
    np.testing.assert_array_equal(choose_even(z, 40), choose_even(z * units, 40))
    np.testing.assert_array_equal(
        choose_near(z, z[:7] + 0.1), choose_near(z * units, (z[:7] + 0.1) * units)
    )
    assert choose_near(z, z[:7]).tolist() == list(range(7))
    for n in (1, 2, 500):
        assert len(set(choose_even(z, n).tolist())) == n
        assert len(set(choose_even(z[:, :1], n).tolist())) == n
    assert 0.4 < z[choose_even(z[:, :1], 1)[0], 0] < 0.6
    same = np.repeat(z[:1], 9, axis=0)
    assert choose_even(same, 4).tolist() == [0, 1, 2, 3]


def test_the_number_of_draws_is_bounded():
    assert n_candidates(1, 256) == 1024
    assert n_candidates(100, 256) == 3200
    assert n_candidates(10_000, 256) == 40_000
    assert n_candidates(10, 10**6) == 67
    assert n_candidates(10, 10**9) == 40


WRONG = {
    "a word": ("uniform", "observables to be one of 'even', but got 'uniform'"),
    "another number": ([[0.1, 0.2]], r"numbers of shape \(3, 2\), .* got shape \(1, 2\)"),
    "one observable": ([0.1] * 3, r"numbers of shape \(3, 2\), .* got shape \(3,\)"),
    "infinite": ([[np.inf, 0.0]] * 3, "none of them infinite"),
    "texts": ([["a", "b"]] * 3, "observables to be real numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_observables_that_make_no_sense_are_refused(case):
    observables, text = WRONG[case]
    with pytest.raises(ValueError, match=text):
        Ising().sample_initial(3, 8, observables=observables)


@pytest.mark.statistical
@pytest.mark.parametrize("simulator", [Ising(), CurieWeiss(), LinearChain()], ids=str)
def test_large_starts_are_like_draws_of_the_large_lattice(simulator):
    """Enlarged by `start_method`, sites at every distance are as little correlated as in draws."""
    cells, factor, n = (6, 6)[: simulator.sample_initial(1, 6).ndim - 1], 2, 1500
    middle = simulator.sample_initial(3, cells, observables="even", random_state=0)[1:2]
    small = np.repeat(middle, n, axis=0)

    def enlarge(method):
        up = HierarchicalUpsampler(
            simulator, factor=factor, method=method, relaxation=None, random_state=1
        )
        return up.fit_transform(small).astype(float)

    def largest_correlation(X):
        """Of sites at a distance along an axis, in standard errors of that of a pair."""
        mean = small[0].mean()  # which every large snapshot keeps
        np.testing.assert_allclose(X.mean(axis=tuple(range(1, X.ndim))), mean)
        u = X - mean
        products = [(u[:, 0] * u[:, k]).mean() for k in range(1, X.shape[1])]
        expected = -np.var(small[0]) / (X[0].size - 1)  # at a fixed mean
        return np.abs(np.array(products) - expected).max() / (np.var(small[0]) / np.sqrt(n))

    assert largest_correlation(enlarge(simulator.start_method)) < 4.5
    assert largest_correlation(enlarge("replicate")) > 10
    assert largest_correlation(enlarge("tile")) > 10
