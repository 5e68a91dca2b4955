"""Wire models: what all requests are made of, and their members with a schema of their own.

The wire models are the one crossing between JSON and the service's values.
"""

from __future__ import annotations

from array import array
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import CoreSchema, core_schema

from farpeek.errors import InvalidRequest
from farpeek.identity import Match
from farpeek.model import ADDRESS_LIMIT, Regions

LONGEST_TARGET: Final = 128
HIGHEST_ID: Final = 2**32 - 2
"""The highest user id: the one above means "none" to the kernel."""
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


MOST_READINGS: Final = 8
"""Of one request that wants two that are equal."""


class _AddressesSchema:
    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> CoreSchema:
        address = _AddressSchema().__get_pydantic_core_schema__(None, None)
        return core_schema.list_schema(address, min_length=1, strict=True, fail_fast=True)


Address = Annotated[int | str, _AddressSchema()]
Addresses = Annotated[list[int | str], _AddressesSchema()]
_PAIR: Final[dict[str, JsonValue]] = {"minItems": 2, "maxItems": 2}
Range = Annotated[list[int | str], _AddressesSchema(), Field(json_schema_extra=_PAIR)]


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

    addresses: Addresses
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


TargetId = Annotated[str, Field(min_length=1, max_length=LONGEST_TARGET)]


def _column(addresses: list[int | str]) -> array[int]:
    try:
        return array("Q", addresses)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue] - mostly they are
    except TypeError:  # some are texts
        return array("Q", integers_of(addresses))


def integers_of(addresses: list[int | str]) -> list[int]:
    """Give addresses as numbers."""
    if str not in set(map(type, addresses)):
        return addresses  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - all are integers
    return [int(each, 16) if isinstance(each, str) else each for each in addresses]


def check_members(body: bytes | bytearray) -> None:
    """Refuse far too many members before each is a mistake to tell (some 3 us of everybody's)."""
    if len(body) > LARGEST_UNCOUNTED and body.count(b":") > _MOST_COLONS:
        raise InvalidRequest("it has more members than are known here: remove them")


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


def address_of(value: int | str) -> int:
    """Give an address as a number."""
    return integers_of([value])[0]


def spans_of(ranges: list[list[int | str]], place: tuple[str, ...]) -> list[tuple[int, int]]:
    """Give ranges as numbers; the service checks that they make sense."""
    spans: list[tuple[int, int]] = []
    for number, pair in enumerate(ranges):
        if len(pair) != 2:  # noqa: PLR2004 - a first and a last
            raise InvalidRequest(
                "a range is two addresses: its first, and the one behind its last",
                (*place, number),
            )
        start, end = integers_of(pair)
        spans.append((start, end))
    return spans
