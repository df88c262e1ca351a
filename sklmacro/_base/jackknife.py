"""Standard errors by the jackknife: what an estimate becomes when each sample is left out.

B. Efron and C. Stein, Ann. Stat. 9, 586 (1981).
"""

import numpy as np


def jackknife_error(left_out: np.ndarray) -> np.ndarray:
    """Return the standard error (...) of an estimate, given (n, ...) without each sample."""
    n = len(left_out)
    deviations = left_out - left_out.mean(axis=0)
    return np.sqrt((n - 1) / n * (deviations**2).sum(axis=0))
