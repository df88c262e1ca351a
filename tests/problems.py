"""Problems with known answers."""

import numpy as np

from sklmacro.pairs import latent_pairs
from sklmacro.sde.regressions import monomials


def fixed_rng(seed):
    """Generator that `--reseed` leaves alone, for the states that samples start from.

    Exact laws are known from any state; how much a control differs from them, is not.
    """
    return np.random.Generator(np.random.PCG64(seed))


def start_spins(shape, seed=0):
    """Spins, each up or down with even odds, that samples start from."""
    return fixed_rng(seed).choice(np.array([-1, 1], np.int8), shape)


def exact_increments(z, mu, factor, dt, seed=0, degree=3):
    """Increments whose sample moments are exactly those of N(mu dt, L L^T dt).

    The noise is made orthogonal to all monomials of z up to `degree` and white in the sample, so
    that every regression on them returns mu and every covariance L L^T, with no sampling error.
    """
    n, d = z.shape
    f = monomials((z - z.mean(0)) / z.std(0), degree) * np.sqrt(dt)[:, None]
    noise = np.random.default_rng(seed).normal(size=(n, d))
    noise -= f @ np.linalg.lstsq(f, noise, rcond=None)[0]
    noise = np.linalg.solve(np.linalg.cholesky(noise.T @ noise / n), noise.T).T
    return mu * dt[:, None] + noise @ factor.T * np.sqrt(dt)[:, None]


def exact_pairs(n=400, K=16, p=1, seed=0, random_dt=True):
    """Latent pairs of a two-dimensional linear SDE, evolved patches; its drift matrix and Sigma."""
    rng = np.random.default_rng(seed)
    A = np.array([[-0.7, 0.4], [-0.3, -0.2]])
    L = np.array([[0.3, 0.0], [0.1, 0.2]])
    z = rng.uniform(-1, 1, (n, 2))
    dt = rng.uniform(0.05, 0.4, n) if random_dt else np.full(n, 0.1)
    dz = exact_increments(z, z @ A.T, np.sqrt(K / p) * L, dt, seed)
    return latent_pairs(z, dz, dt, n_patches=K, n_evolved=p), A, L @ L.T


def sampled_pairs(drift, factor, *, n, dt, K=1, seed=0, width=1.0, d=1):
    """Latent pairs drawn from an SDE at z uniform in [-width, width]^d."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-width, width, (n, d))
    noise = np.einsum("nij,nj->ni", factor(z), rng.normal(size=(n, d)))
    return latent_pairs(z, drift(z) * dt + np.sqrt(K * dt) * noise, dt, n_patches=K)
