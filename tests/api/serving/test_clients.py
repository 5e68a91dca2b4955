"""Clients that are slow, silent, rude or gone harm nobody else, and leave nothing in the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
from pathlib import Path

import pytest

from farpeek.memory import MemoryService
from farpeek_api.http import sse
from farpeek_api.serving import connection
from support.in_process import in_process
from support.sample import Sample
from support.waiting import aio_until
from support.wire import Served, big_read, parse, readv_request, receive_all

SIZE = (8 << 20) * 4 // 3
GOOD = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: local", GOOD],
    ids=["silent", "in the request line", "in a header", "after a request"],
)
async def test_a_client_that_says_no_more_is_let_go(folder: Path, sent: bytes) -> None:
    async with in_process(folder, idle_timeout=0.3) as (path, _):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(sent)
        async with asyncio.timeout(60):
            received = await reader.read()
        assert received.startswith(b"HTTP/1.1 200" if sent == GOOD else b"")
        assert bool(received) == (sent == GOOD)
        writer.close()


async def test_a_silent_stream_of_events_is_kept_open_by_comments(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "COMMENT_S", 0.05)
    async with in_process(folder) as (path, _):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(60):
            for _ in range(3):
                await reader.readuntil(b": still here\n\n")
        writer.close()


async def test_a_stream_of_one_target_is_kept_open_while_others_are_busy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "COMMENT_S", 0.3)
    over = asyncio.Event()

    async def be_busy(service: MemoryService, pid: int) -> None:
        while not over.is_set():
            snapshot, _ = await service.register(pid)
            service.release(snapshot.id)

    with Sample() as process:
        async with in_process(folder) as (path, service):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET /v1/events?target=1-1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            busy = asyncio.create_task(be_busy(service, process.pid))
            try:
                async with asyncio.timeout(60):
                    for _ in range(3):
                        await reader.readuntil(b": still here\n\n")
            finally:
                over.set()
                await busy
            writer.close()


async def test_what_goes_wrong_inside_is_internal_and_logged_without_the_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("the cause")

    monkeypatch.setattr(MemoryService, "numbered_targets", broken)
    async with in_process(folder) as (path, _):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(
            b"GET /v1/targets HTTP/1.1\r\nHost: localhost\r\nX-Token: Bearer SECRET\r\n"
            b"Connection: close\r\n\r\n"
        )
        reply = parse(await reader.read())
        writer.close()
    assert (reply.status, reply.slug) == (500, "internal")
    assert b"the cause" not in reply.body
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "the cause" in str(record.exc_info[1])
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer SECRET\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nAuthorization\x00: Bearer SECRET\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nSECRET\r\n\r\n",
        b"GET /livez?SECRET HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /livez SECRET HTTP/1.1\r\nHost: a\r\n\r\n",
        b"SECRET\r\n\r\n",
        b"\x16\x03\x01SECRET\r\n\r\n",
        b"GET /SECRET" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: SECRET" + b"x" * 9000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X: SECRET\r\n" * 200 + b"\r\n",
        b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: SECRET\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: SECRET\r\n\r\n",
    ],
)
def test_what_is_no_http_is_malformed_and_is_not_repeated(served: Served, sent: bytes) -> None:
    before = served.log
    reply = parse(served.exchange(sent))
    assert (reply.status, reply.slug) == (400, "malformed")
    assert b"SECRET" not in reply.body
    assert served.log == before


def test_an_unknown_expectation_is_a_problem(served: Served) -> None:
    sent = (
        b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\nExpect: SECRET\r\nConnection: close\r\n\r\n"
    )
    reply = parse(served.exchange(sent))
    assert (reply.status, reply.slug) == (417, "unsupported-expectation")
    assert b"SECRET" not in reply.body


def test_a_body_over_the_limit_is_not_asked_for(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(
            b"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
        )
        reply = parse(receive_all(sock))
    assert (reply.status, reply.slug) == (413, "too-large")
    assert "--max-body-bytes" in reply.json["detail"]


def test_a_body_is_asked_for_only_after_the_door(served: Served) -> None:
    rest = b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"
    with served.connect() as sock:
        sock.sendall(b"POST /v1/targets HTTP/1.1\r\nHost: evil.example\r\n" + rest)
        assert sock.recv(65536).startswith(b"HTTP/1.1 403")
    with served.connect() as sock:
        sock.sendall(b"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\n" + rest)
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 Continue")


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    paths = ("/livez", "/readyz", "/nowhere", "/livez") * 25
    requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n" for path in paths]
    requests[-1] += "Connection: close\r\n"
    received = served.exchange("".join(each + "\r\n" for each in requests).encode())
    statuses = re.findall(r"HTTP/1\.1 (\d+)", received.decode())
    wanted = {"/livez": "200", "/readyz": "200", "/nowhere": "404"}
    assert statuses == [wanted[path] for path in paths]


def test_a_refusal_is_answered_though_the_short_body_comes_behind_it(served: Served) -> None:
    head = (
        b"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
        b"Content-Length: 20\r\n\r\n"
    )
    with served.connect() as sock:
        for _ in range(2):  # and the connection is kept
            sock.sendall(head)
            received = sock.recv(4096)
            assert received.startswith(b"HTTP/1.1 415 ")
            sock.sendall(bytes(20))


def test_half_a_connection_closed_still_gets_its_answer(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(GOOD)
        received = sock.recv(65536)
        sock.shutdown(socket.SHUT_WR)
        assert received.startswith(b"HTTP/1.1 200")
        assert receive_all(sock) == b""


def test_a_client_that_says_no_more_is_answered(
    served: Served, target: str, sample: Sample
) -> None:
    for sent, answers in (
        (GOOD, 1),
        (GOOD * 20, 20),
        (readv_request(target, {"addresses": [sample.address], "lengths": 8}), 1),
    ):
        with served.connect() as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            received = receive_all(sock)
        assert received.count(b"HTTP/1.1 200 OK") == answers
    with served.connect() as sock:  # and a long one to its end
        sock.sendall(big_read(target, sample))
        sock.shutdown(socket.SHUT_WR)
        assert len(receive_all(sock)) > SIZE


async def test_a_client_that_says_no_more_and_leaves_is_forgotten(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.05)
    async with in_process(folder) as (path, _):
        before = len(asyncio.all_tasks())
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        writer.write_eof()
        await reader.readuntil(b": events follow")
        assert len(asyncio.all_tasks()) > before
        writer.close()
        await aio_until(lambda: len(asyncio.all_tasks()) <= before, "the tasks have ended")


def test_a_body_that_nobody_wants_is_thrown_away(served: Served) -> None:
    head = b"POST /v1/info HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    before = cpu_s(served)
    with served.connect() as sock:
        sock.sendall(head)
        received = sock.recv(1 << 16)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(b"1\r\nx\r\n" * 2_000_000)
    assert received.startswith(b"HTTP/1.1 403")
    assert b"Connection: close" in received
    # Parsed, they took 0.26 s.
    assert cpu_s(served) - before < 0.15


def cpu_s(service: Served) -> float:
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
