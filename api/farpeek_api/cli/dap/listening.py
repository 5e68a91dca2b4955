"""`--listen`: a port of this host, for whoever started it and root alone."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from farpeek_api.cli import loopback
from farpeek_api.cli.errors import WrongWord

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


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


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Give those who connect, one after the other; other users are sent away."""
    while True:
        connection, peer = listener.accept()
        with connection:
            if loopback.is_ours(connection.getsockname(), peer):
                yield connection
