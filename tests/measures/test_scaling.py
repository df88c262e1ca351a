"""Finite-size scaling: exponents of exact scaling functions, and error bars that cover them."""

import numpy as np
import pytest
from scipy.stats import binom, chi2

from sklmacro.scoring import (
    binder,
    binder_slope,
    collapse,
    collapse_residual,
    correlation_exponent,
    power_law,
    susceptibility,
    value_at,
)

TC, NU, BETA = 2.269, 1.0, 0.125
SIZES = np.array([16.0, 32.0, 48.0, 64.0])


def magnetisation(T, L, nu=NU):
    """An exact scaling function, smooth and monotonous."""
    return L ** (-BETA / nu) * (1 - 0.6 * np.tanh((T - TC) * L ** (1 / nu) / 3))


def grid(n=21, width=0.04):
    T, L = np.meshgrid(TC + np.linspace(-width, width, n), SIZES)
    return T.ravel(), L.ravel()


def test_exact_power_laws():
    """Eq. 27: <|M|> ~ L^(-beta/nu) and chi ~ L^(gamma/nu); Eq. 29: the slope of U ~ L^(1/nu)."""
    assert power_law(SIZES, 3 * SIZES**-0.125).value == pytest.approx(-0.125, abs=1e-12)
    weighted = power_law(SIZES, 3 * SIZES**1.75, SIZES)
    assert weighted.value == pytest.approx(1.75, abs=1e-12)
    assert weighted.error > 0
    nu = correlation_exponent(SIZES, -0.3 * SIZES ** (1 / 0.63))
    assert nu.value == pytest.approx(0.63, abs=1e-12)


def test_weights_and_errors_of_the_line():
    """Against the closed form of a weighted straight line."""
    y, error = np.array([0.7, 0.66, 0.6, 0.59]), np.array([0.01, 0.002, 0.004, 0.02])
    x, w = np.log(SIZES), (y / error) ** 2
    mean = (w * x).sum() / w.sum()
    spread = (w * (x - mean) ** 2).sum()
    result = power_law(SIZES, y, error)
    assert result.value == pytest.approx((w * (x - mean) * np.log(y)).sum() / spread)
    assert result.error == pytest.approx(spread**-0.5)
    nu = correlation_exponent(SIZES, y**-8, 8 * y**-9 * error)  # relative errors are 8 times those
    assert (nu.value, nu.error) == pytest.approx(
        (-1 / (8 * result.value), result.error / (8 * result.value**2))
    )


@pytest.mark.statistical
def test_error_bars_cover_the_exponent():
    """Hits of 68.27 % intervals, and chi-square of the scores; errors too small are found out."""
    rng, n = np.random.default_rng(0), 2000
    y, error = 2 * SIZES**1.75, 0.01 * 2 * SIZES**1.75 * np.array([1, 2, 1, 3])
    result = [power_law(SIZES, y + error * rng.normal(size=4), error) for _ in range(n)]
    scores = np.array([(f.value - 1.75) / f.error for f in result])
    low, high = binom.interval(1 - 1e-5, n, 0.6827)
    assert low <= (np.abs(scores) < 1).sum() <= high
    assert not low <= (np.abs(scores) < 0.8).sum() <= high
    slopes = np.array([-1.0, -0.2, 3.0])
    T = TC + np.linspace(-0.02, 0.03, 7)
    U = np.polynomial.polynomial.polyval(T - TC, [0.6, *slopes])
    error = np.full(7, 0.001)
    cubic = [
        binder_slope(T, U + error * rng.normal(size=7), error, Tc=TC, degree=3) for _ in range(n)
    ]
    total = sum(((f.value + 1) / f.error) ** 2 for f in cubic)
    assert chi2(n).ppf(1e-5) < total < chi2(n).ppf(1 - 1e-5)
    scatter = [binder_slope(T, U + error * rng.normal(size=7), Tc=TC, degree=3) for _ in range(n)]
    mean = np.mean([f.error**2 for f in scatter])  # of 3 degrees of freedom each
    assert mean == pytest.approx(cubic[0].error ** 2, rel=5 * np.sqrt(2 / (3 * n)))


@pytest.mark.statistical
def test_value_at_a_temperature_shares_the_noise_of_its_neighbours():
    T = np.linspace(2.2, 2.3, 6)
    parabola = 0.6 - 2 * (T - TC) + 30 * (T - TC) ** 2
    exact = value_at(T, parabola, np.full(6, 0.01), at=TC)
    assert exact.value == pytest.approx(0.6, abs=1e-12)
    assert value_at(T, parabola, np.full(6, 0.01), at=TC, degree=0).error == pytest.approx(
        0.01 / 6**0.5
    )
    rng, n = np.random.default_rng(0), 2000
    result = [value_at(T, parabola + 0.01 * rng.normal(size=6), at=TC).value for _ in range(n)]
    assert np.std(result) == pytest.approx(exact.error, rel=0.08)  # 5 standard deviations
    assert exact.error < 0.007  # less than that of one temperature


def test_binder_cumulant_of_known_laws():
    """Eq. 28: U = 1 - <M^4> / (3 <M^2>^2)."""
    assert binder(0.25, 0.0625) == pytest.approx(2 / 3)  # two sharp peaks
    assert binder([0.5, 2.0], [0.75, 12.0]).tolist() == pytest.approx([0, 0])  # Gaussian


def test_susceptibility_of_independent_spins():
    """Eq. 26: chi = L^2 / T (<M^2> - <|M|>^2)."""
    # n independent spins: <M^2> = 1/n, <|M|>^2 = 2/(pi n) for large n, so chi T = 1 - 2/pi
    n = 64**2
    chi = susceptibility(1 / n, np.sqrt(2 / (np.pi * n)), 64, 2.0)
    assert chi == pytest.approx((1 - 2 / np.pi) / 2)
    assert susceptibility(1 / 64, 0.0, 4, 1.0, ndim=3) == pytest.approx(1.0)


def test_slopes_of_the_binder_cumulant_give_nu():
    """Eq. 29: |dU/dT| ~ L^(1/nu) at Tc."""
    T = TC + np.linspace(-0.003, 0.003, 9)
    slopes = [
        binder_slope(T, 0.6 - 0.1 * np.tanh((T - TC) * L ** (1 / 0.8)), Tc=TC, degree=5).value
        for L in SIZES
    ]
    np.testing.assert_allclose(slopes, -0.1 * SIZES ** (1 / 0.8), rtol=3e-3)
    assert correlation_exponent(SIZES, slopes).value == pytest.approx(0.8, abs=2e-3)


def test_exact_scaling_functions_collapse():
    """Eq. 25: <|M|>(T, L) = L^(-beta/nu) F((T - Tc) L^(1/nu))."""
    T, L = grid()
    x, scaled = collapse(T, L, magnetisation(T, L), Tc=TC, nu=NU, exponent=-BETA)
    np.testing.assert_allclose(scaled, 1 - 0.6 * np.tanh(x / 3), rtol=1e-12)


def test_residual_is_least_for_the_right_exponents():
    """Eq. 25, with wrong exponents as controls."""
    T, L = grid()
    y = magnetisation(T, L)
    right = {"Tc": TC, "nu": NU, "exponent": -BETA}
    best = collapse_residual(T, L, y, **right)
    assert best.relative < 0.003  # curvature between points
    assert np.isnan(best.chi2)
    for wrong in ({"nu": 0.8}, {"nu": 1.25}, {"exponent": -0.2}, {"exponent": 0}, {"Tc": 2.28}):
        assert collapse_residual(T, L, y, **right | wrong).relative > 5 * best.relative
    exponents = np.linspace(-0.2, -0.05, 31)
    result = [collapse_residual(T, L, y, **right | {"exponent": e}).relative for e in exponents]
    assert abs(exponents[np.argmin(result)] + BETA) <= 0.0051


@pytest.mark.statistical
def test_chi_square_of_a_collapse_is_one():
    """Within errors that let no curvature be seen; larger errors and wrong exponents show."""
    T, L = grid()
    rng = np.random.default_rng(1)
    error = 0.02 * magnetisation(T, L)
    right = {"Tc": TC, "nu": NU, "exponent": -BETA}
    result, low, off = [], [], []
    for _ in range(20):
        y = magnetisation(T, L) + error * rng.normal(size=len(T))
        result.append(collapse_residual(T, L, y, error, **right).chi2)
        low.append(collapse_residual(T, L, y, 2 * error, **right).chi2)
        off.append(collapse_residual(T, L, y, error, **right | {"exponent": -0.25}).chi2)
    assert collapse_residual(T, L, y, error, **right).n_points > 60
    assert abs(np.mean(result) - 1) < 6 * np.std(result, ddof=1) / np.sqrt(20)  # t of 19: 1e-5
    assert np.mean(low) == pytest.approx(np.mean(result) / 4)
    assert min(off) > 3 * max(result)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power_law([16, 32], [0.7, 0.6]), "at least 3 different sizes L, but got 2"),
        (lambda: power_law([16, 32], [0.7, -0.6], [1, 1]), "y to be positive"),
        (lambda: power_law([16, 32], [0.7, 0.6], [1, 0]), "error to be positive"),
        (lambda: power_law([16, 32], [0.7]), r"L, y of one shape \(n_points,\), but got"),
        (lambda: binder_slope([2, 2.1], [0, 1], [1, 1], Tc=2, degree=2), "at least 3 different"),
        (lambda: binder([0.0], [0.0]), "M2 to be positive"),
        (lambda: susceptibility(1, 1, 0, 1), "L to be positive"),
        (
            lambda: collapse_residual([1, 2], [8, 16], [1, 1], Tc=1.5, nu=1, exponent=0),
            "scaled temperatures overlap",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
