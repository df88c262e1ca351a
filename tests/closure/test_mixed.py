"""Known and learned closures together: z = (z*, zhat_known, zhat_learned)."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from sklmacro import (
    CorrelationClosure,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    Patches,
    PatchSDERegressor,
    Polynomial,
    StreamedPairs,
    Training,
    load,
    save,
)
from sklmacro.lattice import PatchGrid
from sklmacro.lattice.windows import Window
from sklmacro.pairs import snapshot_pair_dtype
from sklmacro.scoring import PathScorer, ReferencePaths
from sklmacro.simulators import CurieWeiss, Ising, PredatorPrey
from tests import naive

ISING = Ising(2.3, 0.1)
CLUSTERS = ["s s (1,1)", "s s s (0,1)(1,0)(0,-1)"]
KNOWN = CorrelationClosure(n_closure=2, library=CLUSTERS)
SHORT = Training(max_epochs=2, batch_size=32)
SPINS = ISING.sample_initial(12, 8, random_state=1)


class Prey(PredatorPrey):
    """Predator and prey of which only the prey is observed: one closure is missing, mean v."""

    observable_names = fast_observables = ("mean prey",)
    observable_units = ("1",)
    observable_bounds = ((-np.inf, np.inf),)

    def density(self, x):
        return x[..., :1]


def mixed(simulator=ISING, known=KNOWN, **params):
    params = {"n_closure": 2, "training": SHORT, "random_state": 0} | params
    encoder = PatchEncoder("dense", hidden=(8,))
    return PatchAutoencoder(simulator, known=known, **{"encoder": encoder} | params)


def pairs_of(simulator=ISING, X=SPINS, patch=4, p=4, **options):
    sampler = PartialEvolutionSampler(
        simulator, patch=Patches(patch, n_evolved=p), dt=0.2, random_state=0, **options
    )
    return sampler.fit_transform(X)


# --- moments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [4, 3])
def test_joint_moments_are_sums_over_events(p):
    """Every event is carried out, and the macrostates before and after it are compared."""
    pairs = pairs_of(X=SPINS[:3], p=p, moments=True)
    closure = mixed(patch=4).fit(SPINS)
    latent = closure.transform(pairs)
    lattice = ISING.lattice((8, 8))
    for pair, z, dz, cov in zip(pairs, latent["z"], latent["dz"], latent["cov"], strict=True):
        b, A = np.zeros(6), np.zeros((6, 6))
        for origin in pair["origin"].tolist():
            events = ISING.events(pair["x"], lattice, Window(tuple(origin), (4, 4)))
            Y = np.repeat(pair["x"][np.newaxis], len(events.rates), axis=0)
            for y, sites, states in zip(Y, events.sites, events.states, strict=True):
                y.flat[sites] = states
            change = (closure.transform(Y) - z) * 4 / p
            b += events.rates @ change
            A += (change.T * events.rates) @ change
        np.testing.assert_allclose(dz, 0.2 * b, atol=1e-8 * np.abs(b).max())
        np.testing.assert_allclose(cov, 0.2 * A, atol=1e-8 * np.abs(A).max())
        root = np.sqrt(np.diag(cov))
        between = cov[2:4, 4:] / np.outer(root[2:4], root[4:])
        assert np.abs(between).max() > 0.02  # what zeros between the two kinds would miss


def test_joint_moments_of_a_diffusion():
    spde = PredatorPrey(c=0.2, sigma_u=0.3)
    pairs = pairs_of(spde, spde.sample_initial(2, 12, random_state=1), p=3, moments=True)
    known = CorrelationClosure(n_closure=2, library=["u u (0)", "u v (1)"])
    closure = mixed(spde, known, patch=4).fit(spde.sample_initial(12, 12, random_state=0))
    latent = closure.transform(pairs)
    for pair, dz, cov in zip(pairs, latent["dz"], latent["cov"], strict=True):
        lattice = spde.lattice(pair["x"].shape)
        drift, noise = spde.one_step(pair["x"], lattice, lattice.full_window)
        b, A = naive.diffusion_moments(
            pair["x"], drift, noise, lambda x: closure.transform(x[np.newaxis])[0]
        )
        np.testing.assert_allclose(dz, 0.2 * b, atol=1e-5 * np.abs(b).max())
        np.testing.assert_allclose(cov, 0.2 * A, atol=1e-5 * np.abs(A).max())


@pytest.mark.parametrize(
    ("simulator", "X", "library", "n_drawn"),
    [
        (ISING, SPINS[:1], CLUSTERS, 4),
        (PredatorPrey(), PredatorPrey().sample_initial(1, 8, random_state=0), ["u v (0)"], 3),
    ],
    ids=["jumps", "diffusion"],
)
@pytest.mark.statistical
def test_a_part_of_the_events_is_right_in_the_mean(simulator, X, library, n_drawn):
    rows = np.repeat(X, 200, axis=0)
    pairs = pairs_of(simulator, rows, p=X.size // 16 if X.ndim == 3 and X.shape[2] > 2 else 2,
                     moments=True)  # fmt: skip
    known = CorrelationClosure(n_closure=len(library), library=library)
    snapshots = simulator.sample_initial(12, 8, random_state=1)
    closure = mixed(simulator, known, n_closure=1, patch=4).fit(snapshots)
    whole = closure.transform(pairs[:1])
    drawn = closure.set_params(n_events_encoded=n_drawn).transform(pairs)
    m = simulator.n_observables + len(library)
    assert np.array_equal(drawn["dz"][:, :m], np.repeat(whole["dz"][:, :m], 200, axis=0))
    error = drawn["cov"].std(axis=0) / np.sqrt(200)
    size = np.sqrt(np.einsum("ii,jj->ij", *2 * [whole["cov"][0]]))
    off = np.abs(drawn["cov"].mean(axis=0) - whole["cov"][0])
    assert (off < 5 * error + 1e-6 * size).all()
    assert (np.linalg.eigvalsh(drawn["cov"]) > -1e-9 * size.max()).all()


def test_every_context_has_the_moments_of_its_own():
    simulators = [Ising(2.3, 0.1), Ising(3.5, 0.1)]
    one, two = (pairs_of(s, SPINS[:3], moments=True, context=("temperature",)) for s in simulators)
    both = np.concatenate([one, two])[[0, 3, 1, 4, 2, 5]]
    closure = mixed(known=clone(KNOWN).set_params(context=("temperature",))).fit(both)
    found = closure.transform(both)
    for k, own in enumerate((one, two)):
        alone = closure.transform(own)
        assert found[k::2].tobytes() == alone.tobytes()
    assert not np.allclose(found["cov"][::2], found["cov"][1::2])
    with pytest.raises(ValueError, match="Expected pairs of moments of Ising"):
        mixed().fit(both).transform(both)


# --- increments -----------------------------------------------------------------------------------


def test_increments_are_means_over_patches():
    pairs = pairs_of()
    closure = mixed().fit(pairs)
    single = np.zeros(
        (4, len(pairs)),
        snapshot_pair_dtype((8, 8), (4, 4), np.int8, n_axes=2, n_observables=2),
    )
    for name in single.dtype.names:
        single[name] = pairs[name] if name not in ("origin", "x_next") else 0
    for q in range(4):
        single["origin"][q, :, 0], single["x_next"][q, :, 0] = (
            pairs["origin"][:, q], pairs["x_next"][:, q]
        )  # fmt: skip
    single["n_evolved"] = 1
    parts = np.mean([closure.transform(own)["dz"] for own in single], axis=0)
    whole = closure.transform(pairs)
    np.testing.assert_allclose(whole["dz"], parts, atol=1e-12)
    assert whole["dz"][:, 2:].std(axis=0).min() > 0
    known = CorrelationClosure(ISING, library=CLUSTERS, n_closure=2).fit_transform(pairs)
    assert np.array_equal(whole["dz"][:, :4], known["dz"])
    assert np.array_equal(whole["z"][:, :4], known["z"])


def test_naive_increments_differ_by_where_they_start():
    """Eq. 9 has z in the place of the patch before: with all patches evolved there is no other."""
    for p, equal in ((4, True), (1, False)):
        pairs = pairs_of(p=p)
        closure = mixed().fit(pairs)
        own, published = (
            closure.set_params(increments=kind).transform(pairs)["dz"]
            for kind in ("patch", "naive")
        )
        same = [np.allclose(own[:, k], published[:, k], atol=1e-6) for k in range(6)]
        assert same == [equal] * 6


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_windows_that_tile_have_the_mean_of_the_whole(boundary):
    ising = Ising(2.3, boundary=boundary)
    functions = CorrelationClosure(ising, n_closure=2, library=CLUSTERS).fit(SPINS).functions
    grid = PatchGrid(ising.lattice((8, 8)), (4, 2))
    windows = [Window(tuple(origin), (4, 2)) for origin in grid.origins.tolist()]
    values = functions.of_windows(SPINS[0], windows)
    assert values.shape == (8, 4)
    np.testing.assert_allclose(values.mean(axis=0), functions.macrostates(SPINS[:1])[0], atol=1e-12)
    assert values.std(axis=0).min() > 0.01


# --- one estimator --------------------------------------------------------------------------------


@pytest.mark.parametrize("moments", [False, True])
def test_without_learned_closures_it_is_the_known_ones(moments):
    ising = Ising(2.3)
    pairs = pairs_of(ising, moments=moments)
    known = CorrelationClosure(ising, library=CLUSTERS, n_closure=2)
    closure = PatchAutoencoder(ising, n_closure=0, known=known).fit(pairs)
    alone = known.fit(pairs)
    assert closure.transform(pairs).tobytes() == alone.transform(pairs).tobytes()
    assert closure.transform(SPINS).tobytes() == alone.transform(SPINS).tobytes()
    assert closure.parity_ == alone.parity_
    assert sorted(alone.parity_) == [-1, -1, 1, 1]
    assert not hasattr(closure, "codec_")
    learned = closure.set_params(n_closure=1, training=SHORT).fit(pairs)
    assert learned.parity_ is None
    assert "parity" not in learned.transform(pairs).dtype.names


def test_names_tables_and_sizes():
    pairs = pairs_of()
    closure = mixed(n_closure=1).set_output(transform="pandas").fit(pairs)
    names = ["magnetisation", "domain wall density", *CLUSTERS, "closure0"]
    assert [*closure.get_feature_names_out()] == names
    larger = ISING.sample_initial(2, (4, 16), random_state=0)
    table = closure.transform(larger)
    assert [*table.columns] == names
    assert closure.n_latent_ == table.shape[1] == 5
    assert closure.codec_.net.n_observables == 4
    assert closure.inverse_transform(table).shape == (2, 8, 8)
    with pytest.raises(ValueError, match=r"more than \(4, 4\) cells"):
        mixed(known=CorrelationClosure(n_closure=1, library=["s s (0,4)"])).fit(pairs).transform(
            larger
        )
    chain = PredatorPrey().sample_initial(9, 12, random_state=0)  # a patch divides 16, too
    known = CorrelationClosure(n_closure=1, library=["u v (1)"])
    fitted = mixed(PredatorPrey(), known, patch=4).fit(chain)
    assert fitted.transform(PredatorPrey().sample_initial(2, 16, random_state=0)).shape == (2, 5)


def test_parameters_of_the_parts():
    closure = PatchAutoencoder(ISING, n_closure=0).set_params(known__n_closure=1)
    assert closure.known.n_closure == 1
    copy = clone(closure).set_params(encoder__hidden=(4,), known__criterion="drift")
    assert (copy.encoder.hidden, copy.known.criterion) == ((4,), "drift")
    assert (closure.encoder, closure.known.criterion) == ("auto", "lasting")
    assert closure.fit(SPINS).known_.simulator_ is ISING
    for wrong, match in (
        ({"known": "s s (1,1)"}, "Expected known to be a CorrelationClosure or None, but got 's s"),
        ({"known": CorrelationClosure(n_closure=-1)}, "Expected n_closure"),
        ({"encoder": 3}, "Expected encoder to be a PatchEncoder or one of auto, dense, conv"),
        ({"encoder": "deep"}, "Expected encoder to be one of"),
        ({"encoder": PatchEncoder(hidden=[-1])}, "hidden"),
    ):
        with pytest.raises(ValueError, match=match):
            PatchAutoencoder(ISING, **wrong).fit(SPINS)


def test_a_training_resumes_with_its_known_closures_alone(tmp_path):
    pairs = pairs_of()
    first = mixed(checkpoint_dir=tmp_path).fit(pairs)
    again = mixed(checkpoint_dir=tmp_path).fit(pairs)
    assert first.transform(pairs).tobytes() == again.transform(pairs).tobytes()
    assert first.history_ == again.history_
    other = clone(KNOWN).set_params(library=["s s (0,2)", "s s (1,1)"])
    with pytest.raises(ValueError, match=r"known.*library"):
        mixed(known=other, checkpoint_dir=tmp_path).fit(pairs)


def test_a_file_has_known_closures_of_its_simulator(tmp_path):
    closure = mixed().fit(SPINS)
    save(closure, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert loaded.transform(SPINS).tobytes() == closure.transform(SPINS).tobytes()
    assert loaded.known_.simulator_ is loaded.simulator_
    closure.known_.simulator_ = CurieWeiss()
    with pytest.raises(ValueError, match="Expected simulator of known_ to be"):
        save(closure, tmp_path / "b.safetensors")


def test_streamed_pairs_are_the_same():
    sampler = PartialEvolutionSampler(ISING, patch=4, moments=True, random_state=0)
    groups = np.arange(len(SPINS)) // 2
    for closure in (mixed(), mixed(known=CorrelationClosure(), n_closure=0)):
        streamed = StreamedPairs(None, sampler, closure, batch_size=5)
        whole = clone(closure).fit_transform(sampler.fit(SPINS).transform(SPINS, groups))
        assert streamed.fit_transform(SPINS, groups=groups).tobytes() == whole.tobytes()


# --- what is learned, and how many ----------------------------------------------------------------


@pytest.mark.statistical
def test_learned_closures_tell_what_the_known_ones_leave_out():
    """v has a mean that varies much and a slope that varies less: one closure takes the mean."""
    rng, place = np.random.default_rng(0), np.linspace(-1, 1, 6)
    mean, slope = rng.normal(size=(2, 300, 1)) * [[[1.0]], [[0.7]]]
    X = np.stack([0.5 + 0 * place + 0 * mean, mean + slope * place], axis=-1)
    training = Training(max_epochs=40, batch_size=32, patience=40, lr=2e-2)
    for known, left in ((None, 1.0), (CorrelationClosure(library=["v"], n_closure=1), 0.0)):
        closure = mixed(
            Prey(), known, n_closure=1, encoder=PatchEncoder(hidden=()), training=training
        ).fit(X)
        z = closure.transform(X)
        unknown = slope - z @ np.linalg.lstsq(z, slope)[0]
        assert unknown.var() / slope.var() == pytest.approx(left, abs=0.01)


@pytest.mark.statistical
@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")  # of one closure too many
def test_one_grid_over_both_kinds_finds_how_many_are_needed():
    """Fields that are nearly uniform: mean v is all that is missing, and more is noise."""
    prey = Prey(sigma_u=0.005, sigma_v=0.005, amplitude_range=(0.0, 0.0), mean_range=(0.2, 0.6))
    rng = np.random.default_rng(0)
    X = prey.sample_initial(30, 8, random_state=0)
    X[..., 1] = rng.uniform(0.2, 0.8, (30, 1))
    X = np.concatenate([prey.advance(X, duration=t, random_state=0)[0] for t in (0.01, 1.0, 3.0)])
    start = prey.sample_initial(6, 8, random_state=1)
    start[..., 1] = np.linspace(0.2, 0.8, 6)[:, np.newaxis]
    times = np.linspace(0.0, 2.0, 5)
    truth = prey.simulate(start, times, observe=True, random_state=2)
    learned = PatchAutoencoder(
        prey, encoder=PatchEncoder(hidden=()), random_state=0,
        training=Training(max_epochs=15, batch_size=16, lr=2e-2),
    )  # fmt: skip
    known = CorrelationClosure(prey, library=["v", "v v (1)"])
    both = clone(learned).set_params(n_closure=0, known=known)
    pipe = Pipeline(
        [
            ("evolve", PartialEvolutionSampler(prey, patch=4, dt=0.01, random_state=0)),
            ("closure", known),
            ("sde", PatchSDERegressor(drift_model=Polynomial(2), diffusion_model="constant")),
        ]
    )
    search = GridSearchCV(
        pipe,
        [
            {"closure": [known, learned], "closure__n_closure": [0, 1, 2]},
            {"closure": [both], "closure__known__n_closure": [0, 1, 2]},
        ],
        scoring=PathScorer(ReferencePaths(start, truth, times), "mean_path", dt=0.05),
        cv=GroupKFold(2),
        error_score="raise",
    )
    with config_context(enable_metadata_routing=True):
        search.fit(X, groups=np.tile(np.arange(30), 3))
    errors = -search.cv_results_["mean_test_score"].reshape(3, 3)
    assert errors.argmin(axis=1).tolist() == [1, 1, 1]
    assert (errors[:, 1] < 0.2 * errors[:, 0]).all()
    assert errors[2].tolist() == errors[0].tolist()
