"""Lattices, the patches that tile them, and ways to enlarge a snapshot.

Enters: the size of a snapshot. Leaves: neighbours, boxes of cells and larger snapshots. Here stand
the tiling by K patches behind Eq. 1 and the Upsample of Algorithm 1.
"""

from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid

__all__ = ["Lattice", "PatchGrid"]
