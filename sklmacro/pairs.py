"""Pairs and relaxed snapshots: public names of `sklmacro.sampling.pairs` and `.relaxed`."""

from sklmacro.sampling.pairs import (
    GroupsWarning,
    common_fields,
    context_of,
    has_moments,
    is_latent_pairs,
    is_snapshot_pairs,
    latent_pair_dtype,
    latent_pairs,
    patch_cells,
    snapshot_pair_dtype,
)
from sklmacro.sampling.relaxed import is_relaxed, relaxed_dtype

__all__ = [
    "GroupsWarning",
    "common_fields",
    "context_of",
    "has_moments",
    "is_latent_pairs",
    "is_relaxed",
    "is_snapshot_pairs",
    "latent_pair_dtype",
    "latent_pairs",
    "patch_cells",
    "relaxed_dtype",
    "snapshot_pair_dtype",
]
