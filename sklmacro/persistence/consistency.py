"""Whether the attributes of a fitted estimator, as a file gives them, go together.

A checksum tells damage, not intent: whoever writes a file can sign it. Kernels trust the shapes
that they are given, so that these are checked here, before anything is computed with them. Nothing
is allocated that is larger than the arrays at hand.
"""

import math
from collections.abc import Iterable
from functools import singledispatch

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_integer, check_real
from sklmacro.closure.autoencoder import PatchAutoencoder
from sklmacro.closure.codec import PatchCodec
from sklmacro.closure.correlations import CorrelationClosure
from sklmacro.closure.nets import PatchAutoencoderNet
from sklmacro.lattice.lattice import Lattice
from sklmacro.law.learner import ActiveLearner
from sklmacro.law.stages import SeveralSizes
from sklmacro.sampling.evolution import PartialEvolutionSampler
from sklmacro.sampling.upsampling import HierarchicalUpsampler
from sklmacro.sde.base import PatchSDE
from sklmacro.sde.coverage import Coverage
from sklmacro.sde.ensemble import SDEEnsemble
from sklmacro.sde.kernels import KernelSDE
from sklmacro.sde.neural import NeuralSDE
from sklmacro.sde.regressions import PolynomialSDE
from sklmacro.sde.relations import Relations
from sklmacro.simulators import Simulator


def check_fitted(estimator: object, state: Iterable[str]) -> None:
    """Raise ValueError unless the attributes `state` are all that a fit leaves, or none of them."""
    if any(name.endswith("_") for name in state):
        try:
            _check_together(estimator)
        except AttributeError as error:
            raise ValueError(
                f"Expected all that a fit leaves, but {error}; fit it anew."
            ) from error


@singledispatch
def _check_together(estimator: object) -> None:
    """Raise ValueError unless the attributes go together; of unknown classes nothing is asked."""


@_check_together.register
def _(upsampler: HierarchicalUpsampler) -> None:
    _check_simulator(upsampler.simulator_, upsampler.lattice_)
    _check("number of n_passes_", len(upsampler.n_passes_), upsampler.n_iter)
    _check_least("n_passes_", min(upsampler.n_passes_, default=1), 1)


@_check_together.register
def _(sampler: PartialEvolutionSampler) -> None:
    simulator, lattice = sampler.simulator_, sampler.grid_.lattice
    _check_simulator(simulator, lattice)
    sampler.check_parameters(lattice)
    _check("n_patches_", sampler.n_patches_, sampler.grid_.n_patches)
    if sampler.dt_ is not None:
        check_real(sampler.dt_, "dt_", low=0.0)
    if sampler.part("patch").n_joint:
        check_real(sampler.lam_, "lam_")
        check_real(sampler.lam_error_, "lam_error_")


@_check_together.register
def _(closure: PatchAutoencoder) -> None:
    closure.check_parameters()
    _check_simulator(closure.simulator_, closure.grid_.lattice)
    if closure.known is not None:
        own = closure.known_.simulator_
        _check_simulator(own, closure.grid_.lattice)
        _check("simulator of known_", type(own), type(closure.simulator_))
    _check("n_latent_", closure.n_latent_, len(closure.functions.names) + closure.n_closure)
    if closure.n_closure:
        _check_codec(closure.codec_, closure)


@_check_together.register
def _(closure: CorrelationClosure) -> None:
    closure.check_parameters()
    closure.simulator_.check_parameters()
    closure.check_clusters()
    n_latent = closure.simulator_.n_observables + len(closure.clusters_)
    _check("n_latent_", closure.n_latent_, n_latent)
    if closure.parity_ is not None or not len(closure.context):
        _check("parity_", closure.parity_, closure.parity())


@_check_together.register
def _(sde: PatchSDE) -> None:
    sde.check_parameters()
    n_in, d = sde.n_features_in_, sde.n_state_
    _check_least("n_state_", d, 1)
    _check_least("n_features_in_", n_in, d)
    if sde.flat_output:
        _check("n_state_ of plain increments", d, 1)
    check_real(sde.lam_, "lam_")
    check_real(sde.lam_error_, "lam_error_")
    _check_sizes(sde)
    n_columns, n_in = n_in, n_in + sde.sizes_.several
    _check_floats(mean_=(sde.mean_, (n_in,)), scale_=(sde.scale_, (n_in,)))
    if sde.coverage_ is not None:
        _check_coverage(sde.coverage_, n_columns)
    if sde.relations_ is not None:
        _check_relations(sde.relations_, d)
        d = len(sde.relations_.free)
    if isinstance(sde.model_, PolynomialSDE):
        _check_polynomials(sde.model_, n_in, d)
    elif isinstance(sde.model_, KernelSDE):
        _check_kernels(sde.model_, n_in, d)
    else:
        _check_nets(sde.model_, n_in, d)


@_check_together.register
def _(ensemble: SDEEnsemble) -> None:
    members = ensemble.members_
    _check_least("number of members_", len(members), 2)
    for name in ("n_features_in_", "n_state_", "flat_output"):
        first = getattr(members[0], name)
        for member in members[1:]:
            _check(f"{name} of a member", getattr(member, name), first)
    _check("n_features_in_", ensemble.n_features_in_, members[0].n_features_in_)
    _check("n_state_", ensemble.n_state_, members[0].n_state_)
    check_real(ensemble.lam_, "lam_")


@_check_together.register
def _(sizes: SeveralSizes) -> None:
    sizes.checked_factors()
    check_is_fitted(sizes.closure_)
    _check_least("n_features_in_", sizes.n_features_in_, 1)


@_check_together.register
def _(learner: ActiveLearner) -> None:
    learner.check_parameters()
    names = [name for name, _ in learner.pipeline.steps]
    _check("steps of model_", [name for name, _ in learner.model_.steps], names)
    check_is_fitted(learner.model_["sde"])
    _check_least("number of rounds_", len(learner.rounds_), 1)
    _check_least("n_features_in_", learner.n_features_in_, 1)
    for name in ("error_", "site_time_"):
        check_real(getattr(learner, name), name, low=0.0)


# Parts of them ------------------------------------------------------------------------------------


def _check_simulator(simulator: Simulator, lattice: Lattice) -> None:
    """Raise ValueError unless a simulator makes sense and has lattices such as this one."""
    simulator.check_parameters()
    _check("kind of lattice", lattice.kind, simulator.kind)
    _check("boundary of the lattice", lattice.boundary, simulator.boundary)


def _check_codec(codec: PatchCodec, closure: PatchAutoencoder) -> None:
    """Raise ValueError unless a codec is one of the patches of an autoencoder."""
    simulator, grid, net = closure.simulator_, closure.grid_, codec.net
    of_fields = (simulator.n_fields,) if simulator.n_fields > 1 else ()
    patch_shape, n_axes = grid.patch_shape + of_fields, grid.lattice.ndim
    _check("net of the codec", type(net), PatchAutoencoderNet)
    assert isinstance(net, PatchAutoencoderNet)
    _check("patch_shape of the codec", codec.patch_shape, patch_shape)
    _check("n_axes of the codec", codec.n_axes, n_axes)
    _check("two_valued of the codec", codec.two_valued, simulator.two_valued)
    _check("cells of the net", net.cells, patch_shape[:n_axes])
    _check("channels of the net", net.channels, math.prod(patch_shape[n_axes:]))
    _check("n_observables of the net", net.n_observables, len(closure.functions.names))
    _check("n_closure of the net", net.n_closure, closure.n_closure)
    for unit, shape in (
        (codec.observables, (net.n_observables,)),
        (codec.closures, (net.n_closure,)),
        (codec.fields, of_fields),
    ):
        _check_floats(mean=(unit.mean, shape), scale=(unit.scale, shape))


def _check_sizes(sde: PatchSDE) -> None:
    """Raise ValueError unless the sizes of an SDE are numbers of sites, and its own is known."""
    sizes = sde.sizes_.n_sites
    for n_sites in sizes:
        _check_least("n_sites", n_sites, 1)
    _check("sizes", sizes, tuple(sorted(set(sizes))))
    _check("whether n_sites_ is known", sde.n_sites_ is not None, bool(sizes))
    if sde.n_sites_ is not None:
        _check_least("n_sites_", sde.n_sites_, 1)


def _check_coverage(coverage: Coverage, n_in: int) -> None:
    """Raise ValueError unless a coverage is one of states and context (n, n_in)."""
    check_real(coverage.unseen, "unseen of the coverage", low=0.0)
    _check_least("number of centres", len(coverage.centres), 1)
    check_real(coverage.radius, "radius of the coverage", low=0.0)
    _check_floats(
        mean=(coverage.mean, (n_in,)),
        scale=(coverage.scale, (n_in,)),
        centres=(coverage.centres, (len(coverage.centres), n_in)),
    )


def _check_relations(relations: Relations, d: int) -> None:
    """Raise ValueError unless relations are some of d components."""
    free = relations.free
    _check("dtype of free", free.dtype, np.dtype(np.int64))
    _check("dimension of free", free.ndim, 1)
    _check("free", free.tolist(), sorted({*free.tolist()} & {*range(d)}))
    _check_floats(matrix=(relations.matrix, (d - len(free), len(free))))


def _check_polynomials(model: PolynomialSDE, n_in: int, d: int) -> None:
    """Raise ValueError unless a model is an SDE of d components of u (n, n_in)."""
    n_monomials = 1  # binom(n_in + degree, degree)
    for order in range(1, model.degree + 1):
        n_monomials = n_monomials * (n_in + order) // order
        if n_monomials > model.B.size:  # already too many, and the degree may be any number
            break
    _check_floats(
        low=(model.low, (n_in,)),
        high=(model.high, (n_in,)),
        B=(model.B, (d, n_monomials)),
        slope=(model.slope, (d, n_in)),
        phi=(model.phi, (d, d, n_monomials)),
        g=(model.g, (d, n_monomials)),
        drift_scale=(model.drift_scale, (1,) if len(model.drift_scale) == 1 else (d,)),
        noise_scale=(model.noise_scale, (1,) if len(model.noise_scale) == 1 else (d,)),
        limits=(model.limits, (2, 1, 1) if model.limits.size == 2 else (2, d, d)),
    )


def _check_kernels(model: KernelSDE, n_in: int, d: int) -> None:
    """Raise ValueError unless a model is an SDE of d components of u (n, n_in)."""
    _check_polynomials(model.polynomial, n_in, d)
    _check_least("degree", model.polynomial.degree, 1)
    n_centres, n_roots = len(model.centres), model.spread.shape[-1]
    _check_least("number of centres", n_centres, 1)
    _check_floats(
        centres=(model.centres, (n_centres, n_in)),
        lengths=(model.lengths, (n_in,)),
        parity=(model.parity, (n_in,)),
        weights=(model.weights, (d, n_centres)),
        signal=(model.signal, (d,)),
        spread=(model.spread, (d, model.polynomial.B.shape[1] + n_centres, n_roots)),
    )
    if not (model.lengths > 0).all() or not np.isin(model.parity, (-1.0, 1.0)).all():
        raise ValueError("Expected positive lengths and signs, but got others; fit it anew.")


def _check_nets(model: NeuralSDE, n_in: int, d: int) -> None:
    """Raise ValueError unless a model is an SDE of d components of u (n, n_in)."""
    drift, factor = model.coefficients(np.zeros((1, n_in)))
    _check_floats(
        drift=(drift, (1, d)),
        factor=(factor, (1, d, d)),
        drift_scale=(model.drift_scale, (d,)),
        noise_scale=(model.noise_scale, (d,)),
    )


def _check(name: str, value: object, wanted: object) -> None:
    if value != wanted:
        raise ValueError(f"Expected {name} to be {wanted}, but got {value}; fit and save it anew.")


def _check_least(name: str, value: int, least: int) -> None:
    check_integer(value, name, low=least, remedy="fit and save it anew")


def _check_floats(**arrays: tuple[np.ndarray, tuple[int, ...]]) -> None:
    """Raise ValueError unless each array is of float64 and has the shape beside it."""
    for name, (array, shape) in arrays.items():
        _check(f"dtype of {name}", array.dtype, np.dtype(float))
        _check(f"shape of {name}", array.shape, shape)
