"""Score against lam, from a search, with the factor of theory."""

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_real
from sklmacro.measures.paths import WORST_SCORE
from sklmacro.plots._axes import Display, legend
from sklmacro.plots.style import TRUE, curve
from sklmacro.sampling.evolution import PartialEvolutionSampler

MOST_TICKS = 8


@dataclass(eq=False, repr=False)
class LamSearchDisplay(Display):
    """Scores of a search over `lam`, one curve for each combination of the other parameters.

    Parameters
    ----------
    lam : ndarray of shape (n_candidates,)
        Factors on the covariance.
    scores : ndarray of shape (n_candidates, n_splits)
        Score of each candidate on each split; NaN where there is none.
    curves : sequence of str of length n_candidates, default=None
        Name of the curve that each candidate belongs to; None makes one curve.
    K : float, default=None
        Factor of theory (Theorem 1).
    score_name : str, default="score"

    Attributes
    ----------
    errorbars_ : list of matplotlib ErrorbarContainer
        Mean score over the splits, with the standard deviation over them, curve by curve.
    failed_ : list of matplotlib Line2D
        Crosses at the lower edge for candidates without a score on some split.
    K_line_ : matplotlib Line2D or None

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklmacro import PatchSDERegressor
    >>> from sklmacro.plots import LamSearchDisplay
    >>> z, dz = np.random.default_rng(0).normal(size=(2, 1000, 1))
    >>> sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant")
    >>> search = GridSearchCV(sde, {"lam": [4.0, 16.0, 64.0]}, cv=2).fit(z, dz)
    >>> display = LamSearchDisplay.from_estimator(search, K=16)
    >>> display.lam.tolist(), display.scores.shape
    ([4.0, 16.0, 64.0], (3, 2))
    """

    lam: np.ndarray
    scores: np.ndarray
    _: KW_ONLY
    curves: Any = None
    K: float | None = None
    score_name: str = "score"

    @classmethod
    def from_estimator(cls, estimator: Any, *, K: float | None = None, **options: Any) -> Self:
        """Draw the scores of a fitted search.

        Parameters
        ----------
        estimator : fitted GridSearchCV, HalvingGridSearchCV or other search
            A parameter of the search ends in `lam`.
        K : float, default=None
            Factor of theory, the number of patches over the number evolved; None takes that of the
            refitted best estimator, where it is a Pipeline with a `PartialEvolutionSampler`, or has
            `lam="K"`.
        **options
            `negate_score`, `score_name` and `ax`, as in `from_cv_results`.
        """
        check_is_fitted(estimator, "cv_results_")
        if K is None:
            K = _theoretical_factor(getattr(estimator, "best_estimator_", None))
        return cls.from_cv_results(estimator.cv_results_, K=K, **options)

    @classmethod
    def from_cv_results(
        cls,
        cv_results: Mapping[str, Any],
        *,
        K: float | None = None,
        negate_score: bool = False,
        score_name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the scores of a search.

        Parameters
        ----------
        cv_results : dict
            `cv_results_` of a search.
        K : float, default=None
            Factor of theory, the number of patches over the number evolved; needed where "K" is
            among the candidates.
        negate_score : bool, default=False
            Draw minus the score, as for a score that is minus a distance.
        score_name : str, default=None
            Label of the axis; None stands for "score" or "-score".
        ax : matplotlib Axes; None makes a new figure

        Raises
        ------
        ValueError
            If no parameter ends in `lam`, or one of its values is neither a number nor "K".
        """
        name = _name_of_lam(cv_results)
        if K is not None:
            K = check_real(K, "K", low=0.0, strict=True)
        lam = np.array([_lam_value(value, name, K) for value in cv_results[name]])
        splits = [key for key in cv_results if re.fullmatch(r"split.*_test_score", key)]
        if not splits:
            raise ValueError(
                "Expected cv_results with split0_test_score and so on, of a search with one score, "
                f"but got {', '.join(cv_results)}; search with a single scorer."
            )
        scores = np.stack([np.asarray(cv_results[key], float) for key in splits], axis=1)
        scores[scores == WORST_SCORE] = np.nan
        if negate_score:
            scores, score_name = -scores, score_name or "-score"
        curves = _curve_names(cv_results, name)
        return cls(lam, scores, curves=curves, K=K, score_name=score_name or "score").plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes; None makes a new figure
        """
        (ax,) = self._panels(ax, 1)
        names = np.full(len(self.lam), "") if self.curves is None else np.asarray(self.curves)
        order = np.argsort(self.lam, kind="stable")
        self.errorbars_: list = []
        self.failed_: list = []
        for k, curve_name in enumerate(dict.fromkeys(names.tolist())):
            rows = order[names[order] == curve_name]
            lam, scores = self.lam[rows], self.scores[rows]
            bars = ax.errorbar(
                lam, scores.mean(axis=1), scores.std(axis=1), capsize=3, lw=1.5, ms=5,
                label=curve_name or None, **curve(k),
            )  # fmt: skip
            self.errorbars_.append(bars)
            failed = lam[np.isnan(scores).any(axis=1)]
            if len(failed):
                self.failed_ += ax.plot(
                    failed, np.full(len(failed), 0.03), "x", color=curve(k)["color"],
                    transform=ax.get_xaxis_transform(), label="no score",
                )  # fmt: skip
        self.K_line_ = None
        if self.K is not None:
            self.K_line_ = ax.axvline(
                self.K, color=TRUE, ls=":", lw=1.2, zorder=0, label=f"K = {self.K:g}"
            )
        ax.set(xscale="log", xlabel="lam", ylabel=self.score_name)
        ticks = np.unique(self.lam)
        if len(ticks) <= MOST_TICKS:
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.minorticks_off()
        legend(ax)
        return self


def _name_of_lam(cv_results: Mapping[str, Any]) -> str:
    """Return the one key of `cv_results` for a parameter that ends in lam."""
    names = [key.removeprefix("param_") for key in cv_results if key.startswith("param_")]
    ending = [name for name in names if name.split("__")[-1] == "lam"]
    if len(ending) != 1:
        raise ValueError(
            "Expected a search over one parameter that ends in lam, but got one over "
            f"{', '.join(names) or 'none'}; search for instance over "
            '{"sde__lam": ["K", 1.0, 16.0]}.'
        )
    return f"param_{ending[0]}"


def _lam_value(value: Any, name: str, K: float | None) -> float:
    """Return a value of lam as a number."""
    if isinstance(value, str) and value == "K" and K is not None:
        return K
    parameter = name.removeprefix("param_")
    try:
        return check_real(value, parameter, low=0.0, strict=True)
    except ValueError as error:
        raise ValueError(
            f"Expected values of {parameter} that are positive numbers, or 'K' together with the "
            f"number K, but got {value!r}; pass K=..., or leave it out of the search."
        ) from error


def _curve_names(cv_results: Mapping[str, Any], name: str) -> list[str]:
    """Return the name of each candidate's curve: all parameters but lam, and the resources."""
    keys = [key for key in cv_results if key.startswith("param_") and key != name]
    keys += [key for key in ("n_resources",) if key in cv_results]
    return [
        ", ".join(f"{key.removeprefix('param_')} = {cv_results[key][i]}" for key in keys)
        for i in range(len(cv_results[name]))
    ]


def _theoretical_factor(best: Any) -> float | None:
    """Return K over the number of patches evolved, where a fitted estimator tells it."""
    steps = [step for _, step in best.steps] if isinstance(best, Pipeline) else [best]
    for step in steps:
        if isinstance(step, PartialEvolutionSampler):
            return step.n_patches_ / step.part("patch").n_evolved
    last = steps[-1]
    return last.lam_ if getattr(last, "lam", None) == "K" and hasattr(last, "lam_") else None
