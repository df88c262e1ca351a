"""
Where dt belongs: plateaus
==========================

The evolution time dt of a patch has two walls. Too long, and z relaxes within it, or patches come
to depend on each other. Too short, and what z cannot remember counts as motion: a vacancy that
jumps straight back. ``dt_plateau`` looks for what lies in between.
"""

import numpy as np

from sklmacro.plots import PlateauDisplay
from sklmacro.scoring import dt_plateau
from sklmacro.simulators import Alloy, LinearChain

# %%
# A linear chain of 60 sites, patches of 20: rate and diffusion of its mean are known, gamma = 0.1
# and sigma^2 / n = 1/60 (dotted). Beyond dt of about 0.1 the frozen neighbours of the patch show in
# the diffusion; near 1 / gamma = 10 the mean itself relaxes within dt.

chain = LinearChain(gamma=0.1, force=0.0)
X = chain.sample_initial(200, 60, random_state=0)
plateau = dt_plateau(chain, X, np.geomspace(0.05, 20, 9), patch=20, random_state=0)
print("flat for dt within", plateau.interval)
axes = PlateauDisplay(plateau).plot().axes_
axes[0].axhline(0.1, color="k", lw=1, ls=":")
axes[1].axhline(1 / 60, color="k", lw=1, ls=":")

# %%
# NbMoTa at 2000 K: diffusion falls from the exact limit dt -> 0 on, and goes on falling, since
# vacancies mostly jump straight back. Moments of dt -> 0 have the right equilibrium, but kinetics
# that are too fast by the factors printed here. An interval is still reported: with this few start
# states three standard errors are wide enough to hide the fall from 10 to 100 jumps.

alloy = Alloy(temperature=2000.0)
X = alloy.sample_initial(24, 8, random_state=0)
X, _ = alloy.advance(X, n_events=50_000, random_state=1)
dts = alloy.jump_time() * np.array([10.0, 100.0, 1000.0])
plateau = dt_plateau(alloy, X, dts, n_replicas=4, random_state=0)
print("flat for dt within", plateau.interval)
ratio = plateau.diffusion[-1] / plateau.diffusion[0]
for name, value in zip(plateau.names, ratio, strict=True):
    print(f"{name}: diffusion at 1000 jumps over that of dt -> 0: {value:.2f}")

PlateauDisplay(plateau).plot(relative=True, time_label="dt [s]")
