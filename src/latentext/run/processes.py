"""Workers as processes on this machine.

Each is started anew (never forked: a fork of a process with threads or a GPU context may hang) and talks over a pipe of
its own, so a worker that dies is known by the end of its pipe and nobody waits for it. With several GPUs worker k gets
GPU k modulo their number.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from latentext.run.driving import Died, Moved, Said
from latentext.run.worker import Worker, WorkOrder
from latentext.storage.interrupts import end_on_sigterm, not_for_children

_CONTEXT = multiprocessing.get_context("spawn")
_SECONDS_TO_END = 20.0


class ProcessWorkers:
    """`count` workers that carry out an order; see `latentext.run.driving.Workers`."""

    report_progress = True

    def __init__(self, order: WorkOrder, count: int):
        self.count = count
        self._order = order
        self._gpus = _gpu_count()
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._unheard: deque[Died] = deque()
        for number in range(count):
            process, pipe = self._start(number)
            self._processes.append(process)
            self._pipes.append(pipe)

    def ask(self, worker: int, method: str, *arguments: Any) -> None:
        """Send a call; if the worker is dead, that is what `hear` says next."""
        try:
            self._pipes[worker].send((method, arguments))
        except OSError:
            self._unheard.append(Died(worker, self._last_words(worker)))

    def hear(self, seconds: float) -> Said | Moved | Died | None:
        """The next message of any worker."""
        if self._unheard:
            return self._unheard.popleft()
        ready = wait(self._pipes, seconds)
        if not ready:
            return None
        worker = self._pipes.index(ready[0])  # type: ignore[arg-type]
        try:
            kind, content = self._pipes[worker].recv()
        except (EOFError, OSError):
            return Died(worker, self._last_words(worker))
        if kind == "moved":
            return Moved(worker, *content)
        return Said(worker, error=content) if kind == "error" else Said(worker, content)

    def replace(self, worker: int) -> None:
        """Kill what is left of a worker and start another."""
        self._processes[worker].kill()
        self._processes[worker].join()
        self._pipes[worker].close()
        self._processes[worker], self._pipes[worker] = self._start(worker)

    def close(self) -> None:
        """Ask all to end as Ctrl-C would; one that does not is killed."""
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            if process.is_alive() and process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
            pipe.close()
        for process in self._processes:
            process.join(_SECONDS_TO_END)
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self, number: int) -> tuple[BaseProcess, Connection]:
        ours, theirs = _CONTEXT.Pipe()
        gpu = number % self._gpus if self._gpus > 1 else None
        process = _CONTEXT.Process(target=_serve, args=(theirs, self._order, gpu), name=f"latentext-worker-{number}")
        with not_for_children():
            process.start()
        theirs.close()  # Ours is then the only other end: its closing is the worker's death.
        return process, ours

    def _last_words(self, worker: int) -> str:
        self._processes[worker].join(5)
        code = self._processes[worker].exitcode
        if code is not None and code < 0:
            return f"the worker was killed by {signal.Signals(-code).name}"
        return f"the worker ended with exit code {code}"


def _serve(pipe: Connection, order: WorkOrder, gpu: int | None) -> None:
    """The life of a worker: answer calls until the pipe ends."""
    end_on_sigterm()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    worker: Worker | None = None
    try:
        # When the pipe ends, whoever started this worker is gone; what it was computing is committed by then.
        with suppress(EOFError, OSError, KeyboardInterrupt):
            while True:
                method, arguments = pipe.recv()
                try:
                    worker = worker or Worker(order)
                    more = {"heard": lambda *moved: pipe.send(("moved", moved))} if method == "compute" else {}
                    answer: tuple[str, Any] = ("result", getattr(worker, method)(*arguments, **more))
                except Exception as error:
                    if not _can_be_sent(pipe.send, error):
                        raise
                    continue
                pipe.send(answer)
    finally:
        if worker is not None:
            worker.close()


def _can_be_sent(send: Callable[[Any], None], error: Exception) -> bool:
    """Send an error to the driver, which decides what it means; as its own kind where that can be pickled."""
    try:
        send(("error", error))
    except OSError:
        return False
    except (TypeError, AttributeError, ValueError):  # What pickle says of objects that it cannot take.
        send(("error", RuntimeError(f"{type(error).__name__}: {error}")))
    return True


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()
