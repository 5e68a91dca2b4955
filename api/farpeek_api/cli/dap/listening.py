"""`--listen`: a port of this host, for whoever started it and root alone."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from farpeek_api.cli.errors import CommandError, WrongWord

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESTABLISHED = "01"


def place(text: str) -> tuple[str, int]:
    """Take HOST:PORT apart. Raises WrongWord unless it is a loopback address."""
    found = re.fullmatch(r"\[?([0-9a-fA-F.:]+?)\]?:(\d{1,5})", text)
    try:
        host = ipaddress.ip_address(found[1]) if found else None
    except ValueError:
        host = None
    if found is None or host is None or not host.is_loopback or int(found[2]) > 65_535:  # noqa: PLR2004
        raise WrongWord(f"{text!r} is no place to listen: write 127.0.0.1:PORT, or [::1]:PORT")
    return str(host), int(found[2])


def listen(where: tuple[str, int]) -> socket.socket:
    """Open the port; 0 is one that is free. Raises CommandError."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    try:
        return socket.create_server(where, family=family, backlog=1)
    except OSError as error:
        raise CommandError(f"{where[0]}:{where[1]}: {error.strerror}") from None


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Give those who connect, one after the other; other users are sent away."""
    while True:
        connection, peer = listener.accept()
        with connection:
            if _owner(connection, peer) in (0, os.geteuid()):
                yield connection


def _owner(connection: socket.socket, peer: tuple[object, ...]) -> int | None:
    """Whose the other end is, by the kernel's table of sockets; None if it is not in there."""
    table = "tcp6" if connection.family == socket.AF_INET6 else "tcp"
    theirs, ours = _entry(peer), _entry(connection.getsockname())
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:4] == [theirs, ours, _ESTABLISHED]:
            return int(fields[7])
    return None


def _entry(name: tuple[object, ...]) -> str:
    """Write an address as that table does: words of four bytes, in this host's order."""
    packed = ipaddress.ip_address(str(name[0])).packed
    words = (memoryview(packed).cast("I")[number] for number in range(len(packed) // 4))
    return "".join(f"{word:08X}" for word in words) + f":{name[1]:04X}"
