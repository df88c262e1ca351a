"""A training that diverges says in which epoch, and leaves the best weights before."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sklmacro import (
    MLP,
    OnsagerSDE,
    PatchAutoencoder,
    PatchEncoder,
    PatchSDERegressor,
    SDEEnsemble,
    Training,
)
from sklmacro.simulators import Ising, PredatorPrey
from sklmacro.training.loop import Run, train

RNG = np.random.default_rng(0)
Z = RNG.uniform(-1, 1, (300, 1))
DZ = -0.05 * Z + 0.06 * RNG.standard_normal(Z.shape)


def net(lr, **training):
    training = Training(**({"max_epochs": 3, "lr": lr} | training))
    return PatchSDERegressor(drift_model=MLP((4,), training=training), dt=0.1, random_state=0)


@pytest.mark.parametrize("lr", [1e6, 1e300])
def test_a_learning_rate_beyond_reason_leaves_the_start(lr, tmp_path):
    """That of a net is the linear drift of least squares."""
    linear = np.linalg.lstsq(np.c_[np.ones(300), Z], DZ / 0.1)[0]
    text = r"in epoch 1: the training diverged, and the weights of the start are kept; lower lr"
    with pytest.warns(ConvergenceWarning, match=text):
        sde = net(lr).fit(Z, DZ)
    expected = [linear[0, 0], linear.sum()]
    np.testing.assert_allclose(sde.drift([[0.0], [1.0]]).ravel(), expected, rtol=1e-5)
    saved = net(lr).set_params(checkpoint_dir=tmp_path / "fit")
    for _ in range(2):  # trained, and read
        with pytest.warns(ConvergenceWarning, match=text):
            np.testing.assert_array_equal(saved.fit(Z, DZ).drift(Z), sde.drift(Z))
    onsager = OnsagerSDE(hidden=(4,), training=Training(max_epochs=2, lr=lr), random_state=0)
    with pytest.warns(ConvergenceWarning, match=text):
        onsager.fit(Z, DZ)
    assert np.isfinite(onsager.drift(Z)).all()
    with pytest.warns(ConvergenceWarning, match="3 of 3 members, the first of which says: .*lr"):
        SDEEnsemble(net(lr), n_members=3, random_state=0).fit(Z, DZ)


@pytest.mark.parametrize("simulator", [PredatorPrey(), Ising(kind="chain")])
def test_closures_stay_finite(simulator):
    X = simulator.sample_initial(20, 16, random_state=0)
    for lr in (1e6, 1e300):
        training = Training(max_epochs=2, lr=lr)
        closure = PatchAutoencoder(
            simulator,
            patch=8,
            n_closure=1,
            encoder=PatchEncoder(hidden=(4,)),
            training=training,
            random_state=0,
        )
        with pytest.warns(ConvergenceWarning, match="in epoch 1: the training diverged"):
            closure.fit(X)
        assert np.isfinite(closure.transform(X)).all()


def test_training_that_goes_well_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for lr in (1e-5, 1e-3, 0.05):
            net(lr, max_epochs=6).fit(Z, DZ)


class Fragile(nn.Module):
    """A number that is right after some batches, and then lost to `worse`."""

    def __init__(self, n_good, worse):
        super().__init__()
        self.level = nn.Parameter(torch.ones(1))
        self.n_good, self.worse, self.n_batches = n_good, worse, 0

    def forward(self, y):
        self.n_batches += self.training
        loss = (self.level - y).square().mean()
        return loss if self.n_batches <= self.n_good else loss * 0 + self.worse


@pytest.mark.parametrize("worse", [np.nan, np.inf, 1e3])
def test_the_best_weights_before_are_kept(worse):
    """Two batches an epoch: three good epochs, the fourth is lost."""
    training = Training(max_epochs=9, batch_size=5, patience=9, lr=0.1)
    rows, run = (np.arange(10), np.arange(10)), Run(0)
    with pytest.warns(ConvergenceWarning, match="in epoch 4: .* weights of epoch 3 are kept"):
        module, history = train(lambda: Fragile(6, worse), [np.zeros(10)], rows, training, run)
    assert len(history) == (4 if np.isnan(worse) else 9)  # NaN is for good
    assert module.level.item() ** 2 == pytest.approx(history[2]["valid_loss"])


def test_a_loss_that_overfits_is_no_divergence():
    """Held-out rows get worse while those of the training get better."""

    class Drifting(nn.Module):
        def __init__(self):
            super().__init__()
            self.level = nn.Parameter(torch.zeros(1))

        def forward(self, y):
            return (self.level - y).square().mean()

    y = np.r_[np.full(10, 5.0), np.full(3, 0.05)]
    rows = np.arange(10), np.arange(10, 13)
    training = Training(max_epochs=60, batch_size=10, patience=60, lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module, history = train(Drifting, [y], rows, training, Run(0))
    assert history[-1]["valid_loss"] > 2.0
    assert 0 < module.level.item() < 0.2


def test_data_without_a_finite_loss_are_refused():
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"Expected (a )?finite"):
        net(1e-3).fit(Z, np.r_[DZ[:-1], [[1e200]]])
