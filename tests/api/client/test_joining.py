"""Requests go out in one part, and answers that come early are heard."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import TooLarge
from support.odd_server import answer
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farpeek_api.client import Client, Target
    from support.sample import Sample


def first_part(listener: socket.socket, ask: Callable[[], object], reply: bytes) -> bytes:
    """Return what the first system call receives of what ``ask`` asks; it is answered by that."""
    came: list[bytes] = []

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.settimeout(PATIENCE_S)
            came.append(client.recv(1 << 16))
            client.sendall(answer(200, reply))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ask()
    thread.join(PATIENCE_S)
    return came[0]


def test_head_and_body_of_a_request_arrive_together(
    connect: Callable[..., Client], folder: Path, target_json: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        peek = connect(f"unix:{folder / 's'}")
        came = first_part(listener, lambda: peek.target(4242), target_json)
    assert came.startswith(b"POST /v1/targets HTTP/1.1\r\n")
    assert came.endswith(b'\r\n\r\n{"pid": 4242}')


def test_a_refusal_of_a_body_that_was_not_taken_whole_is_heard(
    peek: Client, seen: Target, sample: Sample
) -> None:
    reads = [(seen.id, [(sample.address, 1)])] * 20_000
    with pytest.raises(TooLarge):
        peek.readv(reads)
    assert seen.read(sample.address, 1) == sample.bytes(0, 1)


def test_large_answers_and_small_ones_come_on_one_connection(seen: Target, sample: Sample) -> None:
    for length in (1, 8 << 20, 3, 1 << 17, 1, 8 << 20, 2):
        assert seen.read(sample.address, length) == sample.bytes(0, length)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_host_path_and_token_are_those_of_the_address(
    connect: Callable[..., Client], target_json: bytes, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        peek = connect(f"http://{host}:{port}/below/", token="abc")  # noqa: S106 - no secret
        head = first_part(listener, lambda: peek.target(4242), target_json).decode().lower()
    assert head.startswith("post /below/v1/targets http/1.1\r\n")
    assert f"\r\nhost: {host}:{port}\r\n" in head
    assert "\r\nauthorization: bearer abc\r\n" in head


def test_no_port_is_refused_before_anything_is_asked(connect: Callable[..., Client]) -> None:
    with pytest.raises(ValueError, match="port"):
        connect("http://127.0.0.1:99999")
