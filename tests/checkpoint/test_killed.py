"""SIGKILL at five random moments: what is taken up ends as if nothing had happened."""

import os

import pytest

from tests import killed
from tests.killed import reported

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills processes")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return reported("tests.killed", tmp_path_factory.mktemp("killed"))


@pytest.mark.parametrize("name", killed.WORKS)
def test_killed_five_times_and_taken_up(found, name):
    one = found[name]
    assert one["killed"] == 5
    assert one["resumed"] == one["plain"]


@pytest.mark.parametrize("name", killed.WORKS)
def test_what_is_done_is_not_done_again(found, name):
    one = found[name]
    assert one["again"] == one["plain"]
    assert one["files again"] <= one["files"] / 3
    assert one["half-written"] == []


@pytest.mark.parametrize("name", killed.WORKS)
def test_a_forgetful_resume_is_found(found, name):
    """Negative control: without the moments of AdamW the result is another one."""
    assert found[name]["forgetful"] != found[name]["plain"]
