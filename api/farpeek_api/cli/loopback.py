"""Ports of this host, for whoever opened them and root alone."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

from farpeek_api.cli.errors import CommandError

_ESTABLISHED = "01"

Name = tuple[object, ...]
"""A socket's: host and port first."""


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
    """Whose the other end is, by the kernel's table of sockets; None if it is not in there."""
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
