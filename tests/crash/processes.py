"""Runs in processes of their own, so that they can be killed: real processes and signals, without importing torch anew.

A fork server imports everything once; each run is forked from it, calls the command line and is sent signals like any
other process. It is forked before torch ever computed, so it has no threads that a fork would lose.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "latentext.run.runner",
        "transformers.models.llama.modeling_llama",
        "transformers.tokenization_utils_tokenizers",
        "pandas",  # Parquet files are written with it, where it is installed.
        "openai.resources.chat.completions",
        "openai.resources.batches",
        "openai.resources.files",
        "openai.types",
    ]
)


def start(words: list[str], log: Path) -> BaseProcess:
    """Start the command line with these arguments; what it prints goes to `log`."""
    process = _CONTEXT.Process(target=_call, args=(words, str(log)), daemon=True)
    process.start()
    return process


def finish(process: BaseProcess, seconds: float = 300) -> int:
    """Wait for a process; returns its exit code (negative: the signal that ended it)."""
    process.join(seconds)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def run(words: list[str], log: Path) -> int:
    """Run the command line to its end; returns the exit code."""
    return finish(start(words, log))


def _call(words: list[str], log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["latentext", *words]
    # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from latentext.cli.app import exit_code

    sys.exit(exit_code(words))


@contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: a kill needs no disk, and syncing takes no time there."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="latentext-", dir=memory if memory.is_dir() else otherwise) as folder:
        yield Path(folder)


def in_a_fork(work: Callable[[], object], started: Callable[[int], None] = lambda process: None) -> int:
    """Do something in a forked process, whose number `started` is told; returns its exit code."""
    if process := os.fork():
        started(process)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def call(function: Callable[..., None], *arguments: object) -> BaseProcess:
    """Start any function of a module in such a process."""
    process = _CONTEXT.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process
