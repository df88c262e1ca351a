"""Time scale of a magnetisation: what the SDE forgets, and how much faster it runs."""

from dataclasses import dataclass
from math import factorial, pi, prod

import numpy as np
import pytest

from sklmacro.experiments._critical.kinetics import forgetting_time, time_scale
from sklmacro.simulators import Ising


@dataclass
class Linear:
    """dM = -a M dt + (2 a v)^(1/2) dB, with the variance v at rest."""

    a: float
    v: float = 0.02
    n_state_ = 1

    def drift(self, z, context=None):
        return -self.a * z

    def diffusion(self, z, context=None):
        return np.full((len(z), 1, 1), 2 * self.a * self.v)

    def simulate(self, z, n_steps, dt, n_paths, random_state):
        """Return exact paths."""
        rng, keep = np.random.default_rng(random_state), np.exp(-self.a * dt)
        z = np.repeat(z, n_paths, axis=0)
        paths = [z]
        for _ in range(n_steps):
            noise = rng.normal(size=z.shape) * (self.v * (1 - keep**2)) ** 0.5
            paths.append(keep * paths[-1] + noise)
        return np.stack(paths, axis=1)


def test_forgetting_time_of_a_gaussian_process():
    # |z| in Hermite polynomials of even order 2 k, each of which is forgotten at rate 2 k a
    odd = [float(prod(range(1, 2 * k - 2, 2))) for k in range(1, 60)]  # (2 k - 3)!!
    weights = [2 / pi * o**2 / factorial(2 * k) for k, o in enumerate(odd, 1)]
    expected = sum(w / (2 * k * 0.1) for k, w in enumerate(weights, 1)) / sum(weights)
    assert forgetting_time(Linear(0.1)) == pytest.approx(expected, rel=0.01)


@pytest.mark.statistical
@pytest.mark.parametrize("faster", [1.0, 1.6])
def test_time_scale_finds_how_much_too_fast_an_sde_is(faster):
    # free spins at infinite temperature: M is this process, with rate 1 and variance 1 / n_sites
    free = Ising(temperature=1e9)
    X = free.sample_initial(200, 16, random_state=0)
    X = free.advance(X, duration=20.0, random_state=1)[0]
    scale = time_scale(free, Linear(faster, v=1 / 256), X, n_replicas=16, seed=2, n_jobs=1)
    assert np.all(np.abs(scale.c - 1 / faster) < 5 * scale.error)
    assert scale.error.max() < 0.1
