"""Files that are moved away under load, and services that are killed under it."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pytest

from support.audits import done_in, left_in, lines_in, verified
from support.sample import Sample
from support.wire import Served

if TYPE_CHECKING:
    from pathlib import Path


class Load:
    """Reads, by threads, until it is ended; ``done`` has the ids of those that were answered."""

    def __init__(self, service: Served, target: str, address: int) -> None:
        self.done: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(service, target, address, number))
            for number in range(3)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, service: Served, target: str, address: int, thread: int) -> None:
        number = 0
        body = {"addresses": [hex(address)], "lengths": [8]}
        with suppress(OSError):  # the service may be killed
            while not self._over.is_set():
                number += 1
                request_id = f"{thread}-{number}"
                headers = {"X-Request-Id": request_id}
                path = f"/v1/targets/{target}/readv"
                assert service.request("POST", path, body, headers).status == 200
                self.done.append(request_id)


@pytest.mark.parametrize("hangs_up", [True, False])
def test_no_line_is_lost_where_a_file_is_moved_away(folder: Path, *, hangs_up: bool) -> None:
    path = folder / "audit"
    old = [folder / f"audit.{number}" for number in range(3)]
    with Sample() as process, Served(folder, "--audit", str(path)) as service:
        target = service.register(process.pid)
        with Load(service, target, process.address) as load:
            for moved in old:
                left_in(path, lambda line: line.get("verb") == "read", 20)
                path.rename(moved)
                if hangs_up:
                    service.process.send_signal(signal.SIGHUP)
                left_in(path, lambda line: "seq" in line)
        assert service.stop() == 0
    files = [*old, path]
    found = verified(*reversed(files))
    assert (found["whole"], found["notes"], found["first"]) == (True, [], 1)
    assert found["files"] == [str(each) for each in files]
    lines = [line for each in files for line in done_in(each.read_text())]
    told = [line["request_id"] for line in lines if line["verb"] == "read"]
    assert sorted(told) == sorted(load.done)


def test_a_file_that_cannot_be_opened_again_is_gone_on_with(folder: Path) -> None:
    path, moved = folder / "audit", folder / "moved"
    with Served(folder, "--audit", str(path)) as service:
        path.rename(moved)
        path.mkdir()
        service.request("GET", "/v1/info")
        left_in(moved, lambda line: line.get("verb") == "inspect")
        assert "is a folder" in service.log
        path.rmdir()
        service.request("GET", "/v1/info")
        left_in(path, lambda line: line.get("verb") == "inspect")
        assert service.stop() == 0
    assert verified(path, moved)["whole"]


def test_what_was_written_before_a_kill_is_whole_and_the_next_start_says_so(folder: Path) -> None:
    path = folder / "audit"
    for _ in range(3):
        with Sample() as process, Served(folder, "--audit", str(path)) as service:
            target = service.register(process.pid)
            seen = path.read_text().count("\n")
            with Load(service, target, process.address):
                left_in(path, lambda line, seen=seen: line["seq"] > seen + 100)
                service.process.kill()
                service.process.wait()
    found = verified(path)
    assert found["whole"]
    starts = [line for line in lines_in(path.read_text()) if line.get("event") == "start"]
    assert len(starts) == 3
    assert sum("without a stop" in note["text"] for note in found["notes"]) == 2
    assert len(found["notes"]) <= 4  # and perhaps a line that was cut off before each


@pytest.mark.parametrize("kept", [1, 30, 200, -1])
def test_half_a_line_at_the_end_is_told_of_and_gone_on_from(folder: Path, kept: int) -> None:
    path = folder / "audit"
    with Served(folder, "--audit", str(path)) as service:
        service.request("GET", "/v1/info")
        left_in(path, lambda line: line.get("verb") == "inspect")
        service.process.kill()
        service.process.wait()
    text = path.read_bytes()
    last = text[:-1].rpartition(b"\n")[2] + b"\n"
    os.truncate(path, len(text) - len(last) + len(last[:kept]))
    with Served(folder, "--audit", str(path)) as service:
        assert service.stop() == 0
    assert path.read_bytes().startswith(text[: len(text) - len(last)] + last[:kept])
    found = verified(path)
    assert found["whole"]
    (start,) = [line for line in lines_in(path.read_text()) if line.get("goes_on_from")]
    is_cut = kept != -1
    assert start["goes_on_from"] == {"seq": 1 if is_cut else 2, "cut": is_cut}
    assert sum("cut off" in note["text"] for note in found["notes"]) == is_cut


def test_a_first_line_that_is_cut_off_is_gone_on_from(folder: Path) -> None:
    path = folder / "audit"
    path.write_bytes(b'{"time":"2026-')
    path.chmod(0o600)
    with Served(folder, "--audit", str(path)) as service:
        assert service.stop() == 0
    found = verified(path)
    assert (found["whole"], found["first"]) == (True, 1)


def test_zeros_that_a_crash_left_are_gone_on_from(folder: Path) -> None:
    """As file systems leave them, of blocks that were never written."""
    path = folder / "audit"
    with Served(folder, "--audit", str(path)) as service:
        assert service.stop() == 0
    with path.open("ab") as file:
        file.write(bytes(4096))
    with Served(folder, "--audit", str(path)) as service:
        assert service.stop() == 0
    assert verified(path)["whole"]
