"""States kept along LocalRelax: their ages, their law, and their way through the estimators."""

import numpy as np
import pytest
from numpy.lib.recfunctions import rename_fields
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from sklmacro import (
    CorrelationClosure,
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    Patches,
    PatchSDERegressor,
    StreamedPairs,
    Training,
)
from sklmacro.pairs import is_relaxed, relaxed_dtype
from sklmacro.sampling.relaxed import spread_ages
from sklmacro.simulators import Ising, LinearChain, PredatorPrey

ISING = Ising(temperature=2.5, field=0.1)
SMALL = ISING.sample_initial(6, 8, random_state=0)
RELAX = LocalRelax(duration=0.25, n_passes=8, n_kept=6)


def upsampler(relaxation=RELAX, **options):
    options = {"method": "shuffle", "random_state": 3} | options
    return HierarchicalUpsampler(ISING, relaxation=relaxation, **options)


RELAXED = upsampler().fit_transform(SMALL)


def test_every_source_has_states_in_order_of_age():
    assert is_relaxed(RELAXED)
    assert RELAXED.dtype == relaxed_dtype((16, 16), np.int8)
    assert RELAXED["group"].tolist() == np.repeat(np.arange(6), 6).tolist()
    ages = RELAXED["age"].reshape(6, 6)
    np.testing.assert_array_equal(ages, np.tile(ages[0], (6, 1)))
    np.testing.assert_allclose(ages[0, [0, 1, -1]], [0, 0.05, 4 * 0.25 * 8])
    np.testing.assert_allclose(np.diff(np.log(ages[0, 1:])), np.log(160) / 4)
    made = upsampler(relaxation=None).fit_transform(SMALL)  # what Upsample made
    np.testing.assert_array_equal(RELAXED["x"][::6], made)


def test_ages_reach_the_end_however_short_or_long():
    for last, n_kept in ((1e-3, 5), (0.5, 2), (120.0, 31), (1e4, 3)):
        ages = spread_ages(last, n_kept, 0.5)
        assert len(ages) == n_kept
        assert (ages[0], ages[-1]) == (0.0, last)
        assert (np.diff(ages) > 0).all()
        assert n_kept == 2 or ages[1] <= 0.05 * (1 + 1e-12)


def test_one_state_is_that_of_the_whole_relaxation():
    """As without n_kept, the same bits; the cost is the same for any number of states."""
    plain = LocalRelax(duration=0.25, n_passes=8)
    one = LocalRelax(duration=0.25, n_passes=8, n_kept=1)
    large = upsampler(plain).fit_transform(SMALL)
    np.testing.assert_array_equal(large, upsampler(one).fit_transform(SMALL))
    assert large.dtype == np.int8
    for relaxation in (plain, RELAX):
        assert upsampler(relaxation).fit(SMALL).site_time(SMALL) == 6 * 256 * 8.0
    twice = upsampler(RELAX, n_iter=2, n_repeats=3).fit(SMALL)
    assert twice.site_time(SMALL) == 3 * 6 * (256 + 1024) * 8.0
    assert twice.transform(SMALL)["x"].shape == (3 * 6 * 6, 32, 32)
    assert upsampler(None).fit(SMALL).site_time(SMALL) == 0
    assert np.isnan(upsampler(LocalRelax(n_events=1)).fit(SMALL).site_time(SMALL))


def visited(relaxation, lattice_cells, simulator=ISING):
    """Mean number of visits to a site, counted one by one."""
    small = simulator.sample_initial(1, 8, random_state=0)[0]
    lattice = simulator.lattice((*lattice_cells, *small.shape[len(lattice_cells) :]))
    visits = relaxation.visits(simulator, simulator.lattice(small.shape), lattice)
    count = np.zeros(lattice.cells)
    for origin in visits.origins(1, np.random.default_rng(0)).tolist():
        count[lattice.mesh(tuple(origin), visits.evolver.extent)] += 1
    return visits.per_pass, count.mean()


@pytest.mark.parametrize("cells", [(16, 16), (12, 20), (8, 8), (8, 24)])
@pytest.mark.parametrize("stride", [None, 3, 8])
def test_age_counts_the_visits_to_a_site(cells, stride):
    per_pass, counted = visited(LocalRelax(stride=stride), cells)
    assert per_pass == pytest.approx(counted)
    per_pass, counted = visited(LocalRelax(stride=stride), cells[1:], LinearChain())
    assert per_pass == pytest.approx(counted)


@pytest.mark.statistical
def test_states_of_a_chain_have_the_exact_law_of_their_age():
    """With one patch for the whole lattice LocalRelax is the dynamics."""
    chain, n = LinearChain(force=3.0), 3000
    relaxation = LocalRelax(duration=0.5, n_passes=4, n_kept=4, patch=6)
    up = HierarchicalUpsampler(chain, factor=1, n_repeats=n, relaxation=relaxation, random_state=1)
    start = chain.sample_initial(1, 6, random_state=0)
    relaxed = up.fit_transform(start).reshape(n, 4)
    assert relaxed["age"][0, -1] == 2.0

    def distance(age, x):
        """Means in standard errors, and variances relative to those of a time `age`."""
        matrix, offset, covariance = chain.transition(6, age)
        expected, variance = matrix @ start[0] + offset, np.diag(covariance)
        errors = np.abs(x.mean(axis=0) - expected) / np.sqrt(variance / n)
        return errors.max(), np.abs(x.var(axis=0) / variance - 1).max() / np.sqrt(2 / n)

    for k in range(1, 4):
        age, x = relaxed["age"][0, k], relaxed["x"][:, k]
        assert max(distance(age, x)) < 4.5
        assert max(distance(age / 2, x)) > 10  # negative control
    first = relaxed["x"][:, 1] - start[0]
    assert np.corrcoef(first[:, 0], relaxed["x"][:, 2, 0])[0, 1] > 0.05  # one trajectory


@pytest.mark.statistical
def test_states_of_patches_follow_the_dynamics_of_the_lattice():
    """At early ages, walls and magnetisation are those of direct simulation at that time."""
    small = ISING.sample_initial(1, 8, random_state=4)
    relaxation = LocalRelax(duration=0.1, n_passes=10, n_kept=5)
    up = upsampler(relaxation, n_repeats=400, factor=2)
    relaxed = up.fit_transform(np.repeat(small, 2, axis=0))
    z = ISING.observe(relaxed["x"]).reshape(800, 5, 2)
    ages = relaxed["age"][:5]
    truth = ISING.simulate(relaxed["x"][::5], ages, observe=True, random_state=5)

    def difference(a, b):
        spread = np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
        return np.abs(a.mean(axis=0) - b.mean(axis=0)) / np.maximum(spread, 1e-12)

    assert difference(z, truth).max() < 5
    assert difference(z[:, 3:], truth[:, 2:-1]).max() > 10  # negative control: ages that are wrong


def test_bits_do_not_depend_on_workers_batches_or_files(tmp_path):
    for options in (
        {"n_jobs": 2},
        {"out": tmp_path / "relaxed.npy"},
        {"checkpoint_dir": tmp_path / "parts"},
        {"checkpoint_dir": tmp_path / "parts", "out": tmp_path / "again.npy"},
    ):
        np.testing.assert_array_equal(upsampler(**options).fit_transform(SMALL), RELAXED)
    up = upsampler().fit(SMALL)
    half = up.grow(up.starts(SMALL, np.arange(3, 6)), 3)
    np.testing.assert_array_equal(half, RELAXED[18:])


def test_a_range_of_durations_gives_every_snapshot_ages_of_its_own():
    relaxed = upsampler(LocalRelax(duration=(0.1, 1.0), n_passes=2, n_kept=3)).fit(SMALL)
    ages = relaxed.transform(SMALL)["age"].reshape(6, 3)
    assert len(set(ages[:, -1])) == 6
    assert ((ages[:, -1] > 0.8) & (ages[:, -1] < 8.0)).all()


SAMPLER = PartialEvolutionSampler(ISING, patch=Patches(8, n_evolved=2), random_state=1)
CLOSURE = PatchAutoencoder(
    ISING,
    patch=8,
    n_closure=1,
    encoder=PatchEncoder(hidden=(8,)),
    training=Training(max_epochs=1),
    random_state=2,
)


def test_pairs_carry_age_and_group_to_the_model():
    pairs = clone(SAMPLER).fit_transform(RELAXED)
    plain = clone(SAMPLER).fit_transform(RELAXED["x"])
    latent = PatchAutoencoder(ISING, n_closure=0).fit_transform(pairs)
    for field in ("age", "group"):
        np.testing.assert_array_equal(pairs[field], RELAXED[field])
        np.testing.assert_array_equal(latent[field], RELAXED[field])
    assert "age" not in plain.dtype.names
    for field in ("x", "x_next", "d_obs"):
        np.testing.assert_array_equal(pairs[field], plain[field])
    model = PatchSDERegressor(drift_model="linear", diffusion_model="constant", random_state=0)
    without = PatchAutoencoder(ISING, n_closure=0).fit_transform(plain)
    z = latent["z"][:5]
    np.testing.assert_array_equal(
        clone(model).fit(latent).drift(z), clone(model).fit(without).drift(z)
    )


def test_groups_that_are_given_count_and_those_of_fewer_rows_give_way():
    own = np.array([5, 5, 7, 7, 9, 9])
    relaxed = upsampler(n_repeats=2).fit(SMALL).transform(SMALL, own)
    assert relaxed["group"].tolist() == np.repeat(own, 12).tolist()
    pairs = clone(SAMPLER).fit(relaxed).transform(relaxed, own)  # as a pipeline hands them on
    assert pairs["group"].tolist() == relaxed["group"].tolist()
    with pytest.raises(ValueError, match="groups to be 6 integers"):
        upsampler().fit(SMALL).transform(SMALL, own[:5])


def test_moments_mirror_images_and_files_keep_ages(tmp_path):
    plain = Ising(temperature=2.5)
    sampler = PartialEvolutionSampler(
        plain, patch=8, moments=True, augment=True, random_state=0, out=tmp_path / "pairs.npy"
    )
    pairs = sampler.fit_transform(RELAXED)
    np.testing.assert_array_equal(pairs["age"], np.repeat(RELAXED["age"], 2))
    np.testing.assert_array_equal(pairs["group"], np.repeat(RELAXED["group"], 2))


def test_closures_take_relaxed_snapshots():
    by_row, by_source = (clone(CLOSURE).fit(X) for X in (RELAXED["x"], RELAXED))
    assert by_row.history_ != by_source.history_  # whole sources are held out
    given = clone(CLOSURE).fit(RELAXED["x"], groups=RELAXED["group"])
    assert given.history_ == by_source.history_
    np.testing.assert_array_equal(by_source.transform(RELAXED), by_source.transform(RELAXED["x"]))


def test_correlations_take_relaxed_snapshots():
    given, own = (
        CorrelationClosure(ISING, n_closure=2).fit(X).transform(X) for X in (RELAXED["x"], RELAXED)
    )
    np.testing.assert_array_equal(given, own)
    other = rename_fields(RELAXED, {"age": "time"})
    with pytest.raises(ValueError, match=r"Expected snapshot pairs .* got fields x, group, time"):
        CorrelationClosure(ISING, n_closure=2).fit(other)


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_streamed_states_are_those_of_the_steps(batch_size):
    closure = FrozenEstimator(clone(CLOSURE).fit(RELAXED))
    joint = clone(SAMPLER).set_params(patch__n_joint=12)
    streamed = StreamedPairs(upsampler(), joint, closure, batch_size=batch_size)
    expected = closure.transform(clone(joint).fit_transform(RELAXED))
    for X, one in ((SMALL, streamed), (RELAXED, clone(streamed).set_params(upsampler=None))):
        pairs = one.fit_transform(X)
        for name in expected.dtype.names:
            np.testing.assert_array_equal(pairs[name], expected[name], err_msg=name)
    trained = StreamedPairs(upsampler(), SAMPLER, CLOSURE, n_train=12).fit(SMALL)
    assert trained.transform(SMALL).shape == (36,)


WRONG = {
    "no duration": (LocalRelax(duration=None, n_kept=2), {}, "duration above 0 with n_kept=2"),
    "events": (LocalRelax(n_events=1, n_kept=2), {}, "duration above 0 .*n_events=1"),
    "no state": (LocalRelax(n_kept=0), {}, "n_kept to be an integer of at least 1, but got 0"),
    "no iteration": (RELAX, {"n_iter": 0}, "n_iter to be an integer of at least 1, but got 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_states_that_cannot_be_kept_are_refused(case):
    relaxation, options, text = WRONG[case]
    with pytest.raises(ValueError, match=text):
        upsampler(relaxation, **options).fit(SMALL)


def test_a_simulator_that_suggests_no_duration_is_named():
    spde = PredatorPrey()
    up = HierarchicalUpsampler(spde, relaxation=LocalRelax(n_kept=2))
    with pytest.raises(ValueError, match="relax_time of PredatorPrey is 0; pass a duration"):
        up.fit(spde.sample_initial(2, 10, random_state=0))
    up.set_params(relaxation__duration=0.1)
    assert up.fit_transform(spde.sample_initial(2, 10, random_state=0))["x"].shape == (4, 20, 2)
