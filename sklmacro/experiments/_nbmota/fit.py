"""Fit and roll out the macroscopic SDE of NbMoTa, and its uncertainty.

Every atom has z neighbours, so that the three order parameters of each species add up to a constant
but for the vacancies beside it: three of the six are independent,

    delta_ab = (s_a + s_b - delta_aa - delta_bb - s_c + delta_cc) / 2,   s_a = sum_b delta_ab

The sums s_a fluctuate 20 times less than the parameters and forget within a few jumps. The SDE is
one of Nb-Nb, Mo-Mo and Ta-Ta, and s_a is the mean of the data. Time is in units of the pairs' own
dt, and paths take steps of it: for a linear process the chain of such steps has the exact mean path
and the exact stationary law, however long dt is. Rates go by exp(-E / k_B T): the context is the
inverse temperature, in 1000/K.

Errors are standard deviations over fits to resampled trajectories, with other initial weights.
"""

from dataclasses import dataclass

import numpy as np

from sklmacro import OnsagerSDE, Training
from sklmacro._base.streams import Stage, stream
from sklmacro.sampling.pairs import common_fields, latent_pairs
from sklmacro.sde.ensemble import rows_by_group

# rows: Nb-Nb, Mo-Mo, Ta-Ta and the sums of Nb, Mo, Ta; columns: the six order parameters
COORDINATES = np.array(
    [
        [1, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1],
        [1, 1, 1, 0, 0, 0],
        [0, 1, 0, 1, 1, 0],
        [0, 0, 1, 0, 1, 1],
    ]
)


@dataclass(frozen=True)
class FitSettings:
    """Settings of fits and paths."""

    hidden: tuple[int, ...] = (32, 32)
    epochs: int = 40
    batch_size: int = 256
    n_refits: int = 3
    n_paths: int = 100


@dataclass(frozen=True)
class Fits:
    """A fit to all pairs and fits to resampled ones.

    Attributes
    ----------
    models : list of OnsagerSDE
    sums : ndarray of shape (3,)
    """

    models: list[OnsagerSDE]
    sums: np.ndarray


def reduce_pairs(pairs: np.ndarray, unit: float) -> np.ndarray:
    """Return latent pairs of the six coordinates, with dt in units of `unit`."""
    common = {**common_fields(pairs), "dt": pairs["dt"] / unit, "context": 1e3 / pairs["context"]}
    return latent_pairs(pairs["z"] @ COORDINATES.T, pairs["dz"] @ COORDINATES.T, **common)


def fit(pairs: np.ndarray, settings: FitSettings, with_context: bool, seed: int) -> Fits:
    """Fit the SDE to pairs of the six coordinates and to resampled trajectories of them."""
    common = common_fields(pairs)
    if not with_context:
        del common["context"]
    slow = latent_pairs(pairs["z"][:, :3], pairs["dz"][:, :3], **common)
    training = Training(
        max_epochs=settings.epochs, patience=settings.epochs, batch_size=settings.batch_size
    )
    models, rows_of = [], rows_by_group(slow["group"])
    for k in range(1 + settings.n_refits):
        rows = np.arange(len(slow))
        if k > 0:
            drawn = stream(seed, Stage.SPLIT, k).choice(len(rows_of), len(rows_of))
            rows = np.concatenate([rows_of[group] for group in drawn])
        sde = OnsagerSDE(hidden=settings.hidden, training=training, random_state=seed + k)
        models.append(sde.fit(slow[rows]))
    return Fits(models, pairs["z"][:, 3:].mean(axis=0))


def predict(
    fits: Fits,
    z0: np.ndarray,
    n_steps: int,
    settings: FitSettings,
    seed: int,
    temperature: float | None = None,
) -> list[np.ndarray]:
    """Return the six order parameters along paths (n_paths, n_steps + 1, 6) of every fit.

    `z0` (n, 6) are order parameters to start from, in turn.
    """
    starts = np.resize(z0 @ COORDINATES.T, (settings.n_paths, 6))[:, :3]
    context = None if temperature is None else [1e3 / temperature]
    results = []
    for model in fits.models:
        paths = model.simulate(starts, n_steps, 1.0, context=context, random_state=seed)
        sums = np.broadcast_to(fits.sums, paths.shape)
        results.append(np.concatenate([paths, sums], axis=2) @ np.linalg.inv(COORDINATES).T)
    return results


def late_summary(predicted: list[np.ndarray], first: int) -> dict[str, list[float]]:
    """Return mean and standard deviation of paths from step `first` on, with errors by refits."""
    means = np.array([paths[:, first:].mean(axis=(0, 1)) for paths in predicted])
    stds = np.array([paths[:, first:].std(axis=(0, 1)) for paths in predicted])
    several = len(predicted) > 2
    return {
        "mean": means[0].tolist(),
        "error of the mean": (means[1:].std(axis=0, ddof=1) if several else 0 * means[0]).tolist(),
        "std": stds[0].tolist(),
        "error of the std": (stds[1:].std(axis=0, ddof=1) if several else 0 * stds[0]).tolist(),
    }
