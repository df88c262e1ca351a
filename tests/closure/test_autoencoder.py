"""The autoencoder of patches: training, shapes, sizes."""

import numpy as np
import pytest
from sklearn.base import clone

from sklmacro import PartialEvolutionSampler, PatchAutoencoder, PatchEncoder, Training
from sklmacro.simulators import Ising, LinearChain, PredatorPrey

SYSTEMS = {"spins": (Ising(temperature=2.5), 8), "fields": (PredatorPrey(), 12)}


def fast(name, max_epochs=4, lr=1e-2, patience=10, encoder="auto", **params):
    """An autoencoder that is soon trained."""
    training = Training(max_epochs=max_epochs, lr=lr, patience=patience)
    return PatchAutoencoder(
        SYSTEMS[name][0],
        patch=4,
        training=training,
        encoder=PatchEncoder(encoder, hidden=(16,)),
        random_state=0,
        **params,
    )


def snapshots(name, n=60, seed=0):
    simulator, cells = SYSTEMS[name]
    X = simulator.sample_initial(n, cells, random_state=seed)
    return simulator.advance(X, duration=0.5, random_state=seed)[0]


@pytest.mark.parametrize("encoder", ["dense", "conv", "auto"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_shapes(name, encoder):
    X = snapshots(name)
    model = fast(name, encoder=encoder, n_closure=3).fit(X)
    z = model.transform(X)
    assert z.shape == (60, 5)
    assert model.n_latent_ == 5
    names = model.get_feature_names_out()
    assert list(names[-3:]) == ["closure0", "closure1", "closure2"]
    decoded = model.inverse_transform(z)
    assert decoded.shape == X.shape
    if name == "spins":
        assert np.abs(decoded).max() <= 1


def test_auto_is_dense_on_a_chain_and_convolutional_elsewhere():
    kinds = {}
    for name in SYSTEMS:
        model = fast(name, max_epochs=1).fit(snapshots(name))
        kinds[name] = type(model.codec_.net.encoder).__name__
    assert kinds == {"spins": "ConvPatchEncoder", "fields": "DensePatchEncoder"}


@pytest.mark.statistical
@pytest.mark.parametrize("name", SYSTEMS)
def test_reconstruction_improves_and_repeats(name):
    X = snapshots(name, 200)
    model = fast(name, n_closure=2, max_epochs=12)
    first, second = clone(model).fit(X), clone(model).fit(X)
    losses = [epoch["valid_loss"] for epoch in first.history_]
    assert len(losses) == 12
    assert min(losses) < 0.97 * losses[0]
    assert first.history_ == second.history_
    assert np.array_equal(first.transform(X), second.transform(X))
    assert set(first.history_[0]) == {"train_loss", "valid_loss"}


@pytest.mark.statistical
def test_training_stops_early_with_the_best_weights():
    X = snapshots("fields", 20)
    model = fast("fields", max_epochs=80, patience=2, lr=0.1).fit(X)
    losses = [epoch["valid_loss"] for epoch in model.history_]
    assert len(losses) < 80
    assert len(losses) - 1 - int(np.argmin(losses)) == 2


@pytest.mark.statistical
def test_a_closure_sees_what_the_observable_does_not():
    """A chain with a random slope: its mean is 0, and one closure finds the slope."""
    rng = np.random.default_rng(0)
    slope = rng.normal(size=(400, 1))
    X = slope * np.linspace(-1, 1, 6) + 0.05 * rng.normal(size=(400, 6))
    X -= X.mean(axis=1, keepdims=True)
    training = Training(max_epochs=40, batch_size=64, lr=1e-2)
    model = PatchAutoencoder(
        LinearChain(),
        n_closure=1,
        training=training,
        encoder=PatchEncoder(hidden=(16,)),
        random_state=0,
    ).fit(X)
    z = model.transform(X)
    assert abs(np.corrcoef(z[:, 1], slope[:, 0])[0, 1]) > 0.98
    assert np.sqrt(np.mean((model.inverse_transform(z) - X) ** 2)) < 0.25 * X.std()


@pytest.mark.parametrize("name", SYSTEMS)
def test_closures_are_standardised_over_the_training_patches(name):
    X = snapshots(name)
    model = fast(name, n_closure=2).fit(X)
    patches = model.grid_.split(X)
    closures = model.transform(patches.reshape(-1, *patches.shape[2:]))[:, -2:]
    assert np.allclose(closures.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(closures.std(axis=0), 1, atol=1e-5)


def test_without_closures_nothing_is_trained():
    simulator, _ = SYSTEMS["spins"]
    X = snapshots("spins")
    model = PatchAutoencoder(simulator, n_closure=0).fit(X)
    assert np.array_equal(model.transform(X), simulator.observe(X))
    assert not hasattr(model, "codec_")
    pairs = PartialEvolutionSampler(simulator, patch=4, random_state=0).fit_transform(X)
    latent = model.transform(pairs)
    assert np.array_equal(latent["dz"], pairs["d_obs"])
    assert list(model.get_feature_names_out()) == ["magnetisation", "domain wall density"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_encoder_serves_every_size_that_the_patch_divides(name):
    simulator, cells = SYSTEMS[name]
    model = fast(name, n_closure=1).fit(snapshots(name))
    for size in (4, 16):
        X = simulator.sample_initial(3, size, random_state=0)
        assert model.transform(X).shape == (3, len(simulator.observable_names) + 1)
        pairs = PartialEvolutionSampler(simulator, patch=4, random_state=0).fit_transform(X)
        assert model.transform(pairs)["dz"].shape == (3, len(simulator.observable_names) + 1)
    with pytest.raises(ValueError, match="expecting"):
        model.transform(simulator.sample_initial(3, cells + 2, random_state=0))


def test_the_patch_of_the_pairs_is_the_default():
    simulator, _ = SYSTEMS["spins"]
    X = snapshots("spins")
    pairs = PartialEvolutionSampler(simulator, patch=(2, 4), random_state=0).fit_transform(X)
    assert PatchAutoencoder(simulator, n_closure=0).fit(pairs).grid_.cells == (2, 4)
    assert PatchAutoencoder(simulator, n_closure=0).fit(X).grid_.cells == (8, 8)
    chosen = PatchAutoencoder(simulator, n_closure=0, patch=2).fit(pairs)
    assert chosen.grid_.cells == (2, 2)


def test_max_patches_limits_the_training_set():
    X = snapshots("spins")
    few = fast("spins", max_patches=10).fit(X)
    assert np.isfinite(few.transform(X)).all()
    many = fast("spins").fit(X)
    assert not np.array_equal(few.transform(X), many.transform(X))
