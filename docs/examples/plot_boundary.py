"""
What surrounds an evolved patch
===============================

A patch should evolve as if the rest of the lattice did, too. Here its mean increment is compared
with that of the same patch within the evolving lattice, from the same states: a patch among frozen
neighbours (ghost cells), one with a rim that evolves with it (buffer), and one that is closed on
itself (periodic).
"""

import matplotlib.pyplot as plt
import numpy as np

from sklmacro.simulators import Ising

# %%
# 8 states of a 64x64 Ising lattice near the critical point, 20 sweeps after random ones of any
# magnetisation; the patch is the central 16x16. 1000 replicas of each state tell its mean increment
# of M.

ising = Ising(temperature=2.27)
states = ising.sample_initial(8, 64, random_state=1)
states, _ = ising.advance(states, duration=20.0, random_state=1)
n_replicas, inner = 1000, slice(24, 40)


def increments(x, duration, how, seed):
    """Return the change of M of the patch (n_replicas,) in one of the ways."""
    X = np.repeat(x[None], n_replicas, axis=0)
    before = x[inner, inner].mean()
    if how == "periodic":
        X, _ = ising.advance(X[:, inner, inner], duration=duration, random_state=seed)
        return X.mean(axis=(1, 2)) - before
    rim = {"ghost": 0, "buffer of 2": 2, "buffer of 4": 4, "lattice": 24}[how]
    window = ((24 - rim,) * 2, (16 + 2 * rim,) * 2)
    X, _ = ising.advance(X, duration=duration, window=window, random_state=seed)
    return X[:, inner, inner].mean(axis=(1, 2)) - before


# %%
# Root mean square over the states of the error of the mean increment, the noise of finitely many
# replicas subtracted; 0 where nothing is left.

ways = ("periodic", "ghost", "buffer of 2", "buffer of 4")
durations = (1.0, 2.0, 4.0, 8.0)
errors, size, spread = {way: [] for way in ways}, [], []
for dt in durations:
    true = [increments(x, dt, "lattice", 10 + k) for k, x in enumerate(states)]
    size.append(np.sqrt(np.mean([np.mean(t) ** 2 - t.var() / n_replicas for t in true])))
    spread.append(np.mean([t.std() for t in true]))
    for way in ways:
        found = [increments(x, dt, way, 100 + k) for k, x in enumerate(states)]
        square = np.mean(
            [
                (f.mean() - t.mean()) ** 2 - (f.var() + t.var()) / n_replicas
                for f, t in zip(found, true, strict=True)
            ]
        )
        errors[way].append(np.sqrt(max(square, 0.0)))

print(f"at dt = {dt:g}: mean increment {size[-1]:.4f}, standard deviation {spread[-1]:.3f}")
for way in ways:
    print(f"  {way}: error of the mean {errors[way][-1]:.4f}")

# %%
# Closed on itself, the patch is wrong by half of what it moves. Ghost cells have an error that
# vanishes faster than dt, and a rim makes it smaller still.

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for (way, values), marker in zip(errors.items(), "vs^o", strict=True):
    ax.plot(durations, values, f"{marker}-", label=way)
ax.plot(durations, size, "k--", label="mean increment")
ax.set(xlabel="dt [sweeps]", ylabel="error of the mean increment of M")
ax.set_xscale("log")
ax.set_xticks(durations, [f"{dt:g}" for dt in durations])
ax.minorticks_off()
ax.legend()
