"""For tests and docstrings alike: figures without a screen, closed again; other random numbers."""

import gc
import os
import sys

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def pytest_addoption(parser):
    """Add `--reseed`."""
    parser.addoption(
        "--reseed", type=int, default=0, metavar="K",
        help="mix K into all seeds: other random numbers (0, the default, leaves them as they are)",
    )  # fmt: skip


def pytest_collection_finish():
    """Spare the garbage collector what is imported: it stays, and compilers call it often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_configure(config):
    """Mix K into all seeds before a test module draws anything."""
    K = config.getoption("reseed")
    if K:
        from tests.reseed import HIGHEST, reseed  # only here: it imports the library

        if not 0 < K <= HIGHEST:
            raise pytest.UsageError(f"Expected --reseed from 0 to {HIGHEST}, but got {K}.")
        config.add_cleanup(reseed(K))
