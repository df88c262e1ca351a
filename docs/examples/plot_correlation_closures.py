"""
Which correlations close the Ising model?
=========================================

Magnetisation M and domain walls do not determine how they go on: two states that agree in both can
differ in what surrounds a spin. Correlations, mean products of spins at fixed distances, are
closures that need no training. Which of them are needed shows in the drift of the observables: as
dt -> 0 it is an exact sum over all flips, so that what z leaves unexplained of it is missing in z.
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.plots import ClosureSelectionDisplay
from sklmacro.simulators import Ising

ising = Ising(temperature=2.5, field=0.1)

# %%
# States of 24 snapshots on their way from random spins of evenly spaced M to equilibrium. A group
# is a snapshot with all its states: it is held out as a whole.

n, rng = 24, np.random.default_rng(0)
up = (np.arange(n) + 0.5) / n
states = [np.where(rng.random((n, 32, 32)) < up[:, None, None], 1, -1).astype(np.int8)]
for k, time in enumerate(np.diff([0.0, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])):
    states.append(ising.advance(states[-1], duration=time, random_state=k)[0])
groups = np.tile(np.arange(n), len(states))
sampler = skm.PartialEvolutionSampler(ising, moments=True)
pairs = sampler.fit_transform(np.concatenate(states), groups=groups)

# %%
# One closure after the other joins z, each by what it explains (``criterion="drift"``). Four of
# them explain the drift of both observables to the last digit: a spin's rate depends on its four
# neighbours alone, and these are the products of two neighbours (opposite ones and those around a
# corner), of three and of four.

closure = skm.CorrelationClosure(ising, criterion="drift").fit(pairs)
for step in closure.selection_:
    print(f"{step.name:32s} {step.unexplained:.1e} +- {step.error:.0e}")

# %%
# Products of three neighbours are forgotten within a sweep or two: along a path what they do
# averages out. By default closures are chosen whose part of the drift lasts. These are fewer, and
# reach further.

lasting = skm.CorrelationClosure(ising).fit(pairs)
print(lasting.get_feature_names_out()[2:])

# %%
# Left: the part of the drift that is unexplained. Right: the drift of M against what a quadratic
# fit makes of z, with M and walls alone and with the closures.

fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
ClosureSelectionDisplay.from_estimator(closure, ax=axes[0])
latent = closure.transform(pairs)
drift = latent["dz"][:, 0] / latent["dt"]
for n_used, label in ((2, "M and walls"), (4, "with two closures"), (6, "with four closures")):
    z = latent["z"][:, :n_used]
    products = np.einsum("ni,nj->nij", z, z)[:, *np.triu_indices(n_used)]
    design = np.column_stack([np.ones(len(z)), z, products])
    left = drift - design @ np.linalg.lstsq(design, drift)[0]
    axes[1].plot(drift, np.abs(left) + 1e-16, ".", ms=4, label=label)
axes[1].set(yscale="log", xlabel="drift of M", ylabel="error of a quadratic fit")
axes[1].legend()
