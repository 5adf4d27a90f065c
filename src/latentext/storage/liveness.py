"""Whether the process that left something in a directory still lives: clean-up and leases must answer that alike.

A process on this machine is known by its number and its start, which the kernel counts from the boot: neither a number
that was given out again nor a clock that jumps deceives anybody. Of another machine nothing can be asked.
"""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path


def process_start(process: int) -> str:
    """When a process began, as an opaque word; empty when there is no such process.

    Example:
        >>> process_start(os.getpid()) == process_start(os.getpid()) != ""
        True
    """
    try:
        state, *facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        # A killed process keeps its entry until its parent asks for it, which some parents never do.
        return "" if state in ("Z", "X") else facts[18]
    except (OSError, ValueError, IndexError):
        pass
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return ""
    except PermissionError:
        return "alive"
    # Systems without /proc, and ones that have it while the process is gone, differ only here.
    return "" if Path("/proc/self/stat").exists() else "alive"


def this_machine() -> str:
    """Eight hexadecimal digits that stand for this machine (a host name does not belong in a dataset).

    Containers may share their host's name; the processes of one are nothing to another, so each is a machine.
    """
    try:
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbers = ""
    return hashlib.sha256(f"{socket.gethostname()}{numbers}".encode()).hexdigest()[:8]
