"""Work over samples: batches for joblib, and one thread where sums must come out bit by bit."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

WORTH_A_THREAD = 1.5e-4  # seconds; below it two threads are slower than one
LARGEST_BATCH = 256  # samples; large enough to hide the cost of a call, small enough to balance
PROBE = (1, 4)  # samples by which it is judged; the first may have to compile a kernel
N_BATCHES = 8  # for each worker, so that all end at about the same time


def map_batches(
    work: Callable[..., Any],
    take: Callable[[int, int], tuple],
    n_samples: int,
    *,
    first: int = 0,
    largest: int = LARGEST_BATCH,
    longest: float | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    desc: str = "",
) -> Iterator[tuple[slice, Any]]:
    """Yield `(slice(start, stop), work(*take(start, stop)))` for batches of all samples in order.

    `work` must treat every sample by itself, so that the batches cannot be seen in the result. It
    travels to every process with each batch, together with what `take` returns: the batch's own
    rows, which `work` must not hold itself. They are bound to it: dask would lay arguments of its
    own down at one worker, and lose them with it.

    Threads share the snapshots and the compiled kernels, which release the GIL; processes would
    load, copy and compile them anew. `joblib.parallel_config` chooses another backend. One thread
    does the work where a sample takes less than `WORTH_A_THREAD`: little but the GIL is at work
    then.

    Samples before `first` are left out. Batches have at most `largest` samples, and, unless one
    sample takes longer, do not take much more than `longest` seconds.
    """

    def bound(start: int, stop: int) -> Callable[[], Any]:
        return partial(work, *take(start, stop))

    with tqdm(total=n_samples, initial=first, desc=desc, disable=not verbose, leave=False) as bar:
        for batch, result in _run(bound, first, n_samples, largest, longest, n_jobs):
            yield batch, result
            bar.update(batch.stop - batch.start)


def numbered_rows(X: Any) -> Callable[[int, int], tuple[Any, int]]:
    """Return a `take` of rows of X, and of the number of the first of them."""
    return lambda start, stop: (X[start:stop], start)


def _run(
    bound: Callable[[int, int], Callable[[], Any]],
    done: int,
    n_samples: int,
    largest: int,
    longest: float | None,
    n_jobs: int | None,
) -> Iterator[tuple[slice, Any]]:
    """Yield all batches in order with their results, from as many workers as are worth it."""
    n_workers = effective_n_jobs(n_jobs)
    size = max(1, min(largest, -(-(n_samples - done) // (N_BATCHES * n_workers))))
    backend, _ = get_active_backend(prefer="threads")
    threads = n_workers > 1 and getattr(backend, "supports_sharedmem", False)
    if size < 2 * sum(PROBE):
        size = size if longest is None else 1
    elif threads or longest is not None:
        for n in PROBE:
            before = time.perf_counter()
            result = bound(done, done + n)()
            seconds = (time.perf_counter() - before) / n
            yield slice(done, done + n), result
            done += n
        if threads and seconds < WORTH_A_THREAD:
            n_jobs, size = 1, largest
        if longest is not None:
            size = max(1, min(size, int(longest / seconds)))
    batches = [slice(a, min(a + size, n_samples)) for a in range(done, n_samples, size)]
    tasks = (bound(batch.start, batch.stop) for batch in batches)
    if effective_n_jobs(n_jobs) == 1:
        yield from ((batch, task()) for batch, task in zip(batches, tasks, strict=True))
    else:
        run = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
        results = run(delayed(partial(_alone, task))() for task in tasks)
        yield from zip(batches, results, strict=True)


def _alone(task: Callable[[], Any]) -> Any:
    """Do a task, with no workers for what is in it: dask would send that through the cluster."""
    with parallel_config("sequential"):
        return task()


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
