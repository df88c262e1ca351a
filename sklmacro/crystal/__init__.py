"""Snapshots to and from crystals: ASE atoms, extended XYZ, LAMMPS dumps (extra `alloy`).

Snapshots (*site_shape) enter and `ase.Atoms` leave, or files with one frame for each snapshot of a
batch (n_samples, *site_shape); and back. Positions are a (R + b) in Angstrom, with the lattice
constant a, the cell R and the place b in it of a site of `sklmacro.lattice.Lattice`.
"""

from sklmacro.crystal.atoms import from_atoms, to_atoms
from sklmacro.crystal.files import read_snapshots, write_snapshots

__all__ = ["from_atoms", "read_snapshots", "to_atoms", "write_snapshots"]
