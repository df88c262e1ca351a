"""Small files that stand for much: each is refused before it is built."""

import contextlib
import json
import time
import tracemalloc

import numpy as np
import pytest

import sklmacro as skm
from sklmacro.checkpoint.budget import Budget, parse
from sklmacro.checkpoint.container import read_container, write_container
from tests.hostile import sealed

TEXTS = {"strings": {"shape": [3160], "items": ["a" * 3160] + [""] * 3159, "object": False}}
REFERENCE = {"class": "PatchSDERegressor", "arguments": {}, "state": {}}


def of(hidden):
    return [{"class": "PatchSDERegressor", "arguments": {"hidden": hidden}, "state": {}}]


def net(name, **arguments):
    return [{"class": name, "arguments": arguments, "state": {}}, REFERENCE]


def json_of(text):
    return sealed([], {}, objects=text)


MORE = "takes at most .* MB of memory"
# fmt: off
BOMBS = {
    "texts, of which one is long": (lambda: sealed(of([TEXTS] * 40), {}), MORE),
    "empty lists": (lambda: json_of("[" + "[]," * 1_200_000 + "[]]"), MORE),
    "empty dictionaries": (lambda: json_of("[" + "{}," * 600_000 + "{}]"), MORE),
    "a number of a million digits": (lambda: json_of("[" + "9" * 10**6 + "]"), "strict JSON"),
    "a number that is infinite": (lambda: json_of('[{"class": "OnsagerSDE", "arguments": {"dt": '
        '1e999}, "state": {}}]'), "numbers that a float can hold"),
    "rows without numbers": (lambda: sealed(of({"array": "a"}), {"a": np.empty((10**9, 0))}),
        "rows of an array without numbers"),
    "a covariance of 20,000 components": (lambda: sealed(net("CholeskyDiffusion", n_in=1,
        n_out=20_000, kind="full", hidden=[1]), {}), "at most 1000"),
    "wide layers": (lambda: sealed(net("MLPDrift", n_in=1, n_out=1, hidden=[10**9] * 4), {}),
        "of the shapes"),
}
# fmt: on


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name, tmp_path):
    make, message = BOMBS[name]
    path = tmp_path / "file"
    path.write_bytes(make())
    start = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            skm.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = path.stat().st_size
    assert peak < 100e6 + 50 * size
    assert time.perf_counter() - start < 5 + size / 1e5


def test_whoever_trusts_a_file_may_allow_more(tmp_path):
    """The file is refused for what it needs: with enough it is read as far as its contents go."""
    path = tmp_path / "file"
    skm.save(skm.PatchSDERegressor(drift_model="linear"), path)
    with pytest.raises(ValueError, match=r"at most 0 MB of memory .* a larger max_bytes"):
        skm.load(path, max_bytes=1000)
    assert skm.load(path, max_bytes=10**6).drift_model == "linear"
    path.write_bytes(sealed(of([TEXTS] * 3), {}))
    with pytest.raises(ValueError, match="would take more"):
        skm.load(path, max_bytes=30e6)
    with pytest.raises(ValueError, match="hidden of MLP to be"):
        skm.load(path, max_bytes=1e9)


@pytest.mark.parametrize(
    "value", [[{}] * 100, [[]] * 100, [0.5] * 100, ["ab"] * 100, [{"a": {"b": [1]}}] * 100]
)
def test_json_costs_at_least_what_python_takes(value):
    text = json.dumps(value)
    budget = Budget(10**9)
    parse(text, budget)
    smallest = {dict: 64, list: 56, float: 24, str: 51}[type(value[0])]
    assert 100 * (smallest + 8) < budget.n_bytes - budget.left < 300 * len(text) + 1000


@pytest.mark.parametrize("item", [[0, 1], [], 0.5, {"a": None}])
def test_what_can_be_saved_can_be_loaded(tmp_path, item):
    n_saved = 0
    for n in (1000, 100_000, 300_000):
        with contextlib.suppress(ValueError):
            write_container(tmp_path / "file", [[item] * n], {})
            n_saved = n
        assert read_container(tmp_path / "file")[1] == [[item] * n_saved]
    assert n_saved >= 100_000
