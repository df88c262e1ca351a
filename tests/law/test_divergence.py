"""Where a law's paths diverge, nothing is learned: doubts are those near the data."""

from types import SimpleNamespace

import numpy as np
import pytest

from sklmacro.law.uncertainty import Asked, Prediction, _doubts, targets
from sklmacro.sde.coverage import Coverage


def doubts(covered):
    """Return states and doubts of paths that end at 1e200."""
    data = np.random.default_rng(0).standard_normal((500, 2))
    paths = np.random.default_rng(1).standard_normal((2, 3, 4, 5, 2))
    paths[..., -1, :] = 1e200
    sde = SimpleNamespace(
        coverage_=Coverage.of(data, np.ones(2)) if covered else None,
        drift=lambda z, context: -z,
        drift_error=lambda z, context: 0.1 * np.abs(z),
    )
    return _doubts(sde, paths, Asked(paths[0, :, 0, 0], np.empty((3, 0)), 100, 1.0, 0.1, 2), 0)


def test_doubts_are_of_states_near_the_data():
    states, squares = doubts(covered=True)
    assert len(states) == 2 * 3 * 4 * 4
    assert np.isfinite(squares).all()
    prediction = Prediction(np.ones(3), states, squares, np.ones(2))
    assert np.abs(targets(prediction, 20, np.random.default_rng(2))).max() < 10


def test_without_knowing_what_the_data_cover_they_overflow():
    with pytest.raises(FloatingPointError), np.errstate(over="raise"):
        doubts(covered=False)
