"""Barrier models: the network, the tables, functions, and the embedded barriers of NbMoTa."""

import pickle
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sklmacro.lattice.lattice import KINDS, Lattice, nearest_distance, offsets_within
from sklmacro.simulators import (
    Alloy,
    BarrierModel,
    BarrierNetwork,
    CallableBarriers,
    ClusterBarriers,
    pairwise_barriers,
)
from sklmacro.simulators.machine.vectors import CHAINS, rectified_layer, sum_rows
from sklmacro.simulators.vacancies.addresses import address_map, locate, read, shell
from sklmacro.simulators.vacancies.nbmota import nbmota_barriers, orbits
from sklmacro.simulators.vacancies.network import BOX, KEPT, TURNS
from tests import naive

DATA = (
    Path(__file__).parents[3] / "shared" / "data" / "nbmota"
)  # published, not part of the project
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the published network's files")


def random_weights(seed=0):
    """Weights of the published architecture, with batch norms that matter."""
    rng = np.random.default_rng(seed)
    weights = {}
    for i, n_in in enumerate((729, 128, 128, 128)):
        weights[f"layer{i}_weight"] = rng.normal(0, n_in**-0.5, (n_in, 128))
        for part in ("bias", "bn_beta", "bn_mean"):
            weights[f"layer{i}_{part}"] = rng.normal(0, 0.5, 128)
        for part in ("bn_gamma", "bn_var"):
            weights[f"layer{i}_{part}"] = rng.uniform(0.5, 2, 128)
    weights["out_weight"] = rng.normal(0, 0.1, (128, 1))
    weights["out_bias"] = rng.normal(1, 0.1, 1)
    return {name: array.astype(np.float32) for name, array in weights.items()}


@pytest.fixture(scope="module")
def network():
    return BarrierNetwork(random_weights())


def random_environments(n, n_sites=112, seed=0):
    rng = np.random.default_rng(seed)
    return rng.choice(4, (n, n_sites), p=[0.01, 0.33, 0.33, 0.33]).astype(np.int8)


# --- the network ---------------------------------------------------------------------------------


@needs_data
def test_published_network_gives_the_published_barriers():
    model = BarrierNetwork.from_file(DATA / "barrier_network.npz")
    with np.load(DATA / "barrier_cases.npz") as cases:
        vacancies, expected = cases["vacancies_half_lattice"][:, 0], cases["barriers_eV"][:, 0]
        sites = cases["sites"]
        assert (
            2 * offsets_within("bcc", 0.9)[0, :, :3] + 1 == cases["directions_half_lattice"]
        ).all()
    environments, basis = Alloy(barriers=model).environments(sites)
    assert (basis == vacancies[:, 0] % 2).all()
    np.testing.assert_allclose(model.evaluate(environments, basis), expected, atol=2e-6)
    np.testing.assert_allclose(
        naive.network_barriers(environments, dict(np.load(DATA / "barrier_network.npz")), TURNS),
        expected,
        atol=2e-6,
    )


def test_network_is_its_definition(network):
    """Batch norm folded, 112 of 729 voxels and kept barriers change nothing."""
    environments = np.repeat(random_environments(30), 2, axis=0)  # every second from memory
    expected = naive.network_barriers(environments, random_weights(), TURNS)
    found = network.evaluate(environments, np.zeros(60, int))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.std(expected) > 100 * 2e-6


def test_barriers_do_not_depend_on_what_was_evaluated_before():
    environments = random_environments(2 * KEPT // 1000, seed=1)
    fresh, used = BarrierNetwork(random_weights()), BarrierNetwork(random_weights())
    used.evaluate(random_environments(500, seed=2), None)
    first = used.evaluate(environments[::-1], None)[::-1]
    np.testing.assert_array_equal(fresh.evaluate(environments, None), first)
    np.testing.assert_array_equal(used.evaluate(environments, None), first)


def test_environments_that_share_a_place_in_memory_are_told_apart(network):
    """The full environment is compared: many more environments than places."""
    evaluate, layers = network.compiled()
    small = layers._replace(keys=np.full((4, 4), 2**64 - 1, np.uint64), kept=np.empty((4, 8)))
    environments, out = random_environments(64, seed=3), np.empty(8)
    for environment in np.concatenate([environments, environments[::-1]]):
        evaluate(environment, 0, out, small)
        np.testing.assert_array_equal(out, network.evaluate(environment[np.newaxis], None)[0])


def test_threads_do_not_share_working_memory(network):
    environments = random_environments(400, seed=4)
    expected = BarrierNetwork(random_weights()).evaluate(environments, None)
    found = {}

    def work(k):
        found[k] = network.evaluate(np.roll(environments, k, axis=0), None)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        np.testing.assert_array_equal(found[k], np.roll(expected, k, axis=0))


def test_network_survives_pickling_and_both_file_formats(network, tmp_path):
    weights = random_weights()
    np.savez(tmp_path / "weights.npz", **weights)
    save_file(weights, tmp_path / "weights.safetensors")
    environments = random_environments(5)
    expected = network.evaluate(environments, None)
    loaded = [BarrierNetwork.from_file(tmp_path / f"weights.{e}") for e in ("npz", "safetensors")]
    for model in (*loaded, pickle.loads(pickle.dumps(network))):
        np.testing.assert_array_equal(model.evaluate(environments, None), expected)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def hostile(path, how, marker):
    weights = random_weights()
    if how == "pickle":
        np.savez(path, **weights, bomb=np.array(Bomb(marker), dtype=object))
    elif how == "pickled npz":
        path.write_bytes(pickle.dumps(Bomb(marker)))
    elif how == "pickled safetensors":
        path.with_suffix(".safetensors").write_bytes(pickle.dumps(Bomb(marker)))
    elif how == "truncated":
        np.savez(path, **weights)
        path.write_bytes(path.read_bytes()[:-2000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "damaged":
        np.savez_compressed(path, **weights)
        with zipfile.ZipFile(path) as archive:
            offset = archive.infolist()[0].header_offset
        raw = bytearray(path.read_bytes())
        raw[offset + 200 : offset + 400] = bytes(200)
        path.write_bytes(raw)
    elif how == "bomb":  # 2 MB of zeros, compressed to little, and a header of 8 TB
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("layer0_weight.npy", "w") as stream,
        ):
            header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
            np.lib.format.write_array_header_1_0(stream, header)
            stream.write(bytes(2 * 10**6))
    elif how == "compressed bomb":
        np.savez_compressed(path, **weights, more=np.zeros(20_000_000))
    elif how == "other ending":
        path.with_suffix(".pt").write_bytes(pickle.dumps(Bomb(marker)))


@pytest.mark.parametrize(
    ("how", "ending", "message"),
    [
        ("pickle", ".npz", "to be a whole npz file of plain arrays"),
        ("pickled npz", ".npz", "to be a whole npz file of plain arrays"),
        ("pickled safetensors", ".safetensors", "to be a whole safetensors file of plain arrays"),
        ("truncated", ".npz", "to be a whole npz file of plain arrays"),
        ("empty", ".npz", "to be a whole npz file of plain arrays"),
        ("damaged", ".npz", "to be a whole npz file of plain arrays"),
        ("bomb", ".npz", "at most .* MB of memory"),
        ("compressed bomb", ".npz", "at most .* MB of memory"),
        ("missing", ".npz", "to be a whole npz file of plain arrays"),
        ("other ending", ".pt", "that ends in .npz or .safetensors"),
    ],
)
def test_hostile_and_damaged_files_are_refused_and_not_run(how, ending, message, tmp_path):
    path, marker = tmp_path / "weights.npz", tmp_path / "exploded"
    hostile(path, how, marker)
    with pytest.raises(ValueError, match=message):
        BarrierNetwork.from_file(path.with_suffix(ending))
    assert not marker.exists()


@pytest.mark.parametrize("wrong", ["missing", "shape", "nan", "integers"])
def test_wrong_weights_are_refused(wrong):
    weights = random_weights()
    name = "layer2_bn_var"
    if wrong == "missing":
        del weights[name]
    else:
        weights[name] = {
            "shape": np.ones(64, np.float32),
            "nan": np.full(128, np.nan, np.float32),
            "integers": np.ones(128, int),
        }[wrong]
    with pytest.raises(ValueError, match=rf"array {name} of finite floats of shape \(128,\)"):
        BarrierNetwork(weights)


# --- sums in registers ---------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(112, 128), (1, 32), (17, 64)])
def test_rectified_layer_is_a_matrix_product(n, m):
    rng = np.random.default_rng(n)
    a, w = rng.normal(size=(8, n)).astype(np.float32), rng.normal(size=(n, m)).astype(np.float32)
    bias, out = rng.normal(size=m).astype(np.float32), np.full((8, m), np.nan, np.float32)
    rectified_layer(a, w, bias, out)
    expected = np.maximum(a.astype(float) @ w.astype(float) + bias, 0)
    np.testing.assert_allclose(out, expected, atol=1e-6 * n)


@pytest.mark.parametrize(("k", "m"), [(CHAINS, 8), (112, 24), (0, 8)])
def test_sum_of_rows(k, m):
    rng = np.random.default_rng(k)
    table, rows = rng.normal(size=(50, m)).astype(np.float32), rng.integers(0, 50, k)
    out = np.full(m, np.nan, np.float32)
    sum_rows(table, rows.astype(np.uint64), out)
    np.testing.assert_allclose(out, table[rows].astype(float).sum(axis=0), atol=1e-4)


# --- sites around a site -------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("kind", KINDS)
def test_gathered_sites_are_those_at_the_offsets(kind, boundary):
    ndim = len(offsets_within(kind, nearest_distance(kind))[0, 0]) - 1
    lattice = Lattice(kind, (6, 7, 8)[:ndim] if ndim > 1 else (9,), boundary)
    radius = 1.9 * nearest_distance(kind)
    offsets, where = offsets_within(kind, radius), address_map(lattice, radius)
    around = shell(lattice, radius, radius)
    x = np.random.default_rng(0).integers(1, 100, lattice.site_shape).astype(np.int8)
    full = x.reshape(*lattice.cells, lattice.n_basis)
    cell, out = np.empty(4, np.int64), np.empty(offsets.shape[1], np.int8)
    for site in range(lattice.n_sites):
        *c, b = np.unravel_index(site, full.shape)
        locate(site, where.shape, cell)
        read(x.ravel(), site, cell, where, around, cell[3], out)
        for e, (*step, other) in enumerate(offsets[b]):
            place = np.array(c) + step
            beyond = ((place < 0) | (place >= lattice.cells)).any() and boundary == "open"
            wrapped = tuple(place % lattice.cells)
            assert out[e] == (0 if beyond else full[(*wrapped, other)])


@pytest.mark.parametrize("kind", KINDS)
def test_surroundings_are_all_sites_within_the_radius(kind):
    radius = 2.2 * nearest_distance(kind)
    offsets = offsets_within(kind, radius)
    cells = (11,) * (offsets.shape[2] - 1)
    lattice = Lattice(kind, cells, "open")
    positions = lattice.positions().reshape(*cells, lattice.n_basis, -1)
    centre = (5,) * len(cells)
    for b in range(lattice.n_basis):
        origin = positions[(*centre, b)]
        distance = np.linalg.norm(positions - origin, axis=-1)
        found = [positions[(*np.add(centre, step), other)] for *step, other in offsets[b]]
        assert len(found) == ((distance > 1e-9) & (distance <= radius)).sum()
        separation = np.round(np.array(found) - origin, 6) + 0.0
        assert sorted(map(tuple, separation)) == list(map(tuple, separation))
    with pytest.raises(ValueError, match="radius that reaches the nearest sites"):
        offsets_within(kind, 0.1)


# --- tables and functions ------------------------------------------------------------------------


def random_clusters(kind="bcc", seed=0, n_species=2):
    rng = np.random.default_rng(seed)
    radius = 1.5 * nearest_distance(kind)
    offsets = offsets_within(kind, radius)
    n_basis, n_sites = offsets.shape[:2]
    z, s = offsets_within(kind, nearest_distance(kind)).shape[1], n_species + 1
    points = rng.normal(1, 0.1, (n_basis, n_sites, s, z, n_species))
    pairs = rng.integers(0, n_sites, (n_basis, 7, 2))
    joint = rng.normal(0, 0.1, (n_basis, 7, s, s, z, n_species))
    return ClusterBarriers(kind, radius, points, pairs, joint), points, pairs, joint


@pytest.mark.parametrize("kind", KINDS)
def test_clusters_are_their_definition(kind):
    model, points, pairs, joint = random_clusters(kind)
    rng = np.random.default_rng(1)
    n_basis, n_sites = model.offsets.shape[:2]
    environments = rng.integers(0, 3, (20, n_sites)).astype(np.int8)
    basis = rng.integers(0, n_basis, 20)
    found = model.evaluate(environments, basis)
    for x, b, row in zip(environments, basis, found, strict=True):
        for d, barrier in enumerate(row):
            a = x[model.jumps[b, d]] - 1
            expected = np.inf
            if a >= 0:
                expected = sum(points[b, k, x[k], d, a] for k in range(n_sites))
                expected += sum(joint[b, p, x[k], x[m], d, a] for p, (k, m) in enumerate(pairs[b]))
            assert barrier == pytest.approx(expected, abs=1e-5)


def test_a_function_gives_the_same_walk_as_the_compiled_table():
    model, *_ = random_clusters()
    function = CallableBarriers(model.evaluate, "bcc", model.radius, 2)
    walks = []
    for barriers in (model, function):
        alloy = Alloy(1500.0, barriers, ("A", "B"), vacancy_fraction=0.05)
        X = alloy.sample_initial(2, 4, random_state=0)
        walks.append(alloy.advance(X, n_events=150, random_state=1))
    np.testing.assert_array_equal(walks[0][0], walks[1][0])
    np.testing.assert_array_equal(walks[0][1], walks[1][1])


@pytest.mark.statistical
def test_a_class_of_ones_own_needs_one_method():
    class Constant(BarrierModel):
        def evaluate(self, environments, basis):
            return np.full((len(environments), 12), 0.5)

    alloy = Alloy(300.0, Constant("fcc", 0.8, 1), ("Cu",), attempt_frequency=1.0)
    X = alloy.sample_initial(1, 3, random_state=0)
    _, elapsed = alloy.advance(X, n_events=1000, random_state=0)
    rate = 12 * np.exp(-0.5 / (8.617333e-5 * 300))
    assert elapsed[0] * rate / 1000 == pytest.approx(1, abs=5 / 1000**0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BarrierModel("bbc", 1.0, 2), "kind to be one of"),
        (lambda: BarrierModel("bcc", 0.5, 2), "radius to be a finite real number with 0.866"),
        (lambda: pairwise_barriers("bcc", np.ones((2, 3)), 0.5), "energies to be a symmetric"),
        (lambda: pairwise_barriers("bcc", [[0, 1], [2, 0]], 0.5), "energies to be a symmetric"),
        (lambda: pairwise_barriers("bcc", np.zeros((3, 3)), [1, 2, 3]), "saddle to be one energy"),
        (lambda: ClusterBarriers("bcc", 0.9, np.zeros(3)), "Expected points of shape"),
        (lambda: ClusterBarriers("bcc", 0.9, np.zeros((2, 8, 3, 8, 2)) * np.nan), "finite points"),
    ],
)
def test_wrong_models_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_pairs_outside_the_environment_are_refused():
    points = np.zeros((2, 8, 3, 8, 2))
    with pytest.raises(ValueError, match="pairs of sites 0 to 7 of the environment"):
        ClusterBarriers("bcc", 0.9, points, np.array([[[0, 8]]] * 2), np.zeros((2, 1, 3, 3, 8, 2)))


@pytest.mark.parametrize(
    "returned", [np.ones((1, 7)), np.full((1, 8), np.nan), np.array([["a"] * 8])]
)
def test_a_function_that_returns_nonsense_is_refused(returned):
    alloy = Alloy(barriers=CallableBarriers(lambda environments, basis: returned))
    x = np.ones((1, 4, 4, 4, 2), np.int8)
    x[0, 0, 0, 0, 0] = 0
    with pytest.raises(ValueError, match=r"Expected (the function of )?barriers to"):
        alloy.advance(x, n_events=1)


# --- embedded barriers ---------------------------------------------------------------------------


def test_embedded_barriers_have_the_symmetry_of_the_jump():
    """A permutation of the axes, or a reflection, of the surroundings permutes the jumps."""
    frame, model = orbits(), nbmota_barriers()
    assert [len(orbit) for orbit in frame.pairs] == [6]
    environments = random_environments(20, seed=5)
    barriers = model.evaluate(environments, np.zeros(20, int))
    for order, sign in (((1, 0, 2), (1, 1, 1)), ((2, 0, 1), (1, -1, 1)), ((0, 1, 2), (-1, 1, -1))):
        turned = frame.place[:, order] * sign
        image = [int(np.flatnonzero((frame.place == p).all(axis=1))[0]) for p in turned]
        moved = np.empty_like(environments)
        moved[:, image] = environments
        jumps = [int(np.flatnonzero(model.jumps[0] == image[k])[0]) for k in model.jumps[0]]
        found = model.evaluate(moved, np.zeros(20, int))
        np.testing.assert_allclose(found[:, jumps], barriers, atol=1e-5)


@pytest.mark.statistical
@needs_data
def test_embedded_barriers_are_close_to_the_network():
    model = BarrierNetwork.from_file(DATA / "barrier_network.npz")
    alloy = Alloy(1500.0, model)
    X = alloy.sample_initial(100, 8, random_state=7)
    X, _ = alloy.advance(X, n_events=2000, random_state=7)
    environments, basis = alloy.environments(X)
    error = nbmota_barriers().evaluate(environments, basis) - model.evaluate(environments, basis)
    assert np.sqrt((error**2).mean()) < 0.05
    assert np.abs(error.mean()) < 0.01


def test_box_of_the_network_is_that_of_the_environment():
    assert BOX**3 == 729
    assert nbmota_barriers().offsets.shape[1] == 112
