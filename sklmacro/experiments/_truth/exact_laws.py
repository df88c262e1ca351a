"""Theorem 1 without sampling: laws of small lattices, and of the driven chain, to rounding.

Ising: all 2^n states of a small torus. The law at a time t is that of a Poisson number of steps,
p(t) = sum_k Pois(k; R t) p P^k with P = 1 + Q / R. A patch among frozen neighbours has 2^n_s
states, and the assumption of Eq. 16 is a distance between two laws on them,

    delta_TV(q, qhat) = 1/2 sum_s |q(s) - qhat(s)|

LinearChain: both evolutions are Gaussian with means linear in x, which gives both sides of Eq. 18.
"""

import numpy as np
from scipy import sparse, stats

from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid
from sklmacro.simulators import Ising, LinearChain

DEVIATIONS, MORE = 9.0, 20.0  # a Poisson sum ends there: what follows is below 1e-17


def spin_states(n: int) -> np.ndarray:
    """Return all states (2**n, n) of n spins; site 0 is the highest bit of a state's number."""
    return 1 - 2 * (np.arange(2**n)[:, np.newaxis] >> np.arange(n)[::-1] & 1)


def number_of(spins: np.ndarray) -> int:
    """Return the number of one state (n,)."""
    return int(((1 - spins) // 2) @ 2 ** np.arange(len(spins))[::-1])


def laws(rates: np.ndarray, start: int, times: np.ndarray) -> np.ndarray:
    """Return the laws (n_times, 2**n) of n spins that start in a state.

    `rates` (2**n, n) are those of the flips of each state, 1/time.
    """
    S, n = rates.shape
    states = np.arange(S)
    to = states[:, np.newaxis] ^ 2 ** np.arange(n)[::-1]
    most = rates.sum(axis=1).max()
    jumps = sparse.csr_array((rates.ravel() / most, (np.repeat(states, n), to.ravel())), (S, S))
    P = (jumps + sparse.diags_array(1 - rates.sum(axis=1) / most)).T.tocsr()
    mean = most * max(times)
    n_steps = int(mean + DEVIATIONS * np.sqrt(mean) + MORE)
    weights = stats.poisson.pmf(np.arange(n_steps + 1), most * np.asarray(times)[:, np.newaxis])
    now, result = np.zeros(S), np.zeros((len(times), S))
    now[start] = 1.0
    for weight in weights.T:
        result += weight[:, np.newaxis] * now
        now = P @ now
    return result


def distance(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the total variation distances (n_times,) of laws (n_times, ...)."""
    return 0.5 * np.abs(p - q).reshape(len(p), -1).sum(axis=1)


def total_variations(
    ising: Ising, x: np.ndarray, patch: int, times: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the distances that Theorem 1 assumes small, for the first patch of a small torus.

    Parameters
    ----------
    ising : Ising
    x : ndarray of shape (n0, n1)
        State at time 0.
    patch : int
        Cells along the edge of a patch.
    times : ndarray of shape (n_times,)

    Returns
    -------
    distances : dict of ndarray of shape (n_times,)
        "ghost", "periodic": between the law of the patch evolved so, and that of the patch within
        the evolved lattice; "dependence": between the joint law of two neighbouring patches within
        the lattice, and the product of theirs.
    """
    lattice, spins = ising.lattice(x.shape), x.ravel().astype(int)
    rates, table = ising.rates(), lattice.neighbors()
    grid = PatchGrid(lattice, (patch, patch))
    numbers = np.arange(x.size).reshape(x.shape)
    own, next_one = (numbers[lattice.mesh(tuple(o), grid.cells)].ravel() for o in grid.origins[:2])

    def rates_of(states: np.ndarray, sums: np.ndarray) -> np.ndarray:
        return rates[sums + lattice.coordination, (states + 1) // 2]

    states = spin_states(x.size)
    whole = laws(rates_of(states, states[:, table].sum(axis=2)), number_of(spins), times)
    whole = whole.reshape(-1, *(2,) * x.size)

    def marginal(sites: np.ndarray) -> np.ndarray:
        others = tuple(1 + k for k in range(x.size) if k not in sites)
        place = np.argsort(np.argsort(sites))
        law = whole.sum(axis=others)
        return law.transpose(0, *(1 + place)).reshape(len(times), -1)

    inner = spin_states(len(own))
    among = np.tile(spins, (len(inner), 1))
    among[:, own] = inner
    alone = Lattice(lattice.kind, grid.cells, "periodic").neighbors()
    first, second = marginal(own), marginal(next_one)
    both = marginal(np.concatenate([own, next_one])).reshape(len(times), len(inner), -1)
    start = number_of(spins[own])
    ghost = laws(rates_of(inner, among[:, table[own]].sum(axis=2)), start, times)
    closed = laws(rates_of(inner, inner[:, alone].sum(axis=2)), start, times)
    return {
        "ghost": distance(ghost, first),
        "periodic": distance(closed, first),
        "dependence": distance(both, first[:, :, np.newaxis] * second[:, np.newaxis]),
    }


def chain_differences(
    chain: LinearChain, n: int, patch: int, times: np.ndarray
) -> dict[str, np.ndarray]:
    """Return both sides of Eq. 18 for the mean of a driven chain, given x at rest.

    Returns
    -------
    values : dict of ndarray of shape (n_times,)
        Over the stationary law of x: the root mean square of mu* ("mu") and of mu_dagger - mu*
        ("mu difference"), Sigma* ("Sigma"), and the two parts of Sigma_dagger - Sigma*: from
        frozen neighbours ("Sigma difference, frozen"), and the mean variance of the patches' mean
        increments about that of the chain ("Sigma difference, unlike patches").
    """
    forever = 1e4 / min(1.0, chain.gamma)
    _, rest, spread = chain.transition(n, forever)
    K, w = n // patch, np.full(n, 1 / n)

    def rms(row: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Of row x + offset, row (..., n), over the stationary law."""
        return np.sqrt((row @ rest + offset) ** 2 + np.einsum("...i,ij,...j", row, spread, row))

    results: dict[str, list[float]] = {}
    for t in times:
        M, offset, C = chain.transition(n, t)
        G, g, variance = np.zeros((n, n)), np.zeros(n), 0.0
        for start in range(0, n, patch):
            stop = start + patch
            inner, response, factor = chain.propagator(patch, start == 0, stop == n, t)
            G[start:stop, start:stop] = inner
            if start == 0:
                g[:stop] += response[:, 0] * chain.force
            else:
                G[start:stop, start - 1] += chain.kappa * response[:, 0]
            if stop < n:
                G[start:stop, stop] += chain.kappa * response[:, -1]
            variance += np.sum(factor.sum(axis=0) ** 2) / n**2
        rows = (G - np.eye(n)).reshape(K, patch, n).mean(axis=1)
        offsets = g.reshape(K, patch).mean(axis=1)
        unlike = rms(rows - rows.mean(axis=0), offsets - offsets.mean())
        values = {
            "mu": rms(w @ M - w, w @ offset) / t,
            "mu difference": rms(w @ (G - M), w @ (g - offset)) / t,
            "Sigma": w @ C @ w / t,
            "Sigma difference, frozen": (variance - w @ C @ w) / t,
            "Sigma difference, unlike patches": np.mean(unlike**2) / (K * t),
        }
        for name, value in values.items():
            results.setdefault(name, []).append(float(value))
    return {name: np.array(values) for name, values in results.items()}
