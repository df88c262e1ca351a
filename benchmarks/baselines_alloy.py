"""Vacancy kinetic Monte Carlo as one writes it first: every vacancy evaluated at every step."""

import numpy as np

from sklmacro.simulators.alloy import BOLTZMANN

DIRECTIONS = np.array([(i, j, k) for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
TURNS = (2, 2, -1, -1, 1, 1, 0, 0)


class EveryVacancyEveryStep:
    """Network in numpy float32, layer by layer, over the boxes of all vacancies and jumps."""

    def __init__(self, snapshot, weights, temperature, seed=0):
        side = snapshot.shape[0]
        self.grid = np.zeros((2 * side,) * 3, np.int8)
        self.grid[::2, ::2, ::2] = snapshot[..., 0]
        self.grid[1::2, 1::2, 1::2] = snapshot[..., 1]
        parity = np.indices(self.grid.shape) % 2
        on = (parity == parity[0]).all(axis=0)
        self.vacancies = np.argwhere(on & (self.grid == 0))
        self.weights = {k: np.asarray(v, np.float32) for k, v in weights.items()}
        self.beta = 1 / (BOLTZMANN * temperature)
        self.rng = np.random.default_rng(seed)
        place = np.indices((9, 9, 9)) - 4
        self.mask = 1.62 * np.sqrt((place**2).sum(axis=0)) <= 7.5
        self.time = 0.0

    def barriers(self):
        """Return the barriers (n_vacancies, 8)."""
        size, span = self.grid.shape[0], np.arange(-4, 5)
        boxes = []
        for vacancy in self.vacancies:
            index = (vacancy[:, np.newaxis] + span) % size
            box = self.grid[np.ix_(*index)] * self.mask
            for q, turn in enumerate(TURNS):
                turned = np.rot90(box, turn, axes=(0, 1))
                boxes.append((turned[:, :, ::-1] if q % 2 == 0 else turned).ravel())
        a, w = np.array(boxes, np.float32), self.weights
        for i in range(4):
            a = a @ w[f"layer{i}_weight"] + w[f"layer{i}_bias"]
            a = (a - w[f"layer{i}_bn_mean"]) / np.sqrt(w[f"layer{i}_bn_var"] + np.float32(1e-5))
            a = np.maximum(w[f"layer{i}_bn_gamma"] * a + w[f"layer{i}_bn_beta"], 0)
        return (a @ w["out_weight"] + w["out_bias"]).reshape(-1, 8).astype(float)

    def run(self, n_steps):
        """Make jumps; return how many."""
        size = self.grid.shape[0]
        for _ in range(n_steps):
            rates = 1e13 * np.exp(-self.beta * self.barriers())
            targets = (self.vacancies[:, np.newaxis] + DIRECTIONS) % size
            rates[self.grid[tuple(np.moveaxis(targets, -1, 0))] == 0] = 0.0
            total = np.cumsum(rates)
            self.time -= np.log(self.rng.random()) / total[-1]
            v, d = divmod(int(np.searchsorted(total, self.rng.random() * total[-1])), 8)
            here, there = tuple(self.vacancies[v]), tuple(targets[v, d])
            self.grid[here], self.grid[there] = self.grid[there], 0
            self.vacancies[v] = there
        return n_steps
