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
from sklmacro.law.stages import SeveralSizes
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
    large: int | tuple[int, ...] | list[int] | list[tuple[int, ...]] | None = 64,
    *,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Pipeline:
    """Return a pipeline that learns the macroscopic law of a simulator from small snapshots.

    Parameters
    ----------
    simulator : Simulator
        Microscopic simulator.
    small : int or sequence of int, default=16
        Cells along each axis of small snapshots, which are those of a patch as well.
    large : int, tuple of int, list of them, or None, default=64
        Cells along each axis of the large snapshots that the law is learned from. It is that of any
        larger lattice, too: see `PatchSDERegressor.at_size`. A list gives several sizes, and the
        law a correction of order 1/n; with None it is learned from the small ones.
    random_state : None or int, default=None
        Seed of all steps.
    n_jobs : int, default=None
        Workers over the snapshots; the result does not depend on it.

    Returns
    -------
    pipeline : Pipeline
        Steps "upsample", "evolve", "closure" and "sde", which `set_params` reaches by these names.
        Of several sizes the first three are parts of one step, "pairs": see `SeveralSizes`. Some
        twenty small snapshots, `simulator.sample_initial(20, small, observables="even")`, are
        enough where correlations are short.

    Raises
    ------
    ValueError
        If `large` is not a multiple of `small`, or has the same size twice.

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
    number = n_axes(simulator.kind)
    patch = check_cells(small, "small", number)
    wanted = large if isinstance(large, list) else [small if large is None else large]
    sizes = [check_cells(cells, "large", number) for cells in wanted]
    for cells in sizes:
        if any(c % p for c, p in zip(cells, patch, strict=True)):
            raise ValueError(
                f"Expected large to be a multiple of small, which is {small}, but got {large}; "
                "change either."
            )
    factors = [tuple(c // p for c, p in zip(cells, patch, strict=True)) for cells in sizes]
    exact = simulator.process is not None
    relaxation = LocalRelax(duration=simulator.pair_time, n_passes=N_PASSES, n_kept=N_KEPT)
    # Moments of the whole lattice are those of all patches together.
    patches = None if exact else Patches(patch, n_evolved=math.prod(factors[0]))
    upsample = HierarchicalUpsampler(
        simulator, factor=factors[0], method=simulator.start_method, relaxation=relaxation,
        random_state=random_state, n_jobs=n_jobs,
    )  # fmt: skip
    evolve = PartialEvolutionSampler(
        simulator, patch=patches, moments=exact, random_state=random_state, n_jobs=n_jobs
    )
    closure = CorrelationClosure(simulator, n_jobs=n_jobs)
    sde = PatchSDERegressor(bounds=simulator.observable_bounds, random_state=random_state)
    if len(factors) == 1:
        steps = [("upsample", upsample), ("evolve", evolve), ("closure", closure), ("sde", sde)]
        return Pipeline(steps)
    pairs = SeveralSizes(upsample, evolve, closure, factors=factors, random_state=random_state)
    return Pipeline([("pairs", pairs), ("sde", sde)])
