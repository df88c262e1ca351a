"""Snapshot pairs and latent pairs: what one estimator hands to the next.

Both are numpy structured arrays with one record per large snapshot, so that they pass through
Pipelines, cross-validation and joblib's memory maps like any other `X`. With `p` patches evolved
of the `K` that tile the lattice:

====================  =====================  ====================================================
snapshot pair         shape                  meaning
====================  =====================  ====================================================
``x``                 (*snapshot shape)      large snapshot at time t
``x_next``            (p, *patch shape)      evolved patches at time t + dt
``origin``            (p, n_axes)            first cell of each evolved patch
``d_obs``             (n_observables,)       increment of the observables, mean over the p patches
``dt``                ()                     elapsed time, mean over the p patches
``n_patches``         ()                     K
``n_evolved``         ()                     p
``group``             ()                     source trajectory, kept together by GroupKFold
``context``           (n_context,)           outer parameters (Eq. 31); absent where there are none
====================  =====================  ====================================================

A latent pair has ``z`` (d,) and ``dz`` (d,) in the place of the first four, and the rest alike.
"""

import numpy as np

from sklmacro._validation import check_numbers

LATTICE_FIELDS = ("x", "x_next", "origin", "d_obs")
LATENT_FIELDS = ("z", "dz")
COMMON_FIELDS = ("dt", "n_patches", "n_evolved", "group")


def snapshot_pair_dtype(
    snapshot_shape: tuple[int, ...],
    patch_shape: tuple[int, ...],
    state_dtype: np.dtype | type,
    *,
    n_axes: int,
    n_evolved: int = 1,
    n_observables: int = 1,
    n_context: int = 0,
) -> np.dtype:
    """Return the dtype of snapshot pairs; shapes as in the module's table."""
    return np.dtype(
        [
            ("x", state_dtype, snapshot_shape),
            ("x_next", state_dtype, (n_evolved, *patch_shape)),
            ("origin", np.int64, (n_evolved, n_axes)),
            ("d_obs", np.float64, (n_observables,)),
            *_common(n_context),
        ]
    )


def latent_pair_dtype(n_latent: int, *, n_context: int = 0) -> np.dtype:
    """Return the dtype of latent pairs for macrostates of dimension `n_latent`."""
    return np.dtype(
        [
            ("z", np.float64, (n_latent,)),
            ("dz", np.float64, (n_latent,)),
            *_common(n_context),
        ]
    )


def _common(n_context: int) -> list[tuple]:
    fields: list[tuple] = [
        ("dt", np.float64),
        ("n_patches", np.int64),
        ("n_evolved", np.int64),
        ("group", np.int64),
    ]
    if n_context:
        fields.append(("context", np.float64, (n_context,)))
    return fields


def is_snapshot_pairs(X: object) -> bool:
    """Tell whether `X` is an array of snapshot pairs."""
    return _has_fields(X, LATTICE_FIELDS + COMMON_FIELDS)


def is_latent_pairs(X: object) -> bool:
    """Tell whether `X` is an array of latent pairs."""
    return _has_fields(X, LATENT_FIELDS + COMMON_FIELDS)


def _has_fields(X: object, fields: tuple[str, ...]) -> bool:
    names = getattr(getattr(X, "dtype", None), "names", None)
    return names is not None and set(fields) <= set(names)


def is_structured(X: object) -> bool:
    """Tell whether `X` is a structured array of any kind."""
    return getattr(getattr(X, "dtype", None), "names", None) is not None


def context_of(pairs: np.ndarray) -> np.ndarray | None:
    """Return the context (n_samples, n_context) of pairs, or None where they carry none."""
    assert pairs.dtype.names is not None
    return pairs["context"] if "context" in pairs.dtype.names else None


def latent_pairs(
    z: np.ndarray,
    dz: np.ndarray,
    dt: np.ndarray | float,
    *,
    n_patches: np.ndarray | int = 1,
    n_evolved: np.ndarray | int = 1,
    group: np.ndarray | int | None = None,
    context: np.ndarray | None = None,
) -> np.ndarray:
    """Put latent pairs together from their parts.

    Parameters
    ----------
    z, dz : ndarray of shape (n_samples, d)
        Macrostates and their increments.
    dt : float or ndarray of shape (n_samples,)
        Elapsed times.
    n_patches, n_evolved : int or ndarray of shape (n_samples,)
        K and the number of patches evolved.
    group : int or ndarray of shape (n_samples,), default=None
        Source trajectory; None numbers the samples.
    context : ndarray of shape (n_samples, n_context), default=None
        Outer parameters.

    Returns
    -------
    pairs : structured ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If z and dz do not have the same two-dimensional shape.
    """
    z, dz = check_numbers(z, "z"), check_numbers(dz, "dz")
    if z.ndim != 2 or z.shape != dz.shape:
        raise ValueError(
            "Expected z and dz of one shape (n_samples, d), but got "
            f"{z.shape} and {dz.shape}; pass one row per pair."
        )
    n_context = 0 if context is None else np.asarray(context).shape[1]
    pairs = np.empty(len(z), latent_pair_dtype(z.shape[1], n_context=n_context))
    pairs["z"], pairs["dz"], pairs["dt"] = z, dz, dt
    pairs["n_patches"], pairs["n_evolved"] = n_patches, n_evolved
    pairs["group"] = np.arange(len(z)) if group is None else group
    if n_context:
        pairs["context"] = context
    return pairs
