"""Perceptrons and the likelihood on plain arrays against torch, with autograd as the twin."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklmacro import MLP, PatchSDERegressor, Training
from sklmacro.sde import neural
from sklmacro.sde.compiled.likelihood import CompiledLikelihood, layers
from sklmacro.sde.compiled.perceptron import (
    LANES,
    backward,
    forward,
    hidden_rows,
    pack,
    transpose,
    unpack,
)
from sklmacro.sde.nets import CholeskyDiffusion, Likelihood, MLPDrift, SDENet
from sklmacro.training.mlp import mlp
from tests.problems import exact_pairs

SIZES = [(4, 0, (64, 64)), (2, 1, (5,)), (1, 0, ()), (3, 2, (6, 7, 9))]  # d, n_context, hidden


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def random_net(d, n_context, hidden, kind="full"):
    drift = MLPDrift(d + n_context, d, hidden)
    net = SDENet(drift, CholeskyDiffusion(d + n_context, d, hidden, kind)).double()
    for parameter in net.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return net


def parameters(nets):
    return [array for _, parts in nets for layer in parts for array in layer if array is not None]


@pytest.mark.parametrize(("n_in", "n_context", "hidden"), SIZES)
@pytest.mark.parametrize("n_lanes", [3, 64])
def test_perceptrons_and_their_derivatives(n_in, n_context, hidden, n_lanes):
    """Two nets that add to the same outputs, the derivatives in weights and input included."""
    pair = [mlp(n_in, 3, hidden).double(), mlp(n_in, 3, hidden[:1]).double()]
    nets = [(4, layers(net)) for net in pair]
    packed = pack(nets)
    n_hidden, largest = hidden_rows(packed.table)
    u = torch.randn(n_in, n_lanes, dtype=torch.float64, requires_grad=True)
    expected = sum(net(u.T).T for net in pair)
    U = np.zeros((packed.table[0, 2], n_lanes))
    U[:n_in] = u.detach().numpy()
    hidden, out = np.empty((n_hidden, n_lanes)), np.zeros((8, n_lanes))
    forward(packed, U, hidden, out)
    np.testing.assert_allclose(out[4:7], expected.detach().numpy(), rtol=1e-13, atol=1e-14)
    assert not out[:4].any()
    assert not out[7].any()  # what rounds the size up
    d_out = np.zeros_like(out)
    d_out[4:7] = np.random.default_rng(0).normal(size=(3, n_lanes))
    gradient, d_u = np.zeros_like(packed.flat), np.zeros_like(U)
    deltas = np.empty((2, largest, n_lanes))
    backward(transpose(packed), U, hidden, d_out, deltas, gradient, d_u)
    (expected * torch.from_numpy(d_out[4:7])).sum().backward()
    np.testing.assert_allclose(d_u[:n_in], u.grad.numpy(), rtol=1e-12, atol=1e-13)
    unpack(gradient, nets)  # overwrites the weights of the torch nets by the derivatives
    twins = [parameter for net in pair for parameter in net.parameters()]
    for array, parameter in zip(parameters(nets), twins, strict=True):
        np.testing.assert_allclose(array, parameter.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["full", "diagonal", "constant"])
@pytest.mark.parametrize(("d", "n_context", "hidden"), SIZES)
@pytest.mark.parametrize("n", [1, LANES, 300])
def test_likelihood_and_its_derivative(d, n_context, hidden, kind, n):
    net = random_net(d, n_context, hidden, kind)
    plain, compiled = Likelihood(deepcopy(net)), CompiledLikelihood(net)
    batch = [torch.randn(n, size, dtype=torch.float64) for size in (d + n_context, d, d)]
    expected, loss = plain(*batch), compiled(*batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    with torch.no_grad():
        assert compiled(*batch).item() == loss.item()
    expected.backward()
    (3 * loss).backward()
    compiled.weights.data = compiled.weights.grad / 3
    named = compiled.trained_net().named_parameters()
    for (name, derivative), twin in zip(named, plain.net.parameters(), strict=True):
        tolerance = 1e-11 * float(twin.grad.abs().max())
        np.testing.assert_allclose(
            derivative.detach(), twin.grad, rtol=1e-11, atol=tolerance, err_msg=name
        )
        assert not np.allclose(derivative.detach(), 1.001 * twin.grad, rtol=1e-11, atol=tolerance)


def test_weights_go_there_and_back():
    net = random_net(3, 1, (5, 6))
    before = deepcopy(net.state_dict())
    compiled = CompiledLikelihood(net)
    n_weights = sum(p.numel() for p in net.parameters())
    assert len(compiled.weights) > n_weights  # sizes are rounded up
    assert int((compiled.weights != 0).sum()) == n_weights
    with torch.no_grad():
        compiled.weights.mul_(2)
    for name, value in compiled.trained_net().state_dict().items():
        factor = 1 if name.endswith("place") else 2
        assert torch.equal(value, factor * before[name])


def test_a_fit_by_either_is_the_same(monkeypatch):
    """What rounds the sizes up stays zero through all steps of training."""
    pairs, _, _ = exact_pairs(n=300)
    training = Training(max_epochs=4, batch_size=70, weight_decay=0.01)
    model = PatchSDERegressor(drift_model=MLP((6, 5), training=training), random_state=1)
    compiled = clone(model).fit(pairs)
    monkeypatch.setattr(neural, "CompiledLikelihood", Likelihood)
    plain = clone(model).fit(pairs)
    for a, b in zip(compiled.history_, plain.history_, strict=True):
        assert a == pytest.approx(b, rel=1e-9)
    z = pairs["z"]
    np.testing.assert_allclose(compiled.drift(z), plain.drift(z), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(compiled.diffusion(z), plain.diffusion(z), rtol=1e-7, atol=1e-9)
