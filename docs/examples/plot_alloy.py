"""
Alloy: short-range order of NbMoTa
==================================

A random solution of Nb, Mo and Ta at 2000 K builds up short-range order by jumps of its vacancies.
The order parameters of 8192 sites are learned from runs of 1024 sites, and compared with direct
simulation.
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.pairs import common_fields, latent_pairs
from sklmacro.simulators import Alloy

alloy = Alloy(temperature=2000.0)
jump = alloy.jump_time()  # s, mean time of one jump of a vacancy among random atoms

# %%
# Snapshots
# ---------
# 20 runs of 1024 sites with one vacancy, 16 times each. A large snapshot is put together from small
# ones that are close to it in time (``nearby``), and relaxed by jumps in overlapping windows.

times = jump * np.concatenate([np.geomspace(500, 20_000, 8), np.linspace(25_000, 120_000, 8)])
small = alloy.simulate(alloy.sample_initial(20, 8, random_state=0), times, random_state=1)
small = small.swapaxes(0, 1).reshape(-1, *small.shape[2:])  # in the order of time
runs = np.tile(np.arange(20), 16)
upsampler = skm.HierarchicalUpsampler(
    alloy, factor=2, nearby=10, relaxation=skm.LocalRelax(duration=200 * jump), random_state=2
)
large = upsampler.fit_transform(small)

# %%
# Pairs
# -----
# dt spans 3000 jumps: exact moments of dt -> 0 would be far too fast, since a vacancy mostly jumps
# straight back (:ref:`sphx_glr_gallery_plot_dt_plateau.py`). A rim of two cells evolves with the
# patch. Time is counted in units of dt.

dt = 3000 * jump
sampler = skm.PartialEvolutionSampler(
    alloy, patch=skm.Patches(8, n_evolved=2), dt=dt, boundary=2, random_state=3
).fit(large)
pairs = skm.PatchAutoencoder(alloy, n_closure=0).fit_transform(sampler.transform(large, runs))
pairs["dt"] /= dt

# %%
# Every atom has eight neighbours, and so three of the six order parameters follow from the others
# but for small fluctuations. The SDE is one of Nb-Nb, Mo-Mo and Ta-Ta.

slow = [0, 3, 5]
latent = latent_pairs(pairs["z"][:, slow], pairs["dz"][:, slow], **common_fields(pairs))
sde = skm.PatchSDERegressor(drift_model="linear", diffusion_model="constant").fit(latent)

# %%
# Compare
# -------
# 6 simulated paths from random solutions of 8192 sites, 60 predicted ones.

start = alloy.sample_initial(6, 16, random_state=4)
steps = np.arange(36)
truth = alloy.simulate(start, steps * dt, observe=True, random_state=5)[..., slow]
z0 = alloy.observe(start)[:, slow]
paths = sde.simulate(z0, n_steps=35, dt=1.0, n_paths=10, random_state=6)

fig, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for k, i in enumerate(slow):
    name = alloy.observable_names[i]
    mean, std = paths[..., k].mean(axis=0), paths[..., k].std(axis=0)
    ax.plot(1e6 * steps * dt, mean, color=f"C{k}", label=f"{name}, predicted")
    ax.fill_between(1e6 * steps * dt, mean - std, mean + std, color=f"C{k}", alpha=0.2)
    ax.plot(1e6 * steps * dt, truth[..., k].mean(axis=0), "osD"[k], color=f"C{k}", ms=3,
            label="simulated")  # fmt: skip
    late = truth[:, 20:, k].mean(axis=1)
    error = late.std(ddof=1) / np.sqrt(len(late))
    print(f"{name}: simulated {late.mean():.3f} +- {error:.3f}, "
          f"predicted {paths[:, 20:, k].mean():.3f}")  # fmt: skip
ax.set(xlabel="time [microseconds]", ylabel="order parameter", ylim=(None, 0.2))
ax.legend(fontsize=8, ncols=3)
