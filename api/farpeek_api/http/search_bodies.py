"""Wire models of a search: what a request says, and the crossing to the service's values."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from farpeek.errors import InvalidRequest
from farpeek.model import Mode
from farpeek.search import model
from farpeek.search.model import Encoding, Filter, MappingKind, NumberType, SearchSpec
from farpeek_api.http.schema import (
    LARGEST_UNCOUNTED,
    Address,
    Generation,
    Glob,
    Range,
    Wire,
    address_of,
    check_members,
    spans_of,
)

_DEFAULT_S: Final = 60.0
_LONGEST_HEX: Final = 3 * model.LONGEST_MATCH
_PATTERNS: Final = ("text", "hex", "number", "pointer_to", "regex")
_GOES_WITH: Final = {"encoding": "text", "type": "number", "align": "number"}


class PatternBody(Wire):
    """What is looked for: one of `text`, `hex`, `number`, `pointer_to` and `regex`."""

    text: Annotated[str, Field(min_length=1, max_length=model.LONGEST_MATCH)] | None = None
    """A text, exactly as it is; at most 4,096 bytes."""
    encoding: Encoding | None = None
    """Of `text`; `utf-8` if it is not given."""
    hex: Annotated[str, Field(min_length=2, max_length=_LONGEST_HEX)] | None = None
    """Bytes in hex, `??` for any: `4d ?? 49`; at most 4,096."""
    number: int | float | None = None
    """A number of that `type`, in the target's byte order."""
    type: NumberType | None = None
    """Of `number`."""
    align: Annotated[int, Field(ge=1, le=model.LARGEST_ALIGN)] | None = None
    """Of `number`: its address is a multiple of it; the size of the type if it is not given."""
    pointer_to: Range | None = None
    """Pointers to a range: its first address, and the one behind its last; aligned ones alone."""
    regex: Annotated[str, Field(min_length=1, max_length=model.LONGEST_REGEX)] | None = None
    """A regular expression of RE2 over bytes, whose matches have at most 4,096 of them."""

    @model_validator(mode="after")
    def _check_one(self) -> PatternBody:
        if sum(getattr(self, name) is not None for name in _PATTERNS) != 1:
            raise ValueError("give one of " + ", ".join(f"`{name}`" for name in _PATTERNS))
        for name, owner in _GOES_WITH.items():
            if getattr(self, name) is not None and getattr(self, owner) is None:
                raise ValueError(f"`{name}` goes with `{owner}`")
        if self.number is not None and self.type is None:
            raise ValueError("`number` needs its `type`, like `u32`")
        return self

    def pattern(self) -> model.Pattern:
        """Cross over to the service's value."""
        if self.text is not None:
            return model.Text(self.text, self.encoding or Encoding.UTF_8)
        if self.hex is not None:
            return model.Hex(self.hex)
        if self.number is not None and self.type is not None:
            return model.Number(self.number, self.type, self.align)
        if self.pointer_to is not None:
            return model.PointerTo(*spans_of([self.pointer_to], ("pattern", "pointer_to"))[0])
        return model.Regex(self.regex or "")


class FilterBody(Wire):
    """Which mappings are searched; members that are given must all fit."""

    perms: Annotated[str, Field(pattern="^[rwxsp]{0,5}$")] = ""
    """Letters that its permissions have: `rw`."""
    kind: Annotated[list[MappingKind], Field(min_length=1, max_length=len(MappingKind))] | None = (
        None
    )
    """One of these kinds."""
    path: Glob | None = None
    """A shell glob that fits its whole name: `*libc*`."""

    def filter(self) -> Filter:
        """Cross over to the service's value."""
        return Filter(self.perms, frozenset(self.kind or ()), self.path)


class SearchRequest(Wire):
    """Body of a search."""

    pattern: PatternBody
    """What is looked for."""
    ranges: Annotated[list[Range], Field(min_length=1, max_length=model.MOST_RANGES)] | None = None
    """Where, up to 4,096; each is its first address, and the one behind its last."""
    mappings: FilterBody | None = None
    """Where: in the mappings that fit; all readable ones if neither is given."""
    mode: Mode = Mode.NOWAIT
    """`nowait`: what is not resident is left alone, and counted. `wait`: faults are resolved."""
    limit: Annotated[int, Field(ge=1, le=model.MOST_MATCHES)] = 10_000
    """Matches at most."""
    context: Annotated[int, Field(ge=0, le=model.MOST_CONTEXT)] = 32
    """Bytes to show in front of each match, and behind it."""
    within: (
        Annotated[list[Address], Field(min_length=1, max_length=model.MOST_WITHIN, fail_fast=True)]
        | None
    ) = None
    """Addresses of an earlier search: what begins at none of them is no match."""
    timeout_s: Annotated[float, Field(gt=0, le=model.LONGEST_S, allow_inf_nan=False)] = _DEFAULT_S
    """Seconds, after which it is stopped."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""

    @model_validator(mode="after")
    def _check_one(self) -> SearchRequest:
        if self.ranges is not None and self.mappings is not None:
            raise ValueError("give `ranges` or `mappings`, not both")
        return self

    def spec(self) -> SearchSpec:
        """Cross over to the service's value."""
        return SearchSpec(
            pattern=self.pattern.pattern(),
            ranges=None if self.ranges is None else spans_of(self.ranges, ("ranges",)),
            filter=Filter() if self.mappings is None else self.mappings.filter(),
            mode=self.mode,
            limit=self.limit,
            context=self.context,
            within=None if self.within is None else list(map(address_of, self.within)),
            timeout_s=self.timeout_s,
            generation=self.generation,
        )


def parse(body: bytes | bytearray) -> SearchSpec:
    """Read the body of a search."""
    check_members(body)
    most = model.MOST_WITHIN + 2 * model.MOST_RANGES + model.LONGEST_REGEX
    if len(body) > LARGEST_UNCOUNTED and body.count(b",") > most:
        raise InvalidRequest(
            f"a search may have {model.MOST_RANGES} ranges, and {model.MOST_WITHIN} addresses"
        )
    return SearchRequest.model_validate_json(body).spec()
