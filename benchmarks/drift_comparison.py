"""Drifts of known processes, learned from sampled increments: a table of errors of every model.

    python -m benchmarks.drift_comparison [--pairs 5000 50000] [--seeds 5] [--models gp auto ...]

Increments of one of K = 8 patches, dz ~ N(mu dt, K Sigma dt), at states of the stationary law. The
error of a drift is the root mean square of its difference from the truth over other stationary
states, in units of the true drift's own; that of a covariance the same of all its entries. The
table gives the median and the worst over seeds. `library` is least squares on all monomials of the
true drift's degree, `terms` on those that the true drift has: what one does who knows the answer.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer, StandardScaler

from sklmacro import MLP, OnsagerSDE, PatchSDERegressor, Polynomial, SDEEnsemble
from sklmacro.pairs import latent_pairs

K = 8
RIDGES = np.logspace(-4, 4, 17)


@dataclass(frozen=True)
class Process:
    """dz = mu(z) dt + L(z) dB, with the degree of mu, and the exponents that it has."""

    drift: Callable
    factor: Callable
    d: int
    dt: float
    degree: int
    terms: list

    def states(self, n, seed):
        """States (n, d) of the stationary law: n / 50 paths, from a time of 10 on at every unit."""
        rng = np.random.default_rng(seed)
        z, step, found = rng.normal(size=(-(-n // 50), self.d)), self.dt / 10, []
        for k in range(round(60 / step)):
            noise = np.einsum("nij,nj->ni", self.factor(z), rng.normal(size=z.shape))
            z = z + self.drift(z) * step + np.sqrt(step) * noise
            if (k + 1) % round(1 / step) == 0 and k * step > 10:
                found.append(z)
        return np.concatenate(found)[:n]

    def pairs(self, n, seed):
        """Latent pairs of evolved patches."""
        z, rng = self.states(n, seed), np.random.default_rng([seed, 1])
        noise = np.einsum("nij,nj->ni", self.factor(z), rng.normal(size=z.shape))
        return latent_pairs(
            z, self.drift(z) * self.dt + np.sqrt(K * self.dt) * noise, self.dt, n_patches=K
        )


def constant(L):
    return lambda z: np.broadcast_to(L, (len(z), *np.shape(L)))


def ou(z):
    return z @ np.array([[-1.0, 0.5], [-0.5, -0.6]]).T


def double_well(z):
    x, y = z.T
    return np.column_stack([x - x**3 + 0.3 * y, -y])


def multiplicative(z):
    L = np.zeros((len(z), 2, 2))
    L[:, 0, 0] = np.sqrt(0.3 + 0.2 * z[:, 0] ** 2)
    L[:, 1, 0], L[:, 1, 1] = 0.1, 0.4
    return L


def van_der_pol(z):
    x, y = z.T
    return np.column_stack([y, (1 - x**2) * y - x])


def rotation(z):
    x, y = z.T
    r2 = x**2 + y**2
    return np.column_stack([x * (1 - r2) - 2 * y, y * (1 - r2) + 2 * x])


TEMPERATURE = 0.245  # of the rotating well
TURN = 1.5  # W_12 of the rotating well, with M = 1


def well(z):
    x, y = z.T
    return (x**4 + x**2) / 4 + x * y / 2 + y**2 / 2


def rotating_well(z):
    x, y = z.T
    slope = np.column_stack([x**3 + x / 2 + y / 2, y + x / 2])
    return -slope @ np.array([[1.0, TURN], [-TURN, 1.0]]).T


LINEAR = [(1, 0), (0, 1)]
PROCESSES = {
    "correlated OU": Process(
        ou, constant(np.array([[0.5, 0.0], [0.4, 0.3]])), 2, 0.1, 1, [LINEAR, LINEAR]
    ),
    "double well": Process(
        double_well, multiplicative, 2, 0.05, 3, [[*LINEAR, (3, 0)], [(0, 1)]]
    ),
    "van der Pol": Process(
        van_der_pol, constant(np.array([[0.3, 0.0], [0.0, 0.5]])), 2, 0.05, 3,
        [[(0, 1)], [*LINEAR, (2, 1)]],
    ),
    "rotating flow": Process(
        rotation, constant(0.4 * np.eye(2)), 2, 0.05, 3,
        [[*LINEAR, (3, 0), (1, 2)], [*LINEAR, (2, 1), (0, 3)]],
    ),
    "rotating well": Process(
        rotating_well, constant(np.sqrt(2 * TEMPERATURE) * np.eye(2)), 2, 0.05, 3,
        [[*LINEAR, (3, 0)], [*LINEAR, (3, 0)]],
    ),
}  # fmt: skip


def sde(**params):
    return lambda process, pairs: PatchSDERegressor(random_state=0, **params).fit(pairs)


def ensemble(process, pairs):
    member = PatchSDERegressor(drift_model=Polynomial("auto"))
    return SDEEnsemble(member, n_members=8, random_state=0).fit(pairs)


class Regression:
    """A regression of the rates dz / dt on z, and one covariance of what it leaves."""

    def __init__(self, model, pairs):
        z, dt = pairs["z"], pairs["dt"][:, np.newaxis]
        self.model = model.fit(z, pairs["dz"] / dt)
        rest = (pairs["dz"] - self.drift(z) * dt) / np.sqrt(K * dt)
        self.Sigma = rest.T @ rest / len(rest)

    def drift(self, z):
        return self.model.predict(z).reshape(len(z), -1)

    def diffusion(self, z):
        return np.broadcast_to(self.Sigma, (len(z), *self.Sigma.shape))


def by_sklearn(*steps):
    return lambda process, pairs: Regression(
        make_pipeline(StandardScaler(), *steps, RidgeCV(RIDGES)), pairs
    )


def library(process, pairs):
    features = PolynomialFeatures(process.degree)
    return Regression(make_pipeline(features, RidgeCV([1e-9])), pairs)


class Terms:
    """Least squares on the terms that the true drift has."""

    def __init__(self, process, pairs):
        z, rates = pairs["z"], pairs["dz"] / pairs["dt"][:, np.newaxis]
        self.terms = process.terms
        self.w = [
            np.linalg.lstsq(self.features(z, i), rates[:, i], rcond=None)[0]
            for i in range(process.d)
        ]

    def features(self, z, i):
        return np.column_stack([np.prod(z ** np.array(powers), axis=1) for powers in self.terms[i]])

    def drift(self, z):
        return np.column_stack([self.features(z, i) @ w for i, w in enumerate(self.w)])

    def diffusion(self, z):
        return np.full((len(z), z.shape[1], z.shape[1]), np.nan)


MODELS = {
    "gp": sde(drift_model="gp"),
    "auto": sde(drift_model=Polynomial("auto")),
    "cubic": sde(drift_model=Polynomial(3)),
    "mlp": sde(drift_model=MLP()),
    "onsager": lambda process, pairs: OnsagerSDE(random_state=0).fit(pairs),
    "ensemble": ensemble,
    "splines": by_sklearn(SplineTransformer(6), PolynomialFeatures(2, interaction_only=True)),
    "kernel ridge": by_sklearn(Nystroem(gamma=0.5, n_components=200, random_state=0)),
    "library": library,
    "terms": Terms,
}


def errors(model, process, z):
    """Relative errors of drift and covariance at states z."""
    mu, L = process.drift(z), process.factor(z)
    Sigma = L @ L.transpose(0, 2, 1)
    scale = np.sqrt(np.mean(mu**2, axis=0))
    drift = np.sqrt(np.mean(((model.drift(z) - mu) / scale) ** 2))
    covariance = np.sqrt(np.mean((model.diffusion(z) - Sigma) ** 2) / np.mean(Sigma**2))
    return drift, covariance


def parts(model, z):
    """Relative errors of W and V of the rotating well, in units of the temperature."""
    W = model.conservation(z)[:, 0, 1] / (TEMPERATURE * TURN) - 1
    V, truth = model.potential(z), well(z) / TEMPERATURE
    return np.sqrt(np.mean(W**2)), np.std(V - truth) / np.std(truth)


def run(processes, models, sizes, seeds):
    print("| process | pairs | model | drift: median | worst | covariance: median | worst | s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in processes:
        process = PROCESSES[name]
        z = process.states(20_000, 99)
        for n in sizes:
            data = [process.pairs(n, seed) for seed in range(seeds)]
            for model in models:
                start = time.perf_counter()
                fitted = [MODELS[model](process, pairs) for pairs in data]
                seconds = (time.perf_counter() - start) / seeds
                found = [errors(one, process, z) for one in fitted]
                middle, worst = np.median(found, axis=0), np.max(found, axis=0)
                print(
                    f"| {name} | {n} | {model} | {middle[0]:.4f} | {worst[0]:.4f} "
                    f"| {middle[1]:.4f} | {worst[1]:.4f} | {seconds:.1f} |",
                    flush=True,
                )
                if name == "rotating well" and model == "onsager":
                    (W, V), (most_W, most_V) = (
                        of([parts(one, z) for one in fitted], axis=0) for of in (np.median, np.max)
                    )
                    print(f"W: {W:.3f}, worst {most_W:.3f}; V: {V:.3f}, worst {most_V:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", nargs="+", default=list(PROCESSES), choices=list(PROCESSES))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--pairs", nargs="+", type=int, default=[5_000, 50_000])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    run(options.processes, options.models, options.pairs, options.seeds)
