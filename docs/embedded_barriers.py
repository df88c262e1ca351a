"""Fit the embedded barriers of NbMoTa: `python docs/embedded_barriers.py FILE`.

FILE holds the weights of the published barrier network, see `BarrierNetwork`. Environments are
collected from simulations with it, from random to near equilibrium, at temperatures from 400 to
3000 K; in some of them a few atoms are taken out, so that vacancies near vacancies are known too.
The coefficients go to `sklmacro/simulators/nbmota_barriers.json`, with the error on trajectories
that the fit has not seen. About three minutes on one core.
"""

import json
import sys
from pathlib import Path

import numpy as np

import sklmacro
from sklmacro.simulators import Alloy, BarrierNetwork
from sklmacro.simulators.nbmota import expand, jump_frames

TEMPERATURES = (400, 500, 600, 700, 800, 900, 1000, 1200, 1400, 1700, 2000, 2500, 3000)  # K
N_TRAJECTORIES, N_HELD_OUT = 40, 8
EVENTS = [20] * 50 + [400] * 100  # between recorded environments
VACATED = 0.15  # share of the environments in which one or two atoms are taken out
RIDGE = 1e-2


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


def features(frames: np.ndarray, orbit: np.ndarray) -> np.ndarray:
    """Return how often each state stands on each orbit, (n, 31 * 4)."""
    n_orbits = orbit.max() + 1
    counts = np.zeros((len(frames), n_orbits, 4), np.float32)
    for k, o in enumerate(orbit):
        counts[np.arange(len(frames)), o, frames[:, k]] += 1
    return counts.reshape(len(frames), -1)


def main(path: str, seed: int = 0) -> None:
    """Collect, fit, and write the coefficients with their error."""
    network = BarrierNetwork.from_file(path)
    environments, temperatures, held = collect(network, seed)
    rng = np.random.default_rng(seed)
    for row in rng.choice(len(environments), round(VACATED * len(environments)), replace=False):
        environments[row, rng.choice(environments.shape[1], rng.integers(1, 3))] = 0
    barriers = network.evaluate(environments, np.zeros(len(environments), int))
    sites, orbit = jump_frames()
    frames = environments[:, sites].reshape(-1, len(orbit))
    target = barriers.ravel()
    jumper = environments[:, network.jumps[0]].ravel()
    temperature, unseen = np.repeat(temperatures, 8), np.repeat(held, 8)
    coefficients = np.zeros((3, orbit.max() + 1, 4))
    predicted = np.full(len(target), np.nan)
    for atom in (1, 2, 3):
        rows = jumper == atom
        A = features(frames[rows], orbit)
        fit = A[~unseen[rows]].astype(float)
        right = fit.T @ target[rows & ~unseen]
        solution = np.linalg.solve(fit.T @ fit + RIDGE * np.eye(A.shape[1]), right)
        coefficients[atom - 1] = solution.reshape(-1, 4)
        predicted[rows] = A @ solution
    coefficients = coefficients.round(6)
    assert np.isfinite(expand(coefficients)).all()
    error = (predicted - target)[unseen & (jumper > 0)] ** 2
    at = temperature[unseen & (jumper > 0)]
    result = {
        "species": ["Nb", "Mo", "Ta"],
        "command": "python docs/embedded_barriers.py FILE",
        "environments": len(environments),
        "rms error in eV on held-out trajectories": round(float(np.sqrt(error.mean())), 4),
        "rms error in eV by temperature in K": {
            str(t): round(float(np.sqrt(error[at == t].mean())), 4) for t in TEMPERATURES
        },
        "coefficients": coefficients.tolist(),
    }
    out = Path(sklmacro.__file__).parent / "simulators" / "nbmota_barriers.json"
    out.write_text(json.dumps(result) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "coefficients"}, indent=2))


if __name__ == "__main__":
    main(sys.argv[1])
