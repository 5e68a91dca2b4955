"""Ranges in pieces: every byte is in one of them, and nothing is sent for what has none."""

from __future__ import annotations

import gzip
import json
import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import zstandard

from support.oracle import Oracle
from support.pieces import Taken, laid_out, take_apart
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sample import Sample
    from support.wire import Reply, Served

PAGE = mmap.PAGESIZE
MIB = 1 << 20
GIB = 1 << 30
TABLE = 2 * MIB
HIGHEST = (1 << 64) - 1


def post(
    served: Served,
    target: str,
    *ranges: tuple[int, int],
    mode: str = "wait",
    encoding: str | None = None,
) -> Reply:
    body = {"ranges": [[hex(start), end] for start, end in ranges], "mode": mode}
    headers = {"Content-Type": "application/json"}
    if encoding is not None:
        headers["Accept-Encoding"] = encoding
    path = f"/v1/targets/{target}/memory"
    return served.request("POST", path, json.dumps(body).encode(), headers)


def pieces_of(reply: Reply) -> list[Taken]:
    """Return the pieces of a whole answer."""
    assert reply.status == 200, reply
    pieces, end = take_apart(reply.body)
    assert end is not None
    for kind, member in (("data", "data"), ("zeros", "zeros"), ("gap", "gaps")):
        assert end[member] == sum(piece.length for piece in pieces if piece.kind == kind)
    return pieces


@contextmanager
def registered(served: Served, name: str, *arguments: object) -> Iterator[tuple[Target, str]]:
    with start(name, *arguments) as target:
        yield target, served.register(target.pid)


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_memory_that_is_there_comes_as_its_bytes(
    served: Served, target: str, sample: Sample, mode: str
) -> None:
    first, end = sample.address + 5, sample.address + 3 * MIB + 77
    reply = post(served, target, (first, end), mode=mode)
    assert reply.headers["content-type"] == "application/vnd.farpeek.pieces"
    assert reply.headers["x-accel-buffering"] == "no"
    assert laid_out(pieces_of(reply), first, end) == sample.bytes(5, end - first)


def test_ranges_come_in_the_order_of_the_request_and_may_overlap(
    served: Served, target: str, sample: Sample
) -> None:
    offsets = [(2 * MIB, 4 * MIB), (0, PAGE), (PAGE // 2, 2 * PAGE)]
    ranges = [(sample.address + first, sample.address + last) for first, last in offsets]
    pieces = pieces_of(post(served, target, *ranges))
    data = b"".join(piece.data for piece in pieces)
    assert data == b"".join(sample.bytes(first, last - first) for first, last in offsets)


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_what_nobody_has_touched_is_one_piece_whatever_its_size(served: Served, mode: str) -> None:
    with registered(served, "untouched", 64) as (process, target):
        touched = [number * GIB + 5 * TABLE for number in range(1, 64, 3)]
        for offset in touched:
            assert process.command(f"touch {offset}") == "ok"
        first, end = process["sparse"], process["sparse"] + 64 * GIB
        reply = post(served, target, (first, end), mode=mode)
        pieces = pieces_of(reply)
        assert len(reply.body) < 64 * MIB
        written = [piece for piece in pieces if any(piece.data)]
        assert {piece.kind for piece in pieces} == {"data", "zeros"}
        assert sum(piece.length for piece in pieces) == 64 * GIB
        for piece, offset in zip(written, touched, strict=True):
            assert piece.data[first + offset - piece.address] == 0xAB
            assert sum(piece.data) == 0xAB


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_only_the_pages_that_are_there_come_as_bytes_however_close_they_lie(
    served: Served, mode: str
) -> None:
    with registered(served, "untouched", 1) as (process, target):
        touched = range(0, GIB, TABLE)
        for offset in touched:
            assert process.command(f"touch {offset}") == "ok"
        first = process["sparse"]
        pieces = pieces_of(post(served, target, (first, first + GIB), mode=mode))
        written = [piece.address for piece in pieces if any(piece.data)]
        assert written == [first + offset for offset in touched]
        # To ask whether a handler has the memory touches a page now and then.
        assert sum(len(piece.data) for piece in pieces) < (len(touched) + 64) * PAGE


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_gaps_are_those_of_a_read(served: Served, tmp_path: Path, mode: str) -> None:
    with registered(served, "pages", tmp_path, 40) as (process, target):
        oracle = Oracle(process, 40)
        first, end = process["block"] - PAGE + 9, process["block_end"] + 5
        expected, gaps = oracle.read([(first, end - first)])
        pieces = pieces_of(post(served, target, (first, end), mode=mode))
        assert laid_out(pieces, first, end) == expected
        found = [(each.address, each.length, each.reason) for each in pieces if each.kind == "gap"]
        assert found == [(gap.address, gap.length, gap.reason.value) for gap in gaps]


def test_a_whole_address_space_is_little_where_little_is_mapped(served: Served) -> None:
    with registered(served, "plain") as (process, target):
        pieces = pieces_of(post(served, target, (0, HIGHEST)))
        assert sum(piece.length for piece in pieces) == HIGHEST
        (marker,) = (
            piece
            for piece in pieces
            if piece.address <= process["marker"] < piece.address + piece.length
        )
        assert marker.kind == "data"
        assert pieces[-1].reason in ("unmapped", "no_access")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, zstd", "zstd"),
        ("zstd;q=0, gzip;q=0.5", "gzip"),
        ("br", None),
        ("*", None),
        ("identity", None),
    ],
)
def test_it_is_compressed_as_the_client_accepts_it(
    served: Served, target: str, sample: Sample, accepted: str, coding: str | None
) -> None:
    first, end = sample.address, sample.address + 2 * MIB
    reply = post(served, target, (first, end), encoding=accepted)
    assert reply.headers.get("content-encoding") == coding
    assert reply.headers["vary"] == "Accept-Encoding"
    body = reply.body
    if coding == "gzip":
        body = gzip.decompress(body)
    elif coding == "zstd":
        body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    pieces, done = take_apart(body)
    assert done is not None
    assert laid_out(pieces, first, end) == sample.bytes(0, end - first)


def test_an_answer_that_the_targets_end_cuts_off_is_known_for_one(served: Served) -> None:
    pages = 32 * MIB // PAGE
    with start("bulk", pages) as process:
        target = served.register(process.pid)
        body = json.dumps({"ranges": [[process["block"], process["block"] + 32 * MIB]]}).encode()
        head = (
            f"POST /v1/targets/{target}/memory HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with served.connect() as sock:
            sock.sendall(head.encode() + body)
            received = sock.recv(1 << 16)
            process.kill()
            process.reap()
            while piece := sock.recv(1 << 20):
                received += piece
    assert b" 200 " in received[:20]
    assert not received.endswith(b"0\r\n\r\n")  # the end of a body that is whole
    assert b'"done"' not in received


@pytest.mark.parametrize(
    ("ranges", "place"),
    [
        ([], "ranges"),
        ([[1]], "ranges[0]"),
        ([["0x10", "0x20"], ["0x20", "0x10"]], "ranges[1]"),
        ([["0x10", "0x10"]], "ranges[0]"),
        ([[0, (1 << 64) + 1]], "ranges[0][1]"),
        ([[0, 1]] * 4097, "ranges"),
    ],
)
def test_ranges_that_make_no_sense_are_refused_by_name(
    served: Served, target: str, ranges: list[list[object]], place: str
) -> None:
    body = json.dumps({"ranges": ranges}).encode()
    headers = {"Content-Type": "application/json"}
    reply = served.request("POST", f"/v1/targets/{target}/memory", body, headers)
    assert (reply.status, reply.slug) == (422, "invalid")
    assert reply.places == [place]


def test_every_byte_of_a_program_is_in_one_piece(served: Served, target: str) -> None:
    maps = served.request("GET", f"/v1/targets/{target}/maps").json["mappings"]
    readable = [
        each for each in maps if each["perms"][0] == "r" and not each["path"].startswith("[v")
    ]
    ranges = [(int(each["start"], 16), int(each["end"], 16)) for each in readable]
    pieces = pieces_of(post(served, target, *ranges, mode="nowait"))
    assert sum(piece.length for piece in pieces) == sum(end - first for first, end in ranges)
    assert {piece.reason for piece in pieces} <= {None, "not_resident", "beyond_file"}
