"""The experiments of the paper, each one command: `sklmacro run NAME --preset smoke | paper`."""

from sklmacro.experiments import (
    curie_weiss,
    ising,
    linear_chain,
    nbmota,
    nbmota_direct,
    predator_prey,
    theorem_1,
)
from sklmacro.experiments._run import Experiment, Run, run_experiment

EXPERIMENTS = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        linear_chain,
        predator_prey,
        ising,
        curie_weiss,
        nbmota,
        nbmota_direct,
        theorem_1,
    )
}  # fmt: skip

__all__ = ["EXPERIMENTS", "Experiment", "Run", "run_experiment"]
