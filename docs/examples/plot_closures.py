"""
How many closure variables?
===========================

Two predator-prey states with the same mean populations can evolve differently, if their waves have
different amplitudes: the means are not Markov. The autoencoder looks for what is missing. The
error of mean paths says how many closure variables are worth having.
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.scoring import mean_path_error
from sklmacro.simulators import PredatorPrey

# %%
# Initial states of equal means and amplitudes 0.02 and 0.22; 100 simulated paths of each.

spde = PredatorPrey(amplitude_range=(0.0, 0.25))
starts = np.stack([spde.initial_state(200, k, 0.5) for k in (0.02, 0.22)])
times = np.arange(0.0, 15.1, 0.25)
truth = [
    spde.simulate(np.repeat(x[None], 100, axis=0), times, observe=True, random_state=1)
    for x in starts
]
floor = np.mean([mean_path_error(q[::2], q[1::2]) for q in truth])

# %%
# Pairs from 100 cells, all 5 patches of 40 of the interpolated snapshots. The encoder is linear
# (``hidden=()``): amplitudes are what there is to know.

small = spde.simulate(spde.sample_initial(40, 100, random_state=0), np.arange(0.0, 16.0, 0.75),
                      random_state=0).reshape(-1, 100, 2)  # fmt: skip
large = skm.HierarchicalUpsampler(spde, relaxation=None, random_state=0).fit_transform(small)
sampler = skm.PartialEvolutionSampler(spde, patch=skm.Patches(40, n_evolved=5), moments=True)
pairs = sampler.fit_transform(large)

predicted, errors = {}, {}
for n_closure in (0, 1, 2, 3):
    closure = skm.PatchAutoencoder(
        spde, n_closure=n_closure, encoder=skm.PatchEncoder(hidden=()),
        training=skm.Training(lr=5e-3, max_epochs=15), max_patches=8000, random_state=0,
    )  # fmt: skip
    latent = closure.fit_transform(pairs)
    sde = skm.PatchSDERegressor(drift_model="polynomial", diffusion_model="constant").fit(latent)
    paths = sde.simulate(closure.transform(starts), 1500, 0.01, n_paths=100, store_every=25,
                         random_state=2)[..., :2]  # fmt: skip
    predicted[n_closure] = paths.reshape(2, 100, *paths.shape[1:])
    errors[n_closure] = np.mean(
        [mean_path_error(p, q) for p, q in zip(predicted[n_closure], truth, strict=True)]
    )
    print(f"{n_closure} closures: relative error of the mean path {errors[n_closure]:.2e}")
print(f"truth against itself {floor:.2e}")

# %%
# Without a closure both starts have one prediction. Two closures, the amplitudes of the two waves,
# bring the error down to what the truth leaves open. A third has nothing left to describe.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for i, k in enumerate((0.02, 0.22)):
    axes[0].plot(times, truth[i][:, :, 0].mean(axis=0), "o", ms=3, color=f"C{i}",
                 label=f"simulated, amplitude {k:g}")  # fmt: skip
    for n_closure, style in ((0, ":"), (2, "-")):
        label = f"{n_closure} closures" if i else None
        mean = predicted[n_closure][i, :, :, 0].mean(axis=0)
        axes[0].plot(times, mean, style, color=f"C{i}", label=label)
axes[0].set(xlabel="time", ylabel="mean prey")
axes[0].legend(fontsize=8)
axes[1].semilogy(list(errors), list(errors.values()), "o-")
axes[1].axhline(floor, color="0.5", ls="--", label="truth against itself")
axes[1].set(xlabel="closure variables", ylabel="error of the mean path", xticks=list(errors))
axes[1].legend()
