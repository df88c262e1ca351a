"""Closures are chosen by what drives the observables, and then by what drives the closures."""

import numpy as np

from sklmacro.closure import selection as choice
from sklmacro.closure.selection import Selection

NAMES = ["c", "slow", "e", "idle"]


def chosen(*, driven=True, known=True):
    """Return the names of what is chosen, and the steps, where dz = c dt and dc = (e - c) dt.

    "slow" follows c in part, and lasts longest; "idle" drives nothing.
    """
    rng = np.random.default_rng(0)
    n = 400
    z, c, e, idle, other = rng.standard_normal((5, n))
    slow = c + 0.3 * other
    own = np.stack([e - c if driven else -c, -0.05 * slow, -e, -idle], axis=1)
    selection = Selection(
        z[:, None], np.stack([c, slow, e, idle], axis=1), c[:, None], np.ones(n),
        np.repeat(np.arange(40), 10), True, *((np.arange(n), own) if known else (None, None)),
    )  # fmt: skip
    numbers, steps = selection.run(NAMES, None, 8, lambda k: True)
    return [NAMES[k] for k in numbers], steps


def test_what_drives_the_chosen_closures_is_chosen_too():
    names, steps = chosen()
    assert names == ["c", "e"]
    assert [step.name for step in steps] == ["observables", "c", "e"]
    assert steps[1].unexplained < 1e-6


def test_nothing_is_added_where_closures_are_driven_by_themselves_or_nobody_knows():
    assert chosen(driven=False)[0] == ["c"]
    assert chosen(known=False)[0] == ["c"]


def test_what_explains_all_comes_before_what_lasts(monkeypatch):
    monkeypatch.setattr(Selection, "_needed", lambda self, numbers: numbers)
    assert chosen()[0] == ["c", "e"]
    monkeypatch.setattr(choice, "ALL", 2.0)  # nothing explains so much
    assert chosen()[0][:2] == ["slow", "c"]


def test_what_lasts_is_left_out_again_where_it_turns_out_not_to_be_needed(monkeypatch):
    monkeypatch.setattr(choice, "ALL", 2.0)
    assert chosen()[0] == ["c", "e"]
