"""The way of one snapshot through the package: `python -m benchmarks.stations`.

Prints, for one warm snapshot of each stage, how many modules are entered, how often a call enters
another module than the last one did, and how many calls there are. With `--calls` the calls, too.
"""

import argparse
import sys
from itertools import groupby, pairwise
from pathlib import Path

import sklmacro as skm
from sklmacro.simulators import Ising

ROOT = Path(skm.__file__).parent


def trace(work):
    """Return the (module, function) of every call within the package that `work` makes."""
    calls = []

    def record(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            module = path.relative_to(ROOT).with_suffix("").as_posix()
            calls.append((module, frame.f_code.co_name))

    sys.setprofile(record)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def stages():
    """Yield the name of each stage, and a call that takes one snapshot through it."""
    ising = Ising(temperature=2.4)
    large, small = (ising.sample_initial(1, n, random_state=0) for n in (64, 16))
    sampler = skm.PartialEvolutionSampler(ising, patch=16, random_state=0).fit(large)
    yield "evolve one patch", lambda: sampler.transform(large)
    for n_iter in (1, 2):
        upsampler = skm.HierarchicalUpsampler(ising, n_iter=n_iter, random_state=0).fit(small)
        yield f"upsample in {n_iter}", lambda up=upsampler: up.transform(small)


def main():
    """Print a line for each stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", action="store_true", help="print all calls")
    shown = parser.parse_args().calls
    for name, work in stages():
        work()  # kernels are compiled, caches filled
        calls = trace(work)
        modules = [module for module, _ in calls]
        changes = sum(a != b for a, b in pairwise(modules))
        print(f"{name:20s}{len(set(modules)):3d} modules{changes:4d} changes{len(calls):5d} calls")
        for module, several in groupby(calls, key=lambda call: call[0]) if shown else ():
            print(f"  {module}: {' '.join(function for _, function in several)}")


if __name__ == "__main__":
    main()
