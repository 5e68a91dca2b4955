"""Events of targets, as they happen: the stream is taken up again where it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from farpeek_api.client import calls, members
from farpeek_api.client.members import Members, Odd
from farpeek_api.client.problems import Interrupted, ShuttingDown, Unreachable
from farpeek_api.client.results import TargetInfo
from farpeek_api.client.steps import Flow, Item, Open, Pause, Request, more

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_BLOCK: Final = 1 << 20
_SILENCE_S: Final = 45.0
"""A service says something every 15 s."""

_SHORTEST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened to a target.

    ``kind`` is ``registered``, ``exited``, ``reaped``, ``released``, ``exec`` or what a later
    service tells. ``lost`` means that events before ``number`` are not known any more, and has no
    target; ``number`` is None there if not even that is known.
    """

    number: int | None
    kind: str
    at: datetime
    target: TargetInfo | None
    match: str | None


class BlockParser:
    """Takes Server-Sent Events apart, as they come: the fields of each."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, part: bytes) -> list[dict[bytes, bytes]]:
        """Take what came; the blocks that are whole. Raises Odd for what is none."""
        *blocks, self._buffer = (self._buffer + part).split(b"\n\n")
        if len(self._buffer) > _LONGEST_BLOCK:
            raise Odd("the answer has an event without end")
        return [fields for block in blocks if (fields := _fields(block))]


def _fields(block: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name:  # else it is a comment
            fields[name] = value.removeprefix(b" ")
    return fields


def number_and_kind(fields: Mapping[bytes, bytes]) -> tuple[int, str]:
    """Give what each event has. Raises Odd."""
    number = fields.get(b"id", b"")
    if not number.isdigit() or len(number) > len(str(2**64)):
        raise Odd("the answer has an event with an odd `id`")
    return int(number), fields.get(b"event", b"").decode("utf-8", "replace")


class EventParser:
    """The same, as events."""

    def __init__(self) -> None:
        self._blocks = BlockParser()

    def feed(self, part: bytes) -> list[Event]:
        """Take what came; the events that are whole. Raises Odd for what is none."""
        return [_event(fields) for fields in self._blocks.feed(part)]


def _event(fields: Mapping[bytes, bytes]) -> Event:
    number, kind = number_and_kind(fields)
    return _of(number, kind, members.parse(fields.get(b"data", b"")))


def _of(number: int, kind: str, shown: Members) -> Event:
    if kind == "lost":
        return Event(number, kind, datetime.now(UTC), None, None)
    target = TargetInfo.parse(shown.inner("target"))
    return Event(number, kind, shown.time("at"), target, shown.text_or_none("match"))


def events(target_id: str | None, after: int | None, patience_s: float) -> Flow[Event]:
    """``GET /v1/events``, again and again."""
    last = after
    query = calls.parameters({"target": target_id})
    began = False
    give_up = 0.0
    pause_s = _SHORTEST_PAUSE_S
    while True:
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        try:
            request = Request("GET", "/v1/events", query, headers, silence_s=_SILENCE_S)
            yield from calls.ask(Open(request))
            if began and last is None:
                # It had told of nothing yet, so nobody knows what would have been next.
                yield Item(Event(None, "lost", datetime.now(UTC), None, None))
            began = True
            give_up = 0.0
            pause_s = _SHORTEST_PAUSE_S
            parser = EventParser()
            while part := (yield from more()):
                with calls.answer_of_a_farpeek():
                    found = parser.feed(part)
                for event in found:
                    last = event.number
                    yield Item(event)
        except (Interrupted, Unreachable, ShuttingDown):
            now = time.monotonic()
            give_up = give_up or now + patience_s
            if not began or now > give_up:
                raise
        yield Pause(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
