"""The loop over batches: every sample once an epoch, and the losses that are recorded."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from sklmacro.training.loop import BATCHES_AT_A_TIME, InMemoryBatches, train


@pytest.mark.parametrize("n", [1, 6, 7, 7 * BATCHES_AT_A_TIME, 7 * BATCHES_AT_A_TIME * 2 + 3])
def test_every_sample_comes_once_in_each_order(n):
    x = torch.arange(n, dtype=torch.float64)[:, None].repeat(1, 2)
    orders = []
    for generator in (None, torch.Generator().manual_seed(0)):
        batches = InMemoryBatches(TensorDataset(x, 2 * x), 7, generator=generator)
        for _ in range(2):
            seen = list(batches)
            assert len(seen) == len(batches)
            assert [len(inputs[0]) for inputs, _ in seen[:-1]] == [7] * (len(seen) - 1)
            for (inputs,), (targets,) in seen:
                assert torch.equal(targets, 2 * inputs)
            orders.append(torch.cat([inputs[0][:, 0] for inputs, _ in seen]).long().tolist())
    for order in orders:
        assert sorted(order) == list(range(n))
    assert orders[0] == orders[1] == list(range(n))
    if n > 1:
        assert orders[2] != orders[0]
        assert orders[2] != orders[3]


class Level(nn.Module):
    """One number for all samples."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x):
        return self.level.expand(len(x))


def test_losses_are_means_over_samples():
    """Of unequal batches, too; a learning rate that moves nothing makes them known."""
    x, y = np.zeros((10, 1)), np.arange(10.0)
    rows = np.arange(10), np.arange(7, 10)
    options = {"seed": 0, "max_epochs": 2, "batch_size": 4, "patience": 5}

    def loss(outputs, targets):
        return (outputs - targets[0]).square().mean()

    module, history = train(Level, loss, [x], [y], rows, lr=1e-12, **options)
    assert len(history) == 2
    for epoch in history:
        assert epoch["train_loss"] == pytest.approx(np.mean((y - 3) ** 2))
        assert epoch["valid_loss"] == pytest.approx(np.mean((y[7:] - 3) ** 2))
    assert not module.training
    moved, history = train(Level, loss, [x], [y], rows, lr=0.1, **options)
    assert history[1]["valid_loss"] < history[0]["valid_loss"] - 0.1
    assert moved.level.item() > 3.1
