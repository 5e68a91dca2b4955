"""Frames as they go out: those that aiohttp would write, and none behind the end."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import WSMsgType
from aiohttp._websocket.writer import WebSocketWriter

from farpeek_api.stream.frame_writer import FrameWriter


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_over = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.written += b"".join(pieces)

    def is_closing(self) -> bool:
        return self.is_over


class Client:
    """Stands for the connection, and for its WebSocket."""

    client = "profiler"
    writing_paused = False
    closed = False

    def __init__(self) -> None:
        self.transport = Wire()


class Held:
    """A lease that counts who lets go."""

    times = 0

    def let_go(self) -> None:
        self.times += 1


def writer(client: Client) -> FrameWriter:
    of: Any = client
    return FrameWriter(of, of, lambda: None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
async def test_a_frame_goes_out_as_the_library_would_write_it(size: int) -> None:
    client, library = Client(), Wire()
    frame = bytes(range(256)) * (size // 256 + 1)
    writer(client).send(frame[:size])
    protocol: Any = None
    transport: Any = library
    await WebSocketWriter(protocol, transport).send_frame(frame[:size], WSMsgType.BINARY)
    assert client.transport.written == library.written


@pytest.mark.parametrize("end", ["closed", "closing"])
def test_nothing_is_written_behind_the_end_and_all_is_given_back(end: str) -> None:
    client, lease = Client(), Held()
    frames = writer(client)
    held: Any = lease
    frames.send(b"first", held)
    if end == "closed":
        client.closed = True
    else:
        client.transport.is_over = True
    before = client.transport.written
    frames.send(b"second", held)
    frames.send(b"third", held)
    assert client.transport.written == before
    assert lease.times == 3
