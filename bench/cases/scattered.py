"""Many small reads in one request, against the system call that does them."""

from __future__ import annotations

import base64
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.cases.one_read import asking
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared, median_us, timed
from bench.processes import NATIVE, PAGE, Native

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Figures

_REGIONS = 1024
_LENGTH = 8
_COUNT = 120
_READ, _HEX, _CTYPES, _C = "readv", "readv, hex addresses", "ctypes", "C"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(_REGIONS))
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        block = target.numbers["block"]
        addresses = [block + number * PAGE for number in range(_REGIONS)]
        target_id = connection.register(target.pid)
        read = wire.readv(target_id, addresses, _LENGTH)
        read_hex = wire.request(
            "POST",
            f"/v1/targets/{target_id}/readv",
            {"addresses": [hex(each) for each in addresses], "lengths": _LENGTH},
        )
        direct = DirectRead(target.pid, addresses, _LENGTH)
        direct()
        for message in (read, read_hex):
            data = base64.b64decode(connection.json(message)["data"])
            assert data == direct.content  # noqa: S101
        native = stack.enter_context(
            Native(NATIVE / "floor.c", target.pid, block, PAGE, _REGIONS, _LENGTH)
        )

        def by_ctypes() -> Figures:
            return {"wall": median_us(timed(direct, _COUNT))}

        def by_c() -> Figures:
            return {"wall": int(native.command(str(_COUNT))) / 1000}

        yield Prepared(
            {
                _READ: asking(server, connection, read, _COUNT),
                _CTYPES: by_ctypes,
                _HEX: asking(server, connection, read_hex, _COUNT),
                _C: by_c,
            },
            [
                Comparison("wall", "us", _READ, _CTYPES, aim=2.5),
                Comparison("wall", "us", _READ, _C),
                Comparison("wall", "us", _HEX, _CTYPES),
            ],
        )


CASE = Case(
    "scattered",
    "1024 x 8 B on 1024 pages, JSON columns over the unix socket, against warm process_vm_readv "
    "calls of the same regions with buffers that are reused",
    _prepare,
    rounds=11,
)
