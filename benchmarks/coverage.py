"""Coverage of the 95 % intervals of SDEEnsemble: `python -m benchmarks.coverage`.

Linear SDEs of Ornstein-Uhlenbeck trajectories are refitted to new data; the hits are held against
the band in which 99.9 % of binomial numbers of rate 0.95 lie. Rows drawn in the place of
trajectories are the negative control.
"""

import argparse

from scipy.stats import binom
from tests.test_ensemble import (
    STD,
    A,
    B,
    apart,
    at_mean,
    coefficients,
    covered,
    grouped,
    many_paths,
)

ROWS = [
    ("trajectories: drift, slope, standard deviation", many_paths, coefficients, (A, B, STD)),
    ("trajectories with forces of their own: mean drift", grouped, at_mean, (0.0,)),
    ("the same, rows drawn: must be below", apart, at_mean, (0.0,)),
]


def main() -> None:
    """Refit, and print the hits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--refits", type=int, default=200)
    parser.add_argument("--members", type=int, default=20)
    options = parser.parse_args()
    low, high = binom.interval(0.999, options.refits, 0.95)
    print(f"{options.refits} refits of {options.members} members: {low:.0f} to {high:.0f} expected")
    for name, pairs_of_seed, values_of, truth in ROWS:
        hits = covered(pairs_of_seed, options.refits, values_of, truth, options.members)
        print(f"{name}: {', '.join(map(str, hits))}", flush=True)


if __name__ == "__main__":
    main()
