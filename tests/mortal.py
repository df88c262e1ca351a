"""Workers of a dask cluster that die in the middle of their work, once, by SIGKILL."""

import os
import signal
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
from distributed import WorkerPlugin

from sklmacro.checkpoint import rows as _rows
from sklmacro.simulators import LinearChain


def die_once(folder):
    """Kill this process, unless one has died already."""
    try:
        (Path(folder) / "died").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class SecondTask(WorkerPlugin):
    """Let the first worker die that has done a task and begins another."""

    name = "second task"

    def __init__(self, folder):
        self.folder, self.n_begun = str(folder), 0

    def transition(self, key, start, finish, **kwargs):
        self.n_begun += finish == "executing"
        if self.n_begun == 2:
            die_once(self.folder)


class SaveAtOnce(WorkerPlugin):
    """Let workers write what is ready to a checkpoint without waiting."""

    name = "save at once"

    def setup(self, worker):
        _rows.INTERVAL, _rows.SHARE = 0.0, np.inf


class MortalChain(LinearChain):
    """Linear chain that notes every step, a file for each process, and dies at the sixth step."""

    def __init__(self, gamma=0.1, folder=""):
        super().__init__(gamma)
        self.folder = folder

    def advance_window(self, *args):
        notes = Path(self.folder) / f"steps of {os.getpid()}"
        with notes.open("a") as file:
            file.write(".")
        if parent_process() is not None and notes.stat().st_size == 6:
            die_once(self.folder)
        return super().advance_window(*args)
