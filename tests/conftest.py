"""Shared by all tests: repeatable hypothesis runs, and no traces in global state."""

import os

import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - loads scipy's BLAS before the libraries are listed
import torch
from hypothesis import settings
from threadpoolctl import ThreadpoolController

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("local", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("ci" if os.environ.get("CI") else "local")

BLAS = ThreadpoolController().select(user_api="blas")


def global_state():
    """What no test may change: random states and thread counts of the process."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "numpy's global random state": (kind, keys.tobytes(), *rest),
        "torch's global random state": torch.random.get_rng_state().numpy().tobytes(),
        "torch's number of threads": torch.get_num_threads(),
        "the number of BLAS threads": [pool.num_threads for pool in BLAS.lib_controllers],
    }


@pytest.fixture(autouse=True)
def _no_global_state():
    before = global_state()
    yield
    after = global_state()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"the test changed {' and '.join(changed)}"
