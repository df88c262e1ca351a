"""
One law, every size
===================

Magnetisation M and domain walls are means over sites. Their drift does not depend on the number of
sites n but for terms of order 1/n, and their covariance is that of one site over n. A law that is
learned at 16x16 and 32x32 is therefore that of 256x256, too. Nothing larger than 32x32 is simulated
to learn it.
"""

import matplotlib.pyplot as plt
import numpy as np

import sklmacro as skm
from sklmacro.simulators import Ising

ising = Ising(temperature=3.5, field=0.2)
small = ising.sample_initial(24, 16, observables="even", random_state=0)
model = skm.make_macro_pipeline(ising, large=[16, 32], random_state=0)
model.set_params(pairs__upsample__relaxation__n_kept=30).fit(small)
closure, sde = model["pairs"], model["sde"]
print(sde.sizes_, list(closure.get_feature_names_out()))

# %%
# 128 paths of each size, from random spins of M = -0.8 to the equilibrium in the field, and as many
# direct simulations of the same starts.

sides, times, dt = (16, 64, 256), np.arange(0.0, 31.0), 0.125
predicted, direct = {}, {}
rng = np.random.default_rng(1)
for side in sides:
    start = np.where(rng.random((128, side, side)) < 0.1, 1, -1).astype(np.int8)
    z, n_steps = closure.transform(start), round(times[-1] / dt)
    predicted[side] = sde.simulate(
        z, n_steps, dt, store_every=round(1 / dt), n_sites=side**2, random_state=2
    )[..., :2]
    direct[side] = ising.simulate(start, times, observe=True, packed=True, random_state=3)

# %%
# Left: bands of two standard deviations to either side of the mean M, predicted, and eight direct
# paths of each size as points. Right: the spread at rest. It falls as n^{-1/2}, from one site's.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for k, side in enumerate(sides):
    mean, spread = predicted[side][..., 0].mean(axis=0), predicted[side][..., 0].std(axis=0)
    band = (mean - 2 * spread, mean + 2 * spread)
    axes[0].fill_between(times, *band, color=f"C{k}", alpha=0.35, lw=0, label=f"{side}x{side}")
    axes[0].plot(times, direct[side][:8, :, 0].T, ".", ms=2, color=f"C{k}")
axes[0].set(xlabel="time [sweeps]", ylabel="M")
axes[0].legend()
n = np.array(sides) ** 2
for name, paths, style in (("predicted", predicted, "-"), ("direct", direct, "o")):
    spread = np.array([paths[side][:, 20:].std(axis=0).mean(axis=0) for side in sides])
    for k, observable in enumerate(ising.observable_names):
        axes[1].loglog(n, spread[:, k], style, color=f"C{3 + k}", label=f"{observable}, {name}")
    print(name, "sqrt(n) times the spread of M and walls:", (spread * np.sqrt(n)[:, None]).round(2))
axes[1].set(xlabel="number of sites n", ylabel="standard deviation at rest")
axes[1].legend(fontsize="small")
