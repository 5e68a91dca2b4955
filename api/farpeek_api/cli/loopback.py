"""Ports of this host, for whoever opened them and root alone."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from farpeek_api.cli.errors import CommandError

Name = tuple[object, ...]
"""A socket's: host and port first."""

_ESTABLISHED: Final = "01"

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_HEAD: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_WANTED: Final = struct.Struct("=BBBxI")  # the begin of struct inet_diag_req_v2
_PORTS: Final = struct.Struct("!HH")  # that of struct inet_diag_sockid; two addresses follow
_NO_COOKIE: Final = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # behind any interface
_UID: Final = struct.Struct("=I")
_UID_AT: Final = _HEAD.size + 64  # of struct inet_diag_msg
_PATIENCE_S: Final = 1.0


def listen(where: tuple[str, int], backlog: int = 1) -> socket.socket:
    """Open a port of a loopback address; 0 is one that is free. Raises CommandError."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    try:
        return socket.create_server(where, family=family, backlog=backlog)
    except OSError as error:
        raise CommandError(f"{where[0]}:{where[1]}: {error.strerror}") from None


def is_ours(here: Name, there: Name) -> bool:
    """Whether the other end of a connection is a process of this user, or of root."""
    return _owner(here, there) in (0, os.geteuid())


def _owner(here: Name, there: Name) -> int | None:
    """Whose the other end is, by the kernel's word; None if it knows of none.

    It is asked for the one socket: to walk through the table of all takes it 20 ms where that is
    large, however few there are. Where it has no sock_diag(7), the table has to do.
    """
    found = None
    with suppress(OSError):
        found = _by_socket(here, there)
    return _by_table(here, there) if found is None else found


def _by_socket(here: Name, there: Name) -> int | None:
    family = socket.AF_INET6 if ":" in str(here[0]) else socket.AF_INET
    addresses = [
        ipaddress.ip_address(str(name[0])).packed.ljust(16, b"\0") for name in (there, here)
    ]
    body = b"".join(
        (
            _WANTED.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF),
            _PORTS.pack(there[1], here[1]),
            *addresses,
            _NO_COOKIE,
        )
    )
    head = _HEAD.pack(_HEAD.size + len(body), _BY_FAMILY, _REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE_S)
        kernel.send(head + body)
        answer = kernel.recv(4096)
    if len(answer) < _UID_AT + _UID.size or _HEAD.unpack_from(answer)[1] != _BY_FAMILY:
        return None  # an error: there is none
    return int(_UID.unpack_from(answer, _UID_AT)[0])


def _by_table(here: Name, there: Name) -> int | None:
    table = "tcp6" if ":" in str(here[0]) else "tcp"
    wanted = [_entry(there), _entry(here), _ESTABLISHED]
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:4] == wanted:
            return int(fields[7])
    return None


def _entry(name: Name) -> str:
    """Write an address as that table does: words of four bytes, in this host's order."""
    packed = ipaddress.ip_address(str(name[0])).packed
    words = (memoryview(packed).cast("I")[number] for number in range(len(packed) // 4))
    return "".join(f"{word:08X}" for word in words) + f":{name[1]:04X}"
