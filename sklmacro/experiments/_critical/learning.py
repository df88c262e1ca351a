"""Ising magnets near the critical point, without a field: learned from 16x16 and followed to rest.

One setting for all sizes and temperatures, with no lam, no number of epochs and no regulariser:

1. Equilibrium snapshots of the small system are upsampled and relaxed until the domain
   walls are at rest; where that is not enough, for a burn-in. To replicate blocks of 2x2 is to
   double the correlation length, which waves as long as the lattice forget last.
2. LocalRelax continues for more passes of short visits, with the exact moments of the increments of
   all patches taken after each. The drift of M is so weak here, next to its fluctuations from
   snapshot to snapshot, that it takes many states; those along a relaxation cost the least.
3. Drift and diffusion are polynomials with the symmetry M -> -M, fitted to bootstrap samples of the
   small trajectories.
4. The stationary law of every member follows from its Fokker-Planck equation.

The state is M alone: with the walls at rest given M, its moments suffice for the law of equilibrium
(F. Legoll and T. Lelievre, Nonlinearity 23, 2131 (2010)).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklmacro import (
    Convergence,
    HierarchicalUpsampler,
    LocalRelax,
    PartialEvolutionSampler,
    PatchAutoencoder,
    Patches,
    PatchSDERegressor,
    Polynomial,
    SDEEnsemble,
)
from sklmacro._base.streams import Stage, stream
from sklmacro.experiments._spins.protocol import VISITS
from sklmacro.measures.stationary import stationary_density
from sklmacro.sampling.pairs import common_fields, has_moments, latent_pairs
from sklmacro.simulators import Ising

STATES_OF_A_PIECE = 50  # along a relaxation; some minutes at the most


@dataclass(frozen=True)
class Learning:
    """Settings of the method; sides in sites, times in sweeps.

    Attributes
    ----------
    side_small, n_small : int
        Small systems and how many snapshots of them, each from a run of its own.
    equilibration : float
        Length of such a run, in side_small**2 sweeps.
    relax_duration : float
        Of a visit, until LocalRelax has converged, and in the burn-in.
    burn_in : float
        Sweeps of further relaxation before the first state.
    n_states, state_duration : int, float
        States taken of each large snapshot, and the visits of the pass between two of them.
    degree, n_members : int
        Of the polynomials, and of the ensemble.
    """

    side_small: int = 16
    n_small: int = 500
    equilibration: float = 20.0
    relax_duration: float = 8.0
    burn_in: float = 0.0
    n_states: int = 500
    state_duration: float = 1.0
    degree: int = 9
    n_members: int = 20


SMOKE = Learning(
    side_small=8, n_small=40, n_states=10, equilibration=5.0, degree=3, n_members=2,
    relax_duration=16.0,
)  # fmt: skip


def enlargements(small: int, large: int) -> list[int]:
    """Return the factors of Algorithm 1 from one side to another: 2 as often as possible, first."""
    factors, rest = [], large // small
    while rest > 1:
        factors.append(2 if rest % 2 == 0 else rest)
        rest //= factors[-1]
    return factors


def small_snapshots(ising: Ising, learning: Learning, seed: int, n_jobs: int) -> np.ndarray:
    """Return equilibrium snapshots (n_small, side, side), each from a run of its own."""
    X = ising.sample_initial(learning.n_small, learning.side_small, random_state=seed)
    duration = learning.equilibration * learning.side_small**2
    return ising.advance(X, duration=duration, random_state=seed, n_jobs=n_jobs)[0]


def large_snapshots(
    ising: Ising, side: int, learning: Learning, seed: int, n_jobs: int
) -> tuple[np.ndarray, float]:
    """Return relaxed large snapshots, and the site updates spent on them."""
    X = small_snapshots(ising, learning, seed, n_jobs)
    updates = X.size * learning.equilibration * learning.side_small**2
    pass_sweeps = VISITS * learning.relax_duration
    steps: list[tuple[int, int | str]]
    steps = [(factor, "converged") for factor in enlargements(learning.side_small, side)]
    if learning.burn_in:
        steps.append((1, math.ceil(learning.burn_in / pass_sweeps)))
    for i, (factor, passes) in enumerate(steps):
        upsampler = HierarchicalUpsampler(
            ising,
            factor=factor,
            relaxation=LocalRelax(
                duration=learning.relax_duration, n_passes=passes, patch=learning.side_small
            ),
            random_state=seed + 1 + i,
            n_jobs=n_jobs,
        )
        X = upsampler.fit_transform(X)
        pilot = min(Convergence().n_pilot / len(X), 1) if passes == "converged" else 0
        updates += X.size * upsampler.n_passes_[0] * (1 + pilot) * pass_sweeps
    return X, updates


def states_along_relaxation(
    ising: Ising, X: np.ndarray, learning: Learning, rng: np.random.Generator, n_jobs: int
) -> Iterator[np.ndarray]:
    """Yield the large snapshots after each of `n_states` further passes of LocalRelax."""
    on = HierarchicalUpsampler(
        ising,
        factor=1,
        relaxation=LocalRelax(duration=learning.state_duration, patch=learning.side_small),
        random_state=rng,
        n_jobs=n_jobs,
    )
    for _ in range(learning.n_states):
        X = on.fit_transform(X)
        yield X


def moments_along_relaxation(
    ising: Ising,
    X: np.ndarray,
    learning: Learning,
    seed: int,
    n_jobs: int,
    once: Callable[..., Any] = lambda name, function, *args: function(*args),
) -> tuple[np.ndarray, float]:
    """Return latent pairs of moments of every state that LocalRelax goes through, and the updates.

    Memory does not grow with the number of states: only their macrostates are kept. `once` is
    `Run.once`, for pieces of `STATES_OF_A_PIECE` states.
    """
    results, state = [], stream(seed, Stage.UPSAMPLE).bit_generator.state
    updates = X.size * VISITS * learning.state_duration * learning.n_states
    for first in range(0, learning.n_states, STATES_OF_A_PIECE):
        n_states = min(STATES_OF_A_PIECE, learning.n_states - first)
        pairs, X, state = once(
            f"L = {X.shape[1]}, states from {first}", _moments_of_states, ising, X,
            replace(learning, n_states=n_states), seed, state, n_jobs,
        )  # fmt: skip
        results.append(pairs)
    return np.concatenate(results), updates


def _moments_of_states(
    ising: Ising, X: np.ndarray, learning: Learning, seed: int, state: dict[str, Any], n_jobs: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return latent pairs of some states, the last of these states, and that of the generator."""
    rng = stream(seed, Stage.UPSAMPLE)
    rng.bit_generator.state = state
    n_patches = (X.shape[1] // learning.side_small) ** 2
    sampler = PartialEvolutionSampler(
        ising,
        patch=Patches(learning.side_small, n_evolved=n_patches),
        moments=True,
        random_state=seed,
        n_jobs=n_jobs,
    )
    closure, groups, results = PatchAutoencoder(ising, n_closure=0), np.arange(len(X)), []
    for states in states_along_relaxation(ising, X, learning, rng, n_jobs):
        results.append(closure.fit_transform(sampler.fit_transform(states, groups=groups)))
    return np.concatenate(results), states, dict(rng.bit_generator.state)


def magnetisation(pairs: np.ndarray) -> np.ndarray:
    """Return latent pairs of M alone, the first observable."""
    cov = pairs["cov"][:, :1, :1] if has_moments(pairs) else None
    return latent_pairs(pairs["z"][:, :1], pairs["dz"][:, :1], cov=cov, **common_fields(pairs))


def fit_ensemble(
    ising: Ising, pairs: np.ndarray, learning: Learning, seed: int, lam: str | float = "K"
) -> SDEEnsemble:
    """Return the ensemble fitted to latent pairs of M."""
    assert ising.parity is not None
    sde = PatchSDERegressor(
        drift_model=Polynomial(learning.degree), parity=ising.parity[:1],
        bounds=ising.observable_bounds[:1], lam=lam,
    )  # fmt: skip
    return SDEEnsemble(sde, n_members=learning.n_members, random_state=seed).fit(pairs)


def equilibrium_moments(ensemble: SDEEnsemble, pairs: np.ndarray) -> np.ndarray:
    """Return <|M|>, <M^2> and <M^4> of every member at rest, (n_members, 3).

    The grid ends a little beyond the states seen, where the density has vanished.
    """
    end = min(1.1 * np.abs(pairs["z"]).max(), 1.0)
    M = np.linspace(-end, end, 4001)
    powers = np.stack([np.abs(M), M**2, M**4])
    laws = np.stack([stationary_density(member, M) for member in ensemble.members_])
    return np.trapezoid(laws[:, None] * powers, M, axis=2)
