"""Flake rates of the statistical tests: `python -m tests.flakes --seeds 1-200 --out FILE`.

Tests marked `statistical` hold a random draw against a threshold. This runs them once for each
K = A ... B of `pytest --reseed K`, all in one process that compiles kernels once, and prints how
often each of them failed. A failure at other seeds is a false alarm: the code is the same.

The file has a line of JSON for each test and K, {"K", "test", "cpu": seconds, "failed": message or
null}, and one for each K that is through, {"K", "through": the selection}. A run that was stopped
goes on from it, within a K too; changed tests need a new file. Files of several runs can be joined.
"""

import argparse
import contextlib
import json
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from scipy.stats import binom, binomtest

TESTS = Path(__file__).parent
STATED = 1e-4  # false-alarm rate that a test may have
UNLIKELY = 1e-3  # more failures than this leaves room for are too many


class Recorder:
    """Plugin: writes down what comes of each test, and leaves out those in `left_out`."""

    def __init__(self, K: int, left_out: set[str], write: Callable[[dict], None]):
        self.K, self.left_out, self.write = K, left_out, write

    def pytest_collection_modifyitems(self, items):
        """Leave out what is done, and what is too slow."""
        items[:] = [item for item in items if item.nodeid not in self.left_out]

    def pytest_runtest_logstart(self):
        """Start the clock."""
        self.start, self.failed, self.skipped = time.process_time(), None, False

    def pytest_runtest_logreport(self, report):
        """Keep the first failure of a test's phases."""
        self.skipped |= report.skipped
        if report.failed and self.failed is None:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failed = str(crash.message if crash else report.longrepr)[:500]

    def pytest_runtest_logfinish(self, nodeid):
        """Write the line of a test."""
        if not self.skipped:
            cpu = round(time.process_time() - self.start, 3)
            self.write({"K": self.K, "test": nodeid, "cpu": cpu, "failed": self.failed})


def run(K: int, select: str, left_out: set[str], write: Callable[[dict], None]) -> None:
    """Run the statistical tests that are not left out with the seeds of K."""
    for name in [n for n in sys.modules if n.startswith("tests.") and n != __spec__.name]:
        del sys.modules[name]  # what they drew when they were imported
    paths = [p for p in sorted(TESTS.rglob("test_*.py")) if "mark.statistical" in p.read_text()]
    options = ["-q", "-p", "no:cacheprovider", "--tb=line", "-m", "statistical", "-k", select]
    with contextlib.redirect_stdout(sys.stderr):
        code = pytest.main(
            [*map(str, paths), *options, "--reseed", str(K)],
            plugins=[Recorder(K, left_out, write)],
        )
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"Expected tests to be run, but pytest ended with {code!r}; see above.")
    write({"K": K, "through": select})


def slow(records: Sequence[dict], slowest: float) -> set[str]:
    """Tests that took longer than `slowest` seconds in each of two runs or more."""
    seconds = defaultdict(list)
    for record in records:
        seconds[record["test"]].append(record["cpu"])
    return {name for name, times in seconds.items() if len(times) > 1 and min(times) > slowest}


def report(records: Sequence[dict]) -> str:
    """Return a line for each test that failed, and those of all."""
    runs = Counter(record["test"] for record in records)
    failures = Counter(record["test"] for record in records if record["failed"] is not None)
    lines = []
    for name, k in failures.most_common():
        too_many = binom.sf(k - 1, runs[name], STATED) < UNLIKELY
        note = f"  more than {STATED:g} explains" if too_many else ""
        lines.append(f"{rate(k, runs[name])}  {name}{note}")
    lines.append(f"{rate(failures.total(), runs.total())}  runs of {len(runs)} tests")
    n = len({record["K"] for record in records})
    whole = len({record["K"] for record in records if record["failed"] is not None})
    lines.append(f"{rate(whole, n)}  seeds at which one or more failed")
    lines.append(f"{sum(record['cpu'] for record in records):.0f} s of CPU time in tests")
    return "\n".join(lines)


def rate(k: int, n: int) -> str:
    """Return k of n, with the exact (Clopper-Pearson) 95 % interval of the rate."""
    low, high = binomtest(k, n).proportion_ci(0.95)
    return f"{k:4d} / {n:<6d} ({low:.2g} to {high:.2g})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1-200", metavar="A-B", help="K = A ... B")
    parser.add_argument("--select", default="", help="tests, an expression as of pytest -k")
    parser.add_argument(
        "--slowest", type=float, default=math.inf, metavar="S",
        help="after two runs, leave out tests that took more than S seconds of CPU time in both",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, continued")
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition("-")
    if not (first.isdigit() and last.isdigit()):
        parser.error(f"expected --seeds A-B, two numbers, but got {options.seeds!r}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text().splitlines(keepends=True) if options.out.exists() else []
    lines = [line for line in lines if line.endswith("\n")]  # not the last one of a killed run
    found = [json.loads(line) for line in lines]
    records = [line for line in found if "test" in line]
    through = {line["K"] for line in found if line.get("through") == options.select}
    with options.out.open("w") as file:
        file.writelines(lines)

        def write(line: dict) -> None:
            if "test" in line:
                records.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()

        for K in sorted(set(range(int(first), int(last) + 1)) - through):
            done = {record["test"] for record in records if record["K"] == K}
            run(K, options.select, done | slow(records, options.slowest), write)
    print(report(records))


if __name__ == "__main__":
    main()
