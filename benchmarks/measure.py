"""Ratios of two ways to do one thing, measured in turn within one run, with the memory they take.

A contestant is a function without arguments that returns the amount of work it did (events,
samples, steps), or None for one unit. Contestants take turns, so that a machine whose speed drifts
slows both; the ratio is that of their times per unit of work, the median over the turns.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 2.0**20


@dataclass(frozen=True)
class Row:
    """One line of the table: how many times faster `kernel` is than what it is measured against."""

    kernel: str
    against: str
    size: str
    ratio: float
    lowest: float
    highest: float
    seconds: float  # of ours, for a unit of work
    memory: float  # MiB that ours takes beyond what it is given; nan where it cannot be had
    goal: float | None


def compare(
    kernel: str,
    against: str,
    size: str,
    ours: Callable[[], float | None],
    theirs: Callable[[], float | None],
    *,
    goal: float | None = None,
    turns: int = 5,
    least: float = 0.2,
) -> Row:
    """Time two contestants in turn; each turn lasts at least `least` seconds."""
    ours()  # compile, fill caches
    theirs()
    memory = peak_memory(ours)
    pairs = [(unit_time(ours, least), unit_time(theirs, least)) for _ in range(turns)]
    ratios = sorted(b / a for a, b in pairs)
    return Row(
        kernel, against, size, statistics.median(ratios), ratios[0], ratios[-1],
        statistics.median(a for a, _ in pairs), memory, goal,
    )  # fmt: skip


def unit_time(run: Callable[[], float | None], least: float) -> float:
    """Return seconds for a unit of work, from as many calls as fill `least` seconds."""
    work, start = 0.0, time.perf_counter()
    while True:
        done = run()
        work += 1.0 if done is None else done
        elapsed = time.perf_counter() - start
        if elapsed >= least:
            return elapsed / work


def peak_memory(run: Callable[[], float | None]) -> float:
    """Return by how many MiB the resident memory of the process rises while `run` runs."""
    gc.collect()
    reset_peak()
    before = resident("VmRSS")
    run()
    return max(resident("VmHWM") - before, 0.0)


def reset_peak() -> None:
    """Let the peak of the process's resident memory start anew from its present size."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def resident(field: str) -> float:
    """Return the resident memory of the process in MiB, now (VmRSS) or at its peak (VmHWM).

    It is nan where the system does not say. The peak is the process's own: that of getrusage is
    also one of the process that started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / MIB


def table(rows: list[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = [
        "| kernel | against | size | ratio | range | goal | time per unit | memory (MiB) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        goal = "" if r.goal is None else f"{r.goal:g}"
        lines.append(
            f"| {r.kernel} | {r.against} | {r.size} | {r.ratio:.3g} | "
            f"{r.lowest:.3g} - {r.highest:.3g} | {goal} | {_time(r.seconds)} | {r.memory:.1f} |"
        )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.2g} ns"
