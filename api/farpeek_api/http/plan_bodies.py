"""Wire models of plans: what a request says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import CoreSchema, core_schema

from farpeek.errors import TooLarge
from farpeek.model import ADDRESS_LIMIT, Mode
from farpeek.plans.checking import LARGEST_TYPE, MOST_STEPS
from farpeek.plans.model import (
    PlanLimits,
)
from farpeek_api.http.schema import (
    BRANCH,
    LARGEST_UNCOUNTED,
    MOST_READINGS,
    Generation,
    Wire,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


_MOST_MEMBERS: Final = 16_384
"""Of a plan of that size: each is a colon, and 64 types of 256 fields have as many."""

_MOST_TYPES: Final = 64
_MOST_FIELDS: Final = 256
_MOST_OFFSETS: Final = 64
_MOST_ROWS: Final = 1 << 20
_LONGEST_TEXT: Final = 1 << 20
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
PLACE: Final = re.compile(rf"\$(?:(?P<step>{_NAME}))?(?:\.(?P<field>{_NAME}))?")

Name = Annotated[str, Field(pattern=rf"^{_NAME}$")]
"""Of a step, a type or a field."""


class _PlaceSchema:
    """An address, or where it is found; one error instead of one per branch."""

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> CoreSchema:
        return core_schema.union_schema(
            [
                core_schema.int_schema(strict=True, ge=0, lt=ADDRESS_LIMIT),
                core_schema.str_schema(
                    strict=True,
                    pattern=rf"^(0[xX][0-9a-fA-F]{{1,16}}|\${_NAME}(\.{_NAME})?|\$\.{_NAME})$",
                ),
            ],
            mode="left_to_right",
            custom_error_type="place",
            custom_error_message="a place is an address, `$.FIELD` of the row one level out, "
            "`$STEP` for where that was found, or `$STEP.FIELD`",
        )


PlaceText = Annotated[int | str, _PlaceSchema()]


class FieldOptions(Wire):
    """What is made of a number."""

    bits: tuple[Annotated[int, Field(ge=0, lt=64)], Annotated[int, Field(ge=1, le=64)]] | None = (
        None
    )
    """Of an unsigned number: the lowest bit, and how many."""
    mask: Annotated[int, Field(ge=0, lt=ADDRESS_LIMIT)] | None = None
    """Of a pointer: these bits of it; then it is shifted, then `base` is added."""
    shift: Annotated[int, Field(ge=-63, le=63)] = 0
    """Of a pointer: to the right; negative: to the left."""
    base: Annotated[int, Field(ge=0, lt=ADDRESS_LIMIT)] = 0
    """Of a pointer: what it counts from. One that is 0 is null whatever the base."""


_Offset = Annotated[int, Field(ge=0, lt=LARGEST_TYPE)]
_Kind = Literal[
    "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "pointer", "pointer32"
]
FieldBody = tuple[_Offset, _Kind] | tuple[_Offset, _Kind, FieldOptions]


class TypeBody(Wire):
    """A type: how large it is, and where its fields are."""

    size: Annotated[int, Field(ge=1, le=LARGEST_TYPE)]
    """Bytes."""
    fields: Annotated[dict[Name, FieldBody], Field(max_length=_MOST_FIELDS)]
    """`[offset, kind]` by name, or `[offset, kind, options]`."""


class When(Wire):
    """The one condition that a step may have."""

    field: Name
    """Of the row one level out."""
    equals: Annotated[int, Field(ge=-(2**63), lt=ADDRESS_LIMIT)]
    """What it has to be."""


class StepOptions(Wire):
    """What steps of every kind have."""

    id: Name
    """What the answer calls its rows."""
    when: When | None = None
    """Only where that is so."""
    each: Annotated[list[StepBody], Field(min_length=1, max_length=MOST_STEPS)] | None = None
    """Steps for each of its rows."""


_Skip = Annotated[int, Field(ge=-(2**31), lt=2**31)]
_Readings = Annotated[int, Field(ge=2, le=MOST_READINGS)]
_Count = Annotated[int, Field(ge=0, lt=ADDRESS_LIMIT)] | Name
_Max = Annotated[int, Field(ge=1, le=_MOST_ROWS)]
_Limit = Annotated[int, Field(ge=1, le=_LONGEST_TEXT)]


class ReadStep(StepOptions):
    """What is at a place, by its type."""

    read: Name
    """A type, or a kind of number."""
    at: PlaceText
    """Where."""
    skip: _Skip = 0
    """Bytes behind it."""
    consistent: _Readings | None = None
    """Read again until two readings are equal, so often at most."""


class TextStep(StepOptions):
    """A text that ends with a 0 byte."""

    cstring: _Limit
    """Bytes at most."""
    at: PlaceText
    """Where."""
    skip: _Skip = 0
    """Bytes behind it."""


class BytesStep(StepOptions):
    """Bytes as they are."""

    bytes: _Count
    """How many: a number, or the field of the row one level out that says it."""
    max: _Limit | None = None
    """Not more than that; needed where a field says it."""
    at: PlaceText
    """Where."""
    skip: _Skip = 0
    """Bytes behind it."""


class Then(Wire):
    """What is read where a chain leads: one of the three."""

    read: Name | None = None
    """A type, or a kind of number."""
    cstring: _Limit | None = None
    """A text of so many bytes at most."""
    bytes: _Count | None = None
    """So many bytes."""
    max: _Limit | None = None
    """Of `bytes`."""
    skip: _Skip = 0
    """Bytes behind it."""

    @model_validator(mode="after")
    def _check_one(self) -> Then:
        if sum(each is not None for each in (self.read, self.cstring, self.bytes)) != 1:
            raise ValueError("give one of `read`, `cstring` and `bytes`")
        return self


class ChainStep(StepOptions):
    """Pointers, one after the other."""

    chain: PlaceText
    """Where it begins."""
    offsets: Annotated[
        list[Annotated[int, Field(ge=-(2**63), lt=2**63)]],
        Field(min_length=1, max_length=_MOST_OFFSETS),
    ]
    """At each hop the offset is added and a pointer is read; the last one only adds."""
    then: Then | None = None
    """What is read where it leads."""


class ListStep(StepOptions):
    """A linked list."""

    list: Name
    """The type of its nodes."""
    at: PlaceText
    """The first node."""
    next: Name
    """The field that says where the next one is."""
    max: _Max
    """Nodes at most."""
    until: PlaceText | None = None
    """Where it ends, besides null and a node that was met before."""
    consistent: _Readings | None = None
    """Read each node again until two readings are equal, so often at most."""


class ArrayStep(StepOptions):
    """Elements one behind the other."""

    array: Name
    """The type of its elements, or a kind of number."""
    at: PlaceText
    """The first one."""
    count: _Count
    """How many: a number, or the field of the row one level out that says it."""
    max: _Max
    """Elements at most."""
    stride: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    """Bytes from each to the next; the size of the type if it is not given."""
    consistent: _Readings | None = None
    """Read each element again until two readings are equal, so often at most."""


_WAYS: Final[Mapping[str, type[StepOptions]]] = {
    "read": ReadStep,
    "cstring": TextStep,
    "bytes": BytesStep,
    "chain": ChainStep,
    "list": ListStep,
    "array": ArrayStep,
}


def _way(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON says
    """Name the model of a step, by the member that says what it does."""
    found = [way for way in _WAYS if isinstance(value, dict) and way in value]
    return f"{BRANCH}{found[0]}" if len(found) == 1 else None


StepBody = Annotated[
    Annotated[ReadStep, Tag(f"{BRANCH}read")]
    | Annotated[TextStep, Tag(f"{BRANCH}cstring")]
    | Annotated[BytesStep, Tag(f"{BRANCH}bytes")]
    | Annotated[ChainStep, Tag(f"{BRANCH}chain")]
    | Annotated[ListStep, Tag(f"{BRANCH}list")]
    | Annotated[ArrayStep, Tag(f"{BRANCH}array")],
    Discriminator(
        _way,
        custom_error_type="step",
        custom_error_message="a step has exactly one of `read`, `cstring`, `bytes`, `chain`, "
        "`list` and `array`",
    ),
]


class LimitsBody(Wire):
    """What a plan may take; the answer says which limits held."""

    reads: Annotated[int, Field(ge=1)] = PlanLimits.reads
    """Reads that its steps ask for."""
    bytes: Annotated[int, Field(ge=1)] = PlanLimits.bytes
    """Bytes of those."""
    rounds: Annotated[int, Field(ge=1)] = PlanLimits.rounds
    """Vectored reads of the target."""
    rows: Annotated[int, Field(ge=1)] = PlanLimits.rows
    """Rows of all steps, and each time that a step is begun; a row of more than 8 fields counts as
    several."""
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = PlanLimits.timeout_s
    """Seconds."""

    def limits(self) -> PlanLimits:
        """Cross over to the service's value."""
        return PlanLimits(self.reads, self.bytes, self.rounds, self.rows, self.timeout_s)


class Plan(Wire):
    """Reads that follow from one another."""

    types: Annotated[dict[Name, TypeBody], Field(max_length=_MOST_TYPES)] = {}  # noqa: RUF012 - pydantic copies it
    """By name; the kinds of numbers are types, too."""
    steps: Annotated[list[StepBody], Field(min_length=1, max_length=MOST_STEPS)]
    """What is read; each level goes on as soon as what it follows from was read."""
    limits: LimitsBody = LimitsBody()
    """What it may take."""


class PlanRequest(Plan):
    """Body of plan."""

    mode: Mode = Mode.WAIT
    """`wait`: page faults are resolved. `nowait`: what would have to be waited for is a gap."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""


def check_size(body: bytes | bytearray) -> None:
    """Refuse far too many members before they are parsed."""
    if len(body) > LARGEST_UNCOUNTED and body.count(b":") > _MOST_MEMBERS:
        raise TooLarge(f"a plan may have {_MOST_MEMBERS} members: split it")
