"""The code in README and docs runs as it stands, and the README's model is worth showing."""

import re
from pathlib import Path

import numpy as np

from sklmacro.scoring import mean_path_error

ROOT = Path(__file__).resolve().parents[1]


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_code_blocks_run_and_the_model_predicts_the_large_system():
    blocks = blocks_of("README.md")
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


def test_code_blocks_about_alloys_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks_of("docs/alloys.md"):
        exec(block, names)
    assert "Ta-Ta order" in capsys.readouterr().out
    cu_cu, cu_au, au_au = names["ordering"].observe(names["Y"]).mean(axis=0)
    assert cu_au > 0 > max(cu_cu, au_au)  # unlike pairs are favoured
