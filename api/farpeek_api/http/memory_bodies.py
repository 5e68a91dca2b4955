"""Wire models of bodies: what is to be read, or written."""

from __future__ import annotations

import binascii
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from farpeek.errors import InvalidRequest, TooLarge
from farpeek.model import Mode, OnGap, ReadSpec, Regions, WriteSpec
from farpeek.reading.pieces import MOST_RANGES
from farpeek_api.http.schema import (
    LARGEST_UNCOUNTED,
    MOST_READINGS,
    Addresses,
    Columns,
    Generation,
    Range,
    TargetId,
    Wire,
    check_members,
    integers_of,
    spans_of,
)

MOST_READS: Final = 4096
"""Of one request for many targets."""


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

    addresses: Addresses
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
            addresses=integers_of(self.addresses),
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
