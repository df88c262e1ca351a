"""Work over samples: batches for joblib, and one thread where sums must come out bit by bit."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

WORTH_A_THREAD = 5e-4  # seconds; measured: below it two threads are slower than one
LARGEST_BATCH = 256  # samples; large enough to hide the cost of a call, small enough to balance


def map_batches(
    work: Callable[[int, int], Any],
    n_samples: int,
    *,
    n_jobs: int | None = None,
    verbose: bool = False,
    desc: str = "",
) -> Iterator[tuple[slice, Any]]:
    """Yield `(slice(start, stop), work(start, stop))` for batches that cover all samples in order.

    `work` must treat every sample by itself, so that the batches cannot be seen in the result.
    Threads are preferred, since the kernels release the GIL. Where a sample takes less than
    `WORTH_A_THREAD`, little but the GIL is at work, and threads would only wait for one another:
    then one is used. `joblib.parallel_config` chooses another backend.
    """
    n_workers = effective_n_jobs(n_jobs)
    size = max(1, min(LARGEST_BATCH, -(-n_samples // (4 * n_workers))))
    batches = [(start, min(start + size, n_samples)) for start in range(0, n_samples, size)]
    with tqdm(total=n_samples, desc=desc, disable=not verbose, leave=False) as bar:
        for (start, stop), result in zip(batches, _run(work, batches, n_jobs), strict=True):
            yield slice(start, stop), result
            bar.update(stop - start)


def _run(
    work: Callable[[int, int], Any], batches: list[tuple[int, int]], n_jobs: int | None
) -> Iterator[Any]:
    """Yield the results of all batches in order, from as many workers as are worth it."""
    backend, _ = get_active_backend(prefer="threads")
    if effective_n_jobs(n_jobs) > 1 and getattr(backend, "supports_sharedmem", False):
        fastest = math.inf  # of two batches, since the first may have to compile a kernel
        for start, stop in batches[:2]:
            before = time.perf_counter()
            result = work(start, stop)
            fastest = min(fastest, (time.perf_counter() - before) / (stop - start))
            yield result
        batches = batches[2:]
        if fastest < WORTH_A_THREAD:
            n_jobs = 1
    if effective_n_jobs(n_jobs) == 1:
        yield from (work(start, stop) for start, stop in batches)
    else:
        run = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
        yield from run(delayed(work)(start, stop) for start, stop in batches)


_process_state = threading.RLock()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Run linear algebra and torch on one thread, so that sums have one order on every machine.

    joblib's workers have fewer threads than the process that starts them; without this a fit would
    differ in the last bits between `n_jobs=1` and `n_jobs=2`. The nets here are too small to gain
    from more threads.

    Thread counts, and torch's generator of initial weights, belong to the process. One Python
    thread at a time can therefore be inside; fits run side by side in processes.
    """
    with _process_state:
        torch_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(limits=1):
                yield
        finally:
            torch.set_num_threads(torch_threads)
