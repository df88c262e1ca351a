"""Rates and diffusion over dt: against exact processes, and where the plateau lies."""

import warnings

import numpy as np
import pytest

from sklmacro.measures.plateau import flat_interval, regression
from sklmacro.scoring import PlateauWarning, dt_plateau
from sklmacro.simulators import Alloy, LinearChain, Simulator


class TwoScales(Simulator):
    """Sites s_i + f_i: ds = -k s dt + dW, slow, and df = -50 f dt + 2 dW', fast; both exact."""

    n_fields = 2
    observable_names = ("sum",)
    slow, fast = 0.05, 50.0

    def draw_initial(self, lattice, rng):
        s = rng.normal(0, 3) + 0 * rng.normal(size=lattice.cells[0])
        return np.stack([s, rng.normal(0, 0.2, lattice.cells[0])], axis=-1)

    def density(self, x):
        return x.sum(axis=-1, keepdims=True)

    def advance_window(self, x, lattice, evolution):
        ((start,), (extent,)), span, rng = evolution
        duration = span.time
        rates = np.array([self.slow, self.fast])
        noise = [1, 2] * np.sqrt(-np.expm1(-2 * rates * duration) / (2 * rates))
        inside = x[start : start + extent]
        inside[:] = inside * np.exp(-rates * duration) + noise * rng.normal(size=inside.shape)
        return duration

    def diffusion(self, dt, n):
        """Exact Var(dz | x) / dt of the mean over n sites."""
        rates = np.array([self.slow, self.fast])[:, np.newaxis]
        return np.array([1, 4]) @ (-np.expm1(-2 * rates * dt) / (2 * rates)) / dt / n


DTS = np.array([0.01, 0.03, 0.5, 1.5, 10.0, 30.0])


@pytest.fixture(scope="module")
def two_scales():
    model = TwoScales()
    X = model.sample_initial(300, 8, random_state=0)
    options = {"tolerance": 0.2, "random_state": 0}
    return {patch: dt_plateau(model, X, DTS, patch=patch, **options) for patch in (None, 2)}


@pytest.mark.statistical
def test_curves_of_a_chain_are_the_exact_ones():
    """(1 - exp(-gamma dt)) / dt, and sigma^2 (1 - exp(-2 gamma dt)) / (2 gamma dt n)."""
    gamma, n, dts = 0.5, 12, np.array([0.05, 0.2, 1.0, 4.0])
    chain = LinearChain(force=3.0, gamma=gamma, sigma=0.7)
    X = chain.sample_initial(300, n, random_state=0)
    plateau = dt_plateau(chain, X, dts, random_state=2)
    assert plateau.dts.tolist() == [0, *dts]  # first the exact moments, without an error
    assert (plateau.rate[0, 0], plateau.diffusion[0, 0]) == pytest.approx((gamma, 0.7**2 / n))
    assert (plateau.rate_error[0, 0], plateau.diffusion_error[0, 0]) == pytest.approx(
        (0, 0), abs=1e-9
    )
    rate = -np.expm1(-gamma * dts) / dts
    diffusion = 0.7**2 * -np.expm1(-2 * gamma * dts) / (2 * gamma * dts * n)
    for values, errors, truth, precision in [
        (plateau.rate[1:, 0], plateau.rate_error[1:, 0], rate, 0.02),
        (plateau.diffusion[1:, 0], plateau.diffusion_error[1:, 0], diffusion, 0.05),
    ]:
        assert (np.abs(values - truth) < 7 * errors).all()
        assert (errors < precision * truth).all()
        assert np.abs(values[-1] - truth[0]) > 20 * errors[-1]  # negative control
    assert plateau.names == ("mean displacement",)


@pytest.mark.statistical
def test_standard_errors_are_of_the_right_size():
    """Normalised deviations of 200 studies have spread 1; 5 sigma of that of a sample deviation."""
    chain, dt = LinearChain(force=0.0, gamma=0.5), np.array([0.1, 1.0])
    truth = -np.expm1(-0.5 * dt) / dt, -np.expm1(-dt) / dt / 6
    off = []
    for seed in range(200):
        X = chain.sample_initial(30, 6, random_state=seed)
        one = dt_plateau(chain, X, dt, random_state=1000 + seed)
        curves = (one.rate, one.rate_error), (one.diffusion, one.diffusion_error)
        off.append([(v[1:, 0] - t) / e[1:, 0] for (v, e), t in zip(curves, truth, strict=True)])
    spread, allowed = np.std(off, axis=0), 5 / np.sqrt(2 * 200)
    assert (np.abs(spread - 1) < allowed).all()
    assert (np.abs(np.mean(off, axis=0)) < 5 / np.sqrt(200)).all()
    assert (np.abs(2 * spread - 1) > allowed).all()  # negative control: errors half as large


@pytest.mark.statistical
@pytest.mark.parametrize("patch", [None, 2])
def test_the_plateau_lies_between_two_time_scales(two_scales, patch):
    plateau = two_scales[patch]  # independent sites: a patch has the lattice's Sigma
    exact = TwoScales().diffusion(DTS, 8)
    assert (np.abs(plateau.diffusion[:, 0] - exact) < 5 * plateau.diffusion_error[:, 0]).all()
    assert plateau.interval == (0.5, 1.5)
    assert (np.abs(plateau.rate[2:4, 0] - 0.05) < 5 * plateau.rate_error[2:4, 0]).all()
    assert (
        abs(plateau.rate[5, 0] - 0.05) > 5 * plateau.rate_error[5, 0]
    )  # negative control: dt = 30


@pytest.mark.statistical
def test_what_lies_outside_is_warned_of(two_scales):
    plateau = two_scales[None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plateau.check(0.6)
    assert [plateau.contains(dt) for dt in (0.1, 0.5, 1.5, 1.6)] == [False, True, True, False]
    with pytest.warns(PlateauWarning, match=r"\[0.5, 1.5\].* got 0.1: z is not yet .*a longer dt"):
        plateau.check(0.1)
    with pytest.warns(PlateauWarning, match=r"got 20: z relaxes or patches .*a shorter dt"):
        plateau.check(20.0)


@pytest.mark.statistical
def test_no_plateau_is_none():
    model = TwoScales()
    X = model.sample_initial(200, 8, random_state=0)
    plateau = dt_plateau(model, X, [0.002, 0.03, 10.0], random_state=0)
    assert plateau.interval is None
    assert not plateau.contains(0.03)
    with pytest.warns(PlateauWarning, match=r"no two of the dts .* agree within 10%; study more"):
        plateau.check(0.03)


@pytest.mark.statistical
def test_flat_runs():
    """No two times of a run may differ: a slow slope of small steps is no plateau."""
    times, none = np.arange(1.0, 7.0), np.zeros((3, 1, 6, 1))  # no errors
    for curve, expected in [
        ([3, 2, 1, 1, 1.05, 2], (3.0, 5.0)),
        (1.06 ** np.arange(6), (1.0, 2.0)),
        ([1, 1, 2, 2, 4, 8], (1.0, 2.0)),
        (2.0 ** np.arange(6), None),
    ]:
        values = np.reshape(curve, (1, 6, 1)).astype(float)
        assert flat_interval(times, values, values + none, 0.1) == expected
    noise = np.random.default_rng(0).normal(size=(30, 1, 6, 1))  # errors that hide all of it
    assert flat_interval(times, values, values + 10 * noise, 0.1) == (1.0, 6.0)


def test_leaving_out_is_fitting_anew():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(20, 3)) * [1, 10, 0.1], rng.normal(size=(20, 4, 3))
    slopes, left_out = regression(z, y)

    def plain(z, y):
        design = np.column_stack([np.ones(len(z)), z])
        return [np.linalg.lstsq(design, y[:, t])[0][1:].diagonal() for t in range(4)]

    assert np.allclose(slopes, plain(z, y))
    for k in (0, 7):
        rest = np.arange(20) != k
        assert np.allclose(left_out[k], plain(z[rest], y[rest]))
    tied = np.column_stack([z[:, :2], z[:, 0], np.ones(20)])  # bound together, and constant
    slopes, _ = regression(tied, y[..., [0, 1, 0, 2]])
    assert np.allclose(slopes[:, 0], slopes[:, 2])
    assert np.allclose(slopes[:, 3], 0)


@pytest.mark.parametrize("how", [{}, {"boundary": 1}])
def test_number_of_workers_changes_no_bit(how):
    chain = LinearChain()
    X = chain.sample_initial(60, 12, random_state=0)
    one, two = (
        dt_plateau(chain, X, [0.1, 0.3], patch=4, random_state=1, n_jobs=n, **how) for n in (1, 2)
    )
    for name in ("rate", "rate_error", "diffusion", "diffusion_error"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    other = dt_plateau(chain, X, [0.1, 0.3], patch=4, random_state=2, **how)
    assert not np.array_equal(one.rate, other.rate)


@pytest.mark.statistical
def test_a_vacancy_that_jumps_back_has_no_plateau_at_few_jumps():
    alloy = Alloy(temperature=2000.0)
    X = alloy.sample_initial(100, 5, random_state=0)
    X = alloy.advance(X, n_events=4000, random_state=1)[0]
    dts = alloy.jump_time() * np.array([1.0, 10.0, 100.0])
    plateau = dt_plateau(alloy, X, dts, random_state=0)
    alike = [0, 2, 5]
    short, long = plateau.diffusion[0, alike].sum(), plateau.diffusion[3, alike].sum()
    assert short > 2 * long
    assert short - long > 3 * np.linalg.norm(plateau.diffusion_error[[0, 3]][:, alike])
    assert plateau.interval is None or plateau.interval[0] >= dts[0]
    patches = dt_plateau(alloy, np.tile(X[:60], (1, 2, 1, 1, 1)), dts, patch=5, random_state=0)
    assert np.isfinite(patches.rate).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dts": [0.1]}, "at least 2 dts above 0, but got .0.1."),
        ({"dts": [0.0, 1.0]}, "at least 2 dts above 0"),
        ({"n_replicas": 1}, "n_replicas to be an integer of at least 2"),
        ({"X": np.zeros((3, 8))}, "at least 4 start states for 1 observables, but got 3"),
        ({"tolerance": -1}, "0 <= tolerance"),
        ({"patch": 3}, "patches that tile"),
    ],
)
def test_what_was_expected_what_came_and_the_remedy(change, message):
    options = {"X": np.zeros((9, 8)), "dts": [0.1, 1.0]} | change
    with pytest.raises(ValueError, match=message):
        dt_plateau(LinearChain(), **options)
