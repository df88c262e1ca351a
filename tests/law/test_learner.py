"""The learner: what it refuses, how it goes on, and that paths are those of the law it found."""

import os
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline

from sklmacro import ActiveLearner, PatchSDERegressor, load, make_macro_pipeline, save
from sklmacro.checkpoint import rows
from sklmacro.law import learner as module
from sklmacro.law.time_scale import TimeFactor
from sklmacro.simulators import Ising

ISING = Ising(temperature=4.0)
START = ISING.sample_initial(2, 24, observables="even", random_state=1)
FEW = {"n_kept": 8, "n_passes": 8}
SITE_TIME = 256 * 8 * 4 * ISING.pair_time  # of a snapshot: each pass visits every site 4 times


def pipeline(large=16, ising=ISING):
    own = make_macro_pipeline(ising, small=8, large=large, random_state=0)
    place = "pairs__upsample" if isinstance(large, list) else "upsample"
    return own.set_params(**{f"{place}__relaxation__{name}": n for name, n in FEW.items()})


def learner(large=16, **options):
    settings = {"small": 8, "duration": 3.0, "n_initial": 6, "n_joint": 4, "random_state": 0}
    return ActiveLearner(pipeline(large), **settings | {"tolerance": 0.1} | options)


def paths_of(learned, **options):
    return learned.simulate(START, 8, 0.25, n_paths=2, random_state=0, **options)


@pytest.fixture(scope="module")
def learned():
    return learner().fit(START)


def two_rounds(**options):
    """A learner that ends after two rounds."""
    one = learner(n_initial=4, tolerance=1e-9, **options)
    return one.set_params(max_site_time=1.5 * 4 * SITE_TIME, n_joint=0)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_initial": 3}, "n_initial to be an integer"),
        ({"n_joint": -1}, "n_joint to be an integer"),
        ({"duration": 0.0}, "duration to be a finite real number with 0 <"),
        ({"tolerance": 0.0}, "tolerance to be a finite real number with 0 <"),
        ({"max_site_time": np.inf}, "max_site_time to be a finite real number"),
        ({"dt": -0.1}, "dt to be a finite real number with 0 <"),
        ({"context": ["temperature"]}, "the range of each parameter by its name, but got"),
        ({"context": {"temperature": 3.0}}, r"Expected a range \(low, high\) of temperature"),
        ({"context": {"temperature": (4, 3)}}, r"but got \(4, 3\); leave out what has one value"),
        ({"context": {"temperature": (3, "4")}}, r"context\['temperature'\] to be a finite real"),
        ({"context": {"pressure": (3, 4)}}, "Invalid parameter 'pressure' for estimator Ising"),
        ({"pipeline": make_pipeline(PatchSDERegressor())}, "steps upsample, evolve, closure, sde"),
        ({"pipeline": PatchSDERegressor()}, "but got PatchSDERegressor.*use make_macro_pipeline"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        learner().set_params(**options).fit(START)


@pytest.mark.parametrize("rows", [[3.0, 3.5], [[3.0], [3.5], [4.0]], [np.nan], [[[3.0]]]])
def test_context_of_another_shape_is_refused(rows):
    with pytest.raises(ValueError, match="finite values of temperature for each of 2 starts, or"):
        learner(context={"temperature": (3, 5)}).fit(START, context=rows)


def test_context_without_parameters_is_refused():
    with pytest.raises(ValueError, match="Expected finite values of no parameter"):
        learner().fit(START, context=[3.0])


def test_another_size_is_refused_where_correlations_are_long(learned):
    assert 0 < learned.correlation_length_ < 4  # exact: 1.2 along an axis
    own = START[:, :16, :16]
    assert paths_of(learned).shape == (4, 9, learned._closure.n_latent_)
    length, learned.correlation_length_ = learned.correlation_length_, 4.1
    try:
        message = "at most 4.0 cells, a quarter .* for one of 576 sites, but got 4.1"
        with pytest.raises(ValueError, match=message):
            paths_of(learned)
        learned.simulate(own, 2, 0.25)  # the size that it was learned at
    finally:
        learned.correlation_length_ = length


# --- rounds ---------------------------------------------------------------------------------------


def test_a_law_that_is_sure_takes_one_round(learned):
    assert [one.n_snapshots for one in learned.rounds_] == [6]
    assert learned.error_ == learned.rounds_[0].error <= learned.tolerance
    assert np.unique(learned.pairs_["group"]).tolist() == list(range(6))
    joint = 4 * 256 * learned.time_factor_.times[-1]
    assert learned.site_time_ == pytest.approx(6 * SITE_TIME + joint)


@pytest.mark.parametrize("n_joint", [0, 6])
def test_no_round_is_begun_that_would_exceed_the_budget(n_joint, capsys):
    first = learner(tolerance=1e-9, n_joint=n_joint, max_site_time=1.0, verbose=True)
    with pytest.warns(ConvergenceWarning, match="is left after .* site updates; raise max_site"):
        first.fit(START)
    assert len(first.rounds_) == 1  # but for the first
    price = first.site_time_
    line = capsys.readouterr().out.splitlines()
    assert len(line) == 1
    assert line[0].startswith(f"round 0: 6 snapshots, {price:.2e} site updates; error of the mean")
    assert ("time factor" in line[0]) == bool(n_joint)
    budget = 1.9 * price  # enough for some snapshots, not for as many
    more = first.set_params(max_site_time=budget)
    with pytest.warns(ConvergenceWarning):
        more.fit(START)
    assert more.rounds_[0].site_time == price
    assert len(more.rounds_) > 1
    assert more.site_time_ <= budget
    assert len(capsys.readouterr().out.splitlines()) == len(more.rounds_)


def test_an_interrupted_fit_resumes_to_the_last_bit(tmp_path, monkeypatch):
    expected = two_rounds()
    with pytest.warns(ConvergenceWarning):
        expected.fit(START)
    assert len(expected.rounds_) == 2
    again = two_rounds(checkpoint_dir=tmp_path)
    monkeypatch.setattr(rows, "INTERVAL", 0.0)  # whatever is ready is written
    monkeypatch.setattr(rows, "SHARE", np.inf)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    predict, left = module.predict, [1]

    def interrupted(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return predict(*arguments)

    monkeypatch.setattr(module, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        again.fit(START)
    assert "resumes it" in interrupt.value.__notes__[0]
    assert len(list((tmp_path / "fit").glob("round-*"))) == 2
    monkeypatch.setattr(module, "predict", predict)
    advanced = []
    monkeypatch.setattr(
        Ising, "advance_windows", lambda *arguments: advanced.append(arguments), raising=True
    )  # what is saved is not simulated again
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        again.fit(START)
    assert not advanced
    np.testing.assert_array_equal(again.pairs_, expected.pairs_)
    assert again.rounds_ == expected.rounds_
    np.testing.assert_array_equal(paths_of(again), paths_of(expected))
    other = two_rounds(checkpoint_dir=tmp_path).set_params(duration=4.0)
    with pytest.raises(ValueError, match=r"duration=3.0, not 4.0"):
        other.fit(START)


# --- the law --------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_law_and_another_another(learned):
    same, other = learner().fit(START), learner(random_state=1).fit(START)
    np.testing.assert_array_equal(same.pairs_, learned.pairs_)
    np.testing.assert_array_equal(paths_of(same), paths_of(learned))
    assert same.rounds_ == learned.rounds_
    assert not np.array_equal(paths_of(other)[:, -1, 0], paths_of(learned)[:, -1, 0])


def test_time_is_scaled_where_runs_are_slower(learned, monkeypatch):
    """Of a law that is slower by c, drift and covariance are c times as large."""
    found = TimeFactor((4.0, 16.0), (0.6, 0.5), (0.01, 0.01), (1e3, 1e3))
    monkeypatch.setattr(module, "estimate_time_factor", lambda *arguments: found)
    slow = learner().fit(START)
    np.testing.assert_array_equal(slow.pairs_["dt"], 2 * learned.pairs_["dt"])
    z = slow._closure.transform(START)
    np.testing.assert_allclose(slow._sde.drift(z), learned._sde.drift(z) / 2, rtol=1e-6)
    np.testing.assert_allclose(slow._sde.diffusion(z), learned._sde.diffusion(z) / 2, rtol=1e-6)


@pytest.mark.parametrize("large", [16, [16, 24]])
def test_saved_and_loaded_learners_give_the_same_paths(large, learned, tmp_path):
    own = learned if large == 16 else learner(large, n_joint=0).fit(START)
    save(own, tmp_path / "law")
    loaded = load(tmp_path / "law")
    np.testing.assert_array_equal(paths_of(loaded), paths_of(own))
    np.testing.assert_array_equal(loaded.pairs_, own.pairs_)
    assert loaded.rounds_ == own.rounds_
    assert loaded.time_factor_ == own.time_factor_
    assert loaded._sde.sizes_.n_sites == ((256,) if large == 16 else (256, 576))


@pytest.mark.statistical
def test_one_law_knows_all_temperatures():
    ranges = {"temperature": (3.0, 6.0)}
    law = learner(context=ranges, n_initial=12, n_joint=0).fit(START)
    assert law._closure.context == ("temperature",)
    values = np.unique(law.pairs_["context"])
    assert len(values) == 12
    assert 3.0 <= values.min() < 3.5
    assert 5.5 < values.max() <= 6.0
    temperatures = np.array([[3.2], [5.5]])
    paths = law.simulate(START, 80, 0.25, context=temperatures, n_paths=8, random_state=0)
    walls = paths[:, 40:, 1].mean(axis=1).reshape(2, 8).mean(axis=1)
    # Energy of the square lattice, L. Onsager, Phys. Rev. 65, 117 (1944)
    exact = [onsager_walls(T) for T in temperatures[:, 0]]
    np.testing.assert_allclose(walls, exact, atol=0.02)
    assert exact[1] - exact[0] > 0.08  # control: one value does not do for both


def onsager_walls(temperature):
    """Exact share of unlike neighbours, (1 - <s s'>) / 2 over 2 a site, at zero field."""
    K = 1 / temperature
    k = 2 * np.sinh(2 * K) / np.cosh(2 * K) ** 2
    theta = (np.arange(2000) + 0.5) * np.pi / 4000
    elliptic = np.mean(1 / np.sqrt(1 - (k * np.sin(theta)) ** 2)) * np.pi / 2
    inner = 2 * np.tanh(2 * K) ** 2 - 1
    correlation = (1 + 2 / np.pi * inner * elliptic) / np.tanh(2 * K) / 2
    return (1 - correlation) / 2
