"""How large: `python -m benchmarks.size --what streamed|giant [--quick]` prints a table of memory.

- streamed: `StreamedPairs` on 1,000 and on 10,000 large Ising snapshots of 512x512 sites, pairs
  evolved and exact moments of pairs. What is compared is the peak of a process.
- giant: one snapshot of 31,744x31,744 sites, more than 10^9, made from 1984x1984 step by step.

Each row of streamed, and giant, have a fresh process with one worker, which does a little of the
same first to load and to compile. Times are those of the processor.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from benchmarks.measure import MIB, reset_peak, resident
from sklmacro import (
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    PatchAutoencoder,
    Patches,
    StreamedPairs,
)
from sklmacro.simulators import Ising

ISING = Ising(temperature=2.27)
N_SMALL = 10  # snapshots that the large ones are made of
PATCH = 32  # of LocalRelax and of partial evolution
RELAX = 0.25  # sweeps of a visit; each site is visited four times
FACTOR = 16


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    seconds: float
    before: float  # MiB resident
    peak: float  # MiB resident at most
    snapshots: float  # MiB of all large snapshots


def upsampler(**options: Any) -> HierarchicalUpsampler:
    relaxation = LocalRelax(duration=RELAX, patch=PATCH)
    settings = {"factor": FACTOR, "relaxation": relaxation, **options}
    return HierarchicalUpsampler(ISING, random_state=0, **settings)


def sampler(n_evolved: int = 1, **options: Any) -> PartialEvolutionSampler:
    patch = Patches(PATCH, n_evolved=n_evolved)
    return PartialEvolutionSampler(ISING, patch=patch, dt=0.5, random_state=1, **options)


def small_snapshots(n_samples: int, side: int) -> np.ndarray:
    """Return snapshots that a large one of `side` x `side` sites is made of."""
    return ISING.sample_initial(n_samples, side // FACTOR, random_state=0)


def stream(n_snapshots: int, side: int, moments: bool = False, **options: Any) -> np.ndarray:
    """Return the latent pairs of `n_snapshots` large snapshots."""
    small = small_snapshots(N_SMALL, side)
    streamed = StreamedPairs(
        upsampler(n_repeats=n_snapshots // N_SMALL), sampler(moments=moments),
        PatchAutoencoder(ISING, n_closure=0), **options,
    )  # fmt: skip
    return streamed.fit_transform(small)


def measured(name: str, n_sites: int, step: Callable[..., Any], *given: Any) -> tuple[Row, Any]:
    """Run a step once; return the row, and what the step returns."""
    reset_peak()
    before, start = resident("VmRSS"), time.process_time()
    result = step(*given)
    seconds = time.process_time() - start
    return Row(name, seconds, before, resident("VmHWM"), n_sites / MIB), result


def rows_streamed(n_snapshots: int, side: int, moments: bool) -> list[Row]:
    stream(N_SMALL, side, moments)  # compiles
    name = f"{n_snapshots} of {side}x{side}, {'moments' if moments else 'pairs'}"
    row, _ = measured(name, n_snapshots * side**2, lambda: stream(n_snapshots, side, moments))
    return [row]


def rows_giant(side: int) -> list[Row]:
    one_snapshot(PATCH * FACTOR)  # compiles
    return one_snapshot(side)


def one_snapshot(side: int) -> list[Row]:
    """Make one snapshot of `side` x `side` sites, and a latent pair of it.

    Each step holds what it is given and what it makes of it.
    """
    X = small_snapshots(1, side)
    upsample = upsampler(relaxation=None).fit_transform
    rows = [measured(f"upsample to {side}x{side}", side**2, upsample, X)[0]]
    steps: dict[str, Callable[[Any], Any]] = {
        "upsample and relax": upsampler().fit_transform,
        "evolve 4 patches": sampler(n_evolved=4).fit_transform,
        "encode": PatchAutoencoder(ISING, n_closure=0).fit_transform,
    }
    for name, step in steps.items():
        row, X = measured(name, side**2, step, X)
        rows.append(row)
    return rows


def rows_of(what: str, quick: bool = False) -> Iterator[Row]:
    """Yield the rows of a table, from fresh processes."""
    tasks: list[tuple[Callable[..., list[Row]], tuple]]
    if what == "giant":
        tasks = [(rows_giant, (8192 if quick else 31_744,))]
    else:
        numbers, side = ((50, 500), 256) if quick else ((1000, 10_000), 512)
        tasks = [(rows_streamed, (n, side, moments)) for moments in (False, True) for n in numbers]
    for rows, arguments in tasks:
        with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as fresh:
            yield from fresh.submit(rows, *arguments).result()


def table(rows: list[Row]) -> str:
    """Return rows as a table of plain text."""
    head = ("", "s", "before", "peak", "all snapshots")
    cells = [
        (r.name, f"{r.seconds:.1f}", f"{r.before:.0f}", f"{r.peak:.0f}", f"{r.snapshots:.0f}")
        for r in rows
    ]
    width = max(len(row[0]) for row in cells)
    return "\n".join(
        f"{name:{width}}" + "".join(f"{cell:>15}" for cell in rest)
        for name, *rest in [head, *cells]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", required=True, choices=("streamed", "giant"))
    parser.add_argument("--quick", action="store_true", help="a small version, for a minute")
    options = parser.parse_args(arguments)
    rows = []
    for row in rows_of(options.what, options.quick):
        print(f"{row.name}: {row.peak:.0f} MiB", file=sys.stderr, flush=True)
        rows.append(row)
    print(table(rows))
    print("Seconds of one core; memory in MiB: resident before, at its peak, and of all snapshots.")


if __name__ == "__main__":
    main()
