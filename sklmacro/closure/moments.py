"""Moments of macrostates: mean and covariance of the increment as dt -> 0, closures included.

phi(x) are the m known functions, observables and clusters, and the c closures that a codec encodes;
dphi_e is the change of phi by event e:

    jump process    b = sum_e r_e dphi_e,                         A = sum_e r_e dphi_e dphi_e^T
    diffusion       b = J f + 1/2 sum_i sigma_i^2 d2phi/dx_i^2,   A = J diag(sigma^2) J^T

with f and sigma the drift and the noise of the fields, and J = dphi/dx. A is found event by event,
or direction by direction, for all functions together: so their covariances are right, too. Events
are encoded one by one; derivatives of closures are central differences through the encoder. Where
that is too much, some of the events, drawn in proportion to their rates, or random directions of
the noise (Hutchinson, Commun. Stat. Simul. 18, 1059 (1989)) stand for all: b and A are then right
in the mean.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sklmacro._base.streams import Stage, stream
from sklmacro.closure.cluster_moments import window_slopes
from sklmacro.closure.cluster_sums import ClusterSums
from sklmacro.closure.codec import ENCODE_BATCH, PatchCodec
from sklmacro.lattice.patches import PatchGrid
from sklmacro.lattice.windows import Window
from sklmacro.sampling.boundary import Ghost
from sklmacro.sampling.pairs import patch_cells
from sklmacro.sampling.patches import PatchEvolver
from sklmacro.simulators import Simulator
from sklmacro.simulators.protocol import Duration

# Of central differences in units of the fields' spread: errors of rounding and of the fourth order
# are alike in second differences.
STEP = float(np.finfo(float).eps ** 0.25)
SAME = 1e-6  # relative difference up to which two computations of the same moments agree

# Moments per time: b of the closures (c,), A of known functions and closures (m + c, m + c).
Parts = tuple[np.ndarray, np.ndarray]
# Patches to encode, and what makes parts of their closures.
Probe = tuple[np.ndarray, Callable[[np.ndarray], Parts]]


def latent_moments(
    pairs: np.ndarray,
    numbers: np.ndarray,
    simulator: Simulator,
    sums: ClusterSums | None,
    codec: PatchCodec,
    n_drawn: int | None,
    entropy: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return moments of the increment's mean over a pair's p patches.

    They are b dt (n_samples, c) of the closures and A dt (n_samples, m + c, m + c) of the known
    functions, which are the observables and the clusters of `sums`, and the closures.

    The snapshot pairs of moments (n_samples,) come from the simulator, and `codec` encodes patches
    of their size. For each patch `n_drawn` events, or directions, are drawn by a stream for each
    pair, named by its number (n_samples,); None takes all. With it, A of the known functions is
    that of what was drawn, too, so that every matrix is positive semidefinite.

    Raises
    ------
    ValueError
        If the simulator has no moments, or its moments of the observables are not the pairs'.
    """
    simulator.check_moments()
    lattice = simulator.lattice(pairs["x"].shape[1:])
    grid = PatchGrid(lattice, patch_cells(pairs, lattice.ndim))
    (n, p), c = pairs["origin"].shape[:2], len(codec.closures.mean)
    m = simulator.n_observables + (0 if sums is None else len(sums.clusters))
    b, A = np.zeros((n, c)), np.zeros((n, m + c, m + c))
    if simulator.process == "diffusion":  # second differences need double precision
        codec = replace(codec, net=copy.deepcopy(codec.net).double())
    probes = Probes(simulator, grid, sums, n_drawn, codec.fields.scale)
    waiting: list[tuple[int, Probe]] = []

    def encode_waiting() -> None:
        closures = codec.encode(np.concatenate([patches for _, (patches, _) in waiting]))
        cuts = np.cumsum([len(patches) for _, (patches, _) in waiting])
        for (k, (_, parts)), own in zip(waiting, np.split(closures, cuts[:-1]), strict=True):
            for total, part in zip((b, A), parts(own), strict=True):
                total[k] += part
        waiting.clear()

    for k, (pair, number) in enumerate(zip(pairs, numbers.tolist(), strict=True)):
        _check_origin_of(pair, simulator, grid)
        rng = stream(entropy, Stage.MOMENTS, number)
        make = probes.of_events if simulator.process == "jump" else probes.of_noise
        F = np.empty((0, 0)) if sums is None else sums.values(pair["x"], lattice)
        for origin in pair["origin"].tolist():
            probe = make(pair["x"], F, tuple(origin), rng)
            if len(probe[0]):
                waiting.append((k, probe))
        n_patches = sum(len(patches) for _, (patches, _) in waiting)
        if n_patches >= ENCODE_BATCH or (waiting and k == n - 1):
            encode_waiting()
    dt = pairs["dt"][:, np.newaxis]
    return b / p * dt, A / p**2 * dt[..., np.newaxis]


def _check_origin_of(pair: np.ndarray, simulator: Simulator, grid: PatchGrid) -> None:
    """Raise ValueError unless the observables' moments of a pair are the simulator's."""
    dt = float(pair["dt"])
    evolver = PatchEvolver(simulator, grid.lattice, grid.cells, Ghost(), Duration(dt))
    moments = evolver.moments(pair["x"][np.newaxis], pair["origin"][np.newaxis])
    mean, cov = (part[0] * dt for part in moments)
    spread = np.sqrt(np.diag(cov))  # of each observable, in its own unit
    error, error_of_cov = np.abs(mean - pair["d_obs"]), np.abs(cov - pair["cov_obs"])
    if not (
        (error <= SAME * (spread + np.abs(mean))).all()
        and (error_of_cov <= SAME * np.outer(spread, spread)).all()
    ):
        raise ValueError(
            f"Expected pairs of moments of {simulator!r}, but got other moments of the observables "
            f"(mean {pair['d_obs']}, the simulator's {mean}); give PatchAutoencoder the simulator "
            "of the pairs, with the same parameters, or sample increments."
        )


@dataclass(frozen=True)
class Probes:
    """What is encoded for the moments of a patch.

    `sums` and `n_drawn` are as for `latent_moments`; `scale`, () or (n_fields,), is the spread of
    the fields. Methods take a snapshot x, the values F of the functions of `sums` at its sites, and
    the first cell of the patch.
    """

    simulator: Simulator
    grid: PatchGrid
    sums: ClusterSums | None
    n_drawn: int | None
    scale: np.ndarray

    def of_events(
        self, x: np.ndarray, F: np.ndarray, origin: tuple[int, ...], rng: np.random.Generator
    ) -> Probe:
        """Return the patches that the events of a window touch, before and after them."""
        grid = self.grid
        events = self.simulator.events(x, grid.lattice, Window(origin, grid.cells))
        chosen, weights = _draw_events(np.asarray(events.rates, float), self.n_drawn, rng)
        sites, states = events.sites[chosen], events.states[chosen]
        changes = self.simulator.conserve(events.changes[chosen])
        if self.sums is not None:
            of_clusters = self.sums.changes(F, sites, states, grid.lattice)
            changes = np.hstack([changes, of_clusters])
        changes = changes / grid.sites_per_patch
        boxes, places = _locate(sites, grid, origin)
        touched = np.ones(boxes.shape, bool)  # the first of the sites that an event has in a patch
        for u in range(1, boxes.shape[1]):
            touched[:, u] = (boxes[:, u : u + 1] != boxes[:, :u]).all(axis=1)
        event, slot = np.nonzero(touched)
        own = boxes[event, slot]
        numbers, which = np.unique(own, return_inverse=True)
        origins = (np.array(origin) + grid.origins[numbers]) % grid.lattice.cells
        before = np.array([x[grid.lattice.mesh(tuple(o), grid.cells)] for o in origins.tolist()])
        after = before[which] if len(which) else before
        flat = after.reshape(len(after), grid.sites_per_patch, *states.shape[2:])
        for u in range(boxes.shape[1]):
            rows = np.flatnonzero(boxes[event, u] == own)
            flat[rows, places[event[rows], u]] = states[event[rows], u]

        def parts(closures: np.ndarray) -> Parts:
            change = np.zeros((len(chosen), closures.shape[1]))
            np.add.at(change, event, closures[len(before) :] - closures[: len(before)][which])
            both = np.hstack([changes, change])
            return weights @ change, both.T @ (weights[:, np.newaxis] * both)

        return np.concatenate([before, after]), parts

    def of_noise(
        self, x: np.ndarray, F: np.ndarray, origin: tuple[int, ...], rng: np.random.Generator
    ) -> Probe:
        """Return a patch, and the patch moved a little along its drift and along its noise."""
        grid, n_drawn, window = self.grid, self.n_drawn, Window(origin, self.grid.cells)
        drift, noise = self.simulator.one_step(x, grid.lattice, window)
        patch, sigma = x[grid.lattice.mesh(origin, grid.cells)], noise.ravel()
        noisy = np.flatnonzero(sigma)
        if n_drawn is None or n_drawn >= len(noisy):
            along = np.zeros((len(noisy), sigma.size))
            along[np.arange(len(noisy)), noisy] = sigma[noisy]
        else:  # the mean of v v^T over random signs is diag(sigma^2)
            along = rng.choice([-1.0, 1.0], (n_drawn, sigma.size)) * sigma / np.sqrt(n_drawn)
        moves = np.vstack([drift.ravel(), along])
        reach = np.abs(moves / np.broadcast_to(self.scale, patch.shape).ravel()).max(axis=1)
        step = STEP / np.where(reach > 0, reach, 1.0)[:, np.newaxis]
        moved = np.concatenate([np.zeros((1, sigma.size)), step * moves, -step * moves])
        of_sites = along.reshape(len(along), -1, self.simulator.n_fields)
        changes = self.simulator.conserve(of_sites.sum(axis=1))
        if self.sums is not None:
            slopes = window_slopes(x, F, window, self.sums, grid.lattice)
            changes = np.hstack([changes, along @ slopes.reshape(sigma.size, -1)])
        changes = changes / grid.sites_per_patch

        def parts(closures: np.ndarray) -> Parts:
            here, (ahead, behind) = closures[0], np.split(closures[1:], 2)
            slope = (ahead - behind) / (2 * step)
            bend = (ahead - 2 * here + behind) / step**2
            both = np.hstack([changes, slope[1:]])
            return slope[0] + bend[1:].sum(axis=0) / 2, both.T @ both

        return patch + moved.reshape(-1, *patch.shape), parts


def _draw_events(
    rates: np.ndarray, n_drawn: int | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of events and their weights: all, or one from each of equal shares of R.

    Each event is expected m r_e / R times among m, and weighs R / m.
    """
    possible = np.flatnonzero(rates)
    if n_drawn is None or n_drawn >= len(possible):
        return possible, rates[possible]
    reached = np.cumsum(rates)
    share = np.minimum((np.arange(n_drawn) + rng.random(n_drawn)) / n_drawn, 1 - 2.0**-53)
    chosen = np.searchsorted(reached / reached[-1], share, side="right")
    return chosen, np.full(n_drawn, reached[-1] / n_drawn)


def _locate(
    sites: np.ndarray, grid: PatchGrid, origin: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the patch of each site, on a grid that has one at `origin`, and the place there."""
    lattice = grid.lattice
    coordinates = np.unravel_index(sites, lattice.site_shape)
    boxes, places = np.zeros(sites.shape, np.int64), np.zeros(sites.shape, np.int64)
    axes = zip(coordinates, origin, lattice.cells, grid.cells, grid.counts, strict=False)
    for cell, first, n, size, count in axes:
        offset = (cell - first) % n
        boxes, places = boxes * count + offset // size, places * size + offset % size
    if lattice.n_basis > 1:
        places = places * lattice.n_basis + coordinates[-1]
    return boxes, places
