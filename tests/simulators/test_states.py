"""States that a simulator's own type cannot hold are refused, and others keep their values."""

import numpy as np
import pytest

from sklmacro.simulators import Alloy, CurieWeiss, Ising, Simulator


class Levels(Simulator):
    """A lattice of small integers."""

    kind, boundary, state_dtype, observable_names = "square", "periodic", np.int8, ("mean",)


class Counts(Levels):
    """One of counts."""

    state_dtype = np.uint8


class Flags(Levels):
    """One of yes and no."""

    state_dtype = np.bool_


class Single(Levels):
    """One of fields in single precision."""

    state_dtype = np.float32


REFUSED = {
    Levels: [1.9, 300, -200.0, 2**40, 128, np.uint8(255), 1e300, np.nan, -np.inf],
    Counts: [-1, 0.5, np.int8(-1), 256, -0.1, 2.0**63, np.nan],
    Flags: [2, 0.5, -1, 1.0 + 1e-9],
    Single: [1e300, np.nan, np.inf],
}
TAKEN = {
    Levels: [1.0, -128, 127.0, np.uint8(127), np.float32(-3)],
    Counts: [255, 255.0, np.int8(3), np.uint64(7)],
    Flags: [1, 0.0, True],
    Single: [0.5, -3, 1e30],
}


@pytest.mark.parametrize("simulator", REFUSED)
def test_what_the_type_cannot_hold_is_refused(simulator):
    for value in REFUSED[simulator]:
        X = np.zeros((2, 3, 3), np.asarray(value).dtype)
        X[1, 2, 0] = value
        for enter in (simulator().check_snapshots, simulator().observe):
            with pytest.raises(
                ValueError, match=r"Expected (the states|finite snapshots).*but got"
            ):
                enter(X)
    for value in TAKEN[simulator]:  # control
        X = simulator().check_snapshots(np.full((2, 3, 3), value))
        assert X.dtype == simulator.state_dtype
        assert (simulator.state_dtype(value) == X).all()


def test_spins_and_species_do_not_wrap_around():
    for simulator, cells in ((Ising(), 4), (CurieWeiss(), 4), (Alloy(), 2)):
        X = simulator.sample_initial(2, cells, random_state=0)
        for value in (0.5, 300, np.uint8(255), np.int8(-128), 2**40, -255.0, np.nan):
            wrong = X.astype(np.asarray(value).dtype)
            wrong.flat[3] = value
            with pytest.raises(ValueError, match=r"Expected (the states|finite snapshots)"):
                simulator.advance(wrong, duration=0.0)
        np.testing.assert_array_equal(simulator.check_snapshots(X.astype(np.float64)), X)
