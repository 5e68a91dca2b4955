"""What goes through the port of `farpeek ui`, as it is; and a service that comes and goes."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import h11

from farpeek_api.cli.ui.door import Way
from farpeek_api.cli.ui.listener import MOST_CONNECTIONS
from farpeek_api.cli.ui.service import Service
from farpeek_api.client.address import Place
from support.folders import open_folder
from support.https import Files, serving
from support.sample import Sample
from support.targets import start
from support.ui import Ui
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    import socket


def test_what_the_service_answers_goes_through_as_it_is(ui: Ui, served: Served) -> None:
    for path in ("/v1/targets", "/nowhere"):
        there, here = served.request("GET", path), ui.ask("GET", path)
        assert here.status == there.status
        for name in ("content-type", "cache-control", "server"):
            assert here.headers[name] == there.headers[name]
    head = ui.ask("HEAD", "/docs")
    assert (head.status, head.body) == (200, b"")


def test_a_target_of_the_command_line_is_opened(served: Served, sample: Sample) -> None:
    with Ui(f"unix:{served.path}", sample.pid) as ui:
        target = ui.fragment["target"]
        assert ui.ask("GET", f"/v1/targets/{target}").json["pid"] == sample.pid


def test_a_body_goes_through_and_large_memory_comes_back(ui: Ui, sample: Sample) -> None:
    target = ui.ask("POST", "/v1/targets", {"pid": sample.pid}).json["id"]
    size = 8 << 20
    ranged = {"Range": f"bytes={sample.address}-{sample.address + size - 1}"}
    reply = ui.ask("GET", f"/v1/targets/{target}/memory", **ranged)
    assert reply.status == 206
    assert reply.body == sample.bytes(0, size)
    ranges = [[hex(sample.address), hex(sample.address + size)]]
    pieces = ui.ask("POST", f"/v1/targets/{target}/memory", {"ranges": ranges})
    assert pieces.status == 200
    assert sample.bytes(0, 4096) in pieces.body
    lengths = {"addresses": [hex(sample.address)] * 1500, "lengths": 8, "encoding": "none"}
    assert ui.ask("POST", f"/v1/targets/{target}/readv", lengths).json["read"] == 1500 * 8


def test_a_body_that_is_too_large_is_refused_by_the_service(ui: Ui) -> None:
    reply = ui.ask("POST", "/v1/targets", b" " * 300_000)
    assert (reply.status, reply.slug) == (413, "too-large")


def test_a_head_that_is_refused_is_so_whatever_body_follows(ui: Ui) -> None:
    reply = ui.ask("POST", f"/v1/targets?{'a' * 9000}", b" " * 300_000)
    assert (reply.status, reply.slug) == (400, "malformed")


def test_a_length_beside_chunks_is_not_passed_on() -> None:
    headers = [("Host", "x"), ("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
    request = h11.Request(method="POST", target="/v1/targets", headers=headers)
    head = Service(Place("here", "http://localhost", Path("/nowhere"), None)).head(
        request, Way.LOADING
    )
    assert b"content-length" not in dict(head.headers)
    assert dict(head.headers)[b"transfer-encoding"] == b"chunked"


def test_an_answer_that_ends_early_ends_early_here_too(ui: Ui) -> None:
    with start("plain") as process:
        marker = process["marker"]
        target = ui.ask("POST", "/v1/targets", {"pid": process.pid}).json["id"]
        request = (
            f"GET /v1/targets/{target}/memory?gaps=zero HTTP/1.1\r\nHost: {ui.host}\r\n"
            f"Authorization: Bearer {ui.token}\r\n"
            f"Range: bytes={marker}-{marker + (60 << 30)}\r\n\r\n"
        )
        with ui.connect() as sock:
            sock.sendall(request.encode())
            assert sock.recv(12) == b"HTTP/1.1 206"
            process.kill()
            # Without an end of its own it would have 60 GiB.
            taken = 0
            while piece := _received(sock):
                taken += len(piece)
            assert taken < 60 << 30


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 20)
    except ConnectionResetError:
        return b""


def test_events_come_as_they_happen(ui: Ui, served: Served) -> None:
    with ui.connect() as sock, sock.makefile("rb") as answer, start("plain") as process:
        sock.sendall(
            f"GET /v1/events HTTP/1.1\r\nHost: {ui.host}\r\n"
            f"Authorization: Bearer {ui.token}\r\n\r\n".encode()
        )
        assert answer.readline().startswith(b"HTTP/1.1 200 ")
        target = served.register(process.pid)
        until_line(answer, b"event: registered")
        until_line(answer, target.encode())


def until_line(answer: object, wanted: bytes) -> None:
    while wanted not in (line := answer.readline()):  # type: ignore[attr-defined]  # a file
        assert line, "it has ended"


def _settled(folder: Path) -> int:
    """Count what is in a folder, once that is the same for a while: connections end as they may."""
    counts: list[int] = []

    def is_settled() -> bool:
        counts.append(len(list(folder.iterdir())))
        return len(counts) >= 20 and len(set(counts[-20:])) == 1

    until(is_settled, "it is settled")
    return counts[-1]


def test_a_browser_that_leaves_is_left(served: Served) -> None:
    with Ui(f"unix:{served.path}") as ui:
        descriptors = Path(f"/proc/{ui.process.pid}/fd")
        request = f"GET /v1/events HTTP/1.1\r\nHost: {ui.host}\r\nAuthorization: Bearer {ui.token}"
        before = _settled(descriptors)
        with ui.connect() as sock:
            sock.sendall(f"{request}\r\n\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.1 200"
            assert len(list(descriptors.iterdir())) >= before + 2
        # Also where nothing happens that would be told.
        until(lambda: len(list(descriptors.iterdir())) == before, "the service is left, too")


def test_a_stream_by_a_ticket_goes_through(ui: Ui, sample: Sample) -> None:
    target = ui.ask("POST", "/v1/targets", {"pid": sample.pid}).json["id"]
    with ui.websocket(**ui.with_ticket()) as ws:
        where = {"target": target, "addresses": [hex(sample.address)], "lengths": [1 << 20]}
        shown, data = ws.ask({"id": 1, **where})
        assert shown["id"] == 1
        assert data == sample.bytes(0, 1 << 20)
        shown, _ = ws.ask({"id": 2, "subscribe": {**where, "lengths": [8], "hz": 50}})
        assert shown["subscribed"]
        for tick in range(1, 4):
            assert ws.next()[0]["tick"] >= tick


def test_a_service_by_tcp_is_given_its_token_and_the_page_never_sees_it(
    served: Served, sample: Sample
) -> None:
    file = served.path.with_name("token")
    url = f"http://127.0.0.1:{served.port}"
    with Ui(url, sample.pid, "--token-file", file) as ui:
        assert ui.token != file.read_text().strip()
        assert ui.ask("GET", "/v1/info").status == 200
        with ui.websocket(**ui.with_ticket()) as ws:
            assert ws.ask({"id": 1, "target": "1-1", "addresses": [0], "lengths": [1]})[0][
                "problem"
            ]


def test_a_service_by_https_is_asked_where_its_certificate_is_trusted(
    folder: Path, tmp_path: Path, sample: Sample
) -> None:
    files = Files(tmp_path)
    trusting = {"SSL_CERT_FILE": str(files.client_ca)}
    with serving(folder, files) as (served, port):
        words = (sample.pid, "--token-file", served.path.with_name("token"))
        with Ui(f"https://127.0.0.1:{port}", *words, environment=trusting) as ui:
            target = ui.fragment["target"]
            size = 3 << 20
            ranged = {"Range": f"bytes={sample.address}-{sample.address + size - 1}"}
            assert ui.ask("GET", f"/v1/targets/{target}/memory", **ranged).body == sample.bytes(
                0, size
            )
            with ui.websocket(**ui.with_ticket()) as ws:
                where = {"target": target, "addresses": [hex(sample.address)], "lengths": [8]}
                assert ws.ask({"id": 1, **where})[1] == sample.bytes(0, 8)


def test_so_many_connections_are_open_and_no_more(served: Served) -> None:
    with Ui(f"unix:{served.path}") as ui:
        with ExitStack() as stack:
            for _ in range(MOST_CONNECTIONS):
                stack.enter_context(ui.connect())
            with ui.connect() as one_more:
                assert one_more.recv(1) == b""
        until(lambda: _is_served(ui), "there is room again")


def _is_served(ui: Ui) -> bool:
    with suppress(ConnectionError):
        return ui.request("GET", "/").status == 200
    return False


# The service comes and goes.


def test_a_service_that_is_away_is_told_and_the_page_goes_on_when_it_is_back() -> None:
    with (
        open_folder() as folder,
        Sample() as process,
        Served(folder) as first,
        Ui(f"unix:{first.path}", process.pid) as ui,
    ):
        target = ui.fragment["target"]
        assert ui.ask("GET", "/v1/info").status == 200
        assert first.stop() == 0
        away = ui.ask("GET", "/v1/info")
        assert (away.status, away.slug) == (502, "unreachable")
        assert away.json["retryable"] is True
        assert "farpeek serve" in away.json["detail"]
        assert away.headers["retry-after"] == "1"
        assert ui.request("GET", "/").status == 502
        with Served(folder):
            assert ui.ask("GET", "/v1/info").status == 200
            again = ui.ask("POST", "/v1/targets", {"id": target})
            assert again.json["id"] == target
        assert ui.stop()[0] == 130


def test_a_connection_that_is_kept_outlives_the_service() -> None:
    with open_folder() as folder, Served(folder) as first, Ui(f"unix:{first.path}") as ui:
        request = (
            f"GET /v1/info HTTP/1.1\r\nHost: {ui.host}\r\nAuthorization: Bearer {ui.token}\r\n\r\n"
        )
        with ui.connect() as sock, sock.makefile("rb") as answers:
            sock.sendall(request.encode())
            assert _status(answers) == 200
            first.stop()
            sock.sendall(request.encode())
            assert _status(answers) == 502
            with Served(folder):
                sock.sendall(request.encode())
                assert _status(answers) == 200


def _status(answers: object) -> int:
    """Take an answer; its status."""
    status = int(answers.readline().split()[1])  # type: ignore[attr-defined]  # a file
    length = 0
    while (line := answers.readline().lower()) != b"\r\n":  # type: ignore[attr-defined]
        if line.startswith(b"content-length:"):
            length = int(line.split()[1])
    json.loads(answers.read(length))  # type: ignore[attr-defined]
    return status
