"""Backends of joblib, signals, and numba's debugging mode."""

import os
import signal
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pytest

from sklmacro._base.kernels import GivenUpError, heed, heeding, njit
from sklmacro.simulators import CurieWeiss

MODEL = CurieWeiss(field=0.1)


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky", "multiprocessing"])
def test_backends_give_the_same_bits(backend):
    X = MODEL.sample_initial(40, 4, random_state=0)
    expected = MODEL.simulate(X, [0.0, 1.0], observe=True, random_state=0)
    with joblib.parallel_config(backend, n_jobs=2):
        np.testing.assert_array_equal(
            MODEL.simulate(X, [0.0, 1.0], observe=True, random_state=0), expected
        )


def cpu_seconds(interval):
    before = time.process_time()
    time.sleep(interval)
    return time.process_time() - before


class AlarmError(Exception):
    """Raised by a handler of a signal."""


@pytest.fixture
def alarm():
    """A function that has a handler raise soon, and the time at which it was called."""
    called = []

    def handler(number, frame):
        called.append(time.monotonic())
        raise AlarmError

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.3), called
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_long_simulation_heeds_signals(n_jobs, alarm, tmp_path):
    X = MODEL.sample_initial(3, 64, random_state=0)
    MODEL.advance(X, duration=0.1, random_state=0)  # compiled
    start, called = alarm
    began = time.monotonic()
    start()
    with pytest.raises(AlarmError):
        MODEL.advance(X, duration=1e6, random_state=0, n_jobs=n_jobs)  # an hour
    assert time.monotonic() - began < 1.3
    assert len(called) == 1
    time.sleep(0.2)
    assert cpu_seconds(0.3) < 0.15  # nothing goes on


def test_a_kernel_in_a_thread_ends_when_its_work_is_given_up():
    @njit(nogil=True)
    def count(n):
        total = 0
        for k in range(n):
            total += k & 3
            if k % 1024 == 0:
                heed()
        return total

    given_up, raised = threading.Event(), []

    def work():
        with heeding(given_up):
            try:
                count(10**15)
            except GivenUpError as error:
                raised.append(error)

    count(2)
    thread = threading.Thread(target=work)
    thread.start()
    given_up.set()
    thread.join(5)
    assert len(raised) == 1
    assert count(1025) == 1536  # elsewhere it goes on


def test_debugging_mode_of_numba_gives_the_same_bits():
    code = (
        "import numba; from sklmacro.simulators import CurieWeiss\n"
        "m = CurieWeiss(field=0.1); X = m.sample_initial(2, 4, random_state=0)\n"
        "print(m.advance(X, duration=1.0, random_state=0)[0].tolist(), numba.config.DISABLE_JIT)"
    )
    X = MODEL.sample_initial(2, 4, random_state=0)
    expected = MODEL.advance(X, duration=1.0, random_state=0)[0].tolist()
    debugging = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=debugging, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == f"{expected} 1"  # the user's setting stays
