"""
Finite-size scaling from 8x8
============================

At the critical point the equilibrium magnetisation falls as :math:`L^{-\\beta/\\nu}`, with
:math:`\\beta/\\nu = 1/8` for the two-dimensional Ising model. SDEs of M for L = 8, 16, 32 are
learned from 8x8 lattices, and compared with direct simulation of each size.
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.pairs import common_fields, latent_pairs
from sklmacro.plots import ScalingDisplay
from sklmacro.scoring import power_law, stationary_density
from sklmacro.simulators import Ising

T = 2 / np.log(1 + np.sqrt(2))
ising = Ising(temperature=T)
sizes = (8, 16, 32)
grid = np.linspace(-1, 1, 1001)

# %%
# Learn
# -----
# 300 equilibrium snapshots of 8x8 are doubled in size once for each factor of 2, and relaxed until
# the domain walls are at rest. LocalRelax then goes on, and the exact moments of each of 25 states
# that it passes through go into the fit. Bootstrap members give the error bars.


def moments_of(states, groups):
    """Return latent pairs of M alone, of all 8x8 patches of the states."""
    n_patches = (states.shape[1] // 8) ** 2
    sampler = skm.PartialEvolutionSampler(
        ising, patch=skm.Patches(8, n_evolved=n_patches), moments=True
    ).fit(states)
    pairs = skm.PatchAutoencoder(ising, n_closure=0).fit_transform(
        sampler.transform(states, groups)
    )
    return latent_pairs(
        pairs["z"][:, :1], pairs["dz"][:, :1], cov=pairs["cov"][:, :1, :1], **common_fields(pairs)
    )


def mean_magnetisation(sde):
    density = stationary_density(sde, grid)
    return np.trapezoid(np.abs(grid) * density, grid)


X, _ = ising.advance(ising.sample_initial(300, 8, random_state=0), duration=1000.0, random_state=0)
learned = []
for L in sizes:
    if L > 8:
        X = skm.HierarchicalUpsampler(
            ising,
            factor=2,
            relaxation=skm.LocalRelax(duration=8.0, n_passes="converged", patch=8),
            random_state=L,
        ).fit_transform(X)
    states, found = X, []
    for k in range(25):
        further = skm.HierarchicalUpsampler(
            ising,
            factor=1,
            relaxation=skm.LocalRelax(duration=6.0, patch=8),
            random_state=100 * L + k,
        )
        states = further.fit_transform(states)
        found.append(moments_of(states, np.arange(300)))
    sde = skm.PatchSDERegressor(drift_model=skm.Polynomial(degree=9), parity=(-1,))
    ensemble = skm.SDEEnsemble(sde, n_members=12, random_state=0).fit(np.concatenate(found))
    values = [mean_magnetisation(member) for member in ensemble.members_]
    learned.append((np.mean(values), np.std(values, ddof=1)))

# %%
# Simulate each size
# ------------------
# 128 replicas, 64 in the bits of each word; the error is that of the mean over replicas.

direct = []
for L in sizes:
    start = ising.sample_initial(128, L, random_state=1)
    times = np.arange(10 * L**2, 10 * L**2 + 20_000, 50.0)
    M = ising.simulate(start, times, observe=True, packed=True, random_state=2)[:, :, 0]
    means = np.abs(M).mean(axis=1)
    direct.append((means.mean(), means.std(ddof=1) / np.sqrt(128)))

# %%
# Exponents
# ---------

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for k, (name, values) in enumerate({"direct": direct, "learned": learned}.items()):
    mean, error = np.array(values).T
    exponent = power_law(sizes, mean, error)
    ScalingDisplay(T, sizes, mean, error, exponent=-1 / 8).plot(
        ax, kind="size", name=name, style=k, label="<|M|>"
    )
    print(f"{name}: <|M|> " + ", ".join(f"{m:.3f} +- {e:.3f}" for m, e in values)
          + f"; beta/nu = {-exponent.value:.3f} +- {exponent.error:.3f}")  # fmt: skip
