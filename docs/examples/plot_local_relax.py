"""
LocalRelax: are upsampled snapshots good enough?
================================================

Upsampling may keep the law of the magnetisation of the small system, but at given M the large
snapshots must be those of the large system. ``fidelity`` compares upsampled with directly simulated
ones, in standard errors; ``n_passes="converged"`` finds out by itself how long to relax.
"""

import matplotlib.pyplot as plt

import sklmacro as skm
from sklmacro.plots import FidelityDisplay
from sklmacro.scoring import fidelity
from sklmacro.simulators import Ising

# %%
# 800 snapshots of 16x16 and, to compare, 800 of 32x32, at T = 2.4. The large ones are made for the
# comparison only.

ising = Ising(temperature=2.4)
small, _ = ising.advance(ising.sample_initial(800, 16, random_state=0), duration=500.0,
                         random_state=0)  # fmt: skip
direct, _ = ising.advance(ising.sample_initial(800, 32, random_state=1), duration=2000.0,
                          random_state=1)  # fmt: skip

# %%
# Every spin is replicated into a 2x2 block; LocalRelax then visits overlapping 16x16 patches. On a
# square lattice every site is visited four times a pass.

ways = {
    "none": None,
    "4 sweeps": skm.LocalRelax(duration=1.0),
    "16 sweeps": skm.LocalRelax(duration=4.0),
    "converged": skm.LocalRelax(duration=4.0, n_passes="converged"),
}
compared = {}
for name, relaxation in ways.items():
    upsampler = skm.HierarchicalUpsampler(ising, relaxation=relaxation, random_state=2)
    large = upsampler.fit_transform(small)
    compared[name] = fidelity(ising, large, direct, parity=True)
    z = ", ".join(
        f"{q} {value:.1f}" for q, value in zip(compared[name].quantities, compared[name].z,
                                               strict=True)
    )  # fmt: skip
    print(f"{name}: p = {compared[name].p_value:.2g}; differences in standard errors: {z}")
print("passes that were found:", upsampler.n_passes_)

# %%
# Domain wall density at given M. Replicated blocks have a third of the true walls.

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for (name, one), style in zip(compared.items(), ("v:", "^--", "s-.", "o-"), strict=True):
    ax.plot(one.nodes[:, 0], one.curves[0, 0], style, ms=4, label=f"LocalRelax: {name}")
one = compared["converged"]
ax.errorbar(one.nodes[:, 0], one.curves[1, 0], 2 * one.curve_errors[1, 0], color="k", lw=2,
            alpha=0.5, label="direct simulation")  # fmt: skip
ax.set(xlabel="|M|", ylabel="domain wall density at given M")
ax.legend()

# %%
# All differences of the snapshots that were relaxed until they were at rest, structure factors
# included. The correlation length is not one at given M: it is that of all snapshots, and their law
# of M is still that of the small system.

FidelityDisplay(compared["converged"]).plot()
