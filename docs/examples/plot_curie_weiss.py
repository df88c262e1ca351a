"""
Curie-Weiss: drift and diffusion against theory
===============================================

In the Curie-Weiss model all spins feel the same field, so that the magnetisation is Markov, and for
n spins its drift and diffusion are known:

.. math::

    \\mu(M) = \\tanh\\frac{M + h}{T} - M, \\qquad
    \\Sigma(M) = \\frac{2}{n} \\left(1 - M \\tanh\\frac{M + h}{T}\\right),

up to terms of order 1/n, since a spin does not feel itself. They are learned for 32x32 spins from
patches of 8x8.
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.scoring import mean_path_error
from sklmacro.simulators import CurieWeiss

T, h, n = 1.1, 0.1, 32 * 32
model = CurieWeiss(temperature=T, field=h)
X = model.sample_initial(2000, 32, random_state=0)
grid = np.linspace(-0.95, 0.95, 39)
field = np.tanh((grid + h) / T)

# %%
# Exact moments of one patch, and sampled increments of one patch with two lengths dt. A patch
# evolves among frozen spins: its own share of the field is right, that of the others stands still.
# Here all spins are neighbours, and the error of that is of first order in dt.

fits = {}
for name, options in {
    "moments": {"moments": True},
    "increments, dt = 0.05": {"dt": 0.05, "patch": skm.Patches(8, n_evolved=16)},
    "increments, dt = 0.5": {"dt": 0.5, "patch": skm.Patches(8, n_evolved=16)},
}.items():
    sampler = skm.PartialEvolutionSampler(model, random_state=0, **{"patch": 8} | options)
    pairs = skm.PatchAutoencoder(model, n_closure=0).fit_transform(sampler.fit_transform(X))
    fits[name] = skm.PatchSDERegressor(drift_model=skm.Polynomial(degree=6)).fit(pairs)

fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
axes[0].plot(grid, field - grid, "k", lw=3, alpha=0.3, label="exact")
axes[1].plot(grid, 2 / n * (1 - grid * field), "k", lw=3, alpha=0.3)
for (name, sde), style in zip(fits.items(), ("-", "--", ":"), strict=True):
    axes[0].plot(grid, sde.drift(grid[:, None])[:, 0], style, label=name)
    axes[1].plot(grid, sde.diffusion(grid[:, None])[:, 0, 0], style)
    error = np.abs(sde.drift(grid[:, None])[:, 0] - (field - grid)).max()
    print(f"{name}: largest error of the drift {error:.4f}")
axes[0].set(xlabel="M", ylabel="drift")
axes[1].set(xlabel="M", ylabel="diffusion")
axes[0].legend()

# %%
# Paths of the SDE from moments against 300 simulated ones.

start = np.repeat(model.sample_initial(1, 32, random_state=5), 300, axis=0)
times = np.arange(0.0, 31.0, 1.0)
truth = model.simulate(start, times, observe=True, random_state=1)
paths = fits["moments"].simulate(
    model.observe(start), 600, 0.05, store_every=20, random_state=2
)  # fmt: skip
print(f"relative error of the mean path {mean_path_error(paths, truth):.1e}")
print(f"truth against itself {mean_path_error(truth[::2], truth[1::2]):.1e}")
