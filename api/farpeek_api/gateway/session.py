"""One debugger's connection: packets in, packets out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.gateway import packets
from farpeek_api.gateway.packets import Packet, PacketParser
from farpeek_api.gateway.queries import Queries

if TYPE_CHECKING:
    import socket

    from farpeek_api.gateway.inferior import Inferior

_AT_ONCE: Final = 1 << 16


def serve(connection: socket.socket, inferior: Inferior) -> None:
    """Answer a debugger until it leaves. Raises OSError, PeekError, Unsuitable, packets.TooLong."""
    inferior.architecture  # noqa: B018 - whether there is one
    inferior.look()
    parser, session = PacketParser(), _Session(connection, Queries(inferior))
    while not session.is_over and (part := connection.recv(_AT_ONCE)):
        for item in parser.feed(part):
            session.take(item)
            if session.is_over:
                break


class _Session:
    def __init__(self, connection: socket.socket, queries: Queries) -> None:
        self._connection = connection
        self._queries = queries
        self._sent = b""

    @property
    def is_over(self) -> bool:
        return self._queries.is_over

    def take(self, item: packets.Item) -> None:
        """Do what an item asks for. Ctrl-C interrupts nothing: no answer is long in coming."""
        if isinstance(item, Packet):
            if self._queries.acknowledges:
                self._connection.sendall(b"+")
            answers = self._queries.answer(item.payload)
            self._sent = b"".join(map(packets.packet, answers))
            self._connection.sendall(self._sent)
        elif item == "damaged" and self._queries.acknowledges:
            self._connection.sendall(b"-")
        elif item == "-" and self._queries.acknowledges:
            self._connection.sendall(self._sent)
