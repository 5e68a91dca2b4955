"""Requests that make no sense get the problem that says so, and the service goes on."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.websocket import WebSocket
from support.wire import parse, receive_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sample import Sample
    from support.wire import Served


@pytest.fixture(autouse=True)
def _goes_on(served: Served) -> Iterator[None]:
    yield
    assert served.request("GET", "/readyz").status == 200


def kernel_thread() -> int:
    entries = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    threads = [pid for pid in entries if _parent(pid) == 2]
    if not threads:
        pytest.skip("kernel threads cannot be seen from this pid namespace")
    return threads[0]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe", b"nope", b'{"addresses": [1,}', b"[" * 100_000, b"", b'{"a": "\\ud800"}'],
)
def test_what_is_not_json_is_malformed(served: Served, target: str, body: bytes) -> None:
    reply = served.request("POST", f"/v1/targets/{target}/readv", body)
    assert (reply.status, reply.slug) == (400, "malformed")


@pytest.mark.parametrize("body", [[], None, 1, "text", True])
def test_json_that_is_no_object_is_invalid(served: Served, target: str, body: object) -> None:
    payload = json.dumps(body).encode()
    reply = served.request("POST", f"/v1/targets/{target}/readv", payload)
    assert (reply.status, reply.slug) == (422, "invalid")


@pytest.mark.parametrize(
    "address",
    [True, 1.5, -1, 2**64, "7f00", "0x", "0x" + "1" * 17, "0xg", "-0x1", " 0x1", "0x1\n", None, []],
)
def test_what_is_no_address_is_named(served: Served, target: str, address: object) -> None:
    reply = served.readv(target, addresses=[4096, address], lengths=8)
    assert (reply.status, reply.slug) == (422, "invalid")
    assert reply.places == ["addresses[1]"]
    assert "0x7f00deadb000" in reply.json["errors"][0]["cause"]


@pytest.mark.parametrize("length", [True, 1.5, -1, 2**64, "8", None])
def test_what_is_no_length_is_named(served: Served, target: str, length: object) -> None:
    one = served.readv(target, addresses=[4096], lengths=length)
    assert (one.slug, one.places) == ("invalid", ["lengths"])
    column = served.readv(target, addresses=[4096, 8192], lengths=[8, length])
    assert (column.slug, column.places) == ("invalid", ["lengths[1]"])


def test_columns_of_different_length_name_the_member(served: Served, target: str) -> None:
    reply = served.readv(target, addresses=[4096, 8192], lengths=[8])
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["lengths"])


@pytest.mark.parametrize("lengths", [8, []])
def test_zero_regions_name_the_member(served: Served, target: str, lengths: object) -> None:
    reply = served.readv(target, addresses=[], lengths=lengths)
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["addresses"])


def test_a_length_of_zero_reads_nothing_and_is_no_gap(served: Served, target: str) -> None:
    reply = served.readv(target, addresses=[0, 2**64 - 1], lengths=0)
    assert reply.status == 200
    assert (reply.json["read"], reply.json["complete"], reply.json["gaps"]) == (0, True, [])


def test_more_bytes_than_one_answer_may_carry_are_too_large(served: Served, target: str) -> None:
    reply = served.readv(target, addresses=[4096, 8192], lengths=[8388608, 1])
    assert (reply.status, reply.slug) == (413, "too-large")
    assert "--max-request-bytes" in reply.json["detail"]


@pytest.mark.parametrize("count", [2001, 50_000])
def test_more_regions_than_allowed_are_too_large(served: Served, target: str, count: int) -> None:
    reply = served.readv(target, addresses=[0] * count, lengths=0)
    assert (reply.status, reply.slug) == (413, "too-large")


def test_a_region_over_the_end_of_the_address_space_is_named(served: Served, target: str) -> None:
    reply = served.readv(target, addresses=[0, "0xffffffffffffffff"], lengths=[1, 2])
    assert (reply.status, reply.slug) == (422, "invalid")
    assert reply.places in (["addresses[1]"], ["lengths[1]"])


def test_a_region_up_to_the_end_of_the_address_space_is_a_gap(served: Served, target: str) -> None:
    reply = served.readv(target, addresses=["0xffffffffffffffff"], lengths=1)
    assert (reply.status, reply.json["gaps"][0]["reason"]) == (200, "unmapped")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("surprise", 1),
        ("mode", "later"),
        ("mode", 1),
        ("on_gap", "skip"),
        ("encoding", "utf-8"),
        ("timeout_s", 0),
        ("timeout_s", -1),
        ("timeout_s", "2"),
        ("timeout_s", True),
        ("prefetch", 1),
    ],
)
def test_an_unknown_member_or_value_is_named(
    served: Served, target: str, member: str, value: object
) -> None:
    reply = served.readv(target, addresses=[4096], lengths=8, **{member: value})
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", [member])


@pytest.mark.parametrize("path", ["/v1/targets", "/v1/targets/x/readv", "stream"])
def test_thousands_of_unknown_members_are_one_mistake(served: Served, path: str) -> None:
    # Told one by one, those of 4 MiB took a second of everybody's time.
    body = json.dumps({f"{number}": 0 for number in range(15_000)}).encode()
    if path == "stream":
        with WebSocket(served.connect()) as ws:
            problem = ws.ask(body)[0]["problem"]
    else:
        reply = served.request("POST", path, body)
        assert (reply.status, reply.slug) == (422, "invalid")
        problem = reply.json
    assert "more members than are known" in problem["detail"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_a_timeout_that_is_no_finite_number_is_refused(
    served: Served, target: str, value: str
) -> None:
    body = f'{{"addresses": [4096], "lengths": 8, "timeout_s": {value}}}'.encode()
    reply = served.request("POST", f"/v1/targets/{target}/readv", body)
    assert reply.slug in ("invalid", "malformed")


def test_several_mistakes_are_told_at_once(served: Served, target: str) -> None:
    reply = served.readv(target, addresses=["x"], lengths=[1.5], mode="later", extra=1)
    assert sorted(reply.places) == ["addresses[0]", "extra", "lengths[0]", "mode"]


def test_prefetch_needs_nowait(served: Served, target: str) -> None:
    reply = served.readv(target, addresses=[4096], lengths=8, prefetch=True)
    assert reply.slug == "invalid"
    assert "nowait" in reply.json["detail"]


def test_what_was_sent_is_not_sent_back(served: Served, target: str) -> None:
    reply = served.readv(target, addresses=["secret-input"], lengths="secret-length")
    assert b"secret" not in reply.body


@pytest.mark.parametrize("target_id", ["4242-1", "nonsense", "%00", "a" * 500, "%ff", "..%2f.."])
def test_the_id_of_another_boot_is_no_such_target(served: Served, target_id: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "?wait=exit", None),
        ("POST", "/readv", {"addresses": [4096], "lengths": 8}),
    ):
        reply = served.request(method, f"/v1/targets/{target_id}{path}", body)
        assert reply.status == 404
        assert reply.slug == "no-such-target"


@pytest.mark.parametrize("pid", [0, -1, 2**31, True, "1", 1.0, None])
def test_what_is_no_pid_is_named(served: Served, pid: object) -> None:
    reply = served.request("POST", "/v1/targets", {"pid": pid})
    assert (reply.status, reply.slug) == (422, "invalid")
    if pid is not None:
        assert reply.places == ["pid"]


def test_a_pid_that_never_was_is_no_such_process(served: Served) -> None:
    reply = served.request("POST", "/v1/targets", {"pid": 2**31 - 1})
    assert (reply.status, reply.slug) == (404, "no-such-process")


@pytest.mark.host
def test_a_kernel_thread_is_invalid(served: Served) -> None:
    reply = served.request("POST", "/v1/targets", {"pid": kernel_thread()})
    assert (reply.status, reply.slug) == (422, "invalid")


def test_the_service_itself_is_no_target(served: Served) -> None:
    own = served.process.pid
    reply = served.request("POST", "/v1/targets", {"pid": own})
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["pid"])
    assert "own process" in reply.json["detail"]
    comm = Path(f"/proc/{own}/comm").read_text().rstrip("\n")
    exe = str(Path(f"/proc/{own}/exe").readlink())
    fitting = served.request("POST", "/v1/targets", {"match": {"comm": comm, "exe": exe}})
    assert fitting.status in (200, 201, 404, 409)  # other services may run beside it
    assert own not in [each["pid"] for each in fitting.json.get("candidates", [fitting.json])]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"pid": 1, "match": {"comm": "x"}},
        {"match": {}},
        {"match": {"comm": ""}},
        {"match": {"name": "x"}},
        {"match": {"uid": "0"}},
        {"match": {"uid": -1}},
        {"match": {"uid": 2**32 - 1}},
        {"match": "ruby"},
        {"pid": 1, "labels": {"": "x"}},
        {"pid": 1, "labels": {"x": 1}},
        {"pid": 1, "labels": {"x": "y" * 257}},
        {"pid": 1, "labels": {"x" * 64: "y"}},
        {"pid": 1, "labels": {str(number): "" for number in range(33)}},
        {"pid": 1, "label": {}},
    ],
)
def test_a_registration_that_names_no_process_is_invalid(served: Served, body: object) -> None:
    reply = served.request("POST", "/v1/targets", body)
    assert (reply.status, reply.slug) == (422, "invalid")


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
