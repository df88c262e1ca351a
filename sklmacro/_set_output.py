"""scikit-learn's `set_output` for transformers whose output is not always a table.

Macrostates are a table, and become a data frame where one is asked for. Snapshots and pairs are
not, and stay the arrays that the next step of a pipeline needs.
"""

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import TransformerMixin
from sklearn.preprocessing import FunctionTransformer


class SetOutput(TransformerMixin):
    """Transformer with `set_output`; `_as_table` makes the container that was asked for."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)

    def set_output(self, *, transform: str | None = None) -> "SetOutput":
        """Choose the container of macrostates that `transform` returns.

        Snapshots and pairs, structured arrays included, stay as they are.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            None leaves the choice as it is.

        Returns
        -------
        self : estimator
        """
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}  # as clone() hands it on
        return self

    def _as_table(self, values: np.ndarray, names: np.ndarray) -> Any:
        """Return values (n_samples, n_names) in the container that was asked for."""
        chosen = getattr(self, "_sklearn_output_config", {}).get("transform")
        chosen = chosen or get_config()["transform_output"]
        if chosen == "default":
            return values
        table = FunctionTransformer(feature_names_out=lambda *_: names)
        return table.set_output(transform=chosen).fit_transform(values)
