"""Wire models: what requests may say. The one crossing between JSON and the service's values."""

from __future__ import annotations

import binascii
from array import array
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import CoreSchema, core_schema

from farpeek.errors import InvalidRequest, TooLarge
from farpeek.model import (
    ADDRESS_LIMIT,
    MapsSpec,
    Match,
    Mode,
    OnGap,
    ReadSpec,
    Regions,
    WriteSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LONGEST_WAIT_S: Final = 300.0
LONGEST_TARGET: Final = 128
HIGHEST_ID: Final = 2**32 - 2
"""The highest user id: the one above means "none" to the kernel."""

_SHOWN_OF_A_NAME = 64
LARGEST_UNCOUNTED: Final = 64 << 10
"""Bytes of a body that is parsed without a look."""

_MOST_COLONS = 1024  # one for each member, and those in its texts
_BRANCH = "~"  # begins the names of union branches, which are no part of a place


class _AddressSchema:
    """A "0x" string or an integer; made by hand for one error instead of one per branch."""

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> CoreSchema:
        return core_schema.union_schema(
            [
                core_schema.int_schema(strict=True, ge=0, lt=ADDRESS_LIMIT),
                core_schema.str_schema(strict=True, pattern=r"^0[xX][0-9a-fA-F]{1,16}$"),
            ],
            mode="left_to_right",
            custom_error_type="address",
            custom_error_message='an address is a string like "0x7f00deadb000" (1 to 16 digits) '
            "or an integer from 0 to 18446744073709551615",
        )


MOST_READS: Final = 4096
"""Of one request for many targets."""

MOST_READINGS: Final = 8
"""Of one request that wants two that are equal."""


class _AddressesSchema:
    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> CoreSchema:
        address = _AddressSchema().__get_pydantic_core_schema__(None, None)
        return core_schema.list_schema(address, min_length=1, strict=True, fail_fast=True)


class _LengthsSchema:
    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> CoreSchema:
        length = core_schema.int_schema(strict=True, ge=0, lt=ADDRESS_LIMIT)
        column = core_schema.list_schema(length, strict=True, fail_fast=True)
        return core_schema.union_schema(
            [(column, f"{_BRANCH}column"), (length, f"{_BRANCH}one")], mode="left_to_right"
        )


class Wire(BaseModel):
    """Exactly these members, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Columns(Wire):
    """The remote iovec as two columns; one length may do for all."""

    addresses: Annotated[list[int | str], _AddressesSchema()]
    lengths: Annotated[list[int] | int, _LengthsSchema()]

    def regions(self) -> Regions:
        """Cross over to the service's value; the service checks that the columns fit."""
        lengths = self.lengths
        if isinstance(lengths, int):
            lengths = [lengths] * len(self.addresses)
        # As columns, so that the service need not convert them more than once.
        return Regions(array("Q", _integers(self.addresses)), array("Q", lengths))


Generation = Annotated[int, Field(ge=1, lt=2**63)]
"""Of a target's programs, the number of the one that is meant."""


def check_prefetch(mode: Mode, *, prefetch: bool) -> None:
    """Refuse what makes no sense."""
    if prefetch and mode is Mode.WAIT:
        raise ValueError('`prefetch` needs `"mode": "nowait"`: in `wait` all is read in anyway')


class ReadOptions(Wire):
    """How to read; parameters of readv where its body is binary and has the regions alone."""

    mode: Mode = Mode.WAIT
    on_gap: OnGap = OnGap.CONTINUE
    encoding: Literal["base64", "hex", "none"] = "base64"
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    prefetch: bool = False
    stable: Annotated[int, Field(ge=2, le=MOST_READINGS)] | None = None
    generation: Generation | None = None

    @model_validator(mode="after")
    def _check_prefetch(self) -> Self:
        check_prefetch(self.mode, prefetch=self.prefetch)
        return self

    def spec_of(self, regions: Regions) -> ReadSpec:
        """Cross over to the service's value."""
        return ReadSpec(
            regions, self.mode, self.on_gap, self.prefetch, self.stable or 0, self.generation
        )


class ReadRequest(ReadOptions, Columns):
    """Body of readv."""

    def spec(self) -> ReadSpec:
        """Cross over to the service's value."""
        return self.spec_of(self.regions())


TargetId = Annotated[str, Field(min_length=1, max_length=LONGEST_TARGET)]


class ReadOf(Columns):
    """A read of one target of many; each has programs of its own."""

    target: TargetId
    generation: Generation | None = None


class ManyReadsRequest(ReadOptions):
    """Body of readv for many targets: what is read, and how all of it is."""

    reads: Annotated[list[ReadOf], Field(min_length=1, max_length=MOST_READS, fail_fast=True)]

    def specs(self) -> list[ReadSpec]:
        """Cross over to the service's values."""
        return [
            replace(
                self.spec_of(each.regions()),
                generation=self.generation if each.generation is None else each.generation,
            )
            for each in self.reads
        ]


_Pieces = Annotated[list[str], Field(fail_fast=True)]


class WriteRequest(Wire):
    """Body of writev: the remote iovec as two columns, and how to write it."""

    addresses: Annotated[list[int | str], _AddressesSchema()]
    data: _Pieces
    expect: _Pieces | None = None
    mode: Mode = Mode.WAIT
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    dry_run: bool = False
    allow_shared: bool = False
    generation: Generation | None = None

    def spec(self) -> WriteSpec:
        """Cross over to the service's value; the service checks that the columns fit."""
        return WriteSpec(
            addresses=_integers(self.addresses),
            data=_pieces("data", self.data),
            expect=None if self.expect is None else _pieces("expect", self.expect),
            mode=self.mode,
            allow_shared=self.allow_shared,
            generation=self.generation,
        )


def _pieces(column: str, texts: list[str]) -> list[bytes]:
    pieces: list[bytes] = []
    for number, text in enumerate(texts):
        try:
            pieces.append(binascii.a2b_base64(text, strict_mode=True))
        except ValueError:
            raise InvalidRequest(
                "bytes are base64 with + and /, padded with = (RFC 4648, section 4)",
                (column, number),
            ) from None
    return pieces


def _integers(addresses: list[int | str]) -> list[int]:
    if str not in set(map(type, addresses)):
        return addresses  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - all are integers
    return [int(each, 16) if isinstance(each, str) else each for each in addresses]


def check_members(body: bytes | bytearray) -> None:
    """Refuse far too many members before each is a mistake to tell (some 3 us of everybody's)."""
    if len(body) > LARGEST_UNCOUNTED and body.count(b":") > _MOST_COLONS:
        raise InvalidRequest("it has more members than are known here: remove them")


def check_columns(body: bytes | bytearray, max_regions: int, columns: int = 2) -> None:
    """Refuse far too many members, or regions, before millions of numbers are parsed."""
    check_members(body)
    if len(body) > LARGEST_UNCOUNTED and body.count(b",") > columns * max_regions + len(
        ReadRequest.model_fields
    ):
        raise TooLarge(f"one request may have {max_regions} regions: split it")


def check_reads(body: bytes | bytearray, max_regions: int) -> None:
    """Do the same for the reads of many targets."""
    most = MOST_READS * (len(ReadOf.model_fields) + 1)
    if len(body) > LARGEST_UNCOUNTED and body.count(b":") > most:
        raise TooLarge(f"one request may have {MOST_READS} reads: split it")
    if len(body) > LARGEST_UNCOUNTED and body.count(b",") > 2 * max_regions + most:
        raise TooLarge(f"one request may have {max_regions} regions: split it")


_Glob = Annotated[str, Field(min_length=1, max_length=4096)]


class MatchRequest(Wire):
    """What a process is; members that are given must all fit. Globs fit whole values."""

    comm: _Glob | None = None
    exe: _Glob | None = None
    uid: Annotated[int, Field(ge=0, le=HIGHEST_ID)] | None = None
    cgroup: _Glob | None = None
    container: _Glob | None = None
    ns_pid: Annotated[int, Field(ge=1, lt=2**31)] | None = None

    def match(self) -> Match:
        """Cross over to the service's value."""
        return Match(self.comm, self.exe, self.uid, self.cgroup, self.container, self.ns_pid)


class NoQuery(Wire):
    """For routes that take no parameters."""


From = Annotated[int, Field(alias="from", ge=0, lt=ADDRESS_LIMIT)]


class ProcessesQuery(MatchRequest):
    """Parameters of the list of processes; none fits all."""

    first: From = 0


class TargetQuery(Wire):
    """Parameters of one target."""

    wait: Literal["exit"] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=LONGEST_WAIT_S, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _check_timeout(self) -> TargetQuery:
        if self.timeout_s is not None and self.wait is None:
            raise ValueError("`timeout_s` goes with `wait=exit`: add that")
        return self


class MapsQuery(Wire):
    """Parameters of the list of mappings."""

    address: Annotated[int | str, _AddressSchema()] | None = None
    first: Annotated[int | str, _AddressSchema(), Field(alias="from")] = 0
    mode: Mode = Mode.NOWAIT
    residency: bool = False
    flags: bool = False

    @model_validator(mode="after")
    def _check_one(self) -> MapsQuery:
        if self.address is not None and "first" in self.model_fields_set:
            raise ValueError("`address` asks for one mapping, `from` for a list: give one of them")
        return self

    def parsed_address(self) -> int | None:
        """The address as a number."""
        return None if self.address is None else _integers([self.address])[0]

    def spec(self) -> MapsSpec:
        """Cross over to the service's value."""
        return MapsSpec(_integers([self.first])[0], self.mode, self.residency, self.flags)


class MemoryQuery(Wire):
    """Parameters of a range of memory; without ``gaps`` it ends at the first."""

    mode: Mode = Mode.WAIT
    gaps: Literal["zero"] | None = None
    generation: Generation | None = None


class PiecesRequest(Wire):
    """Body of a read in pieces; a range is its first address and the one behind its last."""

    ranges: list[Annotated[list[int | str], _AddressesSchema()]]
    mode: Mode = Mode.WAIT
    generation: Generation | None = None

    def spans(self) -> list[tuple[int, int]]:
        """The ranges as numbers; the service checks that they make sense."""
        spans: list[tuple[int, int]] = []
        for number, pair in enumerate(self.ranges):
            if len(pair) != 2:  # noqa: PLR2004 - a first and a last
                raise InvalidRequest(
                    "a range is two addresses: its first, and the one behind its last",
                    ("ranges", number),
                )
            start, end = _integers(pair)
            spans.append((start, end))
        return spans


class EventsQuery(Wire):
    """Parameters of the stream of events."""

    target: TargetId | None = None


Q = TypeVar("Q", bound=Wire)


def parse_query(model: type[Q], text: str, pairs: Callable[[], Iterable[tuple[str, str]]]) -> Q:
    """Read a query string; a parameter that is given twice is ``InvalidRequest``.

    ``pairs`` gives ``text`` in parts, and is only called if there are any.
    """
    if not text:
        return cast("Q", _without_parameters(model))
    values: dict[str, str] = {}
    for name, value in pairs():
        if name in values:
            raise InvalidRequest("the parameter is given twice: give it once", (name,))
        values[name] = value
    return model.model_validate_strings(values)


@cache
def _without_parameters(model: type[Wire]) -> Wire:
    return model()


def parse_event_number(text: str | None) -> int | None:
    """Read ``Last-Event-ID``; ``None`` or an empty one says nothing."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(ADDRESS_LIMIT)):
        raise InvalidRequest("it is a number from an `id:` line of this stream", ("Last-Event-ID",))
    return int(text)


# How a mistake in a request is told.

_CURES: Final = {
    "missing": "it is needed: add it",
    "extra_forbidden": "nothing of that name is known here: remove it",
}
_HINTS: Final = {
    "lengths": "a length is an integer from 0 on: one for all, or one for each address",
    "pid": "a process's number is an integer from 1 to 2147483647",
    "pid_namespace": "`caller` or `service`: in whose pid namespace `pid` counts",
    "ns_pid": "a process's number in its own pid namespace is an integer from 1 to 2147483647",
    "limit": "the most targets of a standing match: an integer from 1 to 16384",
    "label": "write one as KEY=VALUE",
    "timeout_s": "write seconds, like 2.0",
    "labels": "up to 32 names of at most 63 characters, with texts of at most 256",
    "id": "a number of your own: an integer of at most 64 bits",
    "unsubscribe": 'the number of a subscription, as `{"unsubscribe": 7}`',
    "reads": f"a list of 1 to {MOST_READS} reads: target, addresses, lengths",
    "stable": f"the most readings until two are equal: an integer from 2 to {MOST_READINGS}",
    "uid": "a user's number is an integer from 0 to 4294967294",
}


def cause(place: tuple[int | str, ...], kind: str, message: str) -> str:
    """Say what is wrong at ``place`` and what would be right, from pydantic's error."""
    if kind in _CURES:
        return _CURES[kind]
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    hint = _HINTS.get(str(place[0])) if place else None
    return f"{message}; {hint}" if hint else message


def without_branches(path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Give the place of a mistake in the request, without pydantic's names of branches."""
    return tuple(
        part
        for part in path
        if not (isinstance(part, str) and (part.startswith(_BRANCH) or part == "[key]"))
    )


def place_name(place: Sequence[int | str]) -> str:
    """Write a place in a request: ``addresses[3]``, ``match.uid``."""
    name = ""
    for part in place:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += ("." if name else "") + part[:_SHOWN_OF_A_NAME]
    return name
