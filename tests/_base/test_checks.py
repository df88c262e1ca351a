"""What is no data is refused wherever data enter: masked values, dates, texts, complex numbers."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sklmacro import (
    HierarchicalUpsampler,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchSDERegressor,
    SDEEnsemble,
    StreamedPairs,
    Training,
)
from sklmacro._base.checks import check_bounds, check_unmasked, check_whole, is_exact
from sklmacro.lattice import Lattice, PatchGrid
from sklmacro.likelihood import transition_log_likelihood
from sklmacro.pairs import latent_pairs
from sklmacro.plots import DriftDisplay, SnapshotDisplay, StationaryDisplay, TrajectoryDisplay
from sklmacro.scoring import (
    ReferencePaths,
    autocorrelation_time,
    binder,
    dt_plateau,
    mean_path_error,
    mmd2,
    nearest_potential,
    power_law,
    reversal_time,
    stationary_density,
    std_ratio,
    structure,
    thermodynamic_force,
    wasserstein,
)
from sklmacro.simulators import Alloy, Ising, PredatorPrey

RNG = np.random.default_rng(0)
Z = RNG.uniform(-1, 1, (40, 2))
DZ = -0.05 * Z + 0.06 * RNG.standard_normal(Z.shape)
GROUPS = np.arange(40)
LINEAR = {"drift_model": "linear", "diffusion_model": "constant", "dt": 0.1}
SDE = PatchSDERegressor(**LINEAR).fit(Z, DZ)
LINE = PatchSDERegressor(**LINEAR).fit(Z[:, :1], DZ[:, :1])
IN_CONTEXT = PatchSDERegressor(**LINEAR).fit(latent_pairs(Z, DZ, 0.1, context=Z[:, :1] ** 2))
ENSEMBLE = SDEEnsemble(PatchSDERegressor(**LINEAR), n_members=2, random_state=0).fit(Z, DZ)
ONSAGER = OnsagerSDE(hidden=(4,), training=Training(max_epochs=1), random_state=0).fit(Z, DZ)
ISING, SPDE, ALLOY = Ising(), PredatorPrey(), Alloy()
SPINS = ISING.sample_initial(6, 8, random_state=0)
FIELDS = SPDE.sample_initial(12, 16, random_state=0)
ATOMS = ALLOY.sample_initial(2, 3, random_state=0)
SAMPLER = PartialEvolutionSampler(SPDE, patch=8, random_state=0).fit(FIELDS)
UPSAMPLER = HierarchicalUpsampler(SPDE, relaxation=None, random_state=0).fit(FIELDS)
CLOSURE = PatchAutoencoder(SPDE, patch=8, n_closure=0).fit(FIELDS)
P, Q = RNG.normal(size=(5, 4, 2)), RNG.normal(size=(6, 4, 2))
TIMES, GRID = np.arange(4.0), np.linspace(-1, 1, 20)
UNIT = np.tile(np.eye(2), (40, 1, 1))

ENTRANCES = {
    "fit X": (lambda v: PatchSDERegressor(**LINEAR).fit(v, DZ), Z),
    "fit y": (lambda v: PatchSDERegressor(**LINEAR).fit(Z, v), DZ),
    "fit groups": (lambda v: PatchSDERegressor(**LINEAR).fit(Z, DZ, v), GROUPS),
    "predict": (SDE.predict, Z),
    "drift": (SDE.drift, Z),
    "diffusion": (SDE.diffusion, Z),
    "simulate": (lambda v: SDE.simulate(v, 2, 0.1), Z[:3]),
    "score X": (lambda v: SDE.score(v, DZ), Z),
    "score y": (lambda v: SDE.score(Z, v), DZ),
    "context": (lambda v: IN_CONTEXT.drift(Z, v), Z[:, :1] ** 2),
    "context of paths": (
        lambda v: IN_CONTEXT.simulate(Z[:3], 2, 0.1, context=v, outside="ignore"),
        Z[:3, :1],
    ),
    "ensemble fit": (lambda v: SDEEnsemble(PatchSDERegressor(**LINEAR)).fit(v, DZ), Z),
    "ensemble drift": (ENSEMBLE.drift, Z),
    "ensemble predict": (ENSEMBLE.predict, Z),
    "ensemble simulate": (lambda v: ENSEMBLE.simulate(v, 2, 0.1), Z[:3]),
    "members": (lambda v: ENSEMBLE.simulate_members(v, 2, 0.1), Z[:3]),
    "estimate": (lambda v: ENSEMBLE.estimate(np.mean, v, 2, 0.1, n_paths=1), Z[:3]),
    "potential": (ONSAGER.potential, Z),
    "force": (ONSAGER.force, Z),
    "bounds": (lambda v: PatchSDERegressor(bounds=v).check_parameters(), np.array([[-1.0, 1.0]])),
    "pairs z": (lambda v: latent_pairs(v, DZ, 0.1), Z),
    "pairs dz": (lambda v: latent_pairs(Z, v, 0.1), DZ),
    "pairs dt": (lambda v: latent_pairs(Z, DZ, v), np.full(40, 0.1)),
    "pairs cov": (lambda v: latent_pairs(Z, DZ, 0.1, cov=v), UNIT),
    "pairs context": (lambda v: latent_pairs(Z, DZ, 0.1, context=v), Z[:, :1]),
    "pairs group": (lambda v: latent_pairs(Z, DZ, 0.1, group=v), GROUPS),
    "pairs n_patches": (lambda v: latent_pairs(Z, DZ, 0.1, n_patches=v), np.full(40, 4)),
    "pairs lam": (lambda v: latent_pairs(Z, DZ, 0.1, lam=v), np.full(40, 4.0)),
    "simulate spins": (lambda v: ISING.simulate(v, [0.0, 0.1]), SPINS),
    "advance": (lambda v: ISING.advance(v, duration=0.1), SPINS),
    "observe": (ISING.observe, SPINS),
    "moments": (ISING.moments, SPINS),
    "times": (lambda v: ISING.simulate(SPINS, v), TIMES),
    "fields": (SPDE.observe, FIELDS),
    "atoms": (ALLOY.environments, ATOMS),
    "upsample": (UPSAMPLER.transform, FIELDS),
    "sample fit": (lambda v: PartialEvolutionSampler(SPDE, patch=8).fit(v), FIELDS),
    "sample": (SAMPLER.transform, FIELDS),
    "sample groups": (lambda v: SAMPLER.transform(FIELDS, v), GROUPS[:12]),
    "closure": (CLOSURE.transform, FIELDS),
    "streamed": (lambda v: StreamedPairs(None, SAMPLER, CLOSURE).fit_transform(v), FIELDS),
    "mmd": (lambda v: mmd2(v, Q[:, 0]), P[:, 0]),
    "mmd scale": (lambda v: mmd2(P[:, 0], Q[:, 0], scale=v), np.array([1.0, 2.0])),
    "mean path": (lambda v: mean_path_error(P, v), Q),
    "std ratio": (lambda v: std_ratio(v, Q), P),
    "reference x0": (lambda v: ReferencePaths(v, Q, TIMES), Z[:6]),
    "reference paths": (lambda v: ReferencePaths(Z[:6], v, TIMES), Q),
    "reference times": (lambda v: ReferencePaths(Z[:6], Q, v), TIMES),
    "reference context": (lambda v: ReferencePaths(Z[:6], Q, TIMES, v), Z[:6, :1]),
    "wasserstein": (lambda v: wasserstein(v, TIMES), TIMES),
    "stationary": (lambda v: stationary_density(LINE, v), GRID),
    "reversal": (lambda v: reversal_time(v, 0.1), P[:, :, 0]),
    "autocorrelation": (lambda v: autocorrelation_time(v, 0.1), RNG.normal(size=(3, 200))),
    "power law": (lambda v: power_law(v, [1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0])),
    "binder": (lambda v: binder(v, [1.0, 1.0]), np.array([1.0, 2.0])),
    "structure": (lambda v: structure(ISING, v), SPINS),
    "plateau": (lambda v: dt_plateau(ISING, SPINS, v, n_replicas=2), np.array([0.1, 0.2])),
    "force at": (lambda v: thermodynamic_force(SDE, v, np.ones(2), None), Z),
    "nearest": (lambda v: nearest_potential(v, (0.1, 0.1)), RNG.normal(size=(5, 5, 2))),
    "likelihood": (lambda v: transition_log_likelihood(v, 0.1, Z, UNIT), DZ),
    "likelihood lam": (lambda v: transition_log_likelihood(DZ, 0.1, Z, UNIT, v), np.ones(40)),
    "split": (PatchGrid(Lattice("square", (8, 8)), (4, 4)).split, SPINS),
    "drawn paths": (lambda v: TrajectoryDisplay.from_predictions(Q, v, times=TIMES), P),
    "drawn law": (lambda v: StationaryDisplay.from_predictions(v, TIMES), TIMES),
    "drawn states": (lambda v: DriftDisplay.from_estimator(SDE, v, grid_resolution=5), Z),
    "drawn snapshot": (lambda v: SnapshotDisplay.from_snapshot(v, ISING), SPINS[0]),
}
FREE = {"split"}  # cuts whatever it is given, masked arrays apart
STATES = {
    "simulate spins",
    "advance",
    "observe",
    "moments",
    "fields",
    "atoms",
    "upsample",
    "sample fit",
}
STATES |= {"sample", "closure", "streamed", "structure", "drawn snapshot"}  # may be booleans


def masked(values, where=0):
    mask = np.zeros(values.shape, bool)
    mask.flat[0] = where is not None
    return np.ma.array(values, mask=mask)


@pytest.fixture(autouse=True)
def _no_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.parametrize("name", ENTRANCES)
def test_masked_values_are_refused_and_a_mask_of_nothing_is_none(name):
    enter, values = ENTRANCES[name]
    bounds = name == "bounds"
    with pytest.raises(ValueError, match="bounds" if bounds else "without masked values.*leave"):
        enter(masked(values))
    with pytest.raises(ValueError, match="Expected"):
        enter([masked(values)[0], *values[1:]])
    enter(masked(values, None))


@pytest.mark.parametrize("name", ENTRANCES.keys() - FREE)
def test_times_dates_texts_and_truths_are_no_numbers(name):
    enter, values = ENTRANCES[name]
    enter(values)  # control
    others = [
        (values * 1e9).astype("m8[ns]"),
        values.astype(str),
        values.astype(str).astype(object),
    ]
    for wrong in (*others, np.abs(values * 1e9).astype("M8[s]"), values > 0, values * 1j):
        if wrong.dtype == bool and name in STATES:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match=r"Expected|Complex"):
                enter(wrong)


def test_columns_that_lack_a_value_are_refused():
    table = pd.DataFrame(Z, columns=["a", "b"]).astype("Float64")
    assert PatchSDERegressor(**LINEAR).fit(table, DZ).n_state_ == 2  # all there
    table.iloc[0, 0] = pd.NA
    with pytest.raises(ValueError, match="contains NaN"):
        PatchSDERegressor(**LINEAR).fit(table, DZ)
    with pytest.raises(ValueError, match="Expected macrostates to be real numbers"):
        SDE.drift(table)


def test_scalars_in_units_of_time_are_no_numbers():
    second = np.timedelta64(1, "s")
    for call in (
        lambda: SDE.simulate(Z[:2], 2, second),
        lambda: ISING.advance(SPINS, duration=second),
        lambda: PatchSDERegressor(dt=second).check_parameters(),
        lambda: ISING.sample_initial(np.timedelta64(3, "ns"), 8),
    ):
        with pytest.raises(ValueError, match=r"but got .*timedelta64"):
            call()


def test_masks_are_found_at_every_depth_and_in_every_field():
    pairs = latent_pairs(Z, DZ, 0.1)
    for wrong in (
        np.ma.masked,
        [1.0, np.ma.masked],
        [[1.0, 2.0], (3.0, masked(np.ones(2)))],
        np.ma.array(pairs, mask=np.arange(40) == 3),
    ):
        with pytest.raises(ValueError, match="Expected data without masked values"):
            check_unmasked(wrong, "data")
    for right in ([[1.0], [2.0]], np.ma.array(pairs, mask=False), masked(Z, None), None, "text"):
        assert check_unmasked(right, "data") is right


def test_what_a_type_can_hold_is_told_exactly():
    values = np.array([-129.0, -128.0, 0.5, 127.0, 128.0, 2.0**63, -(2.0**63)])
    assert is_exact(values, np.int8).tolist() == [False, True, False, True, False, False, False]
    assert is_exact(values, np.int64).tolist() == [True, True, False, True, True, False, True]
    assert is_exact(values, bool).tolist() == [False] * 7
    assert is_exact(np.array([2**63, 5], np.uint64), np.int64).tolist() == [False, True]
    assert is_exact(np.array([-1, 5], np.int8), np.uint8).tolist() == [False, True]
    assert check_whole([1.0, 4.0], "counts", low=1, remedy="").dtype == np.int64


def test_bounds_may_be_any_array():
    for value in (
        [(-1, 1)],
        np.array([[-1, 1]]),
        ((-1.0, np.float32(1)),),
        ISING.observable_bounds,
    ):
        assert check_bounds(value)[0] == (-1.0, 1.0)
    for value in (None, [], np.empty((0, 2))):
        assert check_bounds(value) == ()
    for value in ([-1, 1], np.array([[1, -1]]), [(np.nan, 1)], "ab", [("1", "2")], [(-1, 0, 1)]):
        with pytest.raises(ValueError, match="Expected bounds to be None or"):
            check_bounds(value)
