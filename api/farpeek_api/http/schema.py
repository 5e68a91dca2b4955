"""Wire models: what requests may say. The one crossing between JSON and the service's values."""

from __future__ import annotations

import binascii
from array import array
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
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
from farpeek.reading.pieces import MOST_RANGES

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
BRANCH = "~"  # begins the names of union branches, which are no part of a place


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
            [(column, f"{BRANCH}column"), (length, f"{BRANCH}one")], mode="left_to_right"
        )


class Wire(BaseModel):
    """Exactly these members, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Columns(Wire):
    """The remote iovec as two columns; one length may do for all."""

    addresses: Annotated[list[int | str], _AddressesSchema()]
    """Where each region begins."""
    lengths: Annotated[list[int] | int, _LengthsSchema()]
    """One for each address, or one integer for all; 0 reads nothing and is no gap."""

    def regions(self) -> Regions:
        """Cross over to the service's value; the service checks that the columns fit."""
        addresses, lengths = self.addresses, self.lengths
        if isinstance(lengths, int):
            lengths = [lengths] * len(addresses)
        if len(addresses) == 1 and isinstance(addresses[0], int):
            return Regions([addresses[0]], lengths)
        # As columns, so that the service need not convert them more than once.
        return Regions(_column(addresses), array("Q", lengths))


Generation = Annotated[int, Field(ge=1, lt=2**63)]
"""Of a target's programs, the number of the one that is meant."""


def check_prefetch(mode: Mode, *, prefetch: bool) -> None:
    """Refuse what makes no sense."""
    if prefetch and mode is Mode.WAIT:
        raise ValueError('`prefetch` needs `"mode": "nowait"`: in `wait` all is read in anyway')


class ReadOptions(Wire):
    """How to read; parameters of readv where its body is binary and has the regions alone."""

    mode: Mode = Mode.WAIT
    """`wait`: page faults are resolved. `nowait`: what would have to be waited for is a gap."""
    on_gap: OnGap = OnGap.CONTINUE
    """Go on behind a gap, or stop at the first."""
    encoding: Literal["base64", "hex", "none"] = "base64"
    """Of the bytes in JSON; with `none` they are really read, and left out."""
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """At most `--deadline`, which is the default."""
    prefetch: bool = False
    """Of `nowait`: have what was missing read in, after the answer."""
    stable: Annotated[int, Field(ge=2, le=MOST_READINGS)] | None = None
    """Read again until two readings are equal, so many times at most."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""

    @model_validator(mode="after")
    def _check_prefetch(self) -> Self:
        check_prefetch(self.mode, prefetch=self.prefetch)
        return self

    def spec_of(self, regions: Regions, generation: int | None = None) -> ReadSpec:
        """Cross over to the service's value; ``generation`` goes before that of all."""
        return ReadSpec(
            regions,
            self.mode,
            self.on_gap,
            self.prefetch,
            self.stable or 0,
            self.generation if generation is None else generation,
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
    """The id of a target."""
    generation: Generation | None = None
    """The program that is meant, of this target."""


class ManyReadsRequest(ReadOptions):
    """Body of readv for many targets: what is read, and how all of it is."""

    reads: Annotated[list[ReadOf], Field(min_length=1, max_length=MOST_READS, fail_fast=True)]
    """What is read."""

    def specs(self) -> list[ReadSpec]:
        """Cross over to the service's values."""
        how = self.mode, self.on_gap, self.prefetch, self.stable or 0
        return [
            ReadSpec(each.regions(), *how, each.generation or self.generation)
            for each in self.reads
        ]


_Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]
_Pieces = Annotated[list[_Base64], Field(fail_fast=True, json_schema_extra={"minItems": 1})]


class WriteRequest(Wire):
    """Body of writev: the remote iovec as two columns, and how to write it."""

    addresses: Annotated[list[int | str], _AddressesSchema()]
    """Where each region begins; they do not overlap."""
    data: _Pieces
    """The bytes of each region."""
    expect: _Pieces | None = None
    """What has to be there for anything to be written, as long as `data` each."""
    mode: Mode = Mode.WAIT
    """`wait`: page faults are resolved. `nowait`: what would have to be waited for is a gap."""
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """At most `--deadline`, which is the default."""
    dry_run: bool = False
    """Say what would be written, and write nothing."""
    allow_shared: bool = False
    """Write to mappings that others see, too; else they are gaps."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""

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


def _column(addresses: list[int | str]) -> array[int]:
    try:
        return array("Q", addresses)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue] - mostly they are
    except TypeError:  # some are texts
        return array("Q", _integers(addresses))


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


Address = Annotated[int | str, _AddressSchema()]
Glob = Annotated[str, Field(min_length=1, max_length=4096)]


class MatchRequest(Wire):
    """What a process is; members that are given must all fit. Globs fit whole values."""

    comm: Glob | None = None
    """Its name, a shell glob."""
    exe: Glob | None = None
    """The path of its executable, a shell glob."""
    uid: Annotated[int, Field(ge=0, le=HIGHEST_ID)] | None = None
    """Its effective user."""
    cgroup: Glob | None = None
    """Its cgroup's path, a shell glob."""
    container: Glob | None = None
    """The id or name of its container, a shell glob."""
    ns_pid: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """Its number in its own, innermost pid namespace."""

    def match(self) -> Match:
        """Cross over to the service's value."""
        return Match(self.comm, self.exe, self.uid, self.cgroup, self.container, self.ns_pid)


class NoQuery(Wire):
    """For routes that take no parameters."""


From = Annotated[int, Field(alias="from", ge=0, lt=ADDRESS_LIMIT)]


class ProcessesQuery(MatchRequest):
    """Parameters of the list of processes; none fits all."""

    first: From = 0
    """Begin with this number; `next` of a list that was cut."""


class DoctorQuery(Wire):
    """Parameters of the doctor."""

    pid: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """A process to try, by its number in the service's pid namespace."""


class TargetQuery(Wire):
    """Parameters of one target."""

    wait: Literal["exit"] | None = None
    """Answer when it has exited."""
    timeout_s: Annotated[float, Field(gt=0, le=LONGEST_WAIT_S, allow_inf_nan=False)] | None = None
    """With `wait`: answer with the running target after so long; 30 by default."""

    @model_validator(mode="after")
    def _check_timeout(self) -> TargetQuery:
        if self.timeout_s is not None and self.wait is None:
            raise ValueError("`timeout_s` goes with `wait=exit`: add that")
        return self


class MapsQuery(Wire):
    """Parameters of the list of mappings."""

    address: Annotated[int | str, _AddressSchema()] | None = None
    """The one mapping that holds it, or none."""
    first: Annotated[int | str, _AddressSchema(), Field(alias="from")] = 0
    """Begin with the mapping that holds this address, or the next one above it."""
    mode: Mode = Mode.NOWAIT
    """`nowait`: nothing is brought into memory. `wait`: build ids are read from the files."""
    residency: bool = False
    """Count the pages of each that are in memory, and in swap."""
    flags: bool = False
    """Show the VmFlags of proc_pid_smaps(5); that takes a walk through all page tables."""

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


class FileQuery(Wire):
    """Parameters of the file behind a mapping."""

    address: Annotated[int | str, _AddressSchema()]
    """Any address of the mapping."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""

    def parsed_address(self) -> int:
        """The address as a number."""
        return _integers([self.address])[0]


class CoreQuery(Wire):
    """Parameters of a core."""

    mode: Mode = Mode.NOWAIT
    """`nowait`: what would have to be waited for is left out. `wait`: page faults are resolved."""
    filter: Annotated[int, Field(ge=0, le=0x7F)] = 0x33
    """Which mappings are in it: the bits of /proc/PID/coredump_filter, core(5)."""
    consistent: Annotated[int, Field(ge=2, le=MOST_READINGS)] | None = None
    """Read each stack again until two readings are equal, so often at most."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""


class ThreadsQuery(Wire):
    """Parameters of the list of threads."""

    first: From = 0
    """Begin with this thread id, or the next one above it."""


class MemoryQuery(Wire):
    """Parameters of a range of memory; without ``gaps`` it ends at the first."""

    mode: Mode = Mode.WAIT
    """`wait`: page faults are resolved. `nowait`: what would have to be waited for is a gap."""
    gaps: Literal["zero"] | None = None
    """`zero`: places that have no bytes are zeros, instead of the end; at most 64 GiB then."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""


_PAIR: Final[dict[str, JsonValue]] = {"minItems": 2, "maxItems": 2}
Range = Annotated[list[int | str], _AddressesSchema(), Field(json_schema_extra=_PAIR)]


def address_of(value: int | str) -> int:
    """Give an address as a number."""
    return _integers([value])[0]


def spans_of(ranges: list[list[int | str]], place: tuple[str, ...]) -> list[tuple[int, int]]:
    """Give ranges as numbers; the service checks that they make sense."""
    spans: list[tuple[int, int]] = []
    for number, pair in enumerate(ranges):
        if len(pair) != 2:  # noqa: PLR2004 - a first and a last
            raise InvalidRequest(
                "a range is two addresses: its first, and the one behind its last",
                (*place, number),
            )
        start, end = _integers(pair)
        spans.append((start, end))
    return spans


class PiecesRequest(Wire):
    """Body of a read in pieces; a range is its first address and the one behind its last."""

    ranges: Annotated[
        list[Range],
        Field(json_schema_extra={"minItems": 1, "maxItems": MOST_RANGES}),
    ]
    """Up to 4,096; each is its first address, and the one behind its last."""
    mode: Mode = Mode.WAIT
    """`wait`: page faults are resolved. `nowait`: what would have to be waited for is a gap."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""

    def spans(self) -> list[tuple[int, int]]:
        """The ranges as numbers; the service checks that they make sense."""
        return spans_of(self.ranges, ("ranges",))


class EventsQuery(Wire):
    """Parameters of the stream of events."""

    target: TargetId | None = None
    """Events of this target alone."""


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
    "limit": "an integer from 1 on: the most matches of a search, or targets of a standing match",
    "label": "write one as KEY=VALUE",
    "timeout_s": "write seconds, like 2.0",
    "filter": "the bits of coredump_filter, core(5): an integer from 0 to 127; 51 by default",
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
        if not (isinstance(part, str) and (part.startswith(BRANCH) or part == "[key]"))
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
