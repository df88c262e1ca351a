"""Snapshot pairs and latent pairs: what one estimator hands to the next.

Both are numpy structured arrays with one record per large snapshot, so that they pass through
Pipelines, cross-validation and joblib's memory maps like any other `X`. With `p` patches evolved
of the `K` that tile the lattice:

======================  ====================  ===================================================
snapshot pair           shape                 meaning
======================  ====================  ===================================================
``x``                   (*snapshot shape)     large snapshot at time t
``x_next``              (p, *patch shape)     evolved patches at time t + dt
``origin``              (p, n_axes)           first cell of each evolved patch
``d_obs``               (n_observables,)      increment of the observables, mean over the p patches
``dt``                  ()                    elapsed time, mean over the p patches
``n_patches``           ()                    K
``n_evolved``           ()                    p
``group``               ()                    source trajectory, kept together by GroupKFold
``context``             (n_context,)          outer parameters (Eq. 31); absent where there are none
``lam``, ``lam_error``  ()                    estimated factor on the covariance and its standard
                                              error; absent where none was estimated
``age``                 ()                    time for which the snapshot was relaxed; absent but in
                                              pairs of `sklmacro.sampling.relaxed` snapshots
``n_sites``             ()                    sites of the lattice, in latent pairs alone; absent if
                                              not known
``parity``              (d,)                  signs of the components under a symmetry of the
                                              dynamics, in latent pairs alone; absent if there is
                                              none, or it is not known
======================  ====================  ===================================================

A latent pair has ``z`` (d,) and ``dz`` (d,) in the place of the first four, and the rest alike.

Pairs of moments carry no evolved patch but what its law is as dt -> 0: ``d_obs`` and ``dz`` are
the conditional mean of the increment given x, b dt, and ``cov_obs`` (n_observables, n_observables)
and ``cov`` (d, d) its conditional covariance, A dt. Snapshot pairs then have ``extent`` (n_axes,),
the cells of a patch, in the place of ``x_next``.
"""

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn import get_config

from sklmacro._base.checks import (
    as_data,
    check_covariances,
    check_finite_numbers,
    check_numbers,
    check_positive,
    check_unmasked,
    check_whole,
)
from sklmacro._base.estimators import is_split_by_groups
from sklmacro.lattice.lattice import Lattice
from sklmacro.sampling.relaxed import is_relaxed, snapshots_of
from sklmacro.simulators import Simulator

COMMON_FIELDS = ("dt", "n_patches", "n_evolved", "group")
OPTIONAL_FIELDS = ("context", "lam", "lam_error", "age", "n_sites", "parity")
LATENT_FIELDS = ("z", "dz", *COMMON_FIELDS)
SAMPLED_FIELDS = ("x", "x_next", "origin", "d_obs", *COMMON_FIELDS)
MOMENT_FIELDS = ("x", "extent", "origin", "d_obs", "cov_obs", *COMMON_FIELDS)
# What the fields in common hold, as functions of values and name.
HOLDS: dict[str, Any] = {
    "dt": partial(check_positive, remedy="remove pairs in which no time passed"),
    "n_patches": partial(check_whole, low=1, remedy="pass K, the patches that tile the lattice"),
    "n_evolved": partial(check_whole, low=1, remedy="pass how many of the patches were evolved"),
    "group": partial(check_whole, low=None, remedy="number the source trajectories"),
    "context": check_finite_numbers,
    "lam": partial(check_positive, remedy="remove these pairs, or leave lam out"),
    "lam_error": check_finite_numbers,
    "age": check_finite_numbers,
    "n_sites": partial(check_whole, low=1, remedy="pass the sites of the lattice"),
    "parity": partial(check_whole, low=-1, remedy="pass 1 or -1 for each component"),
}
NAMES = {"dt": "elapsed times dt"}  # of fields in errors


def snapshot_pair_dtype(
    snapshot_shape: tuple[int, ...],
    patch_shape: tuple[int, ...],
    state_dtype: np.dtype | type,
    *,
    n_axes: int,
    n_evolved: int = 1,
    n_observables: int = 1,
    moments: bool = False,
    **optional: Any,
) -> np.dtype:
    """Return the dtype of snapshot pairs; shapes as in the module's table.

    `n_context`, `estimated_lam` and `aged` are as for `latent_pair_dtype`.
    """
    x_next = ("x_next", state_dtype, (n_evolved, *patch_shape))
    fields: list[tuple] = [
        ("x", state_dtype, snapshot_shape),
        ("extent", np.int64, (n_axes,)) if moments else x_next,
        ("origin", np.int64, (n_evolved, n_axes)),
        ("d_obs", np.float64, (n_observables,)),
    ]
    if moments:
        fields.append(("cov_obs", np.float64, (n_observables, n_observables)))
    return np.dtype([*fields, *_common(**optional)])


def latent_pair_dtype(n_latent: int, *, moments: bool = False, **optional: Any) -> np.dtype:
    """Return the dtype of latent pairs for macrostates of dimension `n_latent`.

    They have a context if `n_context` is above 0, lam and its error if `estimated_lam`, an age if
    `aged`, the sites of the lattice if `sized`, and signs if `n_signs` is above 0.
    """
    fields: list[tuple] = [("z", np.float64, (n_latent,)), ("dz", np.float64, (n_latent,))]
    if moments:
        fields.append(("cov", np.float64, (n_latent, n_latent)))
    return np.dtype([*fields, *_common(**optional)])


def _common(
    n_context: int = 0,
    estimated_lam: bool = False,
    aged: bool = False,
    sized: bool = False,
    n_signs: int = 0,
) -> list[tuple]:
    """Return the fields that snapshot pairs and latent pairs have in common."""
    dt, *integers = COMMON_FIELDS
    fields: list[tuple] = [(dt, np.float64), *((name, np.int64) for name in integers)]
    if n_context:
        fields.append(("context", np.float64, (n_context,)))
    if estimated_lam:
        fields += [("lam", np.float64), ("lam_error", np.float64)]
    if aged:
        fields.append(("age", np.float64))
    if sized:
        fields.append(("n_sites", np.int64))
    return [*fields, ("parity", np.int64, (n_signs,))] if n_signs else fields


def is_snapshot_pairs(X: object) -> bool:
    """Tell whether `X` is an array of snapshot pairs, sampled or of moments."""
    return _has_fields(X, *SAMPLED_FIELDS) or _has_fields(X, *MOMENT_FIELDS)


def is_latent_pairs(X: object) -> bool:
    """Tell whether `X` is an array of latent pairs."""
    return _has_fields(X, *LATENT_FIELDS)


def increments_of(X: object, y: object) -> object:
    """Return the increments of latent pairs X, or y for any other X."""
    return X["dz"] if is_latent_pairs(X) else y  # type: ignore[index]


def has_moments(X: object) -> bool:
    """Tell whether `X` is an array of pairs, of snapshots or latent ones, that carry moments."""
    return _has_fields(X, "cov_obs") or _has_fields(X, "cov")


def is_structured(X: object) -> bool:
    """Tell whether `X` is a structured array of any kind."""
    return _has_fields(X)


def _has_fields(X: object, *fields: str) -> bool:
    names = getattr(getattr(X, "dtype", None), "names", None)
    return names is not None and set(fields) <= set(names)


class GroupsWarning(UserWarning):
    """Groups by which a search or a cross-validation splits rows do not reach a step."""


def warn_of_lost_groups() -> None:
    """Warn if the groups that a search or cross-validation splits by are not passed on."""
    if not get_config()["enable_metadata_routing"] and is_split_by_groups():
        warnings.warn(
            "Expected the groups that rows are split by, but got none, since scikit-learn hands "
            "them on to estimators by metadata routing alone: every row counts as a group of its "
            "own; call sklearn.set_config(enable_metadata_routing=True) before, and give groups to "
            "fit of a search, or to a cross-validation as params={'groups': groups}.",
            GroupsWarning,
            stacklevel=3,
        )


def source_groups(X: Any, groups: Any, n_rows: int, *, matter: bool = True) -> np.ndarray:
    """Return the source trajectory of each row of X: given, of the pairs, or a number of its own.

    Groups that are given for other rows, such as those before a mirror image was added, give way to
    those of the pairs. A `GroupsWarning` says where a search has groups and none are given, if they
    matter.
    """
    own = X["group"] if _has_fields(X, "group") else None
    if groups is not None and (own is None or len(groups) == n_rows):
        return check_groups(groups, n_rows)
    if own is not None:
        return HOLDS["group"](own, "group")
    if matter:
        warn_of_lost_groups()
    return np.arange(n_rows)


def check_groups(groups: Any, n_samples: int) -> np.ndarray:
    """Return `groups`, one integer for each of `n_samples` snapshots."""
    array = np.asarray(check_unmasked(groups, "groups"))
    if array.shape != (n_samples,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"Expected groups to be {n_samples} integers, one for each snapshot, but got an array "
            f"of shape {array.shape} and dtype {array.dtype}; number the source trajectories."
        )
    return array


def check_fields(fields: Mapping[str, Any], n_samples: int) -> dict[str, np.ndarray]:
    """Return the fields that pairs have in common, each a number or one row for each pair.

    Raises
    ------
    ValueError
        If a value makes no sense in its field, or more patches were evolved than there are.
    """
    checked = {name: HOLDS[name](v, NAMES.get(name, name)) for name, v in fields.items()}
    for name, array in checked.items():
        axes = {"context": (2,), "parity": (1, 2)}.get(name, (0, 1))
        rows = array.shape[: array.ndim - (name in ("context", "parity"))]
        if array.ndim not in axes or rows not in ((), (1,), (n_samples,)):
            raise ValueError(
                f"Expected {name} with one row for each of the {n_samples} pairs, but got shape "
                f"{array.shape}; pass one value per pair, or a row of them as context."
            )
    more = np.broadcast_to(checked["n_evolved"] > checked["n_patches"], (n_samples,))
    if more.any():
        raise ValueError(
            "Expected n_evolved of at most n_patches, the patches that tile the lattice, but got "
            f"{int(more.sum())} pairs with more, the first of pair {int(np.argmax(more))}; "
            "exchange the two."
        )
    return checked


def check_parts(
    z: Any, dz: Any, cov: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return macrostates, increments and covariances of latent pairs, whose shapes go together."""
    z, dz = check_numbers(z, "z"), check_numbers(dz, "dz")
    if z.ndim != 2 or z.shape != dz.shape:
        raise ValueError(
            "Expected z and dz of one shape (n_samples, d), but got "
            f"{z.shape} and {dz.shape}; pass one row per pair."
        )
    cov = None if cov is None else check_numbers(cov, "cov")
    if cov is not None and cov.shape != (*z.shape, z.shape[1]):
        raise ValueError(
            f"Expected cov of shape {(*z.shape, z.shape[1])}, a matrix for each row of z, but "
            f"got {cov.shape}; pass the increments' covariances."
        )
    return z, dz, cov


def patch_cells(pairs: np.ndarray, n_axes: int) -> tuple[int, ...]:
    """Return the cells (n_axes,) of the patches of snapshot pairs; several sizes are refused."""
    if not has_moments(pairs):
        return pairs["x_next"].shape[2 : 2 + n_axes]
    extents = np.unique(pairs["extent"], axis=0)
    if len(extents) != 1:
        raise ValueError(
            "Expected patches of one size, but got pairs with patches of "
            f"{', '.join(str(tuple(e)) for e in extents.tolist())} cells; keep them apart."
        )
    return tuple(extents[0].tolist())


def check_snapshot_pairs(pairs: np.ndarray, simulator: Simulator) -> None:
    """Raise ValueError unless the fields of snapshot pairs go together, and with a simulator.

    `x` is left to `Simulator.check_snapshots`.
    """
    if len(pairs) == 0:
        raise ValueError("Expected at least one snapshot pair, but got none; pass some.")
    lattice, n, q = simulator.lattice(pairs["x"].shape[1:]), len(pairs), simulator.n_observables
    fields, moments = check_fields(common_fields(pairs), n), has_moments(pairs)
    origin = check_whole(pairs["origin"], "origin", low=0, remedy="pass first cells of patches")
    p = origin.shape[1] if origin.ndim == 3 else 0
    cells = patch_cells(pairs, lattice.ndim)
    rest = pairs["x"].shape[1 + lattice.ndim :]
    shapes = {"origin": (n, p, lattice.ndim), "d_obs": (n, q)}
    shapes |= {"cov_obs": (n, q, q)} if moments else {"x_next": (n, p, *cells, *rest)}
    for name, shape in shapes.items():
        if p == 0 or pairs[name].shape != shape:
            raise ValueError(
                f"Expected {name} of shape {shape} in snapshot pairs of p evolved patches of "
                f"{type(simulator).__name__}, but got {pairs[name].shape}; see sklmacro.pairs."
            )
    far = np.add(cells, -1) if lattice.boundary == "open" else 0
    outside = (origin + far >= lattice.cells).any(axis=(1, 2)) | (fields["n_evolved"] != p)
    if outside.any():
        raise ValueError(
            f"Expected n_evolved={p} patches of {cells} cells inside the lattice of {lattice.cells}"
            f", but got {int(outside.sum())} pairs with others, the first of pair "
            f"{int(np.argmax(outside))}; correct its origin or n_evolved."
        )
    check_finite_numbers(pairs["d_obs"], "d_obs")
    if moments:
        check_covariances(check_numbers(pairs["cov_obs"], "cov_obs"))
    else:
        simulator.check_states(np.asarray(as_data(pairs["x_next"], "x_next", booleans=True)))


def snapshots_in(X: Any, simulator: Simulator) -> Any:
    """Return the snapshots of snapshot pairs, which are checked, or of relaxed ones, or X itself.

    Structured arrays of another kind are a ValueError.
    """
    if is_structured(X) and not is_relaxed(X):
        if not is_snapshot_pairs(X):
            raise ValueError(
                "Expected snapshot pairs with fields x, x_next, origin, d_obs, dt, n_patches, "
                f"n_evolved and group, but got fields {', '.join(X.dtype.names)}; pass what "
                "PartialEvolutionSampler returns."
            )
        check_snapshot_pairs(X, simulator)
        return X["x"]
    return snapshots_of(X)


def patches_before(pairs: np.ndarray, q: int, lattice: Lattice) -> np.ndarray:
    """Return the q-th evolved patch (n_samples, *patch shape) of snapshot pairs, at time t."""
    cells = patch_cells(pairs, lattice.ndim)
    boxes = zip(pairs["x"], pairs["origin"][:, q].tolist(), strict=True)
    return np.stack([x[lattice.mesh(tuple(origin), cells)] for x, origin in boxes])


def context_of(pairs: np.ndarray) -> np.ndarray | None:
    """Return the context (n_samples, n_context) of pairs, or None where they carry none."""
    return pairs["context"] if _has_fields(pairs, "context") else None


def common_fields(pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a latent pair takes over from its snapshot pair, as keywords of `latent_pairs`.

    ``dt`` is the third argument there, and among them here.
    """
    names = (*COMMON_FIELDS, *OPTIONAL_FIELDS)
    return {name: pairs[name] for name in names if _has_fields(pairs, name)}


def latent_pairs(
    z: np.ndarray,
    dz: np.ndarray,
    dt: np.ndarray | float,
    *,
    cov: np.ndarray | None = None,
    **fields: Any,
) -> np.ndarray:
    """Put latent pairs together from their parts.

    Parameters
    ----------
    z, dz : ndarray of shape (n_samples, d)
        Macrostates and their increments; with `cov` the increments' conditional means.
    dt : float or ndarray of shape (n_samples,)
        Elapsed times.
    cov : ndarray of shape (n_samples, d, d), default=None
        Conditional covariances of the increments as dt -> 0; None for sampled increments.
    n_patches, n_evolved : int or ndarray of shape (n_samples,), default=1
        K and the number of patches evolved.
    group : int or ndarray of shape (n_samples,), default=None
        Source trajectory; None numbers the samples.
    context : ndarray of shape (n_samples, n_context), default=None
        Outer parameters.
    lam, lam_error : float or ndarray of shape (n_samples,), default=None and 0
        Estimated factor on the covariance and its standard error.
    age : float or ndarray of shape (n_samples,), default=None
        Time for which the snapshots were relaxed.

    Returns
    -------
    pairs : structured ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If z and dz do not have the same two-dimensional shape, cov does not go with them, a value
        is masked or makes no sense in its field, or more patches were evolved than there are.
    TypeError
        If a keyword is none of these.
    """
    z, dz, cov = check_parts(z, dz, cov)
    known = (*COMMON_FIELDS[1:], *OPTIONAL_FIELDS)
    if unknown := [name for name in fields if name not in known]:
        raise TypeError(
            f"Expected z, dz, dt, cov, {', '.join(known)}, but got {', '.join(unknown)}; pass "
            "fields of latent pairs."
        )
    values: dict[str, Any] = {"n_patches": 1, "n_evolved": 1, "group": np.arange(len(z))}
    values |= {"lam_error": 0.0, "dt": dt}
    values |= {name: value for name, value in fields.items() if value is not None}
    values |= check_fields(values, len(z))
    n_context = values["context"].shape[1] if "context" in values else 0
    dtype = latent_pair_dtype(
        z.shape[1], moments=cov is not None, n_context=n_context, estimated_lam="lam" in values,
        aged="age" in values, sized="n_sites" in values,
        n_signs=z.shape[1] if "parity" in values else 0,
    )  # fmt: skip
    pairs = np.empty(len(z), dtype)
    values |= {"z": z, "dz": dz, "cov": cov}
    for name in dtype.names or ():
        pairs[name] = values[name]
    return pairs
