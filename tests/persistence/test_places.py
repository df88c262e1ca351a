"""Places to write to: no file brings one along, unless whoever loads it asks for that."""

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

import sklmacro as skm
from sklmacro.simulators import LinearChain
from tests.hostile import sealed

CHAIN = LinearChain()
X = CHAIN.sample_initial(4, 8, random_state=0)


def estimators(place):
    """Estimators with a place, alone and within others."""
    sampler = skm.PartialEvolutionSampler(patch=4, checkpoint_dir=place, out=place)
    upsampler = skm.HierarchicalUpsampler(checkpoint_dir=place, out=place)
    sde = skm.PatchSDERegressor(checkpoint_dir=place)
    return {
        "sampler": sampler,
        "pipeline": Pipeline([("upsample", upsampler), ("evolve", sampler)]),
        "ensemble": skm.SDEEnsemble(sde, checkpoint_dir=place),
        "search": skm.Checkpointed(skm.OnsagerSDE(), place),
        "streamed": skm.StreamedPairs(
            upsampler, sampler, skm.PatchAutoencoder(checkpoint_dir=place), checkpoint_dir=place
        ),
    }


def places(estimator):
    parameters = estimator.get_params(deep=True).items()
    return [v for k, v in parameters if k.rpartition("__")[2] in ("out", "checkpoint_dir")]


@pytest.mark.parametrize("name", estimators(""))
def test_save_writes_no_places(tmp_path, name):
    place = str(tmp_path / "private" / "place.npy")
    estimator = estimators(place)[name]
    skm.save(estimator, tmp_path / "file")
    assert b"private" not in (tmp_path / "file").read_bytes()
    assert place in places(estimator)
    assert set(places(skm.load(tmp_path / "file"))) == {None}


def test_fitted_parts_have_none_either(tmp_path):
    sampler = skm.PartialEvolutionSampler(patch=4, out=str(tmp_path / "private.npy"))
    streamed = skm.StreamedPairs(None, sampler, skm.PatchAutoencoder(n_closure=0)).fit(X)
    skm.save(streamed, tmp_path / "file")
    assert b"private" not in (tmp_path / "file").read_bytes()
    assert skm.load(tmp_path / "file").sampler_.out is None


def test_places_in_a_file_are_none_unless_they_are_asked_for(tmp_path):
    """Earlier versions wrote them, and so may whoever makes a file."""
    victim, elsewhere = tmp_path / "victim.npy", tmp_path / "elsewhere"
    np.save(victim, np.arange(5))
    before = victim.read_bytes()
    arguments = {"patch": 4, "out": str(victim), "checkpoint_dir": {"path": str(elsewhere)}}
    entry = {"class": "PartialEvolutionSampler", "arguments": arguments, "state": {}}
    (tmp_path / "file").write_bytes(sealed([entry], {}))
    with pytest.warns(UserWarning, match="checkpoint_dir of Partial.* out of .*keep_paths=True"):
        loaded = skm.load(tmp_path / "file")
    loaded.fit_transform(X)
    assert victim.read_bytes() == before
    assert not elsewhere.exists()
    kept = skm.load(tmp_path / "file", keep_paths=True)
    assert (kept.out, kept.checkpoint_dir) == (str(victim), elsewhere)


def test_a_search_from_a_file_asks_for_a_folder(tmp_path):
    sde = skm.PatchSDERegressor(drift_model="linear", dt=0.1, random_state=0)
    skm.save(skm.Checkpointed(sde, tmp_path / "fits"), tmp_path / "file")
    loaded = skm.load(tmp_path / "file")
    z = np.random.default_rng(0).normal(size=(30, 1))
    with pytest.raises(ValueError, match="checkpoint_dir to be a folder, but got None"):
        loaded.fit(z, z)
    loaded.set_params(checkpoint_dir=tmp_path / "mine").fit(z, z)
    assert len([*(tmp_path / "mine").iterdir()]) == 1
