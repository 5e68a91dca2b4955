"""The stream: clients that are slow, rude or gone, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import threading
import time
from typing import TYPE_CHECKING

import pytest

from farpeek_api.stream import streams
from support.in_process import in_process
from support.reading import memory_of
from support.sample import Sample
from support.waiting import aio_until, until
from support.websocket import (
    CLOSE,
    PING,
    PONG,
    WebSocket,
    frame,
    handshake,
    read,
    slug,
)
from support.wire import Served, receive_all

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from support.targets import Target
PAGE = mmap.PAGESIZE
MIB = 1 << 20


def test_a_flood_is_answered_in_bounded_memory(served: Served, target: str, sample: Sample) -> None:
    count, at_once = 100_000, 1000
    messages = [
        b"".join(
            frame(json.dumps(read(first + number, target, sample.address, 64)).encode())
            for number in range(at_once)
        )
        for first in range(0, count, at_once)
    ]
    answered = 0
    peak = before = memory_of(served.process.pid)
    with WebSocket(served.connect()) as ws:
        # One by one: the timeout of a socket is that of a whole sendall.
        sending = threading.Thread(target=lambda: [ws.sock.sendall(each) for each in messages])
        sending.start()
        for number in range(count):
            shown, _ = ws.next()
            answered += "target" in shown
            if number % 1000 == 0:
                peak = max(peak, memory_of(served.process.pid))
        sending.join()
    assert answered == count
    assert peak - before < 16 * MIB


def test_a_client_that_never_reads_is_held_back_then_closed_with_a_reason(
    folder: Path,
) -> None:
    flags = ("--deadline", "0.5")
    with Sample(1 << 20) as process, Served(folder, *flags) as served:
        target = served.register(process.pid)
        before = memory_of(served.process.pid)
        message = json.dumps(read(1, target, process.address, 1 << 16)).encode()
        with WebSocket(served.connect()) as ws:
            ws.sock.settimeout(0.05)
            give_up = time.monotonic() + 20
            number = 0
            while "took nothing of its answer" not in served.log:
                assert time.monotonic() < give_up
                number += 1
                with contextlib.suppress(TimeoutError):
                    ws.sock.sendall(frame(message.replace(b'"id": 1', b'"id": %d' % number)))
                assert memory_of(served.process.pid) - before < 32 * MIB
                # Nobody else feels it.
                assert served.read(target, process.address, 8).status == 200
            ws.sock.settimeout(60)
            code, reason = ws.close_reason()
        assert (code, reason) == (1008, "the answers were not taken in time")
        assert number < 2000
        until(lambda: served.request("GET", "/v1/info").json["threads"]["busy"] == 0, "all is over")


def test_a_client_that_only_pings_and_answers_pings_stays(folder: Path, sample: Sample) -> None:
    with Served(folder, "--deadline", "0.2") as served, WebSocket(served.connect()) as ws:
        target = served.register(sample.pid)
        end = time.monotonic() + 1.5  # several deadlines
        while time.monotonic() < end:
            for payload in (b"", b"x", bytes(125)):
                ws.sock.sendall(frame(payload, PING))
                assert ws.receive() == (PONG, payload)
                ws.sock.sendall(frame(payload, PONG))
            time.sleep(0.05)
        ws.sock.sendall(frame(b"x" * 3, PING))
        assert ws.receive() == (PONG, b"xxx")
        assert ws.ask(read(1, target, sample.address, 8))[0]["complete"]


def test_a_client_that_pings_and_never_reads_is_held_back_too(folder: Path) -> None:
    with Served(folder, "--deadline", "0.5") as served:
        before = memory_of(served.process.pid)
        pings = frame(bytes(125), PING) * 1000
        with WebSocket(served.connect()) as ws:
            ws.sock.settimeout(0.05)
            give_up = time.monotonic() + 20
            while "took nothing of its answer" not in served.log:
                assert time.monotonic() < give_up
                with contextlib.suppress(TimeoutError):
                    ws.sock.send(pings)
                assert memory_of(served.process.pid) - before < 8 * MIB


def test_a_client_that_takes_nothing_of_its_last_answers_either_is_cut_off(folder: Path) -> None:
    with Sample(8 << 20) as process, Served(folder, "--deadline", "0.3") as served:
        target = served.register(process.pid)
        with WebSocket(served.connect()) as ws:
            ws.send(read(1, target, process.address, 8 << 20))
            until(lambda: "took nothing of its answer" in served.log, "it is told")
            until(lambda: ends_at_once(ws.sock), "it is cut off")


def ends_at_once(sock: socket.socket) -> bool:
    """Whether the other side has hung up, with nothing taken."""
    try:
        sock.send(frame(b"", PING))
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_bytes_of_clients_that_left_are_given_back(folder: Path) -> None:
    flags = ["--max-request-bytes", "4194304", "--max-inflight-bytes", "4194304"]
    with Sample(4 << 20) as process, Served(folder, *flags) as served:
        target = served.register(process.pid)
        with WebSocket(served.connect()) as ws:
            ws.send(read(1, target, process.address, 4 << 20))
            ws.sock.recv(1)
            busy = served.read(target, process.address, 1)
            assert (busy.status, busy.slug) == (429, "too-busy")
        until(
            lambda: served.read(target, process.address, 4 << 20).status == 200,
            "the bytes are back",
        )


def test_reads_of_a_client_that_left_keep_their_slots_until_they_return(
    folder: Path, hung: Target
) -> None:
    flags = ("--target-threads", "2", "--deadline", "0.5")
    with Served(folder, *flags) as served:
        hanging = served.register(hung.pid)
        with WebSocket(served.connect()) as ws:
            for number in range(2):
                ws.send(read(number, hanging, hung["missing"] + number * PAGE))
            hung.command("faults 2")
        assert served.read(hanging, hung["missing"], 8).status in (503, 504)
        hung.command("resolve-all")
        until(lambda: served.read(hanging, hung["missing"], 8).status == 200, "slots are free")
        assert "Traceback" not in served.log


def test_a_client_that_closes_is_answered_with_a_close(ws: WebSocket) -> None:
    ws.sock.sendall(frame(b"\x03\xe8bye", CLOSE))
    assert ws.close_reason()[0] == 1000
    assert receive_all(ws.sock) == b""


async def test_silence_is_broken_by_pings_and_a_dead_client_is_let_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.4)
    monkeypatch.setattr(streams, "_HELD_BACK", 0)
    async with in_process(folder) as (path, _):
        before = len(asyncio.all_tasks())
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(60):
            for _ in range(2):
                assert await reader.readexactly(2) == bytes([0x80 | PING, 0])
                writer.write(frame(b"", PONG))
            assert await reader.readexactly(2) == bytes([0x80 | PING, 0])
            assert await reader.read() == b""  # it was not answered
        await aio_until(lambda: len(asyncio.all_tasks()) <= before, "the tasks have ended")
        writer.close()


async def test_who_leaves_a_stream_is_forgotten(folder: Path) -> None:
    with Sample() as process:
        async with in_process(folder) as (path, service):
            snapshot, _ = await service.register(process.pid)
            before = len(asyncio.all_tasks())
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(handshake())
            wanted = {"target": snapshot.id, "addresses": [process.address], "lengths": 8, "hz": 99}
            writer.write(frame(json.dumps({"id": 1, "subscribe": wanted}).encode()))
            await reader.readuntil(b'"tick":2')
            writer.close()
            await aio_until(lambda: len(asyncio.all_tasks()) <= before, "the tasks have ended")


# The end of the service.


@pytest.mark.parametrize("answers", [True, False], ids=["client closes too", "client is silent"])
def test_a_stream_ends_with_the_service(folder: Path, *, answers: bool) -> None:
    with Sample() as process, Served(folder) as served:
        target = served.register(process.pid)
        with WebSocket(served.connect()) as ws:
            wanted = {"target": target, "addresses": [process.address], "lengths": 8, "hz": 0.001}
            ws.ask({"id": 1, "subscribe": wanted})
            ws.next()
            began = time.monotonic()
            served.process.terminate()
            assert ws.next()[0] == {"id": 1, "ended": "shutting-down"}
            assert ws.close_reason() == (1001, "the service is stopping")
            if answers:
                ws.sock.sendall(frame(b"\x03\xe9", CLOSE))
            assert served.process.wait(60) == 0
            assert time.monotonic() - began < 5
        assert "Traceback" not in served.log


def test_what_hangs_on_a_stream_does_not_keep_the_service_from_ending(
    folder: Path, hung: Target
) -> None:
    with Served(folder) as served:
        hanging = served.register(hung.pid)
        with WebSocket(served.connect()) as ws:
            ws.send(read(1, hanging, hung["missing"]))
            hung.command("faults 1")
            began = time.monotonic()
            assert served.stop() == 0
            assert time.monotonic() - began < 7
            assert slug(ws.next()[0]) == "shutting-down"
