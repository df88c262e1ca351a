"""Data frames keep the order of their columns, arrays may be parameters, few pairs are told."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklmacro import (
    Checkpointed,
    HierarchicalUpsampler,
    LocalRelax,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    PatchSDERegressor,
    Polynomial,
    SDEEnsemble,
    Training,
    load,
    save,
)
from sklmacro.pairs import latent_pairs
from sklmacro.plots import DriftDisplay
from sklmacro.scoring import PathScorer, ReferencePaths, thermodynamic_force
from sklmacro.simulators import Ising, LinearChain, PredatorPrey

RNG = np.random.default_rng(0)
Z = RNG.uniform(-1, 1, (60, 2))
DZ = -0.05 * Z * [1.0, 3.0] + 0.06 * RNG.standard_normal(Z.shape)
TABLE, SWAPPED = pd.DataFrame(Z, columns=["a", "b"]), pd.DataFrame(Z[:, ::-1], columns=["b", "a"])
LINEAR = PatchSDERegressor(drift_model="linear", diffusion_model="constant", dt=0.1)
SHORT = Training(max_epochs=1)
REFERENCE = RNG.normal(size=(6, 4, 2)), np.arange(4.0)
MODELS = {
    "linear": LINEAR,
    "net": OnsagerSDE(hidden=(4,), training=SHORT, dt=0.1, random_state=0),
    "ensemble": SDEEnsemble(LINEAR, n_members=2, random_state=0),
}
METHODS = ["drift", "diffusion", "predict", "drift_error", "diffusion_error", "potential"]
METHODS += ["potential_gradient", "dissipation", "conservation", "force"]


def uses(sde):
    """All that takes macrostates, as functions of them."""
    for name in METHODS:
        if hasattr(sde, name):
            yield getattr(sde, name)
    walk = {"n_steps": 2, "dt": 0.1, "random_state": 0}
    yield lambda z: sde.simulate(z, **walk)
    yield lambda z: sde.score(z, DZ)
    yield lambda z: thermodynamic_force(sde, z, np.ones(2), None)
    yield lambda z: PathScorer(ReferencePaths(z[:6], *REFERENCE))(sde)
    yield lambda z: DriftDisplay.from_estimator(sde, z, grid_resolution=5).drift
    if hasattr(sde, "estimate"):
        yield lambda z: sde.simulate_members(z, **walk)
        yield lambda z: sde.estimate(np.mean, z, n_paths=2, **walk)


@pytest.mark.parametrize("name", MODELS)
def test_columns_in_another_order_are_refused(name, tmp_path):
    import matplotlib.pyplot as plt

    sde = clone(MODELS[name]).fit(TABLE, DZ)
    plain = clone(MODELS[name]).fit(Z, DZ)
    save(sde, tmp_path / "sde")
    for one in (sde, load(tmp_path / "sde")):
        for use, expected in zip(uses(one), uses(plain), strict=True):
            np.testing.assert_allclose(use(TABLE), expected(Z))
            with pytest.raises(ValueError, match=r"order of fit, but got b, a|same order as they"):
                use(SWAPPED)
    with pytest.raises(ValueError, match=r"macrostates to have the columns a, b, .* but got b, a"):
        sde.simulate(SWAPPED.iloc[0], 2, 0.1)
    for fit in (sde.fit, sde.score):
        fit(TABLE, pd.DataFrame(DZ, columns=["a", "b"]))
        fit(TABLE, pd.DataFrame(DZ, columns=["x", "y"]))  # names of their own
        with pytest.raises(ValueError, match="y to have the columns a, b"):
            fit(TABLE, pd.DataFrame(DZ, columns=["b", "a"]))
    plt.close("all")


def test_columns_of_the_context_have_names_too():
    sde = clone(LINEAR).fit(TABLE.assign(T=Z[:, 0] ** 2), DZ)
    T = pd.DataFrame({"T": np.ones(60)})
    np.testing.assert_array_equal(sde.drift(TABLE, T), sde.drift(Z, [1.0]))
    with pytest.raises(ValueError, match=r"context to have the columns T, .*but got p"):
        sde.drift(TABLE, T.rename(columns={"T": "p"}))
    LINEAR.fit(Z, DZ).drift(SWAPPED)  # fitted without names


def test_columns_of_snapshots_and_of_closures():
    X = pd.DataFrame(LinearChain().sample_initial(12, 4, random_state=0), columns=list("abcd"))
    steps = [PartialEvolutionSampler(random_state=0), HierarchicalUpsampler(random_state=0)]
    for step in (*steps, PatchAutoencoder(n_closure=0)):
        step.fit(X).transform(X)
        with pytest.raises(ValueError, match="Feature names must be in the same order"):
            step.transform(X[list("bacd")])
    spde = PredatorPrey()
    closure = PatchAutoencoder(
        spde, patch=8, n_closure=1, encoder=PatchEncoder(hidden=(4,)), training=SHORT
    )
    closure.set_output(transform="pandas").fit(spde.sample_initial(12, 16, random_state=0))
    z = closure.transform(spde.sample_initial(3, 16, random_state=1))
    np.testing.assert_array_equal(closure.inverse_transform(z), closure.inverse_transform(z.values))
    with pytest.raises(ValueError, match="columns mean prey, mean predator, closure0, in the ord"):
        closure.inverse_transform(z[z.columns[::-1]])


@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")
@pytest.mark.parametrize("bounds", [np.array([[-1, 1], [0, 1]]), np.array([[-1.0, 1.0]])])
def test_parameters_may_be_arrays(bounds, tmp_path):
    for model in (LINEAR, MODELS["net"]):
        expected = clone(model).set_params(bounds=bounds.tolist(), parity=[1, -1]).fit(Z, DZ)
        sde = clone(clone(model).set_params(bounds=bounds, parity=np.array([1, -1])))
        save(sde.fit(Z, DZ), tmp_path / "sde")
        for one in (sde, load(tmp_path / "sde"), sde.set_params(bounds=bounds)):
            walk = {"n_steps": 3, "dt": 0.1, "random_state": 0}
            np.testing.assert_array_equal(one.simulate(Z, **walk), expected.simulate(Z, **walk))
            assert "bounds=array" in repr(one)
    grid = {"bounds": [None, bounds]}
    GridSearchCV(LINEAR, grid, cv=2, error_score="raise").fit(Z, DZ)
    saved = Checkpointed(clone(LINEAR).set_params(bounds=bounds, random_state=0), tmp_path / "fits")
    assert saved.fit(Z, DZ).estimator_.bounds is not None


def test_parameters_of_samplers_may_be_arrays():
    ising = Ising()
    X = ising.sample_initial(3, 8, random_state=0)
    for ranges in ((0.1, 0.2), np.array([0.1, 0.2])):
        relaxation = LocalRelax(duration=ranges, patch=np.array([4, 4]), stride=np.array([2, 2]))
        factor = np.array([2, 1])
        upsampler = HierarchicalUpsampler(
            ising, factor=factor, relaxation=relaxation, random_state=0
        )
        assert upsampler.fit_transform(X).shape == (3, 16, 8)
    names = np.array(["temperature", "field"])
    sampler = PartialEvolutionSampler(ising, patch=np.array([4, 4]), context=names, random_state=0)
    assert sampler.fit_transform(X)["context"].shape == (3, 2)


def test_too_few_pairs_are_refused_or_told():
    text = "at least {} different states for the {} coefficients .* but got {}"
    for n, degree, needed in ((2, 1, 3), (4, 3, 5)):
        sde = PatchSDERegressor(drift_model=Polynomial(degree), diffusion_model="constant")
        with pytest.warns(UserWarning, match=text.format(needed, degree + 1, n)):
            sde.fit(Z[:n, :1], DZ[:n, :1])
        with pytest.warns(UserWarning, match=text.format(needed, degree + 1, n)):
            sde.fit(np.repeat(Z[:n, :1], 3, axis=0), np.repeat(DZ[:n, :1], 3, axis=0))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sde.fit(Z[:needed, :1], DZ[:needed, :1])  # control
    with warnings.catch_warnings():  # moments have no noise to tell from the drift
        warnings.simplefilter("error")
        pairs = latent_pairs(Z[:2, :1], DZ[:2, :1], 0.1, cov=np.ones((2, 1, 1)))
        exact = clone(LINEAR).fit(pairs)
    np.testing.assert_allclose(exact.drift(Z[:2, :1]), DZ[:2, :1] / 0.1)
    for one in (LINEAR, MODELS["net"]):
        with pytest.raises(ValueError, match="Expected at least 2 samples, but got 1 sample"):
            one.fit(Z[:1], DZ[:1])
        with pytest.raises(ValueError, match="0 sample"):
            one.fit(Z[:0], DZ[:0])
    with pytest.warns(UserWarning, match="2 of 2 members, the first of which says: .*states"):
        clone(MODELS["ensemble"]).fit(Z[:2], DZ[:2])


def test_a_single_group_holds_nothing_out():
    pairs, sde = latent_pairs(Z, DZ, 0.1, group=7), MODELS["net"]
    text = "at least 2 groups .*source trajectories.* but got 1"
    with pytest.warns(UserWarning, match=text):
        clone(sde).fit(pairs)
    spde = PredatorPrey()
    closure = PatchAutoencoder(
        spde, patch=8, n_closure=1, encoder=PatchEncoder(hidden=(4,)), training=SHORT
    )
    with pytest.warns(UserWarning, match=text):
        closure.fit(spde.sample_initial(1, 16, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(sde).set_params(training__validation_fraction=0.0).fit(pairs)


def test_numbers_too_large_to_add_up_are_refused():
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="Expected finite means"):
        LINEAR.fit(np.abs(Z) * 1e308, DZ)
