"""Searches, taken apart as they come. Nothing here waits for anything."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from farpeek_api.client import calls, members
from farpeek_api.client.members import Members, Odd
from farpeek_api.client.problems import Interrupted
from farpeek_api.client.results import MappedRegion
from farpeek_api.client.steps import Flow, Item, Open, more

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES: Final = "application/x-ndjson"
_LONGEST_LINE: Final = 1 << 20

Pattern: TypeAlias = str | bytes | Mapping[str, object]
"""A text, bytes, or a pattern as the wire has it."""


@dataclass(frozen=True, slots=True)
class SearchMatch:
    """``length`` bytes from ``address`` on that fit the pattern.

    ``context`` has ``before`` bytes in front of them, these bytes, and what is behind. ``mapping``
    holds the first of them.
    """

    address: int
    length: int
    mapping: MappedRegion | None = field(repr=False)
    context: bytes
    before: int

    @property
    def data(self) -> bytes:
        """The bytes that fit."""
        return self.context[self.before : self.before + self.length]


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """``bytes`` were searched of those that are to be, ``of``; ``skipped`` were left alone."""

    bytes: int
    of: int
    skipped: int


@dataclass(frozen=True, slots=True)
class SearchDone:
    """How a search has ended.

    ``stopped`` says why it ended early: ``limit``, ``deadline``, ``target-exited`` or
    ``target-changed``; None: it is through. ``skipped`` bytes were left alone, for they are not
    resident, or could not be read.
    """

    matches: int
    bytes: int
    skipped: int
    stopped: str | None
    generation: int | None


SearchItem: TypeAlias = SearchMatch | SearchProgress | SearchDone


class LineParser:
    """Takes lines apart, as they come."""

    def __init__(self) -> None:
        self._buffer = b""
        self.is_done = False

    def feed(self, part: bytes) -> list[SearchItem]:
        """Take what came; what of it is whole. Raises Odd for what is no such answer."""
        *lines, self._buffer = (self._buffer + part).split(b"\n")
        if len(self._buffer) > _LONGEST_LINE:
            raise Odd("the answer has a line without end")
        return [item for line in lines if (item := self._item(members.parse(line))) is not None]

    def _item(self, line: Members) -> SearchItem | None:
        if self.is_done:
            raise Odd("the answer goes on behind its end")
        if line.has("match"):
            return _match(line.inner("match"))
        if line.has("progress"):
            shown = line.inner("progress")
            return SearchProgress(
                shown.number("bytes"), shown.number("of"), shown.number("skipped")
            )
        if line.has("done"):
            self.is_done = True
            return _done(line.inner("done"))
        return None  # of a later service


def _match(shown: Members) -> SearchMatch:
    try:
        context = binascii.a2b_base64(shown.text("context"), strict_mode=True)
    except ValueError:
        raise Odd("the answer has an odd `context`") from None
    mapping = MappedRegion.parse(shown.inner("mapping")) if shown.has("mapping") else None
    return SearchMatch(
        shown.address("address"), shown.number("length"), mapping, context, shown.number("before")
    )


def _done(shown: Members) -> SearchDone:
    return SearchDone(
        shown.number("matches"),
        shown.number("bytes"),
        shown.number("skipped"),
        shown.text_or_none("stopped"),
        shown.number_or_none("generation"),
    )


def body(
    pattern: Pattern,
    ranges: Sequence[tuple[int, int]] | None,
    within: Sequence[int] | None,
    options: Mapping[str, object],
) -> dict[str, object]:
    """Write the body of a search."""
    if isinstance(pattern, str):
        pattern = {"text": pattern}
    elif isinstance(pattern, bytes):
        pattern = {"hex": pattern.hex()}
    return {
        "pattern": pattern,
        "ranges": None if ranges is None else [[hex(start), hex(end)] for start, end in ranges],
        "within": None if within is None else [hex(each) for each in within],
        **options,
    }


def search(target_id: str, wanted: Mapping[str, object]) -> Flow[SearchItem]:
    """``POST /v1/targets/{id}/search``, line by line. Raises Interrupted where it is cut off."""
    path = calls.target_path(target_id, "/search")
    yield from calls.ask(Open(calls.json_request(path, wanted, LINES)))
    parser = LineParser()
    while part := (yield from more()):
        with calls.answer_of_a_farpeek():
            found = parser.feed(part)
        for item in found:
            yield Item(item)
    if not parser.is_done:
        raise Interrupted("the answer ended before the search did")
