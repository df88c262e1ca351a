"""Hostile files with the right checksum: each is a ValueError, and nothing of it is run.

Whoever writes a file can sign it. What it says is believed only as far as it goes together.
"""

import numpy as np
import pytest

import sklmacro as skm
from tests.hostile import refused, sealed, whole

# --- signed files: objects ------------------------------------------------------------------------


def of(objects, name):
    """The last object of a class."""
    return [entry for entry in objects if entry["class"] == name][-1]


def argument(name, **changes):
    return lambda objects, arrays: of(objects, name)["arguments"].update(changes)


def state(name, **changes):
    return lambda objects, arrays: of(objects, name)["state"].update(changes)


def pointed(name, attribute, other, part="state"):
    """Let an attribute be the last object of another class."""

    def apply(objects, arrays):
        number = objects.index(of(objects, other))
        of(objects, name)[part][attribute] = {"object": number}

    return apply


def without(name, attribute, part="state"):
    return lambda objects, arrays: of(objects, name)[part].pop(attribute)


def array(name, change):
    """Change an array by the end of its name."""

    def apply(objects, arrays):
        (key,) = [key for key in arrays if key.endswith(name)]
        arrays[key] = change(arrays[key]).copy()

    return apply


def called(name):
    return lambda objects, arrays: objects[-1].update({"class": name})


def entry(code):
    return lambda objects, arrays: objects.append(code)


def made(name, **arguments):
    """Put an object before all others and at the end."""
    return entry({"class": name, "arguments": arguments, "state": {}})


SDE, POLYNOMIAL = "PatchSDERegressor", "PolynomialSDE"
UNKNOWN = "Expected classes of this package or of allow"
DECLARED = "Expected what .* declares as arguments and attributes"
BUILT = "cannot be built"
# fmt: off
SIGNED = {
    # classes
    "eval": ("linear", called("eval"), UNKNOWN),
    "a class that is not allowed": ("linear", called("Trap"), r"load\(..., allow=\(Trap,\)\)"),
    "a base class": ("linear", called("PatchSDE"), UNKNOWN),
    "a number for a class": ("linear", called(3), UNKNOWN),
    "a list for a class": ("linear", called(["Ising"]), BUILT),
    "no class": ("linear", lambda objects, arrays: objects[-1].pop("class"), "KeyError: 'class'"),
    "no state": ("linear", lambda objects, arrays: objects[-1].pop("state"), "KeyError: 'state'"),
    "a text for an object": ("linear", entry("Ising"), BUILT),
    "no estimator": ("linear", made("Lattice", kind="chain", cells=[3]),
        "Expected a file of an estimator, but got a Lattice"),
    "a generator for an estimator": ("philox", lambda o, a: o.pop(), "a file of an estimator"),
    # values
    "an object behind": ("linear", state(SDE, model_={"object": 9}), BUILT),
    "an object in itself": ("linear", pointed(SDE, "model_", SDE), BUILT),
    "an object before the first": ("linear", state(SDE, model_={"object": -1}), "number of an obj"),
    "True for an object": ("linear", state(SDE, model_={"object": True}), "number of an object"),
    "an unknown tag": ("linear", state(SDE, lam_={"pickle": "gASVAA=="}), BUILT),
    "two tags": ("linear", state(SDE, lam_={"float": "inf", "tuple": []}), "too many values"),
    "no tag": ("linear", state(SDE, lam_={}), "not enough values"),
    "an array that is not there": ("linear", state(SDE, mean_={"array": "x"}), "second or no 'x'"),
    "an array of another file": ("linear", state(SDE, mean_={"array": "../../../etc/passwd"}),
        "no '../../../etc/passwd'"),
    "an array in two places": ("linear", state(SDE, scale_={"array": f"{SDE}.mean_"}), "a second"),
    "an array without a place": ("linear", lambda objects, arrays: arrays.update(x=np.zeros(3)),
        "Expected arrays in use, but got others: .'x'"),
    "a text longer than all others": ("linear", state(SDE, mean_={"strings": {"shape": [20_000],
        "items": ["a" * 20_000, *"a" * 19_999], "object": False}}), "at most 10000000 letters"),
    "pipelines in pipelines in pipelines": ("linear", lambda objects,
        arrays: objects.extend({"class": "Pipeline", "arguments": {"steps": [{"tuple": [k,
        {"object": n + 1}]} for k in "ab"]}, "state": {}} for n in range(50)),
        "at most 100000 objects within one"),
    "pipelines in pipelines": ("linear", lambda objects,
        arrays: (objects.extend({"class": "Pipeline", "arguments": {"steps": [{"tuple": [k,
        {"object": n + 1}]} for k in "ab"]}, "state": {}} for n in range(12)), made(SDE,
        dt={"object": 10})(objects, arrays)),
        "dt of PatchSDERegressor to be float, but got a Pipeline"),
    "an array without a name": ("linear", state(SDE, mean_={"array": ["x"]}), BUILT),
    "a float that is none": ("linear", state(SDE, lam_={"float": "1e5"}), BUILT),
    "truth values of 2": ("alloy", lambda objects, arrays: (arrays.update(b=np.array([2],
        np.uint8).view(bool)), of(objects,
        "Alloy")["arguments"].update(temperature={"scalar": {"array": "b"}})),
        "truth values to be 0 or 1"),
    "fields of another length": ("linear", state(SDE, mean_={"fields": {"shape": [10**12],
        "items": [["a", {"array": f"{SDE}.mean_"}]]}}),
        r"fields of arrays of shape \(1000000000000,\), but got others"),
    "no fields": ("linear", state(SDE, mean_={"fields": {"shape": [10**12], "items": []}}),
        r"Expected fields of arrays of shape \(1000000000000,\)"),
    "texts that are none": ("linear", state(SDE, mean_={"strings": {"shape": [1], "items": [1],
        "object": True}}), "Expected texts"),
    "many texts": ("linear", state(SDE, mean_={"strings": {"shape": [10**12], "items": ["a"],
        "object": True}}), "cannot reshape"),
    # arguments and attributes
    "an unknown argument": ("linear", argument(SDE, command="rm -rf"), DECLARED),
    "an argument of another type": ("linear", argument(SDE, parity="64"),
        r"parity of PatchSDERegressor to be Sequence\[int\] \| None, but got '64'"),
    "a former argument of another type": ("linear", made(SDE, hidden="64"),
        r"hidden of MLP to be Sequence\[int\], but got '64'"),
    "an object for a number": ("linear", argument(SDE, dt={"object": 0}), "dt of .* to be float"),
    "a lattice for a simulator": ("sampler", argument("PartialEvolutionSampler",
        simulator={"object": 1}), r"simulator of PartialEvolutionSampler to be Simulator \| None"),
    "a cache of pickles": ("pipeline", argument("Pipeline", memory="/tmp/cache"),
        "memory of Pipeline to be None"),
    "a parameter that makes no sense": ("linear", argument(SDE, lam=-1.0), "Expected lam"),
    "another choice": ("linear", argument(SDE, diffusion_model="x"), "diffusion_model to be one"),
    "an unknown attribute": ("linear", state(SDE, guess_=1.0), DECLARED),
    "a method": ("linear", state(SDE, predict="eval"), DECLARED),
    "the class of an estimator": ("linear", state(SDE, __class__="Trap"), DECLARED),
    "the attributes of an estimator": ("linear", state(SDE, __dict__={"dict": []}), DECLARED),
    "a class attribute of a simulator": ("sampler", state("LinearChain", n_fields=2),
        DECLARED + ", but got 'n_fields'"),
    "state of what has none": ("linear", state(POLYNOMIAL, degree=3), "no state of a Polynomial"),
    "an attribute of another type": ("linear", state(SDE, lam_="1"), "lam_ of .* to be float"),
    "an output that is no dictionary": ("linear", state(SDE, _sklearn_output_config="pandas"),
        "_sklearn_output_config of PatchSDERegressor to be dict"),
    "an attribute that is missing": ("linear", without(SDE, "mean_"), "no attribute 'mean_'"),
    "a model that is missing": ("linear", without(SDE, "model_"), "no attribute 'model_'"),
    "an argument that is missing": ("linear", without(POLYNOMIAL, "B", "arguments"), "'B'"),
    "lam that is infinite": ("linear", state(SDE, lam_={"float": "inf"}), "Expected lam_"),
    # arrays that do not go together
    **{
        f"{name} of another shape": ("linear", array(f".{name}", change), f"shape of {name} to be")
        for name, change in {
            "mean_": lambda a: a[:1],
            "scale_": lambda a: a[None],
            "low": lambda a: np.append(a, 0),
            "high": lambda a: a[:0],
            "B": lambda a: a[:, :1],
            "slope": lambda a: a[:1],
            "phi": lambda a: a[0],
            "g": lambda a: a.T,
        }.items()
    },
    "B of another type": ("linear", array(".B", lambda a: a.astype(np.int64)), "dtype of B to be"),
    "scale_ of texts": ("linear", state(SDE, scale_={"strings": {"shape": [2], "items": ["a",
        "b"], "object": False}}), "dtype of scale_ to be float64"),
    "relations of no component": ("linear, related", array("relations_.free", lambda a: a + 2),
        r"Expected free to be \[2\], but got \[2, 3\]"),
    "relations in another order": ("linear, related", array("relations_.free", lambda a: a[::-1]),
        "Expected free to be"),
    "free components of fractions": ("linear, related", array("relations_.free", lambda a: a + 0.5),
        "dtype of free"),
    "relations of another shape": ("linear, related", array("relations_.matrix", lambda a: a.T),
        "shape of matrix to be"),
    "noise of another shape": ("linear", array("noise_scale", lambda a: a[[0, 1, 1]]),
        "shape of noise_scale to be"),
    "a huge degree": ("linear", argument(POLYNOMIAL, degree=10**18), "shape of B to be"),
    "a huge number of columns": ("linear", state(SDE, n_features_in_=10**12), "shape of mean_"),
    "no columns": ("linear", state(SDE, n_features_in_=0), "an integer of at least 2, but got 0"),
    "more components than columns": ("linear", state(SDE, n_state_=3),
        "n_features_in_ to be an integer of at least 3"),
    "members of different size": ("ensemble", state(SDE, n_state_=1), "shape of"),
    "an ensemble of one": ("ensemble", lambda o,
        a: o[-1]["state"].update(members_=o[-1]["state"]["members_"][:1]),
        "number of members_ to be an integer of at least 2"),
    "an ensemble of texts": ("ensemble", state("SDEEnsemble", members_=["a", "b"]),
        r"members_ of SDEEnsemble to be list\[PatchSDE\]"),
    # nets
    "weights of another shape": ("mlp, full", array("drift.linear.weight", lambda a: a[:, :1]),
        "weights of MLPDrift of the shapes"),
    "weights that are integers": ("mlp, full", array("drift.linear.weight",
        lambda a: a.astype(np.int8)), "weights of MLPDrift of the shapes"),
    "weights in single precision": ("mlp, full", array("drift.linear.weight",
        lambda a: a.astype(np.float32)), BUILT),
    "weights that are missing": ("mlp, full", without("MLPDrift", "linear.weight"),
        "weights of MLPDrift of the shapes"),
    "weights too many": ("mlp, full", lambda o, a: (a.update(x=np.zeros(2)), state("MLPDrift",
        x={"array": "x"})(o, a)), "weights of MLPDrift of the shapes"),
    "weights that are none": ("mlp, full", state("MLPDrift", **{"linear.bias": 3}), "shapes"),
    "wider layers": ("mlp, full", argument("MLPDrift", hidden=[10**9, 10**9]), "of the shapes"),
    "wider inputs": ("mlp, full", argument("MLPDrift", n_in=2**62), "at most 1000 inputs"),
    "a negative width": ("mlp, full", argument("MLPDrift", hidden=[-4]), BUILT),
    "a hundred thousand layers": ("mlp, full", argument("MLPDrift", hidden=[1] * 10**5),
        "at most 1000"),
    "entries of L elsewhere": ("mlp, full", array("diffusion.place", lambda a: a + 1000),
        "out of bounds|out of range"),
    "another number of components": ("mlp, full", argument("CholeskyDiffusion", n_out=1), "shapes"),
    "a diffusion for a drift": ("mlp, full", pointed("SDENet", "drift", "CholeskyDiffusion",
        "arguments"), "of drift"),
    "a net for a model": ("mlp, full", state(SDE, model_={"object": 2}),
        r"model_ of .* to be PolynomialSDE \| KernelSDE \| NeuralSDE"),
    "kernel functions of another number": ("gp", array("weights", lambda a: a[:, :1]),
        "shape of weights"),
    "lengths that are none": ("gp", array("lengths", lambda a: 0 * a), "positive lengths"),
    "scales of another shape": ("mlp, full", array("noise_scale", lambda a: a[:1]),
        "shape of noise_scale"),
    "a codec of larger patches": ("closure, two fields", argument("PatchCodec",
        patch_shape={"tuple": [10**6, 10**6]}), "patch_shape of the codec to be"),
    "closures of another number": ("closure, two fields", argument("PatchAutoencoder",
        n_closure=3), "n_latent_ to be 5, but got 4"),
    "clusters of other letters": ("correlations, selected", argument("Cluster",
        letters={"tuple": ["s", "t"]}), "1 to 32 of the letters u, v, but got 's t"),
    "clusters far away": ("correlations, selected", argument("Cluster",
        letters={"tuple": ["u", "u"]}, offsets={"tuple": []}, shell=10**9),
        "two letters and a shell of 0 to 64"),
    "correlations of another number": ("correlations, selected",
        state("CorrelationClosure", n_latent_=4), "n_latent_ to be 3, but got 4"),
    "parities of nothing": ("correlations, selected", state("CorrelationClosure",
        parity_={"tuple": [1, 1, 1]}), "parity_ to be None"),
    "another net of patches": ("closure, two fields", argument("PatchAutoencoderNet",
        kind="conv"), "weights of PatchAutoencoderNet"),
    "another kind of net": ("closure, two fields", argument("PatchAutoencoderNet",
        kind="os.system"), BUILT),
    # lattices, simulators, barriers, generators
    "patches that do not tile": ("sampler", argument("PatchGrid", cells={"tuple": [3]}),
        "patches that tile the lattice"),
    "a huge lattice": ("sampler", argument("Lattice", cells={"tuple": [10**30 + 1]}),
        "patches that tile the lattice, .*any divisor"),
    "an unknown lattice": ("sampler", argument("Lattice", kind="kagome"), "kind to be one of"),
    "another lattice": ("sampler", argument("Lattice", boundary="periodic"), "boundary of the lat"),
    "another number of patches": ("sampler", state("PartialEvolutionSampler", n_patches_=3),
        "n_patches_ to be 2, but got 3"),
    "a time of evolution below 0": ("sampler", state("PartialEvolutionSampler", dt_=-1.0),
        "Expected dt_ to be"),
    "patches beyond an open edge": ("sampler", argument("PartialEvolutionSampler",
        origins="random"), "a periodic lattice for origins='random'"),
    "a buffer below 0": ("sampler", argument("PartialEvolutionSampler", boundary=-3),
        "width of a buffer, an integer of at least 1, but got -3"),
    "a simulator that makes no sense": ("sampler", argument("LinearChain", sigma=-1.0),
        "Expected sigma to be"),
    "passes of another number": ("upsampler", state("HierarchicalUpsampler",
        n_passes_={"tuple": [1, 1]}), "number of n_passes_ to be 1, but got 2"),
    "barriers that look far": ("alloy", argument("ClusterBarriers", radius=1e6),
        "radius to be a finite real number with 0.7.* <= radius <= 10"),
    "barriers of another shape": ("alloy", array("points", lambda a: a[:1]), "points of shape"),
    "barriers that are NaN": ("alloy", array("points", lambda a: a * np.nan), "finite points"),
    "pairs of sites that are NaN": ("alloy", lambda objects, arrays: (arrays.update(p=np.full((4,
        1, 2), np.nan), j=np.zeros((4, 1, 3, 3, 12, 2))), argument("ClusterBarriers",
        pairs={"array": "p"}, joint={"array": "j"})(objects, None)),
        "Expected pairs of sites 0 to"),
    "a function for barriers": ("alloy", made("CallableBarriers", function="os.system"), UNKNOWN),
    "a place behind a generator": ("generator", lambda o,
        a: o[0]["arguments"]["state"]["dict"][1][1]["dict"][1].__setitem__(1, 10**6),
        "Expected pos of a generator to be 0 to 624"),
    "a place before a generator": ("philox", lambda o,
        a: o[0]["arguments"]["state"]["dict"].append(["buffer_pos", -7]),
        "Expected buffer_pos of a generator to be 0 to 4"),
    "an unknown generator": ("philox", lambda o,
        a: o[0]["arguments"]["state"]["dict"][0].__setitem__(1, "os.urandom"), BUILT),
}
# fmt: on


@pytest.mark.parametrize("name", SIGNED)
def test_signed_files(name, tmp_path):
    base, change, message = SIGNED[name]
    _, objects, arrays = whole(base)
    change(objects, arrays)
    refused(sealed(objects, arrays), tmp_path, message)


def test_the_whole_files_are_read(tmp_path):
    """The control: what is refused above is refused for what was changed."""
    for base in {base for base, _, _ in SIGNED.values()}:
        _, objects, arrays = whole(base)
        path = tmp_path / "whole.safetensors"
        path.write_bytes(sealed(objects, arrays))
        skm.load(path)
