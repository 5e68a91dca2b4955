"""A disk that is full: nothing is done without a line, or lines are dropped and counted."""

from __future__ import annotations

import http.client
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.audits import left_in, verified
from support.sample import Sample
from support.waiting import until
from support.websocket import WebSocket
from support.wire import Events, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUESTS, READS = 5, 4096
"""More reads than lines can wait."""


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 64 KiB."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(disk: Path) -> Path:
    """Use all of it up."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def is_refused(service: Served) -> bool:
    reply = service.request("GET", "/v1/info")
    return reply.status == 503 and reply.slug == "audit-unavailable"


def test_nothing_is_read_that_could_leave_no_line(folder: Path, disk: Path) -> None:
    path = disk / "audit"
    with Sample() as process, Served(folder, "--audit", str(path)) as service:
        target = service.register(process.pid)
        ballast = fill(disk)
        until(lambda: is_refused(service), "requests are refused")
        for reply in (
            service.read(target, process.address, 8),
            service.request("POST", "/v1/readv", {"reads": []}),
            service.request("GET", "/v1/targets"),
            service.request("GET", "/v1/info", headers={"Authorization": "Bearer nonsense"}),
        ):
            assert (reply.status, reply.slug) == (503, "audit-unavailable")
            assert reply.headers["retry-after"] == "1"
        assert service.request("GET", "/livez").status == 200
        assert "the audit cannot be written, and requests are refused: No space" in service.log
        ballast.unlink()
        until(lambda: not is_refused(service), "requests are taken again")
        assert service.read(target, process.address, 8).status == 200
        assert service.stop() == 0
    found = verified(path)
    assert found["whole"]
    (note,) = found["notes"]
    assert "requests were refused" in note["text"]


def test_streams_are_told_and_what_goes_on_ends(folder: Path, disk: Path) -> None:
    path = disk / "audit"
    with (
        Sample(1 << 26) as process,
        Served(folder, "--audit", str(path)) as service,
        WebSocket(service.connect()) as ws,
        Events(service.path) as events,
    ):
        target = service.register(process.pid)
        assert events.next()[1] == "registered"
        where = {"addresses": [hex(process.address)], "lengths": [8]}
        ws.ask({"id": 1, "subscribe": {"target": target, "hz": 20, **where}})
        bulk = service.connect()
        last = process.address + process.size - 1
        bulk.sendall(
            f"GET /v1/targets/{target}/memory HTTP/1.1\r\nHost: x\r\n"
            f"Range: bytes={process.address}-{last}\r\n\r\n".encode()
        )
        response = http.client.HTTPResponse(bulk)
        response.begin()
        left_in(path, lambda line: line.get("outcome") == "begun", 4)
        ballast = fill(disk)
        until(lambda: is_refused(service), "requests are refused")
        with pytest.raises(http.client.IncompleteRead):
            response.read()
        frames = (ws.next()[0] for _ in range(200))
        ended = next((each for each in frames if "ended" in each), None)
        assert ended == {"id": 1, "ended": "audit-unavailable"}
        shown, data = ws.ask({"id": 2, "target": target, **where})
        assert shown["problem"]["type"] == "urn:farpeek:problem:audit-unavailable"
        assert not data
        ballast.unlink()
        until(lambda: not is_refused(service), "requests are taken again")
        lines = left_in(path, lambda line: line.get("outcome") == "audit-unavailable", 2)
        assert sorted(line["bytes"] > 0 for line in lines) == [True, True]
        bulk.close()


def test_a_line_that_was_cut_off_is_whole_in_the_next_file(folder: Path, disk: Path) -> None:
    path, moved = disk / "audit", disk / "moved"
    with Served(folder, "--audit", str(path)) as service:
        ballast = fill(disk)
        until(lambda: is_refused(service), "requests are refused")
        path.rename(moved)
        until(path.exists, "there is a new file")
        ballast.unlink()
        until(lambda: not is_refused(service), "requests are taken again")
        assert service.stop() == 0
    assert not moved.read_bytes().endswith(b"\n")
    found = verified(path, moved)
    assert found["whole"]
    assert "the next file has it whole" in found["notes"][0]["text"]


def test_lines_are_dropped_and_counted_where_that_is_asked_for(folder: Path, disk: Path) -> None:
    path = disk / "audit"
    flags = ("--audit", str(path), "--audit-full", "drop")
    with Sample() as process, Served(folder, *flags) as service:
        target = service.register(process.pid)
        ballast = fill(disk)
        read = {"target": target, "addresses": [hex(process.address)], "lengths": [8]}
        for _ in range(REQUESTS):
            body = {"reads": [read] * READS, "encoding": "none"}
            assert service.request("POST", "/v1/readv", body).status == 200
        assert "the audit cannot be written, and entries are dropped: No space" in service.log
        metrics = service.request("GET", "/metrics").body.decode()
        assert 'farpeek_audit_lines_total{state="dropped"} 0.0' not in metrics
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        ballast.unlink()
        left_in(path, lambda line: line.get("event") == "dropped")
        assert service.stop() == 0
    dropped = sum(line["count"] for line in left_in(path, lambda line: "count" in line))
    found = verified(path)
    assert found["whole"]
    kept = len(left_in(path, lambda line: "event" not in line))
    # Those that register, read, and ask for metrics; and the reads themselves.
    assert kept + dropped == 1 + REQUESTS * (READS + 1) + 1


def test_a_disk_that_is_full_at_the_start_is_an_error_or_a_warning(
    folder: Path, disk: Path
) -> None:
    ballast = fill(disk)
    ballast.write_bytes(ballast.read_bytes()[:-4096])
    path = disk / "audit"
    path.touch(0o600)
    fill(disk)
    with pytest.raises(AssertionError, match="make room, or name a file elsewhere"):
        Served(folder, "--audit", str(path)).end()
    with Served(folder, "--audit", str(path), "--audit-full", "drop") as service:
        assert service.request("GET", "/v1/info").status == 200
