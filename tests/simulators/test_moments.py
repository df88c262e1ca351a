"""Moments of increments as dt -> 0: exact sums, through simulators, patches and encoders."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sklmacro import PartialEvolutionSampler, PatchAutoencoder, PatchEncoder, Patches, Training
from sklmacro.closure.codec import PatchCodec, Standardizer
from sklmacro.closure.moments import latent_moments
from sklmacro.lattice import Lattice
from sklmacro.simulators import (
    Alloy,
    CurieWeiss,
    EventCount,
    Ising,
    LinearChain,
    PredatorPrey,
    Simulator,
    pairwise_barriers,
)
from sklmacro.simulators.alloy import BOLTZMANN
from sklmacro.simulators.events import Events
from tests import naive
from tests.simulators.test_simulator import Walkers

V = np.array([[0.0, 0.02, -0.03], [0.02, -0.05, 0.04], [-0.03, 0.04, 0.01]])  # eV
SADDLE = np.array([0.5, 0.6])  # eV

# Estimates are compared with what they should be in units of their standard error. A test looks at
# up to 20 numbers; one of 20 normal ones exceeds Z by chance once in 800 choices of the seed.
Z = 5.0  # 20 scores of a normal law beyond it: 1e-5


class Hoppers(Walkers):
    """Walkers whose events are listed; a hop changes two sites, which may be in two patches."""

    def events(self, x, lattice, window):
        (start,), (extent,) = window
        here = np.repeat((start + np.arange(extent)) % len(x), 2)
        there = (here + np.tile([-1, 1], extent)) % len(x)
        states = np.column_stack([x[here] - 1, x[there] + 1])
        changes = np.empty((len(here), 2))
        for k, (sites, new) in enumerate(zip(zip(here, there, strict=True), states, strict=True)):
            y = x.copy()
            y[list(sites)] = new
            changes[k] = (self.density(y) - self.density(x)).sum(axis=0)
        return Events(x[here].astype(float), np.column_stack([here, there]), states, changes)


def alloy(kind="bcc", **options):
    options = {"vacancy_fraction": 0.1, "attempt_frequency": 1e3} | options
    return Alloy(1500.0, pairwise_barriers(kind, V, SADDLE), ("A", "B"), **options)


def accuracy(model):
    """Relative error that the barriers' tables leave, which are in single precision."""
    return 3e-6 if isinstance(model, Alloy) else 1e-9


def one_by_one(model, x, window):
    """b and A, per time, of the intensive observables, for the events of a window, one by one."""
    lattice = model.lattice(x.shape)
    inside = np.arange(lattice.n_sites).reshape(lattice.site_shape)[lattice.window(*window)]
    if isinstance(model, Alloy):
        neighbours = lattice.neighbors()

        def barrier(flat, i, j):
            return naive.pairwise_barrier(flat, i, j, neighbours, V, SADDLE)

        kT, flat = BOLTZMANN * model.temperature, x.ravel()
        jumps = naive.vacancy_jumps(flat, neighbours, barrier, 1e3, kT)
        changes = [(r, {i: flat[j], j: 0}) for r, i, j in jumps if i in inside]
        z = lattice.coordination
        return naive.event_moments(
            x, changes, lambda y: naive.order_parameters(y.ravel(), neighbours, z, 2)
        )
    if isinstance(model, CurieWeiss):
        return naive.event_moments(
            x,
            naive.flips(
                x,
                lambda X: naive.curie_weiss_energy(X, model.coupling, model.field),
                model.temperature,
                inside.ravel(),
            ),
            lambda y: np.array([y.mean()]),
        )
    changes = naive.flips(
        x,
        lambda X: naive.lattice_energy(X.reshape(-1, *x.shape), lattice, 1.0, model.field),
        model.temperature,
        inside.ravel(),
    )
    return naive.event_moments(
        x, changes, lambda y: np.array([y.mean(), naive.lattice_walls(y, lattice)])
    )


CASES = {
    "square": (Ising(2.1, 0.2), (4, 6), ((3, 2), (2, 5))),
    "narrow square": (Ising(2.1, 0.2), (2, 3), ((1, 1), (1, 2))),
    "wide square": (Ising(2.1, 0.2), (3, 150), ((1, 10), (2, 140))),
    "open square": (Ising(2.1, 0.2, boundary="open"), (4, 5), ((0, 2), (2, 3))),
    "open line": (Ising(2.1, 0.2, boundary="open"), (1, 5), ((0, 1), (1, 3))),
    "chain": (Ising(1.5, -0.1, kind="chain"), (7,), ((5,), (4,))),
    "bcc": (Ising(4.0, 0.1, kind="bcc", boundary="open"), (2, 3, 2), ((0, 1, 0), (2, 2, 2))),
    "fcc": (Ising(6.0, 0.1, kind="fcc"), (3, 2, 2), ((2, 0, 1), (2, 1, 1))),
    "Curie-Weiss": (CurieWeiss(1.1, 0.1), (4, 3), ((3, 1), (2, 2))),
    "alloy": (alloy(), (3, 2, 3), ((2, 0, 1), (2, 2, 1))),
    "open alloy": (alloy("square", boundary="open"), (4, 5), ((0, 2), (2, 3))),
    "narrow alloy": (alloy("square"), (3, 5), ((1, 3), (1, 4))),
}


@pytest.mark.parametrize("name", CASES)
def test_moments_are_sums_over_all_events(name):
    model, cells, window = CASES[name]
    X = model.sample_initial(3, cells, random_state=1)
    for one in (window, model.lattice(X.shape[1:]).full_window):
        drift, covariance = model.moments(X, window=one)
        assert drift.any()
        for x, b, A in zip(X, drift, covariance, strict=True):
            wanted = one_by_one(model, x, one)
            for part, right in zip((b, A), wanted, strict=True):
                error = accuracy(model) * np.abs(right).max()
                np.testing.assert_allclose(part, right, rtol=0, atol=error)


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_and_the_listed_events_agree(name):
    model, cells, window = CASES[name]
    X = model.sample_initial(2, cells, random_state=2)
    lattice = model.lattice(X.shape[1:])
    b, A = model.moments_apart(X, lattice, np.tile(window[0], (2, 1, 1)), window[1])
    for k, x in enumerate(X):
        listed = model.events(x, lattice, window).moments()
        np.testing.assert_allclose(b[k, 0], listed[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(A[k, 0], listed[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "cells", "patch"),
    [
        (Ising(2.3), 8, 4),
        (Ising(2.3, boundary="open"), (4, 6), (2, 3)),
        (Ising(3.0, kind="diamond"), 2, 1),
        (CurieWeiss(), 6, 2),
        (alloy(), 4, 2),
        (LinearChain(), 12, 4),
        (PredatorPrey(c=0.3), 12, 4),
        (Hoppers(), 12, 4),
    ],
)
def test_all_patches_make_the_whole_lattice(model, cells, patch):
    X = model.sample_initial(5, cells, random_state=0)
    sampler = PartialEvolutionSampler(model, patch=patch, moments=True, dt=0.3, random_state=0)
    K = sampler.fit(X).n_patches_
    pairs = sampler.set_params(patch__n_evolved=K).fit_transform(X)
    drift, covariance = model.moments(X)
    scale = np.abs(covariance).max()
    np.testing.assert_allclose(pairs["d_obs"], 0.3 * drift, rtol=1e-9, atol=1e-12 * scale)
    np.testing.assert_allclose(pairs["cov_obs"], 0.3 * covariance, rtol=1e-9, atol=1e-12 * scale)
    one = sampler.set_params(patch__n_evolved=1, dt=0.6).fit_transform(X)
    assert (one["extent"] == patch).all()
    assert (one["dt"] == 0.6).all()
    lattice = model.lattice(X.shape[1:])
    for pair in one:
        window = (tuple(pair["origin"][0].tolist()), sampler.grid_.cells)
        b, A = (part[0] for part in model.moments(pair["x"][np.newaxis], window=window))
        np.testing.assert_allclose(pair["d_obs"], 0.6 * K * b, rtol=1e-9, atol=1e-12 * scale)
        np.testing.assert_allclose(
            pair["cov_obs"], 0.6 * K**2 * A, rtol=1e-9, atol=1e-12 * scale * K
        )
    assert lattice.n_sites == K * sampler.grid_.sites_per_patch


def z_scores(samples, expected):
    """Deviations of the means of samples (n, ...) from what is expected, in standard errors."""
    spread = samples.std(axis=0) / np.sqrt(len(samples))
    return ((samples.mean(axis=0) - expected) / spread).ravel()


@pytest.mark.statistical
def test_sampled_increments_have_these_moments():
    """At dt = 0.01 terms of the next order, about 1 % of b, are below a standard error."""
    model, n = Ising(2.27, 0.1), 20_000
    x = model.advance(model.sample_initial(1, 8, random_state=3), duration=1.0, random_state=0)[0]
    sampler = PartialEvolutionSampler(model, patch=Patches(4, n_evolved=4), dt=0.01, random_state=0)
    change = sampler.fit_transform(np.repeat(x, n, axis=0))["d_obs"]
    upper = np.triu_indices(2)
    products = np.einsum("ni,nj->nij", change, change)[:, *upper]

    def worst(temperature):
        exact = sampler.set_params(simulator=Ising(temperature, 0.1), moments=True)
        pair = exact.fit_transform(x)[0]
        square = pair["cov_obs"] + np.outer(pair["d_obs"], pair["d_obs"])
        scores = z_scores(change, pair["d_obs"]), z_scores(products, square[upper])
        return max(np.abs(part).max() for part in scores)

    assert worst(2.27) < Z
    assert worst(6.0) > Z + 3  # negative control


# --- exact laws by enumeration -------------------------------------------------------------------


def residuals(model, X, energies, temperature):
    """E[b] and E[b phi^T + phi b^T + A] under the Gibbs law, in units of what they sum up."""
    law = np.exp(-(energies - energies.min()) / temperature)
    law /= law.sum()
    b, A = model.moments(X)
    product = np.einsum("ni,nj->nij", b, model.observe(X))
    mean, A_mean = law @ b, np.tensordot(law, A, 1)
    balance = np.tensordot(law, product + product.swapaxes(1, 2), 1) + A_mean
    size = np.sqrt(law @ b**2).max()
    return np.abs(mean).max() / size, np.abs(balance).max() / np.abs(A_mean).max()


@pytest.mark.parametrize(
    ("model", "cells"),
    [
        (Ising(2.3, 0.2), (3, 3)),
        (Ising(2.3, 0.2, boundary="open"), (3, 4)),
        (Ising(5.0, 0.2, kind="bcc"), (2, 2, 1)),
        (Ising(1.5, 0.2, kind="chain"), (9,)),
        (CurieWeiss(1.2, 0.1), (3, 3)),
    ],
    ids=["square", "open square", "bcc", "chain", "Curie-Weiss"],
)
def test_nothing_drifts_at_equilibrium(model, cells):
    lattice = Lattice(model.kind, cells, model.boundary)
    X = naive.spin_states(lattice.site_shape)
    if isinstance(model, CurieWeiss):
        energies = naive.curie_weiss_energy(X, 1.0, model.field)
    else:
        energies = naive.lattice_energy(X, lattice, 1.0, model.field)
    assert max(residuals(model, X, energies, model.temperature)) < 1e-10
    assert min(residuals(model, X, energies, 1.1 * model.temperature)) > 1e-3  # negative control


def test_vacancies_do_not_drift_at_equilibrium():
    model = alloy("square")
    X, _ = naive.arrangements(np.array([0, 1, 1, 1, 2, 2, 2, 2, 2], np.int8))
    lattice = Lattice("square", (3, 3), "periodic")
    neighbours = lattice.neighbors()
    energies = np.array([naive.pair_energy(x, neighbours, V) for x in X])
    X = X.reshape(-1, 3, 3)
    kT = BOLTZMANN * model.temperature
    assert max(residuals(model, X, energies, kT)) < accuracy(model)
    assert min(residuals(model, X, energies, 2 * kT)) > 1e-3  # negative control


# --- diffusions ----------------------------------------------------------------------------------


def test_a_chain_has_its_closed_moments():
    """dm = (-gamma m + F / n) dt + sigma / sqrt(n) dB, Appendix D.2."""
    chain = LinearChain(gamma=0.2, kappa=3.0, force=4.0, sigma=1.5)
    X = chain.sample_initial(4, 10, random_state=0)
    drift, covariance = chain.moments(X)
    np.testing.assert_allclose(drift[:, 0], -0.2 * X.mean(axis=1) + 0.4, rtol=1e-10)
    np.testing.assert_allclose(covariance, 1.5**2 / 10)


@pytest.mark.parametrize("window", [(0, 4), (3, 5), (6, 6), (0, 12)])
def test_drift_and_noise_are_those_of_the_steps(window):
    """Against a step of the naive twin without noise, and one of a unit of noise."""
    box = (window[:1], window[1:])
    inside = slice(window[0], sum(window))
    rng = np.random.default_rng(0)
    chain, spde = LinearChain(kappa=0.7), PredatorPrey(c=0.4, spacing=0.5, sigma_v=0.03)
    x = rng.normal(size=12)
    pars = (chain.gamma, 0.7, chain.force, chain.sigma)
    drift, noise = chain.one_step(x, chain.lattice((12,)), box)
    for xi, wanted in ((0.0, drift), (1.0, drift + noise)):
        step = naive.linear_chain_step(x, 1.0, np.full(12, xi), *pars) - x
        np.testing.assert_allclose(wanted, step[inside], atol=1e-12)
    x = rng.uniform(0.2, 0.8, (12, 2))
    pars = (spde.a, spde.b, 0.4, spde.sigma_u, 0.03, 0.5)
    drift, noise = spde.one_step(x, spde.lattice((12, 2)), box)
    for xi, wanted in ((0.0, drift), (1.0, drift + noise)):
        step = naive.predator_prey_step(x, 1.0, np.full((12, 2), xi), *pars) - x
        np.testing.assert_allclose(wanted, step[inside], atol=1e-12)


def test_predator_prey_has_the_noise_of_its_cells():
    spde = PredatorPrey(sigma_u=0.02, sigma_v=0.05, spacing=0.5)
    _, covariance = spde.moments(spde.sample_initial(2, 20, random_state=0))
    wanted = np.diag([0.02**2, 0.05**2]) / (20 * 0.5)
    np.testing.assert_allclose(covariance, np.stack([wanted] * 2))


# --- closures ------------------------------------------------------------------------------------


def closure_problem(model, cells, patch, p, encoder="auto", n=6, duration=None):
    X = model.sample_initial(n, cells, random_state=0)
    if duration:
        X, _ = model.advance(X, duration=duration, random_state=0)
    sampler = PartialEvolutionSampler(
        model, patch=Patches(patch, n_evolved=p), moments=True, dt=0.2, random_state=0
    )
    pairs = sampler.fit_transform(X)
    closure = PatchAutoencoder(
        model,
        n_closure=2,
        training=Training(max_epochs=2),
        encoder=PatchEncoder(encoder, hidden=(8,)),
        random_state=0,
    )
    return closure.fit(pairs), pairs


JUMPS = {
    "square": (Ising(2.3, 0.1), 6, 3, 4),
    "bcc": (Ising(5.0, kind="bcc"), (2, 2, 4), (1, 2, 2), 4),
    "alloy": (alloy(), (4, 2, 2), (2, 2, 1), 4),
    "open alloy": (alloy("square", boundary="open"), (4, 6), (2, 3), 4),
    "hoppers": (Hoppers(), 8, 4, 2),
}


@pytest.mark.parametrize("name", JUMPS)
def test_closures_of_all_patches_are_those_of_the_lattice(name):
    """Every event is carried out on the whole lattice, and the macrostates are compared."""
    model, cells, patch, K = JUMPS[name]
    closure, pairs = closure_problem(model, cells, patch, K, encoder="dense")
    latent = closure.transform(pairs)
    lattice = model.lattice(pairs["x"].shape[1:])
    assert pairs["n_patches"][0] == K
    for pair, z, dz, cov in zip(pairs, latent["z"], latent["dz"], latent["cov"], strict=True):
        events = model.events(pair["x"], lattice, lattice.full_window)
        Y = np.repeat(pair["x"][np.newaxis], len(events.rates), axis=0)
        for y, sites, states in zip(Y, events.sites, events.states, strict=True):
            y.flat[sites] = states
        change = closure.transform(np.concatenate([Y, Y]))[: len(Y)] - z
        size = np.sqrt(np.trace(cov))
        np.testing.assert_allclose(dz, 0.2 * events.rates @ change, atol=1e-9 * size)
        wanted = 0.2 * (change.T * events.rates) @ change
        np.testing.assert_allclose(cov, wanted, atol=1e-9 * size**2)


def test_moments_of_a_diffusion_are_those_of_its_generator():
    """J f + 1/2 sum_i sigma_i^2 d2phi/dx_i^2 and J diag(sigma^2) J^T by automatic derivatives."""
    spde = PredatorPrey(sigma_u=0.4, sigma_v=0.3, c=0.2)
    closure, pairs = closure_problem(spde, 8, 4, 1, duration=0.2)
    latent, codec = closure.transform(pairs), closure.codec_
    lattice = spde.lattice((8, 2))

    def phi(flat):
        patch = flat.reshape(1, 4, 2)
        seen = (patch - torch.tensor(codec.fields.mean)) / torch.tensor(codec.fields.scale)
        raw = codec.net.encoder(seen)[0]
        closures = (raw - torch.tensor(codec.closures.mean)) / torch.tensor(codec.closures.scale)
        return torch.cat([patch[0].mean(dim=0), closures])

    bent = 0.0
    for pair, dz, cov in zip(pairs, latent["dz"], latent["cov"], strict=True):
        window = (tuple(pair["origin"][0].tolist()), (4,))
        f, sigma = (part.ravel() for part in spde.one_step(pair["x"], lattice, window))
        x = torch.tensor(pair["x"][lattice.mesh(*window)].ravel())
        J = torch.autograd.functional.jacobian(phi, x).numpy()
        curvature = np.array(
            [
                np.diag(torch.autograd.functional.hessian(lambda y, k=k: phi(y)[k], x).numpy())
                for k in range(4)
            ]
        )
        ito = curvature @ sigma**2 / 2
        bent = max(bent, np.abs(ito / (J @ f)).max())
        np.testing.assert_allclose(dz, 0.2 * (J @ f + ito), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(cov, 0.2 * (J * sigma**2) @ J.T, rtol=1e-5, atol=1e-7)
    assert bent > 1e-3  # the second term is seen


class Linear(nn.Module):
    """Encoder that is a matrix (n_inputs, 2)."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor(matrix))

    def encoder(self, patches):
        """Return patches times the matrix."""
        return patches.reshape(len(patches), -1) @ self.matrix


@pytest.mark.parametrize("model", [LinearChain(), PredatorPrey(), Ising(2.3)], ids=str)
def test_a_linear_encoder_gives_linear_moments(model):
    cells, patch = (8, 8), 4
    cells = cells if model.kind == "square" else 8
    X = model.sample_initial(3, cells, random_state=0)
    pairs = PartialEvolutionSampler(
        model, patch=patch, moments=True, dt=0.1, random_state=0
    ).fit_transform(X)
    lattice = model.lattice(X.shape[1:])
    extent, shape = (patch,) * lattice.ndim, (patch,) * lattice.ndim + X.shape[1 + lattice.ndim :]
    matrix = np.random.default_rng(0).normal(size=(int(np.prod(shape)), 2))
    unit = Standardizer(np.zeros(1), np.ones(1))
    unit2 = Standardizer(np.zeros(2), np.ones(2))
    codec = PatchCodec(Linear(matrix), shape, lattice.ndim, False, unit, unit, unit2, [])
    dz, cov = latent_moments(pairs, np.arange(3), model, None, codec, None, 0)
    for pair, mean, variance in zip(pairs, dz, cov, strict=True):
        window = (tuple(pair["origin"][0].tolist()), extent)
        if model.process == "diffusion":
            f, sigma = (part.ravel() for part in model.one_step(pair["x"], lattice, window))
            f, variances = 0.1 * f, 0.1 * sigma**2
        else:
            events = model.events(pair["x"], lattice, window)
            spins = pair["x"].ravel()[events.sites[:, 0]]
            f, variances = -0.2 * spins * events.rates, 0.4 * events.rates
        np.testing.assert_allclose(mean[-2:], f @ matrix, rtol=1e-6, atol=1e-8)
        wanted = (matrix.T * variances) @ matrix
        np.testing.assert_allclose(variance[-2:, -2:], wanted, rtol=1e-6, atol=1e-8)
        n_s, n_fields = patch**lattice.ndim, model.n_fields
        ones = np.tile(np.eye(n_fields), (n_s, 1)) / n_s
        first = slice(0, n_fields)  # the means of the fields; the magnetisation of spins
        cross = (ones.T * variances) @ matrix
        np.testing.assert_allclose(variance[first, -2:], cross, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(variance, variance.T)


@pytest.mark.statistical
@pytest.mark.parametrize(
    "model",
    [Ising(2.3, 0.1), PredatorPrey(0.5), alloy(vacancy_fraction=0.25)],
    ids=["Ising", "PredatorPrey", "Alloy"],
)
@pytest.mark.filterwarnings("ignore:Expected at least 2 groups")  # of one snapshot
def test_a_part_of_the_events_is_right_in_the_mean(model):
    if isinstance(model, Alloy):
        closure, pairs = closure_problem(model, 4, 2, 4, n=1)
    elif isinstance(model, Ising):
        closure, pairs = closure_problem(model, 8, 4, 2, n=1)
    else:
        closure, pairs = closure_problem(model, 12, 4, 2, n=1, duration=0.3)
    exact = closure.transform(pairs)[0]
    many = np.repeat(pairs, 400)
    drawn = closure.set_params(n_events_encoded=3).transform(many)
    o = model.n_observables
    np.testing.assert_allclose(drawn["dz"][:, :o], np.tile(exact["dz"][:o], (400, 1)))
    values = np.linalg.eigvalsh(drawn["cov"])
    assert (values >= -1e-9 * values.max()).all()  # what fits ask for
    blocks = np.s_[o:, o:], np.s_[:o, o:], np.s_[:o, :o]
    spread = np.sqrt(exact["cov"].diagonal())
    sizes = {"dz": spread, "cov": np.outer(spread, spread)}  # means may vanish
    parts = [("dz", np.s_[o:]), *(("cov", block) for block in blocks)]
    for field, part in parts:
        estimates = np.array([row[part] for row in drawn[field]])
        wanted = exact[field][part]
        varied = estimates.std(axis=0) > 1e-9 * np.abs(estimates).max()
        np.testing.assert_allclose(estimates[0, ~varied], wanted[~varied])  # all events alike
        if not varied.any():
            assert part is blocks[-1]
            continue
        assert np.abs(z_scores(estimates[:, varied], wanted[varied])).max() < Z
        high = 3 * max(np.abs(wanted[varied]).max(), sizes[field][part].max())  # negative control
        assert np.abs(z_scores(estimates[:, varied], wanted[varied] + high)).max() > Z + 3


# --- randomness, workers, errors -----------------------------------------------------------------


def test_results_do_not_depend_on_workers():
    model = Ising(2.3)
    X = model.sample_initial(40, 8, random_state=0)
    for one, two in zip(model.moments(X), model.moments(X, n_jobs=2), strict=True):
        np.testing.assert_array_equal(one, two)
    sampler = PartialEvolutionSampler(
        model, patch=Patches(4, n_evolved=2, origins="random"), moments=True, random_state=0
    )
    pairs = sampler.fit_transform(X)
    assert pairs.tobytes() == clone(sampler).set_params(n_jobs=2).fit_transform(X).tobytes()
    closure = PatchAutoencoder(
        model,
        n_closure=1,
        n_events_encoded=4,
        training=Training(max_epochs=1),
        encoder=PatchEncoder(hidden=(8,)),
        random_state=0,
    ).fit(pairs)
    first = closure.transform(pairs)
    np.testing.assert_array_equal(first, closure.transform(pairs))
    other = closure.set_params(random_state=1).transform(pairs)
    assert (first["dz"][:, -1] != other["dz"][:, -1]).any()


def test_patches_where_nothing_can_happen():
    model = alloy()
    X = np.ones((2, 4, 4, 4, 2), np.int8)
    X[:, 0, 0, 0, 0] = 0
    X[:, 1] = 2
    sampler = PartialEvolutionSampler(
        model, patch=Patches(2, n_evolved=7), moments=True, random_state=0
    )
    pairs = sampler.fit_transform(X)
    latent = PatchAutoencoder(
        model, n_closure=1, training=Training(max_epochs=1), random_state=0
    ).fit_transform(pairs)
    assert np.isfinite(latent["dz"]).all()
    assert (latent["cov"][:, -1, -1] >= 0).all()
    b, A = model.moments(X, window=((2, 2, 2), (2, 2, 2)))
    assert not b.any()
    assert not A.any()


class Still(Simulator):
    """Neither events nor noise are given."""


class Squares(LinearChain):
    """A diffusion that observes something else than its field."""

    observable_names: ClassVar = ("mean square",)

    def density(self, x):
        return x[..., np.newaxis] ** 2


def test_simulators_without_moments_are_named():
    X = np.zeros((2, 4))
    for model, match in (
        (Still(), "Still, which has neither events .* write one of them, or sample"),
        (Squares(), "Expected the fields' means as the observables of a diffusion"),
    ):
        with pytest.raises(ValueError, match=match):
            model.moments(X)
        with pytest.raises(ValueError, match=match):
            PartialEvolutionSampler(model, moments=True).fit(X)
    assert [m.process for m in (Still(), Squares(), Ising())] == [None, "diffusion", "jump"]
    with pytest.raises(NotImplementedError, match="Still does not list events"):
        Still().events(X[0], Still().lattice((4,)), ((0,), (4,)))
    with pytest.raises(NotImplementedError, match="Still does not give drift and noise"):
        Still().one_step(X[0], Still().lattice((4,)), ((0,), (4,)))


def test_malformed_input_to_moments():
    model = Ising()
    X = model.sample_initial(2, 8, random_state=0)
    with pytest.raises(ValueError, match="Expected a box of at most"):
        model.moments(X, window=((0, 0), (9, 4)))
    with pytest.raises(ValueError, match="-1 or"):
        model.moments(np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match="temperature"):
        Ising(temperature=-1.0).moments(X)
    for options in ({"dt": EventCount(5)}, {"boundary": "periodic"}, {"boundary": 1}):
        sampler = PartialEvolutionSampler(model, patch=4, moments=True, **options)
        with pytest.raises(ValueError, match="nothing is evolved for moments"):
            sampler.fit(X)


def test_malformed_pairs_of_moments():
    closure, pairs = closure_problem(Ising(2.3), 8, 4, 1)
    with pytest.raises(ValueError, match="increments='naive', but got pairs of moments"):
        clone(closure).set_params(increments="naive").fit(pairs).transform(pairs)
    with pytest.raises(ValueError, match="Expected pairs of moments of Ising"):
        clone(closure).set_params(simulator=Ising(2.4)).fit_transform(pairs)
    smaller = PartialEvolutionSampler(Ising(2.3), patch=2, moments=True).fit_transform(pairs["x"])
    with pytest.raises(ValueError, match="the encoder knows one size"):
        closure.transform(smaller)
    with pytest.raises(ValueError, match="Expected patches of one size"):
        closure.transform(np.concatenate([pairs, smaller]))
    with pytest.raises(ValueError, match="n_events_encoded"):
        clone(closure).set_params(n_events_encoded=0).fit(pairs)
    alone = PatchAutoencoder(Ising(2.3), n_closure=0).fit(pairs).transform(pairs)
    np.testing.assert_array_equal(alone["cov"], pairs["cov_obs"])
