"""Fidelity: few false alarms where the laws agree, and alarms where they do not."""

import numpy as np
import pytest

from sklmacro.experiments._truth.wolff import equilibrium_snapshots
from sklmacro.scoring import fidelity, structure, wave_numbers, wave_vectors
from sklmacro.simulators import Alloy, Ising, LinearChain, PredatorPrey
from tests import naive
from tests.naive import FAIL, PASS

STATES = naive.spin_states((4, 4))
ENERGY = naive.ising_energy(STATES, 1.0, 0.0, True)
ISING = Ising(temperature=3.0)


def law(temperature):
    weight = np.exp(-(ENERGY - ENERGY.min()) / temperature)
    return weight / weight.sum()


def draw(n, seed, temperature=3.0):
    return STATES[np.random.default_rng(seed).choice(len(STATES), n, p=law(temperature))]


# --- structure -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("simulator", "cells"),
    [
        (ISING, (4, 3)),
        (Ising(kind="bcc"), (2, 3, 2)),
        (Ising(kind="hcp"), (2, 3, 2)),
        (Alloy(composition=(0.5, 0.25, 0.25)), (3, 2, 2)),
        (PredatorPrey(), (6,)),
    ],
    ids=["square", "bcc", "hcp", "alloy", "fields"],
)
def test_structure_factors_agree_with_their_slow_twin(simulator, cells):
    X = simulator.sample_initial(2, cells, random_state=0)
    lattice = simulator.lattice(X.shape[1:])
    n, k = lattice.n_sites, wave_vectors(lattice).reshape(-1, lattice.ndim)
    number = wave_numbers(lattice).ravel()
    np.testing.assert_allclose(number, np.linalg.norm(k, axis=1))
    shell = np.rint(number / number[1:].min()).astype(int)
    if isinstance(simulator, Alloy):
        fields = np.stack([s == X for s in (1, 2, 3)]).astype(float).reshape(3, 2, n)
    elif simulator.n_fields > 1:
        fields = np.moveaxis(X, -1, 0).reshape(2, 2, n)
    else:
        fields = X.reshape(1, 2, n).astype(float)
    measured, pair = structure(simulator, X), 0
    where = lattice.positions()
    for i in range(len(fields)):
        for j in range(i, len(fields)):
            rows = [
                [naive.structure_factor(fields[i, r], fields[j, r], where, q) for q in k]
                for r in range(2)
            ]
            shells = np.array([[np.mean(np.array(row)[shell == s]) for s in np.unique(shell)[1:]]
                               for row in rows])  # fmt: skip
            np.testing.assert_allclose(measured.mean[pair], shells.mean(axis=0), atol=1e-10)
            error = np.abs(shells[0] - shells[1]) / 2
            np.testing.assert_allclose(measured.error[pair], error, atol=1e-10)
            pair += 1
    assert pair == len(measured.pairs)


@pytest.mark.statistical
def test_structure_is_that_of_the_enumeration():
    n, p = 20_000, law(3.0)
    waves = np.abs(np.fft.fftn(STATES.astype(float), axes=(1, 2))) ** 2 / 16
    spectrum = np.tensordot(p, waves, axes=1)
    measured = structure(ISING, draw(n, 1), parity=True)
    number = wave_numbers(ISING.lattice((4, 4)))
    shell = np.rint(number / (np.pi / 2)).astype(int)
    exact = [spectrum[shell == s].mean() for s in np.unique(shell)[1:]]
    assert (abs(measured.mean[0] - exact) < 5 * measured.error[0]).all()
    xi = np.sqrt(spectrum[0, 0] / spectrum[0, 1] - 1) / (2 * np.sin(np.pi / 4))
    assert abs(measured.length[0] - xi) < 5 * measured.length_error[0]
    hot = structure(Ising(), draw(n, 1, 3.3), parity=True)
    assert abs(hot.mean[0] - exact).max() > 10 * hot.error[0].max()
    assert abs(hot.length[0] - xi) > 6 * hot.length_error[0]


@pytest.mark.statistical
def test_error_of_the_length_is_its_spread():
    runs = [structure(ISING, draw(300, seed), parity=True) for seed in range(100, 200)]
    length, error = (np.array([getattr(r, a)[0] for r in runs]) for a in ("length", "length_error"))
    assert np.sqrt((error**2).mean()) == pytest.approx(length.std(), rel=0.35)  # 0.07 expected


def test_a_conserved_mean_has_no_length():
    X = np.tile(np.array([[1.0, -1.0, 2.0, -2.0]]), (5, 1))
    measured = structure(LinearChain(), X)
    assert np.isnan(measured.length).all()
    assert (measured.error == 0).all()


# --- fidelity ------------------------------------------------------------------------------------


@pytest.mark.statistical
def test_false_alarms_come_at_their_rate():
    p = np.array([fidelity(ISING, draw(300, s), draw(400, 1000 + s), parity=True).p_value
                  for s in range(60)])  # fmt: skip
    # 0.048 of 400 such pairs had p < 0.05: 3 expected, and more than 12 once in 1e5.
    assert (p < 0.05).sum() <= 12
    assert (p < 0.8).sum() >= 5  # not always 1


@pytest.mark.statistical
def test_another_temperature_is_seen():
    reference, same, cold, hot = (
        equilibrium_snapshots(12, T, 800, 60, np.random.default_rng(k))
        for k, T in enumerate((3.0, 3.0, 2.7, 3.3))
    )
    assert fidelity(ISING, same, reference, parity=True).p_value > PASS
    for other in (cold, hot):
        result = fidelity(ISING, other, reference, parity=True)
        assert result.p_value < FAIL
        assert abs(result.z).max() > 5


@pytest.mark.statistical
def test_another_law_of_the_given_one_is_allowed():
    """Only what is left at given magnetisation is compared by the curves.

    Curves of too low a degree would depend on the law of the magnetisation.
    """
    X = draw(6000, 5)
    tilted = X[np.random.default_rng(6).random(6000) < np.abs(ISING.observe(X)[:, 0])]
    result = fidelity(ISING, tilted, draw(6000, 7), parity=True, degree=6)
    assert (abs(result.z) < 5).all()
    assert abs(tilted.mean(axis=(1, 2))).mean() > abs(X.mean(axis=(1, 2))).mean() + 0.1
    assert result.p_value > PASS
    raw, truth = result.structures
    apart = (raw.mean - truth.mean) / np.hypot(raw.error, truth.error)
    assert abs(apart).max() > 6  # that of all magnetisations


@pytest.mark.statistical
def test_curves_are_conditional_means():
    result = fidelity(ISING, draw(3000, 8), draw(20_000, 9), parity=True, degree=6)
    assert result.quantities == ("domain wall density", "d/dt magnetisation",
                                "d/dt domain wall density")  # fmt: skip
    z, p = ISING.observe(STATES), law(3.0)
    Q = naive.glauber_generator(ENERGY, 3.0)
    values = [z[:, 1], (Q @ z)[:, 0], (Q @ z)[:, 1]]
    for q, (f, odd) in enumerate(zip(values, (False, True, False), strict=True)):
        powers = np.arange(1, 8, 2) if odd else np.arange(0, 7, 2)
        A = z[:, :1] ** powers
        c = np.linalg.solve(A.T @ (p[:, np.newaxis] * A), A.T @ (p * f))  # best over the law
        exact = result.nodes**powers @ c
        for side in range(2):
            deviation = result.curves[side, q] - exact
            assert (abs(deviation) < 5.5 * result.curve_errors[side, q] + 1e-12).all()
    assert (result.curve_errors[0] > 1.8 * result.curve_errors[1]).all()  # sqrt(20/3) = 2.6


@pytest.mark.statistical
def test_errors_of_the_differences_are_their_spread():
    z = np.array([fidelity(ISING, draw(300, s), draw(300, 1000 + s), parity=True).z
                  for s in range(60)])  # fmt: skip
    # chi2(60) / 60, of standard error 0.18: each bound is passed at a rate below 1e-5
    assert ((z**2).mean(axis=0) < 2.2).all()
    assert ((z**2).mean(axis=0) > 0.38).all()


@pytest.mark.statistical
def test_upsampled_critical_blocks_are_not_faithful():
    truth = equilibrium_snapshots(16, 2.5, 400, 40, np.random.default_rng(0))
    blocks = equilibrium_snapshots(8, 2.5, 400, 40, np.random.default_rng(1))
    result = fidelity(Ising(2.5), blocks.repeat(2, axis=1).repeat(2, axis=2), truth, parity=True)
    assert result.z[0] < -30  # walls are missing
    text = str(result)
    assert "domain wall density" in text
    assert "S(k) spin-spin" in text
    assert "xi spin" in text


@pytest.mark.statistical
def test_simulators_without_parity():
    chain = LinearChain()
    X = chain.sample_initial(200, 8, random_state=0)
    with np.errstate(all="raise"):
        result = fidelity(chain, X[:100], X[100:])
    assert result.quantities == ("d/dt mean displacement",)
    assert PASS < result.p_value <= 1
    prey = PredatorPrey()
    X = prey.sample_initial(200, 8, random_state=0)
    assert len(fidelity(prey, X[:100], X[100:], degree=1).quantities) == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"given": ("M",)}, r"given to name observables of Ising, .* but got \('M',\)"),
        ({"given": ()}, r"but got \(\); choose"),
        ({"degree": 0}, "degree to be an integer of at least 1"),
        ({"degree": 40}, r"each of 420 or more for 1 given .* \(100, 4, 4\) and \(100, 4, 4\)"),
    ],
)
def test_wrong_comparisons_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        fidelity(ISING, draw(100, 0), draw(100, 1), **options)
    with pytest.raises(ValueError, match="two snapshots or more, of two cells or more, but got 1"):
        structure(ISING, draw(1, 0))
    with pytest.raises(ValueError, match=r"equal snapshots, .*\(100, 4, 4\) and \(100, 5, 5\)"):
        fidelity(ISING, draw(100, 0), np.ones((100, 5, 5)))
