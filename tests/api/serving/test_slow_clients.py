"""Clients that take their answers slowly, leave in the middle, or are many."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from pathlib import Path

import pytest

from farpeek_api.serving.listeners import BACKLOG
from support.in_process import in_process
from support.sample import Sample
from support.waiting import aio_until, until
from support.wire import Events, Served, UnixConnection, big_read, readv_request, receive_all

SIZE = (8 << 20) * 4 // 3
GOOD = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_a_client_that_sends_headers_slowly_is_let_go(
    folder: Path,
) -> None:
    async with in_process(folder, idle_timeout=0.3) as (path, _):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        async with asyncio.timeout(60):
            while not (reader.at_eof() or writer.transport.is_closing()):
                writer.write(b"x")
                await asyncio.sleep(0.02)
                with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
                    async with asyncio.timeout(0.001):
                        assert not await reader.read(1)
        writer.close()


async def test_who_waits_for_an_exit_and_leaves_is_forgotten(folder: Path) -> None:
    with Sample() as process:
        async with in_process(folder) as (path, service):
            snapshot, _ = await service.register(process.pid)
            before = len(asyncio.all_tasks())
            _, writer = await asyncio.open_unix_connection(path)
            wait = f"GET /v1/targets/{snapshot.id}?wait=exit HTTP/1.1\r\nHost: localhost\r\n\r\n"
            writer.write(wait.encode())
            await aio_until(lambda: len(asyncio.all_tasks()) >= before + 3, "it is waited for")
            writer.close()
            await aio_until(lambda: len(asyncio.all_tasks()) <= before, "the tasks have ended")


async def test_who_follows_events_and_leaves_is_forgotten(folder: Path) -> None:
    async with in_process(folder) as (path, _):
        before = len(asyncio.all_tasks())
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b": events follow")
        writer.close()
        await aio_until(lambda: len(asyncio.all_tasks()) <= before, "the tasks have ended")


def test_a_client_that_does_not_take_its_answer_is_cut_off(
    served: Served, target: str, sample: Sample
) -> None:
    text = "took nothing of its answer"
    before = served.log.count(text)
    with served.connect() as sock:
        sock.sendall(big_read(target, sample))
        sock.recv(1)
        until(lambda: served.log.count(text) > before, "the client is cut off")
        received = receive_all(sock)
    assert len(received) < 4 << 20
    assert served.request("GET", "/readyz").status == 200
    assert "Traceback" not in served.log


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(
    served: Served, target: str, sample: Sample
) -> None:
    with served.connect() as sock:
        sock.sendall(big_read(target, sample))
        received = b""
        began = time.monotonic()
        while len(received) < SIZE:
            received += sock.recv(1 << 17)
            # Slower in all than the deadline of a second, but never for one piece.
            pause = 1.5 * len(received) / SIZE - (time.monotonic() - began)
            time.sleep(max(0.0, pause))
    assert time.monotonic() - began > 1.2


def test_a_client_that_pipelines_and_never_reads_is_cut_off(folder: Path) -> None:
    with Served(folder, "--deadline", "0.3") as service, service.connect() as sock:
        sock.settimeout(0)
        give_up = time.monotonic() + 20
        while "took nothing of its answer" not in service.log:
            assert time.monotonic() < give_up
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                sock.send(GOOD * 100)
        assert service.request("GET", "/readyz").status == 200


def test_a_follower_of_events_that_never_reads_is_cut_off(folder: Path) -> None:
    with Served(folder, "--deadline", "0.3") as service, Sample() as process:
        target = service.register(process.pid)
        labels = {str(number): "x" * 256 for number in range(15)}
        body = {"pid": process.pid, "labels": labels}
        with Events(service.path):
            give_up = time.monotonic() + 20
            while "took nothing of its answer" not in service.log:
                assert time.monotonic() < give_up
                service.request("POST", "/v1/targets", body)
                service.request("DELETE", f"/v1/targets/{target}")


def test_a_client_that_leaves_in_the_middle_of_its_answer_is_no_error(
    served: Served, target: str, sample: Sample
) -> None:
    before = served.log
    for _ in range(5):
        with served.connect() as sock:
            sock.sendall(big_read(target, sample))
            sock.recv(1000)
    reply = served.readv(target, addresses=[sample.address], lengths=8)
    assert reply.status == 200
    assert served.log == before


def test_bytes_of_clients_that_left_are_given_back(folder: Path) -> None:
    flags = ["--max-request-bytes", "4194304", "--max-inflight-bytes", "4194304"]
    with Sample(4 << 20) as process, Served(folder, *flags) as service:
        target = service.register(process.pid)
        body = {"addresses": [process.address], "lengths": 4 << 20, "encoding": "hex"}
        with service.connect() as sock:
            sock.sendall(readv_request(target, body))
            sock.recv(1)
            busy = service.readv(target, addresses=[process.address], lengths=1)
            assert (busy.status, busy.slug) == (429, "too-busy")
            assert busy.headers["retry-after"]
        path = f"/v1/targets/{target}/readv"
        until(lambda: service.request("POST", path, body).status == 200, "the bytes are back")


def test_what_was_read_for_clients_that_left_is_not_kept(folder: Path) -> None:
    """Errors hold the frames that they have passed, and those their memory: 16 MiB each."""
    with Sample(16 << 20) as process, Served(folder) as service:
        target = service.register(process.pid)
        body = {"addresses": [process.address], "lengths": 16 << 20}
        for _ in range(30):
            with service.connect() as sock:
                sock.sendall(readv_request(target, body))
                sock.recv(1000)
        until(lambda: resident_mib(service) < 200, "nearly all of it is given back")


def resident_mib(service: Served) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) >> 10


def test_hundreds_may_connect_before_the_service_looks(folder: Path) -> None:
    if int(Path("/proc/sys/net/core/somaxconn").read_text()) < BACKLOG:
        pytest.skip("this machine keeps fewer connections in line")
    with Served(folder) as service, contextlib.ExitStack() as stack:
        service.process.send_signal(signal.SIGSTOP)
        socks = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(500)]
        for sock in socks:
            sock.setblocking(False)  # noqa: FBT003 - its own name for it
            sock.connect(str(service.path))  # BlockingIOError where the line is full
        service.process.send_signal(signal.SIGCONT)
        for sock in socks:
            sock.settimeout(60)
            sock.sendall(GOOD)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_many_connections_are_served_beside_one_that_hangs(served: Served) -> None:
    with served.connect() as hanging:
        hanging.sendall(b"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\nContent-Type: ")
        connections = [UnixConnection(served.path) for _ in range(100)]
        for each in connections:
            each.request("GET", "/livez")
        assert {each.getresponse().status for each in connections} == {200}
        for each in connections:
            each.close()
