"""Pairs put together by hand: counts, times and places that make no sense are refused."""

import re

import numpy as np
import pytest

from sklmacro import (
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    PatchSDERegressor,
    Training,
)
from sklmacro.pairs import latent_pairs
from sklmacro.simulators import Ising, PredatorPrey

RNG = np.random.default_rng(0)
Z = RNG.uniform(-1, 1, (40, 2))
DZ = -0.05 * Z + 0.06 * RNG.standard_normal(Z.shape)
LATENT = latent_pairs(Z, DZ, 0.1, n_patches=4, n_evolved=2, context=Z[:, :1], lam=2.0)
SDE = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
SPDE, ISING = PredatorPrey(), Ising()
FIELDS = SPDE.sample_initial(12, 16, random_state=0)
SAMPLED = PartialEvolutionSampler(SPDE, patch=8, random_state=0).fit_transform(FIELDS)
EXACT = PartialEvolutionSampler(SPDE, patch=8, moments=True, random_state=0).fit_transform(FIELDS)
CLOSURE = PatchAutoencoder(
    SPDE,
    n_closure=1,
    encoder=PatchEncoder(hidden=(4,)),
    training=Training(max_epochs=1),
    random_state=0,
).fit(SAMPLED)

WRONG = {
    "no patches": ("n_patches", 0, "n_patches to be whole numbers of at least 1, but got 0"),
    "minus patches": ("n_patches", -4, "n_patches to be whole .* at least 1, but got -4"),
    "parts of patches": ("n_patches", 4.7, "n_patches to be whole numbers .* but got 4.7"),
    "none evolved": ("n_evolved", 0, "n_evolved to be whole numbers of at least 1, but got 0"),
    "more evolved": ("n_evolved", 5, "n_evolved of at most n_patches.*1 pairs with more.*pair 3"),
    "half a group": ("group", 0.5, "group to be whole numbers, but got 0.5"),
    "a group of words": ("group", "a", "group to be real numbers, but got a .*<U"),
    "no time": ("dt", 0.0, "elapsed times dt above 0, but got a smallest of 0"),
    "unknown time": ("dt", np.nan, "finite elapsed times dt, but got 1 values"),
    "no factor": ("lam", 0.0, "lam above 0, but got a smallest of 0"),
    "negative factor": ("lam", -1.0, "lam above 0, but got a smallest of -1"),
    "unknown factor": ("lam", np.nan, "finite lam, but got 1 values"),
    "unknown context": ("context", np.nan, "finite context, but got 1 values"),
}
OF_LATENT = {
    "unknown state": ("z", np.nan, "contains NaN"),
    "unknown increment": ("dz", np.inf, "finite increments, but got 2 values"),
}
OF_SNAPSHOTS = {
    "outside": ("origin", 9, r"inside the lattice of \(16,\), but got 1 pairs with others.*pair 3"),
    "before the first cell": ("origin", -1, "origin to be whole numbers of at least 0, but got -1"),
    "between cells": ("origin", 0.5, "origin to be whole numbers .* but got 0.5"),
    "other patches evolved": ("n_evolved", 2, "Expected n_evolved=1 patches"),
    "unknown increment": ("d_obs", np.nan, "finite d_obs, but got 2 values"),
    "unknown patch": ("x_next", np.inf, "finite snapshots, but got 16 values"),
    "unknown snapshot": ("x", np.nan, "contains NaN"),
}


def changed(pairs, field, value):
    """Pairs with another value in row 3 of a field, in the value's own type."""
    kind = {str: "U2", float: np.float64, int: np.int64}[type(value)]
    fields = [
        (name, kind if name == field else dtype.base, dtype.shape)
        for name, (dtype, _) in pairs.dtype.fields.items()
    ]
    result = np.empty(len(pairs), fields)
    for name in result.dtype.names:
        result[name] = pairs[name]
    result[field][3] = value
    return result


@pytest.mark.parametrize("name", WRONG.keys() | OF_LATENT.keys())
def test_latent_pairs_that_make_no_sense_are_refused(name):
    field, value, text = (WRONG | OF_LATENT)[name]
    pairs = changed(LATENT, field, value)
    fitted = PatchSDERegressor(**SDE.get_params()).fit(LATENT)
    for use in (SDE.fit, fitted.score, *([fitted.predict] if name in WRONG else [])):
        with pytest.raises(ValueError, match=text):
            use(pairs)
    if name in WRONG:
        fields = {f: pairs[f] for f in pairs.dtype.names if f not in ("z", "dz")}
        with pytest.raises(ValueError, match=text):
            latent_pairs(Z, DZ, **fields)


OPTIONAL = {name for name in WRONG if WRONG[name][0] in ("lam", "context")}


@pytest.mark.parametrize("name", (WRONG.keys() - OPTIONAL) | OF_SNAPSHOTS.keys())
def test_snapshot_pairs_that_make_no_sense_are_refused(name):
    field, value, text = (WRONG | OF_SNAPSHOTS)[name]
    for use in (CLOSURE.transform, PatchAutoencoder(SPDE, n_closure=0).fit):
        with pytest.raises(ValueError, match=text):
            use(changed(SAMPLED, field, value))


def test_whole_numbers_may_be_floats():
    for pairs, use in ((LATENT, SDE.fit), (SAMPLED, CLOSURE.transform)):
        for field in ("n_patches", "n_evolved", "group"):
            use(changed(pairs, field, float(pairs[field][3])))
    assert latent_pairs(Z, DZ, 0.1, group=np.repeat([0.0, 1.0], 20))["group"].dtype == np.int64


def test_fields_of_snapshot_pairs_go_together():
    for field, shape in (("x_next", (1, 7, 2)), ("origin", (2, 1)), ("d_obs", (3,)), ("x", (15,))):
        fields = [
            (name, dtype.base, shape if name == field else dtype.shape)
            for name, (dtype, _) in SAMPLED.dtype.fields.items()
        ]
        pairs = np.ones(12, fields)
        with pytest.raises(ValueError, match=r"Expected (\w+ of|snapshots|patches)"):
            PatchAutoencoder(SPDE, n_closure=0).fit(pairs)
    wrong = EXACT.copy()
    wrong["cov_obs"][3] *= -1
    with pytest.raises(ValueError, match="positive semidefinite, but got 1 that are not"):
        PatchAutoencoder(SPDE, n_closure=0).fit(wrong)
    with pytest.raises(ValueError, match="at least one snapshot pair, but got none"):
        CLOSURE.transform(SAMPLED[:0])


def test_evolved_patches_have_the_states_of_the_simulator():
    pairs = PartialEvolutionSampler(ISING, patch=4, random_state=0).fit_transform(
        ISING.sample_initial(5, 8, random_state=0)
    )
    closure = PatchAutoencoder(ISING, n_closure=0).fit(pairs)
    pairs["x_next"][2] = 3
    with pytest.raises(ValueError, match=re.escape("to be -1 or +1, but got")):
        closure.transform(pairs)


def test_columns_have_one_row_for_each_pair():
    for name, value in (("dt", [0.1, 0.1]), ("n_patches", [[4]] * 40), ("lam", np.ones(39))):
        with pytest.raises(ValueError, match="one row for each of the 40 pairs, but got shape"):
            latent_pairs(Z, DZ, **({"dt": 0.1} | {name: value}))
    with pytest.raises(ValueError, match="context with one row for each of the 40 pairs"):
        latent_pairs(Z, DZ, 0.1, context=np.ones(40))
