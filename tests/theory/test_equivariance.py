"""The learned dynamics does not depend on units: Eqs. 4 and 7 in u z and s t are those in z and t.

mu(u z) = u mu(z) / s, Sigma(u z) = u Sigma(z) u / s, for units u of each component and s of time.
"""

import numpy as np
import pytest
from sklearn.base import clone

from sklmacro import MLP, OnsagerSDE, PatchSDERegressor, Polynomial, Training
from sklmacro.closure.codec import Standardizer
from sklmacro.measures.plateau import regression
from sklmacro.pairs import latent_pairs
from sklmacro.sampling.lam import ratio_of_variances
from sklmacro.sampling.relaxation import unexplained_change
from sklmacro.scoring import (
    autocorrelation_time,
    mean_mmd2,
    mmd2_paths,
    stationary_density,
    std_ratio,
)

N = 120
RNG = np.random.default_rng(0)
Z = RNG.uniform(-1, 1, (N, 2))
CONTEXT = RNG.uniform(1, 2, (N, 1))
DT = 0.1 * RNG.exponential(1, N)
MEAN = (Z @ [[-1, 0.3], [-0.2, -0.5]] - Z**3) * DT[:, np.newaxis]
ROOT = np.array([[0.3, 0.1], [0, 0.2]])
NOISE = np.sqrt(DT)[:, np.newaxis] * RNG.normal(size=(N, 2)) @ ROOT.T
COV = DT[:, np.newaxis, np.newaxis] * (ROOT @ ROOT.T) * (1 + Z[:, :1, np.newaxis] ** 2)

NET = {"training": Training(max_epochs=2, batch_size=64)}
MODELS = {
    "linear": PatchSDERegressor(drift_model="linear", diffusion_model="constant"),
    "polynomial": PatchSDERegressor(drift_model="polynomial"),
    "mlp": PatchSDERegressor(drift_model=MLP((4,), **NET), random_state=0),
    "mlp, odd": PatchSDERegressor(
        drift_model=MLP((4,), **NET), diffusion_model="diagonal", parity=(-1, 1), random_state=0
    ),
    "gp": PatchSDERegressor(drift_model="gp"),
    "gp, odd": PatchSDERegressor(drift_model="gp", diffusion_model="diagonal", parity=(-1, 1)),
    "onsager": OnsagerSDE(hidden=(4,), **NET, random_state=0),
}
# Units of the components and of time; powers of two of z, and of four of time, round nothing.
EXACT = {
    "small": ([2.0**-332, 2.0**-332], 1.0),
    "of all sizes": ([2.0**332, 2.0**-44], 4.0**-50),
}
UNITS = EXACT | {
    "1e-13": ([1e-13, 1e-13], 1.0),
    "large": ([1e100, 1e100], 1e30),
    "far apart": ([1e-100, 1e100], 1e-30),
}


def learned(model, moments, unit=(1.0, 1.0), time=1.0):
    """Drift, diffusion and paths in units of the data, and the likelihood."""
    unit = np.array(unit)
    cov = COV * np.outer(unit, unit) if moments else None
    increments = (MEAN if moments else MEAN + NOISE) * unit
    pairs = latent_pairs(Z * unit, increments, DT * time, cov=cov, context=CONTEXT)
    sde = clone(model).fit(pairs)
    z, context = 1.2 * Z[:7] * unit, CONTEXT[:7]
    paths = sde.simulate(z, 10, 0.05 * time, context=context, random_state=0)
    dz = sde.predict(pairs)
    return {
        "drift": sde.drift(z, context) / unit * time,
        "diffusion": sde.diffusion(z, context) / np.outer(unit, unit) * time,
        "increments": dz / unit,
        "paths": paths / unit,
        "likelihood": sde.score(pairs) + np.log(unit).sum(),
    }


@pytest.mark.parametrize("moments", [False, True], ids=["sampled", "moments"])
@pytest.mark.parametrize("name", MODELS)
def test_the_learned_dynamics_does_not_depend_on_units(name, moments):
    expected = learned(MODELS[name], moments)
    for unit in UNITS:
        found = learned(MODELS[name], moments, *UNITS[unit])
        for quantity, value in expected.items():
            if unit in EXACT and quantity in ("drift", "diffusion"):
                np.testing.assert_array_equal(found[quantity], value)
            else:
                np.testing.assert_allclose(found[quantity], value, rtol=1e-5, atol=1e-7)


def test_a_chosen_degree_does_not_depend_on_units():
    model = PatchSDERegressor(
        drift_model=Polynomial("auto"), diffusion_model="constant", random_state=0
    )
    z, dz = Z[:, :1], (MEAN + NOISE)[:, :1]
    one, small = (clone(model).fit(z * u, dz * u) for u in (1, 2.0**-332))
    assert one.degree_ == small.degree_
    np.testing.assert_array_equal(small.drift(z * 2.0**-332) * 2.0**332, one.drift(z))


def test_another_model_would_be_seen():
    """Control: what is not proportional to the unit differs."""
    expected = learned(MODELS["linear"], False)
    found = learned(MODELS["linear"], False, (1e-13, 1e-13))
    assert not np.allclose(found["drift"], expected["drift"] * 1.001, rtol=1e-5)
    unlike = learned(PatchSDERegressor(drift_model=Polynomial(2)), False, (1e-13, 1e-13))
    assert not np.allclose(unlike["drift"], expected["drift"], rtol=1e-5)


@pytest.mark.parametrize("unit", [1e-100, 1e-13, 1e100])
def test_measures_do_not_depend_on_units(unit):
    rng = np.random.default_rng(0)
    P, Q = np.cumsum(rng.normal(size=(2, 30, 40, 2)), axis=2)
    P[..., 1], Q[..., 1] = 0.3, 0.1 + 1e-17 * rng.normal(size=(30, 40))  # never changes, or wrong
    corrected = Q + np.array([0, 0.2])
    np.testing.assert_allclose(mmd2_paths(unit * P, unit * Q), mmd2_paths(P, Q), rtol=1e-9)
    assert mean_mmd2(unit * P, unit * Q) > mean_mmd2(unit * P, unit * corrected) + 0.1
    np.testing.assert_allclose(std_ratio(unit * P, unit * Q), std_ratio(P, Q))
    walks = rng.normal(size=(3, 4000))
    times = (autocorrelation_time(u * walks, 0.1) for u in (1, unit))
    assert next(times) == pytest.approx(next(times))
    with pytest.raises(ValueError, match="vary, but got a constant"):
        autocorrelation_time(np.full((2, 100), 0.1 * unit), 1.0)
    grid = np.linspace(-2, 2, 101)
    densities = []
    for u in (1, unit):
        model, dz = MODELS["linear"], (NOISE - 0.1 * Z)[:, :1]
        sde = clone(model).set_params(dt=0.1).fit(u * Z[:, :1], u * dz)
        densities.append(stationary_density(sde, u * grid) * u)
    np.testing.assert_allclose(densities[1], densities[0], rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-100, 1e-13, 1e100])
def test_sampling_does_not_depend_on_units(unit):
    """lam (Eq. 7), what the slow explain of the fast, rates, and what nets see (Eq. 2)."""
    rng = np.random.default_rng(0)
    z, u = rng.normal(size=(40, 3)), np.array([unit, 1.0, unit])
    z[:, 2] = 0.1  # never changes
    increments = rng.normal(size=(40, 3, 4, 3)) * [1, 1, 0]
    one, other = (ratio_of_variances(z * v, increments * v, 4.0) for v in (1.0, u))
    assert one[:2] == pytest.approx(other[:2])
    np.testing.assert_allclose(one[2], other[2])
    assert one[2][2] == 4.0
    later = z + 0.1 * rng.normal(size=z.shape) * [1, 1, 0]
    change, scaled = (unexplained_change(z * v, later * v, [1]) for v in (1.0, u))
    np.testing.assert_allclose(scaled, change, atol=1e-10)
    y = increments.mean(axis=(1, 2))[:, np.newaxis]
    slopes, scaled = (regression(z * v, y * v)[0] for v in (1.0, u))
    np.testing.assert_allclose(scaled, slopes, atol=1e-10)
    assert slopes[0, 2] == 0
    seen, scaled = (Standardizer.of(z * v) for v in (1.0, u))
    np.testing.assert_allclose(scaled.forward(later * u), seen.forward(later), rtol=1e-9)
    np.testing.assert_array_equal(scaled.forward(2 * z * u)[:, 2], 0)
    np.testing.assert_allclose(scaled.backward(scaled.forward(z * u)), z * u)
