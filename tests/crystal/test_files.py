"""Files of snapshots: round trips in both formats, foreign files, and damaged ones."""

import re
import tempfile
from itertools import pairwise
from pathlib import Path

import ase.io
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklmacro.crystal.atoms import to_atoms
from sklmacro.crystal.files import ENDINGS, read_snapshots, write_snapshots
from tests.crystal.test_atoms import BCC, SPECIES, alloy, crystals

FILES = ["alloy.extxyz", "alloy.lammpstrj"]
ORACLE = {
    "alloy.extxyz": {"format": "extxyz"},
    "alloy.lammpstrj": {"format": "lammps-dump-text", "specorder": list(SPECIES)},
}
X = np.stack([alloy(seed, vacancies=0.1) for seed in range(3)])


# -- round trips ------------------------------------------------------------------------------


@given(crystals(), st.integers(1, 3), st.sampled_from(FILES))
def test_what_is_written_is_read(crystal, n_samples, name):
    x, arguments, boundary, rng = crystal
    batch = np.stack([x, *(rng.permuted(x) for _ in range(n_samples - 1))])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write_snapshots(path, batch, **arguments, boundary=boundary)
        again = read_snapshots(path, **arguments)
        assert [file.name for file in Path(folder).iterdir()] == [name]
    assert again.dtype == np.int8
    assert np.array_equal(again, batch)


@given(crystals(), st.sampled_from(FILES))
def test_ase_reads_the_atoms(crystal, name):
    x, arguments, boundary, _ = crystal
    expected = to_atoms(x, **arguments, boundary=boundary)
    if len(expected) == 0:
        return  # ASE warns of an empty table
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write_snapshots(path, [x, x], **arguments, boundary=boundary)
        frames = ase.io.read(path, index=":", **ORACLE[name])
    assert len(frames) == 2
    for atoms in frames:
        assert np.allclose(atoms.positions, expected.positions, atol=1e-7)
        assert np.allclose(atoms.cell, expected.cell, rtol=1e-12, atol=1e-12)
        assert atoms.pbc.tolist() == expected.pbc.tolist()
        assert atoms.get_chemical_symbols() == expected.get_chemical_symbols()


def test_hcp_boxes_are_tilted(tmp_path):
    hcp = {"kind": "hcp", "lattice_constant": 2.0, "species": ["Mg"]}
    write_snapshots(tmp_path / "hcp.dump", np.ones((1, 3, 4, 2, 2)), **hcp)
    lines = (tmp_path / "hcp.dump").read_text().splitlines()
    assert lines[4] == "ITEM: BOX BOUNDS xy xz yz pp pp pp"
    bounds = np.array([line.split() for line in lines[5:8]], dtype=float)
    c = np.sqrt(8 / 3)
    expected = [[-4, 6, -4], [0, 4 * np.sqrt(3), 0], [0, 4 * c, 0]]
    assert np.allclose(bounds, expected)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_ending_or_the_argument_gives_the_format(tmp_path, ending):
    write_snapshots(tmp_path / f"a{ending.upper()}", X, **BCC)
    write_snapshots(tmp_path / "a.txt", X, **BCC, format=ENDINGS[ending])
    text = (tmp_path / "a.txt").read_text()
    assert text == (tmp_path / f"a{ending.upper()}").read_text()
    assert text.startswith("ITEM: TIMESTEP\n0\n") == (ENDINGS[ending] == "lammps-dump")
    assert np.array_equal(read_snapshots(tmp_path / "a.txt", **BCC, format=ENDINGS[ending]), X)


# -- files of other programs ------------------------------------------------------------------


def dump(columns, rows, bounds, box="pp pp pp", n_atoms=None):
    lines = [
        *("ITEM: UNITS", "metal", "ITEM: TIME", "0.5", "ITEM: TIMESTEP", "500"),
        *("ITEM: NUMBER OF ATOMS", str(len(rows) if n_atoms is None else n_atoms)),
        *(f"ITEM: BOX BOUNDS {box}", *bounds, f"ITEM: ATOMS {columns}"),
        *(" ".join(map(str, row)) for row in rows),
    ]
    return "\n".join([*lines, ""])


@pytest.mark.parametrize("coordinates", ["x y z", "xu yu zu", "xs ys zs", "xsu ysu zsu"])
@pytest.mark.parametrize("kind", ["bcc", "hcp"])
def test_a_dump_with_a_shifted_box_other_columns_and_any_order(tmp_path, kind, coordinates):
    rng = np.random.default_rng(1)
    x = rng.integers(1, 4, (4, 3, 5, 2))
    arguments = BCC | {"kind": kind}
    atoms = to_atoms(x, **arguments)
    atoms.positions += rng.uniform(-0.3, 0.3, atoms.positions.shape)
    positions = atoms.positions
    if coordinates.startswith("xs"):
        positions = atoms.get_scaled_positions(wrap=False)
    if "u" in coordinates:  # unwrapped: any image
        images = rng.integers(-2, 3, positions.shape)
        positions = positions + (images if "s" in coordinates else images @ atoms.cell.array)
    corner = np.array([-1.5, 20.0, 0.7])
    if not coordinates.startswith("xs"):
        positions = positions + corner
    rows = [
        (*np.round(positions[k], 8), k + 1, 0.25, x.flat[k]) for k in rng.permutation(len(atoms))
    ]
    (lx, ly, lz), xy = np.diagonal(atoms.cell.array), atoms.cell.array[1, 0]
    bounds = [
        f"{corner[0] + min(xy, 0)} {corner[0] + lx + max(xy, 0)} {xy}",
        f"{corner[1]} {corner[1] + ly} 0",
        f"{corner[2]} {corner[2] + lz} 0",
    ]
    path = tmp_path / "md.lammpstrj"
    path.write_text(dump(f"{coordinates} id q type", rows, bounds, "xy xz yz pp pp pp"))
    assert np.array_equal(read_snapshots(path, **arguments), x[None])


def test_atoms_of_the_vacancy_type_are_absent(tmp_path):
    rows = [(1, 2, 0, 0, 0), (2, 3, 1, 0, 0), (3, 1, 2, 0, 0)]
    path = tmp_path / "chain.dump"
    path.write_text(dump("id type x y z", rows, ["0 4", "0 1", "0 1"], "pp ff ff"))
    chain = {"kind": "chain", "lattice_constant": 1.0, "species": {1: "Nb", 2: "Mo", 3: None}}
    assert read_snapshots(path, **chain).tolist() == [[2, 3, 1, 3]]


def test_plain_xyz_with_cells(tmp_path):
    path = tmp_path / "plain.xyz"
    path.write_text("2\na comment\nNb 0 0 0.1\nMo 1.62 1.62 1.5\n\n")
    assert read_snapshots(path, **BCC, cells=1).tolist() == [[[[[1, 2]]]]]
    with pytest.raises(ValueError, match=r"Frame 0 of .* one of 0 x 0 x 0 cells"):
        read_snapshots(path, **BCC)


@pytest.mark.parametrize("corner", [0.0, 0.8, 5.0])
def test_the_origin_of_a_box_counts_in_either_format(tmp_path, corner):
    """As OVITO writes it; without it a shift by a cell would give the wrong states in silence."""
    chain = {"kind": "chain", "lattice_constant": 1.0, "species": ["Nb", "Mo"]}
    rows = [(1, 1, corner, 0, 0), (2, 2, corner + 1, 0, 0)]
    (tmp_path / "a.dump").write_text(
        dump("id type x y z", rows, [f"{corner} {corner + 2}", "0 1", "0 1"], "pp ff ff")
    )
    (tmp_path / "a.xyz").write_text(
        f'2\nLattice="2 0 0 0 1 0 0 0 1" Origin="{corner} 0 0" Properties=species:S:1:pos:R:3 '
        f'pbc="T F F"\nNb {corner} 0 0\nMo {corner + 1} 0 0\n'
    )
    for name in ("a.dump", "a.xyz"):
        assert read_snapshots(tmp_path / name, **chain).tolist() == [[1, 2]]


def test_columns_of_other_kinds_do_not_matter(tmp_path):
    """Words, quaternions and elements beside types, of which ASE makes something else."""
    columns = "id element type mass c_q[1] c_q[2] c_q[3] c_q[4] name xs ys zs"
    rows = [(k + 1, "H", t, 1.0, 1, 0, 0, 0, "a", k / 2, 0, 0) for k, t in enumerate((2, 1))]
    (tmp_path / "a.dump").write_text(dump(columns, rows, ["0 2", "0 1", "0 1"], "pp ff ff"))
    chain = {"kind": "chain", "lattice_constant": 1.0, "species": ["Nb", "Mo"]}
    assert read_snapshots(tmp_path / "a.dump", **chain).tolist() == [[2, 1]]


# -- refusals ---------------------------------------------------------------------------------


def spoil(change):
    """Write three frames, let `change` edit the lines of the file, and read it."""

    def call(path):
        write_snapshots(path, X, **BCC)
        lines = change(path.read_text().splitlines())
        path.write_text("\n".join([*lines, ""]))
        return read_snapshots(path, **BCC)

    return call


def edit(number, text):
    """Replace a line of the second frame."""

    def change(lines):
        below = enumerate(pairwise(lines))
        starts = [k for k, (a, b) in below if a == "ITEM: TIMESTEP" or b.startswith("Lattice")]
        row = starts[1] + number
        return [*lines[:row], text, *lines[row + 1 :]]

    return change


def other_cells(path):
    write_snapshots(path, X, **BCC)
    first = path.read_text()
    write_snapshots(path, X[:, :, :2], **BCC, boundary="open")
    path.write_text(first + path.read_text())
    return read_snapshots(path, **BCC)


EITHER = {
    "empty": (spoil(lambda lines: []), "at least one frame in .*, but got an empty file; check"),
    "cut short": (spoil(lambda lines: lines[:-1]), "Frame 2 of .*lines of .* but got .* before"),
    "other cells": (other_cells, r"Frame 3 of .*\(4, 3, 5\) cells as in frame 0, but got \(4, 2,"),
    "no snapshots": (lambda path: write_snapshots(path, X[:0], **BCC), r"shape \(0, 4, 3, 5, 2\)"),
    "one snapshot": (
        lambda path: write_snapshots(path, X[0], **BCC),
        r"Frame 0 for .* snapshot of shape \(n_cells_0, n_cells_1, n_cells_2, 2\) of a bcc",
    ),
    "unknown state": (
        lambda path: write_snapshots(path, [*X, X[0] + 1], **BCC),
        "Frame 3 for .* states 0, 1, 2, 3 .* but got 4 on site",
    ),
    "unknown ending": (
        lambda path: write_snapshots(path.with_suffix(".cif"), X, **BCC),
        r"ends in .extxyz, .* but got 'alloy\.cif'; rename it",
    ),
    "unknown format": (
        lambda path: read_snapshots(path, **BCC, format="cif"),
        "format to be one of 'extxyz', 'lammps-dump', but got 'cif'",
    ),
    "no text": (
        lambda path: path.write_bytes(b"\x1f\x8b\x08") and read_snapshots(path, **BCC),
        r"Expected a whole gzip file in .*alloy\.\w+, but got a damaged one .*; unpack it",
    ),
    "does not fit": (
        lambda path: spoil(list)(path) is read_snapshots(path, **BCC | {"lattice_constant": 3.3}),
        r"Frame 0 of .* one of 3\.927 x 2\.945 x 4\.909 cells",
    ),
}


@pytest.mark.parametrize("name", EITHER)
@pytest.mark.parametrize("file", FILES)
def test_refused_in_either_format(tmp_path, file, name):
    call, text = EITHER[name]
    with pytest.raises(ValueError, match=text) as caught:
        call(tmp_path / file)
    assert re.fullmatch(r".*Expected .*but got.*; .*\.", str(caught.value), re.DOTALL)


@pytest.mark.parametrize(
    ("number", "line", "text"),
    [
        (0, "many", "the number of atoms, but got 'many'"),
        (0, "108", r"Frame 2 of .*the number of atoms, but got '\w\w +\d"),
        (1, 'Lattice="1 2"', r"Lattice to have 9 finite numbers .*, but got '1 2'; repair"),
        (1, 'Lattice="2 0 0 0 1 0 0 0 1" Origin="1 2"', r"Origin to have 3 finite numbers .*'1 2'"),
        (
            2,
            "Nb 0.0 zero 0.0",
            r"lines with numbers for columns species:S:1:pos:R:3 .*'Nb 0.0 zero 0.0' on line \d+; ",
        ),
        (2, "Nb 0.0 0.0", r"got 'Nb 0.0 0.0' on line \d+; repair this line"),
        (2, "Qq 0.0 0.0 0.0", r"symbol Qq of atom 0 on line \d+; add"),
        (2, "W 0.0 0.0 0.0", r"Nb, Mo, Ta .* but got symbol W of atom 0 on line \d+; add it"),
        (2, "Nb 0.0 0.0 1.0", r"atom 0 \(Nb\) .* 1\.000 Angstrom from the nearest site \(0, 0, 0"),
    ],
)
def test_refused_extxyz(tmp_path, number, line, text):
    with pytest.raises(ValueError, match=text) as caught:
        spoil(edit(number, line))(tmp_path / "alloy.xyz")
    assert str(caught.value).startswith(("Frame 1 of", "Frame 2 of"))


@pytest.mark.parametrize(
    ("number", "line", "text"),
    [
        (0, "TIMESTEP", "a line with ITEM: .* but got 'TIMESTEP'"),
        (0, "ITEM: BOXES", "each once in a frame, but got 'ITEM: BOXES'"),
        (2, "ITEM: TIMESTEP", "each once in a frame, but got 'ITEM: TIMESTEP'"),
        (2, "ITEM: TIME", "a section NUMBER OF ATOMS before ATOMS, but got none"),
        (3, "-1", "the number of atoms, but got '-1'"),
        (3, "5000", r"5000 lines of columns id type .*, but got \d+ before the end"),
        (3, "200", "lines with numbers for columns id type x y z of the atoms, but got 'ITEM: TIM"),
        (
            4,
            "ITEM: BOX BOUNDS",
            "three flags such as pp or ff, but got none, as in .* pass boundary='periodic'",
        ),
        (
            4,
            "ITEM: BOX BOUNDS xy xz yz pp pp pp",
            "3 finite numbers for the bounds of the box, but got",
        ),
        (5, "0 wide", "numbers for the bounds of the box, but got '0 wide'"),
        (5, "0 14", r"box of a whole number .* one of 4\.321 x 3 x 5 cells"),
        (8, "ITEM: ATOMS id type x y vz", "columns type and x y z .* but got 'id type x y vz'"),
        (8, "ITEM: ATOMS id element x y z", "but got 'id element x y z'; dump"),
        (9, "1 1 0.0 0.0", "lines with numbers for columns .* but got '1 1 0.0 0.0'"),
        (9, "7 1 1 0.0 0.0 0.0", "but got '7 1 1 0.0 0.0 0.0' on line 128; repair this line"),
        (9, "1 1 0.0 0.0 0.0 2 1 1.6 1.6 1.6", r"but got '1 1 .* 1\.6' on line 128; repair"),
        (9, "1 1 0.0 zero 0.0", "but got '1 1 0.0 zero 0.0' on line 128; repair this line"),
        (9, "1 Nb 0.0 0.0 0.0", "but got type Nb of atom 0"),
        (9, "1 4 0.0 0.0 0.0", r"types 0, 1, 2, 3 .* but got type 4 of atom 0 on line 128; add it"),
        (9, "1 1.5 0.0 0.0 0.0", r"but got type 1\.5 of atom 0"),
        (9, "1 1 0.0 0.0 1.0", r"atom 0 \(Nb\) .* 1\.000 Angstrom from the nearest site \(0, 0, 0"),
        (9, "1 1 nan 0.0 1.0", r"atom 0 \(Nb\) at \(nan, 0\.000, 1\.000\)"),
    ],
)
def test_refused_dump(tmp_path, number, line, text):
    with pytest.raises(ValueError, match=text) as caught:
        spoil(edit(number, line))(tmp_path / "alloy.dump")
    assert str(caught.value).startswith("Frame 1 of")


def test_the_files_above_are_fine_without_the_flaw(tmp_path):
    """Negative control."""
    for file in FILES:
        assert np.array_equal(spoil(list)(tmp_path / file), X)


def test_states_that_are_no_types_are_refused_in_a_dump(tmp_path):
    spins = {"kind": "square", "lattice_constant": 2.5, "species": {-1: "Co", 1: "Fe"}}
    x = [[[1, -1], [-1, 1]]]
    with pytest.raises(ValueError, match=r"states of at least 1 .* got -1 for Co; write extxyz"):
        write_snapshots(tmp_path / "spins.dump", x, **spins)
    write_snapshots(tmp_path / "spins.xyz", x, **spins)
    assert read_snapshots(tmp_path / "spins.xyz", **spins).tolist() == x


@pytest.mark.parametrize("file", FILES)
def test_a_failure_leaves_what_was_there(tmp_path, file):
    path = tmp_path / file
    with pytest.raises(ValueError, match="Frame 2 for"):
        write_snapshots(path, [X[0], X[1], X[2] + 1], **BCC)
    assert not list(tmp_path.iterdir())
    write_snapshots(path, X, **BCC)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Frame 2 for"):
        write_snapshots(path, [X[0], X[1], X[2] + 1], **BCC)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write_snapshots(path, X[:1], **BCC)
    assert np.array_equal(read_snapshots(path, **BCC), X[:1])
