"""Workers from the outside: processes that are asked by JSON lines, with a limit on how long an answer may take."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent


class PeerFailed(Exception):  # noqa: N818 - what its row shows
    """The peer said that it failed, died, or did not answer in time."""


class Worker:
    """One process with one model in memory.

    Args:
        python: the interpreter of its environment.
        module: in the package `peers`.
        log: its standard error.
        threads: of torch and of OpenMP.
    """

    def __init__(self, python: Path, module: str, log: Path, threads: int):
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("w")
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "src")]),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # It would keep a core of the few for itself.
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_NO_USAGE_STATS": "1",
        }
        if "vllm" in module:
            # vLLM brings an OpenMP of its own beside torch's: threads of one that spin keep the other's from the cores.
            environment["OMP_WAIT_POLICY"] = "PASSIVE"
            environment["VLLM_CPU_KVCACHE_SPACE"] = "2"  # GiB, for each of three processes that are up at once.
        self._process = subprocess.Popen(
            [str(python), "-m", f"peers.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.log = log

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Ask and wait.

        Raises:
            PeerFailed: with the peer's own words, or with what became of it.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise PeerFailed(f"no answer within {seconds:.0f} s") from None
        except (BrokenPipeError, ValueError):
            line = ""
        if not line:
            raise PeerFailed(f"ended with status {self._process.wait()}; {self.log.name} says more")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return answer

    def close(self) -> None:
        """End the process and what it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()
