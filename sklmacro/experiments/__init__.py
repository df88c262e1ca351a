"""The experiments of the paper, each one command: `sklmacro run NAME --preset smoke | paper`."""

from sklmacro.experiments import (
    curie_weiss,
    dt_plateau,
    ising,
    ising_ablation,
    ising_cost,
    ising_critical,
    ising_patch_size,
    ising_rescaling,
    linear_chain,
    local_relax,
    nbmota,
    nbmota_direct,
    predator_prey,
    theorem_1,
)
from sklmacro.experiments._engine.run import Experiment, Run, run_experiment

EXPERIMENTS = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        linear_chain,
        predator_prey,
        theorem_1,
        ising,
        ising_patch_size,
        ising_critical,
        local_relax,
        ising_rescaling,
        ising_ablation,
        ising_cost,
        curie_weiss,
        nbmota,
        nbmota_direct,
        dt_plateau,
    )
}

__all__ = ["EXPERIMENTS", "Experiment", "Run", "run_experiment"]
