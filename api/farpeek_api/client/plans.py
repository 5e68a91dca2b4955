"""Plans: reads that follow from one another, built step by step, and what came of them."""

from __future__ import annotations

import ctypes
import sys
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from farpeek_api.client.members import Members, Odd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    At: TypeAlias = "int | Place | Step"
    Body = dict[str, object]
    Column = Sequence[int] | Sequence[float] | Sequence[str] | Sequence[bytes]

_MOST_ELEMENTS: Final = 16
"""Of an array within a structure, that are fields of their own."""

_KINDS: Final = {
    **dict.fromkeys("BHILQ?c", "u"),
    **dict.fromkeys("bhilq", "i"),
    **dict.fromkeys("fd", "f"),
}
"""By the letter that ctypes has for a simple type; its size says the rest."""

_CODES: Final = {
    "<u1": "B",
    "<u2": "H",
    "<u4": "I",
    "<u8": "Q",
    "<i1": "b",
    "<i2": "h",
    "<i4": "i",
    "<i8": "q",
    "<f4": "f",
    "<f8": "d",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step reads: made by `Step.address`, `Step.field`, and `this`."""

    text: str


def this(name: str) -> Place:
    """A field of the row that the step is for."""
    return Place(f"$.{name}")


class Steps:
    """Steps of one level; those of a `Step` are done for each of its rows.

    ``options`` are further members of a step: ``skip``, ``when``, ``until``, ``consistent``, ...
    """

    def __init__(self, plan: Plan, into: list[Body]) -> None:
        self._plan = plan
        self._into = into

    def read(self, name: str, kind: type | str, at: At, **options: object) -> Step:
        """Read one structure, or number."""
        return self._add(name, {"read": self._plan.kind(kind), "at": _at(at)}, options)

    def array(
        self, name: str, kind: type | str, at: At, count: int | str, most: int, **options: object
    ) -> Step:
        """Read structures or numbers, one behind the other; ``count`` may be a field's name."""
        wanted = {"array": self._plan.kind(kind), "at": _at(at), "count": count, "max": most}
        return self._add(name, wanted, options)

    def list(
        self, name: str, kind: type | str, at: At, by: str, most: int, **options: object
    ) -> Step:
        """Follow a linked list by its field ``by``, for ``most`` nodes at most."""
        wanted = {"list": self._plan.kind(kind), "at": _at(at), "next": by, "max": most}
        return self._add(name, wanted, options)

    def chain(self, name: str, at: At, offsets: Sequence[int], **options: object) -> Step:
        """Follow pointers: at each offset but the last one is read."""
        return self._add(name, {"chain": _at(at), "offsets": [*offsets]}, options)

    def cstring(self, name: str, at: At, limit: int, **options: object) -> Step:
        """Read a text up to its 0 byte."""
        return self._add(name, {"cstring": limit, "at": _at(at)}, options)

    def bytes(self, name: str, at: At, count: int | str, **options: object) -> Step:
        """Read bytes; ``count`` may be a field's name, and needs ``max`` then."""
        return self._add(name, {"bytes": count, "at": _at(at)}, options)

    def _add(self, name: str, wanted: Mapping[str, object], options: Mapping[str, object]) -> Step:
        step: Body = {"id": name, **wanted, **options}
        until = step.get("until")
        if isinstance(until, (Place, Step)):
            step["until"] = _at(until)
        self._into.append(step)
        return Step(self._plan, step)


class Step(Steps):
    """A step that was added; more can be added for each of its rows."""

    def __init__(self, plan: Plan, wanted: Body) -> None:
        super().__init__(plan, [])
        self._wanted = wanted

    def _add(self, name: str, wanted: Mapping[str, object], options: Mapping[str, object]) -> Step:
        self._wanted["each"] = self._into
        return super()._add(name, wanted, options)

    @property
    def address(self) -> Place:
        """Where its row is, for steps behind it or in it."""
        return Place(f"${self._wanted['id']}")

    def field(self, name: str) -> Place:
        """A field of its row, the same."""
        return Place(f"${self._wanted['id']}.{name}")


def _at(place: At) -> int | str:
    if isinstance(place, Step):
        place = place.address
    return place.text if isinstance(place, Place) else place


class Plan(Steps):
    """Builds a plan. Types are ctypes structures, kinds of numbers, or what `define` has named.

    ``limits`` are ``reads``, ``bytes``, ``rounds``, ``rows`` and ``timeout_s``.
    """

    def __init__(self, **limits: float) -> None:
        self._types: Body = {}
        self._steps: list[Body] = []
        self._limits = limits
        super().__init__(self, self._steps)

    def define(self, name: str, size: int, /, **fields: Sequence[object]) -> str:
        """Define a type by hand: ``field=(offset, kind)`` or ``(offset, kind, options)``."""
        self._types[name] = {"size": size, "fields": {key: [*each] for key, each in fields.items()}}
        return name

    def kind(self, kind: type | str) -> str:
        """Name a type on the wire, defining it if it is a structure."""
        if isinstance(kind, str):
            return kind
        if issubclass(kind, ctypes.Structure):
            name = kind.__name__
            self._types.setdefault(
                name, {"size": ctypes.sizeof(kind), "fields": dict(_fields(kind, 0, ""))}
            )
            return name
        return _number(kind)

    def body(self) -> Body:
        """What is sent."""
        limits = {"limits": self._limits} if self._limits else {}
        return {"types": self._types, "steps": self._steps, **limits}


def _fields(kind: Any, offset: int, before: str) -> Iterator[tuple[str, Sequence[object]]]:  # noqa: ANN401 - ctypes' own
    """Give the fields of a structure, those of inner ones as `outer_inner`."""
    for name, inner, *bits in kind._fields_:
        place = getattr(kind, name)
        at = offset + place.offset
        if bits:  # CField.size has the width above the lowest bit
            yield before + name, [at, _number(inner), {"bits": [place.size & 0xFFFF, bits[0]]}]
        else:
            yield from _of_type(inner, at, before + name)


def _of_type(kind: Any, at: int, name: str) -> Iterator[tuple[str, Sequence[object]]]:  # noqa: ANN401 - ctypes' own
    if issubclass(kind, (ctypes.Structure, ctypes.Union)):
        yield from _fields(kind, at, f"{name}_")
    elif issubclass(kind, ctypes.Array):
        count, inner = _elements(kind)
        if count <= _MOST_ELEMENTS:
            for number in range(count):
                yield from _of_type(inner, at + number * ctypes.sizeof(inner), f"{name}_{number}")
    else:
        yield name, [at, _number(kind)]


def _elements(kind: Any) -> tuple[int, Any]:  # noqa: ANN401 - ctypes' own
    return kind._length_, kind._type_


def _number(kind: Any) -> str:  # noqa: ANN401 - ctypes' own
    letter = getattr(kind, "_type_", "P")
    if not isinstance(letter, str) or letter in "PzZO":
        return "pointer"
    if letter not in _KINDS:
        raise ValueError(f"{kind.__name__} is no number that a plan can read")
    return f"{_KINDS[letter]}{8 * ctypes.sizeof(kind)}"


@dataclass(frozen=True, slots=True)
class Rows:
    """What one step has found, column by column; ``rows["field"]`` is a column.

    ``parent`` has, for each row, that one level out; None for an outermost step. ``stopped`` says
    why there are no more, for each row one level out: None, ``max``, ``loop``, ``until``, ``null``,
    ``when``, ``gap`` or ``budget``.
    """

    addresses: Sequence[int]
    parent: Sequence[int] | None
    columns: Mapping[str, Column]
    stopped: Sequence[str | None]
    cut: Sequence[int]
    inconsistent: Sequence[int]
    hops: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.addresses)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - as its field is
        return self.columns[name]


@dataclass(frozen=True, slots=True)
class PlanGap:
    """What a step needed and could not be read."""

    step: str
    row: int | None
    address: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What came of a plan; ``result["step"]`` has the rows of a step."""

    target: str
    steps: Mapping[str, Rows]
    gaps: Sequence[PlanGap]
    rounds: int
    reads: int
    bytes: int
    limits: Mapping[str, float]
    generation: int | None
    began_ns: int
    elapsed_us: int
    size: int
    members: Mapping[str, object] = field(repr=False)

    def __getitem__(self, step: str) -> Rows:
        return self.steps[step]

    @classmethod
    def parse(
        cls, shown: Members, data: memoryview, steps: Mapping[str, Rows] | None = None
    ) -> PlanResult:
        """Put a frame together; ``steps`` if they are known. Raises Odd for what does not fit."""
        shown.need("steps", "gaps", "rounds", "reads", "bytes", "limits", "began_ns", "elapsed_us")
        return cls(
            target=shown.text("target"),
            steps=_steps(shown, data) if steps is None else steps,
            gaps=[_gap(each) for each in shown.objects("gaps")],
            rounds=shown.number("rounds"),
            reads=shown.number("reads"),
            bytes=shown.number("bytes"),
            limits=cast("Mapping[str, float]", shown.inner("limits").all),
            generation=shown.number_or_none("generation"),
            began_ns=shown.number("began_ns"),
            elapsed_us=shown.number("elapsed_us"),
            size=len(data),
            members=shown.all,
        )


def _steps(shown: Members, data: memoryview) -> Mapping[str, Rows]:
    steps = shown.inner("steps")
    return {name: _rows(steps.inner(name), data) for name in steps.all}


def _gap(shown: Members) -> PlanGap:
    return PlanGap(
        shown.text("step"),
        shown.number_or_none("row"),
        shown.address("address"),
        shown.number("length"),
        shown.text("reason"),
    )


def _rows(shown: Members, data: memoryview) -> Rows:
    columns = shown.inner("columns")
    rows = Rows(
        addresses=_numbers(shown.inner("addresses"), data),
        parent=_numbers(shown.inner("parent"), data) if shown.has("parent") else None,
        columns={name: _column(columns.inner(name), data) for name in columns.all},
        stopped=cast("list[str | None]", shown.all.get("stopped")),
        cut=shown.numbers("cut"),
        inconsistent=shown.numbers("inconsistent"),
        hops=_numbers(shown.inner("hops"), data) if shown.has("hops") else (),
    )
    if any(len(each) != shown.number("count") for each in (rows.addresses, *rows.columns.values())):
        raise Odd("the answer has columns of other lengths than it says")
    return rows


def _numbers(shown: Members, data: memoryview) -> Sequence[int]:
    code = _CODES.get(shown.text("dtype"))
    if code is None:
        raise Odd("the answer has an odd `dtype`")
    numbers: array[int] = array(code)
    begin = shown.number("offset")
    end = begin + shown.number("count") * numbers.itemsize
    if end > len(data):
        raise Odd("the answer has fewer bytes than it says")
    numbers.frombytes(data[begin:end])
    if sys.byteorder == "big":
        numbers.byteswap()
    return cast("Sequence[int]", numbers)


def _column(shown: Members, data: memoryview) -> Column:
    kind = shown.text("dtype")
    if kind not in {"utf-8", "bytes"}:
        return _numbers(shown, data)
    begin = shown.number("offset")
    content = bytes(data[begin : begin + shown.number("count")])
    ends = _numbers(shown.inner("ends"), data)
    if any(a > b for a, b in zip((0, *ends), (*ends, len(content)), strict=True)):
        raise Odd("the answer has odd `ends`")
    pieces = [content[a:b] for a, b in zip((0, *ends), ends, strict=False)]
    return pieces if kind == "bytes" else [piece.decode() for piece in pieces]
