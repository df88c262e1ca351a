"""Learn the macroscopic stochastic dynamics of large lattice systems from small simulations."""

import logging

from sklmacro.checkpointed import Checkpointed
from sklmacro.closure import PatchAutoencoder
from sklmacro.ensemble import SDEEnsemble
from sklmacro.evolution import PartialEvolutionSampler
from sklmacro.onsager import OnsagerSDE
from sklmacro.persistence import load, save
from sklmacro.regressor import PatchSDERegressor
from sklmacro.streaming import StreamedPairs
from sklmacro.upsampling import HierarchicalUpsampler

__all__ = [
    "Checkpointed",
    "HierarchicalUpsampler",
    "OnsagerSDE",
    "PartialEvolutionSampler",
    "PatchAutoencoder",
    "PatchSDERegressor",
    "SDEEnsemble",
    "StreamedPairs",
    "load",
    "save",
]
__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # what is shown, the user decides
