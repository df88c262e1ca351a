"""Snapshots as they are drawn: every site in its place, and the patches around the right ones."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.path import Path

from sklmacro import PartialEvolutionSampler
from sklmacro.lattice import Lattice
from sklmacro.pairs import snapshot_pair_dtype
from sklmacro.plots import SnapshotDisplay
from sklmacro.plots._plane import Plane, wrap_span
from sklmacro.simulators import Alloy, Ising, LinearChain, PredatorPrey

RNG = np.random.default_rng(0)


def spins(*shape):
    return RNG.choice(np.array([-1, 1], np.int8), shape)


def pairs_of(x, x_next, origins):
    """Snapshot pairs of one snapshot."""
    dtype = snapshot_pair_dtype(
        x.shape, x_next.shape[1:], x.dtype, n_axes=np.shape(origins)[1], n_evolved=len(origins)
    )
    pairs = np.zeros(1, dtype)
    pairs["x"], pairs["x_next"], pairs["origin"] = x, x_next, origins
    return pairs


CRYSTALS = [(kind, axis) for kind in ("cubic", "bcc", "fcc", "hcp", "diamond") for axis in range(3)]


@pytest.mark.parametrize(("kind", "axis"), CRYSTALS)
def test_an_outline_holds_the_sites_of_its_box_and_no_others(kind, axis):
    lattice = Lattice(kind, (6, 5, 4))
    box = (1, 1, 1), (3, 2, 2)
    inside = np.zeros(lattice.site_shape, bool)
    inside[lattice.window(*box)] = True
    for layer in range(lattice.cells[axis]):
        plane = Plane(lattice, axis, layer)
        places, held = plane.places(), plane.take(inside).ravel()
        edges = plane.outline(box)
        if not held.any():
            assert len(edges) == 0
            continue
        (a, b), (c, d) = edges[0], edges[1]  # the two ends along the first axis
        result = Path([a, b, d, c, a]).contains_points(places)
        assert np.array_equal(result, held)
        assert not np.array_equal(np.roll(result, 1), held)  # negative control
        corners = {tuple(np.round(point, 9)) for point in edges.reshape(-1, 2)}
        assert len(edges) == len(corners) == 4
        low, high = plane.limits()
        assert (places > low).all()
        assert (places < high).all()


@pytest.mark.parametrize(
    ("kind", "axis"), [(kind, axis) for kind, axis in CRYSTALS if kind != "hcp" or axis == 2]
)
def test_distances_in_a_layer_are_those_of_the_lattice(kind, axis):
    """Where the edge of the cell across the layer stands upright on it."""
    lattice = Lattice(kind, (3, 3, 3))
    plane = Plane(lattice, axis, 1)
    positions = plane.take(lattice.positions().reshape(*lattice.site_shape, 3)).reshape(-1, 3)
    normal = np.cross(*lattice.cell_vectors[list(plane.axes)])
    normal /= np.linalg.norm(normal)
    flat = positions - (positions @ normal)[:, None] * normal
    wanted = np.linalg.norm(flat[:, None] - flat, axis=-1)
    places = plane.places()
    assert np.allclose(np.linalg.norm(places[:, None] - places, axis=-1), wanted)


def test_spans_that_are_wrapped():
    assert wrap_span(2, 3, 8) == ([(2, 5)], [2, 5])
    assert wrap_span(6, 4, 8) == ([(6, 8), (0, 2)], [6, 2])
    assert wrap_span(3, 8, 8) == ([(0, 8)], [0, 8])
    plane = Plane(Lattice("square", (8, 8)))
    edges = plane.outline(((6, 1), (4, 2)))
    assert len(edges) == 6  # both sides, and two pieces below and above
    assert not np.isin(edges[:2, :, 0], [-0.5, 7.5]).any()


def test_spins_of_a_square_are_an_image_with_the_first_axis_along_x():
    ising, x, patch = Ising(), spins(8, 12), -spins(4, 4)
    pairs = pairs_of(x, patch[None], [[4, 8]])
    display = SnapshotDisplay.from_pairs(pairs, ising, patch_grid=True)
    image = display.images_[0]
    assert np.array_equal(image.get_array().T, (x + 1) / 2)
    assert image.get_extent() == [-0.5, 7.5, -0.5, 11.5]
    assert image.origin == "lower"
    segments = np.array(display.outlines_[0].get_segments())
    assert segments.min(axis=(0, 1)).tolist() == [3.5, 7.5]
    assert segments.max(axis=(0, 1)).tolist() == [7.5, 11.5]
    assert len(display.grid_lines_[0].get_segments()) == 4 * 6
    assert display.snapshot is not pairs["x"][0]
    evolved = SnapshotDisplay.from_pairs(pairs, ising, evolved=True)
    after = x.copy()
    after[4:8, 8:12] = patch
    assert np.array_equal(evolved.images_[0].get_array().T, (after + 1) / 2)
    assert np.array_equal(pairs["x"][0], x)
    assert evolved.grid_lines_ == []


def test_colors_of_states_are_named():
    display = SnapshotDisplay.from_snapshot(spins(4, 4), Ising())
    image = display.images_[0]
    colors = [to_hex(image.cmap(image.norm(code))) for code in (0, 1)]
    assert len(set(colors)) == 2
    bar = display.figure_.axes[-1]
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["-1", "+1"]


def test_a_layer_of_an_alloy():
    alloy = Alloy()
    x = RNG.integers(0, 4, (4, 5, 6, 2)).astype(np.int8)
    window = (3, 4, 5), (2, 2, 3)
    display = SnapshotDisplay.from_snapshot(x, alloy, windows=[window])
    discs = display.images_[0]
    assert "cell 0 along axis 2" in display.axes_[0].get_title()  # the middle of the window
    assert np.array_equal(discs.get_array(), x[:, :, 0].ravel())
    assert discs.get_offsets()[:4].tolist() == [[0, 0], [0.5, 0.5], [0, 1], [0.5, 1.5]]
    white = [to_hex(discs.cmap(discs.norm(code))) == "#ffffff" for code in range(4)]
    assert white == [True, False, False, False]
    bar = display.figure_.axes[-1]
    names = [tick.get_text() for tick in bar.get_yticklabels()]
    assert names == ["vacancy", "Nb", "Mo", "Ta"]
    display.plot(axis=0, layer=2)
    assert np.array_equal(display.images_[0].get_array(), x[2].ravel())
    assert len(display.outlines_[0].get_segments()) == 0  # cells 3 and 0 alone
    assert (display.axes_[0].get_xlabel(), display.axes_[0].get_ylabel()) == (
        "y [lattice constants]", "z [lattice constants]",
    )  # fmt: skip


def test_fields_of_a_chain_are_curves():
    spde = PredatorPrey()
    x = RNG.uniform(size=(20, 2))
    display = SnapshotDisplay.from_pairs(
        pairs_of(x, x[None, 5:10], [[5]]), spde, names=["prey", "predator"]
    )
    for k, line in enumerate(display.images_):
        assert np.array_equal(line.get_ydata(), x[:, k])
        assert line.get_xdata()[-1] == 19
    texts = display.axes_[0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["prey", "predator"]
    ends = {x for segment in display.outlines_[0].get_segments() for x, _ in segment}
    assert ends == {4.5, 9.5}


def test_states_of_a_chain_are_a_strip():
    x = spins(10)
    display = SnapshotDisplay.from_snapshot(x, Ising(kind="chain"), patch=5)
    assert np.array_equal(display.images_[0].get_array(), [(x + 1) / 2])
    assert display.outlines_ == []


def test_fields_of_a_square_are_an_image_each():
    x = RNG.normal(size=(6, 4, 2))
    display = SnapshotDisplay(x, Lattice("square", (6, 4)), windows=[((5, 0), (2, 2))]).plot()
    assert len(display.axes_) == len(display.outlines_) == 2
    for k, image in enumerate(display.images_):
        assert np.array_equal(image.get_array(), x[..., k].T)
    bars = display.figure_.axes[2:]
    assert [bar.get_ylabel() for bar in bars] == ["field 0", "field 1"]


def moments():
    chain = LinearChain()
    sampler = PartialEvolutionSampler(chain, patch=5, moments=True, random_state=0)
    return sampler.fit_transform(chain.sample_initial(2, 20, random_state=0))


def test_pairs_of_moments_have_outlines_too():
    pairs = moments()
    display = SnapshotDisplay.from_pairs(pairs, LinearChain(), index=1)
    (segment,) = display.outlines_[0].get_segments()[:1]
    assert segment[0, 0] == pairs["origin"][1, 0, 0] - 0.5


SPINS = {-1: "-1", 1: "+1"}
ALLOY = np.ones((2, 2, 2, 2), np.int8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: SnapshotDisplay.from_pairs(spins(3, 4, 4), Ising()),
            "Expected snapshot pairs, but got ndarray without their fields.*use from_snapshot",
        ),
        (
            lambda: SnapshotDisplay.from_pairs(moments(), LinearChain(), index=2),
            "index below 2, the number of pairs, but got 2",
        ),
        (
            lambda: SnapshotDisplay.from_pairs(moments(), LinearChain(), evolved=True),
            "but got moments, for which nothing is evolved; sample with moments=False",
        ),
        (
            lambda: SnapshotDisplay.from_snapshot(spins(8, 8), Ising(), patch=3),
            "patches that tile the lattice",
        ),
        (
            lambda: SnapshotDisplay.from_snapshot(spins(3, 8, 8), Ising()),
            "Expected snapshots X of shape",
        ),
        (
            lambda: SnapshotDisplay.from_snapshot(spins(8, 8), Ising(), windows=[((0, 0), (9, 9))]),
            "box of at most",
        ),
        (
            lambda: SnapshotDisplay.from_snapshot(ALLOY, Alloy(), axis=3),
            "axis to be 0, 1 or 2, but got 3",
        ),
        (
            lambda: SnapshotDisplay.from_snapshot(ALLOY, Alloy(), layer=2),
            "layer below 2, the number of cells along axis 2, but got 2",
        ),
        (
            lambda: SnapshotDisplay(5 * ALLOY, Alloy().lattice(ALLOY.shape), states=SPINS).plot(),
            "states -1, 1, but got 5; name all states",
        ),
        (
            lambda: SnapshotDisplay.from_snapshot(np.ones((8, 2)), PredatorPrey(), names=["u"]),
            "a name for each of the 2 fields",
        ),
    ],
)
def test_what_was_expected_what_came_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
