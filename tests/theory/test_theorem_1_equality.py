"""Theorem 1: patches of the law of the lattice lead to its drift and diffusion: Eq. 19.

Appendix E: the predator-prey system, whose patches have that law for one step.
"""

from dataclasses import replace

import numpy as np

from sklmacro.experiments._engine.run import Run
from sklmacro.experiments.theorem_1 import EXPERIMENT, _predator_prey


def test_predator_prey_satisfies_the_assumptions_exactly():
    """False-alarm rate 6e-5 for a correct code, by the six values of p."""
    few = replace(
        EXPERIMENT.presets["smoke"], predator_replicas=2000, control_replicas=1000,
        control_steps=100,
    )  # fmt: skip
    found = _predator_prey(few, Run(0, 1, False))
    tests = {name: v["p"] for name, v in found.items() if isinstance(v, dict) and "p" in v}
    control = tests.pop("control: means after many steps")
    assert len(tests) == 6
    assert min(tests.values()) > 1e-5
    assert control < 1e-6
    ratio = found["Sigma with lam = 1, over Sigma*"]
    assert np.abs(ratio["measured"] - 4).max() < 4.5 * ratio["standard error"].max()
