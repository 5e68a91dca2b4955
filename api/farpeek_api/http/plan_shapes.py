"""What the answer to a plan looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - pydantic looks at these
from typing import NotRequired

from typing_extensions import TypedDict

from farpeek.model import GapReason  # noqa: TC001
from farpeek.plans.model import Stop  # noqa: TC001
from farpeek_api.http.memory_shapes import Backend  # noqa: TC001
from farpeek_api.http.values import ShownAddress  # noqa: TC001


class PlanLimits(TypedDict):
    """What held: those of the request, cut to those of the service."""

    reads: int
    bytes: int
    rounds: int
    rows: int
    timeout_s: float


class PlanGap(TypedDict):
    """What a step needed and could not be read."""

    step: str
    row: int | None
    """Of the step one level out; null for an outermost step."""
    address: ShownAddress
    length: int
    reason: GapReason
    retryable: bool


class _Rows(TypedDict):
    count: int
    stopped: Sequence[Stop | None]
    """Why there are no more rows: one for each row one level out, or one in all. Null: there are
    no more."""
    cut: Sequence[int]
    """Rows of which the text or the bytes were longer."""
    inconsistent: Sequence[int]
    """Rows of which no two readings were equal, with `consistent`."""


class PlanRows(_Rows):
    """What one step has found, column by column."""

    addresses: Sequence[ShownAddress]
    parent: Sequence[int] | None
    """Of each row, the row one level out; null for an outermost step."""
    columns: Mapping[str, Sequence[ShownAddress] | Sequence[int | float | None] | Sequence[str]]
    """By field. Pointers are written as addresses; a number alone is `value`, a text `text` (what
    is no UTF-8 escaped), bytes are `data`, in base64."""
    hops: NotRequired[Sequence[Sequence[ShownAddress]]]
    """Of chains: where each pointer on the way was."""


class RawColumn(TypedDict):
    """A column in the bytes behind the object."""

    dtype: str
    """As numpy writes it, like `<u8`; `utf-8` and `bytes` for texts and bytes, of which `ends` says
    where each ends."""
    offset: int
    """In the bytes behind the object; a multiple of 8."""
    count: int
    """Numbers, or bytes of all texts."""
    ends: NotRequired[RawColumn]


class RawPlanRows(_Rows):
    """The same in a frame."""

    addresses: RawColumn
    parent: RawColumn | None
    columns: Mapping[str, RawColumn]
    hops: NotRequired[RawColumn]
    """Row by row, as many of each."""


class _PlanAnswer(TypedDict):
    target: str
    elapsed_us: int
    gaps: Sequence[PlanGap]
    """4,096 at most."""
    rounds: int
    """Vectored reads of the target."""
    reads: int
    """That the steps asked for."""
    bytes: int
    """Of those reads."""
    limits: PlanLimits
    backend: Backend | None
    """Null where nothing was read."""
    generation: int | None
    """The program that was read; null where it cannot be told."""
    began_ns: int
    """By CLOCK_MONOTONIC of the service's host."""


class PlanResult(_PlanAnswer):
    """What came of a plan."""

    steps: Mapping[str, PlanRows]
    """By the ids of the steps."""


class PlanHead(_PlanAnswer):
    """The same in a frame, before the columns."""

    steps: Mapping[str, RawPlanRows]
    """By the ids of the steps."""
