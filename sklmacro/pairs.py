"""Snapshot pairs and latent pairs: the public names of `sklmacro.sampling.pairs`."""

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

__all__ = [
    "GroupsWarning",
    "common_fields",
    "context_of",
    "has_moments",
    "is_latent_pairs",
    "is_snapshot_pairs",
    "latent_pair_dtype",
    "latent_pairs",
    "patch_cells",
    "snapshot_pair_dtype",
]
