"""What an editor takes for a stop: threads and mappings at one moment, and values on demand."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.places import Places
from farpeek_api.cli.show.escape import one_line, safe
from farpeek_api.cli.show.kinds import kind_of
from farpeek_api.cli.show.sizes import size
from farpeek_api.cli.show.values import TYPES, Value, layout, values
from farpeek_api.cli.space import Space
from farpeek_api.cli.words.amounts import ADDRESS_LIMIT

if TYPE_CHECKING:
    import struct
    from collections.abc import Callable, Sequence

    from farpeek_api.client import MappedRegion, Registers, Target, Thread

Shown = dict[str, object]

MOST_AT_ONCE: Final = 1000
"""Variables of an answer, threads of a list, elements of an array."""

MAPPINGS: Final = 1
"""The reference of the mappings; others are given out from 2 on."""

_MOST_REFERENCES: Final = 4096
_LONGEST_TEXT: Final = 1024
_LONGEST_EXPRESSION: Final = 4096
_TYPED: Final = re.compile(rf"({'|'.join(TYPES)})(?:\[(\d{{1,9}})\])?\s+(\S.*)", re.DOTALL)


class Sample:
    """A target, at the moment when it is looked at."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._threads: dict[int, Thread] = {}
        self._lists: dict[int, Callable[[int, int], Sequence[Shown]]] = {}
        self._next = MAPPINGS + 1

    @cached_property
    def _space(self) -> Space:
        return Space(self._target)

    @cached_property
    def _places(self) -> Places:
        return Places(self._space)

    def threads(self) -> list[Shown]:
        """List the threads."""
        found = self._target.threads()[:MOST_AT_ONCE]
        self._threads = {each.tid: each for each in found}
        return [{"id": each.tid, "name": _name(each)} for each in found]

    def frames(self, tid: int) -> list[Shown]:
        """Give the top frame of a thread that waits; of one that runs nothing is known."""
        if not self._threads:
            self.threads()
        thread = self._threads.get(tid)
        if thread is None:
            raise WrongWord(f"there is no thread {tid}: ask for the threads again")
        if thread.registers is None:
            return []
        pc = thread.registers.pc
        frame: Shown = {
            "id": tid,
            "name": self._name_at(pc),
            "line": 0,
            "column": 0,
            "instructionPointerReference": hex(pc),
            "presentationHint": "subtle",
        }
        return [frame]

    def scopes(self, tid: int) -> list[Shown]:
        """Give what can be looked at in a frame."""
        thread = self._threads.get(tid)
        if thread is None or thread.registers is None:
            raise WrongWord(f"there is no frame {tid}: ask for the stack again")
        registers = self._registers(thread.registers)
        mappings = len(self._space.mappings)
        shown: Shown = {"name": "Mappings", "variablesReference": MAPPINGS, "expensive": True}
        return [
            {"name": "Registers", "variablesReference": registers, "expensive": False},
            {**shown, "indexedVariables": mappings},
        ]

    def variables(self, reference: int, start: int, count: int) -> Sequence[Shown]:
        """Give what is behind a reference; of many, as many as an answer may have."""
        most = min(count or MOST_AT_ONCE, MOST_AT_ONCE)
        if reference == MAPPINGS:
            return [_mapping(each) for each in self._space.mappings[start : start + most]]
        found = self._lists.get(reference)
        if found is None:
            raise WrongWord(f"there is no reference {reference}: it was of an earlier sample")
        return found(start, most)

    def evaluate(self, text: str) -> Shown:
        """Find what ``EXPRESSION``, ``TYPE EXPRESSION`` or ``TYPE[N] EXPRESSION`` means."""
        if len(text) > _LONGEST_EXPRESSION:
            raise WrongWord(f"an expression has at most {_LONGEST_EXPRESSION} signs")
        typed = _TYPED.fullmatch(text.strip())
        if typed is None:
            address = self._space.address(text.strip())
            return {**_at(address), "result": self._pointer(address), "type": "address"}
        kind, count, word = typed.groups()
        address = self._space.address(word)
        if count is None:
            (value,) = self._values(address, kind, 1)
            return {**_at(address), "result": self._shown(value, kind), "type": kind}
        number = int(count)
        if not 1 <= number <= MOST_AT_ONCE or kind == "cstring":
            raise WrongWord(f"an array has 1 to {MOST_AT_ONCE} numbers or pointers")
        self._layout(address, kind, number)
        reference = self._add(
            lambda start, most: self._elements(address, kind, number)[start : start + most]
        )
        result: Shown = {"result": f"{kind}[{number}] at {address:#x}", "type": f"{kind}[{number}]"}
        return {
            **_at(address),
            **result,
            "variablesReference": reference,
            "indexedVariables": number,
        }

    def _elements(self, address: int, kind: str, count: int) -> list[Shown]:
        return [
            {**_at(each.address), "name": f"[{number}]", "value": self._shown(each, kind)}
            for number, each in enumerate(self._values(address, kind, count))
        ]

    def _values(self, address: int, kind: str, count: int) -> list[Value]:
        if kind == "cstring":
            return [self._text(address)]
        how = self._layout(address, kind, count)
        result = self._target.readv([(address, count * how.size)])
        return [*values(how, address, result.data, result.gaps)]

    def _layout(self, address: int, kind: str, count: int) -> struct.Struct:
        """Give the layout of one of ``count`` values. Raises WrongWord where there is no room."""
        info = self._target.info
        how = layout(kind, info.byte_order, info.pointer_size)
        if address + count * how.size > ADDRESS_LIMIT:
            raise WrongWord(f"{count} x {how.size} bytes from {address:#x} on go past 2^64")
        return how

    def _text(self, address: int) -> Value:
        length = min(_LONGEST_TEXT, ADDRESS_LIMIT - address)
        result = self._target.readv([(address, length)], on_gap="stop")
        text, nul, _ = result.data.partition(b"\0")
        if not text and not nul and result.gaps:
            return Value(address, None, result.gaps[0].reason)
        return Value(address, text)

    def _shown(self, value: Value, kind: str) -> str:
        if kind == "pointer" and isinstance(value.value, int):
            return self._pointer(value.value)
        return value.shown(kind)

    def _pointer(self, address: int) -> str:
        name = self._name_at(address)
        return f"{address:#x} {name}" if name else f"{address:#x}"

    def _name_at(self, address: int) -> str:
        place = self._places.at(address)
        return "" if place is None else safe(place.name)

    def _registers(self, registers: Registers) -> int:
        numbers = {"pc": registers.pc, "sp": registers.sp}
        for number, value in enumerate(registers.arguments or ()):
            numbers[f"argument {number}"] = value
        shown: list[Shown] = [
            {"name": name, "value": self._pointer(value), **_at(value)}
            for name, value in numbers.items()
        ]
        if registers.syscall is not None:
            call = str(registers.syscall)
            shown.append({"name": "system call", "value": call, "variablesReference": 0})
        return self._add(lambda start, most: shown[start : start + most])

    def _add(self, found: Callable[[int, int], Sequence[Shown]]) -> int:
        reference, self._next = self._next, self._next + 1
        self._lists[reference] = found
        if len(self._lists) > _MOST_REFERENCES:
            del self._lists[next(iter(self._lists))]
        return reference


def _at(address: int) -> Shown:
    return {"memoryReference": hex(address), "variablesReference": 0}


def _name(thread: Thread) -> str:
    state = "runs" if thread.running else f"waits in {thread.wchan}" if thread.wchan else "waits"
    return one_line(f"{safe(thread.comm)} ({state})")


def _mapping(mapping: MappedRegion) -> Shown:
    name = safe(mapping.path or "anonymous")
    return {
        "name": f"{mapping.start:x}-{mapping.end:x} {mapping.perms}",
        "value": f"{name}, {size(mapping.length)}, {kind_of(mapping)}",
        **_at(mapping.start),
    }
