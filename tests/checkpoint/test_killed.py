"""SIGKILL at five random moments: what is resumed ends as if nothing had happened."""

import os

import pytest

from sklmacro import simulators
from tests.killed import reported
from tests.killed_works import FITS, SEARCHES, SIMULATIONS, WORKS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills processes")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return reported(tmp_path_factory.mktemp("killed"))


def test_every_simulator_is_killed():
    tested = {type(work.run.args[0]) for work in SIMULATIONS.values()}
    ours = [getattr(simulators, name) for name in simulators.__all__]
    ours = {c for c in ours if isinstance(c, type) and issubclass(c, simulators.Simulator)}
    ours.remove(simulators.Simulator)
    assert len(ours) >= 5
    assert ours <= tested


@pytest.mark.parametrize("name", WORKS)
def test_killed_five_times_and_resumed(report, name):
    one = report[name]
    assert one["killed"] == 5
    assert one["results"] == [one["plain"]] * 4
    assert one["drafts"] == []


@pytest.mark.parametrize("name", WORKS)
def test_what_is_finished_is_not_repeated(report, name):
    """But for the end of a training, which is written once more."""
    one = report[name]
    assert one["files again"] <= (one["files"] / 3 if name in FITS else 0) < one["files"]
    if name in SEARCHES:
        assert one["files mended"] == 1


@pytest.mark.parametrize("name", [name for name, work in WORKS.items() if work.control])
def test_a_bad_resume_changes_the_result(report, name):
    """Negative control: no moments of AdamW, no random streams, or data that are not told apart."""
    assert report[name]["control"] != report[name]["plain"]
