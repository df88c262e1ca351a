"""What is killed and resumed: fits, experiments, simulations, samplings and searches.

A work takes a folder, or None, and returns a SHA-256 of its result.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn import config_context
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, GroupKFold, HalvingGridSearchCV, cross_validate
from sklearn.pipeline import Pipeline

from sklmacro import (
    MLP,
    Checkpointed,
    Convergence,
    HierarchicalUpsampler,
    LocalRelax,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    Patches,
    PatchSDERegressor,
    SDEEnsemble,
    StreamedPairs,
    Training,
)
from sklmacro.checkpoint import rows
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.experiments import EXPERIMENTS, run_experiment
from sklmacro.persistence import search as _search
from sklmacro.scoring import PathScorer, ReferencePaths
from sklmacro.simulators import (
    Alloy,
    CallableBarriers,
    CurieWeiss,
    Ising,
    LinearChain,
    PredatorPrey,
)
from sklmacro.simulators.trajectories import Trajectory
from sklmacro.training import epochs
from tests.fitted import Flips
from tests.killed import of_net, sha256
from tests.problems import exact_pairs
from tests.simulators.test_simulator import Walkers


@dataclass
class Work:
    """A work, and how it is killed.

    `until` is the share of its files after which it is killed no more, where a work that is resumed
    writes fewer of them. `control` resumes the work badly, from its third kill, or from where it
    has written two files with `part` in their names.
    """

    run: Callable
    branch: int
    control: Callable | None = None
    part: str = ""
    until: float = 1.0
    parallel: bool = False


def write_at_once():
    """Save whenever something is ready, and do not wait for the disk: no machine is killed here."""
    os.fsync = lambda file: None
    rows.INTERVAL, rows.SHARE, epochs.SAVE_SECONDS = 0.0, np.inf, 0.0
    torch.set_num_threads(1)


# --- fits and experiments -------------------------------------------------------------------------

TRAINING = Training(max_epochs=9, batch_size=32, validation_fraction=0.2)
NET = {"hidden": (6,), "training": TRAINING, "random_state": 0}
CLOSURE_NET = {"encoder": PatchEncoder(hidden=(6,)), "training": TRAINING, "random_state": 0}
MLP_NET = {"drift_model": MLP((6,), training=TRAINING), "random_state": 0}


def sde(model, folder, **options):
    """Fit an SDE; SHA-256 of weights, losses and predictions."""
    pairs, _, _ = exact_pairs(n=120)
    net = NET if model is OnsagerSDE else MLP_NET
    fitted = model(**net, **options, checkpoint_dir=folder).fit(pairs)
    predictions = fitted.drift(pairs["z"]), fitted.diffusion(pairs["z"])
    return f"{of_net(fitted.model_.net, fitted.history_)} {sha256(*predictions)}"


def ensemble(folder):
    pairs, _, _ = exact_pairs(n=120)
    member = PatchSDERegressor(**MLP_NET, diffusion_model="diagonal")
    fitted = SDEEnsemble(member, n_members=2, random_state=0, checkpoint_dir=folder).fit(pairs)
    return " ".join(of_net(member.model_.net, member.history_) for member in fitted.members_)


def closure(simulator, size, patch, folder):
    """Fit an autoencoder; SHA-256 of weights, losses and closures."""
    X = simulator.sample_initial(30, size, random_state=0)
    fitted = PatchAutoencoder(simulator, patch=patch, **CLOSURE_NET, checkpoint_dir=folder).fit(X)
    return f"{of_net(fitted.codec_.net, fitted.history_)} {sha256(fitted.transform(X))}"


SEEDS = {"n_seeds": 6, "n_trajectories": 60}


def experiment(folder):
    """Run an experiment of six pieces; SHA-256 of its numbers and arrays."""
    chain = replace(EXPERIMENTS["linear-chain"], draw=lambda *args: Figure())
    with TemporaryDirectory() as out:
        result = run_experiment(
            chain, out=Path(out) / "result", changes=SEEDS, checkpoint_dir=folder
        )
        with np.load(Path(out) / "result" / "arrays.npz") as arrays:
            return sha256(*arrays.values(), repr(result["numbers"]))


def without_moments(work, folder):
    """Resume without the moments of AdamW."""
    read = epochs._tensors
    epochs._tensors = lambda what, arrays: {} if "optimizer" in what else read(what, arrays)
    return work(folder)


def with_other_piece(work, folder):
    """Resume with a piece for another."""
    load = Checkpoint.load
    Checkpoint.load = lambda self, name, *take: load(
        self, "seed 0" if name == "seed 5" else name, *take
    )
    return work(folder)


def fit(branch, work, control=without_moments):
    return Work(work, branch, partial(control, work))


FITS = {
    "net in one kernel": fit(0, partial(sde, PatchSDERegressor)),
    "net of torch modules": fit(0, partial(sde, PatchSDERegressor, parity=(-1, 1))),
    "OnsagerNet": fit(0, partial(sde, OnsagerSDE)),
    "ensemble": fit(0, ensemble),
    "dense autoencoder": fit(1, partial(closure, PredatorPrey(), 20, 10)),
    "convolutional autoencoder": fit(0, partial(closure, Ising(2.3), 16, 8)),
    "experiment": fit(1, experiment, with_other_piece),
}

# --- simulations and samplings --------------------------------------------------------------------


def python_barriers(environments, basis):
    """Return barriers in eV that depend on the neighbours."""
    neighbours = np.cos(environments @ np.arange(1.0, 9.0))[:, np.newaxis]
    return 0.9 + 0.05 * neighbours * np.ones(8)


CHAIN = LinearChain()
ALLOY = Alloy(2000.0, vacancy_fraction=0.02)
JUMP = ALLOY.jump_time()
IN_PYTHON = Alloy(2000.0, barriers=CallableBarriers(python_barriers), vacancy_fraction=0.02)
STREAMS = ("rng_state", "lanes", "side")  # random streams among the arrays of a trajectory


def simulate(simulator, cells, step, folder, n_jobs=1, n_samples=5, **options):
    """Simulate trajectories of three times."""
    X = simulator.sample_initial(n_samples, cells, random_state=0)
    times = step * np.array([0.5, 1.0, 2.0])
    paths = simulator.simulate(
        X, times, random_state=1, n_jobs=n_jobs, checkpoint_dir=folder, **options
    )
    return sha256(paths)


def advance(simulator, cells, folder, n_jobs=1, **options):
    """Advance snapshots."""
    X = simulator.sample_initial(20, cells, random_state=0)
    return sha256(
        *simulator.advance(X, random_state=1, n_jobs=n_jobs, checkpoint_dir=folder, **options)
    )


def transform(cells, make, folder, n_jobs=1):
    """Fit an estimator and transform what it was fitted to."""
    estimator = make().set_params(checkpoint_dir=folder)
    if "n_jobs" in estimator.get_params():
        estimator.set_params(n_jobs=n_jobs)
    simulator = estimator.get_params().get("simulator", CHAIN)
    X = simulator.sample_initial(24, cells, random_state=0)
    pairs = estimator.fit_transform(X)
    return sha256(*[pairs[name] for name in pairs.dtype.names or (...,)])


def small_streamed():
    """Return the three steps in one."""
    return StreamedPairs(
        HierarchicalUpsampler(CHAIN, relaxation=LocalRelax(duration=0.1), random_state=0),
        PartialEvolutionSampler(CHAIN, patch=Patches(8, n_joint=6), random_state=0),
        PatchAutoencoder(CHAIN, n_closure=0),
        batch_size=2,
    )


def without_streams(work, folder):
    """Resume with the random streams from the start."""

    def restore(self, arrays, state):
        for name, array in self.arrays().items():
            if name not in STREAMS:
                array[...] = arrays[name]

    Trajectory.resume = restore
    return work(folder)


def simulation(branch, *arguments, **options):
    work = partial(simulate, *arguments, **options)
    return Work(work, branch, partial(without_streams, work), "row-", 0.5, True)


def sampling(branch, work):
    return Work(work, branch, until=0.5, parallel=True)


def upsampler():
    return HierarchicalUpsampler(
        Flips(),
        relaxation=LocalRelax(duration=0.2, n_passes=Convergence(n_pilot=20)),
        random_state=0,
    )


def sampler(simulator, n_joint=0, **options):
    patch = Patches(8, n_joint=n_joint)
    return PartialEvolutionSampler(simulator, patch=patch, random_state=0, **options)


SIMULATIONS = {
    "Ising": simulation(0, Ising(2.3), 8, 1.0),
    "Ising of BCC": simulation(1, Ising(6.0, kind="bcc"), 3, 1.0, observe=True),
    "packed Ising": simulation(0, Ising(2.3), 6, 1.0, n_samples=130, packed=True),
    "Curie-Weiss": simulation(1, CurieWeiss(), 6, 1.0),
    "linear chain": simulation(1, CHAIN, 9, 0.1),
    "predator and prey": simulation(1, PredatorPrey(), 12, 0.1, observe=True),
    "alloy": simulation(1, ALLOY, 4, 30 * JUMP),
    "alloy, observed": simulation(1, ALLOY, 4, 30 * JUMP, observe=True),
    "simulator in Python": simulation(1, Walkers(), 7, 0.1),
}
SAMPLINGS = {
    "events of Ising": sampling(0, partial(advance, Ising(2.3), 8, n_events=40)),
    "jumps of an alloy": sampling(1, partial(advance, ALLOY, 4, n_events=40)),
    "upsampler": sampling(0, partial(transform, 8, upsampler)),
    "sampler": sampling(0, partial(transform, 16, partial(sampler, CHAIN, n_joint=8))),
    "sampler of images": sampling(
        0, partial(transform, 16, partial(sampler, Ising(2.3), augment=True))
    ),
    "streamed pairs": sampling(0, partial(transform, 8, small_streamed)),
}

# --- searches -------------------------------------------------------------------------------------

SHORT_TRAINING = Training(max_epochs=2, batch_size=64)
SHORT = {"hidden": (6,), "training": SHORT_TRAINING, "random_state": 0}
CLOSURE_SHORT = {
    "encoder": PatchEncoder(hidden=(6,)),
    "training": SHORT_TRAINING,
    "random_state": 0,
}
MLP_SHORT = {"drift_model": MLP((6,), training=SHORT_TRAINING), "random_state": 0}
CLOSED = {"drift_model": "linear", "diffusion_model": "constant", "random_state": 0}
SMALL = CHAIN.sample_initial(24, 8, random_state=0)
GROUPS = np.arange(24) // 3
TIMES = np.array([0.0, 0.5, 1.0])


def steps():
    """Return upsampler, sampler and closure."""
    return (
        HierarchicalUpsampler(CHAIN, relaxation=LocalRelax(duration=0.2), random_state=0),
        PartialEvolutionSampler(CHAIN, patch=8, dt=0.5, random_state=1),
        PatchAutoencoder(CHAIN, n_closure=1, **CLOSURE_SHORT),
    )


def pipeline():
    """Return the whole path, step by step."""
    names = ("upsample", "evolve", "closure", "sde")
    last = PatchSDERegressor(**CLOSED)
    return Pipeline([*zip(names, (*steps(), last), strict=True)])


def streamed():
    """Return the whole path, with all steps before the SDE in one."""
    return Pipeline([("pairs", StreamedPairs(*steps())), ("sde", PatchSDERegressor(**CLOSED))])


def path_scorer():
    x0 = CHAIN.sample_initial(6, 16, random_state=1)
    return PathScorer(
        ReferencePaths(x0, CHAIN.simulate(x0, TIMES, observe=True, random_state=2), TIMES)
    )


def results(search):
    """Return the results of a search, but times and names."""
    return {k: v for k, v in search.items() if not k.endswith("_time") and "param" not in k}


def search(search, estimator, grid, data, folder, **options):
    """Search over a grid; SHA-256 of its results."""
    one = estimator()
    if folder is not None:
        one = Checkpointed(one, folder)
        grid = {f"estimator__{name}": values for name, values in grid.items()}
    X, groups = data()
    options = {k: v() if v is path_scorer else v for k, v in options.items()}
    fitted = search(one, grid, cv=GroupKFold(2), error_score="raise", **options)
    with config_context(enable_metadata_routing=True):
        found = results(fitted.fit(X, groups=groups).cv_results_)
    return sha256(*[found[name] for name in sorted(found)])


def validated(folder):
    """Validate an ensemble; SHA-256 of its scores."""
    ensemble = SDEEnsemble(PatchSDERegressor(**CLOSED), n_members=2, random_state=0)
    one = ensemble if folder is None else Checkpointed(ensemble, folder)
    found = results(cross_validate(one, of_pairs()[0], cv=6, error_score="raise"))
    return sha256(*[found[name] for name in sorted(found)])


def of_pairs():
    pairs, _, _ = exact_pairs(n=120)
    return pairs, pairs["group"]


def of_snapshots():
    return SMALL, GROUPS


def with_one_fit(work, folder):
    """Search without telling data apart."""
    _search._data_identity = lambda name, data: name
    return work(folder)


def searching(*arguments, **options):
    work = partial(search, *arguments, **options) if options or arguments[1:] else arguments[0]
    return Work(work, 0, partial(with_one_fit, work))


SEARCHES = {
    "grid": searching(
        GridSearchCV, partial(PatchSDERegressor, **MLP_SHORT), {"lam": [1.0, 2.0, 3.0]}, of_pairs
    ),
    "halving": searching(
        HalvingGridSearchCV, partial(OnsagerSDE, **SHORT), {"training__lr": [0.01, 0.03, 0.1]},
        of_pairs, factor=2, min_resources=40, random_state=0, refit=False,
    ),
    "pipeline": searching(
        GridSearchCV, pipeline, {"sde__lam": ["K", 1.0, 2.0]}, of_snapshots, scoring=path_scorer,
        refit=False,
    ),
    "streamed search": searching(
        GridSearchCV, streamed, {"pairs__closure__n_closure": [0, 1, 2]}, of_snapshots,
        scoring=path_scorer, refit=False,
    ),
    "validation": searching(validated),
}  # fmt: skip
WORKS = FITS | SIMULATIONS | SAMPLINGS | SEARCHES
