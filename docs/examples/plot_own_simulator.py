"""
A simulator of your own
=======================

Any lattice model can be learned, once it is a ``Simulator``. Here it is a contact process: an
infected site recovers at rate 1, a healthy one is infected at rate beta/4 for each infected
neighbour. It has no energy and no detailed balance; the method asks for neither. How the class is
written, and how to make it fast, is told in :doc:`/howto/own-simulator`.
"""

import numpy as np
from numba import njit
from sklearn.pipeline import make_pipeline

import sklmacro as skm
from sklmacro.plots import TrajectoryDisplay
from sklmacro.scoring import mean_path_error
from sklmacro.simulators import Events, Simulator


@njit(nogil=True)
def attempt(x, sites, uniforms, beta, total):
    """Try to change the `sites` (n, 2) of x (n0, n1) in turn, in place."""
    n0, n1 = x.shape
    for k in range(len(sites)):
        i, j = sites[k]
        if x[i, j] == 1:
            rate = 1.0
        else:
            near = x[i - 1, j] + x[(i + 1) % n0, j] + x[i, j - 1] + x[i, (j + 1) % n1]
            rate = beta * near / 4
        if uniforms[k] * total < rate:
            x[i, j] = 1 - x[i, j]


class Contact(Simulator):
    """Contact process on a periodic square lattice; 1 is infected, 0 healthy."""

    kind = "square"
    boundary = "periodic"
    state_dtype = np.int8
    observable_names = ("infected", "infected-healthy bonds")
    observable_units = ("1", "1")
    observable_bounds = ((0.0, 1.0), (0.0, 1.0))
    observable_range = 1  # a site's density looks at its nearest neighbours

    def __init__(self, beta=3.0):
        self.beta = beta

    # States in which none is infected stay as they are: they have no noise to learn.
    def draw_initial(self, lattice, rng):
        return rng.random(lattice.cells) < rng.uniform(0.03, 1.0)

    def advance_window(self, x, lattice, evolution):
        (origin, extent), span, rng = evolution
        total = max(1.0, self.beta)
        n = rng.poisson(total * span.time * np.prod(extent))
        sites = (rng.integers(extent, size=(n, 2)) + origin) % lattice.cells
        attempt(x, sites, rng.random(n), self.beta, total)
        return span.time

    def density(self, x):
        unlike = [x != np.roll(x, step, axis) for step in (1, -1) for axis in (0, 1)]
        return np.stack([x, np.mean(unlike, axis=0)], axis=-1).astype(float)

    def events(self, x, lattice, window):
        """List all that can happen next, for exact moments of increments."""
        box = lattice.window(*window)
        sites = np.arange(x.size).reshape(x.shape)[box].ravel()
        state = x[box].ravel()
        near = sum(np.roll(x, step, axis) for step in (1, -1) for axis in (0, 1))[box].ravel()
        rates = np.where(state == 1, 1.0, self.beta * near / 4)
        unlike = np.where(state == 1, 4 - near, near)
        changes = np.column_stack([1 - 2 * state, 2 - unlike])
        return Events(rates, sites[:, None], 1 - state[:, None], changes)


# %%
# Learn 48x48 from 12x12, from exact moments of all 16 patches.

contact = Contact(beta=3.0)
small = contact.sample_initial(600, 12, random_state=0)
model = make_pipeline(
    skm.HierarchicalUpsampler(
        contact, factor=4, method="shuffle", random_state=0,
        relaxation=skm.LocalRelax(duration=(0.02, 0.5), n_passes=4),
    ),
    skm.PartialEvolutionSampler(contact, patch=skm.Patches(12, n_evolved=16), moments=True),
    skm.PatchAutoencoder(contact, n_closure=0),
    skm.PatchSDERegressor(
        drift_model=skm.Polynomial(degree=4), bounds=contact.observable_bounds, random_state=0
    ),
).fit(small)  # fmt: skip

# %%
# Compare with 100 simulated paths of 48x48, one in twelve sites infected at first.

start = np.zeros(48 * 48, np.int8)
start[: 48 * 48 // 12] = 1
start = np.random.default_rng(1).permutation(start).reshape(48, 48)
start = np.repeat(start[None], 100, axis=0)
times = np.arange(0.0, 16.0, 0.5)
truth = contact.simulate(start, times, observe=True, random_state=2)
z0 = model[-2].transform(start)
paths = model[-1].simulate(z0, n_steps=310, dt=0.05, store_every=10, random_state=3)
print(f"relative error of the mean path {mean_path_error(paths, truth):.1e}")
print(f"truth against itself {mean_path_error(truth[::2], truth[1::2]):.1e}")

TrajectoryDisplay.from_predictions(truth, paths, times=times, labels=contact)
