"""Closure variables: what the observables leave out, learned by an autoencoder of patches.

    zhat(x) = (1/K) sum_I phihat(x_I)                                    (Eq. 1)
    loss    = E |psi(phi*(x_I), phihat(x_I)) - x_I|^2                    (Eq. 2)
    z       = (z*, zhat),    dz = phi(x_{t+dt,I}) - phi(x_{t,I})         (Eqs. 3, 10)

Known closures may stand beside the learned ones, z = (z*, zhat_known, zhat_learned). phi* are then
all known functions, so that what is learned is what they leave out.

The encoder phihat sees one patch, so that it applies to every lattice that the patch tiles. The
decoder psi rebuilds the patch from its own observables and closures; for two-valued states the
squared error gives way to the cross entropy. `increments="naive"` is the published baseline,
dz = phi(x_{t+dt,I}) - phi(x_t) (Eq. 9).
"""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import (
    check_cells,
    check_choice,
    check_column_names,
    check_finite_numbers,
    check_integer,
)
from sklmacro._base.estimators import FitTask, SetOutput, begin_fit, validate_input
from sklmacro._base.roles import Roles
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro.checkpoint.checkpoint import Checkpoint, resume_method
from sklmacro.closure.codec import ENCODE_BATCH, PatchCodec, PatchForm, fit_codec
from sklmacro.closure.correlations import CorrelationClosure
from sklmacro.closure.encoder import PatchEncoder, as_encoder
from sklmacro.closure.known import KnownFunctions
from sklmacro.closure.moments import latent_moments
from sklmacro.lattice.patches import PatchGrid
from sklmacro.lattice.windows import Window
from sklmacro.sampling.pairs import (
    common_fields,
    has_moments,
    is_snapshot_pairs,
    latent_pairs,
    patch_cells,
    patches_before,
    snapshots_in,
    source_groups,
)
from sklmacro.simulators import Simulator, resolve_simulator
from sklmacro.training.loop import Run, held_out_rows
from sklmacro.training.training import Training, as_training, former_names

TRAINING = Training(max_epochs=20, batch_size=256, patience=10)  # of encoder and decoder


def as_known(value: Any) -> CorrelationClosure:
    """Return `value`, a CorrelationClosure or None, as one: the function of `Roles.roles`."""
    if value is None or isinstance(value, CorrelationClosure):
        return CorrelationClosure(n_closure=0) if value is None else value
    raise ValueError(
        f"Expected known to be a CorrelationClosure or None, but got {value!r}; pass for instance "
        "CorrelationClosure(n_closure=2)."
    )


class PatchAutoencoder(CallbackSupportMixin, SetOutput, Roles):
    """Closure variables that complete the simulator's observables (Eqs. 1-3, 9-10).

    Parameters
    ----------
    simulator : Simulator, default=None
        Microscopic simulator, which gives the observables; None stands for `LinearChain()`, an
        open chain of one field.
    patch : int or sequence of int, default=None
        Cells of a patch; None takes that of the pairs, or the whole lattice for snapshots.
    n_closure : int, default=2
        Number of learned closure variables; with 0 nothing is trained.
    known : CorrelationClosure, default=None
        Closures that are known functions, and come before the learned ones in z. A clone with the
        simulator of the autoencoder is fitted to the same data first; the decoder sees its closures
        as it does the observables. None leaves the observables alone.
    encoder : {"auto", "dense", "conv"} or PatchEncoder, default="auto"
        Patch encoder; "auto" is dense on a chain, convolutional elsewhere. `PatchEncoder` has the
        widths of the nets, too.
    increments : {"patch", "naive"}, default="patch"
        Increments by Eq. 10, or by Eq. 9 (the published baseline).
    n_events_encoded : int, default=None
        For pairs of moments, the number of events of a patch that are encoded, or of directions of
        the noise of a diffusion, drawn without bias; None takes all.
    max_patches : int, default=50_000
        Largest number of patches to train on, drawn at random.
    training : Training, default=None
        How encoder and decoder are trained; None stands for `Training()`.
    random_state : None, int, RandomState or Generator, default=None
        Seed of patches, weights and batches.
    verbose : bool, default=False
        Show progress with the time left.
    checkpoint_dir : str or Path, default=None
        Folder in which the training saves its state, as in `PatchSDERegressor`.

    Attributes
    ----------
    simulator_ : Simulator
        The simulator in use.
    grid_ : PatchGrid
        Patches of the snapshots seen in fit.
    known_ : CorrelationClosure
        The fitted known closures, where `known` is given.
    n_latent_ : int
        d, number of observables and closures.
    codec_ : PatchCodec
        Trained encoder and decoder, for `n_closure` of at least 1.
    history_ : list of dict
        Losses of every epoch.
    n_features_in_ : int
        Cells along the first axis of the snapshots.

    Examples
    --------
    >>> from sklmacro import PartialEvolutionSampler, PatchAutoencoder, Training
    >>> from sklmacro.simulators import PredatorPrey
    >>> spde = PredatorPrey()
    >>> X = spde.sample_initial(50, 40, random_state=0)
    >>> pairs = PartialEvolutionSampler(spde, patch=10, random_state=0).fit_transform(X)
    >>> training = Training(max_epochs=2)
    >>> closure = PatchAutoencoder(spde, n_closure=1, training=training, random_state=0)
    >>> closure.fit_transform(pairs)["z"].shape
    (50, 3)
    """

    __metadata_request__fit: ClassVar = {"groups": True}
    simulator_: Simulator
    grid_: PatchGrid
    known_: CorrelationClosure
    n_latent_: int
    codec_: PatchCodec
    history_: list[dict[str, float]]
    n_features_in_: int
    roles: ClassVar = {"training": as_training, "encoder": as_encoder, "known": as_known}
    former: ClassVar = {"hidden": "encoder__hidden", **former_names()}

    def __init__(
        self,
        simulator: Simulator | None = None,
        *,
        patch: int | Sequence[int] | None = None,
        n_closure: int = 2,
        known: CorrelationClosure | None = None,
        encoder: str | PatchEncoder = "auto",
        increments: str = "patch",
        n_events_encoded: int | None = None,
        max_patches: int = 50_000,
        training: Training | None = None,
        random_state: Any = None,
        verbose: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.simulator = simulator
        self.patch = patch
        self.n_closure = n_closure
        self.known = known
        self.encoder = encoder
        self.increments = increments
        self.n_events_encoded = n_events_encoded
        self.max_patches = max_patches
        self.training = training
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint_dir = checkpoint_dir

    @with_callbacks
    def fit(self, X: Any, y: Any = None, groups: Any = None) -> "PatchAutoencoder":
        """Train the autoencoder on patches (Eq. 2).

        Parameters
        ----------
        X : structured ndarray, or array-like of shape (n_samples, *snapshot shape)
            Snapshot pairs or relaxed snapshots, of which x is used, or snapshots.
        y : ignored
        groups : array-like of int, shape (n_samples,), default=None
            Source trajectory of each row, held out as a whole. None takes those of the pairs, or
            relaxed snapshots; others then count as groups of their own.

        Returns
        -------
        self : PatchAutoencoder

        Raises
        ------
        ValueError
            If X is neither, the patches do not tile the snapshots, a parameter does not fit, the
            known closures refuse X, or `checkpoint_dir` has another fit.
        """
        self.check_parameters()
        self.simulator_ = resolve_simulator(self.simulator)
        snapshots = self._snapshots(X, reset=True)
        lattice = self.simulator_.lattice(snapshots.shape[1:])
        cells = lattice.cells
        if self.patch is not None:
            cells = check_cells(self.patch, "patch", lattice.ndim)
        elif is_snapshot_pairs(X):
            cells = patch_cells(X, lattice.ndim)
        self.grid_ = PatchGrid(lattice, cells)
        data = {} if self.known is None else self._fit_known(X, groups)
        self.n_latent_ = len(self.functions.names) + self.n_closure
        n_epochs = TRAINING.complete(self.training).max_epochs if self.n_closure else 0
        task = begin_fit(self, X, y, n_tasks=n_epochs)
        if self.n_closure:
            matter = TRAINING.complete(self.training).validation_fraction > 0
            groups = source_groups(X, groups, len(snapshots), matter=matter)
            with resume_method(self, "fit", X=snapshots, groups=groups, **data) as (
                checkpoint, entropy,
            ):  # fmt: skip
                self._train(snapshots, groups, task, checkpoint, entropy)
        task.end(fitted=dict)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return macrostates of snapshots, or latent pairs of snapshot pairs.

        Parameters
        ----------
        X : structured ndarray, or array-like of shape (n_samples, *snapshot shape)
            Snapshot pairs, or snapshots of any size that the patch divides, relaxed or not.

        Returns
        -------
        z : ndarray of shape (n_samples, n_latent_), or structured ndarray of latent pairs
            With `set_output`, macrostates of snapshots are a data frame; pairs stay as they are.
        """
        check_is_fitted(self)
        snapshots = self._snapshots(X, reset=False)
        lattice = self.simulator_.lattice(snapshots.shape[1:])
        self.functions.check(lattice)
        z = self._macrostates(snapshots)
        if not is_snapshot_pairs(X):
            return self._as_table(z, self.get_feature_names_out())
        dz, cov = self._moments(X) if has_moments(X) else (self._increments(X, z), None)
        return latent_pairs(
            z, dz, cov=cov, n_sites=lattice.n_sites, parity=self.parity_, **common_fields(X)
        )

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """Return snapshots (n_samples, *snapshot shape) decoded from macrostates.

        The decoder rebuilds one patch, which is repeated over the lattice seen in fit: the mean
        field of real states, the mean spin in [-1, 1] of two-valued ones.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_latent_)
        """
        check_is_fitted(self)
        check_column_names(Z, self.get_feature_names_out().tolist(), "macrostates")
        Z = check_finite_numbers(Z, "macrostates")
        if Z.ndim != 2 or Z.shape[1] != self.n_latent_:
            raise ValueError(
                f"Expected macrostates of shape (n_samples, {self.n_latent_}), but got {Z.shape}; "
                "pass what transform returns."
            )
        if not self.n_closure:
            raise ValueError(
                "Expected closure variables to decode, but got n_closure=0, for which there is no "
                "decoder; fit with n_closure of at least 1."
            )
        return self.grid_.tile(self.codec_.decode(Z))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of z: the observables, known closures, then closure0, closure1 ...

        An observable with a unit has it after its name, as in "length [nm]".
        """
        check_is_fitted(self)
        closures = [f"closure{k}" for k in range(self.n_closure)]
        return np.array([*self.functions.names, *closures], dtype=object)

    @property
    def functions(self) -> KnownFunctions:
        """The components of z that are known functions of snapshots, once fitted."""
        return KnownFunctions(self.simulator_) if self.known is None else self.known_.functions

    @property
    def parity_(self) -> tuple[int, ...] | None:
        """Signs of z under x -> -x where all closures are known; None otherwise."""
        return None if self.known is None or self.n_closure else self.known_.parity_

    # Macrostates and increments -------------------------------------------------------------------

    def _macrostates(self, snapshots: np.ndarray) -> np.ndarray:
        """Return z = (z*, zhat) of snapshots (Eqs. 1, 3)."""
        known = self.functions.macrostates(snapshots)
        if not self.n_closure:
            return known
        lattice = self.simulator_.lattice(snapshots.shape[1:])
        grid = PatchGrid(lattice, self.grid_.cells)
        closures = np.empty((len(snapshots), self.n_closure))
        step = max(1, ENCODE_BATCH // grid.n_patches)
        for start in range(0, len(snapshots), step):
            patches = grid.split(snapshots[start : start + step])
            encoded = self.codec_.encode(patches.reshape(-1, *patches.shape[2:]))
            closures[start : start + step] = encoded.reshape(*patches.shape[:2], -1).mean(axis=1)
        return np.hstack([known, closures])

    def _increments(self, pairs: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return dz (n, d), the mean over the evolved patches (Eq. 10, or Eq. 9)."""
        naive = self.increments == "naive"
        lattice = self.simulator_.lattice(pairs["x"].shape[1:])
        n_pairs, n_evolved = pairs["origin"].shape[:2]
        d_known, _ = self.functions.increments(pairs)
        if naive:
            before = self._known_in_patches(pairs, patch_cells(pairs, lattice.ndim))
            d_known = d_known + (before - z[:, : d_known.shape[1]])
        if not self.n_closure:
            return d_known
        self._check_cells(pairs)
        d_closure = np.zeros((n_pairs, self.n_closure))
        for start in range(0, n_pairs, ENCODE_BATCH):
            rows = slice(start, start + ENCODE_BATCH)
            for q in range(n_evolved):
                after = self.codec_.encode(pairs["x_next"][rows, q])
                if naive:
                    before = z[rows, -self.n_closure :]
                else:
                    before = self.codec_.encode(patches_before(pairs[rows], q, lattice))
                d_closure[rows] += (after - before) / n_evolved
        return np.hstack([d_known, d_closure])

    def _moments(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean (n, d) and the covariance (n, d, d) of dz, as dt -> 0."""
        if self.increments == "naive":
            raise ValueError(
                "Expected sampled increments for increments='naive', but got pairs of moments; "
                "Eq. 9 has no mean and covariance as dt -> 0, so use increments='patch', or sample "
                "with moments=False."
            )
        functions, n, c = self.functions, len(pairs), self.n_closure
        mean, cov = functions.increments(pairs)
        if not c:
            return mean, cov  # type: ignore[return-value]
        self._check_cells(pairs)
        entropy = resolve_entropy(self.random_state)
        sums = functions.sums if functions.clusters else None
        mean = np.hstack([mean, np.empty((n, c))])
        cov = np.empty((n, self.n_latent_, self.n_latent_))
        for simulator, rows in functions.simulators(pairs):
            mean[rows, -c:], cov[rows] = latent_moments(
                pairs[rows], np.arange(n)[rows], simulator, sums, self.codec_,
                self.n_events_encoded, entropy,
            )  # fmt: skip
        return mean, cov

    def _check_cells(self, pairs: np.ndarray) -> None:
        cells = patch_cells(pairs, len(self.grid_.cells))
        if cells != self.grid_.cells:
            raise ValueError(
                f"Expected evolved patches of {self.grid_.cells} cells, as in fit, but got {cells};"
                " the encoder knows one size, so sample and fit with the same patch."
            )

    def _known_in_patches(self, pairs: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
        """Return phi*(x_{t,I}), mean over the evolved patches."""
        functions, rows = self.functions, zip(pairs["x"], pairs["origin"].tolist(), strict=True)
        windows = ((x, [Window(tuple(o), cells) for o in origins]) for x, origins in rows)
        return np.stack([functions.of_windows(x, own).mean(axis=0) for x, own in windows])

    def _fit_known(self, X: Any, groups: Any) -> dict[str, Any]:
        """Fit the known closures, and return what of them the training depends on."""
        known = clone(self.part("known")).set_params(simulator=self.simulator_)
        self.known_ = known.fit(X, groups=groups)
        return {"clusters": self.known_.clusters_}

    def _train(
        self, snapshots: np.ndarray, groups: np.ndarray, task: FitTask,
        checkpoint: Checkpoint | None, entropy: int,
    ) -> None:  # fmt: skip
        """Draw patches at random and train encoder and decoder on them."""
        simulator, grid, training = self.simulator_, self.grid_, TRAINING.complete(self.training)
        encoder, functions = self.part("encoder"), self.functions
        rng = stream(entropy, Stage.SPLIT)
        n_all = len(snapshots) * grid.n_patches
        chosen = np.sort(rng.choice(n_all, min(n_all, self.max_patches), replace=False))
        sample, number = np.divmod(chosen, grid.n_patches)
        windows = [Window(tuple(o.tolist()), grid.cells) for o in grid.origins]
        boxes = [grid.lattice.window(*window) for window in windows]
        patches = np.stack([snapshots[s][boxes[k]] for s, k in zip(sample, number, strict=True)])
        of_snapshots = np.split(number, np.flatnonzero(np.diff(sample)) + 1)
        known = np.concatenate([
            functions.of_windows(snapshots[s], [windows[k] for k in own])
            for s, own in zip(np.unique(sample), of_snapshots, strict=True)
        ])  # fmt: skip
        ndim = grid.lattice.ndim
        form = PatchForm(
            ndim, simulator.n_fields, simulator.two_valued, encoder.net(ndim), self.n_closure,
            tuple(encoder.hidden),
        )  # fmt: skip
        rows = held_out_rows(groups[sample], training.validation_fraction, rng)
        run = Run(entropy, self.verbose, checkpoint, task)
        self.codec_ = fit_codec(patches, known, rows, form, training, run)
        self.history_ = self.codec_.history

    # Checks ---------------------------------------------------------------------------------------

    def _snapshots(self, X: Any, reset: bool) -> np.ndarray:
        """Return the snapshots of X, checked."""
        X = snapshots_in(X, self.simulator_)
        tiled = not reset and self._is_tiled(
            np.asarray(X).shape[1:]
        )  # else as many cells as in fit
        X = validate_input(self, X, reset=reset, allow_nd=True, ensure_2d=not tiled)
        return self.simulator_.check_snapshots(X)

    def _is_tiled(self, shape: tuple[int, ...]) -> bool:
        """Return whether the patches tile snapshots of this shape."""
        cells = self.grid_.cells
        axes = zip(shape, cells, strict=False)
        return len(shape) >= len(cells) and all(n % c == 0 for n, c in axes)

    def check_parameters(self) -> None:
        """Raise ValueError unless the parameters make sense."""
        check_integer(self.n_closure, "n_closure", low=0)
        self.part("encoder").check()
        self.part("known").check_parameters()
        check_choice(self.increments, "increments", ("patch", "naive"))
        if self.n_events_encoded is not None:
            check_integer(self.n_events_encoded, "n_events_encoded", low=1)
        check_integer(self.max_patches, "max_patches", low=1)
        TRAINING.complete(self.training).check()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags
