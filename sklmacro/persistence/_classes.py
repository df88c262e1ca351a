"""The classes that a file may hold."""

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklmacro.closure import PatchAutoencoder
from sklmacro.codec import PatchCodec, Standardizer
from sklmacro.ensemble import SDEEnsemble
from sklmacro.equivariant import EquivariantDiffusion, EquivariantDrift, EquivariantOnsagerDrift
from sklmacro.evolution import PartialEvolutionSampler
from sklmacro.lattice import Lattice
from sklmacro.nets import CholeskyDiffusion, MLPDrift, OnsagerDrift, PatchAutoencoderNet, SDENet
from sklmacro.neural import NeuralSDE
from sklmacro.onsager import OnsagerSDE
from sklmacro.patches import PatchGrid
from sklmacro.polynomial import PolynomialSDE
from sklmacro.regressor import PatchSDERegressor
from sklmacro.relaxation import PassRecord
from sklmacro.simulators import (
    Alloy,
    BarrierNetwork,
    ClusterBarriers,
    CurieWeiss,
    Ising,
    LinearChain,
    PredatorPrey,
)
from sklmacro.streaming import StreamedPairs
from sklmacro.upsampling import HierarchicalUpsampler

CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        # Estimators
        HierarchicalUpsampler,
        PartialEvolutionSampler,
        PatchAutoencoder,
        PatchSDERegressor,
        OnsagerSDE,
        SDEEnsemble,
        StreamedPairs,
        FrozenEstimator,
        Pipeline,
        StandardScaler,
        FunctionTransformer,
        # Simulators and barriers
        Alloy,
        CurieWeiss,
        Ising,
        LinearChain,
        PredatorPrey,
        BarrierNetwork,
        ClusterBarriers,
        # Fitted parts
        Lattice,
        PatchGrid,
        PassRecord,
        PatchCodec,
        Standardizer,
        PolynomialSDE,
        NeuralSDE,
        # Nets
        PatchAutoencoderNet,
        SDENet,
        MLPDrift,
        OnsagerDrift,
        CholeskyDiffusion,
        EquivariantDrift,
        EquivariantOnsagerDrift,
        EquivariantDiffusion,
    )
}
