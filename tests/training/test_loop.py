"""The loop over batches: every sample once an epoch, and the losses that are recorded."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from sklmacro.training.loop import BATCHES_AT_A_TIME, InMemoryBatches, Run, train
from sklmacro.training.training import Training


@pytest.mark.parametrize("n", [1, 6, 7, 7 * BATCHES_AT_A_TIME, 7 * BATCHES_AT_A_TIME * 2 + 3])
def test_every_sample_comes_once_in_each_order(n):
    x = torch.arange(n, dtype=torch.float64)[:, None].repeat(1, 2)
    orders = []
    for generator in (None, torch.Generator().manual_seed(0)):
        batches = InMemoryBatches(TensorDataset(x, 2 * x), 7, generator=generator)
        for _ in range(2):
            seen = list(batches)
            assert len(seen) == len(batches)
            assert [len(inputs) for inputs, _ in seen[:-1]] == [7] * (len(seen) - 1)
            for inputs, targets in seen:
                assert torch.equal(targets, 2 * inputs)
            orders.append(torch.cat([inputs[:, 0] for inputs, _ in seen]).long().tolist())
    for order in orders:
        assert sorted(order) == list(range(n))
    assert orders[0] == orders[1] == list(range(n))
    if n > 1:
        assert orders[2] != orders[0]
        assert orders[2] != orders[3]


class Level(nn.Module):
    """Mean squared distance of one number from all samples."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, y):
        return (self.level - y).square().mean()


def test_losses_are_means_over_samples():
    """Of unequal batches, too; a learning rate that moves nothing makes them known."""
    y, rows, run = np.arange(10.0), (np.arange(10), np.arange(7, 10)), Run(0)
    training = Training(max_epochs=2, batch_size=4, patience=5, lr=1e-12)
    module, history = train(Level, [y], rows, training, run)
    assert len(history) == 2
    for epoch in history:
        assert epoch["train_loss"] == pytest.approx(np.mean((y - 3) ** 2))
        assert epoch["valid_loss"] == pytest.approx(np.mean((y[7:] - 3) ** 2))
    assert not module.training
    moved, history = train(Level, [y], rows, training.set_params(lr=0.1), run)
    assert history[1]["valid_loss"] < history[0]["valid_loss"] - 0.1
    assert moved.level.item() > 3.1
