"""Requests that make no sense get the problem that says so, and the service goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

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
