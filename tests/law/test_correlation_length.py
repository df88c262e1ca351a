"""The correlation length of Gaussian fields whose spectrum is known.

S(k) = S(0) / (1 + xi^2 k^2)
"""

import numpy as np
import pytest

from sklmacro.lattice import Lattice
from sklmacro.law.correlation_length import check_other_size, correlation_length, relaxed
from sklmacro.simulators import Simulator

N, SPREAD = 100, np.array([2.0, 3.0])


class Fields(Simulator):
    """Two fields on a square lattice, of which observables are the means."""

    kind = "square"
    boundary = "periodic"
    n_fields = 2
    observable_names = ("slow", "other")


def field(rng, cells, xi, s0):
    """Snapshots (N, *cells) with S(k) = s0 / (1 + xi^2 k^2)."""
    parts = (2 * np.sin(np.pi * np.arange(n) / n) for n in cells)
    k2 = np.sum(np.square(np.meshgrid(*parts, indexing="ij")), axis=0)
    white = np.fft.fft2(rng.standard_normal((N, *cells)))
    return np.fft.ifft2(white * np.sqrt(s0 / (1 + xi**2 * k2))).real


def lengths(xi, cells=(32, 24), known=1.0, n_seeds=5):
    found = []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        parts = [field(rng, cells, x, s) for x, s in zip(xi, SPREAD, strict=True)]
        found.append(correlation_length(Fields(), np.stack(parts, axis=-1), known * SPREAD))
    return np.array(found)


@pytest.mark.statistical
@pytest.mark.parametrize("xi", [1.0, 2.0, 5.0])
def test_a_known_length_is_recovered(xi):
    assert lengths((xi, 0.5 * xi)) == pytest.approx(np.full(5, xi), rel=0.3)
    assert lengths((0.5 * xi, xi)) == pytest.approx(np.full(5, xi), rel=0.3)  # the largest


@pytest.mark.statistical
def test_a_spread_of_short_paths_does_not_hide_it():
    assert lengths((2.0, 1.0), known=0.1) == pytest.approx(np.full(5, 2.0), rel=0.3)


@pytest.mark.statistical
def test_where_long_waves_are_missing_as_yet_it_comes_out_long():
    assert lengths((2.0, 1.0), known=4.0).min() > 3.5


@pytest.mark.statistical
def test_white_noise_has_none():
    """Control."""
    assert lengths((0.0, 0.0)).max() < 1.0


def test_fast_observables_do_not_count():
    class Fast(Fields):
        fast_observables = ("other",)

    rng = np.random.default_rng(0)
    X = np.stack([field(rng, (32, 24), x, s) for x, s in zip((1, 5), SPREAD, strict=True)], -1)
    assert correlation_length(Fast(), X, SPREAD) == pytest.approx(1.0, rel=0.3)


def test_a_lattice_without_long_waves_tells_nothing():
    rng = np.random.default_rng(0)
    X = np.stack([field(rng, (8, 8), 1.0, s) for s in SPREAD], axis=-1)
    assert np.isnan(correlation_length(Fields(), X, SPREAD))


def test_other_sizes_are_refused_where_correlations_are_long():
    small, large = (Lattice("square", (n, n), "periodic") for n in (32, 64))
    check_other_size(large, (1024,), 8.0)
    check_other_size(small, (1024,), 9.0)  # its own
    check_other_size(large, (), 9.0)  # of unknown size
    check_other_size(large, (64,), np.nan)  # too small to tell
    check_other_size(large, (256, 1024, 4096), 9.0)
    with pytest.raises(ValueError, match=r"at most 8.0 cells, .* 4096 sites, but got 9.0"):
        check_other_size(large, (256, 1024), 9.0)


def test_the_oldest_snapshots_count_as_relaxed():
    pairs = np.zeros(5, [("x", float, 2), ("age", float)])
    pairs["age"] = [0.0, 1.0, 3.0, 3.5, 4.0]
    assert len(relaxed(pairs)) == 3
    assert len(relaxed(pairs[["x"]])) == 5
