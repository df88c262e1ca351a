"""Visits of LocalRelax: how large the patches are, how far apart, and for how long they evolve."""

from collections.abc import Sequence

from sklmacro._base.checks import check_cells, check_choice, check_range, check_real
from sklmacro.lattice.lattice import Lattice
from sklmacro.simulators import Simulator


def visited(
    small: Lattice,
    relax_patch: int | Sequence[int] | None,
    relax_stride: int | Sequence[int] | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the cells of a patch of LocalRelax and the stride between patches.

    `small` is the lattice of the small snapshots; the others are parameters of the upsampler.
    """
    patch = small.cells
    if relax_patch is not None:
        patch = check_cells(relax_patch, "relax_patch", small.ndim)
    if relax_stride is None:
        return patch, tuple(max(1, p // 2) for p in patch)
    stride = check_cells(relax_stride, "relax_stride", small.ndim)
    if any(s > p for s, p in zip(stride, patch, strict=True)):
        raise ValueError(
            f"Expected relax_stride of at most the patch's {patch} cells, but got {stride}; "
            "cells between the patches would never relax, so use a smaller stride."
        )
    return patch, stride


def visit_lengths(
    simulator: Simulator,
    relax_duration: float | tuple[float, float] | str | None,
    relax_events: float | None,
    n_sites: int,
) -> tuple[tuple[float, float], int | None]:
    """Return the range of durations, or the number of events, of a visit to `n_sites`.

    `relax_duration` and `relax_events` are parameters of the upsampler.
    """
    if relax_events is not None:
        if relax_duration not in ("auto", None):
            raise ValueError(
                "Expected either relax_duration or relax_events, but got "
                f"relax_duration={relax_duration!r} and relax_events={relax_events!r}; leave one "
                "at its default."
            )
        per_site = check_real(relax_events, "relax_events", low=0.0)
        n_events = round(per_site * n_sites)
        simulator.check_evolution(None, n_events)
        return (0.0, 0.0), n_events
    if isinstance(relax_duration, Sequence) and not isinstance(relax_duration, str):
        shortest, longest = check_range(relax_duration, "relax_duration")
    else:
        if isinstance(relax_duration, str):
            check_choice(relax_duration, "relax_duration", ("auto",))
            longest = simulator.relax_time
        else:
            longest = check_real(relax_duration or 0.0, "relax_duration", low=0.0)
        shortest = longest
    simulator.check_evolution(longest, None)
    return (shortest, longest), None
