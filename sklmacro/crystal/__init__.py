"""Snapshots to and from crystals: ASE atoms, extended XYZ, LAMMPS dumps (extra `alloy`)."""

from sklmacro.crystal.atoms import from_atoms, to_atoms
from sklmacro.crystal.files import read_snapshots, write_snapshots

__all__ = ["from_atoms", "read_snapshots", "to_atoms", "write_snapshots"]
