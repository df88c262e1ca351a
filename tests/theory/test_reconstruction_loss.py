"""The loss of the autoencoder, Eq. 2: E |psi(phi(x)) - x|^2 over patches x.

Fields are measured in their standard deviations. Of spins the decoder gives the probability, whose
loss is the cross-entropy: with the mean spin m, -log((1 + m s) / 2).
"""

import numpy as np
import pytest

from sklmacro import PatchAutoencoder, PatchEncoder, Training
from sklmacro.simulators import Ising, PredatorPrey


def squared_error(x, decoded):
    scale = x.reshape(-1, 2).std(axis=0)
    return np.mean(((decoded - x) / scale) ** 2)


def cross_entropy(x, decoded):
    return np.mean(-np.log((1 + x * decoded) / 2))


@pytest.mark.parametrize("encoder", ["dense", "conv"])
@pytest.mark.parametrize(
    ("simulator", "loss"),
    [(PredatorPrey(), squared_error), (Ising(temperature=2.5), cross_entropy)],
    ids=["fields", "spins"],
)
def test_reconstruction_loss_is_eq_2(simulator, loss, encoder):
    """The loss of the epoch that is kept, from what transform and inverse_transform give."""
    X = simulator.sample_initial(40, 4, random_state=0)
    X = simulator.advance(X, duration=1.0, random_state=1)[0]
    training = Training(max_epochs=5, batch_size=8, lr=1e-2, validation_fraction=0.0)
    model = PatchAutoencoder(
        simulator,
        n_closure=2,
        training=training,
        encoder=PatchEncoder(encoder, hidden=(8,)),
        random_state=0,
    ).fit(X)
    z = model.transform(X)
    kept = min(epoch["valid_loss"] for epoch in model.history_)
    assert loss(X, model.inverse_transform(z)) == pytest.approx(kept, rel=1e-5)
    others = loss(X, model.inverse_transform(np.roll(z, 1, axis=0)))
    assert others > 1.001 * kept  # negative control: decoded from other macrostates
