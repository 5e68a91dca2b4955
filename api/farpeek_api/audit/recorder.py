"""The audit's own thread: entries become lines, and get to where they belong."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from farpeek_api.audit import chain
from farpeek_api.audit.lines import Lines
from farpeek_api.audit.sinks import AuditError
from farpeek_api.serving.logs import log

if TYPE_CHECKING:
    from farpeek_api.audit.entry import Entry
    from farpeek_api.audit.sinks import Sink

MOST_QUEUED: Final = 16_384
"""Entries that wait for the thread."""

GATHER_S: Final = 0.1
"""For lines of a moment to be written together: to wake a thread for each would cost more than the
line does."""

RETRY_S: Final = 0.25
CLOSING_S: Final = 1.0
"""For the last lines to be written."""


class Recorder:
    """Writes what the loop hands over. `put` and what is below it is for the loop alone."""

    def __init__(self, sink: Sink, *, drops: bool, most: int = MOST_QUEUED) -> None:
        """Write the line of the start. Raises AuditError.

        ``drops`` says what happens to entries for which there is no room: they are dropped, and
        counted in a line; else there are to be none (`is_full`).
        """
        self._sink = sink
        self._most = most
        self._hurries_at = most // 4
        self._queue: deque[Entry] = deque()
        self._pending: deque[bytes] = deque()  # lines; of the first, so much is written:
        self._written = 0
        self._failing = False
        self._reopens = False
        self._wake = threading.Event()
        self._is_woken = False  # as far as the loop has to know; a look at the event takes longer
        self._hurry = threading.Event()  # no more is gathered
        self._closing = threading.Event()
        self.drops = drops
        self.lines = 0
        self.dropped = self._dropped_told = 0
        self.refused = self._refused_told = 0
        self._thread: threading.Thread | None = None  # from the first line on
        self._lines = self._begin()
        if self._failing:
            self._wake_up()

    def put(self, entry: Entry) -> None:
        """Hand an entry over; it is not changed any more."""
        queue = self._queue
        if self.drops and len(queue) >= self._most:
            self.dropped += 1
        else:
            queue.append(entry)
        if not self._is_woken:
            self._wake_up()
        elif len(queue) >= self._hurries_at and not self._hurry.is_set():
            self._hurry.set()

    @property
    def is_full(self) -> bool:
        """Whether what is done now might leave no line."""
        return self._failing or len(self._queue) >= self._most

    @property
    def queued(self) -> int:
        """How many entries wait."""
        return len(self._queue)

    def reopen(self) -> None:
        """Go on in the file that has the name now."""
        self._reopens = True
        self._wake_up()

    def _wake_up(self) -> None:
        """Have the thread look; there is none before it has something to do.

        Where the system lets no more threads be, what is there waits for the next try.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="farpeek-audit", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                log.warning("the audit waits: the system lets no more threads be")
                return
            self._thread = thread
        self._is_woken = True
        self._wake.set()

    def close(self) -> None:
        """Write what there is, and the line of the end, for at most `CLOSING_S`."""
        self._closing.set()
        self._hurry.set()
        self._wake.set()
        if self._thread is None:
            self._run()  # there is nobody else who could, and one round of it is the last
        else:
            self._thread.join(CLOSING_S)
        is_alive = self._thread is not None and self._thread.is_alive()
        if is_alive or self._failing:
            log.error("the audit ends without its last %d lines", self.queued + len(self._pending))
        else:
            self._sink.close()

    # In the thread.

    def _begin(self) -> Lines:
        """Find out what is gone on from, and say so."""
        tail = self._sink.tail()
        before = tail.last or chain.FIRST
        lines = Lines(chain.Link(before.seq, tail.hash))
        if not self._sink.goes_on:
            return lines
        if tail.lacks_newline:
            self._pending.append(b"\n")
        self._pending.append(lines.start(tail.last, is_cut=tail.is_cut))
        try:
            while self._pending:
                self._write()
        except OSError as error:
            if not self.drops:
                self._sink.close()
                raise AuditError(
                    f"--audit: the first line cannot be written: {error.strerror}: make room, or "
                    "name a file elsewhere"
                ) from error
            self._fail(error)
        return lines

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._hurry.wait(GATHER_S)
            self._hurry.clear()
            self._wake.clear()
            self._is_woken = False  # behind that: who comes in between is seen to below
            is_last = self._closing.is_set()  # only now, or a close in between would wake nobody
            try:
                self._write_all()
                if is_last and self._sink.goes_on:
                    self._pending.append(self._lines.note(chain.STOP, {}))
                    self._write_all()
            except OSError as error:
                self._fail(error)
                self._closing.wait(RETRY_S)
                self._wake.set()
            if is_last:
                return

    def _write_all(self) -> None:
        self._go_where_it_belongs()
        self._tell_of_lost()
        while self._queue or self._pending:
            self._fill()
            self._write()
            if self._failing:
                self._failing = False
                log.info("the audit goes on")
                self._tell_of_lost()

    def _fill(self) -> None:
        """Make lines of what waits."""
        queue, pending, line_of = self._queue, self._pending, self._lines.of
        for _ in range(min(len(queue), self._sink.most_together - len(pending))):
            entry = queue.popleft()  # nobody else takes any
            try:
                pending.append(line_of(entry))
            except Exception:  # noqa: BLE001 - the last net: other lines go on
                log.exception("an entry of the audit became no line")
                self.dropped += 1

    def _write(self) -> None:
        """Write lines, as far as they are taken."""
        data = b"".join(self._pending)
        self._written += self._sink.write(data[self._written :] if self._written else data)
        if self._written == len(data):  # mostly; to count them one by one takes as long as to write
            self.lines += len(self._pending)
            self._pending.clear()
            self._written = 0
        while self._pending and self._written >= len(self._pending[0]):
            self._written -= len(self._pending.popleft())
            self.lines += 1

    def _tell_of_lost(self) -> None:
        """Say how many entries left no line, and how many requests were refused for that."""
        if self._failing:
            return
        dropped, refused = self.dropped, self.refused
        if dropped > self._dropped_told:
            self._note(chain.DROPPED, dropped - self._dropped_told)
            self._dropped_told = dropped
        if refused > self._refused_told:
            self._note(chain.REFUSED, refused - self._refused_told)
            self._refused_told = refused

    def _note(self, event: str, count: int) -> None:
        self._pending.append(self._lines.note(event, {"count": count}))

    def _go_where_it_belongs(self) -> None:
        """Go on in another file where this one was moved away."""
        # In the middle of a line only if the rest of it can be written nowhere else.
        if self._written and not self._failing:
            return
        if not self._reopens and not self._sink.has_moved():
            return
        self._reopens = False
        try:
            self._sink.reopen()
        except AuditError as error:
            log.error("%s; it goes on in the file that was moved", error)
        else:
            self._written = 0

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            does = "entries are dropped" if self.drops else "requests are refused"
            log.error("the audit cannot be written, and %s: %s", does, error.strerror)
