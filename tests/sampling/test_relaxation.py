"""LocalRelax to convergence: stops neither before the fast observables are at rest nor never."""

import numpy as np
import pytest

from sklmacro import Convergence, HierarchicalUpsampler, LocalRelax
from sklmacro.experiments._truth.wolff import equilibrium_snapshots
from sklmacro.sampling.relaxation import RelaxationWarning, unexplained_change
from sklmacro.simulators import CurieWeiss, Ising, LinearChain

HOT = Ising(temperature=2.8)


@pytest.fixture(scope="module")
def small():
    return equilibrium_snapshots(8, 2.8, 600, 40, np.random.default_rng(0))


def upsampler(**changes):
    """Upsampler whose relaxation converges; `changes` are of it, or of its parts."""
    relaxation = LocalRelax(duration=0.5, n_passes=Convergence())
    up = HierarchicalUpsampler(HOT, relaxation=relaxation, random_state=1)
    return up.set_params(**changes)


@pytest.mark.statistical
def test_change_is_freed_from_what_the_slow_ones_explain():
    rng, n = np.random.default_rng(2), 5000
    slow = rng.normal(size=(2, n))
    slow[1] = slow[0] + 0.3 + 0.2 * slow[1]  # the slow one moves
    own = rng.normal(size=n)  # what a row keeps
    fast = slow**2 + 0.5 * slow + own + 0.1 * rng.normal(size=(2, n))
    still = unexplained_change(*np.stack([slow, fast], axis=-1), fast=[1])[:, 0]
    assert abs(still.mean()) < 4 * still.std() / np.sqrt(n) + 0.01
    fast[1] += 0.1
    moved = unexplained_change(*np.stack([slow, fast], axis=-1), fast=[1])[:, 0]
    assert moved.mean() == pytest.approx(0.1, abs=0.02)
    assert moved.std() < 0.3  # not that of `own`
    assert abs((fast[1] - fast[0]).mean()) > 0.2  # negative control: explained and not


@pytest.mark.statistical
def test_converged_passes_reach_equilibrium_and_fewer_do_not(small):
    """Walls at given magnetisation, whose own law is that of the small system still."""
    truth = HOT.observe(equilibrium_snapshots(16, 2.8, 2000, 60, np.random.default_rng(3)))
    law = np.polynomial.Polynomial.fit(truth[:, 0] ** 2, truth[:, 1], 3)

    def score(X):
        z = HOT.observe(X)
        excess = z[:, 1] - law(z[:, 0] ** 2)
        return excess.mean() / (excess.std() * np.sqrt(1 / len(z) + 1 / len(truth)))

    up = upsampler(relaxation__n_passes__n_pilot=400).fit(small)
    assert up.n_passes_[0] >= 4  # one visit of half a sweep does not do
    assert abs(score(up.transform(small))) < 5
    assert score(upsampler(relaxation__n_passes=1).fit_transform(small)) < -6


@pytest.mark.statistical
def test_records_tell_how_it_went(small):
    up = upsampler(n_iter=2, factor=(2, 1)).fit(small)
    assert [r.iteration for r in up.relaxation_] == sorted(r.iteration for r in up.relaxation_)
    for i, n_passes in enumerate(up.n_passes_, 1):
        records = [r for r in up.relaxation_ if r.iteration == i]
        assert [r.n_passes for r in records][:3] == [0, 1, 2]
        assert records[-1].n_passes == n_passes
        assert np.isnan(records[0].change).all()
        assert records[0].drift > 20 * records[0].drift_error  # walls are missing
        assert abs(records[-1].drift) <= 2 * records[-1].drift_error
    assert not upsampler(relaxation__n_passes=3).fit(small).relaxation_


def test_passes_do_not_depend_on_workers_and_transform_uses_them(small):
    one, more = (upsampler(n_jobs=n_jobs).fit(small) for n_jobs in (1, 2))
    assert one.n_passes_ == more.n_passes_
    for a, b in zip(one.relaxation_, more.relaxation_, strict=True):
        np.testing.assert_array_equal(a.drift, b.drift)
        np.testing.assert_array_equal(a.change, b.change)
    fixed = upsampler(relaxation__n_passes=one.n_passes_[0]).fit(small)
    assert fixed.n_passes_ == one.n_passes_
    np.testing.assert_array_equal(one.transform(small[:9]), fixed.transform(small[:9]))


@pytest.mark.statistical
def test_a_large_tolerance_stops_early_and_a_small_budget_warns(small):
    with pytest.warns(RelaxationWarning, match=r"iteration 1: after 2 of them the drift of domain"):
        short = upsampler(relaxation__n_passes__max_passes=2, relaxation__duration=0.05).fit(small)
    assert short.n_passes_ == (2,)
    assert upsampler(relaxation__n_passes__tolerance=0.5).fit(small).n_passes_ == (2,)


class WithoutMoments(CurieWeiss):
    """A simulator whose drift is not known."""

    fast_observables = CurieWeiss.observable_names
    process = None


def test_without_a_drift_the_change_decides():
    X = WithoutMoments().sample_initial(40, 8, random_state=0)
    relaxation = LocalRelax(duration=1.0, n_passes=Convergence(tolerance=1.0))
    up = HierarchicalUpsampler(WithoutMoments(), relaxation=relaxation, random_state=0).fit(X)
    assert np.isnan(up.relaxation_[-1].drift).all()
    assert np.isfinite(up.relaxation_[-1].change).all()


WRONG = {
    "a word": ({"n_passes": "all"}, "at least 1, but got 'all'; pass"),
    "small pilot": ({"n_passes__n_pilot": 3}, "n_pilot .* at least 20, but got 3"),
    "no relaxation": ({"duration": None}, "one duration, above 0, .*LocalRelax.duration=None"),
    "a range": ({"duration": (0.1, 1.0)}, r"one duration, .*LocalRelax.duration=\(0.1, 1.0\)"),
    "budget": ({"n_passes__max_passes": 1}, "at least 2, but got 1"),
    "tolerance": ({"n_passes__tolerance": -1}, "0 <= tolerance"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_converge_is_refused(case, small):
    changes, text = WRONG[case]
    with pytest.raises(ValueError, match=text):
        upsampler(**{f"relaxation__{name}": value for name, value in changes.items()}).fit(small)


def test_converging_takes_fast_observables_and_many_snapshots(small):
    with pytest.raises(ValueError, match=r"at least 20 snapshots .* but got 5 and"):
        upsampler().fit(small[:5])
    chain = HierarchicalUpsampler(LinearChain(), relaxation=LocalRelax(n_passes="converged"))
    text = (
        r"fast_observables .*, some of \('mean displacement',\), but LinearChain has \(\); declare"
    )
    with pytest.raises(ValueError, match=text):
        chain.fit(small[:, 0].astype(float))
