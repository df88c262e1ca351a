"""SIGKILL at five random moments of simulations and samplings: the same bits come out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import killed_sampling

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills processes")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    process = subprocess.run(
        [sys.executable, "-m", "tests.killed_sampling", str(tmp_path_factory.mktemp("killed"))],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("name", killed_sampling.WORKS)
def test_killed_five_times_and_taken_up(found, name):
    one = found[name]
    assert one["killed"] == 5
    assert one["resumed"] == one["kept"] == one["plain"]


@pytest.mark.parametrize("name", killed_sampling.WORKS)
def test_what_is_done_is_not_done_again(found, name):
    one = found[name]
    assert one["again"] == one["plain"]
    assert one["files again"] == 0 < one["files"]


@pytest.mark.parametrize("name", killed_sampling.SIMULATIONS)
def test_a_forgetful_resume_is_found(found, name):
    """Negative control: with random numbers from the start the result is another one."""
    assert found[name]["forgetful"] != found[name]["plain"]
