"""SIGKILL at five random moments of simulations and samplings: the same bits come out."""

import os

import pytest

from sklmacro import simulators
from tests import killed_sampling
from tests.killed import reported

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills processes")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return reported("tests.killed_sampling", tmp_path_factory.mktemp("killed"))


def test_every_simulator_is_killed():
    found = {type(work.args[0]) for work in killed_sampling.SIMULATIONS.values()}
    ours = [getattr(simulators, name) for name in simulators.__all__]
    abstract = (simulators.Simulator,)
    ours = {c for c in ours if isinstance(c, type) and issubclass(c, abstract)} - {*abstract}
    assert len(ours) >= 5
    assert ours <= found


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
