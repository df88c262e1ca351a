"""StreamedPairs: batches cannot be seen, a frozen closure stays as it is, X may be in a file."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklmacro import (
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    PatchSDERegressor,
    StreamedPairs,
    Training,
)
from sklmacro.closure import streaming
from sklmacro.simulators import Ising
from tests.round_trips import round_trip, same

ISING = Ising(2.3)
X = ISING.sample_initial(20, 8, random_state=0)
OTHERS = ISING.sample_initial(30, 16, random_state=1)
GROUPS = np.arange(20) // 2
UPSAMPLER = HierarchicalUpsampler(ISING, relaxation=LocalRelax(duration=0.2), random_state=0)
SAMPLER = PartialEvolutionSampler(ISING, patch=8, dt=0.5, random_state=1)
CLOSURE = PatchAutoencoder(
    ISING,
    patch=8,
    n_closure=1,
    encoder=PatchEncoder(hidden=(8,)),
    training=Training(max_epochs=2, batch_size=64),
    random_state=2,
)


def learned(X=OTHERS, **params):
    return clone(CLOSURE).set_params(**params).fit(X)


FITTED = learned()


def streamed(closure=CLOSURE, upsampler=UPSAMPLER, **options):
    """Fitted closures come frozen."""
    kept = FrozenEstimator(closure) if hasattr(closure, "grid_") else closure
    return StreamedPairs(upsampler, SAMPLER, kept, **{"batch_size": 3} | options)


def one_after_the_other(closure, X=X, upsampler=UPSAMPLER):
    large = X if upsampler is None else clone(upsampler).fit_transform(X)
    pairs = clone(SAMPLER).fit_transform(large, groups=np.repeat(GROUPS, len(large) // len(X)))
    return closure.transform(pairs) if hasattr(closure, "grid_") else closure.fit_transform(pairs)


@pytest.fixture
def batches_of(monkeypatch):
    """Return a list, which grows, of the starts that a method of StreamedPairs is given."""

    def record(name):
        batches, method = [], getattr(StreamedPairs, name)

        def recording(self, starts, *rest):
            batches.append(starts)
            return method(self, starts, *rest)

        monkeypatch.setattr(StreamedPairs, name, recording)
        return batches

    return record


@pytest.mark.parametrize("batch_size", [1, 3, None])
@pytest.mark.parametrize("closure", [CLOSURE, FITTED], ids=["trained", "frozen"])
def test_pairs_are_those_of_the_three_steps(closure, batch_size):
    pairs = streamed(closure, batch_size=batch_size).fit_transform(X, groups=GROUPS)
    assert same(pairs, one_after_the_other(clone(closure) if closure is CLOSURE else closure))


def test_lam_is_the_one_of_the_sampler():
    sampler = clone(SAMPLER).set_params(patch__n_joint=6)
    streamed = StreamedPairs(UPSAMPLER, sampler, FrozenEstimator(FITTED), batch_size=3).fit(X)
    alone = clone(sampler).fit(clone(UPSAMPLER).fit_transform(X))
    assert streamed.sampler_.lam_ == alone.lam_ != alone.n_patches_


def test_other_pairs_are_found():
    """Negative control."""
    pairs = streamed(FITTED).fit_transform(X, groups=GROUPS)
    assert not same(pairs, one_after_the_other(learned(OTHERS[:15])))
    assert not same(pairs, streamed().fit_transform(X, groups=GROUPS))


# --- a frozen closure ----------------------------------------------------------------------------


def test_a_frozen_closure_is_not_trained(monkeypatch):
    before = FITTED.codec_
    model = streamed(FITTED).fit(X)
    monkeypatch.setattr(PatchAutoencoder, "fit", None)
    model.fit(X)
    assert model.closure_.estimator is FITTED
    assert FITTED.codec_ is before


def test_only_one_pair_is_made_to_fit_a_frozen_closure(batches_of):
    made = batches_of("_pairs")
    streamed(FITTED).fit(X)
    assert sum(map(len, made)) == 1
    streamed(n_train=7).fit(X)
    assert sum(map(len, made)) == 8


def test_a_frozen_closure_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError, match="PatchAutoencoder"):
        StreamedPairs(UPSAMPLER, SAMPLER, FrozenEstimator(clone(CLOSURE))).fit(X)


def test_a_clone_has_the_same_closure():
    model = streamed(FITTED)
    copy = clone(model.fit(X))
    assert copy.closure.estimator is FITTED
    assert not hasattr(copy, "closure_")
    assert copy.get_params()["closure__estimator"] is FITTED
    assert same(copy.fit_transform(X), model.transform(X))


def test_parameters_of_a_frozen_closure_cannot_be_set():
    model = streamed(FITTED).set_params(batch_size=5, sampler__dt=0.25)
    assert model.sampler.dt == 0.25
    with pytest.raises(ValueError, match="cannot set parameters of the inner estimator"):
        model.set_params(closure__n_closure=2)
    SAMPLER.set_params(dt=0.5)


@pytest.mark.parametrize("closure", [CLOSURE, FITTED], ids=["trained", "frozen"])
def test_in_a_file_and_back(closure, tmp_path):
    model = streamed(closure)
    assert same(round_trip(model, tmp_path).fit_transform(X), model.fit_transform(X))
    loaded = round_trip(model, tmp_path)
    assert same(loaded.transform(X), model.transform(X))
    assert same(loaded.macrostates(OTHERS), model.macrostates(OTHERS))
    frozen = isinstance(loaded.closure_, FrozenEstimator)
    assert frozen == (closure is FITTED)
    assert (loaded.closure_ is loaded.closure) == frozen


def test_macrostates_are_those_of_the_closure():
    model = streamed(FITTED).fit(X)
    np.testing.assert_array_equal(model.macrostates(OTHERS), FITTED.transform(OTHERS))


def test_an_interrupted_transform_with_a_frozen_closure_resumes(tmp_path, monkeypatch):
    expected = streamed(FITTED).fit_transform(X)
    model = streamed(FITTED, checkpoint_dir=tmp_path).fit(X)
    transform, encoded, last = PatchAutoencoder.transform, [], [3]

    def interrupted(self, pairs):
        last[0] -= 1
        if last[0] == 0:
            raise KeyboardInterrupt
        encoded.extend(pairs["group"].tolist())
        return transform(self, pairs)

    monkeypatch.setattr(PatchAutoencoder, "transform", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.transform(X)
    assert 0 < len(encoded) < len(X)
    assert same(model.transform(X), expected)
    assert same(streamed(FITTED, checkpoint_dir=tmp_path).fit_transform(X), expected)
    assert encoded == [*range(len(X))]  # each once


@pytest.mark.parametrize("other", ["weights", "scale", "patch"])
def test_another_frozen_closure_is_refused_by_name(other, tmp_path):
    streamed(FITTED, checkpoint_dir=tmp_path).fit_transform(X)
    closure = learned(patch=4) if other == "patch" else learned()
    if other == "weights":
        closure = learned(OTHERS[:15])
    if other == "scale":
        closure.codec_.closures.scale = 2 * closure.codec_.closures.scale
    named = {"weights": "codec.", "scale": "codec.closures.scale", "patch": "estimator.patch=8"}
    sampler = clone(SAMPLER).set_params(patch=closure.patch)
    model = streamed(closure, checkpoint_dir=tmp_path).set_params(sampler=sampler)
    with pytest.raises(ValueError, match="Expected a checkpoint of the same work") as error:
        model.fit_transform(X)
    assert named[other] in str(error.value)


@pytest.mark.parametrize("closure", [CLOSURE, FITTED], ids=["trained", "frozen"])
@pytest.mark.parametrize("chosen", ["set_output", "config"])
def test_pairs_stay_arrays(chosen, closure):
    pytest.importorskip("pandas")
    expected = streamed(closure).fit_transform(X)
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
    pipe = Pipeline([("pairs", streamed(closure)), ("sde", sde)])
    with sklearn.config_context(transform_output="pandas" if chosen == "config" else "default"):
        if chosen == "set_output":
            pipe.set_output(transform="pandas")
        pipe.fit(X)
        assert same(pipe[:-1].transform(X), expected)


def test_a_pipeline_learns_from_pairs_of_a_frozen_closure():
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
    pipe = Pipeline([("pairs", streamed(FITTED)), ("sde", sde)]).fit(X, pairs__groups=GROUPS)
    expected = clone(sde).fit(one_after_the_other(FITTED))
    z = FITTED.transform(OTHERS)
    assert pipe["sde"].n_state_ == 3
    np.testing.assert_array_equal(pipe["sde"].drift(z), expected.drift(z))


# --- snapshots in files --------------------------------------------------------------------------


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "small.npy", X)
    return np.load(tmp_path / "small.npy", mmap_mode="r")


@pytest.mark.parametrize("closure", [CLOSURE, FITTED], ids=["trained", "frozen"])
def test_small_snapshots_may_be_mapped(mapped, closure):
    expected = streamed(closure).fit_transform(X, groups=GROUPS)
    assert same(streamed(closure).fit_transform(mapped, groups=GROUPS), expected)


@pytest.mark.parametrize("closure", [CLOSURE, FITTED], ids=["trained", "frozen"])
def test_large_snapshots_may_be_mapped(tmp_path, closure):
    out = tmp_path / "large.npy"
    large = clone(UPSAMPLER).set_params(out=out).fit_transform(X)
    assert isinstance(large, np.memmap)
    groups = np.repeat(GROUPS, len(large) // len(X))
    expected = streamed(closure).fit_transform(X, groups=GROUPS)
    before = out.read_bytes()
    assert same(streamed(closure, upsampler=None).fit_transform(large, groups=groups), expected)
    assert out.read_bytes() == before


def test_maps_are_not_copied(mapped, batches_of):
    made = batches_of("_pairs")
    streamed(batch_size=8).fit_transform(mapped)
    assert made
    assert all(np.shares_memory(start.x, mapped) for batch in made for start in batch)
    made.clear()
    streamed().fit(mapped.astype(float))  # another type: the test can fail
    assert not any(np.shares_memory(start.x, mapped) for batch in made for start in batch)


def test_the_file_of_an_upsampler_within_is_not_written(tmp_path):
    upsampler = clone(UPSAMPLER).set_params(out=tmp_path / "large.npy")
    pairs = streamed(FITTED, upsampler=upsampler).fit_transform(X)
    assert same(pairs, streamed(FITTED).fit_transform(X))
    assert not [*tmp_path.iterdir()]


def test_a_batch_fills_no_more_than_its_bytes(batches_of, monkeypatch):
    made = batches_of("_large")
    monkeypatch.setattr(streaming, "BATCH_BYTES", 4 * 16 * 16)
    streamed(FITTED, batch_size=None).fit_transform(X)
    assert 1 < max(map(len, made)) <= 4
