"""Symmetries commute with the dynamics, exactly or in law; augmented rows are images of each other.

Thresholds PASS and FAIL: see tests/naive.py.
"""

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare, ks_2samp

from sklmacro import PartialEvolutionSampler, PatchAutoencoder
from sklmacro.lattice import Lattice
from sklmacro.sampling.symmetry import Augmentation, point_group, turn
from sklmacro.simulators import Alloy, CurieWeiss, Ising, LinearChain, PredatorPrey
from tests.naive import FAIL, PASS


@pytest.mark.parametrize(
    ("kind", "cells", "order"),
    [
        ("chain", (5,), 2),
        ("square", (4, 4), 8),
        ("square", (4, 6), 4),
        ("cubic", (3, 3, 3), 48),
        ("cubic", (3, 4, 3), 16),
        ("cubic", (3, 4, 5), 8),
        ("bcc", (3, 3, 3), 1),
    ],
)
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_the_point_group_keeps_neighbours(kind, cells, order, boundary):
    lattice = Lattice(kind, cells, boundary)
    elements = point_group(lattice)
    places = np.arange(lattice.n_sites).reshape(lattice.site_shape)
    images = [turn(places, g) for g in elements]
    assert len(elements) == len({image.tobytes() for image in map(np.copy, images)}) == order
    np.testing.assert_array_equal(images[0], places)
    neighbours = np.sort(lattice.neighbors(), axis=1)
    for image in images:
        image = np.append(image, -1)
        # Site i of the image holds site image[i], and its neighbours hold the neighbours of that.
        held = np.sort(image[lattice.neighbors()], axis=1)
        np.testing.assert_array_equal(held, neighbours[image[:-1]])


def test_the_elements_are_a_group():
    lattice = Lattice("cubic", (2, 2, 2))
    places = np.arange(8).reshape(2, 2, 2)
    images = {turn(places, g).tobytes() for g in point_group(lattice)}
    products = {
        np.ascontiguousarray(turn(turn(places, g), h)).tobytes()
        for g in point_group(lattice)
        for h in point_group(lattice)
    }
    assert products == images


def test_a_turn_that_changes_the_lattice_is_found():
    """Negative control of the test of neighbours: a cyclic shift of one row."""
    lattice = Lattice("square", (4, 4))
    image = np.arange(16).reshape(4, 4)
    image[0] = np.roll(image[0], 1)
    held = np.sort(image.ravel()[lattice.neighbors()], axis=1)
    assert (held != np.sort(lattice.neighbors(), axis=1)[image.ravel()]).any()


# --- commuting in law ---------------------------------------------------------------------------


def states(X):
    """Number (n,) of the state of the first 8 of the spins."""
    return (X.reshape(len(X), -1)[:, :8] > 0) @ (1 << np.arange(8))


def evolved(model, x, seed, n=20_000):
    X = np.broadcast_to(x, (n, *x.shape))
    return model.advance(X, duration=0.4, random_state=seed)[0]


def same_law(first, second):
    """p-value of two samples of states having one law; rare states are counted together."""
    counts = np.array([np.bincount(states(X), minlength=256) for X in (first, second)])
    rare = counts.sum(axis=0) < 20
    counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    return chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue


SNAPSHOT = np.random.default_rng(3).choice(np.array([-1, -1, 1], np.int8), (4, 4))


@pytest.mark.statistical
@pytest.mark.parametrize("model", [Ising, CurieWeiss])
def test_the_mirror_image_evolves_alike(model):
    free, driven = model(temperature=2.0), model(temperature=2.0, field=0.3)
    assert free.parity == (-1, 1)[: free.n_observables]
    assert driven.parity is None
    for simulator, holds in ((free, True), (driven, False)):
        p = same_law(evolved(simulator, SNAPSHOT, 0), -evolved(simulator, -SNAPSHOT, 1))
        assert p > PASS if holds else p < FAIL
    X = free.sample_initial(5, 6, random_state=0)
    np.testing.assert_allclose(free.observe(-X), free.observe(X) * free.parity)


@pytest.mark.statistical
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_turned_spins_evolve_alike(boundary):
    model = Ising(temperature=2.0, field=0.3, boundary=boundary)
    straight = evolved(model, SNAPSHOT, 0)
    for k, (axes, flipped) in enumerate(point_group(model.lattice((4, 4)))[1:]):
        image = evolved(model, turn(SNAPSHOT, (axes, flipped)), k + 1)
        flipped_back = np.flip(image, [1 + axis for axis in flipped])
        back = flipped_back.transpose(0, *(1 + np.argsort(axes)))
        assert same_law(straight, back) > PASS
    assert same_law(straight, image) < FAIL  # negative control: not turned back


def test_the_predator_prey_field_is_reflected_exactly():
    model = PredatorPrey(c=0.5, sigma_u=0.0, sigma_v=0.0)
    X = np.random.default_rng(0).uniform(0.3, 0.7, (2, 12, 2))
    forth, _ = model.advance(X, duration=0.5)
    back, _ = model.advance(X[:, ::-1], duration=0.5)
    np.testing.assert_allclose(back[:, ::-1], forth, rtol=1e-13)


@pytest.mark.statistical
def test_a_chain_driven_at_one_end_is_not_symmetric():
    """Why LinearChain declares nothing: its image evolves otherwise."""
    model = LinearChain()
    assert model.parity is None
    assert not model.isotropic
    X = np.zeros((500, 6))
    X_next, _ = model.advance(X, duration=0.2, random_state=0)
    assert ks_2samp(X_next[:, 0], X_next[:, -1]).pvalue < FAIL


# --- augmented pairs ----------------------------------------------------------------------------


def sampler(simulator, **params):
    params = {"patch": 4, "dt": 0.5, "augment": True, "random_state": 0} | params
    return PartialEvolutionSampler(simulator, **params)


@pytest.mark.statistical
def test_rows_are_images_of_each_other():
    X = Ising().sample_initial(600, 8, random_state=0)
    groups = np.arange(600) // 3
    pairs = sampler(Ising()).fit_transform(X, groups=groups)
    assert len(pairs) == 1200
    x, mirrored = pairs["x"][::2], pairs["x"][1::2]
    np.testing.assert_array_equal(mirrored, -x)
    np.testing.assert_array_equal(pairs["group"], np.repeat(groups, 2))
    elements = point_group(Ising().lattice((8, 8)))
    drawn = [
        next(i for i, g in enumerate(elements) if (turn(source, g) == image).all())
        for source, image in zip(X, x, strict=True)
        if abs(source.sum()) < 50  # others are equal to images of themselves
    ]
    assert chisquare(np.bincount(drawn, minlength=8)).pvalue > PASS
    evolved_alike = (pairs["x_next"][::2] == -pairs["x_next"][1::2]).all(axis=(1, 2, 3))
    assert evolved_alike.mean() < 0.2  # independent patches and noise


def test_first_moments_are_exactly_symmetric():
    ising = Ising(temperature=2.27)
    X = ising.sample_initial(50, 8, random_state=0)
    closure = PatchAutoencoder(ising, n_closure=0)
    z = closure.fit_transform(sampler(ising).fit_transform(X))["z"]
    assert z[:, 0].sum() == 0
    np.testing.assert_allclose(z[1::2], z[::2] * ising.parity, rtol=1e-12)
    plain = closure.fit_transform(sampler(ising, augment=False).fit_transform(X))["z"]
    assert plain[:, 0].sum() != 0  # negative control


def test_a_field_leaves_the_turns_alone():
    simulator = Ising(field=0.1)
    X = simulator.sample_initial(40, 8, random_state=0)
    pairs = sampler(simulator).fit_transform(X)
    assert len(pairs) == 40
    np.testing.assert_array_equal(pairs["x"].sum(axis=(1, 2)), X.sum(axis=(1, 2)))
    assert (pairs["x"] != X).any()


@pytest.mark.statistical
def test_fields_of_a_chain_are_reflected_together():
    simulator = PredatorPrey()
    X = simulator.sample_initial(30, 20, random_state=0)
    X[..., 0] += np.linspace(0, 0.1, 20)
    pairs = sampler(simulator, patch=5, dt=0.01).fit_transform(X)
    straight = (pairs["x"] == X).all(axis=(1, 2))
    reflected = (pairs["x"] == X[:, ::-1]).all(axis=(1, 2))
    assert (straight ^ reflected).all()
    assert 5 <= straight.sum() <= 25


def test_workers_and_batches_do_not_show():
    X = Ising().sample_initial(300, 8, random_state=0)
    one, two = (sampler(Ising(), n_jobs=n).fit_transform(X) for n in (1, 2))
    assert one.tobytes() == two.tobytes()
    images = Augmentation(Ising(), Ising().lattice((8, 8)))
    whole, some = np.empty((600, 8, 8), np.int8), np.empty((6, 8, 8), np.int8)
    images.fill(whole, X, np.arange(300), 5)
    images.fill(some, X[[3, 5, 50]], np.array([3, 5, 50]), 5)
    np.testing.assert_array_equal(some, whole[[6, 7, 10, 11, 100, 101]])


@pytest.mark.parametrize(("simulator", "shape"), [(LinearChain(), (8,)), (Alloy(), (4, 4, 4, 2))])
def test_a_simulator_without_symmetries_is_refused(simulator, shape):
    with pytest.raises(ValueError, match="Expected a simulator that declares symmetries"):
        Augmentation(simulator, simulator.lattice(shape))
    if isinstance(simulator, LinearChain):
        with pytest.raises(ValueError, match="use augment=False"):
            sampler(simulator, dt=0.05).fit(np.zeros((2, *shape)))
