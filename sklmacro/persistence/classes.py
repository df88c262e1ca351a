"""The classes that a file may hold."""

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklmacro.closure.autoencoder import PatchAutoencoder
from sklmacro.closure.codec import PatchCodec, Standardizer
from sklmacro.closure.nets import PatchAutoencoderNet
from sklmacro.closure.streaming import StreamedPairs
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid
from sklmacro.sampling.boundary import Buffer, Ghost, Periodic
from sklmacro.sampling.evolution import PartialEvolutionSampler
from sklmacro.sampling.patches import Patches
from sklmacro.sampling.relaxation import Convergence, LocalRelax, PassRecord
from sklmacro.sampling.upsampling import HierarchicalUpsampler
from sklmacro.sde.ensemble import SDEEnsemble
from sklmacro.sde.nets import (
    CholeskyDiffusion,
    EquivariantDiffusion,
    EquivariantDrift,
    EquivariantOnsagerDrift,
    MLPDrift,
    OnsagerDrift,
    SDENet,
)
from sklmacro.sde.neural import MLP, NeuralSDE
from sklmacro.sde.onsager import OnsagerSDE
from sklmacro.sde.polynomial import Linear, Polynomial
from sklmacro.sde.regressions import PolynomialSDE
from sklmacro.sde.regressor import PatchSDERegressor
from sklmacro.simulators import (
    Alloy,
    BarrierNetwork,
    ClusterBarriers,
    CurieWeiss,
    Duration,
    EventCount,
    Ising,
    LinearChain,
    PredatorPrey,
)
from sklmacro.training.training import Training

_ESTIMATORS = (
    HierarchicalUpsampler, PartialEvolutionSampler, PatchAutoencoder, PatchSDERegressor, OnsagerSDE,
    SDEEnsemble, StreamedPairs, FrozenEstimator, Pipeline, StandardScaler, FunctionTransformer,
)  # fmt: skip
_ROLES = (
    Training, MLP, Linear, Polynomial, LocalRelax, Convergence, Patches, Ghost, Buffer, Periodic,
    Duration, EventCount,
)  # fmt: skip
_SIMULATORS = (
    Alloy, CurieWeiss, Ising, LinearChain, PredatorPrey, BarrierNetwork, ClusterBarriers,
)  # fmt: skip
_FITTED_PARTS = (
    Lattice, PatchGrid, PassRecord, PatchCodec, Standardizer, PolynomialSDE, NeuralSDE,
)  # fmt: skip
_NETS = (
    PatchAutoencoderNet, SDENet, MLPDrift, OnsagerDrift, CholeskyDiffusion, EquivariantDrift,
    EquivariantOnsagerDrift, EquivariantDiffusion,
)  # fmt: skip
CLASSES: dict[str, type] = {
    cls.__name__: cls for cls in (*_ESTIMATORS, *_ROLES, *_SIMULATORS, *_FITTED_PARTS, *_NETS)
}
