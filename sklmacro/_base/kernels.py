"""Compiled kernels: how they are compiled, and how they end when Python is asked to.

A kernel works without the GIL, and Python's handlers of signals run between the bytecodes of the
main thread alone. A kernel that may take long therefore calls `heed` now and then, after as many
steps as take some milliseconds. In the main thread the handlers run there, and what they raise,
such as KeyboardInterrupt, ends the kernel. In a worker's thread a kernel ends once its work has
been given up; see `heeding`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
from numba import config, types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

STEPS = 1 << 20  # short steps of a kernel, of nanoseconds each, between two calls of `heed`
_worker = threading.local()  # `given_up`, an Event, in threads whose work may be given up


class GivenUpError(RuntimeError):
    """Work was given up, because other work of the same call has failed or was interrupted."""


@contextmanager
def _jit_enabled() -> Iterator[None]:
    """Compile whatever NUMBA_DISABLE_JIT says, which is numba's debugging mode."""
    with global_compiler_lock:
        disabled, config.DISABLE_JIT = config.DISABLE_JIT, 0
        try:
            yield
        finally:
            config.DISABLE_JIT = disabled


def njit(**options: Any) -> Callable[[Callable], Any]:
    """Return the decorator `numba.njit(**options)`, which also compiles in numba's debugging mode.

    Kernels consist of machine instructions and of unsigned integers, which Python does not have.
    """

    def decorate(function: Callable) -> Any:
        with _jit_enabled():
            kernel = numba.njit(**options)(function)
        compile_kernel = kernel.compile

        def compile_anyway(signature: Any) -> Any:
            with _jit_enabled():
                return compile_kernel(signature)

        kernel.compile = compile_anyway
        return kernel

    return decorate


@contextmanager
def heeding(given_up: threading.Event | None) -> Iterator[None]:
    """Have kernels in this thread end with a `GivenUpError` once an event is set."""
    _worker.given_up = given_up
    try:
        yield
    finally:
        _worker.given_up = None


def look_around() -> None:
    """Raise what ends this work, if it was given up.

    To call this from a kernel lets Python run its handlers of signals.
    """
    given_up = getattr(_worker, "given_up", None)
    if given_up is not None and given_up.is_set():
        raise GivenUpError("Expected to finish, but the work was given up.")


@intrinsic
def heed(typing_context: Any) -> Any:
    """Take the GIL for a moment, let Python look around, and leave the kernel if that raises."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        python = context.get_python_api(builder)
        lock = python.gil_ensure()
        look = context.add_dynamic_addr(builder, id(look_around), info="look")
        answer = python.call_function_objargs(look, ())
        raised = cgutils.is_null(builder, answer)
        python.decref(answer)  # Py_XDECREF
        python.gil_release(lock)
        with builder.if_then(raised, likely=False):
            context.call_conv.return_exc(builder)
        return context.get_dummy_value()

    return types.void(), generate
