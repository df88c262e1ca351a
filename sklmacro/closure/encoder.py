"""The nets of a patch autoencoder, as parameters: the role `encoder` of `PatchAutoencoder`."""

from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator

from sklmacro._base.checks import check_choice, check_widths

KINDS = ("auto", "dense", "conv")


class PatchEncoder(BaseEstimator):
    """Encoder of patches, and the decoder that goes with it, for `PatchAutoencoder`.

    Parameters
    ----------
    kind : {"auto", "dense", "conv"}, default="auto"
        Net of the encoder; "auto" is dense on a chain, convolutional elsewhere.
    hidden : sequence of int, default=(128, 64)
        Hidden layers of the dense nets; the decoder has them in reverse order, a convolutional
        encoder has the last one. Without any the encoder is linear.

    Examples
    --------
    >>> from sklmacro import PatchAutoencoder, PatchEncoder
    >>> PatchAutoencoder(encoder=PatchEncoder("dense", hidden=(32,)))
    PatchAutoencoder(encoder=PatchEncoder(hidden=(32,), kind='dense'))
    >>> PatchAutoencoder().set_params(encoder__hidden=()).encoder
    PatchEncoder(hidden=())
    """

    def __init__(self, kind: str = "auto", *, hidden: Sequence[int] = (128, 64)):
        self.kind = kind
        self.hidden = hidden

    def check(self) -> None:
        """Raise ValueError unless the parameters make sense."""
        check_choice(self.kind, "encoder", KINDS)
        check_widths(self.hidden, "hidden")

    def net(self, n_axes: int) -> str:
        """Return the net of patches of so many axes of cells, "dense" or "conv"."""
        if self.kind != "auto":
            return self.kind
        return "dense" if n_axes == 1 else "conv"


def as_encoder(value: Any) -> PatchEncoder:
    """Return `value`, a PatchEncoder or its kind, as a PatchEncoder: of `Roles.roles`."""
    if isinstance(value, PatchEncoder):
        return value
    if isinstance(value, str):
        return PatchEncoder(value)
    raise ValueError(
        f"Expected encoder to be a PatchEncoder or one of {', '.join(KINDS)}, but got {value!r}; "
        "pass for instance PatchEncoder('dense', hidden=(32,))."
    )
