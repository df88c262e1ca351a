"""Evaluation of a fitted SDE, and its paths (Eq. 4).

Shape vocabulary::

    z           (n, d)                 macrostates
    context     (n, n_context)         outer parameters
    columns     (n, d + n_context)     both side by side
"""

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import (
    check_bounds,
    check_choice,
    check_integer,
    check_real,
)
from sklmacro._base.streams import Stage, resolve_entropy, stream
from sklmacro._base.workers import single_threaded
from sklmacro.sde.compiled.paths import advance_paths, array_model
from sklmacro.sde.coverage import Coverage
from sklmacro.sde.estimator import LikelihoodRegressor
from sklmacro.sde.kernels import KernelSDE
from sklmacro.sde.neural import NeuralSDE
from sklmacro.sde.path_record import FAR, Looks, PathRecord
from sklmacro.sde.regressions import PolynomialSDE
from sklmacro.sde.relations import Relations
from sklmacro.sde.rollout import Look, Steps, advance_by_calls, euler_maruyama
from sklmacro.sde.sizes import LatticeSizes

LONG_RUN = 30  # clipped steps in a row; noise about a bound goes either way
ROUNDING = 1e-6  # of the standard deviation; a start may be so far beyond a bound
OUTSIDE = ("warn", "stop", "ignore")


def _knows_its_error(sde: Any) -> bool:
    """Tell whether the drift is a Gaussian process, where there is one; for `available_if`."""
    model, relations = getattr(sde, "model_", None), getattr(sde, "relations_", None)
    nothing = relations is not None and not len(relations.free)
    if model is None or nothing or isinstance(model, KernelSDE):
        return True
    raise ValueError(
        "Expected a Gaussian process as drift, which knows its error, but got a "
        f"{type(model).__name__}; set drift_model='gp', or put it in an SDEEnsemble."
    )


class PathSimulation(LikelihoodRegressor):
    """What a fitted SDE says of macrostates, and the paths that follow."""

    bounds: Sequence[tuple[float, float]] | None
    mean_: np.ndarray
    scale_: np.ndarray
    model_: PolynomialSDE | KernelSDE | NeuralSDE
    coverage_: Coverage | None = None  # as in files from before there was any
    relations_: Relations | None = None  # likewise
    sizes_: LatticeSizes = LatticeSizes(())  # likewise
    n_sites_: int | None = None  # of the lattice whose law this is, if known

    def at_size(self, n_sites: int) -> Self:
        """Return a copy of the model for a lattice of `n_sites` sites, see `sklmacro.sde.sizes`.

        Its covariance is that of the law times `n_sites_` / `n_sites`. The drift is the same, but
        for the correction of order 1/n of a law that was fitted to pairs of several sizes.

        Raises
        ------
        ValueError
            If the pairs of the fit did not carry the sizes of their lattices.
        """
        check_is_fitted(self)
        n_sites, other = self.sizes_.check(n_sites), copy(self)
        assert self.n_sites_ is not None
        other.model_ = self.model_.scale_noise(float(np.sqrt(self.n_sites_ / n_sites)))
        other.n_sites_ = n_sites
        return other

    def drift(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the drift mu (n_samples, d) at macrostates z (n_samples, d)."""
        return self._expand(self._coefficients(self._columns(z, context))[0])

    def diffusion(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the diffusion Sigma (n_samples, d, d) at macrostates z (n_samples, d)."""
        with np.errstate(over="ignore", invalid="ignore"):  # of the drift, far from the data
            factor = self._expand(self._coefficients(self._columns(z, context))[1])
        return factor @ factor.transpose(0, 2, 1)

    @available_if(_knows_its_error)
    def drift_error(self, z: Any, context: Any = None) -> np.ndarray:
        """Return the standard error of the drift (n_samples, d) at macrostates z (n_samples, d).

        Of a Gaussian process, where it grows away from the data. Other drifts know none and have no
        such method: `SDEEnsemble` has the error of any.
        """
        columns = self._columns(z, context)
        if not isinstance(self.model_, KernelSDE):  # nothing ever changes
            return np.zeros((len(columns), self.n_state_))
        u = (self._coordinates(columns) - self.mean_) / self.scale_
        embedding = np.eye(self.n_state_) if self.relations_ is None else self.relations_.embedding
        covariance = embedding @ self.model_.drift_covariance(u) @ embedding.T
        return np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))

    @available_if(_knows_its_error)
    def sample(self, random_state: Any = None) -> Self:
        """Return a copy whose drift is drawn from what the data of the fit leave open.

        Paths of several such copies differ by the error of the drift as well as by the noise. Only
        a Gaussian process can be drawn.
        """
        check_is_fitted(self)
        drawn = copy(self)
        if isinstance(self.model_, KernelSDE):
            drawn.model_ = self.model_.sample(stream(resolve_entropy(random_state), Stage.TRAIN))
        return drawn

    def covers(self, z: Any, context: Any = None) -> np.ndarray:
        """Return whether the data of the fit cover macrostates z (n_samples, d).

        They cover what is near a state of theirs, where half a standard deviation of each component
        is near: see `sklmacro.sde.coverage`.

        Returns
        -------
        covered : ndarray of bool of shape (n_samples,)
        """
        columns = self.columns_of(z, context)
        if self.coverage_ is None:
            raise ValueError(
                "Expected a model that knows what its data cover, but got one of a file from "
                "before models did; fit it again."
            )
        return self.coverage_.distances(columns) <= self.coverage_.reach

    def simulate(
        self,
        z0: Any,
        n_steps: int,
        dt: float,
        *,
        n_paths: int = 1,
        context: Any = None,
        n_sites: int | None = None,
        store_every: int = 1,
        random_state: Any = None,
        outside: str = "warn",
        return_record: bool = False,
    ) -> Any:
        """Simulate paths by Euler-Maruyama steps.

        Parameters
        ----------
        z0 : array-like of shape (d,) or (n_starts, d)
            Initial macrostates.
        n_steps : int
            Number of steps.
        dt : float
            Length of a step, in units of time.
        n_paths : int, default=1
            Paths from each initial state.
        context : array-like of shape (n_context,) or (n_starts, n_context), default=None
            Outer parameters, constant along a path.
        n_sites : int, default=None
            Sites of the lattice whose paths are asked for, see `at_size`; None stands for
            `n_sites_`.
        store_every : int, default=1
            Steps between stored states.
        random_state : None, int, RandomState or Generator, default=None
            Seed; every path has its own stream.
        outside : {"warn", "stop", "ignore"}, default="warn"
            What is done about stored states that the data of the fit do not cover: a warning that
            counts them; or the path is NaN from the first of them on, but for its start.
        return_record : bool, default=False
            Return what became of each path as well.

        Returns
        -------
        paths : ndarray of shape (n_starts * n_paths, n_steps // store_every + 1, d)
            Paths of one start stand together; the initial state is the first. What `relations_`
            say holds along them, but where `bounds` cut off a component that follows from others.
        record : PathRecord
            Where each path left the data, how it met its bounds, and whether it diverged. Only if
            `return_record`.

        Warns
        -----
        DivergedPathsWarning
            If paths left the finite numbers, and are NaN from there on, or would have without
            their bounds: see `PathRecord`.
        UncoveredPathsWarning
            If paths leave the states that the model was fitted to: starts or stored states lie
            there more often than others of the same law would (3 / n for n states), or one lies
            more than two standard deviations beyond. Or if paths were stopped, or start outside of
            their bounds.
        """
        paths, record = self.rollout(
            z0, n_steps, dt, n_paths=n_paths, context=context, n_sites=n_sites,
            store_every=store_every, random_state=random_state, outside=outside,
        )  # fmt: skip
        self.warn_of(record)
        return (paths, record) if return_record else paths

    def rollout(
        self,
        z0: Any,
        n_steps: int,
        dt: float,
        *,
        n_paths: int = 1,
        context: Any = None,
        n_sites: int | None = None,
        store_every: int = 1,
        random_state: Any = None,
        outside: str = "warn",
    ) -> tuple[np.ndarray, PathRecord]:
        """Return paths and their record, as `simulate` does, without a warning."""
        if n_sites is not None:
            return self.at_size(n_sites).rollout(
                z0, n_steps, dt, n_paths=n_paths, context=context, store_every=store_every,
                random_state=random_state, outside=outside,
            )  # fmt: skip
        n_steps = check_integer(n_steps, "n_steps", low=0)
        dt = check_real(dt, "dt", low=0.0, strict=True)
        n_paths = check_integer(n_paths, "n_paths", low=1)
        store_every = check_integer(store_every, "store_every", low=1)
        check_choice(outside, "outside", OUTSIDE)
        columns = np.repeat(self.columns_of(z0, context), n_paths, axis=0)
        asked, context = np.hsplit(columns, [self.n_state_])
        steps = Steps.of(dt, check_bounds(self.bounds), self.n_state_, store_every)
        starts = np.clip(asked, steps.low, steps.high)
        look = None
        if self.coverage_ is not None and outside != "ignore":
            look = partial(self.coverage_.look, np.ascontiguousarray(context))
        if self.n_sites_ is not None:
            context = self.sizes_.complete(context, self.n_sites_)
        stop, entropy = outside == "stop", resolve_entropy(random_state)
        with single_threaded():
            paths, record = self._free_paths(starts, context, n_steps, steps, entropy, look, stop)
        unit = np.full(self.n_state_, np.inf)  # not known
        if self.coverage_ is not None:
            unit = self.coverage_.scale[: self.n_state_]
        held = (record.excess > FAR * unit) | (record.longest_run >= LONG_RUN)
        record.held[:] = held.any(axis=1) & ~record.diverged
        record.clipped_start[:] = (np.abs(asked - starts) > ROUNDING * unit).any(axis=1)
        return paths, record

    def _free_paths(
        self,
        starts: np.ndarray,
        context: np.ndarray,
        n_steps: int,
        steps: Steps,
        entropy: int,
        look: Look | None,
        stop: bool,
    ) -> tuple[np.ndarray, PathRecord]:
        """Return paths and their record from those of the free components, see `relations_`."""
        relations, (low, high) = self.relations_, (steps.low, steps.high)
        if relations is None:
            return self._advance(starts, context, n_steps, steps, entropy, look, stop)
        columns = relations.coordinates(np.hstack([starts, context]))
        z, outer = np.hsplit(columns, [len(relations.free)])
        c = outer[:, : len(relations.rest)]

        def look_at_all(paths: np.ndarray, start: int, looks: Looks) -> None:
            assert look is not None
            look(relations.states(paths, c), start, looks)

        free_steps = steps._replace(low=low[relations.free], high=high[relations.free])
        free, record = self._advance(
            z, outer, n_steps, free_steps, entropy, look and look_at_all, stop
        )
        paths = relations.states(free, c)
        np.clip(paths, low, high, out=paths)
        paths[:, 0] = starts
        return paths, record.expand(relations.free, self.n_state_)

    def _advance(
        self,
        z: np.ndarray,
        outer: np.ndarray,
        n_steps: int,
        steps: Steps,
        entropy: int,
        look: Look | None,
        stop: bool,
    ) -> tuple[np.ndarray, PathRecord]:
        """Return the paths of the model's own components, and their record."""
        model = array_model(self.model_) if z.shape[1] else None
        outer = np.ascontiguousarray(outer)
        if model is None:
            advance = partial(advance_by_calls, lambda z: self._model_at(np.hstack([z, outer])))
        else:
            advance = partial(advance_paths, *model, self.mean_, self.scale_, outer)
        return euler_maruyama(advance, z, n_steps, steps, entropy, look, stop)

    def warn_of(self, record: PathRecord) -> None:
        """Warn of paths that diverged or left the data, as `simulate` does."""
        unseen = 1.0 if self.coverage_ is None else self.coverage_.unseen
        record.warn(unseen, self._column_names())

    def _columns(self, z: Any, context: Any) -> np.ndarray:
        """Return what the law is evaluated at: state, context, and the size where it counts."""
        return self._complete(self.columns_of(z, context))

    def _complete(self, columns: np.ndarray, n_sites: np.ndarray | None = None) -> np.ndarray:
        """Return columns with the size of the lattice, of each row or the model's own."""
        known = self.n_sites_ if n_sites is None else n_sites
        return columns if known is None else self.sizes_.complete(columns, known)

    def _column_names(self) -> list[str]:
        """Return what messages call the components, and the context."""
        names = [f"component {i}" for i in range(self.n_state_)]
        names += [f"context {i}" for i in range(self.n_features_in_ - self.n_state_)]
        known = getattr(self, "feature_names_in_", names)
        return [n if n == k else f"{n} ({k})" for n, k in zip(names, known, strict=True)]

    def _coordinates(self, columns: np.ndarray) -> np.ndarray:
        """Return what the model sees of columns, but for the standardisation."""
        return columns if self.relations_ is None else self.relations_.coordinates(columns)

    def _coefficients(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return drift and factor L of the free components."""
        return self._model_at(self._coordinates(columns))

    def _model_at(self, coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.model_.coefficients((coordinates - self.mean_) / self.scale_)

    def _expand(self, values: np.ndarray) -> np.ndarray:
        """Return drifts, or factors, of all components for those of the free ones."""
        return values if self.relations_ is None else self.relations_.expand(values)
