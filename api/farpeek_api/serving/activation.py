"""Sockets that a supervisor has opened: sd_listen_fds(3), as systemd's .socket units do it.

A process gets them as descriptors from 3 on, and variables that say how many and for whom.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek_api.serving.listeners import Listener, ListenError, TcpAddress, UnixAddress

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from farpeek_api.serving.listeners import Address

FIRST: Final = 3
"""SD_LISTEN_FDS_START."""

MOST: Final = 64
"""Sockets taken, at most; a .socket unit of farpeek has one or two."""

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def take(environment: MutableMapping[str, str] | None = None) -> list[Listener]:
    """Take the listening sockets that were meant for this process; none if there are none.

    The variables go, so that no child takes the sockets for its own. Raises ListenError for what is
    no unix or TCP socket that listens.
    """
    variables = os.environ if environment is None else environment
    pid, count, names = (variables.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()):  # they were for our parent
        return []
    if not count.isascii() or not count.isdigit() or int(count) > MOST:
        raise ListenError(f"LISTEN_FDS is {count!r}: it has to be a number, {MOST} at most")
    given = names.split(":") if names else []
    return [
        _listener(FIRST + index, given[index] if index < len(given) else "unknown")
        for index in range(int(count))
    ]


def _listener(descriptor: int, name: str) -> Listener:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only way
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise _refusal(descriptor, name, "is no open socket") from error
    try:
        address = _address(sock)
        if isinstance(address, str):
            raise _refusal(descriptor, name, address)
    except BaseException:
        sock.close()
        raise
    sock.settimeout(0)
    # Whoever made a unix socket's path also removes it.
    return Listener(address, sock, None)


def _address(sock: socket.socket) -> Address | str:
    """Where it listens, or what is wrong with it."""
    if sock.type != socket.SOCK_STREAM:
        return "is no stream socket"
    place = sock.getsockname()
    address: Address | None = None
    if sock.family == socket.AF_UNIX and isinstance(place, str) and place.startswith("/"):
        address = UnixAddress(Path(place))
    elif sock.family in (socket.AF_INET, socket.AF_INET6):
        host, port, *_ = sock.getsockname()
        address = TcpAddress(host, port)
    # SCTP has streams too.
    protocol = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    if address is None or protocol not in (0, socket.IPPROTO_TCP):
        return "is neither a unix socket with a path nor a TCP socket"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen (Accept=yes hands over connections; leave it out)"
    return address


def _refusal(descriptor: int, name: str, what: str) -> ListenError:
    return ListenError(
        f"descriptor {descriptor} ({name}) from the supervisor {what}: give it sockets by "
        "ListenStream=PATH or ListenStream=ADDRESS:PORT only"
    )
