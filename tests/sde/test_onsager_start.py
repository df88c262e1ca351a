"""The default `OnsagerSDE` tells potential, dissipation and rotation of a flow apart.

    dz = -(M + W) grad V dt + dB,   Sigma = 2 M,   V = (x^4 + x^2) / 4 + x y / 2 + y^2 / 2

exp(-V) is the stationary density, whatever W is; states are drawn from it.
"""

import numpy as np
import pytest

from sklmacro import MLP, OnsagerSDE, PatchSDERegressor, Polynomial, Training
from sklmacro.pairs import latent_pairs

M = np.array([[1.0, 0.3], [0.3, 0.6]])
DT = 0.05
SHORT = Training(max_epochs=1)


def potential(z):
    x, y = z.T
    return (x**4 + x**2) / 4 + x * y / 2 + y**2 / 2


def gradient(z):
    x, y = z.T
    return np.column_stack([x**3 + x / 2 + y / 2, y + x / 2])


def states(n, seed):
    """Draws of exp(-V): of candidates from a wide normal law, by their weights."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.normal(size=(20 * n, 2))
    weight = np.exp(-potential(z) + np.sum(z**2, axis=1) / 4.5)
    return z[rng.choice(len(z), n, p=weight / weight.sum())]


def flow(z, w):
    return -gradient(z) @ (M + w * np.array([[0, 1], [-1, 0]])).T


def pairs(w, n=8_000, seed=0):
    """Sampled increments at independent states, with W_12 = w."""
    z, rng = states(n, seed), np.random.default_rng([seed, 1])
    noise = rng.normal(size=z.shape) @ np.linalg.cholesky(2 * M).T
    return latent_pairs(z, flow(z, w) * DT + np.sqrt(DT) * noise, DT)


@pytest.fixture(scope="module")
def fitted():
    return {w: OnsagerSDE(training=SHORT, random_state=0).fit(pairs(w)) for w in (0.0, 1.5)}


Z = states(2_000, 9)


def error(found, true):
    return np.sqrt(np.mean((found - true) ** 2) / np.mean(true**2))


def test_a_rotation_is_told_from_a_potential(fitted):
    """Eight fits erred by up to 0.05, 0.21, 0.03, 0.22 and 0; each w is the other's control."""
    for w, sde in fitted.items():
        assert np.abs(sde.conservation(Z)[:, 0, 1] - w).max() < 0.2
        V, found = potential(Z), sde.potential(Z)
        assert np.std(found - V) < 0.4 * np.std(V)
        assert np.abs(sde.dissipation(Z).mean(axis=0) - M).max() < 0.1
        assert error(sde.drift(Z), flow(Z, w)) < 0.35
        assert error(sde.force(Z) + flow(Z, w), flow(Z, w)) < 0.3


def test_with_few_pairs_a_net_is_about_as_good_as_a_polynomial():
    data = pairs(1.5, n=1_000)
    true = flow(Z, 1.5)
    net = PatchSDERegressor(drift_model=MLP(training=SHORT), random_state=0).fit(data)
    cubic = PatchSDERegressor(drift_model=Polynomial(3)).fit(data)
    line = PatchSDERegressor(drift_model="linear").fit(data)
    assert error(net.drift(Z), true) < 1.2 * error(cubic.drift(Z), true)
    assert error(line.drift(Z), true) > 1.2 * error(cubic.drift(Z), true)  # control


def test_the_scale_of_m_is_that_of_the_noise(fitted):
    """Twice the noise is twice M and half V, of the same drift."""
    louder = fitted[1.5].model_.scale_noise(np.sqrt(2))
    assert louder.gauge == pytest.approx(2 * fitted[1.5].model_.gauge)


def test_a_force_that_is_no_rotation_of_a_gradient_is_found():
    """On the limit cycle of a flow grad V would have to vanish."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(8_000, 2))
    mu = z * (1 - np.sum(z**2, axis=1, keepdims=True)) + 2 * z[:, ::-1] * [-1, 1]
    dz = mu * DT + 0.4 * np.sqrt(DT) * rng.normal(size=z.shape)
    sde = OnsagerSDE(training=SHORT, dt=DT, random_state=0).fit(z, dz)
    free = OnsagerSDE(training=SHORT, dt=DT, random_state=0, forcing=False).fit(z, dz)
    assert error(sde.drift(z), mu) < 0.7 * error(free.drift(z), mu)


@pytest.mark.parametrize("parity", [(-1, 1), (-1, -1)])
def test_a_parity_is_kept(parity):
    P, rng = np.array(parity), np.random.default_rng(0)
    z = rng.uniform(-1, 1, (500, 2))
    dz = (0.5 - z) * DT * (P + 1) / 2 - z * DT * (1 - P) / 2 + 0.1 * rng.normal(size=z.shape)
    sde = OnsagerSDE(training=SHORT, dt=DT, random_state=0, parity=parity).fit(z, dz)
    np.testing.assert_allclose(sde.drift(P * z), P * sde.drift(z), atol=1e-10)
    np.testing.assert_allclose(sde.potential(P * z), sde.potential(z), rtol=1e-9)
