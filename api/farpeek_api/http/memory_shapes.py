"""The shapes of answers about memory: what was read, written, or found.

Clients ignore members that they do not know. A text below a member is its description.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - pydantic looks at all of these
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from farpeek.model import GapReason, PieceKind  # noqa: TC001
from farpeek.search.model import Stopped  # noqa: TC001
from farpeek_api.http.target_shapes import MappingPlace
from farpeek_api.http.values import EncodedBytes, HexByte, ShownAddress, ShownBytes  # noqa: TC001


class WrittenMapping(MappingPlace):
    """A mapping that would be written to."""

    shared: bool
    """Others would see it."""


class Gap(TypedDict):
    """Bytes that were not read, or not written."""

    region: int
    """The number of its region in the request, from 0."""
    offset: int
    """In that region."""
    address: ShownAddress
    length: int
    reason: GapReason
    retryable: bool
    """The same may succeed a moment later."""


class Backend(TypedDict):
    """How it was done."""

    pidfd: Literal["native", "emulated", "pinned"]
    nowait: NotRequired[Literal["native", "emulated"]]
    rung: str
    """The technique."""


class Prefetch(TypedDict):
    """What came of the wish to have missing bytes read in; it goes on after the answer."""

    started: bool
    bytes: int
    detail: str


class ReadHead(TypedDict):
    """What a read gave, without its bytes: the object of a frame."""

    target: str
    requested: int
    """Bytes that were asked for."""
    read: int
    """Bytes that were read."""
    complete: bool
    gaps: Sequence[Gap]
    """In the order of the request; merged within a region, never over two."""
    backend: Backend
    generation: int | None
    """The number of the program that was read; null where it cannot be told."""
    began_ns: int
    """CLOCK_MONOTONIC when it began."""
    elapsed_us: int
    stable: NotRequired[bool]
    """With `stable`: whether the last two readings were equal."""
    readings: NotRequired[int]
    """With `stable`: how many there were."""
    prefetch: NotRequired[Prefetch]
    """With `prefetch`."""


class ReadResult(ReadHead):
    """What a read gave; a short one is a result like any other."""

    data: NotRequired[EncodedBytes]
    """The regions one behind the other, in the order of the request. With `on_gap: continue` gaps
    are zeros in it; with `stop` it ends at the gap. Base64, or hex with `encoding: hex`; left out
    with `none`."""


class WriteResult(TypedDict):
    """What a write did, or would do; a short one is a result like any other."""

    target: str
    requested: int
    written: int
    """Bytes that were written; 0 with `dry_run`."""
    complete: bool
    verified: bool
    """All that was written was there afterwards, too."""
    before: ShownBytes
    """What was there, the regions one behind the other; zeros where it could not be read."""
    gaps: Sequence[Gap]
    backend: Backend
    elapsed_us: int
    would_write: NotRequired[int]
    """With `dry_run`."""
    mappings: NotRequired[Sequence[WrittenMapping]]
    """With `dry_run`: what would be written to."""


class Difference(TypedDict):
    """The first byte that is not as expected."""

    region: int
    offset: int
    address: ShownAddress
    expected: HexByte
    found: HexByte | None
    """Null where it could not be read."""


class SearchMatch(TypedDict):
    """Where something was found."""

    address: ShownAddress
    length: int
    mapping: MappingPlace | None
    """The mapping that holds its first byte."""
    context: ShownBytes
    """The bytes in front of the match, the match, and the bytes behind it; fewer at a gap."""
    before: int
    """Bytes of `context` that are in front of the match."""


class SearchProgress(TypedDict):
    """How far a search has come."""

    bytes: int
    """Bytes that were searched."""
    of: int
    """Bytes of all that is to be."""
    skipped: int
    """Bytes that were left alone, as they were not resident, or could not be read."""


class SearchDone(TypedDict):
    """How a search has ended; an answer without it was cut off."""

    matches: int
    bytes: int
    """Bytes that were searched."""
    skipped: int
    """Bytes that were left alone, as they were not resident, or could not be read."""
    stopped: Stopped | None
    """Why it ended early; null: it is through."""
    generation: int | None
    """The program that was searched; null where the kernel does not tell them apart."""


class SearchLine(TypedDict):
    """A line of a search: one of these."""

    match: NotRequired[SearchMatch]
    progress: NotRequired[SearchProgress]
    """Each 0.2 seconds."""
    done: NotRequired[SearchDone]
    """The last line."""


class PieceHead(TypedDict):
    """What a piece of a range is; its bytes follow it where it is `data`."""

    address: ShownAddress
    length: int
    kind: PieceKind
    reason: NotRequired[GapReason]
    """Of a `gap`."""


class PiecesEnd(TypedDict):
    """The last object of an answer in pieces; without it the answer was cut off."""

    done: Literal[True]
    data: int
    """Bytes of all pieces of that kind, as below."""
    zeros: int
    gaps: int
    generation: int | None
