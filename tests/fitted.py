"""One of every estimator, fitted, and what it predicts; run as a script it predicts from files.

python -m tests.fitted FOLDER    loads each FOLDER/*.safetensors and writes FOLDER/*.npz
"""

import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import sklmacro as skm
from sklmacro.pairs import latent_pairs
from sklmacro.sde.kernels import KernelSDE
from sklmacro.simulators import (
    Alloy,
    BarrierNetwork,
    CurieWeiss,
    Ising,
    LinearChain,
    PredatorPrey,
    Simulator,
    pairwise_barriers,
)
from sklmacro.simulators.vacancies.network import BOX, N_HIDDEN


class Flips(Simulator):
    """A simulator of one's own, in plain Python: spins of a square lattice that flip at a rate."""

    kind = "square"
    boundary = "periodic"
    state_dtype = np.int8
    two_valued = True
    observable_names = fast_observables = ("magnetisation",)

    def __init__(self, rate=1.0):
        self.rate = rate

    def draw_initial(self, lattice, rng):
        return rng.choice(np.array([-1, 1], np.int8), lattice.site_shape)

    def advance_window(self, x, lattice, evolution):
        window, span, rng = evolution
        box = lattice.mesh(*window)
        x[box] = np.where(
            rng.random(x[box].shape) < -np.expm1(-self.rate * span.time), -x[box], x[box]
        )
        return span.time


RNG = np.random.default_rng(0)
Z = RNG.normal(size=(60, 2))
C = RNG.uniform(1, 2, size=(60, 1))
DZ = -0.1 * Z + 0.1 * RNG.normal(size=(60, 2))
SHORT_RELAX = skm.LocalRelax(duration=0.1)
TRAINING = skm.Training(max_epochs=2)
SMALL = {"training": TRAINING, "hidden": (6,), "random_state": 0}
SMALL_NET = {"training": TRAINING, "encoder": skm.PatchEncoder(hidden=(6,)), "random_state": 0}
SMALL_MLP = {"drift_model": skm.MLP((6,), training=TRAINING), "random_state": 0}
SPINS = Flips().sample_initial(24, 8, random_state=0)
FIELDS = PredatorPrey().sample_initial(24, 8, random_state=0)
CHAIN = LinearChain().sample_initial(24, 8, random_state=0)
PAIRS = latent_pairs(Z, DZ, 0.1, n_patches=4)
CONDITIONED = latent_pairs(Z, DZ, 0.1, n_patches=4, context=C)
RELATED = latent_pairs(
    np.column_stack([Z, 1 - Z.sum(axis=1)]), np.column_stack([DZ, -DZ.sum(axis=1)]), 0.1
)
ORDERING = pairwise_barriers("fcc", [[0, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], saddle=0.8)


def network():
    """A barrier network with random weights."""
    rng, weights = np.random.default_rng(0), {}
    for i in range(N_HIDDEN):
        n_in = BOX**3 if i == 0 else 128
        weights[f"layer{i}_weight"] = rng.normal(size=(n_in, 128)) / np.sqrt(n_in)
        for part in ("bias", "bn_gamma", "bn_beta", "bn_mean"):
            weights[f"layer{i}_{part}"] = rng.normal(size=128)
        weights[f"layer{i}_bn_var"] = rng.uniform(1, 2, size=128)
    weights |= {"out_weight": rng.normal(size=(128, 1)), "out_bias": np.ones(1)}
    return BarrierNetwork({k: v.astype(np.float32) for k, v in weights.items()})


SIMULATORS = {
    "ising": Ising(temperature=np.float64(2.27), kind="cubic", boundary="open"),
    "curie-weiss": CurieWeiss(temperature=0.9),
    "linear chain": LinearChain(),
    "predator-prey": PredatorPrey(sigma_u=0.01, mean_range=[0.4, 0.6]),
    "of one's own": Flips(rate=0.5),
    "alloy": Alloy(temperature=1800.0, composition=(0.2, 0.3, 0.5)),
    "alloy of cluster barriers": Alloy(barriers=ORDERING, species=("Cu", "Au")),
    "alloy of a network": Alloy(barriers=network()),
}


def sde(X=PAIRS, y=None, cls=skm.PatchSDERegressor, **params):
    options = SMALL_MLP if cls is skm.PatchSDERegressor else SMALL
    return cls(**options | params).fit(X, y)


def stages(simulator, patch, **sampler):
    """Upsampler and sampler."""
    return (
        skm.HierarchicalUpsampler(simulator, relaxation=SHORT_RELAX, random_state=0),
        skm.PartialEvolutionSampler(simulator, patch=patch, random_state=1, **sampler),
    )


def pipeline(simulator, X, patch=8, last=None, **sampler):
    last = skm.PatchSDERegressor(drift_model="polynomial", random_state=0) if last is None else last
    closure = skm.PatchAutoencoder(simulator, n_closure=1, **SMALL_NET)
    steps = (*stages(simulator, patch, **sampler), closure, last)
    return Pipeline([*zip(("upsample", "evolve", "closure", "sde"), steps, strict=True)]).fit(X)


def kept(estimator, X):
    with TemporaryDirectory() as folder:
        fit = skm.Checkpointed(estimator, folder).fit(X)
    return fit.set_params(checkpoint_dir=None)  # as in a file


def streamed(closure):
    return skm.StreamedPairs(*stages(Flips(), 4), closure).fit(SPINS)


# fmt: off
FITS = {
    "upsampler": lambda: skm.HierarchicalUpsampler(Flips(),
        relaxation=skm.LocalRelax(duration=1.0, n_passes=skm.Convergence(tolerance=1.0)),
        random_state=0).fit(SPINS),
    "sampler": lambda: skm.PartialEvolutionSampler(Flips(), patch=skm.Patches(4, n_joint=8),
        context=("rate",), random_state=0).fit(SPINS),
    "sampler of moments": lambda: skm.PartialEvolutionSampler(moments=True, patch=4,
        random_state=0).fit(CHAIN),
    "closure, dense": lambda: skm.PatchAutoencoder(LinearChain(), patch=4, **SMALL_NET).fit(CHAIN),
    "closure, two fields": lambda: skm.PatchAutoencoder(PredatorPrey(), **SMALL_NET).fit(FIELDS),
    "closure, conv": lambda: skm.PatchAutoencoder(Flips(), patch=4, **SMALL_NET).fit(SPINS),
    "closure, known and learned": lambda: skm.PatchAutoencoder(Flips(), patch=4, n_closure=1,
        known=skm.CorrelationClosure(n_closure=2), **SMALL_NET).fit(SPINS),
    "closure, none": lambda: skm.PatchAutoencoder(Flips(), n_closure=0).fit(SPINS),
    "mlp, full": sde,
    "mlp, diagonal": lambda: sde(diffusion_model="diagonal"),
    "mlp, constant": lambda: sde(diffusion_model="constant", bounds=[(-9, 9)]),
    "mlp, odd": lambda: sde(parity=(-1, 1)),
    "mlp, context": lambda: sde(CONDITIONED, drift_model=skm.MLP([4, 4], training=TRAINING)),
    "mlp, plain": lambda: sde(Z, DZ[:, 0], dt=0.1),
    "linear": lambda: sde(drift_model="linear", diffusion_model="constant"),
    "gp": lambda: sde(CONDITIONED, drift_model="gp"),
    "gp, odd": lambda: sde(drift_model=skm.GaussianProcess(20), parity=[-1, 1]),
    "gp, related": lambda: sde(RELATED, drift_model="gp", diffusion_model="constant"),
    "polynomial": lambda: sde(CONDITIONED, drift_model="polynomial", diffusion_model="diagonal"),
    "polynomial, odd": lambda: sde(drift_model="polynomial", parity=[-1, 1]),
    "linear, related": lambda: sde(RELATED, drift_model="linear"),
    "onsager, related": lambda: sde(RELATED, cls=skm.OnsagerSDE),
    "mlp, nothing changes": lambda: sde(Z, 0 * DZ),
    "onsager": lambda: sde(cls=skm.OnsagerSDE),
    "onsager, context": lambda: sde(CONDITIONED, cls=skm.OnsagerSDE, forcing=False),
    "onsager, odd": lambda: sde(cls=skm.OnsagerSDE, parity=(-1, -1), diffusion_model="diagonal"),
    "ensemble": lambda: skm.SDEEnsemble(skm.PatchSDERegressor(**SMALL_MLP), n_members=2,
        random_state=0).fit(PAIRS),
    "ensemble of plain increments": lambda: skm.SDEEnsemble(skm.OnsagerSDE(**SMALL), n_members=2,
        random_state=np.random.default_rng(3)).fit(Z, DZ),
    "streamed pairs": lambda: streamed(skm.PatchAutoencoder(Flips(), n_closure=1, **SMALL_NET)),
    "streamed pairs, frozen closure": lambda: streamed(
        FrozenEstimator(skm.PatchAutoencoder(Flips(), patch=4, **SMALL_NET).fit(SPINS))
    ),
    "correlations": lambda: skm.CorrelationClosure(Flips(), n_closure=2).fit(SPINS),
    "correlations, selected": lambda: skm.CorrelationClosure(PredatorPrey(),
        library=[skm.Cluster.from_name("u v (0)"), "u u (0)"], n_closure=1).fit(
        skm.PartialEvolutionSampler(PredatorPrey(), moments=True).fit_transform(FIELDS)),
    "kept": lambda: kept(skm.PatchSDERegressor(**SMALL_MLP), PAIRS),
    "kept closure": lambda: kept(skm.PatchAutoencoder(Flips(), patch=4, **SMALL_NET), SPINS),
    "pipeline": lambda: pipeline(PredatorPrey(), FIELDS),
    "pipeline of a simulator of one's own": lambda: pipeline(Flips(), SPINS,
        last=skm.OnsagerSDE(**SMALL)),
    "pipeline with scikit-learn": lambda: make_pipeline(StandardScaler(), FunctionTransformer(),
        skm.PatchSDERegressor(**SMALL_MLP)).fit(Z, DZ),
}
# fmt: on


@cache
def fitted(name):
    return FITS[name]()


def inputs(estimator):
    """Snapshots, pairs or macrostates for an estimator."""
    estimator = getattr(estimator, "estimator_", estimator)
    first = estimator[0] if isinstance(estimator, Pipeline) else estimator
    first = getattr(first, "sampler_", first)
    simulator = getattr(first, "simulator_", None)
    if simulator is not None:
        return simulator.sample_initial(3, 8, random_state=5)
    X = np.random.default_rng(7).normal(size=(5, estimator.n_features_in_))
    if isinstance(estimator, Pipeline) or estimator.n_features_in_ == estimator.n_state_:
        return X
    z, context = np.split(X, [estimator.n_state_], axis=1)
    return latent_pairs(z, z, 0.1, context=context)


def flat(array):
    """Return a structured array as bytes: they compare whatever its fields."""
    array = np.asarray(array)
    return array if array.dtype.names is None else np.frombuffer(array.tobytes(), np.uint8)


def predictions(estimator):
    """What an estimator makes of the same inputs, as arrays."""
    if isinstance(estimator, Simulator):
        return {"sample_initial": estimator.sample_initial(2, 4, random_state=0)}
    X, found = inputs(estimator), {}
    for method in ("transform", "predict"):
        if hasattr(estimator, method):
            found[method] = flat(getattr(estimator, method)(X))
    if hasattr(estimator, "drift"):
        z, context = (X["z"], X["context"]) if X.dtype.names else (X, None)
        found["drift"] = estimator.drift(z, context)
        found["diffusion"] = estimator.diffusion(z, context)
    if isinstance(getattr(estimator, "model_", None), KernelSDE):
        found["drift error"] = estimator.drift_error(z, context)
    if hasattr(estimator, "potential"):
        found["potential"] = estimator.potential(z, context)
    if getattr(estimator, "n_closure", 0) and hasattr(estimator, "inverse_transform"):
        found["inverse_transform"] = estimator.inverse_transform(found["transform"])
    return found


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).glob("*.safetensors")):
        np.savez(path.with_suffix(".npz"), **predictions(skm.load(path, allow=(Flips,))))
