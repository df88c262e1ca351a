"""Fit the embedded barriers of NbMoTa: `python docs/embedded_barriers.py FILE`.

FILE holds the weights of the published barrier network, see `BarrierNetwork`. Environments are
collected from simulations with it, from random to near equilibrium, at temperatures from 400 to
3000 K; in some of them a few atoms are taken out, so that vacancies near vacancies are known too.
A cluster expansion is fitted to their barriers by least squares.

A small bias in the difference of a barrier and that of the jump back shifts the equilibrium. Hence
the energies of nearest-neighbour pairs, which a cluster expansion can take on without any loss, are
adjusted until the order parameters at 1000 and 2000 K are those of the network.

The coefficients go to `simulators/vacancies/nbmota_barriers.json`, with the error on trajectories
that the fit has not seen. About ten minutes on one core.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import sklmacro
from sklmacro.checkpoint.atomic import atomic_write
from sklmacro.simulators import Alloy, BarrierModel, BarrierNetwork
from sklmacro.simulators.alloy import BOLTZMANN
from sklmacro.simulators.vacancies.nbmota import expand, orbits

TEMPERATURES = (400, 500, 600, 700, 800, 900, 1000, 1200, 1400, 1700, 2000, 2500, 3000)  # K
N_TRAJECTORIES, N_HELD_OUT = 40, 8
EVENTS = [20] * 50 + [400] * 100  # between recorded environments
VACATED = 0.15  # share of the environments in which one or two atoms are taken out
RIDGE = 0.1
EQUILIBRIA = {1000: (1_500_000, 3_000_000), 2000: (300_000, 1_500_000)}  # K: events before, during
N_RUNS = 8
N_ADJUSTMENTS, SETTLED = 9, 4  # steps, and the first of those that are averaged


def collect(network: BarrierNetwork, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return environments (n, 112), their temperatures and whether they are held out."""
    environments, temperatures, held = [], [], []
    for k, temperature in enumerate(TEMPERATURES):
        alloy = Alloy(temperature=temperature, barriers=network)
        X = alloy.sample_initial(N_TRAJECTORIES, 8, random_state=seed + k)
        for j, n_events in enumerate(EVENTS):
            X, _ = alloy.advance(X, n_events=n_events, random_state=1000 * (seed + k) + j)
            environments.append(alloy.environments(X)[0])
            held.append(np.arange(N_TRAJECTORIES) < N_HELD_OUT)
            temperatures.append(np.full(N_TRAJECTORIES, temperature))
        print(f"{temperature} K", file=sys.stderr, flush=True)
    return np.concatenate(environments), np.concatenate(temperatures), np.concatenate(held)


def features(frames: np.ndarray, jumper: np.ndarray) -> np.ndarray:
    """Return the regressors of points (3, 31, 4) and pairs (1, 4, 4), flat, for each jump."""
    frame, rows = orbits(), np.arange(len(frames))
    points = np.zeros((len(frames), 3, frame.point.max() + 1, 4), np.float32)
    for k, orbit in enumerate(frame.point):
        points[rows, jumper - 1, orbit, frames[:, k]] += 1
    pairs = np.zeros((len(frames), len(frame.pairs), 4, 4), np.float32)
    for q, orbit in enumerate(frame.pairs):
        for one, other in orbit:
            pairs[rows, q, frames[:, one], frames[:, other]] += 1
    return np.concatenate([points.reshape(len(rows), -1), pairs.reshape(len(rows), -1)], axis=1)


def least_squares(frames: np.ndarray, jumper: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the coefficients, by normal equations summed up in pieces."""
    n = features(frames[:1], jumper[:1]).shape[1]
    gram, right = RIDGE * np.eye(n), np.zeros(n)
    for start in range(0, len(frames), 20_000):
        piece = slice(start, start + 20_000)
        A = features(frames[piece], jumper[piece]).astype(float)
        gram += A.T @ A
        right += A.T @ target[piece]
    return np.linalg.solve(gram, right)


def split(coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients of points (3, 31, 4) and pairs (1, 4, 4)."""
    n = 3 * (orbits().point.max() + 1) * 4
    return coefficients[:n].reshape(3, -1, 4), coefficients[n:].reshape(-1, 4, 4)


def equilibrium(barriers: BarrierModel, temperature: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the order parameters (6,) at equilibrium, 1024 sites, and their standard errors."""
    alloy = Alloy(temperature=temperature, barriers=barriers)
    before, during = EQUILIBRIA[temperature]
    X = alloy.sample_initial(N_RUNS, 8, random_state=0)
    X, elapsed = alloy.advance(X, n_events=before, random_state=1, n_jobs=-1)
    times = np.linspace(0, elapsed.mean() * during / before, 300)
    runs = alloy.simulate(X, times, observe=True, random_state=2, n_jobs=-1).mean(axis=1)
    return runs.mean(axis=0), runs.std(axis=0, ddof=1) / np.sqrt(N_RUNS)


def equilibria(barriers: BarrierModel) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return what `equilibrium` finds at all temperatures of `EQUILIBRIA`."""
    found = {t: equilibrium(barriers, t) for t in EQUILIBRIA}
    print({t: order.round(3).tolist() for t, (order, _) in found.items()}, file=sys.stderr)
    return found


def bonds(energies: np.ndarray) -> np.ndarray:
    """Return points (3, 31, 4) of barriers (H' - H) / 2 with pair energies (3, 3)."""
    frame = orbits()
    points = np.zeros((3, frame.point.max() + 1, 4))
    for end, half in (((0, 0, 0), 0.5), ((1, 1, 1), -0.5)):  # gained beside the vacancy, or lost
        next_to_end = ((frame.place - end) ** 2).sum(axis=1) == 3
        for k in np.flatnonzero(next_to_end & ((frame.place != 1).any(axis=1))):
            points[:, frame.point[k], 1:] = half * energies
    return points


def adjust(points: np.ndarray, pairs: np.ndarray, wanted: dict[int, np.ndarray]) -> np.ndarray:
    """Return points with pair energies that give the order parameters wanted."""
    upper = np.triu_indices(3)
    energies = np.zeros((N_ADJUSTMENTS + 1, 3, 3))
    for step in range(N_ADJUSTMENTS):
        found = equilibria(expand(points + bonds(energies[step]), pairs))
        off = np.zeros((3, 3))
        for t, order in wanted.items():  # an energy kT lower multiplies such pairs by e
            off[upper] += BOLTZMANN * t * (found[t][0] - order) / (8 / 3) / len(wanted)
        energies[step + 1] = energies[step] + 0.7 * (off + off.T) / (1 + np.eye(3))
    settled = energies[SETTLED:].mean(axis=0)  # what is left is noise of the simulations
    return points + bonds(settled)


def main(path: str, seed: int = 0) -> None:
    """Collect, fit, adjust, and write the coefficients with their errors."""
    network = BarrierNetwork.from_file(path)
    environments, temperatures, held = collect(network, seed)
    rng = np.random.default_rng(seed)
    for row in rng.choice(len(environments), round(VACATED * len(environments)), replace=False):
        environments[row, rng.choice(environments.shape[1], rng.integers(1, 3))] = 0
    barriers = network.evaluate(environments, np.zeros(len(environments), int))
    frames = environments[:, orbits().sites]
    jumper = environments[:, network.jumps[0]]
    seen = (jumper > 0) & ~held[:, np.newaxis]
    fitted = split(least_squares(frames[seen], jumper[seen], barriers[seen]))
    truth = equilibria(network)
    points = adjust(*fitted, {t: order for t, (order, _) in truth.items()}).round(5)
    pairs = fitted[1].round(5)
    found = equilibria(expand(points, pairs))
    predicted = expand(points, pairs).evaluate(environments, np.zeros(len(environments), int))
    unseen = (jumper > 0) & held[:, np.newaxis]

    def plain(orders: dict[int, tuple[np.ndarray, np.ndarray]]) -> dict[int, list]:
        return {t: [v.round(4).tolist() for v in order] for t, order in orders.items()}

    def rms(rows: np.ndarray) -> float:
        return round(float(np.sqrt(((predicted - barriers)[rows] ** 2).mean())), 4)

    result: dict[str, Any] = {
        "species": ["Nb", "Mo", "Ta"],
        "command": "python docs/embedded_barriers.py FILE",
        "environments": len(environments),
        "rms error in eV, held-out trajectories": rms(unseen),
        "rms error in eV, by temperature in K": {
            str(t): rms(unseen & (temperatures == t)[:, np.newaxis]) for t in TEMPERATURES
        },
        "order parameters and their errors, network": plain(truth),
        "order parameters and their errors, embedded": plain(found),
        "points": points.tolist(),
        "pairs": pairs.tolist(),
    }
    out = Path(sklmacro.__file__).parent / "simulators" / "vacancies" / "nbmota_barriers.json"
    with atomic_write(out) as draft:
        draft.write_text(json.dumps(result) + "\n")
    shown = {k: v for k, v in result.items() if k not in ("points", "pairs")}
    print(json.dumps(shown, indent=2))


if __name__ == "__main__":
    main(sys.argv[1])
