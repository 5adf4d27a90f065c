"""No network: sockets may go to this machine's own addresses and to files (AF_UNIX), nowhere else.

The test suite puts this folder on PYTHONPATH, so that Python runs this file at the start of every child process too; a
child with ``-I`` or ``-S``, or in another language, is not reached. An audit hook cannot be taken away again, so the
test process itself is guarded by a patch that ends with the test.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Any

_HERE = str(Path(__file__).parent)
_FORBID = "LATENTEXT_TESTS_OFFLINE"


class NetworkRefusedError(OSError):
    """A test, or a process that it started, wanted to leave this machine."""


def is_local(address: Any) -> bool:
    """Whether a socket address stays on this machine."""
    if not isinstance(address, tuple):  # A path or an abstract name: AF_UNIX.
        return isinstance(address, str | bytes)
    host = address[0].decode("latin-1") if isinstance(address[0], bytes) else address[0]
    if host in ("", "localhost", None):
        return True
    try:
        number = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return number.is_loopback or host == "0.0.0.0" or _is_own(number)


@cache
def _is_own(number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this machine has the address, as the parts of Ray that are not told loopback use it: only then can a
    socket be bound to it."""
    family = socket.AF_INET if number.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(number), 0))
        except OSError:
            return False
    return True


def refuse_in_this_process(monkeypatch: Any) -> None:
    """Guard `connect`, `sendto` and name look-ups for as long as the patch stands."""
    for owner, name, place in (
        (socket.socket, "connect", 1),
        (socket.socket, "connect_ex", 1),
        (socket.socket, "sendto", -1),
        (socket, "getaddrinfo", 0),
    ):
        monkeypatch.setattr(owner, name, _guarded(getattr(owner, name), name, place))
    monkeypatch.setenv(_FORBID, "1")


def python_path(present: str | None) -> str:
    """PYTHONPATH with this folder first."""
    others = [path for path in (present or "").split(os.pathsep) if path and path != _HERE]
    return os.pathsep.join([_HERE, *others])


def _guarded(call: Any, name: str, place: int) -> Any:
    def guarded(*arguments: Any, **named: Any) -> Any:
        address = arguments[place] if arguments else named.get("host")
        local = is_local((address,) if name == "getaddrinfo" else address)
        if not local:
            raise NetworkRefusedError(f"no network in tests: {name} to {address!r}")
        return call(*arguments, **named)

    return guarded


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto") and not is_local(arguments[1]):
        raise NetworkRefusedError(f"no network in tests: {event} to {arguments[1]!r}")
    if event == "socket.getaddrinfo" and not is_local((arguments[0],)):
        raise NetworkRefusedError(f"no network in tests: {event} of {arguments[0]!r}")


if __name__ == "sitecustomize" and os.environ.get(_FORBID):
    sys.addaudithook(_audit)
