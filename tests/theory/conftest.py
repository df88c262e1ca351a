"""Fitted encoders that several claims are held against."""

import pytest

from sklmacro import PatchAutoencoder, PatchEncoder, Training
from sklmacro.simulators import Ising, PredatorPrey


@pytest.fixture(scope="package")
def encoders():
    """Fitted on snapshots of one size; the patch is 4 cells wide."""
    fitted = {}
    for name, simulator, cells in [
        ("spins", Ising(temperature=2.5), 8),
        ("fields", PredatorPrey(), 12),
    ]:
        X = simulator.sample_initial(30, cells, random_state=0)
        encoder = PatchAutoencoder(
            simulator,
            patch=4,
            training=Training(max_epochs=2),
            encoder=PatchEncoder(hidden=(8,)),
            random_state=0,
        )
        fitted[name] = encoder.fit(X)
    return fitted
