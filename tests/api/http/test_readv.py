"""The bytes of a read arrive as they were asked for, in any size and form."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

import pytest

from support.wire import UnixConnection, parse

if TYPE_CHECKING:
    from support.sample import Sample
    from support.wire import Reply, Served


def data_of(reply: Reply) -> bytes:
    assert reply.status == 200, reply
    return base64.b64decode(reply.json["data"], validate=True)


def test_an_answer_has_the_members_of_the_contract(
    served: Served, target: str, sample: Sample
) -> None:
    reply = served.readv(target, addresses=[hex(sample.address)], lengths=[8])
    body = reply.json
    assert reply.headers["content-type"] == "application/json"
    assert list(body) == [
        *(
            "target",
            "requested",
            "read",
            "complete",
            "data",
            "gaps",
            "backend",
            "generation",
            "began_ns",
            "elapsed_us",
        ),
    ]
    assert (body["target"], body["requested"], body["read"]) == (target, 8, 8)
    assert (body["complete"], body["gaps"]) == (True, [])
    assert body["backend"]["pidfd"] in ("native", "emulated")
    assert body["backend"]["rung"]
    assert isinstance(body["elapsed_us"], int)


def test_regions_lie_one_behind_the_other(served: Served, target: str, sample: Sample) -> None:
    offsets, lengths = [5000, 0, 7, 5001], [3, 10, 0, 4096]
    addresses = [sample.address + offset for offset in offsets]
    written = [hex(addresses[0]), addresses[1], hex(addresses[2]).upper().replace("X", "x", 1)]
    reply = served.readv(target, addresses=[*written, addresses[3]], lengths=lengths)
    pairs = zip(offsets, lengths, strict=True)
    assert data_of(reply) == b"".join(sample.bytes(*pair) for pair in pairs)


def test_a_hole_is_zeros_and_a_gap(served: Served, target: str, sample: Sample) -> None:
    end = sample.address + sample.size
    reply = served.readv(target, addresses=[end - 10], lengths=[30])
    assert data_of(reply) == sample.bytes(sample.size - 10, 10) + bytes(20)
    assert (reply.json["read"], reply.json["complete"]) == (10, False)
    assert reply.json["gaps"] == [
        {
            "region": 0,
            "offset": 10,
            "address": hex(end),
            "length": 20,
            "reason": "no_access",
            "retryable": False,
        }
    ]


def test_stop_ends_at_the_hole(served: Served, target: str, sample: Sample) -> None:
    end = sample.address + sample.size
    addresses = [sample.address, end - 10, sample.address]
    reply = served.readv(target, addresses=addresses, lengths=30, on_gap="stop")
    assert data_of(reply) == sample.bytes(0, 30) + sample.bytes(sample.size - 10, 10)
    assert [(gap["region"], gap["offset"]) for gap in reply.json["gaps"]] == [(1, 10)]
    assert reply.json["read"] == 40


@pytest.mark.parametrize("length", [0, 1, 2, 3, 100])
def test_base64_is_standard_and_padded(
    served: Served, target: str, sample: Sample, length: int
) -> None:
    # 0xfb 0xff would be `-` and `_` in the URL-safe alphabet; all values come by here.
    reply = served.readv(target, addresses=[sample.address + 150], lengths=[length])
    assert reply.json["data"] == base64.b64encode(sample.bytes(150, length)).decode()


def test_hex_is_in_lower_case(served: Served, target: str, sample: Sample) -> None:
    reply = served.readv(target, addresses=[sample.address], lengths=251, encoding="hex")
    assert reply.json["data"] == sample.bytes(0, 251).hex()


def test_none_reads_but_leaves_the_data_out(served: Served, target: str, sample: Sample) -> None:
    end = sample.address + sample.size
    reply = served.readv(target, addresses=[end - 10], lengths=30, encoding="none")
    assert "data" not in reply.json
    assert (reply.json["read"], len(reply.json["gaps"])) == (10, 1)


@pytest.mark.parametrize("encoding", ["base64", "hex"])
@pytest.mark.parametrize(
    "length", [(256 << 10) - 1, 256 << 10, (256 << 10) + 1, (192 << 10) * 3, 1_000_000, 8 << 20]
)
def test_big_answers_are_whole_and_of_the_length_that_was_said(
    served: Served, target: str, sample: Sample, encoding: str, length: int
) -> None:
    reply = served.readv(target, addresses=[sample.address + 1], lengths=length, encoding=encoding)
    assert int(reply.headers["content-length"]) == len(reply.body)
    decode = bytes.fromhex if encoding == "hex" else base64.b64decode
    assert decode(reply.json["data"]) == sample.bytes(1, length)


def test_thousands_of_gaps_are_all_told(served: Served, target: str) -> None:
    addresses = [(1 << 63) + 4096 * number for number in range(2000)]
    reply = served.readv(target, addresses=addresses, lengths=100)
    assert data_of(reply) == bytes(200_000)
    gaps = reply.json["gaps"]
    assert [gap["region"] for gap in gaps] == list(range(2000))
    assert [int(gap["address"], 16) for gap in gaps] == addresses
    assert int(reply.headers["content-length"]) == len(reply.body)
    none = served.readv(target, addresses=addresses, lengths=100, encoding="none")
    assert none.json["gaps"] == gaps


def test_one_connection_serves_many_requests(served: Served, target: str, sample: Sample) -> None:
    connection = UnixConnection(served.path)
    path = f"/v1/targets/{target}/readv"
    for offset in range(50):
        body = f'{{"addresses": [{sample.address + offset}], "lengths": 8, "encoding": "hex"}}'
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse().read()
        assert sample.bytes(offset, 8).hex().encode() in answer
    connection.close()


def test_an_answer_over_http_1_0_ends_its_connection(served: Served, target: str) -> None:
    body = '{"addresses": [1], "lengths": 1}'
    sent = (
        f"POST /v1/targets/{target}/readv HTTP/1.0\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    assert parse(served.exchange(sent.encode())).json["complete"] is False


def test_an_answer_says_when_it_was_read_by_the_monotonic_clock(
    served: Served, target: str, sample: Sample
) -> None:
    before = time.monotonic_ns()
    body = served.readv(target, addresses=[hex(sample.address)], lengths=[8]).json
    assert before < body["began_ns"] < time.monotonic_ns()


def test_two_equal_readings_are_stable(served: Served, target: str, sample: Sample) -> None:
    asked = {"addresses": [hex(sample.address)], "lengths": [8]}
    body = served.readv(target, **asked, stable=3).json
    assert (body["stable"], body["readings"]) == (True, 2)
    for wrong in (1, 9, True, "2"):
        reply = served.readv(target, **asked, stable=wrong)
        assert reply.status == 422
        assert "stable" in reply.json["errors"][0]["place"]
        assert "from 2 to 8" in reply.json["errors"][0]["cause"]
