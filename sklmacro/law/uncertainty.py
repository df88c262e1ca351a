"""How sure a law is of the mean paths that it predicts, and where it is not.

The drift of a Gaussian process is drawn several times from what its data leave open. With the same
noise, the mean paths m_j of the draws differ by the drift alone:

    error = sum_t Var_j m_j(t) / sum_t (mean_j m_j(t))^2

in the observables, averaged over starts. It estimates `sklmacro.scoring.mean_path_error`, as far as
that is due to too few data: not what is due to closures that are missing.

Shape vocabulary::

    starts    (n_starts, d)                        macrostates
    paths     (n_draws, n_starts, n_paths, n_times, d)
"""

from typing import Any, NamedTuple

import numpy as np

from sklmacro._base.streams import Stage, stream, stream_seed
from sklmacro.law.time_scale import TimeFactor
from sklmacro.sde.base import PatchSDE

N_DRAWS = 8
N_PATHS = 32  # from each start
N_TIMES = 50  # at which paths are seen
MOST_STATES = 4000  # of the paths, at which the drift's error is evaluated
FAR = 10.0  # standard deviations of the data, beyond which paths have diverged


class Asked(NamedTuple):
    """Which paths are asked for."""

    starts: np.ndarray
    context: np.ndarray  # (n_starts, n_context)
    n_sites: int
    duration: float
    dt: float
    n_observables: int


class Prediction(NamedTuple):
    """What a law says of the paths that are asked for, and how sure it is."""

    errors: np.ndarray  # (n_starts,), relative errors of the mean paths
    states: np.ndarray  # (n_states, d), of the paths
    doubts: np.ndarray  # (n_states,), squared errors of the drift there, in units of its spread
    spread: np.ndarray  # (q,), n Var of the observables in the end, the largest of all starts

    @property
    def error(self) -> float:
        """Return the mean over starts of the error of the mean path."""
        return float(self.errors.mean())


def predict(sde: PatchSDE, asked: Asked, entropy: int) -> Prediction:
    """Simulate the paths that are asked for by laws drawn from what the data leave open."""
    n_steps = max(1, round(asked.duration / asked.dt))
    every = max(1, n_steps // N_TIMES)
    own = sde if sde.n_sites_ is None else sde.at_size(asked.n_sites)
    means, states = [], []
    for draw in range(N_DRAWS):
        law = own.sample(stream_seed(entropy, Stage.LEARN, draw))
        paths, _ = law.rollout(
            asked.starts, n_steps, asked.dt, n_paths=N_PATHS,
            context=asked.context if asked.context.size else None, store_every=every,
            random_state=entropy, outside="ignore",
        )  # fmt: skip
        paths = paths.reshape(len(asked.starts), N_PATHS, -1, paths.shape[-1])
        means.append(paths[..., : asked.n_observables].mean(axis=1))
        states.append(paths)
    m = np.array(means)
    spread = m.var(axis=0, ddof=1).sum(axis=(1, 2))
    errors = spread / np.maximum((m.mean(axis=0) ** 2).sum(axis=(1, 2)), np.finfo(float).tiny)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    paths = np.array(states)
    last = paths[..., -1, : asked.n_observables].var(axis=2).mean(axis=0).max(axis=0)
    return Prediction(errors, *_doubts(own, paths, asked, entropy), asked.n_sites * last)


def _doubts(
    sde: PatchSDE, paths: np.ndarray, asked: Asked, entropy: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return some states of the paths, and the squared errors of the observables' drift there."""
    n_starts, d = paths.shape[1], paths.shape[-1]
    states = paths.transpose(1, 0, 2, 3, 4).reshape(-1, d)
    start = np.repeat(np.arange(n_starts), len(states) // n_starts)
    finite = np.flatnonzero(np.isfinite(states).all(axis=1))
    rng = stream(entropy, Stage.LEARN)
    some = rng.permutation(finite)[:MOST_STATES]
    if sde.coverage_ is not None:  # where paths have diverged there is nothing to be learned
        far = sde.coverage_.distances(np.hstack([states[some], asked.context[start[some]]]))
        some = some[far <= max(FAR, far.min())]
    states, context = states[some], asked.context[start[some]]
    q = asked.n_observables
    outer = context if context.size else None
    error, drift = sde.drift_error(states, outer)[:, :q], sde.drift(states, outer)[:, :q]
    unit = drift.std(axis=0)
    return states, np.sum((error / np.where(unit > 0, unit, np.inf)) ** 2, axis=1)


def targets(prediction: Prediction, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n states of the paths, drawn as often as the drift's squared error says."""
    share = prediction.doubts / prediction.doubts.sum()
    return prediction.states[rng.choice(len(share), n, p=share)]


def describe(
    number: int, n_snapshots: int, cost: float, error: float, wanted: float,
    factor: TimeFactor | None,
) -> str:  # fmt: skip
    """Return a line of progress."""
    line = (
        f"round {number}: {n_snapshots} snapshots, {cost:.2e} site updates; "
        f"error of the mean path {error:.1e}, wanted {wanted:.1e}"
    )
    if factor is None:
        return line
    return f"{line}; time factor {factor.factors[-1]:.3f}({factor.errors[-1]:.3f})"


def as_rows(context: Any, n: int) -> np.ndarray:
    """Return context (n, n_context) for one row of it, or for one for each start."""
    rows = np.empty((1, 0)) if context is None else np.atleast_2d(np.asarray(context, float))
    return np.broadcast_to(rows, (n, rows.shape[1])) if rows.shape[:-1] == (1,) else rows
