"""Training loops: skorch over batches that lie in memory.

A data set is a tuple of tensors, inputs first and targets behind them. Batches are cut from one
permutation per epoch, not gathered sample by sample. The learning rate falls along a cosine, and
the weights of the epoch with the smallest held-out loss are the result.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import LRScheduler
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from sklmacro._base.estimators import FitTask
from sklmacro._base.workers import single_threaded
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.training.epochs import BestEpoch, Keeper, Progress, Told

BATCHES_AT_A_TIME = 16  # gathered together, so that one pass through memory serves them all


class InMemoryBatches:
    """Iterate over a TensorDataset in batches `(inputs, targets)`, shuffled by a generator."""

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        n_inputs: int = 1,
        generator: torch.Generator | None = None,
    ):
        self.tensors = dataset.tensors
        self.batch_size = batch_size
        self.n_inputs = n_inputs
        self.generator = generator

    def __len__(self) -> int:
        return math.ceil(len(self.tensors[0]) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        n = len(self.tensors[0])
        order = None if self.generator is None else torch.randperm(n, generator=self.generator)
        chunk = self.batch_size * BATCHES_AT_A_TIME
        for first in range(0, n, chunk):
            several = [self._rows(t, order, first, first + chunk) for t in self.tensors]
            for batch in zip(*(t.split(self.batch_size) for t in several), strict=True):
                yield batch[: self.n_inputs], batch[self.n_inputs :]

    @staticmethod
    def _rows(tensor: Tensor, order: Tensor | None, start: int, stop: int) -> Tensor:
        if order is None:
            return tensor[start:stop]
        return tensor.index_select(0, order[start:stop].to(tensor.device))


class _Unpacked(nn.Module):
    """Call a module with the inputs of a batch as its arguments."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, inputs: Sequence[Tensor]) -> Any:
        return self.module(*inputs)


class _Criterion(nn.Module):
    """Wrap a plain loss `(outputs, targets) -> scalar` for skorch."""

    def __init__(self, loss: Callable[[Any, Any], Tensor]):
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Any, targets: Any) -> Tensor:
        return self.loss(outputs, targets)


class _Net(NeuralNet):
    """skorch's loop over epochs, with a plain loop over batches.

    No callback here listens to single batches, whose losses are therefore only summed; telling all
    callbacks about each, and recording it, takes as long as a step of a small net. Callbacks end
    the training by `stopped_`; an interrupt ends it for good, where skorch takes it for a wish to
    stop early.
    """

    stopped_ = False

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> Self:
        """Train until all epochs are over, those of an earlier process included, or stopped."""
        self.notify("on_train_begin", X=X, y=y)
        while len(self.history) < self.max_epochs and not self.stopped_:
            self.fit_loop(X, y, epochs=1, **fit_params)
        self.notify("on_train_end", X=X, y=y)
        return self

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Run through all batches, with a step of the optimizer after each if `training`."""
        self._set_training(training)
        total, n_samples = torch.zeros(()), 0
        with torch.set_grad_enabled(training):
            for inputs, targets in iterator:
                loss = self.criterion_(self.module_(inputs), targets)
                if training:
                    self.optimizer_.zero_grad()
                    loss.backward()
                    self.optimizer_.step()
                total = total + len(inputs[0]) * loss.detach()
                n_samples += len(inputs[0])
        self.history.record(f"{prefix}_loss", float(total) / n_samples)


def held_out_rows(
    groups: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into training and held-out ones, groups kept together.

    With a single group, or a fraction of 0, the same rows serve as both.
    """
    names = np.unique(groups)
    n_held = min(round(fraction * len(names)), len(names) - 1)
    if n_held == 0 and fraction > 0 and len(names) > 1:
        n_held = 1
    everything = np.arange(len(groups))
    if n_held == 0:
        return everything, everything
    held = np.isin(groups, rng.choice(names, n_held, replace=False))
    return everything[~held], everything[held]


def train(
    build: Callable[[], nn.Module],
    loss: Callable[[Any, Any], Tensor],
    inputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    rows: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    max_epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float = 0.0,
    patience: int,
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
    verbose: bool = False,
    desc: str = "train",
    checkpoint: Checkpoint | None = None,
    task: FitTask | None = None,
    fitted: Callable[[nn.Module], dict[str, Any]] = lambda module: {},
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Build a module and train it.

    Parameters
    ----------
    build : callable
        Returns the module; its random initial weights follow from `seed`.
    loss : callable
        `loss(outputs, targets)`, mean over a batch.
    inputs, targets : sequence of ndarray
        Arrays with samples first; `build()(*inputs)` gives the outputs.
    rows : (ndarray, ndarray)
        Training and held-out rows.
    checkpoint : Checkpoint, default=None
        Where the state of the training is kept, and taken up.
    task : FitTask, default=None
        The fit, for scikit-learn's callbacks.
    fitted : callable, default=None
        Attributes of a fitted estimator, from the module with the weights of an epoch.

    Returns
    -------
    module : torch.nn.Module
        In evaluation mode, with the weights of the best epoch.
    history : list of dict
        `train_loss` and `valid_loss` of every epoch.
    """
    tensors = [torch.as_tensor(a).to(device=device, dtype=dtype) for a in (*inputs, *targets)]
    fit_rows, held_rows = (torch.as_tensor(r, device=device) for r in rows)
    train_set = TensorDataset(*(t[fit_rows] for t in tensors))
    held_set: Dataset = TensorDataset(*(t[held_rows] for t in tensors))
    best, generator = BestEpoch(patience), torch.Generator().manual_seed(seed)
    schedule = LRScheduler(
        policy=torch.optim.lr_scheduler.CosineAnnealingLR, T_max=max_epochs, eta_min=lr * 1e-3
    )
    callbacks: list = [best, schedule]
    if checkpoint is not None:
        callbacks.append(Keeper(checkpoint, generator, best, schedule))
    if task is not None:
        callbacks.append(Told(task, fitted))
    if verbose:
        callbacks.append(Progress(desc))
    with single_threaded(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build().to(device=device, dtype=dtype)
        net = _Net(
            _Unpacked(module),
            criterion=_Criterion(loss),
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=weight_decay,
            optimizer__fused=True,  # one pass over the weights
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            iterator_train=InMemoryBatches,
            iterator_train__n_inputs=len(inputs),
            iterator_train__generator=generator,
            iterator_valid=InMemoryBatches,
            iterator_valid__n_inputs=len(inputs),
            iterator_valid__batch_size=max(batch_size, 8192),
            train_split=predefined_split(held_set),
            callbacks=callbacks,
            callbacks__train_loss=None,  # the loop above records them
            callbacks__valid_loss=None,
            callbacks__print_log=None,
            device=device,
            verbose=0,
        )
        net.fit(train_set, None)
    history = [{k: float(e[k]) for k in ("train_loss", "valid_loss")} for e in net.history]
    return net.module_.module.eval().requires_grad_(False), history
