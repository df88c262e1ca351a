"""Parts of estimators: short forms, nested parameters, and the names of parameters before."""

import pytest
from sklearn.base import BaseEstimator, clone

from sklmacro import (
    Convergence,
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    Patches,
    PatchSDERegressor,
    Training,
)
from sklmacro._base.roles import Roles
from sklmacro.simulators import EventCount, Ising


class Round(BaseEstimator):
    def __init__(self, radius=1.0):
        self.radius = radius


class Square(BaseEstimator):
    def __init__(self, side=1.0, corner=None):
        self.side = side
        self.corner = corner


SHAPES = {"round": Round, "square": Square}


class Shaped(Roles):
    roles = {"shape": lambda value: SHAPES[value]() if isinstance(value, str) else value}  # noqa: RUF012
    former = {"radius": "shape__radius", "side": "shape__side", "weight": "mass"}  # noqa: RUF012

    def __init__(self, *, shape="round", mass=0):
        self.shape = shape
        self.mass = mass

    @classmethod
    def convert(cls, name, value):
        """A weight of None is none."""
        return ... if name == "weight" and value is None else value


def test_parameters_of_a_part_are_set_through_its_short_form():
    shaped = Shaped().set_params(shape__radius=3)
    assert repr(shaped) == "Shaped(shape=Round(radius=3))"
    assert (
        repr(Shaped().set_params(shape="square", shape__side=2)) == "Shaped(shape=Square(side=2))"
    )
    assert repr(clone(shaped)) == repr(shaped)
    assert Shaped(shape="square").part("shape").side == 1.0
    given = Square(side=5)
    assert Shaped(shape=given).set_params(shape__side=6).shape is given  # as scikit-learn does
    with pytest.raises(ValueError, match="Invalid parameter 'side' for estimator Round"):
        Shaped().set_params(shape__side=2)


def test_former_names_are_taken_with_a_warning_at_the_caller():
    with pytest.warns(FutureWarning, match="radius is shape__radius") as caught:
        shaped = Shaped(radius=3, mass=1)
    assert caught[0].filename == __file__
    assert repr(shaped) == "Shaped(mass=1, shape=Round(radius=3))"
    with pytest.warns(FutureWarning, match="weight is mass"):
        assert Shaped(weight=2).mass == 2
    with pytest.warns(FutureWarning):
        assert Shaped(weight=None, mass=4).mass == 4
    with pytest.warns(FutureWarning, match="side is shape__side"):
        assert Shaped(shape="square").set_params(side=7).shape.side == 7
    with pytest.raises(TypeError, match="unexpected keyword argument 'height'"):
        Shaped(height=1)


def test_former_names_are_read_with_a_warning():
    with pytest.warns(FutureWarning, match="radius is shape__radius"):
        assert Shaped().set_params(shape__radius=3).radius == 3
    with pytest.warns(FutureWarning, match="max_epochs is drift_model__training__max_epochs"):
        assert PatchSDERegressor(drift_model="mlp").max_epochs == Training().max_epochs
    with pytest.warns(FutureWarning), pytest.raises(AttributeError, match="no attribute 'side'"):
        Shaped().side  # noqa: B018 - a round shape has none
    with pytest.raises(AttributeError, match="no attribute 'height'"):
        Shaped().height  # noqa: B018


def test_what_a_part_does_not_read_has_no_effect_in_silence():
    text = "Expected parameters that shape='round' reads, but got side=2, which has no effect"
    with pytest.warns(FutureWarning), pytest.warns(UserWarning, match=text):
        assert repr(Shaped(side=2)) == repr(Shaped())
    assert Shaped.translate({"side": 2, "mass": 1}, warn=False) == {"mass": 1}  # of files
    given = Square(side=1)
    part = Shaped.translate({"shape": given, "side": 2})["shape"]
    assert (part.side, given.side) == (2, 1)  # the part that was given stays as it is


def test_former_names_are_of_the_part_that_was_the_default_then(monkeypatch):
    monkeypatch.setattr(Shaped, "former_defaults", {"shape": "square"})
    with pytest.warns(FutureWarning):
        assert Shaped(side=2).shape.side == 2
    assert Shaped(mass=2).shape == "round"
    assert Shaped.translate({}) == {"shape": "square"}  # of files
    assert Shaped.translate({"shape": "round"}) == {"shape": "round"}


def test_former_parameters_of_relaxation_and_patches():
    with pytest.warns(FutureWarning):
        up = HierarchicalUpsampler(
            Ising(), n_pilot=30, relax_passes="converged", relax_duration=0.5, relax_buffer=2,
            relax_boundary="buffer",
        )  # fmt: skip
    passes = Convergence(n_pilot=30)
    expected = LocalRelax(duration=0.5, n_passes=passes, boundary=2)
    assert repr(up.relaxation) == repr(expected)
    with pytest.warns(FutureWarning):
        sampler = PartialEvolutionSampler(
            Ising(), patch=8, n_events=10, n_patches_evolved=4, boundary="buffer", buffer=1
        )
    assert sampler.dt == EventCount(10)
    assert repr(sampler.patch) == repr(Patches(8, n_evolved=4))
    assert sampler.boundary == 1
    with (
        pytest.warns(FutureWarning),
        pytest.warns(UserWarning, match="that relaxation='auto' reads"),
    ):
        HierarchicalUpsampler(Ising(), max_relax_passes=8)  # of a fixed number of passes


def test_parameters_set_after_fit_are_in_force():
    ising = Ising(temperature=2.4)
    X = ising.sample_initial(4, 32, random_state=0)
    sampler = PartialEvolutionSampler(ising, patch=Patches(8), random_state=0).fit(X)
    pairs = sampler.set_params(patch__n_evolved=3).transform(X)
    assert (pairs["n_evolved"] == 3).all()
    assert pairs["origin"].shape == (4, 3, 2)
    up = HierarchicalUpsampler(ising, random_state=0).fit(X).set_params(factor=4)
    assert up.transform(X).shape == (4, 128, 128)
