"""Macrostates as data frames; snapshots and pairs stay arrays, in a pipeline as well."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklmacro import (
    HierarchicalUpsampler,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchSDERegressor,
    Training,
)
from sklmacro.simulators import Ising, LinearChain

ISING = Ising()
X = ISING.sample_initial(12, 8, random_state=0)
PLAIN = PatchAutoencoder(ISING, n_closure=0).fit(X)


def test_macrostates_in_a_data_frame():
    framed = clone(PLAIN).set_output(transform="pandas")
    table = clone(framed).fit(X).transform(X)  # a clone keeps the choice
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == ["magnetisation", "domain wall density"]
    np.testing.assert_array_equal(table.to_numpy(), PLAIN.transform(X))
    assert isinstance(framed.set_output().fit_transform(X), pd.DataFrame)
    assert isinstance(framed.set_output(transform="default").fit_transform(X), np.ndarray)


def test_the_global_choice_counts_unless_there_is_one():
    with config_context(transform_output="pandas"):
        assert isinstance(PLAIN.transform(X), pd.DataFrame)
        plain = clone(PLAIN).set_output(transform="default").fit(X)
        assert isinstance(plain.transform(X), np.ndarray)
    assert isinstance(PLAIN.transform(X), np.ndarray)


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_pipeline_gives_the_same_model(everywhere):
    def model():
        return make_pipeline(
            HierarchicalUpsampler(ISING, factor=2, random_state=0),
            PartialEvolutionSampler(ISING, patch=8, dt=0.5, random_state=0),
            PatchAutoencoder(ISING, n_closure=0),
            PatchSDERegressor(drift_model="linear", diffusion_model="constant"),
        )

    with config_context(transform_output="pandas" if everywhere else "default"):
        framed = model() if everywhere else model().set_output(transform="pandas")
        framed.fit(X)
        z = framed[-2].transform(X)
    assert isinstance(z, pd.DataFrame)
    drift = model().fit(X)[-1].drift(z.to_numpy())
    np.testing.assert_array_equal(framed[-1].drift(z.to_numpy()), drift)


def test_an_sde_of_a_data_frame_keeps_its_names():
    z = clone(PLAIN).set_output(transform="pandas").fit(X).transform(X)
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant", dt=0.1)
    sde.fit(z, -0.1 * z.to_numpy())
    assert list(sde.feature_names_in_) == list(z.columns)
    with pytest.raises(ValueError, match="feature names"):
        sde.predict(z.rename(columns={"magnetisation": "order"}))


def test_units_follow_the_names():
    class Chain(LinearChain):
        observable_units = ("nm",)

    closure = PatchAutoencoder(
        Chain(), n_closure=1, training=Training(max_epochs=1), random_state=0
    )
    closure.fit(Chain().sample_initial(12, 8, random_state=0))
    name = LinearChain.observable_names[0]
    assert list(closure.get_feature_names_out()) == [f"{name} [nm]", "closure0"]
