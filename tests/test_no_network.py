"""The guard that keeps tests from the network refuses what it should, here and in child processes."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

ELSEWHERE = "192.0.2.1"  # An address that is nobody's (RFC 5737).


def test_this_process_reaches_itself_and_nobody_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    with pytest.raises(OSError, match="no network in tests"):
        socket.create_connection((ELSEWHERE, 80), timeout=1)
    with pytest.raises(OSError, match="no network in tests"):
        socket.getaddrinfo("example.org", 443)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, pytest.raises(OSError, match="no network"):
        datagrams.sendto(b"x", (ELSEWHERE, 53))


@pytest.mark.parametrize(
    "action", [f"create_connection(('{ELSEWHERE}', 80), timeout=1)", "getaddrinfo('example.org', 1)"]
)
def test_child_processes_do_not_either(action: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import socket; socket.{action}"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no network in tests" in done.stderr


def test_child_processes_talk_to_each_other() -> None:
    program = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
    subprocess.run([sys.executable, "-W", "ignore", "-c", "import socket; socket.socketpair()"], check=True)
