"""
Moments or sampled increments?
==============================

A patch's increment is mostly noise: near the critical point of the Ising model the drift of the
magnetisation is a few 1e-4 per sweep, and one increment of a 16x16 patch has a standard deviation
of some 0.05. As dt -> 0 the conditional mean and covariance of the increment are sums over all
flips, which need no sampling (``moments=True``). How many pairs does each way need?
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.simulators import Ising

ising = Ising(temperature=2.5, field=0.1)
X = ising.sample_initial(4000, 32, random_state=0)
X, _ = ising.advance(X, duration=2.0, random_state=0)

# %%
# The drift of M at given (M, domain wall density) is learned from n snapshots, one patch of four of
# each. What it should be is the mean over all snapshots of the exact mean increment of the whole
# lattice (``Simulator.moments``), fitted in the same way.


def pairs_of(rows, n_evolved=1, **options):
    patch = skm.Patches(16, n_evolved=n_evolved)
    sampler = skm.PartialEvolutionSampler(ising, patch=patch, random_state=1, **options)
    return skm.PatchAutoencoder(ising, n_closure=0).fit_transform(sampler.fit_transform(rows))


def fit(pairs):
    return skm.PatchSDERegressor(drift_model=skm.Polynomial(degree=3)).fit(pairs)


whole = fit(pairs_of(X, n_evolved=4, moments=True))
z = ising.observe(X)[::4]
truth = whole.drift(z)[:, 0]
size = np.sqrt(np.mean(truth**2))

ways = {
    "increments, dt = 0.1": pairs_of(X, dt=0.1),
    "increments, dt = 0.5": pairs_of(X, dt=0.5),
    "moments": pairs_of(X, moments=True),
}
numbers = [125, 250, 500, 1000, 2000, 4000]
errors = {
    name: [np.sqrt(np.mean((fit(pairs[:n]).drift(z)[:, 0] - truth) ** 2)) / size for n in numbers]
    for name, pairs in ways.items()
}

# %%
# The error of increments falls as one over the root of their number, and a longer dt trades noise
# for a bias that more pairs do not mend. Moments start where increments hardly arrive.

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for (name, values), marker in zip(errors.items(), "s^o", strict=True):
    ax.loglog(numbers, values, f"{marker}-", label=name)
    print(f"{name}: relative error of the drift {values[0]:.3f} ... {values[-1]:.3f}")
ax.set(xlabel="number of pairs", ylabel="relative error of the drift of M")
ax.set_xticks(numbers, [str(n) for n in numbers])
ax.minorticks_off()
ax.legend()
