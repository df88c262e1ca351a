"""The stages before the fit of a law, gone through as one: latent pairs of small snapshots.

    small -> upsample -> evolve -> closure,     for large snapshots of every size

Snapshots of several sizes do not fit into one array. Their latent pairs do: each carries its number
of sites. Closures are those that the largest snapshots ask for.

Shape vocabulary::

    small        (n, *small snapshot shape)
    parameters   (n, n_context)              values of the context's parameters
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_cells
from sklmacro._base.streams import Stage, resolve_entropy, stream_seed
from sklmacro.closure.autoencoder import PatchAutoencoder
from sklmacro.closure.correlations import CorrelationClosure
from sklmacro.lattice.lattice import n_axes
from sklmacro.sampling.context import by_context, with_parameters
from sklmacro.sampling.evolution import PartialEvolutionSampler
from sklmacro.sampling.pairs import check_groups
from sklmacro.sampling.upsampling import HierarchicalUpsampler
from sklmacro.simulators import resolve_simulator

SEEDS = 1 << 20  # of each size
Factor = tuple[int, ...]
Closure = CorrelationClosure | PatchAutoencoder


class Harvest(NamedTuple):
    """What small snapshots have given: latent pairs, of all sizes, and what that took."""

    pairs: np.ndarray
    largest: np.ndarray  # snapshot pairs of the largest size
    site_time: float  # sites times units of time of LocalRelax


def harvest(
    upsample: HierarchicalUpsampler,
    evolve: PartialEvolutionSampler,
    closure: Closure,
    factors: Sequence[Factor | None],
    small: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str] = (),
    parameters: np.ndarray | None = None,
    entropy: int = 0,
    folder: Path | None = None,
    fit: bool = True,
) -> Harvest:
    """Return latent pairs of small snapshots, each enlarged by every one of `factors`.

    A factor None is the upsampler's own. The closure is fitted if `fit` says so, and transforms.
    Unfinished work is saved in `folder`.
    """
    parts: list[np.ndarray] = []
    largest, site_time = small, 0.0
    values = np.empty((len(small), 0)) if parameters is None else parameters
    for size, factor in enumerate(sorted(factors, key=_volume, reverse=True)):
        snapshots = []
        for number, (own, rows) in enumerate(by_context(values)):
            seed = stream_seed(entropy, Stage.LEARN, 1 + number + SEEDS * size) % 2**31
            upsampler, sampler = clone(upsample), clone(evolve)
            simulator = with_parameters(resolve_simulator(upsample.simulator), names, own)
            for step in (upsampler, sampler):
                place = folder and folder / f"{type(step).__name__}-{size}-{number}"
                step.set_params(simulator=simulator, random_state=seed, checkpoint_dir=place)
            if factor is not None:
                upsampler.set_params(factor=factor)
                if sampler.patch is not None:
                    sampler.set_params(patch__n_evolved=math.prod(factor))
            if names:
                sampler.set_params(context=tuple(names))
            X = upsampler.fit_transform(small[rows], groups=groups[rows])
            site_time += upsampler.site_time(small[rows])
            snapshots.append(sampler.fit_transform(X))
        pairs = np.concatenate(snapshots)
        if not parts:
            largest = pairs
            if fit:
                closure.fit(pairs)
        parts.append(closure.transform(pairs))
    return Harvest(np.concatenate(parts), largest, site_time)


def _volume(factor: Factor | None) -> int:
    return 0 if factor is None else math.prod(factor)


class SeveralSizes(BaseEstimator):
    """Latent pairs of large snapshots of several sizes, from the same small ones.

    The law that is fitted to them has the leading correction of order 1/n, see
    `sklmacro.sde.sizes`.

    Parameters
    ----------
    upsample : HierarchicalUpsampler
        Its `factor` is left aside.
    evolve : PartialEvolutionSampler
    closure : CorrelationClosure or PatchAutoencoder
    factors : sequence of int or of sequence of int, default=(2, 4)
        Enlargements, as `factor` of the upsampler, each different.
    random_state : None, int, RandomState or Generator, default=None
        Seed.

    Attributes
    ----------
    closure_ : CorrelationClosure or PatchAutoencoder
        Fitted to the largest snapshots.
    n_features_in_ : int
        Cells along the first axis of the small snapshots.

    Examples
    --------
    >>> import sklmacro as skm
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=4.0)
    >>> model = skm.make_macro_pipeline(ising, small=8, large=[16, 32], random_state=0)
    >>> small = ising.sample_initial(8, 8, observables="even", random_state=0)
    >>> model.fit(small)["sde"].sizes_
    LatticeSizes(n_sites=(256, 1024))
    """

    __metadata_request__fit: ClassVar = {"groups": True}
    closure_: Closure
    n_features_in_: int

    def __init__(
        self,
        upsample: HierarchicalUpsampler,
        evolve: PartialEvolutionSampler,
        closure: Closure,
        *,
        factors: Sequence[int | Sequence[int]] = (2, 4),
        random_state: Any = None,
    ):
        self.upsample = upsample
        self.evolve = evolve
        self.closure = closure
        self.factors = factors
        self.random_state = random_state

    def checked_factors(self) -> list[Factor | None]:
        """Return the factors, one number for each axis, or raise ValueError."""
        number = n_axes(resolve_simulator(self.upsample.simulator).kind)
        factors = [check_cells(factor, "factors", number) for factor in self.factors]
        if len({*factors}) < max(1, len(factors)):
            raise ValueError(
                f"Expected factors to be different, and at least one, but got {self.factors!r}; "
                "pass one for each size."
            )
        return [*factors]

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> "SeveralSizes":
        """Fit the closure to the largest snapshots; see `fit_transform`."""
        self.fit_transform(X, y, groups)
        return self

    def fit_transform(self, X: Any, y: Any = None, groups: Any = None) -> np.ndarray:
        """Return latent pairs of small snapshots at all sizes.

        Parameters
        ----------
        X : array-like of shape (n_samples, *small snapshot shape)
            Small snapshots.
        y : ignored
        groups : array-like of int, shape (n_samples,), default=None
            Source of each small snapshot; None numbers them.

        Returns
        -------
        pairs : structured ndarray of latent pairs

        Raises
        ------
        ValueError
            If X is not a batch of snapshots of the simulator, or factors are not different.
        """
        X = resolve_simulator(self.upsample.simulator).check_snapshots(X)
        self.n_features_in_ = X.shape[1]
        groups = np.arange(len(X)) if groups is None else check_groups(groups, len(X))
        self.closure_ = clone(self.closure)
        return harvest(
            self.upsample, self.evolve, self.closure_, self.checked_factors(), X, groups,
            entropy=resolve_entropy(self.random_state),
        ).pairs  # fmt: skip

    def transform(self, X: Any) -> np.ndarray:
        """Return macrostates of snapshots, or latent pairs of snapshot pairs, of any size."""
        check_is_fitted(self)
        return self.closure_.transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the components of z."""
        check_is_fitted(self)
        return self.closure_.get_feature_names_out(input_features)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
