"""Macrostates of known functions: observables and clusters, in rows of snapshots and of pairs.

    z = (z*, zhat),    zhat_c = S_c / n_sites,    dz = phi(x_{t+dt,I}) - phi(x_{t,I})   (Eqs. 3, 10)

Without clusters z are the observables, whose increments pairs carry.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklmacro._base.workers import fill_rows
from sklmacro.closure.cluster_moments import pair_increments, pair_moments
from sklmacro.closure.cluster_sums import ClusterSums
from sklmacro.closure.clusters import Cluster
from sklmacro.closure.site_functions import SiteFunctions, site_functions
from sklmacro.lattice.lattice import Lattice
from sklmacro.lattice.windows import Window
from sklmacro.sampling.context import by_context, with_parameters
from sklmacro.sampling.pairs import context_of, has_moments
from sklmacro.simulators import Simulator


@dataclass(frozen=True)
class KnownFunctions:
    """The observables of a simulator and k clusters; in all m functions.

    Parameters
    ----------
    simulator : Simulator
    clusters : tuple of Cluster, default=()
    states : tuple of int, default=()
        States of a site, as `seen_states` gives them.
    context : sequence of str, default=()
        Parameters of the simulator that pairs carry as their context.
    n_jobs : int, default=None
        Workers over the rows.
    """

    simulator: Simulator
    clusters: tuple[Cluster, ...] = ()
    states: tuple[int, ...] = ()
    context: Sequence[str] = ()
    n_jobs: int | None = None

    def of(self, clusters: Sequence[Cluster]) -> "KnownFunctions":
        """Return the same with other clusters."""
        return replace(self, clusters=tuple(clusters))

    @property
    def names(self) -> list[str]:
        """Names of the observables, with units, then of the clusters."""
        return [*self.simulator.observable_labels, *(cluster.name for cluster in self.clusters)]

    @property
    def site_functions(self) -> SiteFunctions:
        """Functions of the state of a site that clusters are products of."""
        return site_functions(self.simulator, self.states)

    @cached_property
    def sums(self) -> ClusterSums:
        """Sums of the clusters."""
        simulator = self.simulator
        return ClusterSums(self.clusters, self.site_functions, simulator.kind, simulator.isotropic)

    def check(self, lattice: Lattice) -> None:
        """Raise ValueError unless the clusters fit into a lattice."""
        if self.clusters:
            self.sums.check(lattice)

    def macrostates(self, snapshots: np.ndarray) -> np.ndarray:
        """Return z (n_samples, m) of snapshots (Eqs. 1, 3)."""
        z_star = self.simulator.observe(snapshots)
        return np.hstack([z_star, self.means(snapshots)]) if self.clusters else z_star

    def means(self, snapshots: np.ndarray) -> np.ndarray:
        """Return the means (n_samples, k) of the clusters."""
        lattice, sums = self.simulator.lattice(snapshots.shape[1:]), self.sums

        def work(batch: np.ndarray) -> dict[str, np.ndarray]:
            values = [sums.sums(x, lattice) / lattice.n_sites for x in batch]
            return {"means": np.array(values)}

        return fill_rows(work, _parts(snapshots), len(snapshots), n_jobs=self.n_jobs)["means"]

    def of_windows(self, x: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
        """Return the functions (n_windows, m) of windows of a snapshot.

        Sites at their edges have their true neighbours; windows that tile the lattice have the mean
        `macrostates`.
        """
        observed = np.stack([self.simulator.observe_window(x, window) for window in windows])
        if not self.clusters:
            return observed
        lattice, k = self.simulator.lattice(x.shape), len(self.clusters)
        densities = self.sums.densities(x, lattice).reshape(*lattice.site_shape, k)
        of_sites = [densities[lattice.mesh(*window)].reshape(-1, k) for window in windows]
        return np.hstack([observed, [own.mean(axis=0) for own in of_sites]])

    def increments(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return dz (n, m), of moments its mean, and their covariance (n, m, m) or None."""
        moments = has_moments(pairs)
        if not self.clusters:
            return pairs["d_obs"], pairs["cov_obs"] if moments else None
        sums = self.sums

        def own(batch: np.ndarray, simulator: Simulator) -> dict[str, np.ndarray]:
            if moments:
                mean, cov = pair_moments(batch, sums, simulator)
                return {"dz": mean, "cov": cov}
            return {"dz": np.hstack([batch["d_obs"], pair_increments(batch, sums, simulator)])}

        def work(batch: np.ndarray) -> dict[str, np.ndarray]:
            whole: dict[str, np.ndarray] = {}
            for simulator, rows in self.simulators(batch):
                for name, value in own(batch[rows], simulator).items():
                    whole.setdefault(name, np.empty((len(batch), *value.shape[1:])))[rows] = value
            return whole

        rows = fill_rows(work, _parts(pairs), len(pairs), n_jobs=self.n_jobs)
        return rows["dz"], rows.get("cov")

    def simulators(self, pairs: np.ndarray) -> Iterator[tuple[Simulator, np.ndarray | slice]]:
        """Yield the simulator of each context, and the rows of pairs that are its own."""
        if not len(self.context):
            yield self.simulator, slice(None)
            return
        for values, rows in by_context(self.context_values(pairs)):
            yield with_parameters(self.simulator, self.context, values), rows

    def context_values(self, pairs: np.ndarray) -> np.ndarray:
        """Return the values (n, n_context) of the parameters `context` in pairs."""
        values = context_of(pairs)
        n_values = 0 if values is None else values.shape[1]
        if len(self.context) not in (0, n_values):
            raise ValueError(
                f"Expected pairs with a context of {', '.join(self.context)}, but got {n_values} "
                "values; give PartialEvolutionSampler the same context."
            )
        return np.empty((len(pairs), 0)) if values is None else values


def _parts(rows: np.ndarray) -> Callable[[int, int], tuple[np.ndarray]]:
    """Return the function that takes some of the rows."""
    return lambda start, stop: (rows[start:stop],)
