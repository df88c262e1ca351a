"""Increments of observables and cluster sums: sampled ones, and their moments as dt -> 0.

phi are the sums of the observables' densities and of the clusters over the lattice:

    jump process    b = sum_e r_e dphi_e,          A = sum_e r_e dphi_e dphi_e^T
    diffusion       b = sum_i L_i phi,             A = sum_i sigma_i^2 phi_i phi_i^T

with phi_i the derivative by the field x_i, and L_i = f_i d/dx_i + sigma_i^2/2 d^2/dx_i^2 what drift
and noise of that field do in the mean. What happens in windows that tile the lattice adds up.
"""

import numpy as np

from sklmacro.closure.cluster_sums import ClusterSums
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.sampling.pairs import patch_cells
from sklmacro.simulators import Simulator
from sklmacro.simulators.events import sum_events

SAME = 1e-6  # relative difference up to which two computations of the same moments agree


def pair_increments(pairs: np.ndarray, sums: ClusterSums, simulator: Simulator) -> np.ndarray:
    """Return the increments (n, n_clusters) of sampled pairs, means over their p patches (Eq. 10).

    A patch changes among its neighbours as they are.
    """
    lattice = simulator.lattice(pairs["x"].shape[1:])
    cells = patch_cells(pairs, lattice.ndim)
    result = np.zeros((len(pairs), len(sums.clusters)))
    for k, pair in enumerate(pairs):
        F, p = sums.values(pair["x"], lattice), len(pair["origin"])
        for origin, patch in zip(pair["origin"].tolist(), pair["x_next"], strict=True):
            sites = _sites(lattice, Window(tuple(origin), cells))[np.newaxis]
            states = patch.reshape(*sites.shape, simulator.n_fields)
            result[k] += sums.changes(F, sites, states, lattice)[0] / (p * sites.size)
    return result


def pair_moments(
    pairs: np.ndarray, sums: ClusterSums, simulator: Simulator
) -> tuple[np.ndarray, np.ndarray]:
    """Return b dt (n, d) and A dt (n, d, d) of pairs of moments, of the mean over their p patches.

    Raises
    ------
    ValueError
        If the simulator has no moments, or its moments of the observables are not the pairs'.
    """
    simulator.check_moments()
    lattice = simulator.lattice(pairs["x"].shape[1:])
    cells = patch_cells(pairs, lattice.ndim)
    n_sites, d = Lattice(lattice.kind, cells).n_sites, simulator.n_observables + len(sums.clusters)
    mean, cov = np.empty((len(pairs), d)), np.empty((len(pairs), d, d))
    for k, pair in enumerate(pairs):
        F, origins = sums.values(pair["x"], lattice), pair["origin"]
        windows = [Window(tuple(origin), cells) for origin in origins.tolist()]
        if _tile(origins, cells, lattice):
            windows = [lattice.full_window]
        parts = [window_moments(pair["x"], F, window, sums, simulator) for window in windows]
        b, A = (sum(part[1:], start=part[0]) for part in zip(*parts, strict=True))
        mean[k] = b / (len(origins) * n_sites) * pair["dt"]
        cov[k] = A / (len(origins) * n_sites) ** 2 * pair["dt"]
    _check_moments(pairs, mean, cov, simulator)
    return mean, cov


def window_moments(
    x: np.ndarray, F: np.ndarray, window: Window, sums: ClusterSums, simulator: Simulator
) -> tuple[np.ndarray, np.ndarray]:
    """Return b (d,) and A (d, d) of the sums, per time, by what happens in a window of x.

    `F` are the functions of the sites of x.
    """
    lattice = simulator.lattice(x.shape)
    if simulator.process == "jump":
        events = simulator.events(x, lattice, window)
        sites, states = np.asarray(events.sites), np.asarray(events.states)
        of_clusters = sums.changes(F, sites, states, lattice)
        rates = np.asarray(events.rates, float)
        changes = np.hstack([simulator.conserve(events.changes), of_clusters])
        b, A = sum_events(rates[np.newaxis], changes)
        return b[0], A[0]
    sites, fields = _sites(lattice, window), simulator.n_fields
    parts = simulator.one_step(x, lattice, window)
    drift, noise = (np.reshape(part, (len(sites), 1, fields)) for part in parts)
    first, second = sums.functions.derivatives(x.reshape(-1, fields)[sites], sums.products)
    per_time = (first * drift + second * noise**2 / 2).sum(axis=-1)  # L_i F
    of_drift = sums.responses(F, sites, per_time, lattice)
    b = np.hstack([simulator.conserve(drift[:, 0]).sum(axis=0), of_drift.sum(axis=0)])
    A = np.zeros((len(b), len(b)))
    slopes = window_slopes(x, F, window, sums, lattice)
    for f in range(fields):
        own = np.zeros((len(sites), fields))
        own[:, f] = noise[:, 0, f]
        changes = np.hstack([simulator.conserve(own), slopes[:, f] * noise[:, :, f]])
        A += sum_events(np.ones((1, len(sites))), changes)[1][0]
    return b, A


def window_slopes(
    x: np.ndarray, F: np.ndarray, window: Window, sums: ClusterSums, lattice: Lattice
) -> np.ndarray:
    """Return the derivatives phi_i (n_sites, n_fields, n_clusters) by the fields in a window of x.

    `F` are the functions of the sites of x.
    """
    sites = _sites(lattice, window)
    first, _ = sums.functions.derivatives(x.reshape(lattice.n_sites, -1)[sites], sums.products)
    of_fields = np.moveaxis(first, -1, 0)
    return np.stack([sums.responses(F, sites, own, lattice) for own in of_fields], axis=1)


def _sites(lattice: Lattice, window: Window) -> np.ndarray:
    """Return the numbers (n,) of the sites of a window, in its order."""
    return np.arange(lattice.n_sites).reshape(lattice.site_shape)[lattice.mesh(*window)].ravel()


def _tile(origins: np.ndarray, cells: tuple[int, ...], lattice: Lattice) -> bool:
    """Return whether different patches (p, ndim) of one grid are all of it."""
    places, size = (origins - origins[0]) % lattice.cells, np.array(cells)
    whole = len(origins) * size.prod() == np.prod(lattice.cells)
    on_grid = not (places % size).any() and not (np.array(lattice.cells) % size).any()
    return bool(whole and on_grid and len(np.unique(places, axis=0)) == len(origins))


def _check_moments(
    pairs: np.ndarray, mean: np.ndarray, cov: np.ndarray, simulator: Simulator
) -> None:
    """Raise ValueError unless the observables' moments of pairs are the simulator's."""
    q = simulator.n_observables
    spread = np.sqrt(np.einsum("nii->ni", cov[:, :q, :q]))
    size = spread[:, :, np.newaxis] * spread[:, np.newaxis]
    wrong = np.abs(mean[:, :q] - pairs["d_obs"]) > SAME * (spread + np.abs(mean[:, :q]))
    wrong |= (np.abs(cov[:, :q, :q] - pairs["cov_obs"]) > SAME * size).any(axis=2)
    if wrong.any():
        k = int(np.argmax(wrong.any(axis=1)))
        raise ValueError(
            f"Expected pairs of moments of {simulator!r}, but got other moments of the observables "
            f"(mean {pairs['d_obs'][k]}, the simulator's {mean[k, :q]}); give the closure the "
            "simulator of the pairs, with the same parameters, or sample increments."
        )
