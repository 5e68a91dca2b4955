"""What one request did, or a part of it: filled in on the event loop, written by the thread."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.identity import Identity
    from farpeek.model import ReadResult
    from farpeek.plans.model import PlanResult

    Peer = tuple[int, int] | str
    """The user and the number of the process at the other end, or an address with its port."""

DONE: Final = "done"
GONE: Final = "client-gone"
BEGUN: Final = "begun"
GOES_ON: Final = "goes-on"
REHEARSED: Final = "dry-run"
"""How something ended, besides the slugs of problems and why a subscription ends."""

MOST_RANGES: Final = 64
"""Of those that a line names; it counts them all."""


class Entry:
    """A line to be. Not changed any more once it is handed over."""

    __slots__ = (
        "_began_ns",
        "at",
        "by",
        "bytes",
        "client",
        "done",
        "duration_us",
        "gaps",
        "identity",
        "is_open",
        "outcome",
        "part",
        "peer",
        "pid",
        "range_count",
        "ranges",
        "reads",
        "request_id",
        "target",
        "verb",
    )

    def __init__(self, request_id: str, peer: Peer) -> None:
        self._began_ns = time.perf_counter_ns()
        self.request_id = request_id
        self.peer = peer
        self.part: int | None = None  # of the request: a message of a stream, one read of many
        self.client: str | None = None  # whose rules count; None: not let in
        self.by: str | None = None  # who asks for them
        self.verb: str | None = None
        self.target: str | None = None
        self.pid: int | None = None  # of what is no target
        self.identity: Identity | None = None
        self.ranges: tuple[Sequence[int], Sequence[int]] | None = None  # addresses and lengths
        self.range_count = 0
        self.bytes = 0
        self.gaps = 0
        self.reads: int | None = None  # of a subscription
        self.is_open = False  # a line says that it has begun
        self.done = DONE  # how it ends if all goes well
        self.outcome = GONE
        self.at = 0.0
        self.duration_us = 0

    def piece(self, part: int | None, verb: str | None) -> Entry:
        """Begin with a part of what this one does, for the same client."""
        made = Entry(self.request_id, self.peer)
        made.client = self.client
        made.by = self.by
        made.part = part
        made.verb = verb
        return made

    def like(self) -> Entry:
        """Begin with the same once more, for another target."""
        made = self.piece(self.part, self.verb)
        made.ranges, made.range_count = self.ranges, self.range_count
        return made

    def names(self, addresses: Sequence[int], lengths: Sequence[int]) -> None:
        """It is about these; columns of equal length."""
        self.range_count = count = len(addresses)
        if count > MOST_RANGES or len(lengths) > MOST_RANGES:
            addresses, lengths = addresses[:MOST_RANGES], lengths[:MOST_RANGES]
        self.ranges = addresses, lengths

    def gave(self, result: ReadResult) -> None:
        """So much was read."""
        self.bytes += result.read
        self.gaps += len(result.gaps)
        if self.reads is not None:
            self.reads += 1

    def followed(self, result: PlanResult) -> None:
        """A plan has read so much, and there."""
        self.ranges = result.asked.addresses, result.asked.lengths
        self.range_count = result.asked_count
        self.bytes += result.bytes
        self.gaps += len(result.gaps)
        if self.reads is not None:
            self.reads += 1

    def rehearses(self, size: int, gaps: int) -> None:
        """So much would be written; what is there has been shown."""
        self.bytes, self.gaps, self.done = size, gaps, REHEARSED

    def stamp(self, outcome: str) -> None:
        """It has come this far, at this moment."""
        self.outcome = outcome
        self.at = time.time()
        self.duration_us = (time.perf_counter_ns() - self._began_ns) // 1000

    @property
    def is_told(self) -> bool:
        """Whether a line of it is on its way."""
        return self.at > 0

    def as_it_is(self) -> Entry:
        """Give what will not change, of one that goes on."""
        return copy.copy(self)
