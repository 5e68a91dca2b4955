"""The stream: how it is opened, and what is wrong with what comes on it."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.stream.message_timer import FrameTracker
from support.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WebSocket,
    frame,
    handshake,
    read,
    slug,
)
from support.wire import Served, parse, receive_all

if TYPE_CHECKING:
    from pathlib import Path

    from support.sample import Sample


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


def test_a_message_in_fragments_with_a_ping_between_them_is_one(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    message = json.dumps(read(1, target, sample.address)).encode()
    ws.sock.sendall(
        frame(message[:10], TEXT, fin=False) + frame(b"there?", PING) + frame(message[10:], 0)
    )
    assert ws.receive() == (PONG, b"there?")
    assert ws.next()[1] == sample.bytes(0, 8)


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
