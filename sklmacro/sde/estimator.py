"""What `PatchSDERegressor`, `OnsagerSDE` and `SDEEnsemble` have in common: data, tags and requests.

Shape vocabulary::

    z           (n, d)                 macrostates
    context     (n, n_context)         outer parameters
    columns     (n, d + n_context)     both side by side
"""

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklmacro._base.checks import check_column_names, check_finite, check_numbers
from sklmacro._base.estimators import validate_input


class LikelihoodRegressor(CallbackSupportMixin, RegressorMixin):
    """What estimators have in common whose score is a likelihood of increments."""

    __metadata_request__fit: ClassVar = {"groups": True}
    # Where metadata are routed, Pipeline.score hands this on even as None, and asks who knows it.
    __metadata_request__score: ClassVar = {"sample_weight": None}
    n_features_in_: int
    n_state_: int

    def plain_data(self, X: Any, y: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n_samples, n_columns) and y, (n_samples,) or (n_samples, d), as floats.

        If `reset`, their columns are those of fit from now on. Data frames of which y has columns
        of X, but not the first ones in their order, are a ValueError.
        """
        names = list(getattr(y, "columns", []))
        if names and set(names) <= set(getattr(X, "columns", [])):
            check_column_names(y, list(X.columns)[: len(names)], "y")
        return validate_input(
            self, X, y, reset=reset, dtype=np.float64, order="C", multi_output=True, y_numeric=True
        )

    def columns_of(self, z: Any, context: Any = None) -> np.ndarray:
        """Return state and context (n_samples, n_features_in_) side by side, as in fit.

        Parameters
        ----------
        z : array-like of shape (d,) or (n_samples, d)
            Macrostates.
        context : array-like of shape (n_context,) or (n_samples, n_context), default=None
            Outer parameters.

        Raises
        ------
        ValueError
            If they have other shapes or, as data frames, other columns than in fit, or are not
            finite.
        """
        check_is_fitted(self)
        n_state, n_context = self.n_state_, self.n_features_in_ - self.n_state_
        names = getattr(self, "feature_names_in_", None)
        if names is not None:
            check_column_names(z, names[:n_state], "macrostates")
            check_column_names(context, names[n_state:], "context")
        z = np.atleast_2d(check_numbers(z, "macrostates"))
        outer = np.atleast_2d(check_numbers([] if context is None else context, "context"))
        shared = len(outer) == 1
        if z.shape[1:] != (n_state,) or outer.shape != (1 if shared else len(z), n_context):
            raise ValueError(
                f"Expected macrostates of shape (n_samples, {n_state}) and context of shape "
                f"({n_context},) or (n_samples, {n_context}), as in fit, but got z of shape "
                f"{z.shape} and context {np.shape(context)}; pass both as the model was trained."
            )
        outer = np.broadcast_to(outer, (len(z), n_context))
        return check_finite(np.hstack([z, outer]), "macrostates and context")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.regressor_tags.poor_score = True  # the score is a log-likelihood, not R^2
        return tags
