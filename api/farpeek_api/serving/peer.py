"""Who is at the other end of a connection, and whether there is anybody still."""

from __future__ import annotations

import select
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

_UCRED: Final = struct.Struct("3i")  # pid, uid, gid; unix(7)


class Peer(NamedTuple):
    """Who is at the other end of a unix socket, when it was connected."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, sock: TransportSocket) -> Self:
        """Ask the kernel."""
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return cls(*_UCRED.unpack(credentials))


def address(peer: tuple[Any, ...]) -> str:
    """Write a host and its port, as URLs have them."""
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def has_hung_up(descriptor: int) -> bool:
    """Whether the other side is closed both ways, as far as is known; poll(2)."""
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))
