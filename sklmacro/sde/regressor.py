"""Macroscopic SDE with a drift by a Gaussian process, a net or polynomials (Eqs. 4, 7, 31)."""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from sklmacro._base.checks import check_choice
from sklmacro.sde.base import PatchSDE
from sklmacro.sde.drift import Drift
from sklmacro.sde.gaussian_process import GaussianProcess
from sklmacro.sde.neural import MLP
from sklmacro.sde.polynomial import Linear, Polynomial
from sklmacro.training.training import former_names

DRIFTS: dict[str, type[Drift]] = {
    "gp": GaussianProcess,
    "mlp": MLP,
    "linear": Linear,
    "polynomial": Polynomial,
}


def as_drift(value: Any) -> Drift:
    """Return `value`, a drift or its short form, as a drift."""
    if isinstance(value, Drift):
        return value
    return DRIFTS[check_choice(value, "drift_model", tuple(DRIFTS))]()


class PatchSDERegressor(PatchSDE):
    """Macroscopic SDE with a drift by a Gaussian process, a net or polynomials (Eqs. 4, 7, 31).

    Parameters
    ----------
    lam : "K", "auto" or float, default="K"
        Factor on the covariance in the likelihood. "K" is the number of patches over the number
        evolved, read from the pairs (1 for plain X); Theorem 1 says K as dt -> 0. "auto" is the
        estimate that the pairs of `Patches(n_joint=...)` carry, for longer dt.
    drift_model : GaussianProcess, MLP, Linear, Polynomial, or "gp", "mlp", "linear" or \
            "polynomial", default="gp"
        Form of the drift; a text stands for the object with its defaults. Parameters of the object
        can be set by double underscores, as in `drift_model__degree`, in either case. All but `MLP`
        are fitted in closed form or to convergence. The default, `GaussianProcess`, needs no
        tuning, knows where it has data and how large its error is, and has been nearest the truth
        for exact moments and up to 1e5 sampled pairs. `MLP` is for more pairs, or more than about
        five components: there the process has at most 256 kernel functions, and with sampled pairs
        no more than 1500 coefficients of all components together.
    diffusion_model : {"full", "diagonal", "constant"}, default="full"
        Diffusion matrix: a full or a diagonal one that depends on the state, or a constant full
        one; always by its Cholesky factor.
    parity : sequence of int, default=None
        1 or -1 for each component of the state: the dynamics is the same for P z as for z, with P
        these signs, and so are, exactly, the drift and the diffusion. (-1, 1), for instance, for
        magnetisation and wall density without a field. None takes the signs that the pairs carry,
        as those of `CorrelationClosure` do, or no symmetry.
    dt : float, default=1.0
        Elapsed time of plain increments y; pairs carry their own.
    bounds : sequence of (float, float), default=None
        Range of each of the first components, enforced in `simulate`; see
        `Simulator.observable_bounds`.
    random_state : None, int, RandomState or Generator, default=None
        Seed of weights, batches and held-out groups.
    verbose : bool, default=False
        Show progress of a training, with the time left.
    checkpoint_dir : str or Path, default=None
        Folder in which the training of nets saves its state every few seconds. The same fit resumes
        from there, with the same result to the last bit, and ends at once when it was finished.

    Attributes
    ----------
    lam_ : float
        Factor in use, mean over the pairs.
    lam_error_ : float
        Standard error of an estimated factor; 0 for "K" or a number.
    n_state_ : int
        d, dimension of the state.
    n_sites_ : int or None
        Sites of the lattice whose law this is, the largest one of the pairs; None if they do not
        tell. See `at_size` for others.
    sizes_ : LatticeSizes
        Sizes of the pairs' lattices. If there are several, the drift has a correction of order 1/n.
    coverage_ : Coverage
        What the data of the fit cover, see `covers`.
    relations_ : Relations or None
        What increments obey exactly in all pairs: `free` (d_free,) are components that are free,
        `matrix` (d - d_free, d_free) gives the increments of the others by theirs. A component that
        never changes has a row of zeros. Drift, diffusion and paths keep them: no noise is added,
        and fractions still sum up to 1. None where all components are free.
    model_ : PolynomialSDE, KernelSDE or NeuralSDE
        Drift and diffusion of the free components in standardised coordinates.
    history_ : list of dict
        Losses of every epoch, for nets.
    degree_ : int
        Degree in use, for linear and polynomial drifts.
    n_features_in_ : int
        d plus the number of context values.

    Examples
    --------
    >>> import numpy as np
    >>> from sklmacro import PatchSDERegressor
    >>> rng = np.random.default_rng(0)
    >>> z = rng.uniform(-1, 1, (50_000, 1))
    >>> dz = -0.5 * z * 0.1 + 0.2 * np.sqrt(0.1) * rng.standard_normal(z.shape)
    >>> sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant", dt=0.1)
    >>> sde = sde.fit(z, dz)
    >>> sde.drift([[1.0]]).round(1), sde.diffusion([[1.0]]).round(2)
    (array([[-0.5]]), array([[[0.04]]]))
    """

    degree_: int
    roles: ClassVar = {"drift_model": as_drift}
    former: ClassVar = {
        "degree": "drift_model__degree",
        "hidden": "drift_model__hidden",
        **former_names("drift_model__training"),
    }
    former_defaults: ClassVar = {"drift_model": "mlp"}

    def __init__(
        self,
        *,
        lam: float | str = "K",
        drift_model: str | Drift = "gp",
        diffusion_model: str = "full",
        parity: Sequence[int] | None = None,
        dt: float = 1.0,
        bounds: Sequence[tuple[float, float]] | None = None,
        random_state: Any = None,
        verbose: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ):
        self.lam = lam
        self.drift_model = drift_model
        self.diffusion_model = diffusion_model
        self.parity = parity
        self.dt = dt
        self.bounds = bounds
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint_dir = checkpoint_dir

    @property
    def _drift(self) -> Drift:
        return self.part("drift_model")
