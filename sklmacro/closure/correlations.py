"""Closures that are known functions: mean products of site functions, as Eq. 1 asks for.

    zhat_c(x) = < f_0(x_{i + o_0}) f_1(x_{i + o_1}) ... >      see `clusters`
    z         = (z*, zhat),    dz = phi(x_{t+dt,I}) - phi(x_{t,I})         (Eqs. 3, 10)

They are means over sites of a local density, like the observables: they apply to every lattice
size, keep its symmetries, and the mean and the covariance of their increments as dt -> 0 are exact
sums. Nothing is trained. Which of them the dynamics needs shows in the data, see `selection`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_choice, check_integer, check_real
from sklmacro._base.estimators import SetOutput, begin_fit, validate_input
from sklmacro.closure.choice import AUTO, candidates, named_clusters, select, take_first
from sklmacro.closure.clusters import Cluster
from sklmacro.closure.known import KnownFunctions
from sklmacro.closure.selection import SelectionStep
from sklmacro.closure.site_functions import seen_states
from sklmacro.lattice.lattice import Lattice
from sklmacro.sampling.context import by_context, with_parameters
from sklmacro.sampling.pairs import (
    common_fields,
    is_snapshot_pairs,
    latent_pairs,
    snapshots_in,
    source_groups,
)
from sklmacro.simulators import Simulator, resolve_simulator


class CorrelationClosure(CallbackSupportMixin, SetOutput, BaseEstimator):
    """Correlations of sites that complete the simulator's observables (Eqs. 1, 3, 10).

    It stands in the place of `PatchAutoencoder`: snapshot pairs become latent pairs, snapshots
    become macrostates. A closure is a mean over the lattice of a product of site functions, such as
    spins at a distance, with a name that says so; see `Cluster`.

    Parameters
    ----------
    simulator : Simulator, default=None
        Microscopic simulator, which gives the observables; None stands for `LinearChain()`, an
        open chain of one field.
    n_closure : int or "auto", default="auto"
        Number of closures; 0 leaves the observables alone. "auto" needs snapshot pairs: closures
        are added as long as they explain more of the observables' drift in groups held out.
    criterion : {"lasting", "drift"}, default="lasting"
        What is chosen from pairs of moments: closures that explain a part of the drift which lasts,
        since the rest averages out along paths, or those that explain most of the drift as it is.
        The latter is what is used for sampled pairs.
    library : sequence of str or Cluster, default=None
        Candidates, by name or as such; None takes pairs of sites and, of spins with
        `criterion="drift"`, small shapes, which are soon forgotten.
    max_distance : float, default=None
        Longest distance in that library, in units of the nearest one; None stands for 4 for spins
        and one field, and for 2 otherwise.
    max_closures : int, default=8
        Most closures that "auto" takes.
    context : sequence of str, default=()
        Parameters of the simulator that pairs carry as their context, as in
        `PartialEvolutionSampler`: every pair has the moments of its own.
    n_jobs : int, default=None
        Workers over the snapshots; the result does not depend on it.

    Attributes
    ----------
    simulator_ : Simulator
        The simulator in use.
    clusters_ : tuple of Cluster
        The closures.
    selection_ : list of SelectionStep
        What is left unexplained of the observables' drift, closure by closure; empty where nothing
        was selected. See `sklmacro.plots.ClosureSelectionDisplay`.
    n_latent_ : int
        d, number of observables and closures.
    parity_ : tuple of int, or None
        Signs of the components of z of -x relative to x, to be given to an SDE as `parity`; None
        unless -x evolves as x does.
    states_ : tuple of int
        States of a site, where they are some integers that are told apart, declared by the
        simulator (`state_names`) or seen in fit.
    n_features_in_ : int
        Cells along the first axis of the snapshots.

    See Also
    --------
    PatchAutoencoder : Closures that are learned, alone or beside these.

    Notes
    -----
    From snapshot pairs a number of closures is chosen in the same order as by "auto". From
    snapshots alone the first ones of the library are taken that vary and do not follow linearly
    from the components before them.

    Examples
    --------
    >>> from sklmacro import CorrelationClosure, PartialEvolutionSampler
    >>> from sklmacro.simulators import PredatorPrey
    >>> spde = PredatorPrey()
    >>> X = spde.sample_initial(60, 40, random_state=0)
    >>> X, _ = spde.advance(X, duration=5.0, random_state=0)
    >>> pairs = PartialEvolutionSampler(spde, moments=True).fit_transform(X)
    >>> closure = CorrelationClosure(spde).fit(pairs)
    >>> closure.get_feature_names_out().tolist()
    ['mean prey', 'mean predator', 'u v (0)', 'u u (0)']
    """

    __metadata_request__fit: ClassVar = {"groups": True}
    simulator_: Simulator
    clusters_: tuple[Cluster, ...]
    selection_: list[SelectionStep]
    n_latent_: int
    parity_: tuple[int, ...] | None
    states_: tuple[int, ...]
    n_features_in_: int

    def __init__(
        self,
        simulator: Simulator | None = None,
        *,
        n_closure: int | str = AUTO,
        criterion: str = "lasting",
        library: Sequence[str | Cluster] | None = None,
        max_distance: float | None = None,
        max_closures: int = 8,
        context: Sequence[str] = (),
        n_jobs: int | None = None,
    ):
        self.simulator = simulator
        self.n_closure = n_closure
        self.criterion = criterion
        self.library = library
        self.max_distance = max_distance
        self.max_closures = max_closures
        self.context = context
        self.n_jobs = n_jobs

    @with_callbacks
    def fit(self, X: Any, y: Any = None, groups: Any = None) -> "CorrelationClosure":
        """Choose the closures.

        Parameters
        ----------
        X : structured ndarray, or array-like of shape (n_samples, *snapshot shape)
            Snapshot pairs, or snapshots, relaxed or not, where `n_closure` is a number.
        y : ignored
        groups : array-like of int, shape (n_samples,), default=None
            Source trajectory of each row, held out as a whole. None takes those of the pairs.

        Returns
        -------
        self : CorrelationClosure

        Raises
        ------
        ValueError
            If X is neither, a parameter does not fit, `n_closure` is "auto" for snapshots alone or
            pairs of a single group, or the library is smaller than `n_closure`.
        """
        self.check_parameters()
        self.simulator_ = simulator = resolve_simulator(self.simulator)
        snapshots = self._snapshots(X, reset=True)
        task = begin_fit(self, X, y)
        self.states_ = seen_states(simulator, snapshots)
        self.clusters_, self.selection_ = (), []
        if self.n_closure != 0:
            known = self._candidates(simulator.lattice(snapshots.shape[1:]))
            if is_snapshot_pairs(X):
                groups = source_groups(X, groups, len(snapshots))
                self.clusters_, self.selection_ = select(
                    known, X, groups, self.n_closure, self.criterion, self.max_closures
                )
            else:
                self.clusters_ = take_first(known, snapshots, self.n_closure)
        self.n_latent_ = simulator.n_observables + len(self.clusters_)
        self.parity_ = self.parity() if self._keeps_parity(X) else None
        task.end(fitted=dict)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return macrostates of snapshots, or latent pairs of snapshot pairs.

        Parameters
        ----------
        X : structured ndarray, or array-like of shape (n_samples, *snapshot shape)
            Snapshot pairs, or snapshots of any size that is larger than the clusters; the length of
            a plain chain is a multiple of that in fit, or the other way round.

        Returns
        -------
        z : ndarray of shape (n_samples, n_latent_), or structured ndarray of latent pairs
            With `set_output`, macrostates of snapshots are a data frame; pairs stay as they are.
        """
        check_is_fitted(self)
        snapshots = self._snapshots(X, reset=False)
        lattice, functions = self.simulator_.lattice(snapshots.shape[1:]), self.functions
        functions.check(lattice)
        z = functions.macrostates(snapshots)
        if not is_snapshot_pairs(X):
            return self._as_table(z, self.get_feature_names_out())
        dz, cov = functions.increments(X)
        return latent_pairs(
            z, dz, cov=cov, n_sites=lattice.n_sites, parity=self.parity_, **common_fields(X)
        )

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the components of z: the observables, then the clusters.

        An observable with a unit has it after its name, as in "length [nm]".
        """
        check_is_fitted(self)
        return np.array(self.functions.names, dtype=object)

    # Functions ------------------------------------------------------------------------------------

    @property
    def functions(self) -> KnownFunctions:
        """The components of z as functions of snapshots, once fitted."""
        return self._known(self.clusters_)

    def _known(self, clusters: Sequence[Cluster]) -> KnownFunctions:
        return KnownFunctions(
            self.simulator_, tuple(clusters), self.states_, self.context, self.n_jobs
        )

    def _candidates(self, lattice: Lattice) -> KnownFunctions:
        """Return the candidates, those of the default library that fit into the lattice."""
        known = self._known(())
        if self.library is not None:
            known = known.of(named_clusters(self.library))
            known.check(lattice)
        else:
            shapes = self.criterion == "drift"
            known = known.of(candidates(known, lattice, self.max_distance, shapes))
        n_clusters = len(known.clusters)
        if self.n_closure != AUTO and n_clusters < self.n_closure:  # type: ignore[operator]
            raise ValueError(
                f"Expected a library of at least n_closure={self.n_closure} clusters that fit into "
                f"{lattice.cells} cells, but got {n_clusters}; use fewer closures, larger "
                "snapshots, or a larger max_distance."
            )
        return known

    def _keeps_parity(self, X: Any) -> bool:
        """Tell whether the symmetry x -> -x holds for the parameters of all pairs."""
        if not len(self.context) or not is_snapshot_pairs(X):
            return True
        own = (values for values, _ in by_context(self.functions.context_values(X)))
        parities = (with_parameters(self.simulator_, self.context, v).parity for v in own)
        return all(parity == self.simulator_.parity for parity in parities)

    def parity(self) -> tuple[int, ...] | None:
        """Return `parity_` of the clusters at hand."""
        own = self.simulator_.parity
        if own is None:
            return None
        return (*own, *(1 if len(c.letters) % 2 == 0 else -1 for c in self.clusters_))

    # Checks ---------------------------------------------------------------------------------------

    def _snapshots(self, X: Any, reset: bool) -> np.ndarray:
        """Return the snapshots of X, checked."""
        X = snapshots_in(X, self.simulator_)
        other = not reset and self._is_other_size(np.asarray(X).shape[1:])
        least = 1 if self.n_closure == 0 or not reset else 2  # cells of a chain
        X = validate_input(
            self, X, reset=reset, allow_nd=True, ensure_2d=not other, ensure_min_features=least
        )
        return self.simulator_.check_snapshots(X)

    def _is_other_size(self, shape: tuple[int, ...]) -> bool:
        """Return whether snapshots of this shape may be of another size than in fit.

        Plain rows are taken for chains of another length only if one length is a multiple of the
        other; else columns are missing.
        """
        if len(shape) != 1:
            return bool(shape)
        short, long = sorted((*shape, self.n_features_in_))
        return short > 1 and long % short == 0

    def check_parameters(self) -> None:
        """Raise ValueError unless the parameters make sense."""
        if self.n_closure != AUTO:
            check_integer(self.n_closure, "n_closure", low=0, remedy="pass a number or 'auto'")
        check_choice(self.criterion, "criterion", ("lasting", "drift"))
        if self.max_distance is not None:
            check_real(self.max_distance, "max_distance", low=1.0)
        check_integer(self.max_closures, "max_closures", low=0)

    def check_clusters(self) -> None:
        """Raise ValueError unless the clusters go with the simulator."""
        _ = self.functions.sums.spread

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags
