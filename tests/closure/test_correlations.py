"""Correlations as closures: clusters, their sums, moments (Eqs. 1, 3, 10) and their choice."""

from functools import cache
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklmacro import Cluster, CorrelationClosure, PartialEvolutionSampler, Patches, StreamedPairs
from sklmacro.closure.cluster_sums import ClusterSums
from sklmacro.closure.clusters import library
from sklmacro.closure.site_functions import site_functions
from sklmacro.lattice import Lattice
from sklmacro.simulators import Alloy, CurieWeiss, Ising, LinearChain, PredatorPrey, Simulator
from sklmacro.simulators.events import Events
from tests import naive
from tests.simulators.test_moments import alloy

Z = 5.0  # standard errors


class Potts(Simulator):
    """Potts model of three states on the square lattice, by heat-bath flips at rate 1."""

    kind = "square"
    boundary = "periodic"
    state_dtype = np.int8
    observable_names = ("share of 0", "equal bonds")
    observable_units = ("1", "1")
    observable_bounds = ((0.0, 1.0), (0.0, 1.0))
    observable_range = 1
    isotropic = True
    has_events = True

    def __init__(self, temperature=1.0):
        self.temperature = temperature

    def draw_initial(self, lattice, rng):
        return rng.integers(3, size=lattice.cells).astype(np.int8)

    def density(self, x):
        shifted = [np.roll(x, s, axis) for axis in (0, 1) for s in (1, -1)]
        return np.stack([x == 0, np.mean([y == x for y in shifted], axis=0)], axis=-1) * 1.0

    def weights(self, x):
        """Equal neighbours (*cells, 3) that each state would have."""
        shifted = [np.roll(x, s, axis) for axis in (0, 1) for s in (1, -1)]
        return np.sum([y[..., np.newaxis] == np.arange(3) for y in shifted], axis=0)

    def events(self, x, lattice, window):
        sites = np.arange(x.size).reshape(x.shape)[lattice.mesh(*window)].ravel()
        equal = self.weights(x).reshape(-1, 3)[sites]
        law = np.exp(equal / self.temperature)
        law /= law.sum(axis=1, keepdims=True)
        old = x.ravel()[sites]
        e, new = np.nonzero(np.arange(3) != old[:, np.newaxis])
        bonds = (equal[e, new] - equal[e, old[e]]) / 2.0  # of density equal / 4, in both sites
        changes = np.column_stack([(new == 0) * 1.0 - (old[e] == 0), bonds])
        return Events(law[e, new], sites[e, None], new[:, None].astype(np.int8), changes)


def turns(ndim, isotropic):
    """Matrices of the turns and reflections of a box."""
    unit = np.eye(ndim, dtype=int)
    if not isotropic:
        return [unit]
    signs = list(product((1, -1), repeat=ndim))
    return [unit[list(p)] * np.array(s) for p in permutations(range(ndim)) for s in signs]


@cache
def sums_of(simulator, states=()):
    functions = site_functions(simulator, states)
    clusters = library(simulator.kind, simulator.isotropic, functions)
    return ClusterSums(clusters, functions, simulator.kind, simulator.isotropic)


def letter(sums, simulator, name):
    """A site function as a plain function of the state of a site."""
    functions = sums.functions
    if functions.states:
        return lambda x: float(x == functions.states[functions.letters.index(name)])
    if simulator.n_fields > 1:
        return lambda x: x[functions.letters.index(name)]
    return float


class AnisotropicIsing(Ising):
    isotropic = False


# --- names and libraries --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "simulator",
    [Ising(), Ising(kind="cubic"), Ising(kind="fcc"), AnisotropicIsing(), Alloy(), PredatorPrey(),
     LinearChain()],
    ids=repr,
)  # fmt: skip
def test_names_say_all(simulator):
    functions = site_functions(simulator)
    found = library(simulator.kind, simulator.isotropic, functions)
    assert [Cluster.from_name(cluster.name) for cluster in found] == list(found)
    assert len({cluster.name for cluster in found}) == len(found) >= 5


def test_the_library_of_spins_has_pairs_and_shapes_by_symmetry():
    names = [c.name for c in sums_of(Ising()).clusters]
    assert names[:4] == ["s s (0,1)", "s s (1,1)", "s s (0,2)", "s s (1,2)"]
    assert {"s s s (0,1)(1,0)(0,-1)", "s s s s (0,1)(1,0)(0,-1)(-1,0)"} < set(names)
    directions = [c.name for c in sums_of(AnisotropicIsing()).clusters]
    assert {"s s (0,1)", "s s (1,0)", "s s (1,1)", "s s (1,-1)"} < set(directions)
    species = [c.name for c in sums_of(Alloy()).clusters]
    assert {"vacancy Nb shell 1", "Mo Mo shell 2"} < set(species)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("s s (1,1)(0,1)(2,2)", "Expected the name of a cluster"),
        ("s s (1)", "an offset of 2 cells for each letter"),
        ("s t (1,1)", "Expected clusters of 1 to 32 of the letters s, but got 's t"),
        ("", "Expected the name of a cluster"),
        ("s s shell 65", "Expected two letters and a shell of 0 to 64"),
        ("s s (0,8)", r"more than \(8, 8\) cells"),
    ],
)
def test_clusters_that_make_no_sense(name, match):
    X = Ising().sample_initial(3, 8, random_state=0)
    with pytest.raises(ValueError, match=match):
        CorrelationClosure(Ising(), library=[name], n_closure=1).fit(X)


# --- sums -----------------------------------------------------------------------------------------

PLAIN = {
    "square": (Ising(), (5, 6)),
    "open square": (Ising(boundary="open"), (4, 5)),
    "translations": (AnisotropicIsing(), (5, 6)),
    "cubic": (Ising(kind="cubic"), (5, 5, 5)),
    "chain": (Ising(kind="chain"), (7,)),
    "fields": (PredatorPrey(), (6,)),
    "states": (Potts(), (3, 4)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_means_are_those_of_the_definition(name):
    """Eq. 1: means over sites, with and without turns, on periodic and open lattices."""
    simulator, cells = PLAIN[name]
    x = simulator.sample_initial(1, cells, random_state=3)[0]
    lattice = simulator.lattice(x.shape)
    sums = sums_of(simulator, states=(0, 1, 2) if name == "states" else ())
    some = [c for c in sums.clusters if name != "cubic" or len(c.letters) > 2][::2]
    fitting = [c for c in some if all(np.max(np.abs(c.offsets or [[0]]), axis=0) * 2 < cells)]
    sums = ClusterSums(tuple(fitting), sums.functions, sums.kind, sums.isotropic)
    found = sums.sums(x, lattice) / lattice.n_sites
    assert len(fitting) > 2
    group = turns(lattice.ndim, simulator.isotropic)
    for cluster, value in zip(fitting, found, strict=True):
        offsets = cluster.offsets or ((0,) * lattice.ndim,)
        letters = [letter(sums, simulator, one) for one in cluster.letters]
        wanted = naive.cluster_mean(x, lattice, list(zip(letters, offsets, strict=True)), group)
        assert value == pytest.approx(wanted, abs=1e-12), cluster.name


@pytest.mark.parametrize("kind", ["bcc", "fcc", "hcp", "diamond"])
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_pairs_of_crystals_are_told_by_distance(kind, boundary):
    lattice = Lattice(kind, (4, 3, 3), boundary)
    x = np.random.default_rng(0).integers(3, size=lattice.site_shape).astype(np.int8)
    functions = site_functions(Alloy(), ())
    names = ("Nb Mo shell 1", "Mo Mo shell 2", "vacancy Nb shell 3")
    sums = ClusterSums(tuple(map(Cluster.from_name, names)), functions, kind, False)
    found = sums.sums(x, lattice) / lattice.n_sites
    away = np.linalg.norm(
        Lattice(kind, (9, 9, 9)).positions() - lattice.cell_vectors.sum(0) * 4, axis=1
    )
    distances = np.unique(away.round(6))[1:4]
    for value, (a, b), distance in zip(found, ((1, 2), (2, 2), (0, 1)), distances, strict=True):
        wanted = naive.shell_mean(
            x, lattice, lambda s, a=a: float(s == a), lambda s, b=b: float(s == b), distance
        )
        assert value == pytest.approx(wanted, abs=1e-12)


CHANGED = {
    "spins": (Ising(), (9, 10), [-1, 1]),
    "open spins": (Ising(boundary="open"), (6, 7), [-1, 1]),
    "crystal": (Alloy(), (5, 5, 5), [0, 1, 2, 3]),
    "fields": (PredatorPrey(), (7,), [0.2, 0.5, 1.25]),
    "states": (Potts(), (6, 5), [0, 1, 2]),
}


@given(st.sampled_from(sorted(CHANGED)), st.integers(0, 2**32 - 1))
def test_changes_are_differences_of_sums(name, seed):
    """Several sites of an event change one after the other, near and across the edges."""
    simulator, cells, states = CHANGED[name]
    rng = np.random.default_rng(seed)
    lattice = Lattice(simulator.kind, cells, simulator.boundary)
    fields = (2,) if simulator.n_fields == 2 else ()
    x = rng.choice(np.array(states, simulator.state_dtype), (*lattice.site_shape, *fields))
    sums = sums_of(simulator, states=(0, 1, 2))
    sums.check(lattice)
    first = rng.integers(lattice.n_sites, size=(4, 1))
    sites = (first + np.array([0, 1, 2, lattice.n_sites // 2])) % lattice.n_sites
    new = rng.choice(np.array(states, simulator.state_dtype), (*sites.shape, *fields))
    F = sums.values(x, lattice)
    found = sums.changes(F, sites, new, lattice)
    assert np.array_equal(F, sums.values(x, lattice))
    for own, values, change in zip(sites, new, found, strict=True):
        y = x.copy().reshape(lattice.n_sites, *fields)
        y[own] = values
        wanted = sums.sums(y.reshape(x.shape), lattice) - sums.sums(x, lattice)
        np.testing.assert_allclose(change, wanted, atol=1e-10)


def test_a_lattice_on_which_a_cluster_meets_itself_is_refused():
    """s_i s_{i+2} on a ring of two sites would be s_i^2, and its change wrong."""
    X = Ising().sample_initial(4, 8, random_state=0)
    closure = CorrelationClosure(Ising(), library=["s s (0,2)"], n_closure=1).fit(X)
    assert closure.transform(X[:, :3, :4]).shape == (4, 3)
    with pytest.raises(ValueError, match=r"more than \(2, 2\) cells.*but got \(2, 8\)"):
        closure.transform(X[:, :2])
    with pytest.raises(ValueError, match="at least n_closure=20 clusters that fit into"):
        CorrelationClosure(Ising(), n_closure=20).fit(X[:, :3, :3])


# --- moments --------------------------------------------------------------------------------------

JUMPS = {
    "spins": (Ising(2.3, 0.1), 8, 4, 4, None),
    "some patches": (Ising(2.3, 0.1), 8, 4, 3, None),
    "open spins": (Ising(2.3, boundary="open"), 6, 3, 4, None),
    "crystal": (Ising(5.0, kind="bcc"), 4, 2, 8, None),
    "alloy": (alloy(), (4, 4, 4), (2, 2, 4), 2, ["A A shell 2", "vacancy A shell 1"]),
    "states": (Potts(), 6, 3, 4, None),
    "all alike": (CurieWeiss(1.2), 6, 3, 2, None),
}


def moments_of(simulator, cells, patch, p, n=3, **options):
    X = simulator.sample_initial(n, cells, random_state=1)
    sampler = PartialEvolutionSampler(
        simulator, patch=Patches(patch, n_evolved=p), moments=True, dt=0.2, random_state=0
    )
    return sampler.fit_transform(X)


@pytest.mark.parametrize("name", JUMPS)
def test_moments_are_sums_over_events(name):
    """Every event is carried out, and the macrostates before and after it are compared."""
    simulator, cells, patch, p, names = JUMPS[name]
    pairs = moments_of(simulator, cells, patch, p)
    n_closure = 4 if names is None else len(names)
    closure = CorrelationClosure(simulator, n_closure=n_closure, library=names)
    latent = closure.fit(pairs["x"]).transform(pairs)
    lattice = simulator.lattice(pairs["x"].shape[1:])
    share = lattice.n_sites / (p * np.prod(pairs["extent"][0]) * lattice.n_basis)
    for pair, z, dz, cov in zip(pairs, latent["z"], latent["dz"], latent["cov"], strict=True):
        b, A = np.zeros(len(z)), np.zeros((len(z), len(z)))
        for origin in pair["origin"].tolist():
            events = simulator.events(pair["x"], lattice, (tuple(origin), tuple(pair["extent"])))
            if not len(events.rates):
                continue
            Y = np.repeat(pair["x"][np.newaxis], len(events.rates), axis=0)
            for y, sites, states in zip(Y, events.sites, events.states, strict=True):
                y.flat[sites] = states
            change = (closure.transform(Y) - z) * share
            b += events.rates @ change
            A += (change.T * events.rates) @ change
        np.testing.assert_allclose(dz, 0.2 * b, atol=1e-9 * np.abs(b).max())
        np.testing.assert_allclose(cov, 0.2 * A, atol=1e-9 * np.abs(A).max())
        assert np.abs(cov[-1, -1]) > 0


@pytest.mark.parametrize("simulator", [PredatorPrey(c=0.2, sigma_u=0.3), LinearChain()], ids=repr)
def test_moments_of_a_diffusion_have_ito_terms(simulator):
    pairs = moments_of(simulator, 12, 4, 3)
    closure = CorrelationClosure(simulator, n_closure=4).fit(pairs["x"])
    assert "u u (0)" in closure.get_feature_names_out()
    latent = closure.transform(pairs)
    for pair, dz, cov in zip(pairs, latent["dz"], latent["cov"], strict=True):
        lattice = simulator.lattice(pair["x"].shape)
        drift, noise = simulator.one_step(pair["x"], lattice, lattice.full_window)
        b, A = naive.diffusion_moments(
            pair["x"], drift, noise, lambda x: closure.transform(x[np.newaxis])[0]
        )
        np.testing.assert_allclose(dz, 0.2 * b, atol=1e-6 * np.abs(b).max())
        np.testing.assert_allclose(cov, 0.2 * A, atol=1e-6 * np.abs(A).max())
    without = naive.diffusion_moments(
        pair["x"], drift, 0 * noise, lambda x: closure.transform(x[np.newaxis])[0]
    )[0]  # control: the second derivatives count
    assert np.abs(without - b).max() > 0.01 * np.abs(b).max()


SHORT = {
    "spins": (Ising(2.5, 1.5), 8, 4, 0.03, ["s s (1,1)", "s s s (0,1)(1,0)(0,-1)"]),
    "fields": (PredatorPrey(sigma_u=0.2), 8, 4, 0.01, ["u u (0)", "u v (1)"]),
    "chain": (LinearChain(kappa=10.0, initial_spread=0.0), 8, 4, 0.003, ["u u (0)", "u u (1)"]),
    "alloy": (alloy("square", vacancy_fraction=0.2), 6, None, None, ["A A shell 2", "A B shell 3"]),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", SHORT)
def test_short_increments_have_these_moments(name):
    """Eq. 10: sampled increments of one snapshot have the mean b dt and the covariance A dt."""
    simulator, cells, patch, dt, names = SHORT[name]
    x = simulator.sample_initial(1, cells, random_state=1)
    X = np.repeat(x, 1000 if name == "alloy" else 3000, axis=0)
    dt = simulator.jump_time() / 20 if dt is None else dt
    options = {"patch": Patches(patch), "dt": dt, "random_state": 0}
    sampled, exact = (
        PartialEvolutionSampler(simulator, moments=moments, **options).fit_transform(rows)
        for moments, rows in ((False, X), (True, X[:300]))
    )
    closure = CorrelationClosure(simulator, n_closure=2, library=names).fit(X[:10])
    dz, own = closure.transform(sampled)["dz"], closure.transform(exact)
    mean, cov = own["dz"].mean(axis=0), own["cov"].mean(axis=0)
    cov = cov + np.cov(own["dz"].T)  # patches differ
    error, size = np.sqrt(np.diag(cov) / len(dz)), np.sqrt(np.outer(np.diag(cov), np.diag(cov)))

    def differ(mean, cov):
        """Whether mean and covariance are others; terms of the order of dt are allowed for."""
        off = np.abs(dz.mean(axis=0) - mean) > Z * error + 0.1 * np.abs(mean)
        return off.any(), (np.abs(np.cov(dz.T) - cov) > 0.25 * size).any()

    assert differ(mean, cov) == (False, False)
    assert differ(mean / 2, cov / 2) == (name != "alloy", True)  # control; its mean is small


def test_increments_do_not_depend_on_batches_or_workers():
    X = Ising().sample_initial(30, 12, random_state=0)
    sampler = PartialEvolutionSampler(Ising(), patch=4, random_state=0)
    for moments in (False, True):
        pairs = sampler.set_params(moments=moments).fit_transform(X)
        closures = [CorrelationClosure(Ising(), n_closure=3, n_jobs=k).fit(X) for k in (1, 2)]
        whole, parallel = (closure.transform(pairs) for closure in closures)
        parts = np.concatenate([closures[0].transform(pairs[k : k + 7]) for k in range(0, 30, 7)])
        assert whole.tobytes() == parallel.tobytes() == parts.tobytes()


def test_moments_of_another_simulator_are_refused():
    pairs = moments_of(Ising(2.5), 8, 4, 4)
    closure = CorrelationClosure(Ising(2.6), n_closure=1).fit(pairs["x"])
    with pytest.raises(ValueError, match=r"pairs of moments of Ising\(temperature=2.6\)"):
        closure.transform(pairs)


def test_an_unknown_state_is_refused():
    X = Potts().sample_initial(5, 6, random_state=0)
    closure = CorrelationClosure(Potts(), n_closure=1).fit(np.minimum(X, 1))
    with pytest.raises(ValueError, match=r"Expected the states \(0, 1\) that were declared or"):
        closure.transform(X)


# --- choice ---------------------------------------------------------------------------------------


def ising_pairs(n=24, moments=True, field=0.1, **options):
    """States of n trajectories that relax from shuffled spins."""
    ising, rng = Ising(2.5, field), np.random.default_rng(0)
    up = (np.arange(n) + 0.5) / n
    X = np.where(rng.random((n, 24, 24)) < up[:, None, None], 1, -1).astype(np.int8)
    states = [X]
    for k, time in enumerate((0.3, 1.0, 2.0, 4.0, 8.0)):
        states.append(ising.advance(states[-1], duration=time, random_state=k)[0])
    sampler = PartialEvolutionSampler(
        ising, patch=Patches(24), moments=moments, random_state=0, **options
    )
    groups = np.tile(np.arange(n), len(states))
    return sampler.fit_transform(np.concatenate(states), groups=groups)


@pytest.fixture(scope="module")
def pairs():
    return ising_pairs()


def test_the_drift_of_spins_is_explained_exactly(pairs):
    """A heat bath sees four neighbours: their products close the drift of M and of the walls."""
    closure = CorrelationClosure(Ising(2.5, 0.1), criterion="drift").fit(pairs)
    names = set(closure.get_feature_names_out()[2:])
    exact = {"s s (1,1)", "s s (0,2)", "s s s (0,1)(1,0)(0,-1)", "s s s s (0,1)(1,0)(0,-1)(-1,0)"}
    assert names == exact
    parts = [step.unexplained for step in closure.selection_]
    assert parts[0] == 1 > parts[1] > parts[2] > parts[3] > 1e-3
    assert parts[4] < 1e-6
    assert closure.n_latent_ == 6
    assert closure.parity_ is None


def test_what_lasts_comes_first(pairs):
    """Products of three neighbours explain more of the drift, and are forgotten much sooner."""
    names = {"near": "s s s (0,1)(1,0)(0,-1)", "far": "s s (1,2)"}
    for criterion, first in (("lasting", "far"), ("drift", "near")):
        closure = CorrelationClosure(
            Ising(2.5, 0.1), criterion=criterion, library=list(names.values()), n_closure=1
        ).fit(pairs)
        assert closure.get_feature_names_out()[2] == names[first]
    lasting = CorrelationClosure(Ising(2.5, 0.1)).fit(pairs)
    assert 1 <= len(lasting.clusters_) <= 5
    assert {len(cluster.letters) for cluster in lasting.clusters_} == {2}
    assert lasting.selection_[-1].unexplained < 0.6


def test_what_does_not_matter_is_not_chosen(pairs):
    library = ["s s (2,3)", "s s (0,1)"]  # too far; the walls
    chosen = CorrelationClosure(Ising(2.5, 0.1), library=library, max_closures=2).fit(pairs)
    best = CorrelationClosure(Ising(2.5, 0.1), criterion="drift", max_closures=1).fit(pairs)
    assert best.selection_[-1].unexplained < 0.5
    assert all(step.unexplained > 0.5 for step in chosen.selection_)
    assert "s s (0,1)" not in chosen.get_feature_names_out()


def test_a_number_of_closures_takes_the_first_of_the_selection(pairs):
    auto = CorrelationClosure(Ising(2.5, 0.1)).fit(pairs)
    for n_closure in (0, 1, 3):
        closure = CorrelationClosure(Ising(2.5, 0.1), n_closure=n_closure).fit(pairs)
        assert closure.clusters_ == auto.clusters_[:n_closure]
        assert closure.transform(pairs)["z"].shape == (len(pairs), 2 + n_closure)


def test_fields_need_the_products_of_their_drift():
    """du/dt has u^2 and u v in it, dv/dt has u v, and nothing else (Eq. 20)."""
    spde = PredatorPrey()
    X, _ = spde.advance(spde.sample_initial(60, 40, random_state=0), duration=5.0, random_state=0)
    pairs = PartialEvolutionSampler(spde, moments=True).fit_transform(X)
    closure = CorrelationClosure(spde).fit(pairs)
    assert set(closure.get_feature_names_out()[2:]) == {"u v (0)", "u u (0)"}


def test_what_is_closed_needs_no_closure():
    chain, magnet = LinearChain(), CurieWeiss(1.2)
    for simulator in (chain, magnet):
        X = simulator.sample_initial(60, 10, random_state=0)
        pairs = PartialEvolutionSampler(simulator, moments=True).fit_transform(X)
        assert CorrelationClosure(simulator).fit(pairs).clusters_ == ()


@pytest.mark.statistical
def test_noisy_increments_choose_less():
    closure = CorrelationClosure(Ising(2.5, 0.1)).fit(ising_pairs(moments=False, dt=0.2))
    assert len(closure.clusters_) <= 4
    assert closure.selection_[0].unexplained == 1


def test_parities():
    X = Ising(2.5).sample_initial(6, 8, random_state=0)
    library = ["s s (1,1)", "s s s (0,1)(1,0)(0,-1)"]
    closure = CorrelationClosure(Ising(2.5), n_closure=2, library=library).fit(X)
    assert closure.parity_ == (-1, 1, 1, -1)
    np.testing.assert_allclose(closure.transform(-X), closure.transform(X) * closure.parity_)


def test_snapshots_alone_take_the_first_that_tell_something_new():
    X = Ising().sample_initial(40, 8, random_state=0)
    closure = CorrelationClosure(Ising(), n_closure=2).fit(X)
    assert [c.name for c in closure.clusters_] == ["s s (1,1)", "s s (0,2)"]
    with pytest.raises(ValueError, match="Expected snapshot pairs for n_closure='auto'"):
        CorrelationClosure(Ising()).fit(X)
    one = moments_of(Ising(), 8, 4, 4)
    one["group"] = 0
    with pytest.raises(ValueError, match="Expected pairs of at least 2 groups"):
        CorrelationClosure(Ising()).fit(one)


def test_streamed_pairs_are_the_same(pairs):
    X = pairs["x"][:50]
    sampler = PartialEvolutionSampler(Ising(2.5, 0.1), patch=12, moments=True, random_state=0)
    closure = CorrelationClosure(Ising(2.5, 0.1), n_closure=2)
    streamed = StreamedPairs(None, sampler, closure, batch_size=20).fit_transform(X)
    assert streamed.tobytes() == closure.fit_transform(sampler.fit_transform(X)).tobytes()


def test_conserved_candidates_are_passed_over():
    """The share of a species varies between snapshots, explains the drift, and never changes."""
    simulator = alloy(vacancy_fraction=0.05)
    rng = np.random.default_rng(0)
    X = np.stack([
        rng.permutation(np.repeat([0, 1, 2], (8, k, 120 - k))).reshape(4, 4, 4, 2)
        for k in rng.integers(20, 100, 60)
    ]).astype(np.int8)  # fmt: skip
    pairs = PartialEvolutionSampler(simulator, moments=True).fit_transform(X)
    closure = CorrelationClosure(simulator, n_closure=2).fit(pairs)
    assert "A" not in closure.get_feature_names_out()
    shares = CorrelationClosure(simulator, n_closure=1, library=["A"]).fit(pairs)
    assert shares.clusters_ == ()
