"""What comes back, as values. Addresses are integers, lengths are bytes, times are UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from farpeek_api.client.members import Members


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that were not read: ``length`` of them, ``offset`` behind the region's begin.

    ``reason`` is one of ``unmapped``, ``no_access``, ``beyond_file``, ``not_resident``,
    ``unreadable``, and of a write ``read_only`` and ``shared`` too.
    """

    region: int
    offset: int
    address: int
    length: int
    reason: str
    retryable: bool

    @classmethod
    def parse(cls, shown: Members) -> Gap:
        """Take it from an answer."""
        return cls(
            shown.number("region"),
            shown.number("offset"),
            shown.address("address"),
            shown.number("length"),
            shown.text("reason"),
            shown.flag("retryable"),
        )


@dataclass(frozen=True)
class ReadResult:
    """What a read gave.

    ``data`` has the regions one behind the other. Where ``on_gap`` is ``continue`` it has
    ``requested`` bytes, and gaps are zeros; with ``stop`` it ends at the gap. ``backend`` says how
    it was read (``pidfd``, ``nowait``, ``rung``); ``began_ns`` is CLOCK_MONOTONIC of the service's
    host. ``members`` is all that the service said.
    """

    target: str
    regions: Sequence[tuple[int, int]]
    data: bytes = field(repr=False)
    requested: int
    read: int
    gaps: Sequence[Gap]
    backend: Mapping[str, str]
    generation: int | None
    began_ns: int
    elapsed_us: int
    members: Mapping[str, object] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether every byte was read."""
        return not self.gaps

    @property
    def stable(self) -> bool | None:
        """Whether two readings were equal; None if that was not asked for."""
        value = self.members.get("stable")
        return value if isinstance(value, bool) else None

    def region(self, number: int) -> bytes:
        """Give the bytes of one region, by its place in the request; IndexError for no such place.

        Its gaps are zeros; after a ``stop`` it has only what was read of it.
        """
        length = self.regions[number][1]
        start = self._starts[number]
        return self.data[start : start + length]

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(length for _, length in self.regions)][: len(self.regions)]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by ``code``, or by ``signal`` (its name)."""

    code: int | None
    signal: str | None
    core_dumped: bool

    @classmethod
    def parse(cls, shown: Members) -> Exit:
        """Take it from an answer."""
        return cls(
            shown.number_or_none("code"), shown.text_or_none("signal"), shown.flag("core_dumped")
        )


@dataclass(frozen=True, slots=True)
class Process:
    """A process that the service can see.

    ``pid`` counts in the service's pid namespace; ``ns_pids`` are its numbers from there inwards.
    ``target`` is its id where it is registered.
    """

    pid: int
    ns_pids: Sequence[int]
    comm: str
    exe: str | None
    uid: int
    gid: int
    cgroup: str | None
    container: str | None
    start_time: datetime
    target: str | None
    members: Mapping[str, object] = field(repr=False)

    @classmethod
    def parse(cls, shown: Members) -> Process:
        """Take it from an answer."""
        return cls(
            shown.number("pid"),
            shown.numbers("ns_pids"),
            shown.text("comm"),
            shown.text_or_none("exe"),
            shown.number("uid"),
            shown.number("gid"),
            shown.text_or_none("cgroup"),
            shown.text_or_none("container"),
            shown.time("start_time"),
            shown.text_or_none("target"),
            shown.all,
        )


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """A target, as it was when the service was asked.

    ``state`` is ``running``, ``exited`` or ``reaped``; ``exit`` is None while the kernel does not
    tell. ``pointer_size`` and ``page_size`` are bytes, ``byte_order`` is ``little`` or ``big``.
    ``generation`` counts the programs that it was seen to execute; None where that cannot be seen.
    """

    id: str
    process: Process
    generation: int | None
    pointer_size: int
    byte_order: str
    page_size: int
    state: str
    registered_at: datetime
    exited_at: datetime | None
    exit: Exit | None
    labels: Mapping[str, str]
    members: Mapping[str, object] = field(repr=False)

    @property
    def pid(self) -> int:
        """Its number in the service's pid namespace."""
        return self.process.pid

    @classmethod
    def parse(cls, shown: Members) -> TargetInfo:
        """Take it from an answer."""
        return cls(
            shown.text("id"),
            Process.parse(shown),
            shown.number_or_none("generation"),
            shown.number("pointer_size"),
            shown.text("byte_order"),
            shown.number("page_size"),
            shown.text("state"),
            shown.time("registered_at"),
            shown.time_or_none("exited_at"),
            Exit.parse(shown.inner("exit")) if shown.has("exit") else None,
            shown.texts("labels"),
            shown.all,
        )


@dataclass(frozen=True, slots=True)
class MappedRegion:
    """A mapping of a target: ``start`` up to ``end``, which is behind it.

    ``perms`` as /proc/PID/maps has them; ``offset`` is where it begins in its file. Pages are
    counted only if that was asked for.
    """

    start: int
    end: int
    perms: str
    offset: int
    path: str | None
    build_id: str | None
    resident_pages: int | None
    swapped_pages: int | None
    members: Mapping[str, object] = field(repr=False)

    @property
    def length(self) -> int:
        """Bytes of it."""
        return self.end - self.start

    @classmethod
    def parse(cls, shown: Members) -> MappedRegion:
        """Take it from an answer."""
        return cls(
            shown.address("start"),
            shown.address("end"),
            shown.text("perms"),
            shown.number("offset"),
            shown.text_or_none("path"),
            shown.text_or_none("build_id"),
            shown.number_or_none("resident_pages"),
            shown.number_or_none("swapped_pages"),
            shown.all,
        )


@dataclass(frozen=True, slots=True)
class StandingMatch:
    """Something that holds all processes that fit, now and later.

    ``held`` of them run, ``refused`` found no room. ``targets`` are the ids of those that run;
    None where they were not asked for.
    """

    id: str
    match: Mapping[str, object]
    limit: int
    held: int
    refused: int
    targets: Sequence[str] | None
    members: Mapping[str, object] = field(repr=False)

    @classmethod
    def parse(cls, shown: Members) -> StandingMatch:
        """Take it from an answer."""
        return cls(
            shown.text("id"),
            shown.inner("match").all,
            shown.number("limit"),
            shown.number("held"),
            shown.number("refused"),
            shown.text_list("targets") if shown.has("targets") else None,
            shown.all,
        )
