"""The classes that a file may hold."""

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklmacro import simulators
from sklmacro.closure.autoencoder import PatchAutoencoder
from sklmacro.closure.clusters import Cluster
from sklmacro.closure.codec import PatchCodec, Standardizer
from sklmacro.closure.correlations import CorrelationClosure
from sklmacro.closure.encoder import PatchEncoder
from sklmacro.closure.nets import PatchAutoencoderNet
from sklmacro.closure.selection import SelectionStep
from sklmacro.closure.streaming import StreamedPairs
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.patches import PatchGrid
from sklmacro.law.learner import ActiveLearner, Round
from sklmacro.law.stages import SeveralSizes
from sklmacro.law.time_scale import TimeFactor
from sklmacro.sampling.boundary import Buffer, Ghost, Periodic
from sklmacro.sampling.evolution import PartialEvolutionSampler
from sklmacro.sampling.patches import Patches
from sklmacro.sampling.relaxation import Convergence, LocalRelax, PassRecord
from sklmacro.sampling.upsampling import HierarchicalUpsampler
from sklmacro.sde import nets
from sklmacro.sde.coverage import Coverage
from sklmacro.sde.ensemble import SDEEnsemble
from sklmacro.sde.gaussian_process import GaussianProcess
from sklmacro.sde.kernels import KernelSDE
from sklmacro.sde.neural import MLP, NeuralSDE
from sklmacro.sde.onsager import OnsagerSDE
from sklmacro.sde.polynomial import Linear, Polynomial
from sklmacro.sde.regressions import PolynomialSDE
from sklmacro.sde.regressor import PatchSDERegressor
from sklmacro.sde.relations import Relations
from sklmacro.sde.sizes import LatticeSizes
from sklmacro.training.training import Training

_CLASSES = (
    # estimators
    HierarchicalUpsampler, PartialEvolutionSampler, PatchAutoencoder, CorrelationClosure,
    PatchSDERegressor, OnsagerSDE, SDEEnsemble, SeveralSizes, ActiveLearner, StreamedPairs,
    FrozenEstimator, Pipeline, StandardScaler, FunctionTransformer,
    # roles in them
    Cluster, PatchEncoder, Training, MLP, GaussianProcess, Linear, Polynomial, LocalRelax,
    Convergence, Patches, Ghost, Buffer, Periodic, simulators.Duration, simulators.EventCount,
    # simulators
    simulators.Alloy, simulators.CurieWeiss, simulators.Ising, simulators.LinearChain,
    simulators.PredatorPrey, simulators.BarrierNetwork, simulators.ClusterBarriers,
    # fitted parts
    Lattice, PatchGrid, PassRecord, PatchCodec, Standardizer, PolynomialSDE, NeuralSDE,
    KernelSDE, Coverage, LatticeSizes, Relations, SelectionStep, Round, TimeFactor,
    PatchAutoencoderNet, nets.SDENet, nets.MLPDrift, nets.OnsagerDrift, nets.CholeskyDiffusion,
    nets.EquivariantDrift, nets.EquivariantOnsagerDrift, nets.EquivariantDiffusion,
)  # fmt: skip
CLASSES: dict[str, type] = {cls.__name__: cls for cls in _CLASSES}
