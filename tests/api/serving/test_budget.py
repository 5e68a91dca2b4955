"""What clients make the service hold is bounded, and who takes nothing harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.http import sse
from support.in_process import in_process
from support.sample import Sample
from support.waiting import until
from support.websocket import WebSocket, frame
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.identity import Event

MIB = 1 << 20
HOLES = 65_536


def peak_mib(service: Served) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def post(path: str, size: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode()


@pytest.fixture
def service(folder: Path) -> Iterator[Served]:
    with Served(folder, "--listen", "http://127.0.0.1:0") as started:
        yield started


@contextlib.contextmanager
def silent(service: Served, count: int, sent: bytes) -> Iterator[list[bytes]]:
    """Have clients that send, see the status of their answer, and take nothing more."""
    with contextlib.ExitStack() as stack:
        statuses: list[bytes] = []
        for _ in range(count):
            sock = stack.enter_context(service.connect())
            # So that what has come does not stay in the kernel.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(sent)
            statuses.append(sock.recv(12)[9:])
        yield statuses


def test_clients_that_take_nothing_leave_room_for_small_reads_and_for_others(
    service: Served,
) -> None:
    token = (service.path.parent / "token").read_text().strip()
    with Sample(16 * MIB) as process:
        target = service.register(process.pid)
        body = json.dumps({"addresses": [process.address], "lengths": 16 * MIB}).encode()
        path = f"/v1/targets/{target}/readv"
        with silent(service, 16, post(path, len(body)) + body) as statuses:
            assert statuses.count(b"200") >= 4
            assert statuses.count(b"429") >= 8, "no client holds more than half"
            for _ in range(100):
                assert service.read(target, process.address, 8).status == 200
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            other = service.request_tcp("POST", path, headers, body=body)
            assert other.status == 200


def test_gaps_are_in_the_budget(service: Served) -> None:
    """A request of 128 KiB holds some 30 MiB: 64 of them made 1 GB."""
    with Sample() as process:
        target = service.register(process.pid)
        wanted = {"addresses": [1] * HOLES, "lengths": 1, "encoding": "none"}
        body = json.dumps(wanted, separators=(",", ":")).encode()
        sent = post(f"/v1/targets/{target}/readv", len(body)) + body
        with silent(service, 32, sent) as statuses:
            assert set(statuses) == {b"200", b"429"}
            assert service.read(target, process.address, 8).status == 200
        assert peak_mib(service) < 350


def test_bodies_are_in_the_budget(service: Served) -> None:
    with contextlib.ExitStack() as stack:
        refused = 0
        for _ in range(60):
            sock = stack.enter_context(service.connect())
            sock.sendall(post("/v1/targets", 4 * MIB))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(b" " * (4 * MIB - 1))
            sock.setblocking(False)  # noqa: FBT003 - its own name for it
            with contextlib.suppress(BlockingIOError):
                refused += sock.recv(12)[9:] == b"429"
        assert refused >= 20
        assert service.request("GET", "/v1/info").status == 200
    assert peak_mib(service) < 300


def test_messages_of_streams_are_in_the_budget(folder: Path) -> None:
    flags = ["--max-inflight-bytes", str(8 * MIB), "--max-request-bytes", str(MIB)]
    with Served(folder, *flags) as service, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(WebSocket(service.connect())) for _ in range(3)]
        for ws in sockets[:2]:  # 2 MiB each, of the 4 that one client may hold
            ws.sock.sendall(frame(b" " * (2 * MIB - 1000))[:-1])
        until(lambda: service.request("GET", "/v1/info").json["held_bytes"] > 3 * MIB, "they came")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sockets[2].sock.sendall(frame(b" " * (2 * MIB))[:-1])
        assert sockets[2].close_reason() == (1013, "too many bytes are held: try again")
        # The others go on.
        sockets[0].end()
        sockets[1].end()
        until(lambda: service.request("GET", "/v1/info").json["held_bytes"] == 0, "all is back")


def test_labels_are_some_kilobytes_in_all(service: Served) -> None:
    with Sample() as process:
        labels = {f"{number}": "x" * 256 for number in range(16)}
        body = {"pid": process.pid, "labels": labels}
        reply = service.request("POST", "/v1/targets", body)
        assert (reply.status, reply.slug) == (422, "invalid")
        assert "4096 bytes" in reply.json["detail"]
        del labels["15"]
        assert service.request("POST", "/v1/targets", body).status == 201


async def test_an_event_is_rendered_once_for_all_who_follow(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []
    write = sse.text_of

    def counted(event: Event, client: str) -> bytes:
        rendered.append(event.number)
        return write(event, client)

    monkeypatch.setattr(sse, "text_of", counted)
    with Sample() as process:
        async with in_process(folder) as (path, service):
            streams = [await asyncio.open_unix_connection(path) for _ in range(5)]
            for reader, writer in streams:
                writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await reader.readuntil(b"events follow\n\n")
            snapshot, _ = await service.register(process.pid)
            service.release(snapshot.id)
            for reader, writer in streams:
                await reader.readuntil(b"event: released")
                writer.close()
    assert len(rendered) == len(set(rendered)) == 2
