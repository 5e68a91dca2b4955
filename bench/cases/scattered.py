"""Many small reads in one request, against the system call that does them."""

from __future__ import annotations

import base64
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared, median_us, timed
from bench.processes import NATIVE, PAGE, Native
from bench.sides import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Figures

_REGIONS = 1024
_LENGTH = 8
_COUNT = 120
_READ, _HEX, _CTYPES, _C = "readv", "readv, hex addresses", "ctypes", "C"
_FRAME, _BINARY, _SERVER = "readv, frame", "readv, pairs and frame", "C server"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(_REGIONS))
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        block = target.numbers["block"]
        addresses = [block + number * PAGE for number in range(_REGIONS)]
        target_id = connection.register(target.pid)
        hexed = {"addresses": [hex(each) for each in addresses], "lengths": _LENGTH}
        binary = wire.binary(target_id, addresses, _LENGTH)
        messages = {
            _READ: wire.readv(target_id, addresses, _LENGTH),
            _HEX: wire.request("POST", f"/v1/targets/{target_id}/readv", hexed),
            _FRAME: wire.framed(target_id, addresses, _LENGTH),
            _BINARY: binary,
        }
        direct = DirectRead(target.pid, addresses, _LENGTH)
        direct()
        for name in (_READ, _HEX):
            data = base64.b64decode(connection.json(messages[name])["data"])
            assert data == direct.content, name  # noqa: S101
        for name in (_FRAME, _BINARY):
            data = wire.frame_content(bytes(connection.ask(messages[name])))
            assert data == direct.content, name  # noqa: S101
        native = stack.enter_context(
            Native(NATIVE / "floor.c", target.pid, block, PAGE, _REGIONS, _LENGTH)
        )
        path = stack.enter_context(processes.native_server(target.pid))
        link = stack.enter_context(wire.Connection(path))
        assert link.ask(binary) == direct.content  # noqa: S101

        def by_ctypes() -> Figures:
            return {"wall": median_us(timed(direct, _COUNT))}

        def by_c() -> Figures:
            return {"wall": int(native.command(str(_COUNT))) / 1000}

        def by_c_server() -> Figures:
            return {"wall": median_us(timed(partial(link.ask, binary), _COUNT))}

        services = {
            name: asking(server, connection, message, _COUNT) for name, message in messages.items()
        }
        yield Prepared(
            {**services, _CTYPES: by_ctypes, _C: by_c, _SERVER: by_c_server},
            [
                Comparison("wall", "us", _FRAME, _C, at_most=1.6),
                Comparison("wall", "us", _BINARY, _C, at_most=1.6),
                Comparison("wall", "us", _READ, _C, at_most=2),
                Comparison("wall", "us", _SERVER, _C),
                Comparison("wall", "us", _FRAME, _SERVER),
                Comparison("wall", "us", _READ, _CTYPES, at_most=2.5),
                Comparison("wall", "us", _HEX, _CTYPES),
            ],
        )


CASE = Case(
    "scattered",
    "1024 x 8 B on 1024 pages over the unix socket, asked for by JSON columns or binary pairs, "
    "answered by JSON or a frame; against warm process_vm_readv calls of the same regions with "
    "buffers that are reused, and against a C server that does nothing else",
    _prepare,
    rounds=11,
)
