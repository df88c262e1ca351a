"""Snapshots as atoms: round trips on every lattice, ASE as the oracle, and what is refused."""

import math
import re
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import get_distances
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from sklmacro.crystal.atoms import from_atoms, to_atoms
from sklmacro.crystal.species import species_map
from sklmacro.lattice.lattice import KINDS, Lattice, n_axes

SPECIES = ("Nb", "Mo", "Ta")
BCC = {"kind": "bcc", "lattice_constant": 3.24, "species": SPECIES}
# Distance between nearest neighbors in lattice constants: Ashcroft & Mermin, table 4.1.
BOND = {"chain": 1, "square": 1, "cubic": 1, "hcp": 1, "fcc": 1 / math.sqrt(2)} | {
    "bcc": math.sqrt(3) / 2,
    "diamond": math.sqrt(3) / 4,
}


@st.composite
def crystals(draw):
    """A snapshot with vacancies, the arguments that describe it, its boundary and a generator."""
    kind = draw(st.sampled_from(KINDS))
    cells = draw(st.tuples(*[st.integers(1, 3)] * n_axes(kind)))
    boundary = draw(st.sampled_from(["periodic", "open"]))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = Lattice(kind, cells).site_shape
    x = rng.integers(1, 4, shape).astype(np.int8) * (rng.random(shape) >= share)
    a = draw(st.floats(0.5, 8))
    return x, {"kind": kind, "lattice_constant": a, "species": SPECIES}, boundary, rng


def directions(rng, n):
    vectors = rng.normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def alloy(seed=0, cells=(4, 3, 5), vacancies=0.0):
    rng = np.random.default_rng(seed)
    shape = (*cells, 2)
    return rng.integers(1, 4, shape).astype(np.int8) * (rng.random(shape) >= vacancies)


# -- round trips ------------------------------------------------------------------------------


@given(crystals())
def test_atoms_at_their_sites_give_the_snapshot(crystal):
    x, arguments, boundary, _ = crystal
    again = from_atoms(to_atoms(x, **arguments, boundary=boundary), **arguments)
    assert again.dtype == np.int8
    assert np.array_equal(again, x)


@given(crystals(), st.floats(0.01, 0.49))
def test_displaced_wrapped_shuffled_and_shifted_atoms_give_the_snapshot(crystal, tolerance):
    x, arguments, boundary, rng = crystal
    atoms = to_atoms(x, **arguments, boundary=boundary)
    limit = tolerance * BOND[arguments["kind"]] * arguments["lattice_constant"]
    atoms.positions += 0.999 * limit * directions(rng, len(atoms))
    images = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
    origin = rng.normal(size=3)
    atoms.positions += images @ atoms.cell.array + origin
    atoms = atoms[rng.permutation(len(atoms))]
    again = from_atoms(atoms, **arguments, tolerance=tolerance, origin=origin)
    assert np.array_equal(again, x)


@given(crystals(), st.floats(0.01, 0.49))
def test_one_atom_beyond_the_tolerance_is_found(crystal, tolerance):
    """Negative control of the test above."""
    x, arguments, boundary, rng = crystal
    atoms = to_atoms(np.maximum(x, 1), **arguments, boundary=boundary)
    limit = tolerance * BOND[arguments["kind"]] * arguments["lattice_constant"]
    k = int(rng.integers(len(atoms)))
    atoms.positions[k] += 1.001 * limit * directions(rng, 1)[0]
    with pytest.raises(ValueError, match=rf"within {limit:.3f} Angstrom .* but got atom {k} \("):
        from_atoms(atoms, **arguments, tolerance=tolerance)


def test_ising_states_map_both_ways():
    x = np.where(np.random.default_rng(0).random((5, 4)) < 0.5, -1, 1).astype(np.int8)
    for species in ({-1: None, 1: "Fe"}, {-1: "Co", 1: "Fe"}, {1: "Fe", -1: "X"}):
        arguments = {"kind": "square", "lattice_constant": 2.5, "species": species}
        atoms = to_atoms(x, **arguments)
        assert len(atoms) == (x.size if species[-1] else np.sum(x == 1))
        assert np.array_equal(from_atoms(atoms, **arguments), x)


def test_large_states_take_a_wider_type():
    arguments = {"kind": "chain", "lattice_constant": 1.0, "species": {0: None, 300: "H"}}
    again = from_atoms(to_atoms([0, 300, 300], **arguments), **arguments)
    assert again.tolist() == [0, 300, 300]
    assert again.dtype == np.int16


# -- ASE as the oracle ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cubic", "bcc", "fcc", "hcp", "diamond"])
def test_atoms_are_those_of_ase(kind):
    cells, a = (3, 2, 4), 3.3
    if kind == "hcp":
        unit = bulk("Nb", "hcp", a=a, covera=math.sqrt(8 / 3))
    else:
        unit = bulk("Nb", {"cubic": "sc"}.get(kind, kind), a=a, cubic=True)
    expected = unit.repeat(cells)
    x = np.ones(Lattice(kind, cells).site_shape)
    atoms = to_atoms(x, kind, lattice_constant=a, species=["Nb"])
    assert np.allclose(atoms.cell, expected.cell)
    assert atoms.pbc.all()
    _, distances = get_distances(atoms.positions, expected.positions, atoms.cell, atoms.pbc)
    assert sorted(distances.argmin(axis=1)) == list(range(len(expected)))
    assert np.allclose(distances.min(axis=1), 0)
    assert np.array_equal(from_atoms(expected, kind, lattice_constant=a, species=["Nb"]), x)


def test_chains_and_squares_stand_in_space():
    atoms = to_atoms([1, 0, 2, 3], "chain", lattice_constant=2.0, species=SPECIES)
    assert atoms.cell.array.tolist() == [[8, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert atoms.pbc.tolist() == [True, False, False]
    assert atoms.positions.tolist() == [[0, 0, 0], [4, 0, 0], [6, 0, 0]]
    assert atoms.get_chemical_symbols() == ["Nb", "Mo", "Ta"]
    square = to_atoms(np.ones((3, 2)), "square", lattice_constant=2.0, species=SPECIES)
    assert square.cell.lengths().tolist() == [6, 4, 2]
    assert square.pbc.tolist() == [True, True, False]
    assert not to_atoms([1], "chain", lattice_constant=2, species=["H"], boundary="open").pbc.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("periodic", [True, False])
def test_the_nearest_site_is_the_nearest_of_all(kind, periodic):
    """The distance in the message against ASE's distances to all sites."""
    rng = np.random.default_rng(3)
    lattice = Lattice(kind, (2, 3, 2)[: n_axes(kind)])
    full = to_atoms(np.ones(lattice.site_shape), kind, lattice_constant=2.0, species=["H"])
    full.pbc &= periodic
    for position in 6 * rng.normal(size=(20, 3)):
        _, distances = get_distances([position], full.positions, full.cell, full.pbc)
        atoms = Atoms("H", [position], cell=full.cell, pbc=full.pbc)
        with pytest.raises(ValueError, match="from the nearest site") as caught:
            from_atoms(atoms, kind, lattice_constant=2.0, species=["H"], tolerance=1e-9)
        assert f", {distances.min():.3f} Angstrom from the nearest site" in str(caught.value)


def test_unlike_neighbors_are_those_of_ase():
    x = alloy(vacancies=0.1)
    atoms = to_atoms(x, **BCC)
    i, j = neighbor_list("ij", atoms, 1.05 * 3.24 * math.sqrt(3) / 2)
    unlike = np.sum(atoms.numbers[i] != atoms.numbers[j])
    states = x.ravel()
    neighbours = states[Lattice("bcc", x.shape[:3]).neighbors()]
    present = (states[:, None] > 0) & (neighbours > 0)
    assert np.sum(present & (states[:, None] != neighbours)) == unlike > 0


# -- boxes ------------------------------------------------------------------------------------


def test_cells_given_for_a_structure_without_a_box_or_with_vacuum():
    x = alloy(vacancies=0.2)
    atoms = to_atoms(x, **BCC, boundary="open")
    atoms.center(vacuum=7)
    shift = atoms.positions[0] - to_atoms(x, **BCC).positions[0]
    assert np.array_equal(from_atoms(atoms, **BCC, cells=(4, 3, 5), origin=shift), x)
    atoms.cell = None
    assert np.array_equal(from_atoms(atoms, **BCC, cells=(4, 3, 5), origin=shift), x)
    with pytest.raises(ValueError, match=r"a whole number of bcc cells .* but got one of 0 x 0 x"):
        from_atoms(atoms, **BCC)


def test_rounded_boxes_pass_and_strained_ones_do_not():
    x, atoms = alloy(), to_atoms(alloy(), **BCC)
    atoms.set_cell(np.round(atoms.cell.array, 2))
    assert np.array_equal(from_atoms(atoms, **BCC), x)
    atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
    with pytest.raises(ValueError, match=r"box of a whole .* one of 4\.04 x 3\.03 x 5\.05 cells"):
        from_atoms(atoms, **BCC)
    assert np.array_equal(from_atoms(atoms, **BCC | {"lattice_constant": 3.24 * 1.01}), x)


def rotate():
    atoms = to_atoms(alloy(cells=(4, 4, 4)), **BCC)
    atoms.rotate(30, "z", rotate_cell=True)
    return from_atoms(atoms, **BCC)


# -- refusals ---------------------------------------------------------------------------------


def reread(change=None, **arguments):
    atoms = to_atoms(alloy(), **BCC)
    if change:
        change(atoms)
    return from_atoms(atoms, **BCC | arguments)


def pull(atoms):
    atoms.cell[0] *= 1.125


def displace(atoms):
    atoms.positions[[9, 7]] += [0, 1.5, 0]


def crowd(atoms):
    atoms.positions[8] = atoms.positions[3] + [0.1, 0, 0]


def rename(atoms):
    atoms.symbols[[11, 5]] = "W"


def everything(atoms):
    rename(atoms)
    displace(atoms)
    crowd(atoms)
    atoms.positions[4] = np.nan


def state_seven():
    x = alloy()
    x[1, 2, 0, 1] = 7
    return to_atoms(x, **BCC)


REFUSALS = {
    "far": (
        lambda: reread(displace),
        r"within 0\.842 Angstrom of a site of the bcc lattice, 0\.3 of .* but got atom 7 \(\w+\) "
        r"at \(1\.620, 3\.120, 11\.340\) Angstrom, 1\.500 Angstrom from the nearest site "
        r"\(0, 0, 3, 1\); .* raise tolerance",
    ),
    "taken": (
        lambda: reread(crowd),
        r"one atom on a site, but got atom 8 \(\w+\) at \(1\.720, 1\.620, 4\.860\) Angstrom, "
        r"0\.100 Angstrom from site \(0, 0, 1, 1\), which atom 3 has taken; remove one",
    ),
    "unknown symbol": (
        lambda: reread(rename),
        r"atoms of Nb, Mo, Ta, but got atom 5 \(W\) at \(1\.620, .*\) Angstrom; add W to species",
    ),
    "the first of all": (lambda: reread(everything), r"got atom 4 \(\w+\) at \(nan, nan, nan\)"),
    "shifted": (lambda: reread(lambda atoms: atoms.translate([0, 0, 1.0])), r"got atom 0 .*origin"),
    "not periodic": (
        lambda: reread(lambda atoms: atoms.set_pbc(False) or atoms.translate(-atoms.cell[2])),
        r"got atom 0 \(\w+\) at \(0\.000, 0\.000, -16\.200\) Angstrom, 16\.200 .*pbc",
    ),
    "strained box": (
        lambda: reread(pull),
        r"box of a whole number of bcc cells with the lattice constant 3\.24 Angstrom, but got "
        r"one of 4\.5 x 3 x 5 cells; pass",
    ),
    "infinite box": (
        lambda: reread(lambda atoms: atoms.set_cell(np.diag([12.96, np.nan, np.inf]))),
        "but got one of 4 x 0 x 0 cells",
    ),
    "other cells": (
        lambda: reread(cells=(4, 4, 5)),
        r"box of 4 x 4 x 5 bcc cells .* but got one of 4 x 3 x 5 cells",
    ),
    "other kind": (
        lambda: reread(kind="hcp"),
        r"hcp cells .* but got edges of \(4\.00, 0\.00, 0\.00\), \(1\.73, 3\.46, 0\.00\), ",
    ),
    "rotated": (rotate, r"but got edges of \(3\.46, 2\.00, 0\.00\), \(-2\.00, 3\.46, 0\.00\)"),
    "cells of other dimension": (
        lambda: reread(cells=(4, 3)),
        "cells to have one integer for each of the 3 axes",
    ),
    "missing atom": (
        lambda: reread(lambda atoms: atoms.pop(7), species={1: "Nb", 2: "Mo", 3: "Ta"}),
        r"an atom on each of the 120 sites, .* but got none on 1 of them, the first at "
        r"\(0, 0, 3, 1\); give vacancies",
    ),
    "unknown state": (
        state_seven,
        r"states 0, 1, 2, 3 that species names, but got 7 on site \(1, 2, 0, 1\); add it",
    ),
    "shape": (
        lambda: to_atoms(alloy()[None], **BCC),
        r"shape \(n_cells_0, n_cells_1, n_cells_2, 2\) of a bcc lattice, but got shape \(1, 4, 3",
    ),
    "no cells": (lambda: to_atoms(np.ones((0, 2)), **BCC | {"kind": "square"}), r"shape \(0, 2\)"),
    "kind": (lambda: to_atoms([1], **BCC | {"kind": "kagome"}), "kind to be one of .*'kagome'"),
    "kind of atoms": (lambda: reread(kind="sc"), "kind to be one of .*'sc'"),
    "boundary": (lambda: to_atoms(alloy(), **BCC, boundary="closed"), "boundary .*'closed'"),
    "lattice constant": (lambda: reread(pull, lattice_constant=0), "lattice_constant .*but got 0"),
    "tolerance": (lambda: reread(pull, tolerance=0.5), r"0 < tolerance < 0\.5, but got 0\.5"),
    "origin": (lambda: reread(pull, origin=(0, 0)), r"origin to have 3 coordinates .*\(0, 0\)"),
    "species as a word": (lambda: species_map("Nb"), "species to be chemical symbols .*'Nb'; pass"),
    "no species": (lambda: species_map([]), r"but got \[\]"),
    "only a vacancy": (lambda: species_map({0: None}), r"but got \{0: None\}"),
    "no element": (lambda: species_map(["Nb", "Qq"]), r"but got \['Nb', 'Qq'\]"),
    "no integer": (lambda: species_map({0.5: "Nb"}), r"but got \{0\.5: 'Nb'\}"),
    "twice": (lambda: species_map(["Nb", "Nb"]), "a symbol of its own .* change the symbols"),
    "two vacancies": (lambda: species_map({0: None, 1: "Nb", 2: None}), "at most one state"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_with_what_was_expected_what_came_and_the_remedy(name):
    call, text = REFUSALS[name]
    with pytest.raises(ValueError, match=text) as caught:
        call()
    assert re.fullmatch(r"Expected .*but got.*; .*\.", str(caught.value), re.DOTALL)


def test_without_ase_the_error_says_what_to_install(monkeypatch):
    atoms = to_atoms(alloy(), **BCC)
    monkeypatch.setitem(sys.modules, "ase", None)
    for call in (lambda: to_atoms(alloy(), **BCC), lambda: from_atoms(atoms, **BCC)):
        with pytest.raises(ImportError, match=r"install sklmacro\[alloy\]"):
            call()
