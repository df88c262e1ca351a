"""The README's code runs as it stands, and its model is worth showing."""

import re
from pathlib import Path

import numpy as np

from sklmacro.scoring import mean_path_error

README = Path(__file__).resolve().parents[1] / "README.md"


def test_code_blocks_run_and_the_model_predicts_the_large_system():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(block, names)
    times = np.arange(0.0, 101.0, 1.0)
    truth = names["ising"].simulate(names["start"], times, observe=True, random_state=3)
    predicted = names["paths"][:, ::2]
    # eight single paths: two true sets differ by 0.0020, at most by 0.0074 (20 seeds)
    assert mean_path_error(predicted, truth) < 0.01
    assert names["search"].get_params()["estimator"] is names["model"]
