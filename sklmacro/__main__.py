"""Command line: `sklmacro list`, and `sklmacro run NAME`, or `sklmacro run all`."""

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec

from sklmacro.experiments import EXPERIMENTS, Experiment, run_experiment

ALL = "all"
INTERRUPTED = 130  # exit status after Ctrl-C, by convention


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="sklmacro", description=__doc__)
    parser.add_argument("--version", action="version", version=version("sklmacro"))
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the experiments")
    run = commands.add_parser("run", help="run an experiment and keep its result")
    names = [*EXPERIMENTS, ALL]
    run.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    run.add_argument("--preset", default="smoke", choices=("smoke", "paper"))
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--n-jobs", type=int, default=-1, help="workers; -1, the default, is all")
    run.add_argument(
        "--out", help="folder of the result; default results/NAME-PRESET, of all results"
    )
    run.add_argument("--barriers", metavar="FILE", help="weights of a barrier network, for nbmota")
    run.add_argument(
        "--checkpoint-dir", metavar="DIR",
        help="folder in which pieces of the result are saved; the same command resumes there",
    )  # fmt: skip
    run.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args(arguments)
    if options.command == "list":
        for experiment in EXPERIMENTS.values():
            print(f"{experiment.name:15s} {experiment.summary}")
        return 0
    if find_spec("matplotlib") is None:
        print("sklmacro: figures need matplotlib; install sklmacro[plot]", file=sys.stderr)
        return 2
    with _log_shown(not options.quiet):
        status = _run_all(options) if options.name == ALL else _run_one(options)
    if status == INTERRUPTED:
        again = f"resume with: sklmacro {shlex.join(arguments)}"
        said = again if options.checkpoint_dir else "nothing was written"
        print(f"sklmacro: interrupted; {said}", file=sys.stderr)
    return status


@contextmanager
def _log_shown(shown: bool) -> Iterator[None]:
    """Show what experiments log, if `shown`."""
    logger, handler = logging.getLogger("sklmacro.experiments"), logging.StreamHandler()
    level = logger.level
    if shown:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _run_one(options: argparse.Namespace) -> int:
    """Run the experiment of a name; return the exit status."""
    out = options.out or f"results/{options.name}-{options.preset}"
    return _run(EXPERIMENTS[options.name], out, options.checkpoint_dir, options)


def _run_all(options: argparse.Namespace) -> int:
    """Run every experiment and name those without a result; return the exit status."""
    outcomes = {}
    for name, experiment in EXPERIMENTS.items():
        print(f"{name}: {experiment.summary}", file=sys.stderr, flush=True)
        out = f"{options.out or 'results'}/{name}-{options.preset}"
        folder = f"{options.checkpoint_dir}/{name}" if options.checkpoint_dir else None
        outcomes[name] = _run(experiment, out, folder, options)
        if outcomes[name] == INTERRUPTED:
            return INTERRUPTED
    failed = [name for name, status in outcomes.items() if status]
    if failed:
        print(f"sklmacro: no result of {', '.join(failed)}", file=sys.stderr)
    return max(outcomes.values())


def _run(experiment: Experiment, out: str, folder: str | None, options: argparse.Namespace) -> int:
    """Run one experiment and print its numbers; return the exit status."""
    takes_barriers = "barriers" in vars(experiment.presets[options.preset])
    changes = {}
    if options.barriers and (takes_barriers or options.name != ALL):
        changes["barriers"] = options.barriers
    try:
        result = run_experiment(
            experiment, preset=options.preset, seed=options.seed, n_jobs=options.n_jobs, out=out,
            verbose=not options.quiet, changes=changes, checkpoint_dir=folder,
        )  # fmt: skip
    except KeyboardInterrupt:
        return INTERRUPTED
    except ValueError as error:
        print(f"sklmacro: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result["numbers"], indent=2, default=lambda value: value.tolist()))
    print(f"{result['seconds']['total']:.0f} s; result.json, arrays.npz and figure.png in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
