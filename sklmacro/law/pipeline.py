"""The method in one line: the four stages, put together with what serves best.

upsample   small snapshots -> large ones, kept at many ages along LocalRelax
evolve     exact moments as dt -> 0 of all patches; increments, where a simulator has no moments
closure    correlations of sites, as many as the drift of the observables needs
sde        a Gaussian process as drift
"""

import math
from collections.abc import Sequence
from typing import Any

from sklearn.pipeline import Pipeline

from sklmacro._base.checks import check_cells
from sklmacro.closure.correlations import CorrelationClosure
from sklmacro.lattice.lattice import n_axes
from sklmacro.sampling.evolution import PartialEvolutionSampler
from sklmacro.sampling.patches import Patches
from sklmacro.sampling.relaxation import LocalRelax
from sklmacro.sampling.upsampling import HierarchicalUpsampler
from sklmacro.sde.regressor import PatchSDERegressor
from sklmacro.simulators import Simulator

N_PASSES = 60  # of LocalRelax, each of which visits a patch for `simulator.pair_time`
N_KEPT = 75  # states of each snapshot: all ages early, every second sweep later


def make_macro_pipeline(
    simulator: Simulator,
    small: int | Sequence[int] = 16,
    large: int | Sequence[int] | None = 64,
    *,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Pipeline:
    """Return a pipeline that learns the macroscopic law of a simulator from small snapshots.

    Parameters
    ----------
    simulator : Simulator
        Microscopic simulator.
    small, large : int or sequence of int, default=16 and 64
        Cells along each axis of small snapshots, which are those of a patch as well, and of the
        large ones that the law is learned from. It is that of any larger lattice, too: see
        `PatchSDERegressor.at_size`. With `large=None` it is learned from the small ones.
    random_state : None or int, default=None
        Seed of all steps.
    n_jobs : int, default=None
        Workers over the snapshots; the result does not depend on it.

    Returns
    -------
    pipeline : Pipeline
        Steps "upsample", "evolve", "closure" and "sde", which `set_params` reaches by these names.
        Some twenty small snapshots, `simulator.sample_initial(20, small, observables="even")`, are
        enough where correlations are short.

    Raises
    ------
    ValueError
        If `large` is not a multiple of `small`.

    Examples
    --------
    >>> import sklmacro as skm
    >>> from sklmacro.simulators import Ising
    >>> ising = Ising(temperature=3.5)
    >>> small = ising.sample_initial(10, 8, observables="even", random_state=0)
    >>> model = skm.make_macro_pipeline(ising, small=8, large=16, random_state=0).fit(small)
    >>> start = ising.sample_initial(1, 128, random_state=1)
    >>> z0 = model[:-1].transform(start)  # doctest: +SKIP
    """
    kind = simulator.kind
    patch = check_cells(small, "small", n_axes(kind))
    cells = patch if large is None else check_cells(large, "large", n_axes(kind))
    if any(c % p for c, p in zip(cells, patch, strict=True)):
        raise ValueError(
            f"Expected large to be a multiple of small, which is {small}, but got {large}; change "
            "either."
        )
    factor = tuple(c // p for c, p in zip(cells, patch, strict=True))
    exact = simulator.process is not None
    relaxation = LocalRelax(duration=simulator.pair_time, n_passes=N_PASSES, n_kept=N_KEPT)
    # Moments of the whole lattice are those of all patches together.
    patches = None if exact else Patches(patch, n_evolved=math.prod(factor))
    return Pipeline(
        [
            (
                "upsample",
                HierarchicalUpsampler(
                    simulator, factor=factor, method=simulator.start_method,
                    relaxation=relaxation, random_state=random_state, n_jobs=n_jobs,
                ),
            ),
            (
                "evolve",
                PartialEvolutionSampler(
                    simulator, patch=patches, moments=exact, random_state=random_state,
                    n_jobs=n_jobs,
                ),
            ),
            ("closure", CorrelationClosure(simulator, n_jobs=n_jobs)),
            (
                "sde",
                PatchSDERegressor(bounds=simulator.observable_bounds, random_state=random_state),
            ),
        ]
    )  # fmt: skip
