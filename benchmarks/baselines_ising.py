"""Ising without ideas: all rates built anew for every event (Algorithm 2, literally)."""

import numpy as np
import torch
from numba import njit


@njit(nogil=True)
def rebuild_events(x, rates, n_events, rng):
    """Flip `n_events` spins of a periodic lattice x (n_x, n_y); return the elapsed time.

    `rates[s + 1, 4 + sum]` is that of a spin s. No division and no remainder inside the loops.
    """
    n_x, n_y = x.shape
    cumulated, elapsed = np.empty(n_x * n_y), 0.0
    for _ in range(n_events):
        total = 0.0
        for i in range(n_x):
            above, row, below = x[i - 1], x[i], x[i + 1 if i + 1 < n_x else 0]
            for j in range(n_y):
                beside = row[j - 1 if j > 0 else n_y - 1] + row[j + 1 if j + 1 < n_y else 0]
                total += rates[row[j] + 1, 4 + beside + above[j] + below[j]]
                cumulated[i * n_y + j] = total
        elapsed -= np.log(1.0 - rng.random()) / total
        site = np.searchsorted(cumulated, rng.random() * total, side="right")
        x[site // n_y, site % n_y] *= -1
    return elapsed


@njit(nogil=True)
def rebuild_events_by_table(x, neighbors, rates, n_events, rng):
    """The same for a flat lattice x (n,) with its neighbours (n, z)."""
    n, z = neighbors.shape
    cumulated, elapsed = np.empty(n), 0.0
    for _ in range(n_events):
        total = 0.0
        for i in range(n):
            around = z
            for q in range(z):
                around += x[neighbors[i, q]]
            total += rates[x[i] + 1, around]
            cumulated[i] = total
        elapsed -= np.log(1.0 - rng.random()) / total
        x[np.searchsorted(cumulated, rng.random() * total, side="right")] *= -1
    return elapsed


def rates_of(coordination, temperature, field):
    """Table [s + 1, z + sum] for the functions above."""
    around = np.arange(-coordination, coordination + 1) + field
    flip = [1 / (1 + np.exp(2 * s * around / temperature)) for s in (-1, 1)]
    return np.array([flip[0], 0 * around, flip[1]])


def draw_by_multinomial(rates):
    """The usual way to draw a column (n,) from each row of rates (n, m)."""
    return torch.multinomial(rates, 1)[:, 0], rates.sum(1)


def draw_by_search(rates):
    """The same from sums and a search, which is faster."""
    cumulated = rates.cumsum(1)
    total = cumulated[:, -1:]
    site = torch.searchsorted(cumulated, torch.rand(len(rates), 1) * total, right=True)[:, 0]
    return site.clamp_(max=rates.shape[1] - 1), total[:, 0]


def relax_torch(x, ring, n_events, temperature, field, draw):
    """Flip `n_events` spins in each of many windows at once.

    x (n, e0, e1) float tensor of spins, changed in place; ring (n, e0 + 2, e1 + 2) the same windows
    with their frozen surroundings. Returns the elapsed times (n,).
    """
    n, rows = len(x), torch.arange(len(x))
    inner, flat, elapsed = ring[:, 1:-1, 1:-1], x.view(n, -1), torch.zeros(n)
    for _ in range(n_events):
        inner.copy_(x)
        around = ring[:, :-2, 1:-1] + ring[:, 2:, 1:-1] + ring[:, 1:-1, :-2] + ring[:, 1:-1, 2:]
        rates = torch.sigmoid(x * (around + field) * (-2 / temperature)).view(n, -1)
        site, total = draw(rates)
        elapsed -= torch.log1p(-torch.rand(n)) / total
        flat[rows, site] *= -1
    return elapsed
