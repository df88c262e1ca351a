"""Learn the macroscopic stochastic dynamics of large lattice systems from small simulations.

The way of the data, and the packages along it::

    lattice, simulators     small snapshots                   Simulator.sample_initial, .simulate
    sampling                large snapshots (Algorithm 1)     HierarchicalUpsampler
                            snapshot pairs (Eqs. 3, 10)       PartialEvolutionSampler
    closure                 macrostates z, their increments   PatchAutoencoder (Eqs. 1-3)
    sde                     drift, diffusion, paths           PatchSDERegressor (Eqs. 4-7)
    measures, plots         how good they are                 sklmacro.scoring, sklmacro.plots
    law                     all of it in one line or a loop   make_macro_pipeline, ActiveLearner
    persistence             files and searches that resume    save, load, Checkpointed
"""

import logging

from sklmacro.closure.autoencoder import PatchAutoencoder
from sklmacro.closure.clusters import Cluster
from sklmacro.closure.correlations import CorrelationClosure
from sklmacro.closure.encoder import PatchEncoder
from sklmacro.closure.streaming import StreamedPairs
from sklmacro.law.learner import ActiveLearner
from sklmacro.law.pipeline import make_macro_pipeline
from sklmacro.law.stages import SeveralSizes
from sklmacro.persistence import load, save
from sklmacro.persistence.search import Checkpointed
from sklmacro.sampling.evolution import PartialEvolutionSampler
from sklmacro.sampling.patches import Patches
from sklmacro.sampling.relaxation import Convergence, LocalRelax
from sklmacro.sampling.upsampling import HierarchicalUpsampler
from sklmacro.sde.ensemble import SDEEnsemble
from sklmacro.sde.gaussian_process import GaussianProcess
from sklmacro.sde.neural import MLP
from sklmacro.sde.onsager import OnsagerSDE
from sklmacro.sde.path_record import DivergedPathsWarning, PathRecord, UncoveredPathsWarning
from sklmacro.sde.polynomial import Linear, Polynomial
from sklmacro.sde.regressor import PatchSDERegressor
from sklmacro.training.training import Training

__all__ = [
    "MLP",
    "ActiveLearner",
    "Checkpointed",
    "Cluster",
    "Convergence",
    "CorrelationClosure",
    "DivergedPathsWarning",
    "GaussianProcess",
    "HierarchicalUpsampler",
    "Linear",
    "LocalRelax",
    "OnsagerSDE",
    "PartialEvolutionSampler",
    "PatchAutoencoder",
    "PatchEncoder",
    "PatchSDERegressor",
    "Patches",
    "PathRecord",
    "Polynomial",
    "SDEEnsemble",
    "SeveralSizes",
    "StreamedPairs",
    "Training",
    "UncoveredPathsWarning",
    "load",
    "make_macro_pipeline",
    "save",
]
__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # what is shown, the user decides
