"""The stages in one line, of one size and of several."""

import numpy as np
import pytest

from sklmacro import SeveralSizes, load, make_macro_pipeline, save
from sklmacro.simulators import Ising, LinearChain, PredatorPrey

ISING = Ising(temperature=3.5)
SMALL = ISING.sample_initial(6, 8, observables="even", random_state=0)
FEW = {"n_kept": 8, "n_passes": 8}


def pipeline(simulator=ISING, small=8, large=16):
    own = make_macro_pipeline(simulator, small, large, random_state=0)
    place = "pairs__upsample" if isinstance(large, list) else "upsample"
    return own.set_params(**{f"{place}__relaxation__{name}": n for name, n in FEW.items()})


@pytest.mark.parametrize(
    ("large", "message"),
    [
        (20, "Expected large to be a multiple of small, which is 8, but got 20"),
        ((16, 20), r"but got \(16, 20\)"),
        ([16, 20], r"but got \[16, 20\]"),
        ([16, 16], "Expected factors to be different"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(large, message):
    with pytest.raises(ValueError, match=message):
        pipeline(large=large).fit(SMALL)


def test_one_size_and_sizes_along_the_axes():
    model = pipeline(large=(16, 24)).fit(SMALL)
    assert list(model.named_steps) == ["upsample", "evolve", "closure", "sde"]
    assert model["sde"].sizes_.n_sites == (384,)


def test_a_law_of_the_small_snapshots_themselves():
    model = pipeline(large=None).fit(SMALL)
    assert model["upsample"].factor == (1, 1)
    assert model["sde"].sizes_.n_sites == (64,)
    z = model["closure"].transform(SMALL)
    assert model["sde"].simulate(z, 2, 0.25, random_state=0).shape == (6, 3, z.shape[1])


@pytest.mark.parametrize(("simulator", "cells"), [(LinearChain(), 10), (PredatorPrey(), 20)])
def test_fields_have_laws_too(simulator, cells):
    small = simulator.sample_initial(6, cells, random_state=0)
    model = pipeline(simulator, cells, 2 * cells).fit(small)
    names = model["closure"].get_feature_names_out()
    assert tuple(names[: simulator.n_observables]) == simulator.observable_names
    assert np.isfinite(model["sde"].drift(model["closure"].transform(small))).all()


@pytest.fixture(scope="module")
def sizes():
    return pipeline(large=[16, 24]).fit(SMALL)


def test_several_sizes_have_closures_by_name_and_transform_any_size(sizes, tmp_path):
    stage = sizes["pairs"]
    assert isinstance(stage, SeveralSizes)
    names = stage.get_feature_names_out()
    assert tuple(names[:2]) == ISING.observable_names
    assert names[2:].tolist() == [c.name for c in stage.closure_.clusters_]
    z = stage.transform(ISING.sample_initial(3, 40, random_state=1))
    assert z.shape == (3, len(names))
    assert sizes["sde"].sizes_.n_sites == (256, 576)
    save(sizes, tmp_path / "law")
    loaded = load(tmp_path / "law")
    options = {"n_steps": 4, "dt": 0.25, "n_sites": 1600, "random_state": 0}
    np.testing.assert_array_equal(
        loaded["sde"].simulate(loaded["pairs"].transform(SMALL), **options),
        sizes["sde"].simulate(stage.transform(SMALL), **options),
    )


def test_pairs_of_all_sizes_stem_from_the_same_snapshots():
    stage = pipeline(large=[16, 24])["pairs"]
    groups = np.array([4, 4, 5, 6, 7, 8])
    pairs = stage.fit_transform(SMALL, groups=groups)
    np.testing.assert_array_equal(pairs, stage.fit_transform(SMALL, groups=groups))
    for n_sites in (256, 576):
        own = pairs[pairs["n_sites"] == n_sites]
        np.testing.assert_array_equal(own["group"], np.repeat(groups, FEW["n_kept"]))
