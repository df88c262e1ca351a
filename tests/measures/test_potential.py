"""Effective potentials against SDEs whose stationary density is known."""

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

from sklmacro.scoring import nearest_potential, stationary_density, thermodynamic_force


class Balanced:
    """SDE with density exp(-Phi), Phi = (x^2 - 1)^2 + y^2 / 2 + x y / 2, and noise that varies."""

    n_state_ = 2

    def potential(self, z):
        x, y = z.T
        return (x**2 - 1) ** 2 + y**2 / 2 + x * y / 2

    def diffusion(self, z, context=None):
        x, y = z.T
        off = 0.2 * np.sin(x + y)
        return np.stack([1 + x**2 / 2, off, off, 1 + np.cos(y) / 2], axis=1).reshape(-1, 2, 2)

    def drift(self, z, context=None):
        x, y = z.T
        gradient = np.stack([4 * x * (x**2 - 1) + y / 2, y + x / 2], axis=1)
        slope = 0.2 * np.cos(x + y)
        divergence = np.stack([x + slope, slope - np.sin(y) / 2], axis=1)
        return (divergence - np.einsum("nij,nj->ni", self.diffusion(z), gradient)) / 2


def on_grid(sde, n=61, width=1.5):
    x = np.linspace(-width, width, n)
    z = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    force = thermodynamic_force(sde, z, np.ones(2), None).reshape(n, n, 2)
    return z, nearest_potential(force, (x[1] - x[0],) * 2)


def test_potential_of_detailed_balance_is_found():
    sde = Balanced()
    error = []
    for n in (31, 61):
        z, result = on_grid(sde, n)
        exact = sde.potential(z).reshape(n, n)
        error.append(np.abs(result.values - exact + exact.min()).max())
        assert result.share > 0.99
    assert error[1] < 0.02
    assert error[0] / error[1] == pytest.approx(4, rel=0.25)  # the trapezoidal rule


class Rotating:
    """dz = (-k z + w J z) dt + s dB: density exp(-k z^2 / s^2), with a current of strength w."""

    n_state_ = 2

    def __init__(self, k=1.0, w=0.0, s=1.0):
        self.A = np.array([[-k, -w], [w, -k]])
        self.sigma = s**2 * np.eye(2)

    def drift(self, z, context=None):
        return z @ self.A.T

    def diffusion(self, z, context=None):
        return np.tile(self.sigma, (len(z), 1, 1))


def test_a_current_has_no_potential_and_is_left_over():
    # What the edges of a square turn of a rotation into a gradient is the part by which warping
    # lowers its torsional rigidity, 0.1406 a^4 in the place of a^4 / 6 (Saint-Venant).
    warped = 1 - 0.1406 * 6
    for w in (0.5, 1.0):
        z, result = on_grid(Rotating(w=w), n=201)
        assert result.share == pytest.approx((1 + warped * w**2) / (1 + w**2), abs=0.005)
    r2 = (z**2).sum(axis=1).reshape(result.values.shape)
    off = result.values - result.values[100, 100] - r2
    assert np.abs(off[r2 < 0.3]).max() < 0.05
    assert on_grid(Rotating())[1].share > 1 - 1e-12
    assert nearest_potential(np.zeros((5, 6, 2)), (1, 1)).share == 1


def test_units_of_the_coordinates_do_not_matter():
    rng = np.random.default_rng(0)
    force = rng.normal(size=(9, 12, 2))
    one = nearest_potential(force, (0.1, 0.3))
    other = nearest_potential(force / [10, 100], (1.0, 30.0))
    assert np.allclose(one.values, other.values)
    assert one.share == pytest.approx(other.share)


def test_a_section_of_a_gaussian_and_the_density_of_one_component_agree():
    sde = Rotating()
    covariance = solve_continuous_lyapunov(sde.A, -sde.sigma)
    z, result = on_grid(sde)
    exact = np.einsum("ni,ij,nj->n", z, np.linalg.inv(covariance), z) / 2
    assert np.allclose(result.values.ravel(), exact)

    class OneComponent(Rotating):
        n_state_ = 1

        def drift(self, z, context=None):
            return -z

        def diffusion(self, z, context=None):
            return np.ones((len(z), 1, 1))

    x = np.linspace(-1.5, 1.5, 61)
    density = -np.log(stationary_density(OneComponent(), x))
    assert np.allclose(result.values[:, 30], density - density.min())


def test_components_that_are_bound_together_have_a_force_along_the_bond():
    class Bound(Rotating):
        def drift(self, z, context=None):
            return -z.mean(axis=1, keepdims=True) * [1, 100]

        def diffusion(self, z, context=None):
            return np.tile([[1.0, 100.0], [100.0, 1e4]], (len(z), 1, 1))

    z = np.array([[0.5, 0.5], [-1.0, 1.0]])
    force = thermodynamic_force(Bound(), z, np.array([1.0, 100.0]), None)
    assert np.allclose(force, [[-0.5, -0.005], [0.0, 0.0]])
