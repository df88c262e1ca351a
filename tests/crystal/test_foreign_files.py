"""Files of other programs and of no good will: the right snapshots, or an error that says where."""

import gzip
import random
import re
import tracemalloc

import ase.io
import numpy as np
import pytest
from ase import Atoms

from sklmacro.crystal import _lines, from_atoms, read_snapshots, write_snapshots
from sklmacro.lattice.lattice import Lattice, n_axes, nearest_distance
from tests import naive
from tests.crystal.test_atoms import BCC, alloy

CUBIC = {"kind": "cubic", "lattice_constant": 1.0, "species": ["Nb", "Mo"]}
SQUARE = CUBIC | {"kind": "square"}
ROWS = ["1 1 0 0 0", "2 2 1 0 0"]  # states 1 and 2 along x
PAIR = [[[[1]], [[2]]]]
MESSAGE = re.compile(r".*Expected .*but got.*; .*\.", re.DOTALL)
XYZ = '2\nLattice="2 0 0 0 1 0 0 0 1" Properties=species:S:1:pos:R:3\nNb 0 0 0\nMo 1 0 0\n'


def dump(rows=ROWS, x="0 2", y="0 1", z="0 1", flags=" pp pp pp", columns="id type x y z", step=0):
    return (
        f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(rows)}\nITEM: BOX BOUNDS{flags}\n"
        f"{x}\n{y}\n{z}\nITEM: ATOMS {columns}\n" + "".join(f"{row}\n" for row in rows)
    )


@pytest.fixture
def read(tmp_path):
    def call(content, name="a.dump", **arguments):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_snapshots(path, **CUBIC | arguments).tolist()

    return call


# -- what is read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        dump().replace("\n", "\r\n"),
        "\ufeff" + dump(),
        "\n\n" + dump() + "\n \n",
        "ITEM: UNITS\nmetal\nITEM: TIME\n0.5\n" + dump(),
        dump(["2 2 1 0 0", "1 1 -0.0 0 0"]),
        dump([f"1 1 {2 - 1e-9} 0 0", "2 2 1 0 0"]),  # wrapped from below zero
        dump(["1 1 2 1 -1", "2 2 -3 0 0"]),
        dump(["1 1 0.1 0 -0.2", "2 2 0.9 0.2 0"]),
        dump(x="0 2 0", y="0 1 0", z="0 1 0", flags=" xy xz yz pp pp pp"),
        dump([r + " 1 0 -1" for r in ROWS], columns="id type x y z ix iy iz"),
        dump(["1 1 Nb 0 0 0", "2 2 Mo 1 0 0"], columns="id type element x y z"),
        dump(["1 1 C 0 0 0", "2 2 C 1 0 0"], columns="id type element x y z"),  # the default
        gzip.compress(dump().encode()),
    ],
)
def test_read_as_it_is_meant(read, content):
    assert read(content) == PAIR


def test_steps_in_any_order_and_vacancies_that_move(read):
    frames = dump(step=5) + dump(ROWS[:1], step=5) + "\n" + dump(ROWS[1:], step=1)
    assert np.squeeze(read(frames)).tolist() == [[1, 2], [1, 0], [0, 2]]


@pytest.mark.parametrize(
    "content",
    [
        XYZ,
        XYZ.replace("Mo 1", "MO 1"),
        XYZ.replace("Mo 1", "Mo -1"),  # periodic, because there is a Lattice
        XYZ.replace('Lattice="2 0 0 0 1 0 0 0 1"', "Lattice = {2 0 0, 0 1 0, 0 0 1}"),
        XYZ.replace("species:S:1", "Z:I:1").replace("Nb", "41").replace("Mo", "42"),
        XYZ.replace("Prop", 'a="_JSON [[1], {\\"Lattice\\": \\"= 3\\"}]" b=[1 2] pbc="T T T" Prop'),
        gzip.compress(XYZ.encode()),
    ],
)
def test_extended_xyz_as_it_is_meant(read, content):
    assert read(content, "a.xyz") == PAIR
    assert read(content, "a.xyz.gz") == PAIR


@pytest.mark.parametrize("corner", [0.25, 5.0, -15.25])
def test_a_corner_counts_alike_everywhere(read, tmp_path, corner):
    places = [f"{corner} 3 0", f"{corner + 1} 3 0"]
    box = {"x": f"{corner} {corner + 2}", "y": "3 4"}
    assert read(dump([f"1 1 {places[0]}", f"2 2 {places[1]}"], **box)) == PAIR
    assert read(dump(["1 1 0 0 0", "2 2 0.5 0 0"], **box, columns="id type xs ys zs")) == PAIR
    text = XYZ.replace("Prop", f'Origin="{corner} 3 0" Prop')
    text = text.replace("Nb 0 0 0", f"Nb {places[0]}").replace("Mo 1 0 0", f"Mo {places[1]}")
    assert read(text, "a.xyz") == PAIR
    assert from_atoms(ase.io.read(tmp_path / "a.xyz"), **CUBIC).tolist() == PAIR[0]
    positions = [(corner, 3, 0), (corner + 1, 3, 0)]
    box = {"cell": (2, 1, 1), "pbc": True, "celldisp": (corner, 3, 0)}
    atoms = Atoms("NbMo", positions, **box)
    assert from_atoms(atoms, **CUBIC).tolist() == PAIR[0]
    atoms.info["Origin"] = [7, 7, 7]
    with pytest.raises(ValueError, match=r"one lower corner .* from get_celldisp and"):
        from_atoms(atoms, **CUBIC)
    assert from_atoms(atoms, **CUBIC, corner=(corner, 3, 0)).tolist() == PAIR[0]


# -- boundaries and corners -------------------------------------------------------------------


def test_boundaries_that_a_file_does_not_state(read):
    """As in SPPARKS, which has the time behind the step."""
    rows = ["1 1 -2 0 0", "2 2 1 0 0"]
    with pytest.raises(ValueError, match=r"flags .*, but got none, .* pass boundary='periodic'"):
        read(dump(rows, flags="", step="0 0.0"))
    assert read(dump(rows, flags="", step="0 0.0"), boundary="periodic") == PAIR
    mixed = ["open", "periodic", "periodic"]
    assert read(dump(["1 1 0 -3 0", ROWS[1]], flags=""), boundary=mixed) == PAIR
    for boundary in ("open", mixed):
        with pytest.raises(ValueError, match=r"2\.000 Angstrom from the nearest site"):
            read(dump(rows, flags=""), boundary=boundary)
    with pytest.raises(ValueError, match="but got periodic, periodic, periodic in the file"):
        read(dump(), boundary="open")
    with pytest.raises(ValueError, match=r"each of the 3 axes .* but got .'open'"):
        read(dump(), boundary=["open"])


def test_open_lattices_of_spparks_may_have_a_layer_more_than_the_box(read):
    rows = ["1 1 0 0 0", "2 2 1 0 0", "3 1 2 0 0"]
    assert np.squeeze(read(dump(rows, flags=""), boundary="open", cells=(3, 1, 1))).tolist() == [
        *(1, 2, 1)
    ]


@pytest.mark.parametrize("z", ["0 1", "-0.5 0.5"])
def test_planes_about_zero(read, z):
    """As LAMMPS and SPPARKS have two dimensions."""
    rows = ["1 1 0 0 0", "2 2 1 0 0", "3 1 0 1 0", "4 2 1 1 0"]
    content = dump(rows, y="0 2", z=z, flags="", step="0 0.0")
    assert read(content, **SQUARE, boundary="periodic") == [[[1, 1], [2, 2]]]
    with pytest.raises(ValueError, match="atom 3"):
        read(content.replace("4 2 1 1 0", "4 2 1 1 0.4"), **SQUARE, boundary="periodic")


SURFACE = (
    dump(["1 1 0 0 0", "2 2 1 0 0", "3 1 2 0 0"], flags=" ss pp pp"),
    dump(["2 2 1 0 0", "3 1 2 0 0"], x="1 2", flags=" ss pp pp"),
)


def test_boxes_that_follow_the_atoms(read):
    film = {"cells": (3, 1, 1)}
    for frames, text in (
        ("".join(SURFACE), r"Frame 1 .* one lower corner, .* got \(1\.000, 0\.0.* pass corner"),
        (SURFACE[1], r"Frame 0 .* over all 3 cells along axis 0, .* got one of 1\.000.*corner"),
    ):
        with pytest.raises(ValueError, match=text):
            read(frames, **film)
    assert np.squeeze(read(SURFACE[0], **film)).tolist() == [1, 2, 1]
    both = read("".join(SURFACE), **film, corner=(0, 0, 0))
    assert np.squeeze(both).tolist() == [[1, 2, 1], [0, 2, 1]]
    # Negative control: the second frame by its own corner.
    assert np.squeeze(read(SURFACE[1], **film, corner=(1, 0, 0))).tolist() == [2, 1, 0]


def test_frames_of_extended_xyz_do_not_shift_against_each_other(read):
    frames = XYZ + XYZ.replace("Prop", 'Origin="1 0 0" Prop')
    with pytest.raises(ValueError, match=r"Frame 1 .* one lower corner"):
        read(frames, "a.xyz")
    assert read(frames, "a.xyz", corner=(0, 0, 0)) == PAIR * 2


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (dump([*ROWS[:1], "2 2 1.0D+00 0 0"]), "Frame 1 .*'2 2 1.0D.00 0 0' on line 22"),
        (dump([*ROWS[:1], "2 2 1,0 0 0"]), "Frame 1 .*'2 2 1,0 0 0' on line 22"),
        (dump([*ROWS[:1], "2 2 1_0 0 0"]), "Frame 1 .*'2 2 1_0 0 0' on line 22"),
        (dump([*ROWS[:1], "2 2 ١ 0 0"]), "Frame 1 .* on line 22"),
        (dump([*ROWS[:1], "2 2 1 0 0 9"]), "Frame 1 .*'2 2 1 0 0 9' on line 22"),
        (dump(["1 1 0 0 0 2", "2 1 0 0"]), "Frame 1 .*'1 1 0 0 0 2' on line 21"),
        (dump([*ROWS[:1], "2 2 nan 0 0"]), r"Frame 1 .*\(nan, 0\.000, 0\.000\) .* on line 22"),
        (dump([*ROWS[:1], "2 2 inf 0 0"]), r"Frame 1 .*\(inf, 0\.000, 0\.000\) .* on line 22"),
        (dump([*ROWS[:1], "2 2 1e17 0 0"]), r"Frame 1 .* Angstrom on line 22"),
        (dump([*ROWS, ROWS[0]]), "Frame 1 .* line 23, .* which atom 0 on line 21 has taken"),
        (dump([*ROWS[:1], "2 Mo 1 0 0"]), "Frame 1 .* type Mo of atom 1 on line 22"),
        (dump(x="2 0"), "Frame 1 .* low <= high, but got lengths -2, 1 and 1 from line 17"),
        (dump(x="0 nan"), "Frame 1 .* finite numbers .* '0 nan' on line 17"),
        (dump(flags=" pf pp pp"), "Frame 1 .* Line 16: .* three flags"),
        (dump(step="zero"), "Frame 1 .* time step, but got 'zero' on line 13"),
        (dump(columns="id type x y x z"), "Frame 1 .* Line 20: .* every column .* but got x again"),
        ("# a comment\n" + dump(), "Frame 1 .* '# a comment' on line 12"),
        (
            dump(["1 1 Mo 0 0 0", "2 2 Nb 1 0 0"], columns="id type element x y z"),
            "Frame 1 .* type 1 to be Nb, .* got Mo for atom 0 on line 21; put species in the order",
        ),
    ],
)
def test_refused_dumps_name_frame_and_line(read, content, text):
    with pytest.raises(ValueError, match=text) as caught:
        read(dump() + content)
    assert MESSAGE.fullmatch(str(caught.value))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (XYZ + XYZ.replace("Mo 1 0 0", "Mo 1 0 0 7"), "Frame 1 .*'Mo 1 0 0 7' on line 8"),
        (XYZ + XYZ.replace("Mo 1 0 0", "2 Mo 1 0 0"), "Frame 1 .*'2 Mo 1 0 0' on line 8"),
        (
            XYZ.replace("Prop", 'Lattice="1 0 0 0 1 0 0 0 1" Prop'),
            "Line 2: Expected .Lattice. once",
        ),
        (XYZ.replace("Prop", 'pbc="T T" Prop'), "pbc to be T or F .* 'T T'; repair"),
        (XYZ.replace("Prop", 'a="b Prop'), "Line 2: .* closed, but got '\"b Prop.*; close"),
        (XYZ.replace("pos:R:3", "pos:R:2"), "pos:R:3 and species:S:1 .* got 'species:S:1:pos:R:2'"),
        (XYZ.replace("pos:R:3", "pos:R:3:pos:R:3"), "each name once"),
        (
            XYZ.replace("species", "Z:I:1:species").replace("Nb", "42 Nb"),
            "number 42 to be Mo, .* but got Nb for atom 0",
        ),
    ],
)
def test_refused_extended_xyz(read, content, text):
    if "42" in text:
        content = content.replace("Mo 1", "42 Mo 1")
    with pytest.raises(ValueError, match=text):
        read(content, "a.xyz")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (dump().encode("utf-16"), "but got UTF-16 or UTF-32; save it in UTF-8"),
        (dump().encode("utf-16-le"), "but got UTF-16 or UTF-32"),
        (b"\xf6\xff\xff\xff\xff\xff\xff\xffDUMPCUSTOM\1\0", "a binary dump of LAMMPS; convert it"),
        (b"\0\0\0\1" * 20, "but got binary data"),
        (b"BZh91AY&SY", "packed by bzip2; unpack it"),
        (dump().encode() + b"\xff", "UTF-8 in .*, but got bytes that are none"),
        (gzip.compress(dump().encode())[:-9], "a whole gzip file .* damaged"),
        (gzip.compress(gzip.compress(dump().encode())), "but got binary data"),
    ],
)
def test_what_is_no_text_is_named(read, content, text):
    with pytest.raises(ValueError, match=text):
        read(content)


@pytest.mark.parametrize("boundary", ["pp", "ff"])
def test_lines_are_counted_over_blocks(read, monkeypatch, boundary):
    monkeypatch.setattr(_lines, "BLOCK", 64)
    n = 1000
    rows = [f"{k} {1 + k % 2} {k} 0 0" for k in np.random.default_rng(0).permutation(n)]
    good = {"x": f"0 {n}", "flags": f" {boundary} ff ff"}
    expected = (1 + np.arange(n) % 2).reshape(1, n, 1, 1).tolist()
    assert read(dump(rows, **good)) == expected
    with pytest.raises(ValueError, match=r"atom 700 .* line 710, .* atom 3 on line 13 has taken"):
        read(dump([*rows[:700], rows[3], *rows[701:]], **good))
    with pytest.raises(ValueError, match="on line 710; repair"):
        read(dump([*rows[:700], "1 1 1", *rows[701:]], **good))


# -- bombs ------------------------------------------------------------------------------------

HUGE = "0 100000"
BOMBS = {
    "box": (dump(ROWS[:1], x=HUGE, y=HUGE, z=HUGE), {}, "at most 100.* sites .* pass max_sites="),
    "full box": (
        dump(ROWS[:1], x=HUGE, y=HUGE, z=HUGE),
        {"species": {1: "Nb", 2: "Mo"}},
        "max_sites",
    ),
    "boxes": (dump([], x="0 200", y="0 200", z="0 100") * 9, {}, "Frame 2 .* sites in all"),
    "lattice": (XYZ.replace('"2 ', '"1e18 '), {}, "max_sites"),
    "overflow": (XYZ.replace('"2 ', '"1e300 '), {}, "whole number"),
    "atoms": (dump().replace("ATOMS\n2", "ATOMS\n1000000000000"), {}, "1000000000000 lines of"),
    "number of digits": ("9" * 5000 + "\n\n", {}, "the number of atoms, but got '9999"),
    "columns": (XYZ.replace("R:3", "R:3:foo:R:3000000"), {}, "'Nb 0 0 0' on line 3"),
    "column digits": (XYZ.replace("R:3", "R:3:foo:R:" + "9" * 5000), {}, "Properties to be"),
    "depth": (XYZ.replace("Prop", "a=_JSON " + "[" * 100_000 + " Prop"), {}, "to be closed"),
    "line": ("2\n" + "a " * 600_000 + "\n", {}, "less than 1048576 characters.* on line 2"),
    "packed": (gzip.compress(b"\n" * 2_000_000), {}, "a packed file of at most .*; unpack it"),
    "packed line": (gzip.compress(b" " * 2_000_000), {}, "less than 1048576 characters"),
    "packed frames": (
        gzip.compress(b"0\n\n" * 4_000),
        {"cells": 1},
        "a packed file of at most .*; unpack it",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_stay_small(read, monkeypatch, name):
    content, arguments, text = BOMBS[name]
    file = "a.dump" if str(content).startswith("ITEM") else "a.xyz"
    monkeypatch.setattr(_lines, "FREE_TEXT", 1_000_000 if name == "packed line" else 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=text) as caught:
            read(content, file, **arguments)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000


def test_max_sites_raises_the_limit_and_cells_are_the_callers_wish(read, tmp_path):
    path = tmp_path / "a.dump"
    path.write_text(dump(ROWS[:1], x="0 240", y="0 240", z="0 240"))
    with pytest.raises(ValueError, match="pass max_sites=13824000"):
        read_snapshots(path, **CUBIC)
    for wish in ({"max_sites": 13_824_000}, {"cells": 240}):
        X = read_snapshots(path, **CUBIC, **wish)
        assert X.shape == (1, 240, 240, 240)
        assert X.sum() == X[0, 0, 0, 0] == 1
    with pytest.raises(ValueError, match="at most 1 sites"):
        read(dump(), max_sites=1)
    with pytest.raises(ValueError, match="max_sites to be an integer of at least 1"):
        read(dump(), max_sites=0)
    atoms = Atoms("Nb", cell=(1e4, 1e4, 1e4), pbc=True)
    with pytest.raises(ValueError, match="pass max_sites=1000000000000"):
        from_atoms(atoms, **CUBIC)


# -- writing ----------------------------------------------------------------------------------


def test_what_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"without .gz, .* write 'a\.xyz' and pack it"):
        write_snapshots(tmp_path / "a.xyz.gz", [[[[1]]]], **CUBIC)
    small = CUBIC | {"lattice_constant": 1e-9}
    with pytest.raises(ValueError, match="at least 1e-05 Angstrom"):
        write_snapshots(tmp_path / "a.xyz", [[[[1]]]], **small)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.xyz", "a.dump"])
@pytest.mark.parametrize("a", [1e-5, 1e4])
def test_lengths_that_files_hold(tmp_path, name, a):
    arguments = BCC | {"lattice_constant": a}
    X = np.stack([alloy(seed, vacancies=0.2) for seed in range(2)])
    write_snapshots(tmp_path / name, X, **arguments)
    assert np.array_equal(read_snapshots(tmp_path / name, **arguments), X)


# -- mutations --------------------------------------------------------------------------------

EXTREMES = ["nan", "-inf", "1e308", "-1", "0", "1e18", "7.5", "01", "1_0", "x", "ff", "", "id 2"]


def mutate(text, rng):
    """A line deleted, doubled or moved, or a token, a bit or a number changed."""
    lines = text.split("\n")
    k, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    words = lines[k].split(" ")
    choice = rng.randrange(6)
    if choice == 0:
        del lines[k]
    elif choice == 1:
        lines.insert(j, lines[k])
    elif choice == 2:
        lines[k], lines[j] = lines[j], lines[k]
    elif choice == 3:
        words[rng.randrange(len(words))] = rng.choice(EXTREMES)
        lines[k] = " ".join(words)
    elif choice == 4 and lines[k]:
        place = rng.randrange(len(lines[k]))
        flipped = chr(ord(lines[k][place]) ^ 1 << rng.randrange(7))
        lines[k] = lines[k][:place] + flipped + lines[k][place + 1 :]
    else:
        lines = lines[: k + 1]
    return "\n".join(lines)


def test_mutated_dumps_are_refused_or_read_as_the_plain_reader_does(tmp_path):
    rng, outcomes = random.Random(0), {"refused": 0, "read": 0}
    for kind in ("chain", "square", "bcc", "hcp"):
        arguments = BCC | {"kind": kind}
        lattice = Lattice(kind, (2, 3, 2)[: n_axes(kind)])
        x = np.random.default_rng(1).integers(0, 4, (2, *lattice.site_shape))
        write_snapshots(tmp_path / "a.dump", x, **arguments)
        written = (tmp_path / "a.dump").read_text()
        limit = 0.3 * BCC["lattice_constant"] * nearest_distance(kind)
        types = {str(state): state for state in range(4)}
        for _ in range(75):
            text = mutate(written, rng)
            (tmp_path / "a.dump").write_bytes(text.encode())
            try:
                X = read_snapshots(tmp_path / "a.dump", **arguments)
            except ValueError as error:
                outcomes["refused"] += bool(MESSAGE.fullmatch(str(error)))
                continue
            frames = naive.dump_frames(text)
            args = (lattice, BCC["lattice_constant"], types, limit)
            assert X.reshape(len(X), -1).tolist() == [
                naive.crystal_states(frame, *args).tolist() for frame in frames
            ]
            outcomes["read"] += 1
    assert min(outcomes.values()) > 30, outcomes
    assert sum(outcomes.values()) == 300  # every refusal with the words of one
