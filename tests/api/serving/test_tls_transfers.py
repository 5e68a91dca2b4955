"""What is long, by HTTPS: it comes as a whole, and clients that take nothing are cut off."""

from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import Client, SearchDone
from support.https import Files, serving, trusting
from support.sample import Sample
from support.waiting import until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from support.wire import Served

MIB = 1 << 20
SIZE = 24 * MIB + 4321
DEADLINE_S = 1


@pytest.fixture(scope="module")
def large() -> Iterator[Sample]:
    with Sample(SIZE) as sample:
        yield sample


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, int]]:
    folder = tmp_path_factory.mktemp("https")
    with serving(folder, Files(folder), "--deadline", str(DEADLINE_S)) as (served, port):
        yield served, port


def connect(port: int) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), timeout=60)
    return trusting().wrap_socket(raw, server_hostname="127.0.0.1")


def token_of(served: Served) -> str:
    return (served.path.parent / "token").read_text().split()[-1]


def ranged(served: Served, target: str, first: int, size: int) -> bytes:
    return (
        f"GET /v1/targets/{target}/memory HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token_of(served)}\r\n"
        f"Range: bytes={first}-{first + size - 1}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 2 * MIB, SIZE])
def test_a_range_of_any_length_comes_as_a_whole(
    https: tuple[Served, int], large: Sample, size: int
) -> None:
    served, port = https
    target = served.register(large.pid)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusting())
    headers = {
        "Authorization": f"Bearer {token_of(served)}",
        "Range": f"bytes={large.address}-{large.address + size - 1}",
    }
    try:
        for _ in range(2):
            connection.request("GET", f"/v1/targets/{target}/memory", headers=headers)
            response = connection.getresponse()
            assert response.status == 206
            assert response.read() == large.bytes(0, size)
    finally:
        connection.close()


def test_the_client_dumps_searches_and_streams_by_https(
    https: tuple[Served, int],
    large: Sample,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served, port = https
    files = Files(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.client_ca))
    dump = tmp_path / "dump"
    with Client(f"https://127.0.0.1:{port}", token=token_of(served)) as peek:
        target = peek.target(large.pid)
        target.dump(dump, [(large.address, large.address + SIZE)])
        assert dump.read_bytes() == large.bytes(0, SIZE)
        with peek.stream() as stream:
            parts = range(0, 8 * MIB, 2 * MIB)
            futures = [stream.readv(target, [(large.address + at, 2 * MIB)]) for at in parts]
            for at, future in zip(parts, futures, strict=True):
                assert future.result().data == large.bytes(at, 2 * MIB)
        (*_, done) = target.search(
            large.bytes(0, 251), ranges=[(large.address, large.address + MIB)]
        )
        assert isinstance(done, SearchDone)
        assert done.matches == MIB // 251


def test_a_connection_that_rests_longer_than_the_deadline_goes_on(
    https: tuple[Served, int], large: Sample
) -> None:
    served, port = https
    target = served.register(large.pid)
    before = served.log.count("took nothing")
    with connect(port) as sock:
        for _ in range(3):
            sock.sendall(ranged(served, target, large.address, 16))
            answer = sock.recv(4096)
            assert answer.startswith(b"HTTP/1.1 206")
            time.sleep(1.5 * DEADLINE_S)  # nothing is waited for: this is what is tested
    assert served.log.count("took nothing") == before


def test_a_client_that_takes_nothing_is_cut_off_and_holds_nothing_any_more(
    https: tuple[Served, int], large: Sample
) -> None:
    served, port = https
    target = served.register(large.pid)
    before = served.log.count("took nothing")
    with connect(port) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(ranged(served, target, large.address, SIZE))
        until(lambda: served.log.count("took nothing") > before, "it is cut off")
        until(lambda: held_bytes(served) == 0, "what it held is free")


def held_bytes(served: Served) -> int:
    held = served.request("GET", "/v1/info").json["held_bytes"]
    assert isinstance(held, int)
    return held
