"""
A phase diagram from one model
==============================

With ``context`` every snapshot that a law is learned from has a temperature and a field of its own,
scattered over a range, and drift and noise are functions of both. The law then knows the paths of
all temperatures and fields in between, and where they end: the magnetisation M(T, h).
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.simulators import Ising

ising = Ising()
ranges = {"temperature": (2.6, 4.0), "field": (0.0, 0.4)}
pipeline = skm.make_macro_pipeline(ising, small=8, large=32, random_state=0)
pipeline.set_params(upsample__relaxation__n_kept=20)
learner = skm.ActiveLearner(
    pipeline,
    small=8,
    context=ranges,
    duration=30.0,
    tolerance=1e-3,
    max_site_time=1e7,
    n_joint=0,
    n_initial=40,
    random_state=0,
)
start = ising.sample_initial(4, 32, observables="even", random_state=1)
learner.fit(start)
print(f"{len(learner.rounds_)} rounds, {learner.site_time_:.1e} site updates")
print(f"estimated error of the mean paths {learner.error_:.0e}")

# %%
# M at rest: the end of one path at each temperature and field, in a lattice of a million sites,
# whose noise does not show.

temperatures, fields = np.linspace(2.6, 4.0, 15), (0.05, 0.1, 0.3)
context = np.array([(T, h) for h in fields for T in temperatures])
z = learner.model_["closure"].transform(np.repeat(start[2:3], len(context), axis=0))
paths = learner.model_["sde"].simulate(
    z, 400, 0.25, context=context, n_sites=10**6, store_every=100, random_state=0
)
M = paths[:, -1, 0].reshape(len(fields), len(temperatures))

# %%
# Points: direct simulation of 64x64 spins, in 64 runs of 100 sweeps.

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
X = np.ones((64, 64, 64), np.int8)
for k, h in enumerate(fields):
    ax.plot(temperatures, M[k], color=f"C{k}", label=f"h = {h:g}")
    runs = [
        Ising(T, h).simulate(X, [50.0, 75.0, 100.0], observe=True, packed=True, random_state=0)
        for T in temperatures[::2]
    ]
    direct = np.array([run[..., 0].mean() for run in runs])
    ax.plot(temperatures[::2], direct, "o", ms=5, color=f"C{k}")
    print(f"h = {h:g}: largest difference {np.abs(M[k, ::2] - direct).max():.3f}")
ax.set(xlabel="temperature T", ylabel="magnetisation M", ylim=(0, None))
ax.legend(title="lines: one law; points: direct")
