"""Latent pairs without the large snapshots: upsample, relax, evolve, encode, discard.

`HierarchicalUpsampler`, `PartialEvolutionSampler` and `PatchAutoencoder` one after the other hold
all large snapshots at once. Here they work on a batch of them at a time, of which only the latent
pairs are kept, so that memory does not grow with the number of snapshots. Every large snapshot has
random streams of its own, named by its number: the batches cannot be seen in the result.
"""

import math
import os
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklmacro._base.checks import check_integer
from sklmacro._base.estimators import SetOutput
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro._base.workers import fill_rows
from sklmacro.checkpoint.checkpoint import resume
from sklmacro.closure.autoencoder import PatchAutoencoder
from sklmacro.closure.codec import PatchCodec
from sklmacro.sampling.evolution import PartialEvolutionSampler
from sklmacro.sampling.pairs import check_groups, latent_pairs
from sklmacro.sampling.upsampling import HierarchicalUpsampler

BATCH_BYTES = 1 << 26  # of large snapshots in a batch


class StreamedPairs(SetOutput, BaseEstimator):
    """Turn small snapshots into latent pairs, batch by batch.

    It stands in a Pipeline for the three steps that it is given, and what it returns is what they
    return, bit by bit, as long as the closure is trained on all snapshots.

    Parameters
    ----------
    upsampler : HierarchicalUpsampler or None
        Makes large snapshots; None takes X as such.
    sampler : PartialEvolutionSampler
        Evolves patches of them.
    closure : PatchAutoencoder
        Encodes the pairs. One that is fitted comes wrapped in `sklearn.frozen.FrozenEstimator`.
    batch_size : int, default=None
        Large snapshots held at a time; None takes as many as fill 64 MiB, and at least one.
    n_train : int, default=1000
        Large snapshots that closure variables are trained on, held in memory meanwhile. Where there
        are more, they are drawn at random.
    verbose : bool, default=False
        Show progress with the time left.
    checkpoint_dir : str or Path, default=None
        Folder in which finished latent pairs are saved, so that transform resumes there when an
        interrupted call is made again. The steps are fitted again: give each an integer as
        `random_state`.

    Attributes
    ----------
    upsampler_ : HierarchicalUpsampler or None
    sampler_ : PartialEvolutionSampler
    closure_ : PatchAutoencoder
        The fitted steps.
    n_features_in_ : int
        Cells along the first axis of the snapshots seen in fit.

    Notes
    -----
    What a net makes of a patch depends, in the last bits, on its place in memory, unless each of
    its layers has inputs of a multiple of 16 bytes: an even number of them, or for convolutional
    encoders a multiple of 4. Otherwise closures are as exact, but not the same bit by bit.

    Examples
    --------
    >>> from sklmacro import HierarchicalUpsampler, PartialEvolutionSampler, PatchAutoencoder
    >>> from sklmacro import StreamedPairs
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=2.5)
    >>> small = ising.sample_initial(20, 16, random_state=0)
    >>> streamed = StreamedPairs(
    ...     HierarchicalUpsampler(ising, n_iter=2, random_state=0),
    ...     PartialEvolutionSampler(ising, patch=16, random_state=1),
    ...     PatchAutoencoder(ising, n_closure=0),
    ... )
    >>> streamed.fit_transform(small)["z"].shape
    (20, 2)
    """

    upsampler_: HierarchicalUpsampler | None
    sampler_: PartialEvolutionSampler
    closure_: PatchAutoencoder | FrozenEstimator
    n_features_in_: int

    def __init__(
        self,
        upsampler: HierarchicalUpsampler | None,
        sampler: PartialEvolutionSampler,
        closure: PatchAutoencoder | FrozenEstimator,
        *,
        batch_size: int | None = None,
        n_train: int = 1000,
        verbose: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.upsampler = upsampler
        self.sampler = sampler
        self.closure = closure
        self.batch_size = batch_size
        self.n_train = n_train
        self.verbose = verbose
        self.checkpoint_dir = checkpoint_dir

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> "StreamedPairs":
        """Fit the steps.

        Parameters
        ----------
        X : array-like of shape (n_samples, *snapshot shape)
            Small snapshots, or large ones without an upsampler. A memory map of the simulator's
            type is not copied.
        y : ignored
        groups : array-like of shape (n_samples,), default=None
            Source trajectory of each snapshot, as in `transform`; the closure holds out whole ones.

        Returns
        -------
        self : StreamedPairs

        Raises
        ------
        ValueError
            If a step refuses X or one of its parameters, or moments would be encoded from events
            drawn at random.
        """
        if self.batch_size is not None:
            check_integer(self.batch_size, "batch_size", low=1)
        check_integer(self.n_train, "n_train", low=1)
        self._check_moments()
        X = validate_data(self, X, allow_nd=True, ensure_all_finite=False)
        self.upsampler_ = None if self.upsampler is None else clone(self.upsampler).fit(X)
        self.sampler_, self.closure_ = clone(self.sampler), clone(self.closure)
        X = self._small(X)
        seed, _ = self._entropies()

        def large(numbers: np.ndarray) -> np.ndarray:
            return self._large(self._starts(X, numbers), numbers, seed)

        self.sampler_.prepare(large(np.arange(1)))
        if self.sampler_.part("patch").n_joint:
            self.sampler_.fit_lam(self._n_large(X), large, X=X, upsampler=self.upsampler)
        self.closure_.fit(self._training_pairs(X, self._groups(X, groups)), None)
        return self

    def fit_transform(self, X: Any, y: Any = None, groups: Any = None) -> np.ndarray:
        """Fit the steps and return the latent pairs; see `transform`."""
        return self.fit(X, y, groups).transform(X, groups)

    def transform(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return latent pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, *snapshot shape)
            Small snapshots, or large ones without an upsampler; not changed.
        groups : array-like of shape (n_samples,), default=None
            Source trajectory of each snapshot; None numbers the large snapshots.

        Returns
        -------
        pairs : structured ndarray
            One row for each large snapshot, or two with mirror images; see `sklmacro.pairs`.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, allow_nd=True, ensure_all_finite=False)
        X = self._small(X)
        groups = self._groups(X, groups)
        entropies = self._entropies()
        copies = self.sampler_.n_copies(self._large_shape(X.shape[1:]))

        def work(starts: Any, numbers: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
            latent = self.closure_.transform(self._pairs(starts, numbers, groups, entropies))
            return {name: latent[name] for name in latent.dtype.fields or ()}

        def take(start: int, stop: int) -> tuple:
            numbers = np.arange(start // copies, stop // copies)
            return self._starts(X, numbers), numbers, groups[numbers]

        name = f"transform {type(self).__name__}"
        with resume(self.checkpoint_dir, name, self._settings(X, groups)) as (checkpoint, _):
            fields = fill_rows(
                work, take, copies * len(groups), checkpoint, together=copies,
                largest=self._batch(X), verbose=self.verbose, desc="stream",
            )  # fmt: skip
        return latent_pairs(**fields)

    def macrostates(self, X: Any) -> np.ndarray:
        """Return the macrostates (n_samples, d) of large snapshots."""
        check_is_fitted(self)
        return self.closure_.transform(X)

    # Batches --------------------------------------------------------------------------------------

    def _small(self, X: np.ndarray) -> np.ndarray:
        """Return small snapshots, checked; large ones are checked batch by batch."""
        return X if self.upsampler_ is None else self.upsampler_.check_small(X)

    def _n_large(self, X: np.ndarray) -> int:
        return len(X) * (1 if self.upsampler_ is None else self.upsampler_.n_repeats)

    def _groups(self, X: np.ndarray, groups: Any) -> np.ndarray:
        """Return the group of each large snapshot."""
        n_large = self._n_large(X)
        if groups is None:
            return np.arange(n_large)
        return np.repeat(check_groups(groups, len(X)), n_large // len(X))

    def _large_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape if self.upsampler_ is None else self.upsampler_.large_shape(shape)

    def _batch(self, X: np.ndarray) -> int:
        """Return the number of large snapshots in a batch."""
        if self.batch_size is not None:
            return self.batch_size
        dtype, shape = self.sampler_.simulator_.state_dtype, self._large_shape(X.shape[1:])
        return max(1, BATCH_BYTES // (math.prod(shape) * np.dtype(dtype).itemsize))

    def _entropies(self) -> tuple[int, int]:
        """Return the entropies of the large snapshots and of the pairs."""
        upsampler = self.upsampler_
        own = 0 if upsampler is None else resolve_entropy(upsampler.random_state)
        return own, resolve_entropy(self.sampler_.random_state)

    def _starts(self, X: np.ndarray, numbers: np.ndarray) -> Any:
        """Return what large snapshots of given numbers are made of."""
        return X[numbers] if self.upsampler_ is None else self.upsampler_.starts(X, numbers)

    def _large(self, starts: Any, numbers: np.ndarray, entropy: int) -> np.ndarray:
        """Return large snapshots of given numbers."""
        if self.upsampler_ is None:
            return starts
        return self.upsampler_.grow(starts, numbers, entropy)

    def _pairs(
        self, starts: Any, numbers: np.ndarray, groups: np.ndarray, entropies: tuple[int, int]
    ) -> np.ndarray:
        """Return the snapshot pairs of large snapshots of given numbers and groups."""
        large = self.sampler_.check_large(self._large(starts, numbers, entropies[0]))
        return self.sampler_.sample(large, numbers, groups, entropies[1])

    def _training_pairs(self, X: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return snapshot pairs to fit the closure to."""
        trains = getattr(self.closure_, "n_closure", 1) and not isinstance(
            self.closure_, FrozenEstimator
        )
        numbers, n_train = np.arange(len(groups)), self.n_train if trains else 1
        if len(numbers) > n_train:
            rng = stream(resolve_entropy(self.sampler_.random_state), Stage.SPLIT, 1)
            numbers = np.sort(rng.choice(numbers, n_train, replace=False))
        entropies, batch = self._entropies(), self._batch(X)
        parts = [
            self._pairs(self._starts(X, some), some, groups[some], entropies)
            for some in np.split(numbers, range(batch, len(numbers), batch))
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    # Checks ---------------------------------------------------------------------------------------

    def _check_moments(self) -> None:
        """Raise ValueError if what is drawn for the moments of a pair depends on its batch."""
        drawn = getattr(self.closure, "n_events_encoded", None)
        if self.sampler.moments and drawn is not None:
            raise ValueError(
                "Expected n_events_encoded=None for pairs of moments in batches, but got "
                f"{drawn}; encode all events, or use the three steps one after the other."
            )

    def _settings(self, X: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
        """Return all that the latent pairs depend on."""
        codec = getattr(self.closure_, "codec_", None)  # of a frozen closure, too
        return {
            "upsampler": self.upsampler, "n_passes": getattr(self.upsampler_, "n_passes_", None),
            "sampler": self.sampler, "lam": getattr(self.sampler_, "lam_", None),
            "closure": self.closure, "codec": {} if codec is None else _learned(codec),
            "X": X, "groups": groups,
        }  # fmt: skip

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _learned(codec: PatchCodec) -> dict[str, np.ndarray]:
    """Return all arrays that an encoder computes with."""
    weights = {name: w.detach().cpu().numpy() for name, w in codec.net.state_dict().items()}
    units = {"fields": codec.fields, "closures": codec.closures}
    scales = {
        f"{k} {part}": getattr(u, part) for k, u in units.items() for part in ("mean", "scale")
    }
    return weights | scales
