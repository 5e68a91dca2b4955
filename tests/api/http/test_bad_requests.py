"""What HTTP itself allows and the service does not: types, routes, methods, parameters, bodies."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from support.wire import parse, receive_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sample import Sample
    from support.wire import Served


@pytest.fixture(autouse=True)
def _goes_on(served: Served) -> Iterator[None]:
    yield
    assert served.request("GET", "/readyz").status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""]
)
def test_another_content_type_is_unsupported(served: Served, target: str, kind: str) -> None:
    body = b'{"addresses": [4096], "lengths": 8}'
    path = f"/v1/targets/{target}/readv"
    reply = served.request("POST", path, body, {"Content-Type": kind})
    assert (reply.status, reply.slug) == (415, "unsupported-media-type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_may_be_named_in_any_way(served: Served, target: str, kind: str) -> None:
    body = b'{"addresses": [4096], "lengths": 8}'
    path = f"/v1/targets/{target}/readv"
    assert served.request("POST", path, body, {"Content-Type": kind}).status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_body_is_unsupported(served: Served, target: str, coding: str) -> None:
    headers = {"Content-Encoding": coding}
    reply = served.request("POST", f"/v1/targets/{target}/readv", b"\x1f\x8b", headers)
    assert (reply.status, reply.slug) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "accept", ["text/html", "image/*", "application/json;q=0", "*/*, application/json;q=0", "x"]
)
def test_an_accept_that_cannot_be_met_is_not_acceptable(served: Served, accept: str) -> None:
    reply = served.request("GET", "/v1/info", headers={"Accept": accept})
    assert (reply.status, reply.slug) == (406, "not-acceptable")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*", "text/html, application/json;q=0.1", "a/b, */*;q=0.1", ""]
)
def test_an_accept_that_can_be_met_is_met(served: Served, accept: str) -> None:
    assert served.request("GET", "/v1/info", headers={"Accept": accept}).status == 200


@pytest.mark.parametrize(
    "path",
    ["/ui", "/v2/info", "/v1", "/v1/targets/", "/livez/", "/docs/", "/openapi"],
)
def test_an_unknown_route_is_not_found(served: Served, path: str) -> None:
    reply = served.request("GET", path)
    assert (reply.status, reply.slug) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/info", {"GET", "HEAD"}),
        ("PUT", "/v1/targets", {"GET", "HEAD", "POST"}),
        ("POST", "/v1/targets/x", {"GET", "HEAD", "DELETE"}),
        ("GET", "/v1/targets/x/readv", {"POST"}),
        ("OPTIONS", "/v1/targets", {"GET", "HEAD", "POST"}),
        ("POST", "/v1/events", {"GET"}),
    ],
)
def test_an_unknown_method_is_told_the_known_ones(
    served: Served, method: str, path: str, allowed: set[str]
) -> None:
    reply = served.request(method, path)
    assert (reply.status, reply.slug) == (405, "method-not-allowed")
    assert set(reply.headers["allow"].split(",")) == allowed


def test_head_of_the_event_stream_does_not_run_it(served: Served) -> None:
    assert served.request("HEAD", "/v1/events").status == 405


def test_head_answers_without_a_body(served: Served, target: str) -> None:
    for path in ("/v1/info", f"/v1/targets/{target}/maps"):
        reply = served.request("HEAD", path)
        assert (reply.status, reply.body) == (200, b"")
        assert int(reply.headers["content-length"]) > 100


def test_a_method_that_http_does_not_know_is_malformed_and_named_as_the_cause(
    served: Served,
) -> None:
    reply = parse(served.exchange(b"FOO /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    assert (reply.status, reply.slug) == (400, "malformed")
    assert "method" in reply.json["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/info?x=1",
        "/v1/processes?name=x",
        "/v1/processes?uid=x",
        "/v1/processes?uid=-1",
        "/v1/processes?comm=a&comm=b",
        "/v1/targets?state=gone",
        "/v1/targets/x?wait=death",
        "/v1/targets/x?timeout_s=1",
        "/v1/targets/x?wait=exit&timeout_s=0",
        "/v1/targets/x?wait=exit&timeout_s=301",
        "/v1/targets/x?wait=exit&timeout_s=nan",
        "/v1/events?target=",
        "/v1/events?since=1",
    ],
)
def test_a_wrong_parameter_is_invalid(served: Served, path: str) -> None:
    reply = served.request("GET", path)
    assert (reply.status, reply.slug) == (422, "invalid")


def test_parameters_have_no_place_beside_a_body(served: Served, target: str) -> None:
    body = {"addresses": [4096], "lengths": 8}
    reply = served.request("POST", f"/v1/targets/{target}/readv?mode=nowait", body)
    assert (reply.slug, reply.places) == ("invalid", ["mode"])


def test_a_body_over_the_limit_is_refused_before_it_arrives(served: Served, target: str) -> None:
    with served.connect() as sock:
        sock.sendall(head(target, 200_001))
        reply = parse(receive_all(sock))
    assert (reply.status, reply.slug) == (413, "too-large")


def test_a_chunked_body_over_the_limit_is_refused(served: Served, target: str) -> None:
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    with served.connect() as sock:
        sock.sendall(head(target, None))
        for _ in range(7):
            sock.sendall(chunk)
        reply = parse(receive_all(sock))
    assert (reply.status, reply.slug) == (413, "too-large")


def test_a_chunked_body_is_read(served: Served, target: str) -> None:
    body = b'{"addresses": [4096], "lengths": 8}'
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with served.connect() as sock:
        sock.sendall(head(target, None, "Connection: close\r\n") + pieces + b"0\r\n\r\n")
        assert parse(receive_all(sock)).status == 200


def test_a_badly_framed_body_is_malformed(served: Served, target: str) -> None:
    reply = parse(served.exchange(head(target, None) + b"zz\r\n"))
    assert (reply.status, reply.slug) == (400, "malformed")


def test_a_body_one_byte_a_second_is_cut_off_at_the_deadline(served: Served, target: str) -> None:
    with served.connect() as sock:
        sock.sendall(head(target, 100))
        sock.settimeout(0.2)
        received = b""
        give_up = time.monotonic() + 20
        while b"\r\n\r\n" not in received:
            assert time.monotonic() < give_up
            sock.sendall(b" ")
            try:
                received += sock.recv(65536)
            except TimeoutError:
                continue
        sock.settimeout(60)
        reply = parse(received + receive_all(sock))
    assert (reply.status, reply.slug) == (408, "slow-request")
    assert reply.headers["connection"] == "close"


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(
    served: Served, target: str, sample: Sample
) -> None:
    before = served.log
    for _ in range(20):
        sock = served.connect()
        sock.sendall(head(target, 100) + b'{"addresses"')
        sock.shutdown(socket.SHUT_WR)
        sock.close()
    reply = served.readv(target, addresses=[sample.address], lengths=8)
    assert reply.status == 200
    assert served.log == before


def head(target: str, length: int | None, more: str = "") -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST /v1/targets/{target}/readv HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\n{size}\r\n{more}\r\n"
    ).encode()
