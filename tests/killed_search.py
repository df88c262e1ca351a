"""Searches that are killed at random moments and taken up: `python -m tests.killed_search FOLDER`.

See `tests.killed`, which prints alike.
"""

import os
import sys
from functools import partial

import numpy as np
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, GroupKFold, HalvingGridSearchCV, cross_validate
from sklearn.pipeline import Pipeline

from sklmacro import (
    MLP,
    Checkpointed,
    HierarchicalUpsampler,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchSDERegressor,
    SDEEnsemble,
    StreamedPairs,
    Training,
)
from sklmacro.persistence import search as checkpointed
from sklmacro.scoring import PathScorer, ReferencePaths
from sklmacro.simulators import Ising
from tests.killed import killed, report, sha256
from tests.problems import exact_pairs

TRAINING = Training(max_epochs=2, batch_size=64)
NET = {"hidden": (6,), "training": TRAINING, "random_state": 0}
MLP_NET = {"drift_model": MLP((6,), training=TRAINING), "random_state": 0}
CLOSED = {"drift_model": "linear", "diffusion_model": "constant", "random_state": 0}
ISING = Ising(2.5)
SMALL = ISING.sample_initial(24, 8, random_state=0)
GROUPS = np.arange(24) // 3
TIMES = np.array([0.0, 0.5, 1.0])


def pairs():
    found, _, _ = exact_pairs(n=120)
    return found


def steps():
    """Return upsampler, sampler and closure."""
    return (
        HierarchicalUpsampler(ISING, relax_duration=0.2, random_state=0),
        PartialEvolutionSampler(ISING, patch=8, dt=0.5, random_state=1),
        PatchAutoencoder(ISING, n_closure=1, **NET),
    )


def pipeline():
    """Return the whole path, step by step."""
    names = ("upsample", "evolve", "closure", "sde")
    sde = PatchSDERegressor(**CLOSED, bounds=ISING.observable_bounds)
    return Pipeline([*zip(names, (*steps(), sde), strict=True)])


def streamed():
    """Return the whole path, with all steps before the SDE in one."""
    return Pipeline([("pairs", StreamedPairs(*steps())), ("sde", PatchSDERegressor(**CLOSED))])


def path_scorer():
    x0 = ISING.sample_initial(6, 16, random_state=1)
    return PathScorer(
        ReferencePaths(x0, ISING.simulate(x0, TIMES, observe=True, random_state=2), TIMES)
    )


def results(search):
    """Return what a search has found, but times and names."""
    return {k: v for k, v in search.items() if not k.endswith("_time") and "param" not in k}


def searched(search, estimator, grid, data, **options):
    """Search over a grid; SHA-256 of what is found."""

    def run(folder):
        kept, inner = estimator(), grid
        if folder is not None:
            kept = Checkpointed(kept, folder)
            inner = {f"estimator__{name}": values for name, values in grid.items()}
        X, groups = data()
        made = {k: v() if v is path_scorer else v for k, v in options.items()}
        found = search(kept, inner, cv=GroupKFold(2), error_score="raise", **made)
        found = results(found.fit(X, groups=groups).cv_results_)
        return sha256(*[found[name] for name in sorted(found)])

    return run


def validated(folder):
    """Validate an ensemble; SHA-256 of its scores."""
    ensemble = SDEEnsemble(PatchSDERegressor(**CLOSED), n_members=2, random_state=0)
    kept = ensemble if folder is None else Checkpointed(ensemble, folder)
    found = results(cross_validate(kept, pairs(), cv=6, error_score="raise"))
    return sha256(*[found[name] for name in sorted(found)])


def of_pairs():
    found = pairs()
    return found, found["group"]


def of_snapshots():
    return SMALL, GROUPS


WORKS = {
    "grid": searched(
        GridSearchCV, partial(PatchSDERegressor, **MLP_NET), {"lam": [1.0, 3.0]}, of_pairs
    ),
    "halving": searched(
        HalvingGridSearchCV, partial(OnsagerSDE, **NET), {"training__lr": [0.01, 0.03, 0.1]},
        of_pairs, factor=2, min_resources=40, random_state=0, refit=False,
    ),
    "pipeline": searched(
        GridSearchCV, pipeline, {"sde__lam": ["K", 1.0]}, of_snapshots, scoring=path_scorer
    ),
    "streamed pairs": searched(
        GridSearchCV, streamed, {"pairs__closure__n_closure": [0, 1]}, of_snapshots,
        scoring=path_scorer, refit=False,
    ),
    "ensemble": validated,
}  # fmt: skip


def forgetful(work, folder):
    """Do work that does not tell data apart."""
    checkpointed._described = lambda name, data: name
    return work(folder)


if __name__ == "__main__":
    os.fsync = lambda file: None  # processes are killed here, not machines
    report(WORKS, partial(killed, forgetful=forgetful), sys.argv[1])
