"""How good a model is: the public names of `sklmacro.measures`."""

from sklmacro.measures.fidelity import Fidelity, fidelity
from sklmacro.measures.paths import (
    WIDTHS,
    WORST_SCORE,
    PathScorer,
    ReferencePaths,
    mean_mmd2,
    mean_path_error,
    mmd2,
    mmd2_paths,
    std_ratio,
)
from sklmacro.measures.plateau import Plateau, PlateauWarning, dt_plateau
from sklmacro.measures.potential import EffectivePotential, nearest_potential, thermodynamic_force
from sklmacro.measures.scaling import (
    CollapseResidual,
    Estimate,
    binder,
    binder_slope,
    collapse,
    collapse_residual,
    correlation_exponent,
    power_law,
    susceptibility,
    value_at,
)
from sklmacro.measures.stationary import (
    autocorrelation_time,
    passage_time,
    reversal_time,
    stationary_density,
    wasserstein,
)
from sklmacro.measures.structure import Structure, structure, wave_numbers, wave_vectors

__all__ = [
    "WIDTHS",
    "WORST_SCORE",
    "CollapseResidual",
    "EffectivePotential",
    "Estimate",
    "Fidelity",
    "PathScorer",
    "Plateau",
    "PlateauWarning",
    "ReferencePaths",
    "Structure",
    "autocorrelation_time",
    "binder",
    "binder_slope",
    "collapse",
    "collapse_residual",
    "correlation_exponent",
    "dt_plateau",
    "fidelity",
    "mean_mmd2",
    "mean_path_error",
    "mmd2",
    "mmd2_paths",
    "nearest_potential",
    "passage_time",
    "power_law",
    "reversal_time",
    "stationary_density",
    "std_ratio",
    "structure",
    "susceptibility",
    "thermodynamic_force",
    "value_at",
    "wasserstein",
    "wave_numbers",
    "wave_vectors",
]
