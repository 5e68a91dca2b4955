"""Reads of the page-kind target by one way, and what each came to."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from farpeek.identity import Process
from farpeek.model import Gap, GapReason, ReadResult, ReadSpec, Regions
from support.expectations import BYTES, ROWS, WAITS, Way
from support.kinds import FUSE_FILES, PAGE, PageKinds
from support.oracle import Oracle
from support.pattern import pattern
from support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek.access import Access
    from support.kinds import FuseServer

HUNG = tuple(name for name in FUSE_FILES if name.startswith("fuse_hung"))


@contextmanager
def process_of(kinds: PageKinds) -> Iterator[Process]:
    """Give what a read needs to name the target."""
    pidfd = os.pidfd_open(kinds.target.pid)
    try:
        yield Process(kinds.target.pid, pidfd)
    finally:
        os.close(pidfd)


@contextmanager
def hung_server(kinds: PageKinds) -> Iterator[None]:
    """Have the FUSE server hang on the files that are to, and count anew."""
    fuse = kinds.fuse
    if fuse is None:
        yield
        return
    for name in HUNG:
        kinds.again(name)
        fuse.hang(FUSE_FILES[name], everything=name == "fuse_hung_all")
    fuse.forget()
    try:
        yield
    finally:
        for name in HUNG:
            number = FUSE_FILES[name]
            fuse.serve(number)
            until(partial(_has_answered, fuse, number), "the server has answered")


def _has_answered(fuse: FuseServer, number: int) -> bool:
    return fuse.counts(number)["waiting"] == 0


def rearm(kinds: PageKinds, name: str) -> None:
    """Make the page what it was. Those of the hung server nobody can read, and they stay."""
    if name not in HUNG:
        kinds.again(name)


def read(
    access: Access, process: Process, regions: Sequence[tuple[int, int]]
) -> tuple[ReadResult, float]:
    """Read, and tell how many seconds it took. A read that hangs is an error, and left behind."""
    spec = ReadSpec(Regions([start for start, _ in regions], [length for _, length in regions]))
    done: list[tuple[ReadResult, float] | Exception] = []

    def act() -> None:
        begun = time.monotonic()
        try:
            result = access.read(process, spec, begun + PATIENCE_S)
        except Exception as error:  # noqa: BLE001 - raised again by the one who waits
            done.append(error)
        else:
            done.append((result, time.monotonic() - begun))

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if not done:
        raise TimeoutError("the read hangs")
    if isinstance(done[0], Exception):
        raise done[0]
    return done[0]


def outcome(kinds: PageKinds, name: str, result: ReadResult) -> str:
    """Say in a word what reading the page of one kind, as the only region, came to."""
    page = kinds.page(name)
    data = bytes(result.data)
    if not result.gaps:
        content = kinds.content(name)
        return BYTES if data == content or (name == "vvar" and content is None) else "wrong bytes"
    reason = result.gaps[0].reason
    whole = [Gap(0, 0, page, PAGE, reason)]
    return reason.value if list(result.gaps) == whole and data == bytes(PAGE) else "wrong gaps"


def readable(kinds: PageKinds, way: Way) -> list[str]:
    """Return the kinds that this way can be asked for without waiting for ever."""
    return [name for name in kinds.names if WAITS not in ROWS[name].by(way)]


def certain(kinds: PageKinds, way: Way) -> list[str]:
    """Return those of which only one thing can come."""
    return [name for name in readable(kinds, way) if len(ROWS[name].by(way)) == 1]


class KindOracle(Oracle):
    """Knows what one way must give of the cells of all kinds that are certain with it."""

    def __init__(self, kinds: PageKinds, way: Way) -> None:
        self._pages: dict[int, bytes | GapReason] = {}
        for name in certain(kinds, way):
            (expected,) = ROWS[name].by(way)
            content = kinds.content(name) if expected == BYTES else None
            self._pages[kinds.page(name)] = content or GapReason(expected)

    def page(self, address: int) -> bytes | GapReason:
        """See ``Oracle.page``."""
        return self._pages.get(address) or pattern(address, PAGE)
