"""The drift of the generalised Onsager principle: mu = -(M + W) grad V + f, Eq. 5."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklmacro import OnsagerSDE, Training
from sklmacro.pairs import latent_pairs


@pytest.fixture(scope="module")
def onsager():
    """Fitted with coordinates of unlike scale, and a context."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2)) * [1.0, 30.0] + [0.5, -10.0]
    c = rng.uniform(1, 2, (600, 1))
    dz = -c * (z - [0.5, -10]) * 0.1 + rng.normal(size=z.shape) * [0.1, 3.0]
    pairs = latent_pairs(z, dz, 0.1, context=c)
    return {
        forcing: OnsagerSDE(
            forcing=forcing,
            # The data need no force; without held-out groups what is trained is kept.
            training=Training(max_epochs=8, batch_size=64, lr=1e-2, validation_fraction=0.0),
            hidden=(16,),
            random_state=1,
        ).fit(pairs)
        for forcing in (True, False)
    }


STATES = st.tuples(st.floats(-5, 5), st.floats(-150, 150))


@given(z=STATES, c=st.floats(0.5, 3), forcing=st.booleans())
def test_onsager_drift_is_its_parts(onsager, z, c, forcing):
    """mu = -(M + W) grad V + f, in the units of z."""
    model, z, c = onsager[forcing], np.array([z]), [c]
    M, W = model.dissipation(z, c)[0], model.conservation(z, c)[0]
    f, gradient = model.force(z, c)[0], model.potential_gradient(z, c)[0]
    assert np.allclose(model.drift(z, c)[0], -(M + W) @ gradient + f, rtol=1e-9, atol=1e-12)
    assert np.allclose(M, M.T, rtol=1e-12)
    scale = np.sqrt(np.diag(M))
    assert np.linalg.eigvalsh(M / np.outer(scale, scale))[0] > 0
    assert np.allclose(W, -W.T, rtol=1e-12, atol=0)
    assert f.any() == forcing


@given(z=STATES, c=st.floats(0.5, 3))
def test_potential_gradient_is_that_of_finite_differences(onsager, z, c):
    model, z = onsager[True], np.array([z])
    for axis, step in enumerate((1e-5, 3e-4)):
        h = step * np.eye(2)[axis]
        slope = (model.potential(z + h, [c]) - model.potential(z - h, [c])) / (2 * step)
        assert model.potential_gradient(z, [c])[0, axis] == pytest.approx(
            slope[0], rel=1e-5, abs=1e-7
        )


def flow(model, z, c, dt, n_steps):
    """Noise-free paths by classical Runge-Kutta steps."""
    path = [z]
    for _ in range(n_steps):
        k1 = model.drift(z, c)
        k2 = model.drift(z + dt / 2 * k1, c)
        k3 = model.drift(z + dt / 2 * k2, c)
        k4 = model.drift(z + dt * k3, c)
        z = z + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(z)
    return path


@given(z=STATES, c=st.floats(1, 2))
@settings(max_examples=10)
def test_potential_never_increases_without_forcing(onsager, z, c):
    path = flow(onsager[False], np.array([z]), [c], 0.01, 60)
    V = np.array([onsager[False].potential(z, [c])[0] for z in path])
    assert (np.diff(V) <= 1e-12 * (1 + V[:-1])).all()
    assert V[-1] < V[0]


def test_forcing_can_raise_the_potential(onsager):
    """Negative control."""
    model = onsager[True]
    z = np.random.default_rng(0).normal(size=(400, 2)) * [2.0, 60.0]
    power = (model.drift(z, [1.5]) * model.potential_gradient(z, [1.5])).sum(axis=1)
    assert (power > 0).any()
    free = onsager[False]
    power = (free.drift(z, [1.5]) * free.potential_gradient(z, [1.5])).sum(axis=1)
    assert (power < 0).all()
