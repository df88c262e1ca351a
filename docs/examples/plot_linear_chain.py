"""
Linear chain: learned against exact
===================================

The mean m of a driven chain of n sites obeys dm = (a m + b) dt + c dB with a = -gamma, b = F/n and
c = sigma / sqrt(n) exactly (Appendix D.2). A chain of 100 sites is cut into K = 10 patches, and
(a, b, c) is learned in three ways; a small chain of 10 sites stands beside.
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.simulators import LinearChain

chain = LinearChain(gamma=0.1, kappa=1.0, force=15.0, sigma=1.0)
exact = np.array([-0.1, 15.0 / 100, 1.0 / np.sqrt(100)])


def learn(X, seed, n_evolved=1, **options):
    """Return (a, b, c) learned from snapshots X of a chain."""
    patch = skm.Patches(10, n_evolved=n_evolved)
    sampler = skm.PartialEvolutionSampler(chain, patch=patch, random_state=seed, **options)
    pairs = skm.PatchAutoencoder(chain, n_closure=0).fit_transform(sampler.fit_transform(X))
    sde = skm.PatchSDERegressor(drift_model="linear", diffusion_model="constant").fit(pairs)
    b, a_plus_b = sde.drift([[0.0], [1.0]])[:, 0]
    return a_plus_b - b, b, np.sqrt(sde.diffusion([[0.0]])[0, 0, 0])


# %%
# Five sets of snapshots, each along 200 trajectories of 20 time units.

ways = {
    "increments, one patch": {"dt": 0.05},
    "moments, one patch": {"moments": True},
    "moments, all patches": {"moments": True, "n_evolved": 10},
}
found = {name: [] for name in [*ways, "small chain"]}
times = np.linspace(0.0, 20.0, 21)
for seed in range(5):
    X0 = chain.sample_initial(200, 100, random_state=seed)
    X = chain.simulate(X0, times, random_state=seed).reshape(-1, 100)
    for name, options in ways.items():
        found[name].append(learn(X, seed, **options))
    small = chain.sample_initial(200, 10, random_state=seed)
    small = chain.simulate(small, times, random_state=seed).reshape(-1, 10)
    found["small chain"].append(learn(small, seed, moments=True))

# %%
# Means over the five sets against the exact values of the large chain. The published values
# (Table 2) are -0.0929, 0.1419 and 0.1000.

print(f"{'':24s}      a       b       c")
print(f"{'exact':24s}" + "".join(f"{value:8.4f}" for value in exact))
for name, values in found.items():
    print(f"{name:24s}" + "".join(f"{value:8.4f}" for value in np.mean(values, axis=0)))

# %%
# Moments of all patches are exact to the last digits: the forces between neighbouring patches
# cancel in the sum. One patch leaves noise in the bias, since the patch with the force drifts
# unlike the others; increments add their own noise. The small chain has ten times the bias of the
# large one, and no rescaling of its noise mends that.

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for k, (name, marker) in enumerate(zip(found, "sDo^", strict=True)):
    error = 100 * (np.array(found[name]) / exact - 1)
    x = np.arange(3) + 0.15 * (k - 1.5) + np.linspace(-0.04, 0.04, 5)[:, None]
    ax.plot(x.ravel(), error.ravel(), marker, ms=4, label=name)
ax.axhline(0, color="0.5", lw=1)
ax.set_yscale("symlog", linthresh=5)
ax.set_xticks(range(3), ["slope a", "bias b", "diffusion c"])
ax.set_ylabel("error against exact [%]")
ax.legend()
