"""The experiments of the paper, each one command: `sklmacro run NAME --preset smoke | paper`."""

from sklmacro.experiments import (
    curie_weiss,
    dt_plateau,
    ising,
    ising_cost,
    ising_critical,
    linear_chain,
    nbmota,
    nbmota_direct,
    predator_prey,
)
from sklmacro.experiments._run import Experiment, Run, run_experiment

EXPERIMENTS = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        linear_chain,
        predator_prey,
        ising,
        ising_critical,
        ising_cost,
        curie_weiss,
        nbmota,
        nbmota_direct,
        dt_plateau,
    )
}

__all__ = ["EXPERIMENTS", "Experiment", "Run", "run_experiment"]
