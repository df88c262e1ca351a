"""
Ising: mean paths of 64x64 from 16x16
=====================================

The large system is a 64x64 Ising model at T = 2.5 in a field h = 0.1. The model is learned from
16x16 snapshots; 64x64 is simulated at the end only, to compare.
"""

import numpy as np
from sklearn.pipeline import make_pipeline

import sklmacro as skm
from sklmacro.plots import SnapshotDisplay, TrajectoryDisplay
from sklmacro.scoring import mean_path_error
from sklmacro.simulators import Ising

# %%
# Learn
# -----
# Small snapshots of every magnetisation are shuffled into large ones, and relaxed for times from
# almost none to 190 sweeps, so that states far from and near local equilibrium are seen. The pairs
# are exact moments of all 16 patches (``moments=True``): the mean and the covariance of the
# increment as dt -> 0, without sampling noise.

ising = Ising(temperature=2.5, field=0.1)
small = ising.sample_initial(1500, 16, random_state=0)
model = make_pipeline(
    skm.HierarchicalUpsampler(
        ising, factor=4, method="shuffle", random_state=0,
        relaxation=skm.LocalRelax(duration=(0.004, 3.0), n_passes=16),
    ),
    skm.PartialEvolutionSampler(ising, patch=skm.Patches(16, n_evolved=16), moments=True),
    skm.PatchAutoencoder(ising, n_closure=0),
    skm.PatchSDERegressor(
        drift_model=skm.Polynomial(degree="auto"), bounds=ising.observable_bounds, random_state=0
    ),
).fit(small)  # fmt: skip
sde = model[-1]
print(f"degree {sde.degree_}, lam {sde.lam_:g}")

# %%
# One of the large snapshots, and the patches of which it consists:

large = model[0].transform(small[:1])
SnapshotDisplay.from_snapshot(large[0], ising, patch=16)

# %%
# Predict, and simulate the truth
# -------------------------------
# 100 random snapshots of each of four magnetisations; a path of each, simulated and predicted.

magnetisations = (-0.75, -0.25, 0.25, 0.75)
rng = np.random.default_rng(1)
spins = [
    np.repeat([1, -1], [n, 4096 - n])
    for n in np.rint(2048 * (1 + np.array(magnetisations))).astype(int)
]
start = np.stack([rng.permutation(x) for x in spins for _ in range(100)]).reshape(-1, 64, 64)

times = np.arange(0.0, 101.0, 2.0)
truth = ising.simulate(start, times, observe=True, random_state=2)
z0 = model[-2].transform(start)
paths = sde.simulate(z0, n_steps=400, dt=0.25, store_every=8, random_state=3)

# %%
# Compare
# -------
# Mean paths from each start, with the standard deviation over paths. The error of the mean path is
# compared with that of one half of the simulated paths against the other: no model can be seen to
# be better than that.

groups = np.repeat(np.arange(4), 100)
TrajectoryDisplay.from_predictions(
    truth, paths, times=times, groups_true=groups, groups_pred=groups, labels=ising,
    time_label="time [sweeps]",
)  # fmt: skip

for i, m in enumerate(magnetisations):
    true, predicted = truth[100 * i : 100 * (i + 1)], paths[100 * i : 100 * (i + 1)]
    error, floor = mean_path_error(predicted, true), mean_path_error(true[::2], true[1::2])
    print(f"M = {m:5.2f}: relative error {error:.6f}, truth against itself {floor:.6f}")
