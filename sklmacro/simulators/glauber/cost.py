"""When to go on without rejections: what attempts and events cost, in nanoseconds."""

from numba import njit

ATTEMPT = 2.0  # a spin drawn anew
EVENT = 40.0  # a flip from the lists of spins of equal rate
LISTING = 10.0  # putting a site into the lists
LARGE = 4_000_000.0  # sites whose lists and tables of neighbours take some 500 MB
CALL = 20_000.0  # leaving the kernel and entering another


@njit(nogil=True)
def attempts_cost_more(n_sites: int, n_attempts: float, n_events: float) -> bool:
    """Say whether `n_attempts` cost more than the `n_events` that they bring, listed first."""
    listing = LISTING * n_sites * (1.0 + n_sites / LARGE)
    return ATTEMPT * n_attempts > EVENT * n_events + listing + CALL
