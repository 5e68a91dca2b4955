"""Messages of the stream: wire models, as in ``schema``, and what can be said of a broken one."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self, cast

from pydantic import Field, model_validator
from pydantic_core import from_json

from farpeek.model import ADDRESS_LIMIT, Mode, ReadSpec
from farpeek_api.http import schema
from farpeek_api.http.schema import LONGEST_TARGET, Columns, Generation, ReadRequest, TargetId, Wire
from farpeek_api.serving.limits import HIGHEST_HZ

Kind = Literal["read", "subscribe", "unsubscribe"]
"""What a message asks for."""

_LOWEST_ID = -(2**63)
_ID: Final = re.compile(rb'"id"\s{0,8}:\s{0,8}(-?[0-9]{1,20})[\s,}]')
_MessageId = Annotated[int, Field(ge=_LOWEST_ID, lt=ADDRESS_LIMIT)]


class StreamRead(ReadRequest):
    """A read, which is answered under its id."""

    id: _MessageId
    target: TargetId


class Sampling(Columns):
    """What is read again and again, and how often."""

    target: TargetId | None = None
    match: TargetId | None = None  # all targets of a standing match
    mode: Mode = Mode.WAIT
    hz: Annotated[float, Field(gt=0, le=HIGHEST_HZ, allow_inf_nan=False)]
    changed_only: bool = False
    prefetch: bool = False
    generation: Generation | None = None

    @model_validator(mode="after")
    def _check_prefetch(self) -> Self:
        schema.check_prefetch(self.mode, prefetch=self.prefetch)
        if (self.target is None) == (self.match is None):
            raise ValueError("give either `target` or `match`, and not both")
        if self.match is not None and self.generation is not None:
            raise ValueError("`generation` is that of one target: leave it out with `match`")
        return self

    def spec(self) -> ReadSpec:
        """Cross over to the service's value."""
        return ReadSpec(
            self.regions(), self.mode, prefetch=self.prefetch, generation=self.generation
        )


class Subscribe(Wire):
    """Begin to sample."""

    id: _MessageId
    subscribe: Sampling


class Unsubscribe(Wire):
    """Sample no more."""

    unsubscribe: _MessageId


def parse(text: bytes, max_regions: int) -> StreamRead | Subscribe | Unsubscribe:
    """Read a message; ``ValidationError`` or ``TooLarge`` for what is none."""
    schema.check_columns(text, max_regions)
    if b'subscribe"' in text:
        members = _members(text)
        if "subscribe" in members:
            return Subscribe.model_validate_json(text)
        if "unsubscribe" in members:
            return Unsubscribe.model_validate_json(text)
    return StreamRead.model_validate_json(text)


def origin(text: bytes) -> tuple[int | None, str | None, Kind]:
    """Find whose message it is, about which target, and of which kind, as far as it can be read.

    A large one is not parsed for that: it may have been refused for being so.
    """
    if len(text) > schema.LARGEST_UNCOUNTED:
        return _number_in(text), None, "subscribe" if b'"subscribe"' in text else "read"
    members = _members(text)
    number = members.get("id", members.get("unsubscribe"))
    sampling = members.get("subscribe")
    nested = cast("dict[str, object]", sampling) if isinstance(sampling, dict) else members
    target = nested.get("target")
    return (
        number if type(number) is int and _LOWEST_ID <= number < ADDRESS_LIMIT else None,
        target if isinstance(target, str) and len(target) <= LONGEST_TARGET else None,
        _kind(members),
    )


def _kind(members: dict[str, object]) -> Kind:
    if "subscribe" in members:
        return "subscribe"
    return "unsubscribe" if "unsubscribe" in members else "read"


def _number_in(text: bytes) -> int | None:
    """Find the ``id`` of a message without reading the rest; inside of a text its quotes differ."""
    found = _ID.search(text)
    number = None if found is None else int(found[1])
    return number if number is not None and _LOWEST_ID <= number < ADDRESS_LIMIT else None


def _members(text: bytes) -> dict[str, object]:
    try:
        value = from_json(text)
    except ValueError:
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
