"""Values: what a plan says, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from farpeek.model import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from farpeek.model import Backend, GapReason, Regions


@dataclass(frozen=True, slots=True)
class Field:
    """A number in a type: where it is, what it is, and what is made of it.

    ``kind`` is a name of ``scalars.KINDS``. ``bits`` (lowest, count) takes some of an unsigned one.
    A pointer is masked, then shifted (to the right; negative: to the left), then ``base`` is added;
    one that is 0 when it is read stays 0.
    """

    offset: int
    kind: str
    bits: tuple[int, int] | None = None
    mask: int | None = None
    shift: int = 0
    base: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """A type: its bytes, and fields that are looked at; ``size`` 0 is that of its one number."""

    size: int
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: a number, the row of a step, or a field of a row.

    ``step`` is None for the row one level out; with neither ``number`` nor ``field`` it is the
    address of that row.
    """

    number: int | None = None
    step: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text that ends with a 0 byte, or is cut at ``limit`` bytes."""

    limit: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """So many bytes: a number, or the field of the row one level out that says it."""

    count: int | str
    most: int

    def sizes(self, own: Callable[[str], float]) -> tuple[int, int]:
        """How many are wanted, and how many of them are read; ``own`` gives fields."""
        wanted = int(own(self.count)) if isinstance(self.count, str) else self.count
        return wanted, max(0, min(wanted, self.most))


Content = Layout | Text | Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to read for each row one level out, or once; ``each``: for each row of its own.

    ``when``: only where that field of the row one level out has that value.
    """

    id: str
    at: Place
    when: tuple[str, int | float] | None = None
    each: Sequence[Step] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class One(Step):
    """What is at one place, ``skip`` bytes behind it."""

    content: Content
    skip: int = 0
    readings: int = 0
    """Read until two are equal, so often at most; 0: once. Of layouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Step):
    """Pointers: at each hop the offset is added and a pointer is read; the last one only adds."""

    offsets: Sequence[int]
    content: Content | None = None
    """What is read where it leads."""
    skip: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedList(Step):
    """Nodes, each of which says where the next one is: to null, ``until``, or one met before."""

    layout: Layout
    next: str
    most: int
    until: Place | None = None
    readings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Array(Step):
    """Elements one behind the other, ``stride`` bytes from each to the next; 0: their size."""

    layout: Layout
    count: int | str
    most: int
    stride: int
    readings: int = 0


@dataclass(frozen=True)
class PlanLimits:
    """What a plan may take.

    ``reads`` and their ``bytes`` are those that its steps ask for, ``rounds`` are vectored reads of
    the target. ``rows`` are those of all steps, and each time that a step is begun is one more;
    a row of more than 8 fields counts as several.
    """

    reads: int = 4096
    bytes: int = 1 << 20
    rounds: int = 2048
    rows: int = 16_384
    timeout_s: float = 1.0

    def within(self, most: PlanLimits) -> PlanLimits:
        """Give these, each cut to that of ``most``."""
        return PlanLimits(
            min(self.reads, most.reads),
            min(self.bytes, most.bytes),
            min(self.rounds, most.rounds),
            min(self.rows, most.rows),
            min(self.timeout_s, most.timeout_s),
        )


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """A whole plan; checked by ``checking.check``."""

    steps: Sequence[Step]
    mode: Mode = Mode.WAIT
    limits: PlanLimits = field(default_factory=PlanLimits)
    generation: int | None = None  # the program that is meant; None: whichever it is


class Stop(StrEnum):
    """Why there are no more rows than there are."""

    MAX = "max"
    LOOP = "loop"
    UNTIL = "until"
    NULL = "null"  # on the way to it, not at the end of a list
    WHEN = "when"
    GAP = "gap"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one field in all rows; ``kind`` is a name of ``scalars``, "text" or "data"."""

    kind: str
    values: Sequence[int] | Sequence[float] | Sequence[bytes]


@dataclass(frozen=True, slots=True)
class StepRows:
    """The rows of a step, by their parents and in their order.

    ``parents`` is None in an outermost step. ``stopped`` has one for each row one level out, or one
    in all. ``cut``: rows whose text or bytes were longer. ``changing``: rows of which no two
    readings were equal. ``hops`` of chains: where each pointer on the way was.
    """

    addresses: Sequence[int]
    parents: Sequence[int] | None
    columns: Mapping[str, Column]
    stopped: Sequence[Stop | None]
    cut: Sequence[int]
    changing: Sequence[int]
    hops: Sequence[Sequence[int]] | None


@dataclass(frozen=True, slots=True)
class PlanGap:
    """What a step needed and could not be read; ``row`` is that one level out, None outermost."""

    step: str
    row: int | None
    address: int
    length: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What came of a plan. ``reads`` and ``bytes`` as its steps asked for them."""

    steps: Mapping[str, StepRows]
    gaps: Sequence[PlanGap]
    rounds: int
    reads: int
    bytes: int
    limits: PlanLimits
    backend: Backend | None  # None where nothing was read
    generation: int | None
    began_ns: int  # by CLOCK_MONOTONIC
    asked: Regions
    """The first regions that the target was asked for."""
    asked_count: int
    """How many there were."""
    was_given_up: bool
    """Its time was over, or its rounds."""
