"""Scores: the estimates against their definition and known laws, the scorer inside a search."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklmacro.measures.mmd import kernel_sum
from sklmacro.scoring import (
    WIDTHS,
    WORST_SCORE,
    PathScorer,
    ReferencePaths,
    mean_mmd2,
    mean_path_error,
    mmd2,
    mmd2_paths,
    std_ratio,
)
from tests import naive


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


# --- maximum mean discrepancy -------------------------------------------------------------------


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("widths", [WIDTHS, (0.3, 1.0, 1.7), (2,), (1, 1)])
@pytest.mark.parametrize(("n", "m", "d"), [(2, 3, 1), (9, 6, 2), (7, 7, 4)])
def test_mmd2_is_its_definition(n, m, d, widths, biased):
    """MMD of Fig. 2, against the sum over all pairs."""
    X, Y = normal(n, n, d), 1 + 2 * normal(m + 10, m, d)
    expected = naive.mmd2(X, Y, widths, biased)
    assert mmd2(X, Y, widths=widths, biased=biased) == pytest.approx(expected, abs=1e-12)
    assert abs(mmd2(X + 1e-3, Y, widths=widths, biased=biased) - expected) > 1e-6


def test_squarings_replace_the_exponentials():
    X, Y = 3 * normal(0, 2, 80), normal(1, 2, 70)  # (d, n)
    rates = np.sort(1 / (2 * np.asarray(WIDTHS) ** 2))
    for other, below in [(Y, False), (X, True)]:
        general = kernel_sum(X, other, rates, False, below)
        assert kernel_sum(X, other, rates, True, below) == pytest.approx(general, rel=1e-12)
        # Not for widths in another progression, which mmd2 must recognise.
        wrong = kernel_sum(X, other, 1.1 ** np.arange(6), True, below)
        assert wrong != pytest.approx(
            kernel_sum(X, other, 1.1 ** np.arange(6), False, below), rel=1e-2
        )


@pytest.mark.parametrize("scale", [2.0, [0.5, 4.0]])
def test_scale_divides_the_data(scale):
    X, Y = normal(0, 20, 2), normal(1, 30, 2)
    assert mmd2(X, Y, scale=scale) == pytest.approx(
        mmd2(X / np.asarray(scale), Y / np.asarray(scale)), rel=1e-12
    )


def test_order_of_samples_and_widths_is_immaterial():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(50, 3))
    for biased in (False, True):
        value = mmd2(X, Y, biased=biased)
        shuffled = mmd2(rng.permutation(X), rng.permutation(Y), widths=WIDTHS[::-1], biased=biased)
        assert shuffled == pytest.approx(value, abs=1e-13)


SAMPLE = arrays(float, st.tuples(st.integers(2, 6), st.just(2)), elements=st.floats(-1e3, 1e3))


@settings(deadline=None, derandomize=True)  # the kernel is compiled in the first example
@given(SAMPLE, SAMPLE)
def test_mmd2_is_symmetric_bounded_and_zero_for_one_sample(X, Y):
    for biased in (False, True):
        value = mmd2(X, Y, biased=biased)
        assert value == pytest.approx(mmd2(Y, X, biased=biased), abs=1e-13)
        assert -2 <= value <= 2 + 1e-13
    assert mmd2(X, Y, biased=True) >= 0
    assert mmd2(X, X[::-1], biased=True) == pytest.approx(0, abs=1e-13)


@pytest.mark.statistical
def test_mean_is_zero_under_equal_laws_only_if_unbiased():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(50, 2, 100, 2))
    # Mean of 50 estimates: standard deviation 4.7e-4, none of 400 means beyond 1.4e-3.
    assert abs(np.mean([mmd2(X, Y) for X, Y in pairs])) < 2e-3
    assert np.mean([mmd2(X, Y, biased=True) for X, Y in pairs]) > 2e-3  # about 1e-2


@pytest.mark.statistical
def test_a_shift_is_detected():
    X, Y = normal(2, 2, 300, 2)
    threshold = 0.02  # with 100 in the place of 300, exceeded in 14 of 20,000 draws from equal laws
    assert mmd2(X, Y) < threshold
    assert mmd2(X, Y + 1) > threshold
    assert mmd2(X, 2 * Y) > threshold  # with 100, in 1,997 of 2,000 draws


@pytest.mark.statistical
def test_normal_laws_give_the_closed_form():
    """E k of N(a, u^2) and N(b, v^2) in d dimensions, with q = s^2 + u^2 + v^2."""
    s, shift, ratio, d = 0.7, 0.5, 1.5, 2

    def mean_kernel(u, v, distance2):
        q = s**2 + u**2 + v**2
        return (s**2 / q) ** (d / 2) * np.exp(-distance2 / (2 * q))

    expected = (
        mean_kernel(1, 1, 0)
        + mean_kernel(ratio, ratio, 0)
        - 2 * mean_kernel(1, ratio, d * shift**2)
    )
    rng = np.random.default_rng(0)
    draws = [
        (rng.normal(size=(1000, d)), rng.normal(shift, ratio, size=(1000, d))) for _ in range(40)
    ]
    # Expected 0.0499. Mean of 40 estimates: standard deviation 1.0e-3.
    assert np.mean([mmd2(X, Y, widths=(s,)) for X, Y in draws]) == pytest.approx(expected, abs=4e-3)
    other = np.mean([mmd2(X, Y, widths=(2 * s,)) for X, Y in draws])  # about 0.081
    assert other != pytest.approx(expected, abs=4e-3)


# --- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("biased", [False, True])
def test_paths_are_compared_time_by_time(biased):
    P, Q = normal(0, 12, 5, 2), normal(1, 15, 5, 2) * [1, 100] + 3
    plain = mmd2_paths(P, Q, scale=None, biased=biased)
    assert plain.tolist() == [mmd2(P[:, t], Q[:, t], biased=biased) for t in range(5)]
    scale = np.sqrt(Q.var(axis=0, ddof=1).mean(axis=0))
    scaled = mmd2_paths(P, Q, biased=biased)
    np.testing.assert_allclose(scaled, mmd2_paths(P / scale, Q / scale, scale=None, biased=biased))
    assert mean_mmd2(P, Q, biased=biased) == scaled.mean()
    # In units of the reference, the units of the data are immaterial.
    np.testing.assert_allclose(mmd2_paths(P * [7, 0.1], Q * [7, 0.1], biased=biased), scaled)
    assert not np.allclose(plain, scaled)


def test_workers_do_not_show_in_the_result():
    P, Q = normal(0, 60, 13, 3), normal(1, 50, 13, 3)
    one = mmd2_paths(P, Q, n_jobs=1)
    for n_jobs in (None, 2, 3):
        np.testing.assert_array_equal(mmd2_paths(P, Q, n_jobs=n_jobs), one)


def test_a_component_without_spread_is_compared_with_its_value():
    Q = np.concatenate([normal(0, 20, 4, 1), np.full((20, 4, 1), 0.1)], axis=2)
    P = Q[::-1] + np.array([0, 0.05])
    expected = mmd2_paths(P, Q, scale=[np.sqrt(Q[..., 0].var(axis=0, ddof=1).mean()), 0.1])
    np.testing.assert_array_equal(mmd2_paths(P, Q), expected)
    for unit in (1e-100, 1e100):
        np.testing.assert_allclose(mmd2_paths(P * unit, Q * unit), expected)
    rounded = Q + np.array([0, 1e-16]) * np.arange(20)[:, np.newaxis, np.newaxis] % 3
    np.testing.assert_allclose(mmd2_paths(Q, rounded), mmd2_paths(Q, Q), atol=1e-12)
    from_zero = mmd2_paths(np.full_like(Q, 1e-100), 0 * Q, biased=True)
    np.testing.assert_array_equal(from_zero, mmd2_paths(np.ones_like(Q), 0 * Q, biased=True))
    assert from_zero.min() > 0.1


def test_inputs_are_only_read():
    P, Q = normal(0, 10, 4, 2), normal(1, 10, 4, 2)
    before = P.copy(), Q.copy()
    P.flags.writeable = Q.flags.writeable = False
    for biased in (False, True):
        mean_mmd2(P, Q, scale=None, biased=biased)
        mmd2(P[:, 0], Q[:, 0], biased=biased)
    mean_path_error(P, Q)
    std_ratio(P, Q)
    np.testing.assert_array_equal((P, Q), before)


def test_mean_path_error_on_constructed_paths():
    noise = normal(0, 30, 6, 2)
    noise -= noise.mean(axis=0)
    truth = np.arange(1, 13.0).reshape(6, 2)
    assert mean_path_error(truth + 5 * noise, truth + noise) == pytest.approx(0, abs=1e-25)
    # All components count together: 10 % off in the second alone.
    expected = 0.01 * (truth[:, 1] ** 2).sum() / (truth**2).sum()
    assert mean_path_error(truth * [1, 1.1] + noise, truth + noise) == pytest.approx(expected)


def test_std_ratio_on_constructed_paths():
    Q = normal(0, 40, 6, 2) * [1, 5]
    Q[:, 0] = [0.1, 0.7]  # the common start adds nothing
    np.testing.assert_allclose(std_ratio(3 + Q * [2, 0.5], Q), [2, 0.5])
    np.testing.assert_allclose(std_ratio(Q[:, 1:], Q[:, :-1]).shape, 2)
    # The average is over variances: doubling half of the times gives sqrt((1 + 4) / 2).
    Q = np.repeat(normal(1, 40, 1, 1), 6, axis=1)
    P = Q * np.array([1, 2] * 3)[:, np.newaxis]
    np.testing.assert_allclose(std_ratio(P, Q), np.sqrt(2.5))
    np.testing.assert_array_equal(std_ratio(np.full_like(Q, 0.1), Q), 0)
    # A component that the reference keeps is kept as well, or is not.
    Q = np.concatenate([Q, np.full_like(Q, 0.1)], axis=2)
    np.testing.assert_allclose(std_ratio(2 * Q, Q), [2, 1])
    np.testing.assert_allclose(std_ratio(Q + 0.01 * Q[..., :1], Q), [1.01, np.inf])


# --- reference and scorer -----------------------------------------------------------------------


class Decay(BaseEstimator):
    """dz = -rate z dt + noise dW, by Euler-Maruyama; `extra` components follow the observables."""

    def __init__(self, rate=1.0, noise=0.3, extra=0, fail=False):
        self.rate = rate
        self.noise = noise
        self.extra = extra
        self.fail = fail

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def simulate(self, z0, n_steps, dt, *, n_paths=1, random_state=None, store_every=1):
        rng = np.random.default_rng(random_state)
        z = np.repeat(np.asarray(z0, float), n_paths, axis=0)
        z = np.concatenate([z, 99 * np.ones((len(z), self.extra))], axis=1)
        stored = [z]
        for step in range(1, n_steps + 1):
            z = z - self.rate * z * dt + self.noise * np.sqrt(dt) * rng.normal(size=z.shape)
            if step % store_every == 0:
                stored.append(z)
        paths = np.stack(stored, axis=1)
        if self.fail:
            paths[0, -1] = np.nan
        return paths


def cut(X):
    """Pairs to pairs: a step that can be fitted but must not see the large snapshots."""
    assert X.ndim == 2
    return X[:, :1]


def mean(X):
    """Mean of a large snapshot."""
    return X.reshape(len(X), -1).mean(axis=1, keepdims=True)


TIMES = np.linspace(0, 2, 11)


@pytest.fixture
def reference():
    z0 = np.repeat([[2.0], [-1.0]], 100, axis=0)
    paths = Decay(rate=1.0).simulate(z0, 200, 0.01, random_state=1, store_every=20)
    return ReferencePaths(x0=z0, paths=paths, times=TIMES)


METRICS = ["mmd2", "mean_path", "std_ratio", partial(mean_mmd2, biased=True)]


@pytest.mark.statistical
@pytest.mark.parametrize("metric", METRICS)
def test_a_search_finds_the_parameter(reference, metric):
    scorer = PathScorer(reference, metric, dt=0.01, n_repeats=2)
    rates = [0.2, 0.5, 1.0, 2.0, 5.0]
    search = GridSearchCV(Decay(), {"rate": rates}, scoring=scorer, cv=KFold(2))
    search.fit(np.zeros((4, 1)))
    assert search.best_params_ == {"rate": 1.0}
    assert -0.05 < search.best_score_ < 0.01  # an unbiased estimate may pass its optimum
    assert clone(search).set_params(n_jobs=1).fit(np.zeros((4, 1))).best_params_ == {"rate": 1.0}


@pytest.mark.statistical
def test_std_ratio_finds_the_noise(reference):
    paths = Decay(noise=1.0).simulate(reference.x0, 200, 0.01, random_state=1, store_every=20)
    scorer = PathScorer(ReferencePaths(reference.x0, paths, TIMES), "std_ratio", dt=0.01)
    scores = [scorer(Decay(noise=noise)) for noise in (0.3, 1.0, 3.0)]
    assert np.argmax(scores) == 1


@pytest.mark.statistical
def test_in_a_pipeline_the_last_transformer_makes_the_macrostates(reference):
    x0 = reference.x0[:, :, np.newaxis] + np.array([-1, 0, 1])
    lattice = ReferencePaths(x0=x0, paths=reference.paths, times=TIMES)
    pipe = Pipeline(
        [("cut", FunctionTransformer(cut)), ("mean", FunctionTransformer(mean)), ("sde", Decay())]
    )
    scorer = PathScorer(lattice, dt=0.01)
    search = GridSearchCV(pipe, {"sde__rate": [0.3, 1.0, 3.0]}, scoring=scorer, cv=KFold(2))
    search.fit(np.zeros((4, 3)))
    assert search.best_params_ == {"sde__rate": 1.0}
    bare = PathScorer(reference, dt=0.01)
    assert scorer(pipe) == bare(Decay()) == bare(Pipeline([("sde", Decay())]))


def test_only_the_observables_are_scored(reference):
    scorer = PathScorer(reference, dt=0.01, metric=lambda P, Q: P.shape[2])
    assert scorer(Decay(extra=0)) == scorer(Decay(extra=3)) == -1


def test_what_simulate_is_asked_for(reference):
    class Recorder(Decay):
        def simulate(self, z0, n_steps, dt, **options):
            self.asked = {"n_steps": n_steps, "dt": pytest.approx(dt), **options}
            options.pop("context", None)
            return super().simulate(z0, n_steps, dt, **options)

    sde = Recorder()
    PathScorer(reference, dt=0.05, n_repeats=3, random_state=7)(sde)
    asked = {"n_steps": 40, "dt": 0.05, "n_paths": 3, "random_state": 7, "store_every": 4}
    assert sde.asked == asked
    PathScorer(reference)(sde)
    assert (sde.asked["n_steps"], sde.asked["dt"], sde.asked["store_every"]) == (10, 0.2, 1)
    context = np.ones((200, 1))
    heated = ReferencePaths(reference.x0, reference.paths, TIMES + 3, context)
    PathScorer(heated)(sde)
    np.testing.assert_array_equal(sde.asked["context"], context)


@pytest.mark.parametrize("metric", METRICS)
def test_a_prediction_that_is_not_finite_ranks_last_without_warnings(reference, metric):
    scorer = PathScorer(reference, metric)
    assert scorer(Decay(fail=True)) == WORST_SCORE
    assert scorer(Decay(rate=1e30)) < -1  # finite, but out of all bounds
    grid = {"rate": [0.5, 1.0], "fail": [False, True]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = GridSearchCV(Decay(), grid, scoring=scorer, cv=KFold(2)).fit(np.zeros((4, 1)))
    assert search.best_params_["fail"] is False
    assert search.cv_results_["rank_test_score"].tolist()[2:] == [3, 3]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_metric_that_is_not_finite_scores_worst(reference):
    start = ReferencePaths(np.ones((200, 1)), reference.paths, TIMES)
    assert PathScorer(start, "std_ratio")(Decay(noise=0)) == WORST_SCORE
    assert PathScorer(reference, lambda P, Q: np.nan)(Decay()) == WORST_SCORE


def test_scorer_is_pickled_printed_and_leaves_the_estimator_alone(reference):
    scorer = PathScorer(reference, dt=0.1)
    sde = Decay()
    before = dict(vars(sde))
    assert pickle.loads(pickle.dumps(scorer))(sde) == scorer(sde) == scorer(sde, None, None)
    assert vars(sde) == before
    assert repr(scorer) == (
        "PathScorer(reference=ReferencePaths(x0 (200, 1), paths (200, 11, 1)), metric='mmd2', "
        "dt=0.1, n_repeats=1, random_state=0)"
    )
    with pytest.raises(AttributeError, match="cannot assign"):
        scorer.dt = 0.2


# --- errors -------------------------------------------------------------------------------------

X, P = np.zeros((5, 2)), np.zeros((5, 3, 2))
BAD = np.where(np.arange(5)[:, np.newaxis] == 3, np.nan, X)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: mmd2(X[:, 0], X),
            r"arrays \(n, d\) with n >= 2.*got \(5,\) and \(5, 2\); compare",
        ),
        (lambda: mmd2(X, X[:, :1]), r"otherwise equal, but got \(5, 2\) and \(5, 1\)"),
        (lambda: mmd2(X[:1], X), r"n >= 2 .*got \(1, 2\)"),
        (lambda: mmd2(X[:, :0], X[:, :0]), r"got \(5, 0\)"),
        (lambda: mmd2(BAD, X), r"finite predictions, but got 2 values.*index \(3, 0\); remove"),
        (lambda: mmd2(X, BAD), "finite reference, but got 2 values"),
        (lambda: mmd2(X, X, widths=()), r"widths to be one positive number.*got \(\); pass"),
        (lambda: mmd2(X, X, widths=(1, 0)), r"widths to be .* list of 2, but got \(1, 0\); pass"),
        (lambda: mmd2(X, X, widths=((1, 2), (3, 4))), r"widths .*got \(\(1, 2\), \(3, 4\)\)"),
        (lambda: mmd2(X, X, scale=[1, 2, 3]), r"scale .*list of 2, but got \[1, 2, 3\]; pass"),
        (lambda: mmd2(X, X, scale=np.inf), "scale to be one positive number .*got inf"),
        (lambda: mmd2_paths(P, P, scale="std"), "scale to be one of 'reference', but got 'std'"),
        (lambda: mmd2_paths(P, P[:, :2]), r"\(n_paths, n_times, d\).*\(5, 2, 2\); compare"),
        (lambda: mean_path_error(P, X), r"n_paths >= 2.*got \(5, 3, 2\) and \(5, 2\)"),
        (lambda: mean_path_error(P, P), "other than 0, but got 0; use mean_mmd2"),
        (lambda: std_ratio(P[:1], P), r"n_paths >= 2.*got \(1, 3, 2\)"),
        (lambda: std_ratio(P, P), r"positive spreads of Q, but got \[0. 0.\]; drop components"),
        (lambda: ReferencePaths(X, P, [0, 1]), r"Expected paths .*\(5, 3, 2\) with 2 times; pass"),
        (lambda: ReferencePaths(X, P[:, :1], [0]), r"n_times >= 2.*got \(5, 1, 2\)"),
        (lambda: ReferencePaths(X[:1], P[:1], [0, 1, 2]), r"n_paths >= 2.*got \(1, 3, 2\)"),
        (lambda: ReferencePaths(X, X, [0, 1]), r"n_observables\), but got \(5, 2\)"),
        (lambda: ReferencePaths(X, P, [0, 2, 1]), "increasing list of finite numbers"),
        (lambda: ReferencePaths(X[:4], P, range(3)), r"x0 with one row .*got shape \(4, 2\); rep"),
        (lambda: ReferencePaths(X[:, 0], P, range(3)), r"x0 with one row .*got shape \(5,\)"),
        (lambda: ReferencePaths(X, P, range(3), X[:2]), r"context with one row .*\(2, 2\)"),
        (lambda: ReferencePaths(BAD, P, range(3)), "finite x0, but got 2"),
        (lambda: ReferencePaths(X, P + np.inf, range(3)), "finite paths, but got 30"),
        (lambda: ReferencePaths(X, P, range(3), BAD), "finite context, but got 2"),
    ],
)
def test_wrong_data_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"metric": "mmd"},
            "metric to be one of 'mmd2', .*'std_ratio', 'outside', but got 'mmd'",
        ),
        ({"n_repeats": 0}, "n_repeats to be an integer of at least 1, but got 0"),
        ({"dt": 0.15}, "dt to divide the spacing 0.2 .*got 0.15; pass for instance 0.2, or None"),
        ({"dt": 0.08}, "dt to divide the spacing 0.2 .*got 0.08; pass for instance 0.1, or None"),
        ({"dt": 0.4}, "dt to divide the spacing 0.2 .*got 0.4; pass for instance 0.2"),
        ({"dt": -1}, "dt to be a finite real number with 0 < dt, but got -1"),
    ],
)
def test_wrong_options_are_refused(reference, options, text):
    with pytest.raises(ValueError, match=text):
        PathScorer(reference, **options)


def test_times_must_be_equally_spaced(reference):
    uneven = ReferencePaths(reference.x0, reference.paths, TIMES**2)
    with pytest.raises(ValueError, match=r"equally spaced .*from 0.04 to 0.76; interpolate"):
        PathScorer(uneven)
