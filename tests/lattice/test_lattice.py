"""Neighbour tables against ASE and brute force; patches against their definition."""

import dataclasses
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from sklmacro.lattice import Lattice, PatchGrid

# Number and distance (in lattice constants) of nearest neighbours: Ashcroft & Mermin, table 4.1.
FIRST_SHELL = {
    "chain": (2, 1.0),
    "square": (4, 1.0),
    "cubic": (6, 1.0),
    "bcc": (8, math.sqrt(3) / 2),
    "fcc": (12, 1 / math.sqrt(2)),
    "hcp": (12, 1.0),
    "diamond": (4, math.sqrt(3) / 4),
}
KINDS = list(FIRST_SHELL)
NDIM = {"chain": 1, "square": 2}


def box(kind, *sizes):
    """Cells of a box for a lattice of any dimension: the first `ndim` sizes."""
    return sizes[: NDIM.get(kind, 3)]


def ase_unit_cell(kind):
    if kind in NDIM:
        pbc = [axis < NDIM[kind] for axis in range(3)]
        return Atoms("H", positions=[(0, 0, 0)], cell=[1, 1, 1], pbc=pbc)
    if kind == "hcp":
        return bulk("H", "hcp", a=1, covera=math.sqrt(8 / 3))
    return bulk("H", {"cubic": "sc"}.get(kind, kind), a=1, cubic=True)


def in_three_dimensions(positions):
    return np.pad(positions, ((0, 0), (0, 3 - positions.shape[1])))


def same_site(positions, atoms):
    """Number of the lattice site at the place of every atom."""
    fractions = np.linalg.solve(
        atoms.cell.T, (positions[:, None] - atoms.positions).reshape(-1, 3).T
    )
    images = (fractions - np.round(fractions)).T @ atoms.cell
    distance = np.linalg.norm(images, axis=1).reshape(len(positions), len(atoms))
    assert np.allclose(distance.min(axis=0), 0)
    return distance.argmin(axis=0)


@st.composite
def tilings(draw):
    """A patch grid and snapshots on it, with and without fields."""
    kind = draw(st.sampled_from(KINDS))
    ndim = NDIM.get(kind, 3)
    sizes = st.tuples(*[st.integers(1, 3)] * ndim)
    counts, cells = draw(sizes), draw(sizes)
    boundary = draw(st.sampled_from(["periodic", "open"]))
    lattice = Lattice(kind, tuple(k * c for k, c in zip(counts, cells, strict=True)), boundary)
    trailing = draw(st.sampled_from([(), (1,), (2,), (2, 3)]))
    shape = (draw(st.integers(0, 3)), *lattice.site_shape, *trailing)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return PatchGrid(lattice, cells), rng.normal(size=shape)


# -- geometry ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "n_basis"), list(zip(KINDS, [1, 1, 1, 2, 4, 2, 8], strict=True)))
def test_sizes_and_shapes(kind, n_basis):
    cells = box(kind, 3, 4, 2)
    lattice = Lattice(kind, cells)
    assert lattice.ndim == len(cells)
    assert lattice.n_basis == n_basis
    assert lattice.site_shape == (cells if n_basis == 1 else (*cells, n_basis))
    assert lattice.n_sites == math.prod(lattice.site_shape)
    assert lattice.cell_vectors.shape == (lattice.ndim, lattice.ndim)
    assert lattice.basis.shape == (n_basis, lattice.ndim)
    assert lattice.positions().shape == (lattice.n_sites, lattice.ndim)


@pytest.mark.parametrize("kind", KINDS)
def test_coordination_and_distance_of_the_first_shell(kind):
    lattice = Lattice(kind, box(kind, 3, 4, 3))
    coordination, distance = FIRST_SHELL[kind]
    offsets = lattice.neighbor_offsets
    assert lattice.coordination == coordination
    assert offsets.shape == (lattice.n_basis, coordination, lattice.ndim + 1)
    fractions = offsets[..., :-1] + lattice.basis[offsets[..., -1]] - lattice.basis[:, None]
    assert np.allclose(np.linalg.norm(fractions @ lattice.cell_vectors, axis=-1), distance)


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_are_ordered_cached_and_read_only(kind):
    offsets = Lattice(kind, box(kind, 3, 4, 3)).neighbor_offsets
    assert np.issubdtype(offsets.dtype, np.integer)
    for rows in offsets.tolist():
        assert rows == sorted(rows)
        assert len({tuple(row) for row in rows}) == len(rows)
    assert Lattice(kind, box(kind, 5, 5, 5), "open").neighbor_offsets is offsets
    with pytest.raises(ValueError, match="read-only"):
        offsets[0, 0, 0] = 7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(3, 4, 3), (2, 1, 2)], ids=["plain", "meets itself"])
def test_periodic_neighbors_agree_with_ase(kind, sizes):
    lattice = Lattice(kind, box(kind, *sizes))
    repeats = (*lattice.cells, 1, 1)[:3]
    atoms = ase_unit_cell(kind).repeat(repeats)
    site = same_site(in_three_dimensions(lattice.positions()), atoms)
    assert sorted(site) == list(range(lattice.n_sites))
    i, j = neighbor_list("ij", atoms, 1.05 * FIRST_SHELL[kind][1])
    expected = Counter(zip(site[i].tolist(), site[j].tolist(), strict=True))
    neighbors = lattice.neighbors()
    assert neighbors.dtype == np.int64
    assert neighbors.shape == (lattice.n_sites, lattice.coordination)
    assert expected == Counter((a, b) for a, row in enumerate(neighbors.tolist()) for b in row)


@pytest.mark.parametrize("kind", KINDS)
def test_open_neighbors_are_the_sites_within_reach(kind):
    lattice = Lattice(kind, box(kind, 3, 2, 4), "open")
    positions = lattice.positions()
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    neighbors = lattice.neighbors()
    assert (neighbors == -1).any()
    for row, near in zip(neighbors, np.isclose(distance, FIRST_SHELL[kind][1]), strict=True):
        assert sorted(row[row >= 0]) == np.flatnonzero(near).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_open_neighbors_are_the_periodic_ones_with_gaps(kind):
    cells = box(kind, 3, 4, 3)
    periodic, cut = Lattice(kind, cells).neighbors(), Lattice(kind, cells, "open").neighbors()
    assert np.array_equal(np.where(cut < 0, cut, periodic), cut)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_neighbors_are_mutual(kind, boundary):
    neighbors = Lattice(kind, box(kind, 3, 1, 2), boundary).neighbors()
    pairs = Counter((a, b) for a, row in enumerate(neighbors.tolist()) for b in row if b >= 0)
    assert pairs == Counter({(b, a): n for (a, b), n in pairs.items()})


def test_lattice_is_a_value():
    lattice = Lattice("bcc", [np.int64(4), np.int32(4), 4])
    assert lattice == Lattice("bcc", (4, 4, 4))
    assert hash(lattice) == hash(Lattice("bcc", (4, 4, 4)))
    assert [type(n) for n in lattice.cells] == [int, int, int]
    assert pickle.loads(pickle.dumps(lattice)) == lattice
    assert PatchGrid(lattice, (2, 2, 2)) == PatchGrid(lattice, np.array([2, 2, 2]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        lattice.boundary = "open"


# -- boxes ------------------------------------------------------------------------------------


def test_window_reads_a_box_and_leaves_basis_and_fields_alone():
    lattice = Lattice("bcc", (4, 3, 5), "open")
    x = np.random.default_rng(0).normal(size=(*lattice.site_shape, 2))
    assert np.array_equal(x[lattice.window((1, 0, 2), (2, 3, 3))], x[1:3, :, 2:5])


@pytest.mark.parametrize("origin", [(3, -1), (-2, 5), (8, 11)])
def test_window_wraps_on_a_periodic_lattice(origin):
    lattice = Lattice("square", (5, 6))
    x = np.arange(30).reshape(5, 6)
    rolled = np.roll(x, [-o for o in origin], axis=(0, 1))
    assert np.array_equal(x[lattice.window(origin, (4, 3))], rolled[:4, :3])


def test_window_takes_an_assignment():
    lattice = Lattice("chain", (5,))
    x = np.zeros(5, dtype=int)
    x[lattice.window((4,), (2,))] = [1, 2]
    assert x.tolist() == [2, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("boundary", "origin", "cells", "width", "grown"),
    [
        ("periodic", (3, 3), (2, 2), 1, ((2, 2), (4, 4))),
        ("periodic", (0, 9), (2, 2), 2, ((8, 7), (6, 6))),
        ("periodic", (-1, 4), (2, 2), 0, ((9, 4), (2, 2))),
        ("periodic", (5, 5), (4, 8), 2, ((3, 0), (8, 12))),
        ("periodic", (5, 5), (6, 1), 2, ((0, 3), (10, 5))),
        ("periodic", (5, 5), (9, 1), 3, ((0, 2), (10, 7))),
        ("open", (3, 3), (2, 2), 1, ((2, 2), (4, 4))),
        ("open", (0, 9), (2, 2), 2, ((0, 7), (4, 5))),
        ("open", (4, 5), (2, 2), 9, ((0, 0), (10, 12))),
    ],
)
def test_grow(boundary, origin, cells, width, grown):
    assert Lattice("square", (10, 12), boundary).grow(origin, cells, width) == grown


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_grown_box_holds_the_neighbors_of_the_box(kind, boundary):
    lattice = Lattice(kind, box(kind, 5, 4, 6), boundary)
    origin, cells = box(kind, 1, 2, 4), box(kind, 2, 1, 2)
    numbers = np.arange(lattice.n_sites).reshape(lattice.site_shape)
    inner = numbers[lattice.window(origin, cells)].ravel()
    outer = numbers[lattice.window(*lattice.grow(origin, cells, 1))].ravel()
    assert len(set(outer.tolist())) == len(outer)
    assert set(lattice.neighbors()[inner].ravel().tolist()) - {-1} <= set(outer.tolist())


# -- patches ----------------------------------------------------------------------------------


def test_patch_grid_of_the_paper():
    grid = PatchGrid(Lattice("square", (64, 64)), (16, 16))
    assert (grid.n_patches, grid.sites_per_patch, grid.counts) == (16, 256, (4, 4))
    assert grid.patch_lattice == Lattice("square", (16, 16))
    alloy = PatchGrid(Lattice("bcc", (16, 8, 8), "open"), (8, 8, 8))
    assert (alloy.n_patches, alloy.sites_per_patch) == (2, 1024)
    assert alloy.patch_shape == (8, 8, 8, 2)
    assert alloy.patch_lattice.boundary == "open"
    assert alloy.origins.tolist() == [[0, 0, 0], [8, 0, 0]]


@given(tilings())
def test_split_gives_the_window_at_every_origin(tiling):
    grid, X = tiling
    patches = grid.split(X)
    assert patches.shape[:2] == (len(X), grid.n_patches)
    assert grid.origins.dtype == np.int64
    assert grid.origins.shape == (grid.n_patches, grid.lattice.ndim)
    for x, row in zip(X, patches, strict=True):
        for origin, patch in zip(grid.origins, row, strict=True):
            assert np.array_equal(patch, x[grid.lattice.window(origin, grid.cells)])


@given(tilings())
def test_join_undoes_split_and_split_undoes_join(tiling):
    grid, X = tiling
    assert np.array_equal(grid.join(grid.split(X)), X)
    patches = np.random.default_rng(0).normal(size=grid.split(X).shape)
    assert np.array_equal(grid.split(grid.join(patches)), patches)


@given(tilings())
def test_tile_repeats_the_patch(tiling):
    grid, X = tiling
    patch = grid.split(X)[:, 0]
    tiled = grid.tile(patch)
    assert tiled.shape == X.shape
    assert tiled.flags.writeable
    assert not np.shares_memory(tiled, X)
    assert all(np.array_equal(grid.split(tiled)[:, k], patch) for k in range(grid.n_patches))


@given(tilings())
def test_average_over_patches_is_the_average_over_the_lattice(tiling):
    """Eq. 1, with the site average of each field as patch encoder."""
    grid, X = tiling
    sites = len(grid.lattice.site_shape)
    whole = X.mean(axis=tuple(range(1, 1 + sites)))
    encoded = grid.split(X).mean(axis=tuple(range(2, 2 + sites)))
    assert np.allclose(encoded.mean(axis=1), whole)


@given(tilings(), st.integers(0, 7), st.data())
def test_halo_is_the_patch_of_a_padded_snapshot(tiling, width, data):
    grid, X = tiling
    x = np.random.default_rng(0).normal(size=X.shape[1:])
    origin = grid.origins[data.draw(st.integers(0, grid.n_patches - 1))]
    margins = [(width, width)] * len(origin) + [(0, 0)] * (x.ndim - len(origin))
    if grid.lattice.boundary == "open":
        pad_spins = np.pad(x, margins, constant_values=-5)
    else:
        pad_spins = np.pad(x, margins, mode="wrap")
    spans = zip(origin, grid.cells, strict=True)
    expected = pad_spins[tuple(slice(o, o + c + 2 * width) for o, c in spans)]
    assert np.array_equal(grid.halo(x, origin, width, fill=-5), expected)


def test_halo_takes_any_origin_and_keeps_the_type():
    grid = PatchGrid(Lattice("chain", (6,)), (2,))
    halo = grid.halo(np.arange(6, dtype=np.int8), (-1,), 1)
    assert halo.tolist() == [4, 5, 0, 1]
    assert halo.dtype == np.int8


def test_nothing_writes_into_a_read_only_snapshot():
    lattice = Lattice("square", (4, 4), "open")
    X = np.ones((1, 4, 4))
    X.flags.writeable = False
    grid = PatchGrid(lattice, (2, 2))
    assert grid.join(grid.split(X)).sum() == 16
    assert grid.halo(X[0], (0, 0), 1).sum() == 9
    assert X.sum() == 16


# -- errors -----------------------------------------------------------------------------------


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"kind to be one of 'chain', .*, but got 'kagome'"):
        Lattice("kagome", (4, 4))
    with pytest.raises(ValueError, match="boundary to be one of 'periodic', 'open', but got"):
        Lattice("square", (4, 4), "closed")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [((4,), "have one integer for each of the 2 axes"), ((4, 4, 4), "have one integer for each")]
    + [((4, n), f"be an integer of at least 1, but got {n!r}") for n in (0, -2, 2.0, True, "4")]
    + [(0, "be an integer of at least 1, but got 0"), ("44", "be an integer or 2 integers")]
    + [(None, "be an integer or 2 integers, but got None")],
)
def test_cells_that_are_no_positive_integers_are_refused(cells, expected):
    with pytest.raises(ValueError, match=f"Expected cells of a square lattice to {expected}"):
        Lattice("square", cells)
    with pytest.raises(ValueError, match=f"Expected cells of a patch to {expected}"):
        PatchGrid(Lattice("square", (4, 4)), cells)
    with pytest.raises(ValueError, match=f"Expected cells to {expected}"):
        Lattice("square", (4, 4)).window((0, 0), cells)


def test_one_number_of_cells_stands_for_all_axes():
    assert Lattice("square", 4) == Lattice("square", (4, 4))
    assert PatchGrid(Lattice("square", 4), 2).cells == (2, 2)


@pytest.mark.parametrize("origin", [(0,), (0, 0.5), 0.5])
def test_origins_that_are_no_integers_are_refused(origin):
    expected = "Expected origin to (have one integer for each|be an integer)"
    with pytest.raises(ValueError, match=expected):
        Lattice("square", (4, 4)).window(origin, (2, 2))
    with pytest.raises(ValueError, match=expected):
        PatchGrid(Lattice("square", (4, 4)), (2, 2)).halo(np.zeros((4, 4)), origin, 1)


def test_patches_that_do_not_tile_are_refused_with_those_that_would():
    with pytest.raises(
        ValueError, match=r"axis 0 takes 1, 2, 4, 8, 16, 32 or 64 cells\.$"
    ) as error:
        PatchGrid(Lattice("square", (64, 24)), (10, 8))
    assert "cells (64, 24) are not divisible by patch (10, 8)" in str(error.value)
    with pytest.raises(ValueError, match="axis 0 takes 1 cells; axis 1 takes 1 or 7 cells"):
        PatchGrid(Lattice("square", (1, 7)), (2, 14))


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_a_box_larger_than_the_lattice_is_refused(boundary):
    lattice = Lattice("square", (4, 4), boundary)
    expected = r"at most \(4, 4\) cells, the whole lattice, but got \(5, 2\); take a smaller box"
    with pytest.raises(ValueError, match=expected):
        lattice.window((0, 0), (5, 2))
    with pytest.raises(ValueError, match=expected):
        lattice.grow((0, 0), (5, 2), 1)


@pytest.mark.parametrize("origin", [(-1, 0), (0, 3)])
def test_a_box_that_sticks_out_of_an_open_lattice_is_refused(origin):
    lattice = Lattice("square", (4, 4), "open")
    expected = r"inside the open lattice of \(4, 4\) cells, but got \(2, 2\) cells from origin .*;"
    with pytest.raises(ValueError, match=expected):
        lattice.window(origin, (2, 2))
    with pytest.raises(ValueError, match=expected):
        lattice.grow(origin, (2, 2), 1)
    with pytest.raises(ValueError, match=expected):
        PatchGrid(lattice, (2, 2)).halo(np.zeros((4, 4)), origin, 1)


@pytest.mark.parametrize("width", [-1, 1.0, True, None])
def test_widths_that_are_no_integers_are_refused(width):
    lattice = Lattice("square", (4, 4))
    expected = "width to be an integer of at least 0, but got .*; pass 0 for no margin"
    with pytest.raises(ValueError, match=expected):
        lattice.grow((0, 0), (2, 2), width)
    with pytest.raises(ValueError, match=expected):
        PatchGrid(lattice, (2, 2)).halo(np.zeros((4, 4)), (0, 0), width)


def test_arrays_of_another_shape_are_refused():
    grid = PatchGrid(Lattice("bcc", (4, 4, 4)), (2, 2, 2))
    remedy = "reshape it, or use a lattice and patches of its size"
    with pytest.raises(ValueError, match=rf"X of shape \(n_samples, 4, 4, 4, 2\) or .*{remedy}"):
        grid.split(np.zeros((4, 4, 4, 2)))
    with pytest.raises(ValueError, match=r"patches of shape \(n_samples, 8, 2, 2, 2, 2\) or"):
        grid.join(np.zeros((3, 7, 2, 2, 2, 2)))
    with pytest.raises(ValueError, match=r"patch of shape .* but got shape \(3, 8, 2, 2, 2, 2\)"):
        grid.tile(np.zeros((3, 8, 2, 2, 2, 2)))
    with pytest.raises(ValueError, match=r"x of shape \(4, 4, 4, 2\) or \(4, 4, 4, 2, \*fields\)"):
        grid.halo(np.zeros((4, 4, 4)), (0, 0, 0), 1)
    with pytest.raises(ValueError, match=r"but got shape \(\)"):
        grid.split(np.float64(1))
