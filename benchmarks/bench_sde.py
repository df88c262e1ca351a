"""Training and paths of macroscopic SDEs. Both contestants compute in double precision."""

from functools import cache

import numpy as np
import torch
from torch import nn

from benchmarks import baselines_sde as plain
from benchmarks.measure import compare
from sklmacro import MLP, OnsagerSDE, PatchSDERegressor, Training
from sklmacro.likelihood import transition_log_likelihood
from sklmacro.sde.compiled.likelihood import CompiledLikelihood
from sklmacro.sde.nets import CholeskyDiffusion, MLPDrift, SDENet
from sklmacro.training.loop import InMemoryBatches, Run, train

D, HIDDEN, BATCH, N_PAIRS = 4, (64, 64), 1024, 150_000
BATCHES = [256, 1024, 8192]
PATHS = [(1, 3000), (50, 3000), (4096, 200)]  # n_paths, n_steps
MODELS = {
    "mlp": PatchSDERegressor(
        drift_model=MLP(hidden=HIDDEN, training=Training(max_epochs=1)), dt=0.1, random_state=0
    ),
    "onsager": OnsagerSDE(training=Training(max_epochs=1), hidden=HIDDEN, dt=0.1, random_state=0),
    "polynomial": PatchSDERegressor(drift_model="polynomial", dt=0.1),
    "gp": PatchSDERegressor(drift_model="gp", dt=0.1),
}


def batch(n, d=D):
    """u, y and weight."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.uniform(0.1, 0.2, size=(n, d))


def likelihood(d=D):
    return CompiledLikelihood(
        SDENet(MLPDrift(d, d, HIDDEN), CholeskyDiffusion(d, d, HIDDEN, "full"))
    )


def training_step(n, d=D):
    """One step as skorch makes it."""
    loss = likelihood(d)
    optimizer = torch.optim.AdamW(loss.parameters(), fused=True)
    tensors = [torch.from_numpy(a) for a in batch(n, d)]

    def step():
        optimizer.zero_grad()
        value = loss(*tensors)
        value.backward()
        optimizer.step()
        value.item()

    return step


def plain_training_step(n, d=D):
    net = plain.PlainSDE(d, HIDDEN)
    optimizer = torch.optim.AdamW(net.parameters())
    tensors = [torch.from_numpy(a) for a in batch(n, d)]
    return lambda: plain.plain_step(net, optimizer, *tensors) and None


class Nothing(nn.Module):
    """A loss without a net, so that the loop about it is left."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(1))

    def forward(self, u, y, weight):
        return self.weights.sum()


def epoch(build, arrays):
    """One epoch by `train`, all of skorch included."""
    rows = np.arange(len(arrays[0])), np.arange(BATCH)
    train(build, arrays, rows, Training(max_epochs=1, batch_size=BATCH, patience=1), Run(0))


def batches(tensors):
    generator = torch.Generator().manual_seed(0)
    dataset = torch.utils.data.TensorDataset(*tensors)
    for _ in InMemoryBatches(dataset, BATCH, generator=generator):
        pass


@cache
def fitted(name):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2000, D))
    return MODELS[name].fit(z, -0.1 * z + 0.1 * rng.normal(size=z.shape))


def simulate(name, n_paths, n_steps):
    fitted(name).simulate(np.zeros(D), n_steps, 0.01, n_paths=n_paths, random_state=0)


class TrainingStep:
    params = BATCHES

    def setup(self, n):
        self.step = training_step(n)
        self.step()

    def time_step(self, n):
        self.step()

    def peakmem_step(self, n):
        self.step()


class Epoch:
    def setup(self):
        self.arrays = batch(N_PAIRS)

    def time_epoch(self):
        epoch(likelihood, self.arrays)

    def peakmem_epoch(self):
        epoch(likelihood, self.arrays)


class Paths:
    params = (list(MODELS), PATHS)

    def setup(self, name, size):
        simulate(name, 1, 1)

    def time_simulate(self, name, size):
        simulate(name, *size)

    def peakmem_simulate(self, name, size):
        simulate(name, *size)


def ratios():
    for n in BATCHES:
        yield compare(
            "SDE training step", "torch: autograd, inverse and slogdet of L L^T",
            f"batch {n}, d={D}, two nets {HIDDEN}", training_step(n), plain_training_step(n),
            goal=2.5 if n > 256 else None,
        )  # fmt: skip
    yield compare(
        "SDE training step", "torch: autograd, inverse and slogdet of L L^T",
        f"batch 1024, d=10, two nets {HIDDEN}", training_step(1024, 10),
        plain_training_step(1024, 10), turns=3,
    )  # fmt: skip
    yield from epochs()
    yield from rollouts()
    yield log_likelihood()


def epochs():
    arrays = batch(N_PAIRS)
    tensors = [torch.from_numpy(a) for a in arrays]
    size = f"{N_PAIRS} pairs, batches of {BATCH}, d={D}"
    yield compare(
        "batches of an epoch", "torch DataLoader, sample by sample", size,
        lambda: batches(tensors), lambda: plain.per_sample_batches(*tensors), goal=60, turns=3,
    )  # fmt: skip
    yield compare(
        "epoch, skorch included, no net", "skorch's own loader, sample by sample", size,
        lambda: epoch(Nothing, arrays), lambda: plain.plain_epoch(*arrays, plain.PlainNothing),
        turns=3,
    )  # fmt: skip
    yield compare(
        "epoch, skorch and both nets included", "skorch's own loader, plain training step", size,
        lambda: epoch(likelihood, arrays), lambda: plain.plain_epoch(*arrays), goal=60, turns=3,
    )  # fmt: skip


def rollouts():
    net, generator = plain.PlainSDE(D, HIDDEN), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.1)
        net.linear.weight.copy_(-torch.eye(D))
    goals = {50: 8, 4096: 3}
    for n_paths, n_steps in PATHS:
        start = torch.zeros(n_paths, D, dtype=torch.float64)
        few = min(n_steps, 1000 if n_paths <= 50 else 50)  # of the slower one: a time per step
        yield compare(
            "rollout of nets", "torch, a step at a time",
            f"{n_paths} paths, {n_steps} steps, d={D}",
            lambda n=n_paths, k=n_steps: simulate("mlp", n, k) or k,
            lambda z=start, k=few: len(plain.plain_paths(net, z, k, 0.01, generator)) and k,
            goal=goals.get(n_paths), turns=3,
        )  # fmt: skip
    yield compare(
        "rollout, gp", "rollout of nets", f"1000 paths, 200 steps, d={D}",
        lambda: simulate("gp", 1000, 200) or 200, lambda: simulate("mlp", 1000, 200) or 200,
        goal=1, turns=3,
    )  # fmt: skip
    for name in ("onsager", "polynomial"):
        model, rng, start = fitted(name), np.random.default_rng(0), np.zeros((50, D))
        yield compare(
            f"rollout, {name}", "drift and diffusion called at every step",
            f"50 paths, 3000 steps, d={D}",
            lambda name=name: simulate(name, 50, 3000) or 3000,
            lambda m=model, r=rng, z=start: len(plain.step_by_step(m, z, 300, 0.01, r)) and 300,
            turns=3,
        )  # fmt: skip


def log_likelihood(n=100_000):
    rng = np.random.default_rng(0)
    dz, mu = rng.normal(size=(2, n, D))
    dt = rng.uniform(0.1, 0.2, n)
    L = np.tril(rng.normal(size=(n, D, D)) * 0.1) + np.eye(D)
    Sigma = L @ L.mT
    ours, theirs = (
        lambda: transition_log_likelihood(dz, dt, mu, L),
        lambda: plain.numpy_log_likelihood(dz, dt, mu, Sigma),
    )
    assert np.allclose(ours(), theirs())
    return compare(
        "log-likelihood of increments", "numpy: inverse and slogdet of the covariance",
        f"{n} pairs, d={D}", lambda: len(ours()), lambda: len(theirs()), turns=3,
    )  # fmt: skip
