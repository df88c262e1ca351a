"""The straightforward ways to do what sklmacro.sde.neural, rollout and scoring do."""

import numpy as np
import torch
from skorch import NeuralNet
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class PlainSDE(nn.Module):
    """Drift A u + b + net(u) and a full Cholesky factor, each by a perceptron of its own."""

    def __init__(self, d, hidden=(64, 64)):
        super().__init__()
        self.linear = nn.Linear(d, d)
        self.drift_net = self.perceptron(d, d, hidden)
        self.factor_net = self.perceptron(d, d * (d + 1) // 2, hidden)
        self.rows, self.columns = torch.tril_indices(d, d)
        self.double()

    @staticmethod
    def perceptron(n_in, n_out, hidden):
        layers = []
        for width in hidden:
            layers += [nn.Linear(n_in, width), nn.Tanh()]
            n_in = width
        return nn.Sequential(*layers, nn.Linear(n_in, n_out))

    def forward(self, u):
        raw = torch.zeros(len(u), u.shape[1], u.shape[1], dtype=u.dtype)
        raw[:, self.rows, self.columns] = self.factor_net(u)
        diagonal = nn.functional.softplus(torch.diagonal(raw, dim1=1, dim2=2))
        L = torch.tril(raw, -1) + torch.diag_embed(diagonal)
        return self.linear(u) + self.drift_net(u), L @ L.mT


def plain_nll(mu, Sigma, y, weight):
    """Mean of -log N(y; weight mu, Sigma), up to a constant, with an explicit inverse."""
    r = (y - weight * mu).unsqueeze(2)
    square = (r.mT @ torch.linalg.inv(Sigma) @ r).flatten()
    return 0.5 * (square + torch.linalg.slogdet(Sigma).logabsdet).mean()


def plain_step(net, optimizer, u, y, weight):
    """One step of gradient descent."""
    optimizer.zero_grad()
    loss = plain_nll(*net(u), y, weight)
    loss.backward()
    optimizer.step()
    return loss.item()


class PlainCriterion(nn.Module):
    def forward(self, outputs, targets):
        if isinstance(outputs, tuple):
            d = targets.shape[1] // 2
            return plain_nll(*outputs, targets[:, :d], targets[:, d:])
        return outputs


class PlainNothing(nn.Module):
    """A loss without a net, so that the loop about it is left."""

    def __init__(self, d):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(1))

    def forward(self, u):
        return self.weights.sum()


def plain_epoch(u, y, weight, module=PlainSDE, batch_size=1024):
    """One epoch by skorch as it comes: a DataLoader that fetches and collates single samples."""
    net = NeuralNet(
        module(u.shape[1]),
        PlainCriterion,
        optimizer=torch.optim.AdamW,
        max_epochs=1,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    net.fit(u, np.hstack([y, weight]))


def per_sample_batches(*tensors, batch_size=1024):
    """The batches of an epoch by a DataLoader that fetches and collates single samples."""
    for _ in DataLoader(TensorDataset(*tensors), batch_size=batch_size, shuffle=True):
        pass


def numpy_log_likelihood(dz, dt, mu, Sigma):
    """log N(dz; mu dt, Sigma dt) of every pair, with an explicit inverse."""
    r = dz - mu * dt[:, np.newaxis]
    covariance = Sigma * dt[:, np.newaxis, np.newaxis]
    square = np.einsum("ni,nij,nj->n", r, np.linalg.inv(covariance), r)
    constant = dz.shape[1] * np.log(2 * np.pi)
    return -0.5 * (square + np.linalg.slogdet(covariance).logabsdet + constant)


def step_by_step(model, z0, n_steps, dt, rng):
    """Euler-Maruyama paths of a fitted model by calls of its drift and diffusion."""
    z, paths = z0, [z0]
    for _ in range(n_steps):
        L = np.linalg.cholesky(model.diffusion(z) * dt)
        z = z + model.drift(z) * dt + (L @ rng.standard_normal((*z.shape, 1)))[:, :, 0]
        paths.append(z)
    return np.stack(paths, axis=1)


def plain_paths(net, z0, n_steps, dt, generator):
    """Euler-Maruyama paths (n, n_steps + 1, d), a step at a time."""
    z, paths = z0, [z0]
    with torch.no_grad():
        for _ in range(n_steps):
            mu, Sigma = net(z)
            noise = torch.randn(*z.shape, 1, dtype=z.dtype, generator=generator)
            z = z + mu * dt + (torch.linalg.cholesky(Sigma) @ noise).squeeze(2) * dt**0.5
            paths.append(z)
    return torch.stack(paths, 1)


def mmd2_time_by_time(P, Q, widths):
    """Unbiased squared MMD (n_times,) of paths (n_paths, n_times, d): all pairs by broadcasting."""

    def kernel(x, y):
        squared_distance = ((x[:, np.newaxis] - y[np.newaxis]) ** 2).sum(axis=-1)
        return sum(np.exp(-squared_distance / (2 * s**2)) for s in widths) / len(widths)

    n, m = len(P), len(Q)
    values = np.empty(P.shape[1])
    for t in range(P.shape[1]):
        x, y = P[:, t], Q[:, t]
        within_x = (kernel(x, x).sum() - n) / (n * (n - 1))
        within_y = (kernel(y, y).sum() - m) / (m * (m - 1))
        values[t] = within_x + within_y - 2 * kernel(x, y).mean()
    return values
