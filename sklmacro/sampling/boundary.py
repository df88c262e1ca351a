"""What surrounds an evolved patch: ghost cells, a buffer, or the patch itself.

- `Ghost()`, "ghost": the cells outside the patch are frozen while it evolves (Sec. II.1).
- `Buffer(w)`, the number w: a rim of w cells evolves with the patch, the cells beyond are frozen.
- `Periodic()`, "periodic": the patch is closed on itself. Wrong, and offered for comparison only:
  on the critical Ising lattice the mean increment of a 16x16 patch is then off by twice its size.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from sklmacro._base.checks import check_integer


@dataclass(frozen=True)
class Ghost:
    """Frozen cells around the patch."""


@dataclass(frozen=True)
class Buffer:
    """A rim of `width` cells that evolves with the patch."""

    width: int

    def __post_init__(self) -> None:
        check_integer(self.width, "width of a buffer", low=1)


@dataclass(frozen=True)
class Periodic:
    """The other side of the patch itself."""


Boundary: TypeAlias = Ghost | Buffer | Periodic


@lru_cache(maxsize=64)
def as_boundary(value: Boundary | str | int) -> Boundary:
    """Return a boundary: itself, "ghost", "periodic", or the width of a buffer. Refuse all else."""
    if isinstance(value, Ghost | Buffer | Periodic):
        return value
    if isinstance(value, str) and value in ("ghost", "periodic"):
        return Ghost() if value == "ghost" else Periodic()
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return Buffer(value)
    raise ValueError(
        "Expected boundary to be 'ghost', 'periodic', or the width of a buffer, an integer of at "
        f"least 1, but got {value!r}; choose one."
    )
