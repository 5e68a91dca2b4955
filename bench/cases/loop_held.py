"""How long many clients with the largest requests keep a probe waiting."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes
from bench.framework import Case, Comparison, Prepared, percentile_us
from bench.processes import PAGE, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.framework import Figures
    from bench.wire import Connection

_CLIENTS = 64
_ROUND_S = 3.0
_AIM_MS = 20
_MIB = 1 << 20
_REGIONS = 65_536
_LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
_QUIET = "nobody else"


def _probe(connection: Connection) -> Figures:
    times: list[int] = []
    end = time.perf_counter() + _ROUND_S
    while time.perf_counter() < end:
        began = time.perf_counter_ns()
        connection.ask(_LIVEZ)
        times.append(time.perf_counter_ns() - began)
        time.sleep(0.002)
    return {"longest": max(times) / 1e6, "p99": percentile_us(times, 99) / 1e3}


def _probe_beside(path: Path, connection: Connection, request: bytes) -> Figures:
    with tempfile.NamedTemporaryFile() as file:
        file.write(request)
        file.flush()
        crowd = [sys.executable, "-m", "bench.crowd", path, _CLIENTS, file.name]
        with Process(crowd, "ready"):
            return _probe(connection)


def _post(path: str, body: bytes, kind: str = "application/json") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _get(path: str, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in ("Connection: close", *headers))
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()


def _requests(target: str, block: int) -> dict[str, bytes]:
    """Give the largest legal requests, one of each kind."""

    def read(**members: object) -> bytes:
        return _post(f"/v1/targets/{target}/readv", json.dumps(members).encode())

    last = block + 16 * _MIB - 1
    places = [f"{block + 8 * number:#018x}" for number in range(_REGIONS)]
    return {
        "16 MiB by JSON": read(addresses=[block], lengths=16 * _MIB),
        "65,536 regions": read(addresses=places, lengths=8),
        "65,536 holes": read(addresses=[1] * _REGIONS, lengths=1, encoding="none"),
        "16 MiB of bulk": _get(f"/v1/targets/{target}/memory", f"Range: bytes={block}-{last}"),
        "mappings": _get(f"/v1/targets/{target}/maps?residency=true"),
        "processes": _get("/v1/processes"),
        "4 MiB that make no sense": _post("/v1/targets", b"[" * (4 * _MIB - 1)),
    }


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(16 * _MIB // PAGE))
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        requests = _requests(connection.register(target.pid), target.numbers["block"])
        sides = {_QUIET: partial(_probe, connection)}
        for name, request in requests.items():
            sides[name] = partial(_probe_beside, server.path, connection, request)
        yield Prepared(
            sides,
            [
                Comparison("longest", "ms", name, _QUIET, at_most=_AIM_MS, result="figure")
                for name in requests
            ],
        )


CASE = Case(
    "loop-held",
    f"the longest that GET /livez waits while {_CLIENTS} clients put the largest request of a "
    "kind, each on a new connection each time",
    _prepare,
    rounds=3,
)
