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
SHORT = Training(max_epochs=3)


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


def pairs(w, n=20_000, seed=0):
    """Sampled increments at independent states, with W_12 = w."""
    z, rng = states(n, seed), np.random.default_rng([seed, 1])
    noise = rng.normal(size=z.shape) @ np.linalg.cholesky(2 * M).T
    return latent_pairs(z, flow(z, w) * DT + np.sqrt(DT) * noise, DT)


@pytest.fixture(scope="module")
def fitted():
    return {w: OnsagerSDE(training=SHORT, random_state=0).fit(pairs(w)) for w in (0.0, 1.5)}


Z = states(2_000, 9)
