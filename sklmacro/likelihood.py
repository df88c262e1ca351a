"""Likelihood of increments (Eqs. 6-7): the public names of `sklmacro.sde.likelihood`."""

from sklmacro.sde.likelihood import (
    Increments,
    covariance_root,
    expected_nll,
    log_likelihood,
    noise_nll,
    scaled_nll,
    transition_log_likelihood,
    whiten,
)

__all__ = [
    "Increments",
    "covariance_root",
    "expected_nll",
    "log_likelihood",
    "noise_nll",
    "scaled_nll",
    "transition_log_likelihood",
    "whiten",
]
