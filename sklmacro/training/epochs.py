"""What happens at the beginning and at the end of epochs: skorch callbacks.

`SavedState` saves all that a training depends on, so that it resumes with the same bits: the
weights, and those of the best epoch; AdamW's moments and numbers of steps; the learning rate and
its schedule; the losses of all epochs; and the generator that shuffles the batches. Nothing else is
random: initial weights follow from the seed, and no module draws numbers in training.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, LRScheduler
from skorch.history import History
from torch import Tensor, nn
from tqdm.auto import tqdm

from sklmacro._base.estimators import FitTask
from sklmacro.checkpoint.checkpoint import Checkpoint

SAVE_SECONDS = 5.0  # between two saved states; what a kill may cost
FAR = 3.0  # by how many times its size, or 1, a loss exceeds another that it is far from
PART = "training"  # of a checkpoint


class BestEpoch(Callback):
    """Stop after `patience` epochs without a smaller held-out loss, and return to the best one.

    `start` is the held-out loss of the initial weights, to which it returns where no epoch comes
    near.
    """

    def __init__(self, patience: int, start: float):
        self.patience, self.start = patience, start

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget earlier trainings."""
        self.loss_, self.epoch_ = math.inf, 0
        self.weights_: dict[str, Tensor] = {}
        self.initial_ = deepcopy(net.module_.state_dict())

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Save the weights if they are the best so far, or stop."""
        loss, epoch = net.history[-1, "valid_loss"], len(net.history)
        if loss < self.loss_:
            self.loss_, self.epoch_ = loss, epoch
            self.weights_ = deepcopy(net.module_.state_dict())
        elif epoch - self.epoch_ == self.patience or math.isnan(loss):
            net.stopped_ = True  # weights that are NaN stay so

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Return to the best weights; warn of a training that diverged."""
        far = _is_far(self.loss_, self.start)
        if far and not math.isfinite(self.start):
            raise ValueError(
                f"Expected a finite loss, but got {self.start} at the start and in all epochs; "
                "look for values that are larger than all others by far, and rescale them."
            )
        net.module_.load_state_dict(self.initial_ if far else self.weights_)
        least = min(record["train_loss"] for record in net.history)
        lost = [far or self._is_lost(record, least) for record in net.history]
        if lost[-1]:
            epoch, kept = lost.index(True), "of the start" if far else f"of epoch {self.epoch_}"
            warnings.warn(
                f"Expected a held-out loss near {self.start:.3g}, that of the start, or below, but "
                f"got {net.history[epoch, 'valid_loss']:.3g} in epoch {epoch + 1}: the training "
                f"diverged, and the weights {kept} are kept; lower lr, now {net.lr:g}, or look for "
                "values far from all others.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _is_lost(self, record: Mapping[str, float], least: float) -> bool:
        """Tell whether an epoch diverged. One that overfits has about the least training loss."""
        held, trained = record["valid_loss"], record["train_loss"]
        return math.isnan(held) or (_is_far(held, self.start) and _is_far(trained, least))


def _is_far(loss: float, reference: float) -> bool:
    """Tell whether a loss is NaN, infinite or far above a finite reference."""
    excess = loss - reference if math.isfinite(reference) else 0.0
    return not (math.isfinite(loss) and excess <= FAR * max(1.0, abs(reference)))


class Progress(Callback):
    """Bar over the epochs, with the held-out loss and the time left."""

    def __init__(self, desc: str):
        self.desc = desc

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Show the bar."""
        done = len(net.history)
        self.bar_ = tqdm(total=net.max_epochs, initial=done, desc=self.desc, leave=False)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance it."""
        self.bar_.set_postfix(valid_loss=f"{net.history[-1, 'valid_loss']:.5f}")
        self.bar_.update()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Remove it."""
        self.bar_.close()


class EpochTasks(Callback):
    """Begin and end a task of scikit-learn's callbacks for every epoch; stop if one asks to.

    `fitted` returns the estimator's attributes with the present weights of a module.
    """

    def __init__(self, task: FitTask, fitted: Callable[[nn.Module], dict[str, Any]]):
        self.task, self.fitted = task, fitted

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin and end the epochs of an earlier process."""
        for _ in net.history:
            self.task.epoch().end()

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a task."""
        self.epoch_ = self.task.epoch()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End it."""
        if self.epoch_.end(lambda: self.fitted(net.module_)):
            net.stopped_ = True


class SavedState(Callback):
    """Save the state of a training in a checkpoint, and resume from there.

    It comes right after `best` and `schedule`, part of whose state it saves.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        generator: torch.Generator,
        best: BestEpoch,
        schedule: LRScheduler,
    ):
        self.checkpoint, self.generator = checkpoint, generator
        self.best, self.schedule = best, schedule

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Resume from a saved state."""
        self.saved_ = time.monotonic()
        self.checkpoint.load(PART, lambda value: self._restore(net, *value))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Save the state, if the last time is long enough ago."""
        if time.monotonic() - self.saved_ >= SAVE_SECONDS:
            self._save(net)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Save the last state."""
        self._save(net)

    def _save(self, net: Any) -> None:
        optimizer = net.optimizer_.state_dict()
        arrays = {
            **_arrays("weights", net.module_.state_dict()),
            **_arrays("best", self.best.weights_),
            "generator": self.generator.get_state().numpy(),
        }
        for number, moments in optimizer["state"].items():
            arrays |= _arrays(f"optimizer {number}", moments)
        state = {
            "history": net.history.to_list(),
            "stopped": net.stopped_,
            "best": [self.best.loss_, self.best.epoch_],
            "lr": [group["lr"] for group in optimizer["param_groups"]],
            "schedule": self.schedule.lr_scheduler_.state_dict(),
        }
        self.checkpoint.save(PART, (arrays, state))
        self.saved_ = time.monotonic()

    def _restore(self, net: Any, arrays: Mapping[str, np.ndarray], state: dict[str, Any]) -> None:
        schedule = self.schedule.lr_scheduler_.state_dict()
        numbers = [
            *(epoch[name] for epoch in state["history"] for name in ("train_loss", "valid_loss")),
            *state["best"], *state["lr"], state["stopped"],
        ]  # fmt: skip
        alike = {k: type(v) for k, v in state["schedule"].items()} == {
            k: type(v) for k, v in schedule.items()
        }
        if not alike or not all(isinstance(number, int | float) for number in numbers):
            raise ValueError("Expected losses, rates and numbers of epochs, but got others.")
        net.history, net.stopped_ = History(state["history"]), state["stopped"]
        weights = net.module_.state_dict()
        net.module_.load_state_dict(_like(weights, _tensors("weights", arrays)))
        self.best.loss_, self.best.epoch_ = state["best"]
        best = _tensors("best", arrays)
        if not best and math.isfinite(self.best.loss_):
            raise ValueError("Expected the weights of the best epoch, but got none.")
        self.best.weights_ = _like(weights, best) if best else best
        self.schedule.lr_scheduler_.load_state_dict(state["schedule"])
        optimizer = net.optimizer_.state_dict()
        parameters = iter([p for group in net.optimizer_.param_groups for p in group["params"]])
        for group, lr in zip(optimizer["param_groups"], state["lr"], strict=True):
            group["lr"] = lr
            for number in group["params"]:
                moments = _tensors(f"optimizer {number}", arrays)
                like, step = next(parameters), torch.zeros(())
                wanted = {"step": step, "exp_avg": like, "exp_avg_sq": like}
                # The fused step trusts the shapes.
                optimizer["state"][number] = _like(wanted, moments) if moments else moments
        net.optimizer_.load_state_dict(optimizer)
        self.generator.set_state(torch.from_numpy(arrays["generator"]))


def _like(wanted: Mapping[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors; raise ValueError unless their names, types and shapes are those wanted."""
    forms = [{k: (t.shape, t.dtype) for k, t in some.items()} for some in (wanted, given)]
    if forms[0] != forms[1]:
        raise ValueError(f"Expected tensors of the forms {forms[0]}, but got {forms[1]}.")
    return given


def _arrays(what: str, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return tensors as arrays, under names that begin with what they belong to."""
    return {f"{what}/{name}": tensor.numpy(force=True) for name, tensor in tensors.items()}


def _tensors(what: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the arrays whose names begin so as tensors."""
    named = {name.partition("/")[::2]: array for name, array in arrays.items()}
    return {own: torch.from_numpy(array) for (of, own), array in named.items() if of == what}
