"""What goes on for long is told of each minute; by a clock that a test turns."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from farpeek_api.audit import trail as trails
from farpeek_api.audit.entry import Entry
from farpeek_api.audit.recorder import Recorder
from farpeek_api.audit.sinks import NEW, File
from farpeek_api.audit.trail import Trail
from farpeek_api.http.refusals import AuditUnavailable
from support.audits import done_in
from support.waiting import aio_until

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_goes_on_is_told_of_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "EVERY_S", 0.05)
    monkeypatch.setattr(trails, "_LOOK_S", 0.01)
    path = tmp_path / "audit"
    recorder = Recorder(File(path), drops=False)
    trail = Trail(recorder)
    entries = [Entry(f"r-{number}", "10.0.0.1:1") for number in range(300)]
    for entry in entries:
        entry.reads = 0
        trail.begin(entry)

    def told(number: int) -> list[str]:
        lines = done_in(path.read_text().rpartition("\n")[0])
        return [line["outcome"] for line in lines if line["request_id"] == f"r-{number}"]

    await aio_until(lambda: min(len(told(n)) for n in (0, 299)) >= 4, "all are told of")
    entries[0].bytes = 4711
    trail.end(entries[0], "unsubscribed")
    for entry in entries[1:]:
        trail.end(entry, "client-gone")
    recorder.close()
    outcomes = told(0)
    assert (outcomes[0], outcomes[-1]) == ("begun", "unsubscribed")
    assert set(outcomes[1:-1]) == {"goes-on"}
    lines = done_in(path.read_text())
    ended = [line for line in lines if line["request_id"] == "r-0"]
    assert [line["bytes"] for line in ended] == [0] * (len(ended) - 1) + [4711]


class Stuck:
    """A disk that takes nothing, or all."""

    goes_on = True
    most_together = 256

    def __init__(self) -> None:
        self.takes = True
        self.taken = b""

    def tail(self) -> object:
        return NEW

    def write(self, data: bytes) -> int:
        if not self.takes:
            raise OSError(28, "No space left on device")
        self.taken += data[:100]  # the rest of it the next time
        return len(data[:100])

    def has_moved(self) -> bool:
        return False

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


async def test_whoever_is_not_told_of_goes_on_though_the_audit_is_stuck() -> None:
    sink = Stuck()
    recorder = Recorder(sink, drops=False, most=4)  # type: ignore[arg-type]  # as good as one
    trail = Trail(recorder, only=frozenset({"write"}))
    sink.takes = False
    entry = Entry("r", "")
    entry.verb = "write"
    trail.end(entry, "done")
    await aio_until(lambda: recorder.is_full, "the audit is stuck")
    trail.check()
    trail.check("read")
    with pytest.raises(AuditUnavailable):
        trail.check("write")
    sink.takes = True
    await aio_until(lambda: not recorder.is_full, "it goes on")
    trail.check("write")
    recorder.close()
    assert [line["request_id"] for line in done_in(sink.taken.decode())] == ["r"]


async def test_a_queue_that_is_full_refuses_before_a_write_has_failed() -> None:
    sink = Stuck()
    recorder = Recorder(sink, drops=False, most=4)  # type: ignore[arg-type]  # as good as one
    trail = Trail(recorder)
    for _ in range(4):  # before the thread has its turn of gathering
        trail.check()
        trail.end(Entry("r", ""), "done")
    with pytest.raises(AuditUnavailable):
        trail.check()
    recorder.close()
    assert len(done_in(sink.taken.decode())) == 4


async def test_a_line_comes_of_what_meets_the_thread_just_before_it_looks() -> None:
    """The loop may put an entry while the thread forgets that it was woken: before, or behind."""
    sink = Stuck()
    recorder = Recorder(sink, drops=False)  # type: ignore[arg-type]  # as good as one
    names = iter(f"r-{number}" for number in range(100))
    put: list[str] = []

    def put_one() -> None:
        put.append(next(names))
        recorder.put(ended(put[-1]))

    class Meeting(threading.Event):
        def clear(self) -> None:
            if len(put) < 5:
                put_one()
            super().clear()
            if len(put) < 5:
                put_one()

    def written() -> list[str]:
        whole = sink.taken.decode().rpartition("\n")[0]
        return [line["request_id"] for line in done_in(whole)]

    recorder._wake = Meeting()  # noqa: SLF001 - where they meet
    for _ in range(3):
        put_one()
        await aio_until(lambda: written() == put, "all have come")
    recorder.close()
    assert len(put) >= 5


def ended(request_id: str) -> Entry:
    entry = Entry(request_id, "")
    entry.stamp("done")
    return entry
