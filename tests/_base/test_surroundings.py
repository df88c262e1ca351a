"""Results do not depend on what surrounds them: modes of torch, the order of arrays in memory."""

import contextlib
import copy

import numpy as np
import pytest
import torch

import sklmacro as skm
from sklmacro import MLP, OnsagerSDE, PatchSDERegressor, Training
from sklmacro._base.workers import plain_torch, single_threaded
from sklmacro.scoring import mmd2_paths
from sklmacro.simulators import Ising

TRAINING = Training(max_epochs=2, batch_size=64)


@contextlib.contextmanager
def setting(change, value, before):
    change(value)
    try:
        yield
    finally:
        change(before)


@contextlib.contextmanager
def double():
    with setting(torch.set_default_dtype, torch.float64, torch.float32):
        yield
        assert torch.get_default_dtype() == torch.float64


@contextlib.contextmanager
def flushed():
    with setting(torch.set_flush_denormal, True, False):
        yield
        assert np.float64(5e-324) * np.float64(1.0) == 0.0


@contextlib.contextmanager
def inference():
    with torch.inference_mode():
        yield
        assert torch.is_inference_mode_enabled()


MODES = {
    "double precision": double,
    "flushed denormals": flushed,
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "device context": lambda: torch.device("meta"),
    "inference mode": inference,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu"),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
}


def learn(folder):
    """Return what fits, evaluations and files give."""
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 1, (100, 2))
    dz = -0.05 * z + 0.06 * rng.standard_normal(z.shape)
    ising = Ising()
    X = ising.sample_initial(12, 8, random_state=0)
    pairs = skm.PartialEvolutionSampler(ising, patch=4, random_state=0).fit_transform(X)
    closure = skm.PatchAutoencoder(
        ising, n_closure=1, encoder=skm.PatchEncoder(hidden=(4,)), training=TRAINING, random_state=0
    )
    values = [closure.fit_transform(pairs)["dz"], closure.inverse_transform(closure.transform(X))]
    options = {"dt": 0.1, "random_state": 0}
    for sde in (
        PatchSDERegressor(drift_model=MLP((4,), training=TRAINING), **options),
        OnsagerSDE(hidden=(4,), training=TRAINING, parity=(-1, 1), **options),
        OnsagerSDE(hidden=(4,), training=TRAINING, **options),
    ):
        sde.fit(z, dz)
        skm.save(sde, folder / "sde.safetensors")
        values += [sde.drift(z), sde.diffusion(z), sde.simulate(z[:3], 9, 0.1, random_state=0)]
        values += [skm.load(folder / "sde.safetensors").drift(z), copy.deepcopy(sde).drift(z)]
    return [*values, sde.potential(z), sde.potential_gradient(z)]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return learn(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_torch_do_not_show(mode, learned, tmp_path):
    with MODES[mode]():
        got = learn(tmp_path)
    for value, expected in zip(got, learned, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_modes_of_torch_show_in_a_net_of_its_own():
    """Negative control: the modes are on."""
    for mode, value in (("double precision", torch.float64), ("autocast", torch.bfloat16)):
        with MODES[mode](), torch.random.fork_rng():
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == value
    with MODES["default device"](), plain_torch():
        assert torch.ones(1).device.type == "cpu"
    with MODES["default device"]():
        assert torch.ones(1).device.type == "meta"


def test_settings_come_back_after_an_exception():
    def fail():
        with single_threaded():
            raise KeyError(torch.get_default_dtype())

    with double(), pytest.raises(KeyError, match="float32"):
        fail()


def backwards(a):
    return np.array(a[::-1])[::-1]


def every_other(a):
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "strided": every_other,
    "backwards": backwards,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": read_only,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_in_memory_does_not_show(layout):
    rng, lay = np.random.default_rng(0), LAYOUTS[layout]
    z = rng.uniform(-1, 1, (300, 3))
    dz = -0.05 * z + 0.06 * rng.standard_normal(z.shape)
    paths = rng.standard_normal((2, 30, 7, 2))
    ising = Ising()
    X = ising.sample_initial(3, 8, random_state=0)

    def results(lay):
        sde = PatchSDERegressor(drift_model="polynomial", dt=0.1).fit(lay(z), lay(dz))
        sampler = skm.PartialEvolutionSampler(ising, patch=4, boundary=1, random_state=0)
        return [
            sde.drift(lay(z)), sde.predict(lay(z)), np.array(sde.score(lay(z), lay(dz))),
            sde.simulate(lay(z[:4]), 9, 0.1, random_state=0),
            ising.advance(lay(X), duration=1.0, random_state=0)[0],
            ising.moments(lay(X))[1], sampler.fit_transform(lay(X))["d_obs"],
            mmd2_paths(lay(paths[0]), lay(paths[1])),
        ]  # fmt: skip

    for value, expected in zip(results(lay), results(np.array), strict=True):
        np.testing.assert_array_equal(value, expected)
