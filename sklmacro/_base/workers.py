"""Work over samples: batches for joblib, rows of arrays, one thread where bits must not vary."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from joblib import (
    Parallel,
    delayed,
    effective_n_jobs,
    parallel_config,
    wrap_non_picklable_objects,
)
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController
from tqdm.auto import tqdm

from sklmacro._base.kernels import heeding, look_around

WORTH_A_THREAD = 1.5e-4  # seconds; below it two threads are slower than one
LARGEST_BATCH = 256  # samples; large enough to hide the cost of a call, small enough to balance
PROBE = (1, 4)  # samples by which it is judged; the first may have to compile a kernel
N_BATCHES = 8  # for each worker, so that all end at about the same time
LONGEST_WAIT = 1.0  # seconds for threads whose work is given up
AT_A_TIME = 4  # for each worker, where a backend returns no generator


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
) -> Generator[tuple[slice, Any], None, None]:
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

    def bind(start: int, stop: int) -> Callable[[], Any]:
        return partial(work, *take(start, stop))

    bar = tqdm(total=n_samples, initial=first, desc=desc, disable=not verbose, leave=False)
    with bar, closing(_run(bind, first, n_samples, largest, longest, n_jobs)) as results:
        for batch, result in results:
            yield batch, result
            bar.update(batch.stop - batch.start)


def numbered_rows(X: Any) -> Callable[[int, int], tuple[Any, int]]:
    """Return a `take` of rows of X, and of the number of the first of them."""
    return lambda start, stop: (X[start:stop], start)


class Rows:
    """Arrays of which the first rows are filled; of a checkpoint, rows that are saved in parts.

    Parameters
    ----------
    n_rows : int
    out : mapping of str to ndarray
        Arrays to fill; those that are not there are made.
    """

    longest: float | None = None  # seconds that a batch should take at most

    def __init__(self, n_rows: int, out: Mapping[str, np.ndarray]):
        self.n_rows, self.arrays, self.n_filled = n_rows, dict(out), 0

    def append(self, batch: Mapping[str, np.ndarray]) -> None:
        """Fill the next rows."""
        stop = self.n_filled + len(next(iter(batch.values())))
        for name, array in batch.items():
            if name not in self.arrays:
                if len(array) == self.n_rows:  # it may be very large: no second copy
                    self.arrays[name] = array
                    continue
                self.arrays[name] = np.empty((self.n_rows, *array.shape[1:]), array.dtype)
            self.arrays[name][self.n_filled : stop] = array
        self.n_filled = stop

    def save(self) -> None:
        """Save the rows that are not saved; without a checkpoint there is nowhere to."""


def fill_rows(
    work: Callable[..., Mapping[str, np.ndarray]],
    take: Callable[[int, int], tuple],
    n_rows: int,
    checkpoint: Any = None,
    out: Mapping[str, np.ndarray] | None = None,
    *,
    part: str = "rows",
    together: int = 1,
    largest: int = LARGEST_BATCH,
    n_jobs: int | None = None,
    verbose: bool = False,
    desc: str = "",
) -> dict[str, np.ndarray]:
    """Fill the rows of arrays, and return them.

    Parameters
    ----------
    work : callable
        Of what `take` returns it makes rows of each array. It treats every row by itself, and
        does not hold what the rows are made of.
    take : callable
        (start, stop) -> what `work` needs for the rows start to stop, views of larger arrays. No
        more than this travels to another process.
    n_rows : int
        Rows in all.
    checkpoint : Checkpoint or None, default=None
        Has the rows that are finished, and gets those that are being made.
    out : mapping of str to ndarray, default=None
        Arrays to fill, of n_rows rows; None makes them.
    part : str, default="rows"
        How the names of the checkpoint's parts begin.
    together : int, default=1
        Rows that are made together: batches begin at multiples of it.
    largest : int
        Units of `together` rows in a batch at most.
    n_jobs, verbose, desc
        As for `map_batches`.

    Returns
    -------
    arrays : dict of str to ndarray of shape (n_rows, ...)
    """

    def units(first: int, last: int) -> tuple:
        return take(first * together, min(last * together, n_rows))

    rows = (
        Rows(n_rows, out or {}) if checkpoint is None else checkpoint.rows(part, n_rows, out or {})
    )
    batches = map_batches(
        work, units, -(-n_rows // together), first=-(-rows.n_filled // together), largest=largest,
        longest=rows.longest, n_jobs=n_jobs, verbose=verbose, desc=desc,
    )  # fmt: skip
    try:
        with closing(batches):
            for _, batch in batches:
                rows.append(batch)
    finally:  # an error or Ctrl-C loses nothing that is finished
        rows.save()
    return rows.arrays


def _run(
    bind: Callable[[int, int], Callable[[], Any]],
    done: int,
    n_samples: int,
    largest: int,
    longest: float | None,
    n_jobs: int | None,
) -> Generator[tuple[slice, Any], None, None]:
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
            result = bind(done, done + n)()
            seconds = (time.perf_counter() - before) / n
            yield slice(done, done + n), result
            done += n
        if threads and seconds < WORTH_A_THREAD:
            n_jobs, size = 1, largest
        if longest is not None:
            size = max(1, min(size, int(longest / seconds)))
    batches = [slice(a, min(a + size, n_samples)) for a in range(done, n_samples, size)]
    tasks = (bind(batch.start, batch.stop) for batch in batches)
    if effective_n_jobs(n_jobs) == 1:
        yield from ((batch, task()) for batch, task in zip(batches, tasks, strict=True))
    else:
        with closing(_results(tasks, n_jobs, backend)) as results:
            yield from zip(batches, results, strict=True)


def _results(
    tasks: Iterator[Callable[[], Any]], n_jobs: int | None, backend: Any
) -> Generator[Any, None, None]:
    """Yield the results of tasks in order, from several workers.

    Threads whose work is given up are waited for; processes are ended by joblib.
    """
    crew = _Crew() if getattr(backend, "supports_sharedmem", False) else None
    options = {"n_jobs": n_jobs, "prefer": "threads"}
    try:
        if getattr(backend, "supports_return_generator", False):
            calls = (delayed(_run_alone)(task, crew) for task in tasks)
            yield from Parallel(**options, return_as="generator")(calls)
        else:  # multiprocessing; some at a time, so that not all results are held at once
            calls = (delayed(_run_alone)(wrap_non_picklable_objects(task)) for task in tasks)
            some = AT_A_TIME * effective_n_jobs(n_jobs)
            with Parallel(**options) as run:
                while results := run(islice(calls, some)):
                    yield from results
    finally:
        if crew is not None:
            crew.give_up()


def _run_alone(task: Callable[[], Any], crew: "_Crew | None" = None) -> Any:
    """Do a task, with no workers for what is in it: dask would send that through the cluster."""
    with parallel_config("sequential"), nullcontext() if crew is None else crew.at_work():
        return task()


class _Crew:
    """Tasks in threads, which are given up together."""

    def __init__(self) -> None:
        self._given_up, self._left, self._n_at_work = threading.Event(), threading.Condition(), 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a task as long as it is at work, and have it end once it is given up."""
        with self._left:
            self._n_at_work += 1
        try:
            with heeding(self._given_up):
                look_around()  # what has not begun does not
                yield
        finally:
            with self._left:
                self._n_at_work -= 1
                self._left.notify_all()

    def give_up(self) -> None:
        """Give up what is still at work, and wait a while for it, so that it writes no more."""
        self._given_up.set()
        with self._left:
            self._left.wait_for(lambda: self._n_at_work == 0, timeout=LONGEST_WAIT)


_process_state = threading.RLock()
_SMALLEST, _ONE = np.float64(5e-324), np.float64(1.0)  # their product is 0 where it is flushed


@cache
def _thread_pools() -> ThreadpoolController:
    """Return the thread pools of this process; to look for them takes longer than a small fit."""
    return ThreadpoolController()


@contextmanager
def plain_torch() -> Iterator[None]:
    """Compute on tensors as torch does where nobody has changed its modes.

    Neither inference mode nor autocast is on here, and the default device is the CPU, whatever the
    caller has set.
    """
    modes: list[Any] = []
    if torch.is_inference_mode_enabled():  # its tensors can take no part in a derivative
        modes.append(torch.inference_mode(False))
    for device in ("cpu", "cuda"):
        if torch.is_autocast_enabled(device):
            modes.append(torch.autocast(device, enabled=False))
    if torch.empty(0).device.type != "cpu":  # much faster than torch.get_default_device()
        modes.append(torch.device("cpu"))
    with ExitStack() as stack:
        for mode in modes:
            stack.enter_context(mode)
        yield


@contextmanager
def single_threaded() -> Iterator[None]:
    """Run linear algebra and torch on one thread, so that sums have one order on every machine.

    joblib's workers have fewer threads than the process that starts them; without this a fit would
    differ in the last bits between `n_jobs=1` and `n_jobs=2`. The nets here are too small to gain
    from more threads. Modes of torch are those of `plain_torch`, new tensors have single precision,
    and small numbers are not flushed to zero.

    Thread counts, torch's default type, and its generator of initial weights, belong to the
    process. One Python thread at a time can therefore be inside; fits run side by side in
    processes.
    """
    with _process_state, ExitStack() as settings:
        settings.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        if torch.get_default_dtype() != torch.float32:
            settings.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        if _SMALLEST * _ONE == 0.0 and torch.set_flush_denormal(False):
            settings.callback(torch.set_flush_denormal, True)
        settings.enter_context(_thread_pools().limit(limits=1))
        settings.enter_context(plain_torch())
        yield
