"""
Ensembles: how sure is the model?
=================================

``SDEEnsemble`` refits an SDE to trajectories drawn with replacement. The spread of its members is
the standard error of the fit, and of whatever follows from it. Here the truth is known: the mean of
a driven chain of 60 sites, dm = (-0.1 m + 15/60) dt + dB / sqrt(60).
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.simulators import LinearChain

chain = LinearChain()
m = np.linspace(-10, 12, 45)[:, None]


def learn(seed):
    """Return an ensemble fitted to increments along 100 trajectories."""
    X = chain.sample_initial(100, 60, random_state=seed)
    X = chain.simulate(X, np.arange(10) * 2.0, random_state=seed).reshape(-1, 60)
    sampler = skm.PartialEvolutionSampler(
        chain, patch=skm.Patches(20, n_evolved=3), dt=0.1, random_state=seed
    ).fit(X)
    pairs = sampler.transform(X, groups=np.repeat(np.arange(100), 10))
    latent = skm.PatchAutoencoder(chain, n_closure=0).fit_transform(pairs)
    sde = skm.PatchSDERegressor(drift_model="linear", diffusion_model="constant")
    return skm.SDEEnsemble(sde, n_members=20, random_state=seed).fit(latent)


# %%
# One ensemble: the drift with its 95 % interval, and an equilibrium mean with its standard error.

ensemble = learn(0)
factor = ensemble.interval_factor(0.95)
value, error = ensemble.drift(m)[:, 0], ensemble.drift_error(m)[:, 0]
mean, mean_error = ensemble.estimate(
    lambda paths: paths[:, -1, 0].mean(), [[2.5]], 400, 0.1, n_paths=2000, random_state=0
)
print(f"equilibrium mean {mean:.2f} +- {mean_error:.2f}, exact 2.5")

fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
axes[0].plot(m, -0.1 * m + 0.25, "k", lw=1, label="exact")
axes[0].plot(m, value, "--", label="learned")
axes[0].fill_between(m[:, 0], value - factor * error, value + factor * error, alpha=0.3,
                     label="95 % interval")  # fmt: skip
axes[0].set(xlabel="mean displacement m", ylabel="drift")
axes[0].legend()

# %%
# 40 ensembles of data of their own: how often does the interval hold the exact drift at m = 0?

intervals = []
for seed in range(40):
    one = learn(seed)
    intervals.append((one.drift([[0.0]]).item(), factor * one.drift_error([[0.0]]).item()))
centre, half = np.array(intervals).T
held = np.abs(centre - 0.25) <= half
print(f"the 95 % interval holds the truth in {held.sum()} of {len(held)} cases")
axes[1].errorbar(np.arange(40)[held], centre[held], half[held], fmt="o", ms=3, label="held")
if not held.all():
    axes[1].errorbar(np.arange(40)[~held], centre[~held], half[~held], fmt="x", label="missed")
axes[1].axhline(0.25, color="k", lw=1)
axes[1].set(xlabel="data set", ylabel="drift at m = 0")
axes[1].legend()
