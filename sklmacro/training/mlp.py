"""Multilayer perceptrons."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(n_in: int, n_out: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return a multilayer perceptron with tanh between its layers."""
    sizes = [n_in, *hidden]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_out))


def zero_last_layer(net: nn.Sequential) -> nn.Sequential:
    """Set the last layer to zero, so that training starts from the terms that the net adds to."""
    last = net[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return net
