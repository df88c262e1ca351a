"""What a simulator conserves: increments, moments and lam of it, by patches (Eqs. 7, 10, 15)."""

import numpy as np
import pytest

from sklmacro import (
    Convergence,
    HierarchicalUpsampler,
    LocalRelax,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    Patches,
    PatchSDERegressor,
    Training,
)
from sklmacro.scoring import dt_plateau, fidelity
from sklmacro.simulators import Simulator
from sklmacro.simulators.events import Events


class Exchange(Simulator):
    """Charges +-0.1 on a ring, of which neighbours change places at rate 1 (Kawasaki 1966)."""

    kind = "chain"
    boundary = "periodic"
    observable_names = ("charge", "bonds")
    observable_units = ("1", "1")
    observable_bounds = ((-np.inf, np.inf),) * 2
    observable_range = 1
    fast_observables = ("bonds",)
    conserved_observables = ("charge",)
    upsample_method = "tile"

    def draw_initial(self, lattice, rng):
        return 0.1 * rng.permutation(np.repeat([-1.0, 1.0], [lattice.cells[0] // 4 + 1, 40])[:24])

    def density(self, x):
        return np.stack([x, x * np.roll(x, -1)], axis=-1)

    def advance_window(self, x, lattice, evolution):
        (start,), (extent,) = evolution.window
        n, rng = lattice.cells[0], evolution.rng
        count = extent if extent == n else extent - 1  # no exchange across the edges
        for k in rng.integers(count, size=rng.poisson(count * evolution.span.time)):
            i, j = (start + k) % n, (start + k + 1) % n
            x[i], x[j] = x[j], x[i]
        return evolution.span.time

    def events(self, x, lattice, window):
        (start,), (extent,) = window
        n = lattice.cells[0]
        places = (start + np.arange(extent)) % n
        changes = []
        for i in places:
            y = x.copy()
            y[[i, (i + 1) % n]] = y[[(i + 1) % n, i]]
            changes.append(self.density(y).sum(axis=0) - self.density(x).sum(axis=0))
        sites = np.stack([places, (places + 1) % n], axis=1)
        return Events(np.ones(extent), sites, x[sites[:, ::-1]], np.array(changes))


class Undeclared(Exchange):
    conserved_observables = ()


X = Exchange().sample_initial(60, 24, random_state=0)
TRAINING = Training(max_epochs=2)


def sample(simulator, **options):
    sampler = PartialEvolutionSampler(simulator, dt=0.5, random_state=0, **options)
    return sampler.fit_transform(X), sampler


@pytest.mark.parametrize("boundary", ["ghost", "periodic", 2])
def test_increments_of_patches_vanish(boundary):
    """With a buffer, charge flows across a patch's edges: currents cancel over the lattice."""
    pairs, _ = sample(Exchange(), patch=6, boundary=boundary)
    np.testing.assert_array_equal(pairs["d_obs"][:, 0], 0)
    same, _ = sample(Undeclared(), patch=6, boundary=boundary)
    np.testing.assert_array_equal(pairs["d_obs"][:, 1], same["d_obs"][:, 1])
    if boundary == 2:
        assert np.abs(same["d_obs"][:, 0]).max() > 0.01  # control


def test_moments_vanish_with_and_without_closures():
    pairs, _ = sample(Exchange(), patch=Patches(6, n_evolved=2), moments=True)
    for n_closure in (0, 1):
        closure = PatchAutoencoder(
            Exchange(),
            patch=6,
            n_closure=n_closure,
            encoder=PatchEncoder(hidden=(4,)),
            training=TRAINING,
            random_state=0,
        )
        latent = closure.fit_transform(pairs)
        np.testing.assert_array_equal(latent["dz"][:, 0], 0)
        np.testing.assert_array_equal(latent["cov"][:, 0], 0)
        np.testing.assert_array_equal(latent["cov"][:, :, 0], 0)
        assert latent["cov"][:, 1, 1].min() >= 0 < latent["cov"][:, 1, 1].max()
        sde = PatchSDERegressor(drift_model="linear").fit(latent)
        assert 0 not in sde.relations_.free
    drift, covariance = Exchange().moments(X)
    np.testing.assert_array_equal(drift[:, 0], 0)
    np.testing.assert_array_equal(covariance[:, 0], 0)


@pytest.mark.parametrize("cls", [PatchSDERegressor, OnsagerSDE])
def test_lam_leaves_it_out(cls):
    """Its own is K/p, the limit of short times, whether it is declared or not."""
    pairs, sampler = sample(Exchange(), patch=Patches(6, n_evolved=2, n_joint=30))
    assert sampler.lam_of_observables_[0] == 4 / 2
    assert sampler.lam_ == sampler.lam_of_observables_[1]
    assert 0 < sampler.lam_error_ < sampler.lam_
    _, undeclared = sample(Undeclared(), patch=Patches(6, n_evolved=2, n_joint=30))
    np.testing.assert_array_equal(undeclared.lam_of_observables_, sampler.lam_of_observables_)
    latent = PatchAutoencoder(Exchange(), patch=6, n_closure=0).fit_transform(pairs)
    drift = {"drift_model": "linear"} if cls is PatchSDERegressor else {"training": TRAINING}
    sde = cls(lam="auto", random_state=0, **drift).fit(latent)
    assert sde.lam_ == pytest.approx(sampler.lam_)
    np.testing.assert_array_equal(sde.diffusion(latent["z"])[:, 0], 0)


class Still(Exchange):
    observable_names = conserved_observables = ("charge",)
    observable_units = ("1",)
    observable_bounds = ((-np.inf, np.inf),)

    def density(self, x):
        return x[:, np.newaxis]


def test_lam_where_everything_is_conserved():
    _, sampler = sample(Still(), patch=Patches(6, n_joint=10))
    assert (sampler.lam_, sampler.lam_error_) == (4, 0)
    np.testing.assert_array_equal(sampler.lam_of_observables_, [4])


def test_relaxation_converges_beside_it():
    relaxation = LocalRelax(duration=1.0, n_passes=Convergence(max_passes=8, tolerance=1.0))
    up = HierarchicalUpsampler(Exchange(), n_iter=1, relaxation=relaxation, random_state=0).fit(X)
    assert np.isfinite(up.relaxation_[-1].change).all()


def test_measures_take_it():
    plateau = dt_plateau(Exchange(), X[:10], [0.1, 0.2], patch=6, random_state=0)
    np.testing.assert_array_equal(plateau.rate[:, 0], 0)
    np.testing.assert_array_equal(plateau.diffusion[:, 0], 0)
    alike = fidelity(Exchange(), X[:30], X[30:], given=("bonds",), degree=1)
    charge = alike.quantities.index("d/dt charge")
    assert alike.z[charge] == alike.chi2[charge] == 0
    assert 0 < alike.p_value <= 1


@pytest.mark.parametrize("names", ["charge", ("composition",), ("charge", "x")])
def test_other_names_are_refused(names):
    class Wrong(Exchange):
        conserved_observables = names

    text = r"conserved_observables to be a tuple of some of \('charge', 'bonds'\), but Wrong has"
    with pytest.raises(ValueError, match=text):
        PartialEvolutionSampler(Wrong(), patch=6).fit(X)
