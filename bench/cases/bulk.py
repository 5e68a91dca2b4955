"""A quarter of a gigabyte in one piece, against the loop that can do nothing but that."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared
from bench.processes import PAGE
from bench.sides import RATE, draining

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.wire import Connection

_SIZE = 256 << 20
_TCP, _UNIX = "farpeek, TCP", "farpeek, unix socket"
_C_TCP, _C_UNIX = "C readv+send, TCP", "C readv+send, unix socket"


def digest(connection: Connection, message: bytes) -> bytes:
    """Read it once, to look at the bytes."""
    found = hashlib.sha256()
    connection.drain(message, found.update)
    return found.digest()


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(_SIZE // PAGE))
        server = stack.enter_context(processes.service_on_tcp())
        block = target.numbers["block"]
        floors: dict[str, wire.Address] = {
            _C_TCP: stack.enter_context(processes.native_server_on_tcp(target.pid)),
            _C_UNIX: stack.enter_context(processes.native_server(target.pid)),
        }
        addresses: dict[str, wire.Address] = {_TCP: server.tcp, _UNIX: server.path, **floors}
        links = {
            name: stack.enter_context(wire.Connection(address))
            for name, address in addresses.items()
        }
        target_id = links[_UNIX].register(target.pid)
        message = wire.ranged(target_id, block, _SIZE, server.authorization)
        direct = DirectRead(target.pid, [block], _SIZE)
        direct()
        expected = hashlib.sha256(direct.content).digest()
        for name, link in links.items():
            assert digest(link, message) == expected, name  # noqa: S101
        del direct
        yield Prepared(
            {name: draining(link, message) for name, link in links.items()},
            [
                Comparison(RATE, "MB/s", _TCP, _C_TCP, at_least=0.9),
                Comparison(RATE, "MB/s", _UNIX, _C_UNIX, at_least=1.0),
            ],
        )


CASE = Case(
    "bulk",
    "one range of 256 MiB, the client throwing it away, against a C loop of process_vm_readv and "
    "send, 1 MiB each",
    _prepare,
    rounds=9,
)
