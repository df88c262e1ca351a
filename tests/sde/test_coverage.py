"""What the data of a fit cover, and what is told of paths that leave them."""

import warnings

import numpy as np
import pytest

from sklmacro import (
    DivergedPathsWarning,
    PatchSDERegressor,
    Polynomial,
    SDEEnsemble,
    UncoveredPathsWarning,
    load,
    save,
)
from sklmacro.pairs import latent_pairs
from sklmacro.scoring import PathScorer, ReferencePaths
from sklmacro.sde.coverage import MARGIN, Coverage
from tests import naive


def fit(z, rate=-0.5, noise=0.2, dt=0.1, **params):
    rng = np.random.default_rng(1)
    dz = rate * z * dt + noise * np.sqrt(dt) * rng.standard_normal(z.shape)
    options = {"drift_model": "linear", "diffusion_model": "constant", "dt": dt} | params
    return PatchSDERegressor(**options).fit(z, dz)


def uniform(n=2000, d=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, d))


def said(simulate):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulate()
    return [str(w.message) for w in caught if w.category is UncoveredPathsWarning]


@pytest.mark.parametrize("d", [1, 2, 5])
def test_every_state_of_the_fit_is_covered_and_distances_are_those_of_the_plain_loop(d):
    z = uniform(700, d)
    coverage = Coverage.of(z, np.ones(d))
    assert (coverage.distances(z) <= coverage.radius + 1e-12).all()
    asked = 3 * uniform(50, d, seed=1)
    np.testing.assert_allclose(coverage.distances(asked), naive.distances(coverage, asked))


@pytest.mark.parametrize(("d", "n"), [(1, 500), (2, 500), (3, 300), (5, 3000)])
@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_few_more_states_of_the_same_law_are_outside(law, d, n):
    """No more than are said to be; false alarms in 0 of 40 seeds of each."""
    rng = np.random.default_rng(0)
    coverage = Coverage.of(getattr(rng, law)(size=(n, d)), np.ones(d))
    more = getattr(rng, law)(size=(20_000, d))
    assert (coverage.distances(more) > coverage.reach).mean() < coverage.unseen


def test_a_hole_is_not_covered_though_a_box_would_be():
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 3000)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    sde = fit(ring)
    assert sde.covers(1.05 * ring[:50]).all()
    assert not sde.covers([[0.0, 0.0], [0.1, -0.1]]).any()


@pytest.mark.parametrize("unit", [1e-100, 1e-13, 2.0**40, 1e100])
def test_coverage_does_not_depend_on_units(unit):
    z, asked = uniform(300, 2), 2 * uniform(100, 2, seed=1)
    one, other = Coverage.of(z, np.ones(2)), Coverage.of(z * unit, np.ones(2))
    np.testing.assert_allclose(other.distances(asked * unit), one.distances(asked), rtol=1e-10)


def test_other_values_of_a_constant_component_are_not_covered():
    z = np.hstack([uniform(), np.full((2000, 1), 2.269), np.zeros((2000, 1))])
    coverage = Coverage.of(z, np.ones(3))
    known = z[:3].copy()
    known[1, 1] = np.float32(2.269)
    assert (coverage.distances(known) <= coverage.reach).all()
    assert coverage.distances([[0.0, 2.3, 0.0], [0.0, 2.269, 1e-9]]).min() > coverage.reach


def test_mirror_images_are_covered():
    z = np.abs(uniform())
    assert not fit(z).covers(-z).all()
    assert fit(z, parity=[-1]).covers(-z).all()


def test_paths_within_the_data_are_silent():
    sde = fit(uniform())
    assert not said(lambda: sde.simulate(uniform(200, seed=3), 300, 0.1, random_state=0))
    wide = fit(np.random.default_rng(0).normal(0, 0.2, (2000, 1)))  # its stationary law
    assert not said(lambda: wide.simulate([[0.0]], 2000, 0.1, n_paths=100, random_state=0))


def test_paths_that_leave_are_counted_with_component_and_time():
    z = np.hstack([uniform(), uniform(seed=5)])
    sde = fit(z, rate=np.array([-0.5, 1.0]), noise=0.05)
    with pytest.warns(UncoveredPathsWarning) as caught:
        paths, record = sde.simulate(
            [[0.5, 0.9], [0.5, 0.0]], 20, 0.1, random_state=0, return_record=True
        )
    assert caught[0].filename == __file__
    left = ~sde.covers(paths.reshape(-1, 2)).reshape(2, 21)
    assert left[0].any()
    assert record.first_outside[0] == left[0].argmax()
    assert record.n_outside.tolist() == left.sum(axis=1).tolist()
    text = str(caught[0].message)
    assert f"{left.any(axis=1).sum()} of 2 simulated paths" in text
    assert f"at time {0.1 * left[0].argmax():g} in component 1; 0 start there" in text
    assert record.component[0] == 1


def test_starts_outside_are_told_of():
    sde = fit(uniform(), drift_model=Polynomial(degree=3))
    (text,) = said(lambda: sde.simulate([[0.2], [3.0]], 0, 0.1))
    assert "1 of 2 simulated paths" in text
    assert "at time 0 in component 0; 1 start there" in text
    assert not said(lambda: sde.simulate([[3.0]], 5, 0.1, outside="ignore"))


def test_a_single_path_far_away_is_told_of_among_many():
    sde = fit(uniform())
    starts = np.append(uniform(2999, seed=7), [[9.0]], axis=0)
    assert "1 of 3000" in said(lambda: sde.simulate(starts, 3, 0.1, random_state=0))[0]


def test_a_context_that_the_data_do_not_have_is_told_of():
    z = uniform()
    dz = -0.5 * z * 0.1
    pairs = latent_pairs(z, dz, 0.1, context=np.full((2000, 1), 2.5))
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant").fit(pairs)
    assert not said(lambda: sde.simulate([[0.5]], 5, 0.1, context=[2.5]))
    assert "context 0" in said(lambda: sde.simulate([[0.5]], 5, 0.1, context=[2.6]))[0]


@pytest.mark.parametrize("store_every", [1, 7, 200])
def test_paths_outside_can_be_stopped(store_every):
    sde = fit(uniform(), rate=1.0, noise=0.1)
    options = {"n_paths": 20, "store_every": store_every, "random_state": 0}
    free = sde.simulate([[0.5], [5.0]], 400, 0.02, outside="ignore", **options)
    with pytest.warns(UncoveredPathsWarning):
        paths, record = sde.simulate(
            [[0.5], [5.0]], 400, 0.02, outside="stop", return_record=True, **options
        )
    outside = ~sde.covers(free.reshape(-1, 1)).reshape(free.shape[:2])
    for own, other, where in zip(paths, free, outside, strict=True):
        first = max(where.argmax(), 1) if where.any() else len(own)
        assert np.array_equal(own[:first], other[:first])
        assert np.isnan(own[first:]).all()
    assert np.array_equal(record.stopped, outside.any(axis=1))
    assert not record.diverged.any()


def test_bounds_do_not_hide_a_path_that_runs_against_them():
    sde = fit(uniform(), rate=1.0, noise=0.05, bounds=[(-1.0, 1.0)])
    with pytest.warns(DivergedPathsWarning, match="5 of 5 .* 5 were held by their bounds"):
        _, record = sde.simulate([[0.9]], 200, 0.1, n_paths=5, random_state=0, return_record=True)
    assert (record.n_contacts > 100).all()
    assert (record.excess > 0).all()
    with pytest.warns(DivergedPathsWarning, match="3 were held"):  # steps that are too long
        fit(uniform(), bounds=[(-1.0, 1.0)]).simulate([[0.9]], 3, 50.0, n_paths=3)
    calm = fit(uniform(), bounds=[(-1.0, 1.0)])  # contacts by noise alone
    paths, record = calm.simulate([[0.9]], 300, 0.1, n_paths=50, random_state=0, return_record=True)
    assert record.n_contacts.any()
    assert not record.held.any()
    assert np.abs(paths).max() == 1.0


def test_an_ensemble_tells_once_of_all_its_members():
    z = uniform(400)
    dz = 0.1 * z + 0.01 * np.random.default_rng(0).standard_normal(z.shape)
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
    ensemble = SDEEnsemble(sde, n_members=3, random_state=0).fit(z, dz)
    assert ensemble.covers([[0.0], [3.0]]).tolist() == [True, False]
    (text,) = said(lambda: ensemble.simulate([[0.5]], 60, 1.0, n_paths=7, random_state=0))
    assert "7 of 7 simulated paths" in text
    (text,) = said(lambda: ensemble.simulate_members([[0.5]], 60, 1.0, n_paths=7, random_state=0))
    assert "21 of 21 simulated paths" in text


def test_a_score_is_the_share_outside():
    sde = fit(uniform(), rate=1.0, noise=0.05)
    times = np.arange(0.0, 4.1, 0.1)
    reference = ReferencePaths(np.array([[0.5], [0.1]]), np.zeros((2, len(times), 1)), times)
    with pytest.warns(UncoveredPathsWarning):
        score = PathScorer(reference, "outside", random_state=3)(sde)
    paths = sde.simulate(reference.x0, len(times) - 1, 0.1, outside="ignore", random_state=3)
    assert score == -(~sde.covers(paths.reshape(-1, 1))).mean()
    assert -1 < score < 0


def test_a_file_keeps_what_is_covered(tmp_path):
    sde = fit(uniform(300, 2))
    save(sde, tmp_path / "sde.safetensors")
    asked = 2 * uniform(200, 2, seed=1)
    assert np.array_equal(load(tmp_path / "sde.safetensors").covers(asked), sde.covers(asked))


def test_a_model_of_an_earlier_file_says_that_it_does_not_know():
    sde = fit(uniform())
    del sde.coverage_
    assert not said(lambda: sde.simulate([[9.0]], 3, 0.1))
    with pytest.warns(DivergedPathsWarning, match="1 of 1"):
        sde.simulate([[9.0]], 900, 50.0)
    with pytest.raises(ValueError, match=r"knows what its data cover.*fit it again"):
        sde.covers([[0.0]])


def test_margins_are_half_a_standard_deviation():
    sde = fit(uniform())
    reach = (MARGIN + sde.coverage_.radius) / np.sqrt(3)  # the standard deviation is 1 / sqrt 3
    assert sde.covers([[1 + 0.95 * reach], [1 + 1.05 * reach]]).tolist() == [True, False]
