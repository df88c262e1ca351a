"""Ways to make a snapshot larger: what each of them keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sklmacro.lattice.enlarge import METHODS, enlarge, interpolate, replicate, shuffle, tile

RNG = np.random.default_rng(0)


@st.composite
def snapshots(draw, elements=None, dtype=np.float64):
    """A snapshot of one to three axes, with or without fields, and a factor for each axis."""
    cells = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    fields = draw(st.sampled_from([(), (2,)]))
    factor = tuple(draw(st.integers(1, 3)) for _ in cells)
    elements = st.integers(-50, 50) if elements is None else elements
    return draw(arrays(dtype, (*cells, *fields), elements=elements)), factor


def by_cell(x, factor, source):
    """Twin: the large snapshot cell by cell, `source` giving the small cell of a large one."""
    cells = tuple(c * f for c, f in zip(x.shape, factor, strict=False))
    large = np.empty((*cells, *x.shape[len(factor) :]), x.dtype)
    for place in np.ndindex(cells):
        large[place] = x[tuple(map(source, place, factor, x.shape))]
    return large


def sorted_sites(x, factor):
    sites = x.reshape(int(np.prod(x.shape[: len(factor)])), -1)
    return sites[np.lexsort(sites.T)]


@given(snapshots())
def test_replicate_repeats_every_cell(case):
    x, factor = case
    large = replicate(x, factor)
    np.testing.assert_array_equal(large, by_cell(x, factor, lambda i, f, n: i // f))
    axes = tuple(range(len(factor)))
    # Integers as floats, so that sums are exact: the mean is kept to the last bit.
    np.testing.assert_array_equal(large.sum(axes), np.prod(factor) * x.sum(axes))


@given(snapshots())
def test_tile_puts_copies_side_by_side(case):
    x, factor = case
    large = tile(x, factor)
    np.testing.assert_array_equal(large, by_cell(x, factor, lambda i, f, n: i % n))
    copies = np.repeat(sorted_sites(x, factor), np.prod(factor), axis=0)
    np.testing.assert_array_equal(sorted_sites(large, factor), copies)


@given(snapshots(st.sampled_from([-1, 1]), np.int8))
def test_spins_stay_spins(case):
    x, factor = case
    for method in ("replicate", "tile", "shuffle"):
        large = enlarge(x, factor, method, RNG)
        assert large.dtype == np.int8
        assert set(np.unique(large)) == set(np.unique(x))
        assert (large > 0).sum() == np.prod(factor) * (x > 0).sum()


@given(snapshots())
def test_shuffle_keeps_the_composition(case):
    x, factor = case
    large = shuffle(x, factor, np.random.default_rng(0))
    assert large.shape == tile(x, factor).shape
    np.testing.assert_array_equal(
        sorted_sites(large, factor), sorted_sites(tile(x, factor), factor)
    )


@pytest.mark.statistical
def test_shuffle_leaves_no_order():
    x = np.where(np.arange(64).reshape(8, 8) % 8 < 4, 1, -1)  # stripes
    bonds = [
        np.mean(large * np.roll(large, 1, axis=1))
        for large in (shuffle(x, (4, 4), np.random.default_rng(k)) for k in range(100))
    ]
    # 1024 bonds of mean -1/1023 and standard deviation 1/32: 5 standard errors of the mean
    assert abs(np.mean(bonds)) < 5 / 32 / 10
    assert abs(np.mean(x * np.roll(x, 1, axis=1))) > 5 / 32 / 10  # the stripes fail


@given(snapshots(), st.booleans())
def test_interpolation_stays_within_the_values_and_a_factor_of_one_does_nothing(case, periodic):
    x, factor = case
    large = interpolate(x, factor, periodic=periodic)
    cells = [c * f for c, f in zip(x.shape, factor, strict=False)]
    assert large.shape == (*cells, *x.shape[len(factor) :])
    assert large.min() >= x.min() - 1e-12
    assert large.max() <= x.max() + 1e-12
    same = interpolate(x, (1,) * len(factor), periodic=periodic)
    np.testing.assert_array_equal(same, x)


@given(snapshots())
def test_interpolation_keeps_the_mean(case):
    # Exactly on a ring. On an open lattice too: clamping at one edge makes up for its cells' share.
    x, factor = case
    axes = tuple(range(len(factor)))
    for periodic in (True, False):
        large = interpolate(x, factor, periodic=periodic)
        np.testing.assert_allclose(large.mean(axes), x.mean(axes), rtol=1e-12, atol=1e-12)


def test_linear_fields_are_exact_in_the_interior():
    n, m, f, g = 5, 4, 3, 2
    i, j = np.meshgrid(np.arange(n) + 0.5, np.arange(m) + 0.5, indexing="ij")
    x = np.stack([2.0 * i - 3.0 * j + 1.0, 0.5 * i], axis=-1)
    large = interpolate(x, (f, g))
    a, b = (np.arange(n * f) + 0.5) / f, (np.arange(m * g) + 0.5) / g  # centres of the large cells
    inner_a, inner_b = (a >= 0.5) & (a <= n - 0.5), (b >= 0.5) & (b <= m - 0.5)
    A, B = np.meshgrid(a, b, indexing="ij")
    exact = np.stack([2 * A - 3 * B + 1, 0.5 * A], axis=-1)
    inner = np.ix_(inner_a, inner_b)
    np.testing.assert_allclose(large[inner], exact[inner], rtol=1e-13, atol=1e-13)
    # Beyond the outermost centres: the values at those centres, no flux through the edge.
    clipped = np.clip(A, 0.5, n - 0.5)
    np.testing.assert_allclose(large[..., 1], 0.5 * clipped, rtol=1e-13)
    assert not np.allclose(replicate(x, (f, g))[inner], exact[inner])
    assert not np.allclose(interpolate(x, (f, g), periodic=True), large)


def test_periodic_interpolation_crosses_the_edge():
    x = np.array([0.0, 1.0, 5.0])
    expected = [1.25, 0.25, 0.75, 2.0, 4.0, 3.75]
    np.testing.assert_allclose(interpolate(x, (2,), periodic=True), expected)
    np.testing.assert_allclose(interpolate(x, (2,)), [0.0, 0.25, 0.75, 2.0, 4.0, 5.0])


@given(snapshots(), st.integers(0, 3))
def test_periodic_interpolation_commutes_with_shifts(case, shift):
    x, factor = case
    moved = interpolate(np.roll(x, shift, axis=0), factor, periodic=True)
    large = np.roll(interpolate(x, factor, periodic=True), shift * factor[0], axis=0)
    np.testing.assert_allclose(moved, large, rtol=1e-13, atol=1e-12)


def test_interpolation_is_of_second_order():
    errors = []
    for n in (16, 32, 64):
        x = np.sin(2 * np.pi * (np.arange(n) + 0.5) / n)
        fine = np.sin(2 * np.pi * (np.arange(4 * n) + 0.5) / (4 * n))
        errors.append(np.abs(interpolate(x, (4,), periodic=True) - fine).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([2, 2], abs=0.1)


def test_enlarge_is_the_method_of_that_name():
    x = np.arange(6.0).reshape(2, 3)
    for periodic in (True, False):
        expected = {
            "replicate": replicate(x, (2, 3)),
            "tile": tile(x, (2, 3)),
            "linear": interpolate(x, (2, 3), periodic=periodic),
            "shuffle": shuffle(x, (2, 3), np.random.default_rng(1)),
        }
        assert set(METHODS) == set(expected)
        for method, large in expected.items():
            rng = np.random.default_rng(1)
            found = enlarge(x, (2, 3), method, rng, periodic=periodic)
            np.testing.assert_array_equal(found, large)


@pytest.mark.parametrize("method", METHODS)
def test_input_is_not_changed(method):
    x = np.arange(4.0)
    x.setflags(write=False)
    large = enlarge(x, (1,), method, RNG)
    np.testing.assert_array_equal(np.sort(large) if method == "shuffle" else large, x)
    enlarge(x, (3,), method, RNG)[:] = 7.0
    assert x.tolist() == [0, 1, 2, 3]


def test_wrong_methods_and_states_are_refused():
    with pytest.raises(ValueError, match="Expected method to be one of 'replicate', 'linear'"):
        enlarge(np.zeros(3), (2,), "cubic", RNG)
    with pytest.raises(ValueError, match=r"real-valued snapshots .* but got dtype int8; discrete"):
        enlarge(np.ones((2, 2), np.int8), (2, 2), "linear", RNG)
