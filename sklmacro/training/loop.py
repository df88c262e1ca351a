"""Training loops: skorch over batches that lie in memory.

Batches are cut from one permutation per epoch, not gathered sample by sample. The learning rate
falls along a cosine, and the weights of the epoch with the smallest held-out loss are the result.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import LRScheduler
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from sklmacro._base.estimators import FitTask
from sklmacro._base.streams import Stage, resolve_entropy, stream_seed
from sklmacro._base.workers import single_threaded
from sklmacro.checkpoint.checkpoint import Checkpoint
from sklmacro.training.epochs import BestEpoch, EpochTasks, Progress, SavedState
from sklmacro.training.training import Training

BATCHES_AT_A_TIME = 16  # gathered together, so that one pass through memory serves them all


class InMemoryBatches:
    """Iterate over a TensorDataset in batches, tuples of tensors, shuffled by a generator."""

    def __init__(self, dataset: Any, batch_size: int, generator: torch.Generator | None = None):
        self.tensors = dataset.tensors
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return math.ceil(len(self.tensors[0]) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        n = len(self.tensors[0])
        order = None if self.generator is None else torch.randperm(n, generator=self.generator)
        chunk = self.batch_size * BATCHES_AT_A_TIME
        for first in range(0, n, chunk):
            part = slice(first, first + chunk)
            several = (
                t[part] if order is None else t.index_select(0, order[part].to(t.device))
                for t in self.tensors
            )
            yield from zip(*(t.split(self.batch_size) for t in several), strict=True)


class _Net(NeuralNet):
    """skorch's loop over epochs, with a plain loop over batches.

    No callback here listens to single batches, whose losses are therefore only summed; to call all
    callbacks after each, and to record it, takes as long as a step of a small net. Callbacks end
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
            for batch in iterator:
                loss = self.module_(*batch)
                if training:
                    self.optimizer_.zero_grad()
                    loss.backward()
                    self.optimizer_.step()
                total = total + len(batch[0]) * loss.detach()
                n_samples += len(batch[0])
        self.history.record(f"{prefix}_loss", float(total) / n_samples)


def held_out_rows(
    groups: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into training and held-out ones, by whole groups.

    With a single group, of which a warning tells, or a fraction of 0, the same rows serve as both.
    """
    names = np.unique(groups)
    if fraction > 0 and len(names) < 2:
        warnings.warn(
            "Expected at least 2 groups (source trajectories), to hold one out, but got 1: the "
            "training stops by the loss of what it is fitted to; pass more trajectories.",
            stacklevel=4,
        )
    n_held = min(max(round(fraction * len(names)), int(fraction > 0)), len(names) - 1)
    everything = np.arange(len(groups))
    if n_held == 0:
        return everything, everything
    held = np.isin(groups, rng.choice(names, n_held, replace=False))
    return everything[~held], everything[held]


def _mean_loss(module: nn.Module, dataset: Any, batch_size: int) -> float:
    """Return the mean loss over a TensorDataset, as it stands."""
    with torch.no_grad():
        batches = InMemoryBatches(dataset, batch_size)
        total = sum(len(batch[0]) * float(module.eval()(*batch)) for batch in batches)
    return total / len(dataset)


@dataclass(frozen=True)
class Run:
    """One run of a training: its seed, and who follows it."""

    random_state: Any = None  # seed of initial weights and of batches; of a checkpoint its entropy
    verbose: bool = False  # show a progress bar
    checkpoint: Checkpoint | None = None  # where the state of the training is saved
    task: FitTask | None = None  # the fit, for scikit-learn's callbacks
    desc: str = "train"  # label of the progress bar
    # Attributes of a fitted estimator, from the module with the weights of an epoch.
    fitted: Callable[[Any], dict[str, Any]] | None = None


def train(
    build: Callable[[], nn.Module],
    arrays: Sequence[np.ndarray],
    rows: tuple[np.ndarray, np.ndarray],
    training: Training,
    run: Run,
    dtype: torch.dtype = torch.float64,
) -> tuple[Any, list[dict[str, float]]]:
    """Build a module and train it.

    Parameters
    ----------
    build : callable
        Returns the module, whose random initial weights follow from the seed. Called with a batch
        of `arrays`, samples along the first axis, it gives the mean loss in the type `dtype`.
    rows : (ndarray, ndarray)
        Training and held-out rows.
    training : Training
        Complete, without None.

    Returns
    -------
    module : torch.nn.Module
        In evaluation mode, with the weights of the best epoch.
    history : list of dict
        `train_loss` and `valid_loss` of every epoch.
    """
    device, batch_size = training.device, training.batch_size
    seed = stream_seed(resolve_entropy(run.random_state), Stage.TRAIN)
    generator = torch.Generator().manual_seed(seed)
    policy, lr = torch.optim.lr_scheduler.CosineAnnealingLR, training.lr
    schedule = LRScheduler(policy=policy, T_max=training.max_epochs, eta_min=lr * 1e-3)
    with single_threaded(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tensors = [torch.as_tensor(a).to(device=device, dtype=dtype) for a in arrays]
        train_set, held_set = (
            TensorDataset(*(t[torch.as_tensor(r, device=device)] for t in tensors)) for r in rows
        )
        module = build().to(device=device, dtype=dtype)
        held_batch = max(batch_size, 8192)
        best = BestEpoch(training.patience, _mean_loss(module, held_set, held_batch))
        callbacks: list = [best, schedule]
        if run.checkpoint is not None:
            callbacks.append(SavedState(run.checkpoint, generator, best, schedule))
        if run.task is not None:
            callbacks.append(EpochTasks(run.task, run.fitted or (lambda module: {})))
        if run.verbose:
            callbacks.append(Progress(run.desc))
        net = _Net(
            module,
            criterion=nn.Module,  # the module gives the loss itself
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=training.weight_decay,
            optimizer__fused=True,  # one pass over the weights
            lr=lr,
            max_epochs=training.max_epochs,
            batch_size=batch_size,
            iterator_train=InMemoryBatches,
            iterator_train__generator=generator,
            iterator_valid=InMemoryBatches,
            iterator_valid__batch_size=held_batch,
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
    return net.module_.eval().requires_grad_(False), history
