"""The stream: many reads in flight on one WebSocket, and clients that are slow, rude or gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpeek_api.stream import streams
from farpeek_api.stream.message_timer import FrameTracker
from support.in_process import in_process
from support.reading import memory_of, proc_mem
from support.sample import Sample
from support.targets import Target, start
from support.waiting import aio_until, until
from support.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WebSocket,
    frame,
    handshake,
)
from support.wire import Served, parse, receive_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = mmap.PAGESIZE
MIB = 1 << 20


@pytest.fixture
def ws(served: Served) -> Iterator[WebSocket]:
    with WebSocket(served.connect()) as opened:
        yield opened


@pytest.fixture
def hung() -> Iterator[Target]:
    with start("uffd", 16) as target:
        yield target


def read(number: int, target: str, address: int, length: int = 8, **more: object) -> dict[str, Any]:
    return {"id": number, "target": target, "addresses": [address], "lengths": length, **more}


def slug(shown: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return str(shown["problem"]["type"]).removeprefix("urn:farpeek:problem:")


def test_an_answer_is_that_of_readv_under_the_requests_id(
    served: Served, target: str, sample: Sample, ws: WebSocket
) -> None:
    end = sample.address + sample.size
    shown, data = ws.ask(read(-7, target, end - 10, 30))
    plain = served.readv(target, addresses=[end - 10], lengths=30).json
    assert data == sample.bytes(sample.size - 10, 10) + bytes(20)
    assert list(shown) == ["id", *(name for name in plain if name != "data")]
    del plain["data"]
    untimed = {"elapsed_us": 0, "began_ns": 0}
    assert {**shown, **untimed} == {"id": -7, **plain, **untimed}


def test_every_member_of_readv_is_one_of_a_message(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    end = sample.address + sample.size
    more = {"mode": "nowait", "on_gap": "stop", "timeout_s": 0.5, "prefetch": True}
    shown, data = ws.ask(read(2**64 - 1, target, end - 10, 30, **more))
    assert (shown["id"], shown["read"]) == (2**64 - 1, 10)
    assert data == sample.bytes(sample.size - 10, 10)
    assert "nowait" in shown["backend"]
    assert "prefetch" in shown
    for encoding, expected in (("hex", sample.bytes(0, 8)), ("none", b"")):
        assert ws.ask(read(1, target, sample.address, encoding=encoding))[1] == expected


def test_many_requests_in_flight_are_all_answered_once(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    count = 2000
    for number in range(count):
        ws.send(read(number, target, sample.address + number))
    answers = {shown["id"]: data for shown, data in (ws.next() for _ in range(count))}
    assert answers == {number: sample.bytes(number, 8) for number in range(count)}


def test_a_read_that_hangs_holds_up_no_other(
    served: Served, target: str, sample: Sample, hung: Target, ws: WebSocket
) -> None:
    hanging = served.register(hung.pid)
    for number in range(8):
        ws.send(read(number, hanging, hung["missing"] + number * PAGE))
    for number in range(100, 200):
        shown, data = ws.ask(read(number, target, sample.address))
        assert (shown["id"], data) == (number, sample.bytes(0, 8))
    late = [ws.next()[0] for _ in range(8)]
    assert sorted(each["id"] for each in late) == list(range(8))
    assert {slug(each) for each in late} <= {"deadline", "target-stuck"}
    assert {each["problem"]["target"] for each in late} == {hanging}


def test_the_deadline_of_a_request_is_its_own(served: Served, hung: Target, ws: WebSocket) -> None:
    hanging = served.register(hung.pid)
    ws.send(read(1, hanging, hung["missing"], timeout_s=20))
    ws.send(read(2, hanging, hung["missing"] + PAGE, timeout_s=0.05))
    assert [ws.next()[0]["id"] for _ in range(2)] == [2, 1]


def test_an_id_is_free_again_once_it_is_answered(
    served: Served, target: str, sample: Sample, hung: Target, ws: WebSocket
) -> None:
    ws.send(read(1, served.register(hung.pid), hung["missing"]))
    shown, _ = ws.ask(read(1, target, sample.address))
    assert (slug(shown), shown["problem"]["errors"][0]["place"]) == ("invalid", "id")
    assert slug(ws.next()[0]) == "deadline"
    assert ws.ask(read(1, target, sample.address))[1] == sample.bytes(0, 8)


def of(**members: object) -> bytes:
    whole: dict[str, object] = {"id": 1, "target": "x", "addresses": [1], "lengths": 1, **members}
    return json.dumps({name: each for name, each in whole.items() if each is not ...}).encode()


def sampling(**members: object) -> bytes:
    whole: dict[str, object] = {"target": "x", "addresses": [1], "lengths": 1, "hz": 1, **members}
    wanted = {name: each for name, each in whole.items() if each is not ...}
    return json.dumps({"id": 1, "subscribe": wanted}).encode()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"", (None, "malformed", None)),
        (b"{", (None, "malformed", None)),
        (b"\xff\xfe", (None, "malformed", None)),
        (b"[" * 100_000, (None, "malformed", None)),
        (b"[]", (None, "invalid", None)),
        (b"7", (None, "invalid", None)),
        (b"{}", (None, "invalid", None)),
        (of(id=...), (None, "invalid", "id")),
        (of(id="1"), (None, "invalid", "id")),
        (of(id=True), (None, "invalid", "id")),
        (of(id=1.5), (None, "invalid", "id")),
        (of(id=2**64), (None, "invalid", "id")),
        (of(target=...), (1, "invalid", "target")),
        (of(target=7), (1, "invalid", "target")),
        (of(target="x" * 129), (1, "invalid", "target")),
        (of(target="x"), (1, "no-such-target", None)),
        (of(addresses=...), (1, "invalid", "addresses")),
        (of(addresses=["1"]), (1, "invalid", "addresses[0]")),
        (of(lengths=[1, -1], addresses=[1, 1]), (1, "invalid", "lengths[1]")),
        (of(lengths=[1, 1]), (1, "invalid", "lengths")),
        (of(addresses=[2**64 - 1], lengths=2), (1, "invalid", "lengths[0]")),
        (of(mode="soon"), (1, "invalid", "mode")),
        (of(timeout_s=0), (1, "invalid", "timeout_s")),
        (of(colour="red"), (1, "invalid", "colour")),
        (of(hz=3), (1, "invalid", "hz")),
        (of(prefetch=True), (1, "invalid", None)),
        (of(addresses=[1] * 2001), (1, "too-large", None)),
        (of(lengths=8388609), (1, "too-large", None)),
        (sampling(hz=...), (1, "invalid", "subscribe.hz")),
        (sampling(hz=0), (1, "invalid", "subscribe.hz")),
        (sampling(hz=1000.5), (1, "invalid", "subscribe.hz")),
        (sampling(hz="20"), (1, "invalid", "subscribe.hz")),
        (sampling(hz=True), (1, "invalid", "subscribe.hz")),
        (sampling(on_gap="stop"), (1, "invalid", "subscribe.on_gap")),
        (sampling(changed_only=1), (1, "invalid", "subscribe.changed_only")),
        (sampling(addresses=[]), (1, "invalid", "subscribe.addresses")),
        (sampling(), (1, "no-such-target", None)),
        (sampling(lengths=8388609, addresses=[1]), (1, "no-such-target", None)),
        (b'{"id": 1, "subscribe": 7}', (1, "invalid", "subscribe")),
        (b'{"id": 1, "subscribe": {}, "target": "x"}', (1, "invalid", "subscribe.hz")),
        (b'{"unsubscribe": 9}', (9, "invalid", "unsubscribe")),
        (b'{"unsubscribe": "9"}', (None, "invalid", "unsubscribe")),
        (b'{"unsubscribe": 9, "id": 3}', (3, "invalid", "id")),
    ],
)
def test_what_is_wrong_with_a_message_is_answered_and_the_stream_goes_on(
    ws: WebSocket,
    target: str,
    sample: Sample,
    message: bytes,
    told: tuple[int | None, str, str | None],
) -> None:
    number, name, place = told
    shown, data = ws.ask(message)
    assert (list(shown), shown["id"], data) == (["id", "of", "problem"], number, b"")
    kinds = {kind for kind in ("subscribe", "unsubscribe") if f'"{kind}"'.encode() in message}
    assert shown["of"] in (kinds or {"read"})
    assert slug(shown) == name
    if place is not None:
        assert place in [each["place"] for each in shown["problem"]["errors"]]
    assert ws.ask(read(5, target, sample.address))[1] == sample.bytes(0, 8)


def test_binary_messages_are_answered_with_a_problem(
    ws: WebSocket, target: str, sample: Sample
) -> None:
    ws.sock.sendall(frame(b"{}", BINARY))
    shown, _ = ws.next()
    assert (shown["id"], slug(shown)) == (None, "malformed")
    assert ws.ask(read(5, target, sample.address))[1] == sample.bytes(0, 8)


def test_a_target_that_has_exited_is_told_in_the_problem(served: Served, ws: WebSocket) -> None:
    with Sample() as process:
        registered = served.register(process.pid)
        process.exit(7)
        until(
            lambda: served.request("GET", f"/v1/targets/{registered}").json["state"] != "running",
            "the exit is known",
        )
        shown, _ = ws.ask(read(1, registered, process.address))
    assert slug(shown) == "target-exited"
    assert shown["problem"]["target"]["exit"]["code"] == 7


def test_a_message_in_fragments_with_a_ping_between_them_is_one(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    message = json.dumps(read(1, target, sample.address)).encode()
    ws.sock.sendall(
        frame(message[:10], TEXT, fin=False) + frame(b"there?", PING) + frame(message[10:], 0)
    )
    assert ws.receive() == (PONG, b"there?")
    assert ws.next()[1] == sample.bytes(0, 8)


@pytest.mark.parametrize("length", [65_000, 70_000, 300_000, 8 << 20])
def test_big_answers_are_whole(target: str, sample: Sample, ws: WebSocket, length: int) -> None:
    shown, data = ws.ask(read(1, target, sample.address + 1, length))
    assert (shown["complete"], data == sample.bytes(1, length)) == (True, True)


def test_thousands_of_gaps_are_all_told(target: str, ws: WebSocket) -> None:
    addresses = [(1 << 63) + 4096 * number for number in range(2000)]
    message = {"id": 1, "target": target, "addresses": addresses, "lengths": 4}
    shown, data = ws.ask(message)
    assert [int(gap["address"], 16) for gap in shown.get("gaps", shown)] == addresses
    assert data == bytes(8000)


@settings(max_examples=40)
@given(
    reads=st.lists(
        st.lists(st.tuples(st.integers(0, 3 << 20), st.integers(0, 5000)), min_size=1, max_size=20),
        min_size=1,
        max_size=30,
    )
)
def test_the_bytes_are_those_of_proc_mem(
    served: Served, target: str, sample: Sample, reads: list[list[tuple[int, int]]]
) -> None:
    with WebSocket(served.connect()) as ws:
        for number, pairs in enumerate(reads):
            addresses = [sample.address + offset for offset, _ in pairs]
            lengths = [length for _, length in pairs]
            ws.send({"id": number, "target": target, "addresses": addresses, "lengths": lengths})
        answers = {shown["id"]: data for shown, data in (ws.next() for _ in reads)}
    for number, pairs in enumerate(reads):
        expected = (proc_mem(sample.pid, sample.address + at, length) for at, length in pairs)
        assert answers[number] == b"".join(each or b"" for each in expected)


# Who gets in.


@pytest.mark.parametrize(
    ("changed", "status", "name"),
    [
        ({"Upgrade": None}, 426, "upgrade-required"),
        ({"Upgrade": "h2c"}, 426, "upgrade-required"),
        ({"Connection": "close"}, 400, "malformed"),
        ({"Sec_WebSocket_Version": "12", "Connection": "Upgrade, close"}, 400, "malformed"),
        ({"Sec_WebSocket_Key": None}, 400, "malformed"),
        ({"Sec_WebSocket_Key": "SECRET"}, 400, "malformed"),
        ({"Host": "evil.example"}, 403, "forbidden"),
        ({"Origin": "http://evil.example"}, 403, "forbidden"),
    ],
)
def test_what_is_no_proper_upgrade_is_a_problem(
    served: Served, changed: dict[str, str | None], status: int, name: str
) -> None:
    before = served.log
    with served.connect() as sock:
        sock.sendall(handshake(**changed))
        reply = parse(sock.recv(65536))
    assert (reply.status, reply.slug) == (status, name)
    assert b"SECRET" not in reply.body
    if status == 426:
        assert reply.headers["upgrade"] == "websocket"
    assert served.log == before


def test_the_upgrade_takes_no_parameters(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(handshake().replace(b"/v1/stream", b"/v1/stream?token=SECRET"))
        reply = parse(sock.recv(65536))
    assert (reply.slug, reply.places) == ("invalid", ["token"])
    assert served.request("HEAD", "/v1/stream").status == 405


def test_over_tcp_a_stream_needs_a_token(served: Served, target: str, sample: Sample) -> None:
    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", served.port), 20)

    host = f"127.0.0.1:{served.port}"
    with connect() as sock:
        sock.sendall(handshake(Host=host))
        assert parse(sock.recv(65536)).slug == "unauthenticated"
    token = (served.path.parent / "token").read_text().strip()
    with connect() as sock:
        sock.sendall(handshake(Host=host, Authorization=f"Bearer {token}"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
        sock.sendall(frame(json.dumps(read(1, target, sample.address)).encode()))
        assert sock.recv(65536).endswith(sample.bytes(0, 8))


def test_a_sub_protocol_is_not_repeated_in_the_log(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(handshake(Sec_WebSocket_Protocol="SECRET"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
    assert "SECRET" not in served.log


# Clients that are slow, rude or gone.


def test_a_message_over_the_limit_closes_the_stream(served: Served, ws: WebSocket) -> None:
    ws.send(b" " * 200_001)
    assert ws.close_reason()[0] == 1009
    assert served.request("GET", "/readyz").status == 200


@pytest.mark.parametrize(
    "sent",
    [b"\x81\x00", frame(b"", 3), frame(b"x", 0), frame(b"\x00\x01", CLOSE), b"\xff" * 50],
    ids=["unmasked", "no opcode", "goes on from nothing", "no status", "all ones"],
)
def test_what_is_no_websocket_ends_the_stream_alone(
    served: Served, ws: WebSocket, sent: bytes
) -> None:
    before = served.log
    ws.sock.sendall(sent)
    ws.sock.shutdown(socket.SHUT_WR)
    receive_all(ws.sock)
    assert served.request("GET", "/readyz").status == 200
    assert served.log == before


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


def test_a_message_that_does_not_arrive_in_time_closes_the_stream(folder: Path) -> None:
    with Served(folder, "--deadline", "0.5") as served, WebSocket(served.connect()) as ws:
        begun = frame(b"{" + b" " * 100_000, fin=False)
        ws.sock.sendall(begun[:50_000])
        # Pings in the middle of it are answered, and do not stop its clock.
        ws.sock.sendall(begun[50_000:] + frame(b"still here", PING))
        assert ws.receive() == (PONG, b"still here")
        assert ws.close_reason() == (1008, "a message did not arrive in time")


def test_a_message_that_begins_behind_a_whole_one_has_a_clock_too(folder: Path) -> None:
    with Served(folder, "--deadline", "0.5") as served, WebSocket(served.connect()) as ws:
        ws.sock.sendall(frame(b"{}") + frame(b"{}")[:3])
        assert slug(ws.next()[0]) == "invalid"
        assert ws.close_reason() == (1008, "a message did not arrive in time")


@given(
    messages=st.lists(
        st.lists(st.integers(0, 70_000), min_size=1, max_size=3), min_size=1, max_size=5
    ),
    pings=st.booleans(),
    sizes=st.lists(st.integers(1, 70_000), min_size=1, max_size=8),
)
def test_frames_are_followed_however_they_are_cut(
    messages: list[list[int]], sizes: list[int], *, pings: bool
) -> None:
    wire, ends = b"", [0]
    for pieces in messages:
        for number, size in enumerate(pieces):
            last = number == len(pieces) - 1
            wire += frame(bytes(size), 0 if number else TEXT, fin=last)
            if pings and not last:
                wire += frame(b"ping", PING)
        ends.append(len(wire))
    tracker, at, turn = FrameTracker(), 0, 0
    while at < len(wire):
        piece = wire[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(piece), turn + 1
        tracker.take(piece)
        assert tracker.is_between == (at in ends)
        assert tracker.messages == sum(end <= at for end in ends) - 1


def test_a_refused_message_is_not_parsed_for_its_number(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    """Its number is found all the same, at either end."""
    many = b'"addresses": [%b0], "lengths": 0' % (b"0, " * 30_000)
    for text in (b'{"id": 7, %b}' % many, b'{%b, "target": "x", "id":7}' % many):
        shown, _ = ws.ask(text)
        assert (shown["id"], slug(shown)) == (7, "too-large")
    assert ws.ask(read(8, target, sample.address))[1] == sample.bytes(0, 8)


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
