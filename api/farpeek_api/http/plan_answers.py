"""What came of a plan, as JSON and as a frame. Written in the thread that has done the plan."""

from __future__ import annotations

import binascii
import math
import sys
from array import array
from functools import lru_cache
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from pydantic_core import to_json

from farpeek.kernel import names
from farpeek_api.http import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from farpeek.model import Backend
    from farpeek.plans.model import Column, PlanLimits, PlanResult, StepRows
    from farpeek_api.http import plan_shapes

_CODES: Final[Mapping[str, tuple[str, str]]] = {
    "u8": ("B", "<u1"),
    "u16": ("H", "<u2"),
    "u32": ("I", "<u4"),
    "u64": ("Q", "<u8"),
    "i8": ("b", "<i1"),
    "i16": ("h", "<i2"),
    "i32": ("i", "<i4"),
    "i64": ("q", "<i8"),
    "f32": ("f", "<f4"),
    "f64": ("d", "<f8"),
    "pointer": ("Q", "<u8"),
    "pointer32": ("Q", "<u8"),
}
"""By kind of number: the letters of `array`, and of numpy."""

_ALIGNED: Final = 8


class Encoded(NamedTuple):
    """An answer, as far as it is known in the thread: members of its object, without braces."""

    found: bytes
    """What was found, and could not be."""
    told: bytes
    """What it took."""
    behind: bytes
    """Of a frame: the bytes behind the object."""


def as_json(result: PlanResult) -> Encoded:
    """Write all of it as JSON."""
    steps = {name: _rows(found) for name, found in result.steps.items()}
    return Encoded(_found(result, steps), _told(result), b"")


def as_frame(result: PlanResult) -> Encoded:
    """Write it with the columns in the bytes behind it."""
    behind = _Behind()
    steps = {name: behind.rows(found) for name, found in result.steps.items()}
    return Encoded(_found(result, steps), _told(result), behind.content())


def renewed(frame: Encoded, result: PlanResult) -> Encoded:
    """Write it once more where the same was found; ``result`` says what it took, without rows."""
    return Encoded(frame.found, _told(result), frame.behind)


def _found(result: PlanResult, steps: Mapping[str, Any]) -> bytes:
    shown = {
        "steps": steps,
        "gaps": [
            {
                "step": gap.step,
                "row": gap.row,
                "address": hex(gap.address),
                "length": gap.length,
                "reason": gap.reason,
                "retryable": gap.reason.retryable,
            }
            for gap in result.gaps
        ],
    }
    return to_json(shown)[1:-1]


def _told(result: PlanResult) -> bytes:
    taken = _taken(
        result.rounds,
        result.reads,
        result.bytes,
        result.limits,
        result.backend,
        result.generation,
    )
    return b'%b,"began_ns":%d' % (taken, result.began_ns)


@lru_cache(maxsize=64)
def _taken(
    rounds: int,
    reads: int,
    size: int,
    limits: PlanLimits,
    backend: Backend | None,
    generation: int | None,
) -> bytes:
    """Write what it took; of a plan that is done again and again that is the same each time."""
    shown = {
        "rounds": rounds,
        "reads": reads,
        "bytes": size,
        "limits": vars(limits),  # asdict() copies each of them, which takes as long as the rest
        "backend": None if backend is None else render.backend(backend),
        "generation": generation,
    }
    return to_json(shown)[1:-1]


def _rows(found: StepRows) -> plan_shapes.PlanRows:
    shown: plan_shapes.PlanRows = {
        "count": len(found.addresses),
        "addresses": _hexes(found.addresses),
        "parent": found.parents,
        "columns": {name: _column(each) for name, each in found.columns.items()},
        "stopped": found.stopped,
        "cut": found.cut,
        "inconsistent": found.changing,
    }
    if found.hops is not None:
        shown["hops"] = [_hexes(each) for each in found.hops]
    return shown


def _hexes(addresses: Sequence[int]) -> list[str]:
    return ["0x%x" % each for each in addresses]  # noqa: UP031 - half the time of an f-string


def _column(column: Column) -> Any:  # noqa: ANN401 - as its kind is
    match column.kind:
        case "text":
            return [names.shown(each) for each in cast("Sequence[bytes]", column.values)]
        case "data":
            pieces = cast("Sequence[bytes]", column.values)
            return [binascii.b2a_base64(each, newline=False).decode() for each in pieces]
        case "pointer" | "pointer32":
            return _hexes(cast("Sequence[int]", column.values))
        case "f32" | "f64":  # JSON has no word for what is no number
            floats = cast("Sequence[float]", column.values)
            return [each if math.isfinite(each) else None for each in floats]
        case _:
            return column.values


class _Behind:
    """The bytes behind the object of a frame."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def content(self) -> bytes:
        """All of them."""
        return b"".join(self._parts)

    def rows(self, found: StepRows) -> plan_shapes.RawPlanRows:
        """Put the columns of a step there."""
        shown: plan_shapes.RawPlanRows = {
            "count": len(found.addresses),
            "addresses": self._numbers("u64", found.addresses),
            "parent": None if found.parents is None else self._numbers("u32", found.parents),
            "columns": {name: self._column(each) for name, each in found.columns.items()},
            "stopped": found.stopped,
            "cut": found.cut,
            "inconsistent": found.changing,
        }
        if found.hops is not None:
            shown["hops"] = self._numbers("u64", list(chain.from_iterable(found.hops)))
        return shown

    def _column(self, column: Column) -> plan_shapes.RawColumn:
        if column.kind in _CODES:
            return self._numbers(column.kind, cast("Sequence[float]", column.values))
        pieces = cast("Sequence[bytes]", column.values)
        if column.kind == "text":
            pieces = [names.shown(each).encode() for each in pieces]
        shown = self._add(
            "utf-8" if column.kind == "text" else "bytes", b"".join(pieces), sum(map(len, pieces))
        )
        shown["ends"] = self._numbers("u32", list(accumulate(map(len, pieces))))
        return shown

    def _numbers(self, kind: str, values: Iterable[float]) -> plan_shapes.RawColumn:
        letter, dtype = _CODES[kind]
        numbers = array(letter, values)
        if sys.byteorder == "big":
            numbers.byteswap()
        return self._add(dtype, numbers.tobytes(), len(numbers))

    def _add(self, dtype: str, content: bytes, count: int) -> plan_shapes.RawColumn:
        offset = self._size
        padded = content + bytes(-len(content) % _ALIGNED)
        self._parts.append(padded)
        self._size += len(padded)
        return {"dtype": dtype, "offset": offset, "count": count}


def members(target: str, elapsed_us: int, encoded: Encoded) -> bytes:
    """Write the object of an answer, without its braces."""
    head = b'"target":"%b","elapsed_us":%d' % (target.encode(), elapsed_us)
    return b",".join((head, encoded.found, encoded.told))
