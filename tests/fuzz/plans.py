"""Plans, and memory that is somebody else's: limits hold, whatever either says."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from farpeek.errors import InvalidRequest, TooLarge
from farpeek.model import ADDRESS_LIMIT, PAGE_SIZE, Backend, Gap, GapReason, ReadResult, ReadSpec
from farpeek.plans.checking import check
from farpeek.plans.run import run
from farpeek.plans.scalars import KINDS, Machine
from farpeek_api.client.framing import split_frame
from farpeek_api.http import frames, plan_answers
from farpeek_api.http.plan_bodies import PlanRequest, check_size
from farpeek_api.http.plan_specs import spec_of
from fuzz.choices import Choices

if TYPE_CHECKING:
    from farpeek.plans.model import PlanSpec

BASE = 0x10_0000
PAGES = 8
MOST_BYTES = 1 << 20
_LIMITS = {"reads": 300, "bytes": 1 << 17, "rounds": 40, "rows": 400, "timeout_s": 20}
_NAMES = ("a", "b", "c", "d", "e")


def plan_bodies(data: bytes) -> None:
    """A body is a plan that can be done, or it is refused with its place."""
    with suppress(ValidationError, InvalidRequest, TooLarge):
        check_size(data)
        _spec(data)
        body = json.dumps({**json.loads(data), "limits": _LIMITS})
        _do(_spec(body), Choices(data[::-1]))


def plans_done(data: bytes) -> None:
    """A plan of any form, over memory that points anywhere, stays within its limits."""
    choices = Choices(data)
    limits = {
        "reads": 1 + choices.number(_LIMITS["reads"]),
        "bytes": 1 + choices.number(_LIMITS["bytes"]),
        "rounds": 1 + choices.number(_LIMITS["rounds"]),
        "rows": 1 + choices.number(_LIMITS["rows"]),
        "timeout_s": _LIMITS["timeout_s"],
    }
    types = {f"T{number}": _type(choices) for number in range(3)}
    body = {"types": types, "limits": limits, "steps": _steps(choices, types, 0, [])}
    with suppress(InvalidRequest, TooLarge):
        _do(_spec(json.dumps(body)), choices)


def _type(choices: Choices) -> dict[str, Any]:
    size = choices.pick((8, 24, 64, PAGE_SIZE, 65536))
    fields: dict[str, list[Any]] = {}
    for name in _NAMES[: 1 + choices.number(4)]:
        kind = choices.pick(("pointer", "pointer", "u8", "u64", "i32", "f64", "pointer32"))
        fields[name] = [choices.pick((0, 4, 8, 16)) % max(1, size - 7), kind]
        if kind == "pointer" and choices.yes():
            fields[name].append(
                {"shift": choices.number(127) - 63, "base": choices.number(1 << 64)}
            )
    return {"size": size, "fields": fields}


def _steps(
    choices: Choices, types: dict[str, Any], depth: int, around: list[str]
) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for _ in range(1 + choices.number(3)):
        name = f"s{depth}{len(steps)}{len(around)}{choices.number(8)}"
        place = _place(choices, around, depth)
        kind = choices.pick(tuple(types) if choices.yes() else tuple(KINDS))
        most = 1 + choices.number(500)
        step: dict[str, Any] = {"id": name}
        count = choices.pick(_NAMES) if depth and choices.yes() else choices.number(1 << 20)
        match choices.number(6):
            case 0:
                step |= {"read": kind, "at": place, "skip": choices.number(64) - 32}
            case 1:
                step |= {"cstring": 1 + choices.number(1 << 14), "at": place}
            case 2:
                step |= {"bytes": count, "max": most * 300, "at": place}
            case 3:
                offsets = [choices.number(64) - 32 for _ in range(1 + choices.number(4))]
                step |= {"chain": place, "offsets": offsets}
                step |= {"then": {"read": kind}} if choices.yes() else {}
            case 4:
                kind = choices.pick(tuple(types))
                step |= {"list": kind, "at": place, "max": most, "next": choices.pick(_NAMES[:2])}
            case _:
                step |= {"array": kind, "at": place, "max": most, "count": count}
                step |= {"stride": 1 + choices.number(1 << 40)} if choices.yes() else {}
        if choices.yes() and {"read", "list", "array"} & step.keys():
            step["consistent"] = 2 + choices.number(3)
        if depth and choices.yes():
            step["when"] = {"field": choices.pick(_NAMES[:2]), "equals": choices.number(3)}
        if depth < 4 and choices.yes():
            step["each"] = _steps(choices, types, depth + 1, [*around, name])
        steps.append(step)
        around = [*around, name]
    return steps


def _place(choices: Choices, around: list[str], depth: int) -> int | str:
    match choices.number(4):
        case 0 if depth:
            return f"$.{choices.pick(_NAMES[:2])}"
        case 1 if around:
            return f"${choices.pick(around)}.{choices.pick(_NAMES[:2])}"
        case 2:
            return choices.pick((0, PAGE_SIZE - 4, ADDRESS_LIMIT - 8, ADDRESS_LIMIT - 1))
        case _:
            return BASE + choices.number(PAGES * PAGE_SIZE)


def _do(plan: PlanSpec, choices: Choices) -> None:
    machine = Machine(choices.pick((8, 4)), choices.pick(("little", "big")))
    check(plan, machine, MOST_BYTES)
    memory = _Memory(choices, machine)
    result = run(plan, memory.read, machine, time.monotonic() + plan.limits.timeout_s)
    assert memory.rounds == result.rounds <= plan.limits.rounds
    assert result.reads <= plan.limits.reads
    assert result.bytes <= plan.limits.bytes
    assert sum(len(rows.addresses) for rows in result.steps.values()) <= plan.limits.rows
    for rows in result.steps.values():
        for column in rows.columns.values():
            assert len(column.values) == len(rows.addresses)
    assert json.loads(_object(plan_answers.as_json(result)))["rounds"] == result.rounds
    encoded = plan_answers.as_frame(result)
    shown, rest = split_frame(frames.message(_object(encoded), encoded.behind))
    assert shown.number("reads") == result.reads
    assert bytes(rest) == encoded.behind


def _object(encoded: plan_answers.Encoded) -> bytes:
    return b"{%b}" % plan_answers.members("1-a", 1, encoded)


class _Memory:
    """A few pages full of pointers into them, and of some that lead nowhere; one is missing."""

    def __init__(self, choices: Choices, machine: Machine) -> None:
        seed = choices.rest()[:256] or b"\1"
        self._content = b"".join(
            self._word(seed[number % len(seed)], number).to_bytes(
                machine.pointer_size, "big" if machine.order == ">" else "little"
            )
            for number in range(PAGES * PAGE_SIZE // machine.pointer_size)
        )
        self._missing = BASE // PAGE_SIZE + seed[0] % PAGES
        self.rounds = 0

    @staticmethod
    def _word(byte: int, number: int) -> int:
        if byte < 200:
            return BASE + (byte * 97 + number % 7 * PAGE_SIZE) % (PAGES * PAGE_SIZE)
        return (0, 1, 0xFFFF_FFFF, 0x8000_0000)[byte % 4]

    def read(self, spec: ReadSpec) -> ReadResult:
        self.rounds += 1
        addresses, lengths = spec.regions.addresses, spec.regions.lengths
        data = bytearray()
        gaps: list[Gap] = []
        assert sum(lengths) <= 2 * _LIMITS["bytes"] + (128 * PAGE_SIZE)
        for number, (address, length) in enumerate(zip(addresses, lengths, strict=True)):
            assert 0 <= address <= address + length <= ADDRESS_LIMIT
            pages = range(address // PAGE_SIZE, (address + max(length, 1) - 1) // PAGE_SIZE + 1)
            first = BASE // PAGE_SIZE
            if self._missing in pages or pages[0] < first or pages[-1] >= first + PAGES:
                gaps.append(Gap(number, 0, address, length, GapReason.UNMAPPED))
                data += bytes(length)
            else:
                data += self._content[address - BASE : address - BASE + length]
        return ReadResult(
            data, len(data), len(data) - sum(gap.length for gap in gaps), gaps, _BACKEND
        )


_BACKEND = Backend("native", "fuzzed")


def _spec(body: bytes | str) -> PlanSpec:
    wanted = PlanRequest.model_validate_json(body)
    return spec_of(wanted, wanted.mode, wanted.generation)
