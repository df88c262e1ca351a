"""
Which lam? A search by paths
============================

The likelihood of single increments cannot tell which factor ``lam`` belongs on the covariance: the
optimum of ``lam * Sigma`` is the same for every ``lam``. Theorem 1 says that it is K, the number of
patches. A search that compares predicted with simulated paths has to find that out by itself: here
for the stochastic predator-prey field, 200 cells learned from 100, with K = 5 patches of 40.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold

import sklmacro as skm
from sklmacro.plots import LamSearchDisplay
from sklmacro.scoring import PathScorer, ReferencePaths, std_ratio
from sklmacro.simulators import PredatorPrey

# %%
# Pairs
# -----
# Snapshots along 50 trajectories of 100 cells are interpolated to 200, and one patch of each is
# taken. Every pair carries the number of its trajectory as its group.

spde = PredatorPrey()
times = np.arange(0.0, 30.0, 0.2)
small = spde.simulate(spde.sample_initial(50, 100, random_state=0), times, random_state=0)
groups = np.repeat(np.arange(50), len(times))
sampler = skm.PartialEvolutionSampler(spde, patch=40, moments=True, random_state=0)
closure = skm.PatchAutoencoder(
    spde,
    n_closure=2,
    encoder=skm.PatchEncoder(hidden=()),
    training=skm.Training(lr=5e-3, max_epochs=10),
    max_patches=10_000,
    random_state=0,
)
upsampler = skm.HierarchicalUpsampler(spde, factor=2, relaxation=None, random_state=0)
large = upsampler.fit_transform(small.reshape(-1, 100, 2))
pairs = closure.fit_transform(sampler.fit(large).transform(large, groups))

# %%
# The truth
# ---------
# 150 paths of the observables from each of two initial states, simulated directly.

start = np.stack([spde.initial_state(200, k, m) for k, m in [(0.05, 0.45), (0.15, 0.55)]])
start = np.repeat(start, 150, axis=0)
times = np.arange(0.0, 25.1, 0.5)
truth = spde.simulate(start, times, observe=True, random_state=1)

# %%
# Search
# ------
# Only the SDE is searched over; it starts from the macrostates of the same initial snapshots.
# ``GroupKFold`` keeps trajectories together.

reference = ReferencePaths(closure.transform(start), truth, times)
search = GridSearchCV(
    skm.PatchSDERegressor(drift_model="polynomial", diffusion_model="constant"),
    {"lam": [1.0, 2.5, 4.0, 5.0, 6.25, 10.0]},
    scoring=PathScorer(reference, dt=0.01),
    cv=GroupKFold(3),
).fit(pairs, groups=groups)
lams = search.cv_results_["param_lam"].data
print("smallest MMD at lam =", search.best_params_["lam"])

# %%
# The best ``lam`` is K = 5, and there the spread of the paths is right. With ``lam = 1``, the
# published baseline, the predicted standard deviation is more than twice the true one.

ratio = []
for lam in lams:
    sde = skm.PatchSDERegressor(drift_model="polynomial", diffusion_model="constant", lam=lam)
    P = sde.fit(pairs).simulate(reference.x0, 2500, 0.01, store_every=50, random_state=0)
    ratio.append(std_ratio(P[:150, :, :2], truth[:150]).mean())

fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
LamSearchDisplay.from_estimator(
    search, K=5, negate_score=True, score_name="squared MMD", ax=axes[0]
)
axes[0].set_yscale("log")
axes[1].semilogx(lams, ratio, "s-")
axes[1].axhline(1, color="0.5", lw=1)
axes[1].set(xlabel="lam", ylabel="predicted / true standard deviation")
axes[1].set_xticks(lams, [f"{lam:g}" for lam in lams])
axes[1].minorticks_off()
