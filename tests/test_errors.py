"""Malformed inputs: every error says what was expected, what came, and what to do about it."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError

from sklmacro import (
    MLP,
    HierarchicalUpsampler,
    LocalRelax,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    Patches,
    PatchSDERegressor,
    Polynomial,
    Training,
)
from sklmacro.lattice import Lattice, PatchGrid
from sklmacro.pairs import latent_pairs
from sklmacro.scoring import PathScorer, ReferencePaths, mmd2
from sklmacro.simulators import CurieWeiss, EventCount, Ising, LinearChain, PredatorPrey

ISING = Ising()
SPINS = ISING.sample_initial(6, 8, random_state=0)
FIELDS = PredatorPrey().sample_initial(6, 8, random_state=0)
CHAIN = LinearChain().sample_initial(6, 8, random_state=0)
SNAPSHOT_PAIRS = PartialEvolutionSampler(ISING, patch=4, random_state=0).fit_transform(SPINS)
Z = np.random.default_rng(0).normal(size=(20, 2))
LATENT_PAIRS = latent_pairs(Z, -Z, 0.1, n_patches=4)
SQUARE = Lattice("square", (8, 8))
TIMES = np.linspace(0, 1, 3)
SHORT = Training(max_epochs=1)
LINEAR = {"drift_model": "linear", "diffusion_model": "constant"}


def upsample(X=SPINS, simulator=ISING, **params):
    return HierarchicalUpsampler(simulator, **params).fit_transform(X)


def relax(X=SPINS, simulator=ISING, **params):
    return upsample(X, simulator, relaxation=LocalRelax(**params))


def evolve(X=SPINS, simulator=ISING, groups=None, **params):
    return PartialEvolutionSampler(simulator, **params).fit_transform(X, groups=groups)


def encode(X=SPINS, simulator=ISING, **params):
    params = {"n_closure": 0} | params
    return PatchAutoencoder(simulator, **params).fit(X)


def trained(**training):
    return MLP(training=Training(**training))


def sde(X=LATENT_PAIRS, y=None, **params):
    return PatchSDERegressor(**LINEAR | params).fit(X, y)


def with_value(array, value, field=None):
    array = array.copy()
    (array if field is None else array[field]).flat[5] = value
    return array


def conditioned():
    return sde(latent_pairs(Z, -Z, 0.1, context=Z[:, :1] ** 2))


def reference(**changes):
    paths = np.zeros((3, 3, 2)) + np.arange(3)[:, None, None]
    return ReferencePaths(**{"x0": Z[:3], "paths": paths, "times": TIMES} | changes)


OWN = {
    # snapshots
    "lattice of other dimension": (lambda: upsample(CHAIN), "n_samples, n_cells_0, n_cells_1"),
    "fields missing": (lambda: evolve(CHAIN, PredatorPrey()), "n_cells_0, 2"),
    "fields too many": (lambda: encode(FIELDS, LinearChain()), "n_samples, n_cells_0"),
    "spins 0 and 1": (lambda: upsample((SPINS + 1) // 2), r"-1 or \+1, but got .*2 \* X - 1"),
    "spins 2": (lambda: evolve(with_value(SPINS, 2)), r"-1 or \+1, but got .*2"),
    "one cell of a periodic Ising lattice": (lambda: upsample(SPINS[:, :1]), "at least 2 cells"),
    "NaN in observe": (
        lambda: PredatorPrey().observe(with_value(FIELDS, np.nan)),
        "finite snapshots, but got 1 values",
    ),
    "complex in observe": (lambda: LinearChain().observe(CHAIN * 1j), "numeric .*complex128"),
    "words in observe": (lambda: LinearChain().observe([["a", "b"]]), "to be real numbers.*<U1"),
    "no snapshots": (lambda: ISING.observe(SPINS[:0]), "at least one snapshot"),
    # simulators
    "no simulator": (lambda: upsample(simulator="ising"), "instance of .*but got 'ising'"),
    "simulator class": (lambda: evolve(simulator=Ising), "instance of .*Simulator, but got <class"),
    "simulator of the autoencoder": (lambda: encode(simulator=3), "instance of .*Simulator"),
    "temperature below 0": (
        lambda: upsample(simulator=Ising(temperature=-1.0)),
        "0 < temperature, but got -1.0",
    ),
    "temperature 0": (
        lambda: evolve(simulator=CurieWeiss(temperature=0)),
        "0 < temperature, but got 0",
    ),
    "temperature a word": (
        lambda: Ising(temperature="hot").sample_initial(2, 8),
        "temperature to be a finite real number .*but got 'hot'",
    ),
    "field NaN": (lambda: evolve(simulator=Ising(field=np.nan)), "field to be a finite real"),
    "unknown edge": (lambda: evolve(simulator=Ising(boundary="torus")), "boundary to be one of"),
    "unstable step": (
        lambda: evolve(FIELDS, PredatorPrey(spacing=0.005, step=0.01)),
        r"stable explicit step, .*use a step of at most 1.25e-05",
    ),
    "negative noise": (lambda: upsample(CHAIN, LinearChain(sigma=-1)), "0 <= sigma, but got -1"),
    "duration below 0": (lambda: ISING.advance(SPINS, duration=-1.0), "0 <= duration, but got -1"),
    "duration and events": (
        lambda: ISING.advance(SPINS, duration=1.0, n_events=1),
        "either duration or n_events",
    ),
    "neither": (lambda: ISING.advance(SPINS), "either duration or n_events"),
    "events of a chain": (
        lambda: LinearChain().advance(CHAIN, n_events=3),
        "a duration for LinearChain, but got n_events=3",
    ),
    "window too large": (
        lambda: ISING.advance(SPINS, duration=1.0, window=((0, 0), (9, 8))),
        r"box of at most \(8, 8\) cells, .*but got \(9, 8\)",
    ),
    "window beyond an open edge": (
        lambda: LinearChain().advance(CHAIN, duration=1.0, window=((6,), (4,))),
        "inside the open lattice",
    ),
    "times decrease": (lambda: ISING.simulate(SPINS, [1.0, 0.5]), "increasing list"),
    "times are words": (lambda: ISING.simulate(SPINS, ["a"]), "times to be real numbers"),
    "times before 0": (lambda: ISING.simulate(SPINS, [-1.0, 0.5]), "starts at 0 or later"),
    "no samples": (lambda: ISING.sample_initial(0, 8), "n_samples .* at least 1, but got 0"),
    "cells for three axes": (
        lambda: ISING.sample_initial(2, (8, 8, 8)),
        "each of the 2 axes .*got",
    ),
    "cells a word": (lambda: ISING.sample_initial(2, "8"), "integer or 2 integers, but got '8'"),
    "random_state a word": (
        lambda: ISING.sample_initial(2, 8, random_state="seed"),
        "random_state to be None, a non-negative integer",
    ),
    "random_state below 0": (lambda: upsample(random_state=-1), "non-negative integer.*got -1"),
    # lattices and patches
    "unknown lattice": (lambda: Lattice("honeycomb", (4,)), "kind to be one of .*'honeycomb'"),
    "unknown boundary of a lattice": (
        lambda: Lattice("chain", (4,), "closed"),
        "boundary to be one of 'periodic', 'open', but got 'closed'",
    ),
    "cells of other dimension": (
        lambda: Lattice("square", (4, 4, 4)),
        r"each of the 2 axes .*but got \(4, 4, 4\)",
    ),
    "cells of a fraction": (lambda: Lattice("chain", (4.5,)), "but got 4.5"),
    "no cells": (lambda: Lattice("chain", (0,)), "at least 1, but got 0"),
    "patches that do not tile": (
        lambda: PatchGrid(SQUARE, (3, 4)),
        r"cells \(8, 8\) are not divisible by patch \(3, 4\); axis 0 takes 1, 2, 4 or 8 cells",
    ),
    "patch of other dimension": (lambda: PatchGrid(SQUARE, (4,)), r"the 2 axes .*got \(4,\)"),
    "split another lattice": (
        lambda: PatchGrid(SQUARE, (4, 4)).split(np.zeros((2, 8, 6))),
        r"X of shape \(n_samples, 8, 8\).*got shape \(2, 8, 6\)",
    ),
    "join another number": (
        lambda: PatchGrid(SQUARE, (4, 4)).join(np.zeros((2, 3, 4, 4))),
        r"patches of shape \(n_samples, 4, 4, 4\)",
    ),
    # upsampling
    "factor 0": (lambda: upsample(factor=0), "factor .* at least 1, but got 0"),
    "factor of a fraction": (lambda: upsample(factor=1.5), "factor .*but got 1.5"),
    "factor for three axes": (lambda: upsample(factor=(2, 2, 2)), "factor .*each of the 2 axes"),
    "n_iter below 0": (lambda: upsample(n_iter=-1), "n_iter .* at least 0, but got -1"),
    "n_repeats 0": (lambda: upsample(n_repeats=0), "n_repeats .* at least 1, but got 0"),
    "unknown method": (
        lambda: upsample(method="copy"),
        "method to be one of 'simulator', 'replicate', 'linear', 'tile', 'shuffle', but got 'copy'",
    ),
    "interpolated spins": (
        lambda: upsample(method="linear", relaxation=None),
        "real-valued snapshots .*int8",
    ),
    "relaxation a word": (lambda: upsample(relaxation="fast"), "to be a LocalRelax, .*got 'fast'"),
    "relax both": (
        lambda: relax(duration=1.0, n_events=2.0),
        "either duration or n_events of LocalRelax",
    ),
    "relax by events of a chain": (
        lambda: relax(CHAIN, LinearChain(), n_events=1.0),
        "a duration for LinearChain",
    ),
    "relax for a word": (lambda: relax(duration="long"), "one of 'auto', but got 'long'"),
    "relax below 0": (lambda: relax(duration=-1.0), "0 <= duration, but got -1.0"),
    "relax for NaN": (lambda: relax(duration=np.nan), "duration .*but got nan"),
    "relax range reversed": (lambda: relax(duration=(2.0, 1.0)), "duration .*low at most high"),
    "relax range from 0": (lambda: relax(duration=(0.0, 1.0)), "0 < duration, but got 0.0"),
    "relax range of three": (lambda: relax(duration=(1.0, 2.0, 3.0)), "duration to be a pair"),
    "relax range of words": (lambda: relax(duration=("a", "b")), "0 < duration, but got 'a'"),
    "relax in 0 passes": (lambda: relax(n_passes=0), "n_passes .* at least 1"),
    "relax stride above patch": (
        lambda: relax(patch=4, stride=5),
        r"stride of LocalRelax of at most the patch's \(4, 4\) cells, but got \(5, 5\)",
    ),
    "relax boundary": (lambda: relax(boundary="open"), "to be 'ghost', .*but got 'open'"),
    "relax buffer below 0": (lambda: relax(boundary=-1), "width of a buffer, .*but got -1"),
    # partial evolution
    "patch that does not tile": (lambda: evolve(patch=3), "axis 0 takes 1, 2, 4 or 8 cells"),
    "patch above the lattice": (lambda: evolve(patch=16), "tile the lattice"),
    "unknown surroundings": (
        lambda: evolve(boundary="mirror"),
        "boundary to be 'ghost', 'periodic', or the width of a buffer, .*but got 'mirror'",
    ),
    "buffer of no width": (lambda: evolve(boundary=0), "an integer of at least 1, but got 0"),
    "buffer below 0": (lambda: evolve(boundary=-1), "an integer of at least 1, but got -1"),
    "more patches than there are": (
        lambda: evolve(patch=Patches(4, n_evolved=5)),
        "n_evolved of at most K=4, .*but got 5",
    ),
    "no patches": (lambda: evolve(patch=Patches(n_evolved=0)), "n_evolved .* at least 1"),
    "dt 0": (lambda: evolve(dt=0.0), "0 < dt, but got 0.0"),
    "dt a word": (lambda: evolve(dt="short"), "dt to be one of 'auto', but got 'short'"),
    "no events": (lambda: evolve(dt=EventCount(0)), "events .* at least 1, but got 0"),
    "events of the chain": (
        lambda: evolve(CHAIN, LinearChain(), dt=EventCount(1)),
        "got n_events=1",
    ),
    "unknown origins": (
        lambda: evolve(patch=Patches(origins="all")),
        "origins to be one of .*but got 'all'",
    ),
    "random origins at an edge": (
        lambda: evolve(CHAIN, LinearChain(), patch=Patches(origins="random")),
        "a periodic lattice for origins='random'",
    ),
    "unknown context": (
        lambda: evolve(context=("pressure",)),
        r"numeric parameters of Ising, but got \('pressure',\); choose from coupling, field",
    ),
    "context without a tuple": (lambda: evolve(context="temperature"), "sequence of names"),
    "context that is no number": (lambda: evolve(context=["boundary"]), "numeric parameters"),
    "groups too few": (lambda: evolve(groups=[0, 1]), r"6 integers, .*shape \(2,\)"),
    "groups of words": (lambda: evolve(groups=list("abcdef")), "6 integers, .*dtype <U1"),
    # autoencoder
    "latent pairs": (lambda: encode(LATENT_PAIRS), "snapshot pairs with fields .*but got fields z"),
    "closures below 0": (lambda: encode(n_closure=-1), "n_closure .* at least 0, but got -1"),
    "unknown encoder": (lambda: encode(encoder="cnn"), "encoder to be one of .*but got 'cnn'"),
    "unknown increments": (lambda: encode(increments="full"), "increments to be one of"),
    "hidden no sequence": (
        lambda: encode(encoder=PatchEncoder(hidden=64)),
        "hidden to be a sequence of .*got 64",
    ),
    "hidden 0": (
        lambda: encode(encoder=PatchEncoder(hidden=(8, 0))),
        "hidden .* at least 1, but got 0",
    ),
    "validation of everything": (
        lambda: encode(training=Training(validation_fraction=1.0)),
        "validation_fraction <= 0.9, but got 1.0",
    ),
    "no epochs": (lambda: encode(training=Training(max_epochs=0)), "max_epochs .* at least 1"),
    "autoencoder patch": (lambda: encode(patch=5), "tile the lattice"),
    "another patch than in fit": (
        lambda: encode(n_closure=1, patch=8, training=SHORT).transform(SNAPSHOT_PAIRS),
        r"evolved patches of \(8, 8\) cells, as in fit, but got \(4, 4\)",
    ),
    "decode without a decoder": (
        lambda: encode().inverse_transform(np.zeros((2, 2))),
        "closure variables to decode, but got n_closure=0",
    ),
    "decode another dimension": (
        lambda: encode(n_closure=1, training=SHORT).inverse_transform(np.zeros((2, 2))),
        r"macrostates of shape \(n_samples, 3\), but got \(2, 2\)",
    ),
    "decode NaN": (
        lambda: encode(n_closure=1, training=SHORT).inverse_transform(np.full((2, 3), np.nan)),
        "finite macrostates, but got 6",
    ),
    # SDEs: data
    "snapshot pairs to the SDE": (
        lambda: sde(SNAPSHOT_PAIRS),
        "latent pairs .*but got fields x, .*PatchAutoencoder first",
    ),
    "y missing": (lambda: sde(Z), "X = z with y = dz; pass the increments"),
    "more increments than columns": (
        lambda: sde(Z, np.hstack([Z, Z])),
        "y with 4 and X with 2 columns",
    ),
    "NaN in dz": (
        lambda: sde(with_value(LATENT_PAIRS, np.nan, "dz")),
        r"finite increments, but got 1 values .*index \(2, 1\)",
    ),
    "dt 0 in pairs": (lambda: sde(with_value(LATENT_PAIRS, 0.0, "dt")), "dt above 0, but got"),
    "dt NaN in pairs": (
        lambda: sde(with_value(LATENT_PAIRS, np.nan, "dt")),
        "finite elapsed times",
    ),
    "z and dz of unlike shape": (lambda: latent_pairs(Z, Z[:, :1], 0.1), "z and dz of one shape"),
    "z of words": (lambda: latent_pairs([["a"]], [["b"]], 0.1), "z to be real numbers"),
    "snapshots to score": (lambda: sde().score(SNAPSHOT_PAIRS), "latent pairs"),
    # SDEs: parameters
    "lam 0": (lambda: sde(lam=0.0), "0 < lam, but got 0.0; pass 'K', 'auto' or a positive"),
    "lam a word": (lambda: sde(lam="k"), "lam to be one of 'K', 'auto', but got 'k'"),
    "no lam in the pairs": (lambda: sde(lam="auto"), r"got pairs without one; .*n_joint=\.\.\."),
    "no lam in an array": (lambda: sde(Z, -Z, lam="auto"), "got an array without one"),
    "one joint evolution": (
        lambda: evolve(patch=Patches(4, n_joint=1)),
        "0, or of 5 to 6, .*but got 1",
    ),
    "lam beside moments": (
        lambda: evolve(patch=Patches(4, n_joint=5), moments=True),
        "n_joint=0 with moments=True, but got n_joint=5; moments are those of dt -> 0",
    ),
    "joint evolutions too many": (
        lambda: evolve(patch=Patches(4, n_joint=7)),
        "5 to 6, .*but got 7",
    ),
    "nothing changes jointly": (
        lambda: evolve(0 * CHAIN, LinearChain(sigma=0.0, force=0.0), patch=Patches(4, n_joint=5)),
        "observables that change, but got none .*raise n_joint, dt",
    ),
    "lam missing": (lambda: sde(lam=None), "0 < lam, but got None"),
    "lam NaN": (lambda: sde(lam=np.nan), "0 < lam, but got nan"),
    "unknown diffusion": (
        lambda: sde(diffusion_model="scalar"),
        "diffusion_model to be one of 'full', 'diagonal', 'constant', but got 'scalar'",
    ),
    "unknown drift": (lambda: sde(drift_model="net"), "drift_model to be one of"),
    "degree 0": (lambda: sde(drift_model=Polynomial(degree=0)), "degree .* at least 1"),
    "SDE dt 0": (lambda: sde(Z, -Z, dt=0.0), "0 < dt, but got 0.0"),
    "SDE hidden": (lambda: sde(drift_model=MLP("64")), "hidden to be a sequence .*but got '64'"),
    "SDE batch": (lambda: sde(drift_model=trained(batch_size=2.5)), "batch_size .*but got 2.5"),
    "weight decay below 0": (
        lambda: sde(drift_model=trained(weight_decay=-1.0)),
        "0 <= weight_decay, but got -1.0",
    ),
    "bounds reversed": (lambda: sde(bounds=[(1.0, -1.0)]), "low < high .*but got .*1.0, -1.0"),
    "bounds of one number": (lambda: sde(bounds=[1.0]), "low < high .*but got .1.0."),
    "bounds no list": (lambda: sde(bounds=3), "low < high .*but got 3"),
    "bounds of NaN": (lambda: sde(bounds=[(0.0, np.nan)]), "low < high"),
    "bounds too many": (lambda: sde(bounds=[(-1, 1)] * 3), "bounds for at most 2 components"),
    "OnsagerSDE lam": (lambda: OnsagerSDE(lam=-1.0).fit(LATENT_PAIRS), "0 < lam, but got -1.0"),
    "OnsagerSDE diffusion": (
        lambda: OnsagerSDE(diffusion_model="none").fit(LATENT_PAIRS),
        "diffusion_model to be one of",
    ),
    # SDEs: evaluation
    "z of other dimension": (
        lambda: sde().drift(Z[:, :1]),
        r"\(n_samples, 2\) .*got z of shape \(20, 1\)",
    ),
    "z of three axes": (lambda: sde().drift(Z[None]), r"got z of shape \(1, 20, 2\)"),
    "z NaN": (lambda: sde().diffusion([[np.nan, 0.0]]), "finite macrostates and context"),
    "z complex": (lambda: sde().drift(Z * 1j), "macrostates to be real numbers.*complex128"),
    "context missing": (lambda: conditioned().drift(Z), r"\(n_samples, 1\).*context \(\)"),
    "context not wanted": (lambda: sde().drift(Z, [1.0]), r"\(n_samples, 0\).*context \(1,\)"),
    "context too short": (
        lambda: conditioned().drift(Z, [[1.0], [2.0]]),
        r"context of shape \(1,\) or \(n_samples, 1\).*context \(2, 1\)",
    ),
    "context of words": (lambda: conditioned().drift(Z, ["hot"]), "context to be real numbers"),
    "n_steps below 0": (lambda: sde().simulate(Z[0], -1, 0.1), "n_steps .* at least 0, but got -1"),
    "n_steps a fraction": (lambda: sde().simulate(Z[0], 1.5, 0.1), "n_steps .*but got 1.5"),
    "simulate dt 0": (lambda: sde().simulate(Z[0], 3, 0.0), "0 < dt, but got 0.0"),
    "no paths": (lambda: sde().simulate(Z[0], 3, 0.1, n_paths=0), "n_paths .* at least 1"),
    "store_every 0": (
        lambda: sde().simulate(Z[0], 3, 0.1, store_every=0),
        "store_every .* at least 1, but got 0",
    ),
    "start of other dimension": (lambda: sde().simulate([1.0], 3, 0.1), r"z of shape \(1, 1\)"),
    "simulate without context": (lambda: conditioned().simulate(Z[0], 3, 0.1), "context"),
    # scores
    "unlike samples": (lambda: mmd2(Z, Z[:, :1]), r"otherwise equal, but got \(20, 2\)"),
    "widths 0": (lambda: mmd2(Z, Z, widths=[0.0]), "widths to be one positive number"),
    "times unlike paths": (lambda: reference(times=[0, 1]), r"\(3, 3, 2\) with 2 times"),
    "starts unlike paths": (lambda: reference(x0=Z[:2]), "x0 with one row for each of the 3 paths"),
    "unequal times": (
        lambda: PathScorer(reference(times=[0.0, 0.1, 1.0])),
        "equally spaced reference times",
    ),
    "unknown metric": (lambda: PathScorer(reference(), "rmse"), "metric to be one of"),
    "dt that does not divide": (lambda: PathScorer(reference(), dt=0.3), "divide the spacing"),
}  # fmt: skip

# Worded by scikit-learn or numpy.
FOREIGN = {
    "NaN": (lambda: upsample(with_value(CHAIN, np.nan), None), "Input X contains NaN"),
    "infinity": (lambda: evolve(with_value(FIELDS, np.inf), PredatorPrey()), "contains infinity"),
    "complex": (lambda: encode(CHAIN * 1j, None), "Complex data not supported"),
    "words": (lambda: upsample([["a", "b"]], None), "dtype='numeric' is not compatible|convert"),
    "1-D": (lambda: evolve(CHAIN[0], None), "Reshape your data"),
    "empty": (lambda: encode(CHAIN[:0], None), "minimum of 1 is required"),
    "ragged": (lambda: upsample([[1.0], [1.0, 2.0]], None), "inhomogeneous"),
    "NaN in z": (lambda: sde(with_value(LATENT_PAIRS, np.nan, "z")), "contains NaN"),
    "NaN in y": (lambda: sde(Z, with_value(Z, np.nan)), "Input y contains NaN"),
    "y of other length": (lambda: sde(Z, Z[:5]), "inconsistent numbers of samples"),
    "X of one axis": (lambda: sde(Z[0], Z[0]), "Reshape your data"),
    "other number of columns": (lambda: sde(Z, -Z).predict(Z[:, :1]), "expecting 2 features"),
    "pairs of other dimension": (
        lambda: sde().predict(latent_pairs(Z[:, :1], Z[:, :1], 0.1)),
        "expecting 2 features",
    ),
    "other number of cells": (
        lambda: encode(CHAIN, None).transform(CHAIN[:, :5]),
        "expecting 8 features",
    ),
    "not fitted": (lambda: PatchSDERegressor().drift(Z), "not fitted yet"),
    "sampler not fitted": (lambda: PartialEvolutionSampler().transform(CHAIN), "not fitted yet"),
}


@pytest.mark.parametrize("name", OWN)
def test_what_was_expected_what_came_and_the_remedy(name):
    call, text = OWN[name]
    with pytest.raises(ValueError, match=text) as caught:
        call()
    message = str(caught.value)
    assert "Expected" in message
    assert "but got" in message or "but the target y is None" in message
    assert "; " in message  # behind it stands the remedy
    assert message.endswith(".")


@pytest.mark.parametrize("name", FOREIGN)
def test_what_scikit_learn_words(name):
    call, text = FOREIGN[name]
    with pytest.raises((ValueError, NotFittedError), match=text):
        call()


def test_sparse_input_is_refused():
    with pytest.raises(TypeError, match="Sparse data was passed"):
        upsample(sparse.csr_array(CHAIN), None)


def test_there_are_enough():
    assert len(OWN) + len(FOREIGN) > 140


def test_the_inputs_above_are_fine_without_the_flaw():
    """Negative control: nothing above fails for another reason."""
    upsample()
    upsample(CHAIN, LinearChain())
    relax(n_passes=2, patch=4, stride=4, boundary=1)
    evolve(patch=Patches(4, n_evolved=4), context=["temperature"], groups=np.arange(6))
    evolve(FIELDS, PredatorPrey())
    encode(n_closure=1, training=SHORT).inverse_transform(np.zeros((2, 3)))
    sde(bounds=[(-1, 1)] * 2).simulate(Z[0], 3, 0.1)
    sde(Z, -Z).predict(Z)
    conditioned().drift(Z, [1.0])
    PathScorer(reference(), dt=0.25)
