"""Print the table of ratios: `python -m benchmarks.ratios [--only NAME ...] [--out FILE]`.

Every module `bench_*.py` has a function `ratios()` that yields rows. All run on one core.
"""

import argparse
import importlib
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from benchmarks.measure import Row, table

AREAS = sorted(
    path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py")
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=AREAS, default=AREAS)
    parser.add_argument("--out", help="file for the table, beside printing it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows: list[Row] = []
    start = time.perf_counter()
    with threadpool_limits(limits=1):
        for area in options.only:
            for row in importlib.import_module(f"benchmarks.bench_{area}").ratios():
                print(f"{row.kernel}, {row.size}: {row.ratio:.3g}", file=sys.stderr, flush=True)
                rows.append(row)
    text = table(rows) + f"\n\n{platform.machine()}, {time.perf_counter() - start:.0f} s in all.\n"
    print(text)
    if options.out:
        Path(options.out).write_text(text)


if __name__ == "__main__":
    main()
