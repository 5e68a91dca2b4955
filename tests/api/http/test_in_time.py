"""A request whose time is over is not begun."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from support.sample import Sample
from support.waiting import until
from support.wire import Served, parse, receive_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LATE = {"Farpeek-Not-After": "1"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("service")
    with Served(folder, "--listen", "http://127.0.0.1:0") as made:
        yield made


def soon(seconds: float) -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(seconds * 1e9)


def test_what_has_come_too_late_is_not_done(service: Served) -> None:
    with Sample() as process:
        body = {"pid": process.pid}
        reply = service.request("POST", "/v1/targets", body, LATE)
        assert (reply.status, reply.slug) == (408, "too-late")
        assert service.request("GET", "/v1/targets").json["targets"] == []
        in_time = {"Farpeek-Not-After": str(soon(3600))}
        assert service.request("POST", "/v1/targets", body, in_time).status == 201


def test_a_body_that_comes_too_late_is_not_looked_at(service: Served) -> None:
    not_after = soon(2)
    head = (
        f"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Farpeek-Not-After: {not_after}\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
    )
    with service.connect() as sock:
        sock.sendall(head.encode())
        until(lambda: soon(0) > not_after, "its time is over")
        sock.sendall(b'{"pid":1}')
        assert parse(receive_all(sock)).slug == "too-late"


@pytest.mark.parametrize("wrong", ["", "-1", "1.5", "soon", "1" * 20])
def test_what_is_no_time_is_told_of(service: Served, wrong: str) -> None:
    reply = service.request("GET", "/v1/info", headers={"Farpeek-Not-After": wrong})
    assert (reply.status, reply.slug) == (400, "malformed")
    assert "CLOCK_BOOTTIME" in reply.json["detail"]


def test_probes_have_no_time(service: Served) -> None:
    assert service.request("GET", "/livez", headers=LATE).status == 200
