"""Ensembles: error bars that cover the truth, groups kept together, members in paths."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from sklmacro import MLP, PatchSDERegressor, SDEEnsemble, Training
from sklmacro.pairs import latent_pairs
from sklmacro.scoring import PathScorer, ReferencePaths

LINEAR = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
A, B, C = 0.24, -0.8, 0.5  # dz = (A + B z) dt + C dW
STD = C / np.sqrt(-2 * B)


def ou_paths(n_paths, n_steps, dt, seed, offset=0.0, c=C):
    rng = np.random.default_rng(seed)
    z = np.empty((n_paths, n_steps + 1))
    z[:, 0] = rng.normal(-A / B, 2 * STD, n_paths)
    for k in range(n_steps):
        z[:, k + 1] = (
            z[:, k]
            + (A + offset + B * z[:, k]) * dt
            + c * rng.normal(scale=np.sqrt(dt), size=n_paths)
        )
    return z


def ou_pairs(n_groups=40, n_rows=15, dt=0.1, seed=0, disorder=0.0, c=C):
    """Pairs of trajectories, each with a force of its own of standard deviation `disorder`."""
    offset = disorder * np.random.default_rng([seed, 1]).normal(size=n_groups)
    z = ou_paths(n_groups, n_rows, dt, seed, offset, c)
    group = np.repeat(np.arange(n_groups), n_rows)
    return latent_pairs(z[:, :-1].reshape(-1, 1), np.diff(z).reshape(-1, 1), dt, group=group)


def coefficients(sde):
    """Drift at 0, its slope, and the stationary standard deviation of a linear SDE."""
    at, beyond = sde.drift([[0.0], [1.0]])[:, 0]
    slope = beyond - at
    return at, slope, np.sqrt(sde.diffusion([[0.0]]).item() / (-2 * slope))


def at_mean(sde):
    """Drift at the mean force; slopes are biased by forces that go with the place of a path."""
    return sde.drift([[-A / B]])[0]


def many_paths(seed):
    """Short trajectories without a force of their own."""
    return ou_pairs(n_groups=300, n_rows=3, seed=seed)


def grouped(seed):
    """Trajectories with forces of their own."""
    return ou_pairs(n_groups=60, n_rows=60, seed=seed, disorder=0.6, c=0.2)


def apart(seed):
    """The same, every row as if it were a trajectory."""
    pairs = grouped(seed)
    pairs["group"] = np.arange(len(pairs))
    return pairs


def covered(pairs_of_seed, n_refits, values_of, truth, n_members=16):
    """Number of refits whose 95 % intervals hold the true values."""
    hits = np.zeros(len(truth), int)
    for seed in range(n_refits):
        ensemble = SDEEnsemble(LINEAR, n_members=n_members, random_state=seed)
        values = np.array([values_of(m) for m in ensemble.fit(pairs_of_seed(seed)).members_])
        reach = ensemble.interval_factor(0.95) * values.std(axis=0, ddof=1)
        hits += np.abs(values.mean(axis=0) - truth) <= reach
    return hits


@pytest.mark.statistical
def test_intervals_cover_the_truth():
    n = 100
    low, high = binom.interval(1 - 1e-5, n, 0.95)
    hits = covered(many_paths, n, coefficients, (A, B, STD))
    assert ((low <= hits) & (hits <= high)).all(), hits


@pytest.mark.statistical
def test_groups_with_something_in_common_are_kept_together():
    """Trajectories with forces of their own; drawing rows, the negative control, undercovers."""
    n = 60
    low, _ = binom.interval(1 - 1e-5, n, 0.95)
    assert covered(grouped, n, at_mean, [0.0]) >= low
    assert covered(apart, n, at_mean, [0.0]) < low


class Recorder(PatchSDERegressor):
    """Remembers what it was fitted to."""

    def fit(self, X, y=None):
        self.seen_ = X
        return super().fit(X, y)


@pytest.mark.statistical
def test_members_see_whole_groups():
    pairs = ou_pairs(n_groups=30, n_rows=4)
    pairs["group"] = 7 * pairs["group"] + 3
    ensemble = SDEEnsemble(Recorder(**LINEAR.get_params()), n_members=50, random_state=0).fit(pairs)
    drawn = []
    for member in ensemble.members_:
        rows, times = np.unique(member.seen_, return_counts=True)
        counts = [np.unique(times[rows["group"] == g]) for g in np.unique(rows["group"])]
        assert all(len(c) == 1 for c in counts)
        assert all((rows["group"] == g).sum() == 4 for g in np.unique(rows["group"]))
        assert sum(c[0] for c in counts) == 30
        drawn.append(len(counts))
    # A group is missed with probability (1 - 1/30)^30; occupancy has standard deviation 1.7.
    assert abs(np.mean(drawn) - 30 * (1 - (1 - 1 / 30) ** 30)) < 5 * 1.7 / np.sqrt(50)
    assert len({member.random_state for member in ensemble.members_}) == 50


def test_without_bootstrap_members_differ_by_their_seeds_alone():
    pairs = ou_pairs()
    ensemble = SDEEnsemble(LINEAR, bootstrap=False, n_members=3).fit(pairs)
    assert ensemble.drift_error([[1.0]]).item() < 1e-12  # in closed form seeds play no part
    nets = PatchSDERegressor(drift_model=MLP(training=Training(max_epochs=1)))
    ensemble = SDEEnsemble(nets, bootstrap=False, n_members=2, random_state=0).fit(pairs)
    assert ensemble.drift_error([[1.0]]).item() > 1e-6


def test_means_and_errors_are_those_of_the_members():
    pairs = ou_pairs()
    ensemble = SDEEnsemble(LINEAR, n_members=4, random_state=0).fit(pairs)
    z = [[0.1], [0.5]]
    for name in ("drift", "diffusion"):
        values = np.array([getattr(m, name)(z) for m in ensemble.members_])
        np.testing.assert_allclose(getattr(ensemble, name)(z), values.mean(axis=0))
        np.testing.assert_allclose(getattr(ensemble, f"{name}_error")(z), values.std(0, ddof=1))
    predicted = [m.predict(pairs) for m in ensemble.members_]
    np.testing.assert_allclose(ensemble.predict(pairs), np.mean(predicted, axis=0))
    scores = [m.score(pairs) for m in ensemble.members_]
    assert ensemble.score(pairs) == pytest.approx(np.mean(scores))
    assert (ensemble.lam_, ensemble.n_state_, ensemble.n_features_in_) == (1.0, 1, 1)


def without_noise(ensemble):
    for member in ensemble.members_:
        g = np.zeros_like(member.model_.g)
        g[:, 0] = -600.0  # the logarithm of the variances
        member.model_ = replace(member.model_, g=g)
    return ensemble


@pytest.mark.parametrize(("n_starts", "n_paths"), [(1, 7), (5, 1), (2, 3), (1, 2)])
def test_paths_are_spread_over_the_members(n_starts, n_paths):
    """Without noise, one step shows whose drift moved a path."""
    ensemble = without_noise(SDEEnsemble(LINEAR, n_members=3, random_state=0).fit(ou_pairs()))
    z0 = np.linspace(0, 1, n_starts)[:, None]
    paths = ensemble.simulate(z0, 1, 0.1, n_paths=n_paths)
    rows = np.repeat(z0, n_paths, axis=0)
    moved = rows + 0.1 * np.array([m.drift(rows) for m in ensemble.members_])
    expected = [moved[r % 3, r] for r in range(len(rows))]
    np.testing.assert_allclose(paths[:, 1], expected, rtol=1e-12)
    every = ensemble.simulate_members(z0, 1, 0.1, n_paths=n_paths)
    np.testing.assert_allclose(every[:, :, 1], moved, rtol=1e-12)


def test_paths_repeat_with_a_seed_and_members_have_noise_of_their_own():
    ensemble = SDEEnsemble(LINEAR, bootstrap=False, n_members=2, random_state=0).fit(ou_pairs())
    first, again, other = (
        ensemble.simulate_members([0.3], 3, 0.1, n_paths=2, random_state=s) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 2, 4, 1)
    assert len(np.unique(np.r_[first[:, :, 1].ravel(), other[:, :, 1].ravel()])) == 8
    np.testing.assert_array_equal(  # a member's paths are its own, drawn with its own seed
        ensemble.simulate([0.3], 3, 0.1, n_paths=4, random_state=0)[::2], first[0]
    )


@pytest.mark.statistical
def test_estimate_holds_the_spread_of_the_members_and_of_the_paths():
    n_members, n_paths, dt = 80, 300, 0.05
    ensemble = SDEEnsemble(LINEAR, n_members=n_members, random_state=0).fit(ou_pairs())

    def spread(paths):
        return paths[:, -1, 0].std()

    value, error = ensemble.estimate(
        spread, [-A / B], 160, dt, n_paths=n_paths, random_state=1
    )  # fmt: skip
    slopes, sigmas = np.array(
        [(b, s * np.sqrt(-2 * b)) for _, b, s in map(coefficients, ensemble.members_)]
    ).T
    exact = sigmas * np.sqrt(dt / (1 - (1 + slopes * dt) ** 2))  # of Euler's chain
    noise = exact.mean() / np.sqrt(2 * n_paths)
    assert value == pytest.approx(exact.mean(), abs=5 * noise / np.sqrt(n_members))
    # The members' own spread is known; what varies is the noise and its product with the spread.
    expected = exact.var(ddof=1) + noise**2
    variation = np.hypot(2 * exact.std() * noise, np.sqrt(2) * noise**2) / np.sqrt(n_members - 1)
    assert abs(error**2 - expected) < 5 * variation
    assert 5 * variation < 0.9 * expected
    several, errors = ensemble.estimate(
        lambda paths: paths[:, -1, 0].mean() + np.arange(3), [0.0], 5, dt, n_paths=5
    )
    assert several.shape == errors.shape == (3,)


def test_contexts_of_several_starts():
    pairs = ou_pairs()
    pairs = latent_pairs(
        pairs["z"], pairs["dz"], pairs["dt"], group=pairs["group"], context=np.abs(pairs["z"])
    )
    ensemble = without_noise(SDEEnsemble(LINEAR, n_members=2, random_state=0).fit(pairs))
    assert (ensemble.n_state_, ensemble.n_features_in_) == (1, 2)
    z0, context = np.array([[0.1], [0.2], [0.3]]), np.array([[0.0], [1.0], [2.0]])
    options = {"n_paths": 2, "outside": "ignore"}
    paths = ensemble.simulate(z0, 1, 0.1, context=context, **options)
    for start in range(3):
        for k, member in enumerate(ensemble.members_):
            expected = z0[start] + 0.1 * member.drift(z0[[start]], context[start])[0]
            np.testing.assert_allclose(paths[2 * start + k, 1], expected)
    shared = ensemble.simulate(z0, 1, 0.1, context=[1.0], **options)
    np.testing.assert_array_equal(shared[2:4], paths[2:4])


@pytest.mark.statistical
def test_search_over_lam_in_a_pipeline():
    """K = 9 for which lam = 9 is right; paths choose it, each member adding its own."""
    pairs = ou_pairs(n_groups=1000, n_rows=20, c=3 * C)
    pairs["n_patches"] = 9
    truth = ou_paths(400, 40, 0.1, seed=3)[:, :, None]
    scorer = PathScorer(ReferencePaths(truth[:, 0], truth, np.arange(41) * 0.1), dt=0.1)
    model = Pipeline([("sde", SDEEnsemble(LINEAR, n_members=3, random_state=0))])
    # Scores of 20 seeds: -0.080(6), -0.001(1), -0.039(6).
    grid = {"sde__sde__lam": [1.0, 9.0, 81.0]}
    search = GridSearchCV(model, grid, scoring=scorer, cv=GroupKFold(3))
    search.fit(pairs, groups=pairs["group"])
    assert search.best_params_ == {"sde__sde__lam": 9.0}
    assert search.best_estimator_[-1].lam_ == 9.0


def test_what_is_refused():
    pairs = ou_pairs()
    with pytest.raises(ValueError, match="n_members to be an integer of at least 2, but got 1"):
        SDEEnsemble(LINEAR, n_members=1).fit(pairs)
    pairs["group"] = 4
    with pytest.raises(ValueError, match=r"at least 2 groups .* got 1 sample or group of 600 rows"):
        SDEEnsemble(LINEAR).fit(pairs)
    ensemble = SDEEnsemble(LINEAR, bootstrap=False, n_members=2).fit(pairs)
    with pytest.raises(ValueError, match="finite statistic of every member"):
        ensemble.estimate(lambda paths: np.nan, [0.0], 1, 0.1, n_paths=2)
    with pytest.raises(ValueError, match="level to be a finite real number with 0 < level < 1"):
        ensemble.interval_factor(95)
    with pytest.raises(ValueError, match="latent pairs with fields"):
        SDEEnsemble(LINEAR).fit(np.zeros(3, [("a", float)]))


def test_interval_factor():
    """Wide for few members, and Student's quantile for many."""
    ensemble = SDEEnsemble(LINEAR, bootstrap=False, n_members=2).fit(ou_pairs())
    assert ensemble.interval_factor() == pytest.approx(12.7062 * np.sqrt(1.5), rel=1e-5)
    ensemble.members_ *= 500
    assert ensemble.interval_factor() == pytest.approx(1.9623 * np.sqrt(1.001), rel=1e-4)
