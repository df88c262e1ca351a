"""Latent pairs without the large snapshots: upsample, relax, evolve, encode, discard.

`HierarchicalUpsampler`, `PartialEvolutionSampler` and a closure one after the other hold
all large snapshots at once. Here they work on a batch of them at a time, of which only the latent
pairs are kept, so that memory does not grow with the number of snapshots. Every large snapshot has
random streams of its own, named by its number: the batches cannot be seen in the result.
"""

import math
import os
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_integer
from sklmacro._base.estimators import SetOutput, validate_input
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro._base.workers import fill_rows
from sklmacro.checkpoint.checkpoint import resume
from sklmacro.closure.autoencoder import PatchAutoencoder
from sklmacro.closure.correlations import CorrelationClosure
from sklmacro.sampling.evolution import PartialEvolutionSampler
from sklmacro.sampling.pairs import latent_pairs, source_groups, warn_of_lost_groups
from sklmacro.sampling.relaxed import ages_of, is_relaxed, snapshots_of
from sklmacro.sampling.upsampling import HierarchicalUpsampler, Start

BATCH_BYTES = 1 << 26  # of large snapshots in a batch


class StreamedPairs(SetOutput, BaseEstimator):
    """Turn small snapshots into latent pairs, batch by batch.

    In a Pipeline it replaces the three steps that it is given. It returns what they return, bit by
    bit, as long as the closure is trained on all snapshots.

    Parameters
    ----------
    upsampler : HierarchicalUpsampler or None
        Makes large snapshots; None takes X as such.
    sampler : PartialEvolutionSampler
        Evolves patches of them.
    closure : PatchAutoencoder or CorrelationClosure
        Encodes the pairs. One that is fitted comes wrapped in `sklearn.frozen.FrozenEstimator`.
    batch_size : int, default=None
        Large snapshots held at a time, or all kept states of so many sources; None takes as many
        as fill 64 MiB, and at least one.
    n_train : int, default=1000
        Large snapshots, or kept states, that closure variables are trained on, held in memory
        meanwhile. Where there are more, they are drawn at random, all states of a source together.
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
    closure_ : PatchAutoencoder or CorrelationClosure
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

    __metadata_request__fit: ClassVar = {"groups": True}
    __metadata_request__transform: ClassVar = {"groups": True}
    upsampler_: HierarchicalUpsampler | None
    sampler_: PartialEvolutionSampler
    closure_: PatchAutoencoder | CorrelationClosure | FrozenEstimator
    n_features_in_: int

    def __init__(
        self,
        upsampler: HierarchicalUpsampler | None,
        sampler: PartialEvolutionSampler,
        closure: PatchAutoencoder | CorrelationClosure | FrozenEstimator,
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
        X : array-like of shape (n_samples, *snapshot shape), or structured ndarray
            Small snapshots, or large ones without an upsampler, relaxed or not. A memory map of the
            simulator's type is not copied.
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

        Warns
        -----
        GroupsWarning
            If a search splits by groups and none come here.
        """
        if self.batch_size is not None:
            check_integer(self.batch_size, "batch_size", low=1)
        check_integer(self.n_train, "n_train", low=1)
        n_drawn = getattr(self.closure, "n_events_encoded", None)
        if self.sampler.moments and n_drawn is not None:  # their streams depend on the batch
            raise ValueError(
                "Expected n_events_encoded=None for pairs of moments in batches, but got "
                f"{n_drawn}; encode all events, or use the three steps one after the other."
            )
        X = self._validate(X, reset=True)
        self.upsampler_ = None if self.upsampler is None else clone(self.upsampler).fit(X)
        self.sampler_, self.closure_ = clone(self.sampler), clone(self.closure)
        if groups is None and not is_relaxed(X):
            warn_of_lost_groups()
        X, groups = self._check(X, groups)
        (seed, _), n_kept = self._entropies(), self._n_kept

        def states(numbers: np.ndarray) -> np.ndarray:
            sources, back = np.unique(numbers // n_kept, return_inverse=True)
            large = snapshots_of(self._large(self._starts(X, sources), seed))
            return large[back * n_kept + numbers % n_kept]

        self.sampler_.prepare(states(np.arange(1)))
        self.sampler_.fit_lam(len(groups) * n_kept, states, X=X, upsampler=self.upsampler)
        self.closure_.fit(self._training_pairs(X, groups), None)
        return self

    def fit_transform(self, X: Any, y: Any = None, groups: Any = None) -> np.ndarray:
        """Fit the steps and return the latent pairs; see `transform`."""
        return self.fit(X, y, groups).transform(X, groups)

    def transform(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return latent pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, *snapshot shape), or structured ndarray
            As in `fit`; not changed.
        groups : array-like of shape (n_samples,), default=None
            Source trajectory of each snapshot. None numbers the large snapshots; where states are
            kept, the small ones.

        Returns
        -------
        pairs : structured ndarray
            One row for each large snapshot or kept state, or two with mirror images; see
            `sklmacro.pairs`.
        """
        check_is_fitted(self)
        X, groups = self._check(self._validate(X, reset=False), groups)
        entropies, together = self._entropies(), self.sampler_.n_copies * self._n_kept

        def work(starts: list[Start], groups: np.ndarray) -> dict[str, np.ndarray]:
            latent = self.closure_.transform(self._pairs(starts, groups, entropies))
            return {name: latent[name] for name in latent.dtype.fields or ()}

        def take(start: int, stop: int) -> tuple:
            numbers = np.arange(start // together, stop // together)
            return self._starts(X, numbers), groups[numbers]

        name = f"transform {type(self).__name__}"
        with resume(self.checkpoint_dir, name, self._settings(X, groups)) as (checkpoint, _):
            fields = fill_rows(
                work, take, together * len(groups), checkpoint, together=together,
                largest=self._batch(X), verbose=self.verbose, desc="stream",
            )  # fmt: skip
        return latent_pairs(**fields)

    def macrostates(self, X: Any) -> np.ndarray:
        """Return the macrostates (n_samples, d) of large snapshots."""
        check_is_fitted(self)
        return self.closure_.transform(X)

    # Batches --------------------------------------------------------------------------------------

    @property
    def _n_kept(self) -> int:
        """States of each large snapshot."""
        return 1 if self.upsampler_ is None else self.upsampler_.n_kept

    def _validate(self, X: Any, *, reset: bool) -> Any:
        """Return X, whose values are left to the steps."""
        x = validate_input(
            self, snapshots_of(X), reset=reset, allow_nd=True, ensure_all_finite=False
        )
        return X if is_relaxed(X) else x

    def _check(self, X: np.ndarray, groups: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return small snapshots, checked, and the group of each large one.

        Without an upsampler, snapshots are checked batch by batch.
        """
        n, n_repeats = len(X), getattr(self.upsampler_, "n_repeats", 1)
        X = X if self.upsampler_ is None else self.upsampler_.check_small(X)
        if groups is None and self._n_kept == 1 and not is_relaxed(X):
            return X, np.arange(n * n_repeats)
        return X, np.repeat(source_groups(X, groups, n, matter=False), n_repeats)

    def _batch(self, X: np.ndarray) -> int:
        """Return the number of large snapshots, all their states included, in a batch."""
        if self.batch_size is not None:
            return self.batch_size
        shape = snapshots_of(X).shape[1:]
        shape = shape if self.upsampler_ is None else self.upsampler_.large_shape(shape)
        itemsize = np.dtype(self.sampler_.simulator_.state_dtype).itemsize
        return max(1, BATCH_BYTES // (math.prod(shape) * itemsize * self._n_kept))

    def _entropies(self) -> tuple[int, int]:
        """Return the entropies of the large snapshots and of the pairs."""
        own = 0 if self.upsampler_ is None else resolve_entropy(self.upsampler_.random_state)
        return own, resolve_entropy(self.sampler_.random_state)

    def _starts(self, X: np.ndarray, numbers: np.ndarray) -> list[Start]:
        """Return what large snapshots of given numbers are made of."""
        if self.upsampler_ is None:
            return [Start(k, X[k], None, k) for k in numbers.tolist()]
        return self.upsampler_.starts(X, numbers)

    def _large(self, starts: list[Start], entropy: int) -> np.ndarray:
        """Return the large snapshots that are made of starts, relaxed where states are kept."""
        if self.upsampler_ is None:
            return np.stack([start.x for start in starts])
        return self.upsampler_.grow(starts, entropy)

    def _pairs(
        self, starts: list[Start], groups: np.ndarray, entropies: tuple[int, int]
    ) -> np.ndarray:
        """Return the snapshot pairs of the large snapshots that are made of starts."""
        large, n_kept = self._large(starts, entropies[0]), self._n_kept
        firsts = n_kept * np.array([[start.number] for start in starts])
        numbers, groups = (firsts + np.arange(n_kept)).ravel(), np.repeat(groups, n_kept)
        x, ages = self.sampler_.check_large(large), ages_of(large)
        return self.sampler_.sample(x, numbers, groups, entropies[1], ages=ages)

    def _training_pairs(self, X: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return snapshot pairs to fit the closure to."""
        frozen = isinstance(self.closure_, FrozenEstimator)
        known = getattr(self.closure_, "known", None)
        n_closure = getattr(self.closure_, "n_closure", 1) or getattr(known, "n_closure", 0)
        n_train = max(1, self.n_train // self._n_kept) if n_closure and not frozen else 1
        numbers = np.arange(len(groups))
        if len(numbers) > n_train:
            rng = stream(resolve_entropy(self.sampler_.random_state), Stage.SPLIT, 1)
            numbers = np.sort(rng.choice(numbers, n_train, replace=False))
        entropies, batch = self._entropies(), self._batch(X)
        parts = [
            self._pairs(self._starts(X, some), groups[some], entropies)
            for some in np.split(numbers, range(batch, len(numbers), batch))
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _settings(self, X: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
        """Return all that the latent pairs depend on."""
        known = getattr(self.closure_, "known_", self.closure_)
        return {
            "upsampler": self.upsampler, "n_passes": getattr(self.upsampler_, "n_passes_", None),
            "sampler": self.sampler, "lam": getattr(self.sampler_, "lam_", None),
            "closure": self.closure, "codec": getattr(self.closure_, "codec_", None),
            "clusters": getattr(known, "clusters_", None),
            "X": X, "groups": groups,
        }  # fmt: skip

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags
