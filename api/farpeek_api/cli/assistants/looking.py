"""What each tool looks at. All of it waits for the service; rows are JSON, texts are marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek_api.cli import chains
from farpeek_api.cli.assistants.handles import Found
from farpeek_api.cli.assistants.untrusted import untrusted
from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.places import Places
from farpeek_api.cli.ranges import ranges_of
from farpeek_api.cli.show import values
from farpeek_api.cli.show.kinds import kind_of
from farpeek_api.cli.space import Space
from farpeek_api.cli.words.amounts import ADDRESS_LIMIT
from farpeek_api.client import SearchDone, SearchMatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.cli.assistants.approved import ApprovedTarget
    from farpeek_api.cli.show.values import Value
    from farpeek_api.client import MappedRegion, Process, ReadResult, Thread

Row = dict[str, object]

MOST_BYTES: Final = 65_536
"""Of one read."""

MOST_VALUES: Final = 1000
MOST_POINTERS: Final = 100
MOST_MATCHES: Final = 1000
_LONGEST_TEXT: Final = 4096
_LINE: Final = 32
_CONTEXT: Final = 16
_SEARCH_S: Final = 30.0


class Pattern(NamedTuple):
    """What is looked for: ``kind`` is ``text``, ``hex``, ``regex``, ``pointer_to`` or a type."""

    kind: str
    value: str


def processes(every: Sequence[Process], pattern: str | None) -> Found:
    """List processes; ``pattern`` is a part of the name or the path."""
    rows = [
        _process(each)
        for each in sorted(every, key=lambda each: each.pid)
        if pattern is None or pattern in each.comm or pattern in (each.exe or "")
    ]
    return Found({}, rows)


def _process(process: Process) -> Row:
    return {
        "pid": process.pid,
        "uid": process.uid,
        "comm": untrusted(process.comm),
        "exe": untrusted(process.exe),
        "container": untrusted(process.container),
        "started": process.start_time.isoformat(timespec="seconds"),
    }


def memory_map(target: ApprovedTarget, name: str | None) -> Found:
    """List mappings; ``name`` is a part of the path."""
    rows = [
        _mapping(each)
        for each in target.maps(residency=True)
        if name is None or name in (each.path or "")
    ]
    return Found({"target": target.id}, rows)


def _mapping(mapping: MappedRegion) -> Row:
    return {
        "start": hex(mapping.start),
        "end": hex(mapping.end),
        "perms": mapping.perms,
        "kind": kind_of(mapping).value,
        "path": untrusted(mapping.path),
        "offset": hex(mapping.offset),
        "resident_pages": mapping.resident_pages,
    }


def threads(target: ApprovedTarget) -> Found:
    """List threads."""
    return Found({"target": target.id}, [_thread(each) for each in target.threads()])


def _thread(thread: Thread) -> Row:
    registers = thread.registers
    return {
        "tid": thread.tid,
        "comm": untrusted(thread.comm),
        "state": thread.state,
        "running": thread.running,
        "pc": None if registers is None else hex(registers.pc),
        "sp": None if registers is None else hex(registers.sp),
        "system_call": None if registers is None else registers.syscall,
        "wchan": thread.wchan,
        "cpu_seconds": thread.cpu_ns / 1e9,
    }


def read(target: ApprovedTarget, word: str, kind: str, count: int | None) -> Found:
    """Read ``count`` bytes (64), numbers, pointers or texts (1). Raises WrongWord."""
    if count is None:
        count = 64 if kind == "bytes" else 1
    address = Space(target).address(word)
    head: Row = {"target": target.id, "address": hex(address), "type": kind}
    if kind == "bytes":
        return Found(head, _bytes(target, address, _at_most(count, MOST_BYTES, "bytes")))
    _at_most(count, MOST_VALUES, "values")
    if kind == "cstring":
        return Found(head, _texts(target, address, count))
    layout = values.layout(kind, target.info.byte_order, target.info.pointer_size)
    result = _readv(target, address, count * layout.size)
    found = values.values(layout, address, result.data, result.gaps)
    return Found(head, [_value(each, kind) for each in found])


def _at_most(count: int, most: int, what: str) -> int:
    if not 1 <= count <= most:
        raise WrongWord(f"count is 1 to {most} {what}: read the rest with further calls")
    return count


def _readv(target: ApprovedTarget, address: int, length: int) -> ReadResult:
    if address + length > ADDRESS_LIMIT:
        raise WrongWord(f"{length} bytes from {address:#x} on go past 2^64")
    return target.readv([(address, length)])


def _bytes(target: ApprovedTarget, address: int, length: int) -> list[Row]:
    result = _readv(target, address, length)
    rows: list[Row] = []
    at = 0
    for gap in sorted(result.gaps, key=lambda each: each.offset):
        rows += _lines(address, result.data, at, gap.offset)
        missing: Row = {"address": hex(gap.address), "length": gap.length, "missing": gap.reason}
        rows.append(missing)
        at = gap.offset + gap.length
    return [*rows, *_lines(address, result.data, at, length)]


def _lines(address: int, data: bytes, start: int, end: int) -> list[Row]:
    parts = ((at, data[at : min(at + _LINE, end)]) for at in range(start, end, _LINE))
    return [
        {"address": hex(address + at), "hex": part.hex(" "), "text": untrusted(_ascii(part))}
        for at, part in parts
    ]


def _ascii(data: bytes) -> str:
    """Show bytes as a hex dump's right side does."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)  # noqa: PLR2004 - ASCII


def _value(value: Value, kind: str) -> Row:
    row: Row = {"address": hex(value.address)}
    if value.missing is not None:
        return {**row, "missing": value.missing}
    if isinstance(value.value, bytes):
        return {**row, "value": untrusted(value.value)}
    return {**row, "value": value.json(kind)}


def _texts(target: ApprovedTarget, address: int, count: int) -> list[Row]:
    """Read texts that are one behind the other, up to the first that is none."""
    rows: list[Row] = []
    for _ in range(count):
        limit = min(_LONGEST_TEXT, ADDRESS_LIMIT - address)
        if limit <= 0:
            break
        result = target.readv([(address, limit)], on_gap="stop")
        text, nul, _ = result.data.partition(b"\0")
        if not nul:
            missing = result.gaps[0].reason if result.gaps else f"no NUL in {limit} bytes"
            rows.append({"address": hex(address), "text": untrusted(text), "missing": missing})
            break
        rows.append(_value(values.Value(address, text), "cstring"))
        address += len(text) + 1
    return rows


def search(
    target: ApprovedTarget,
    pattern: Pattern,
    where: Sequence[str],
    perms: str | None,
    limit: int,
) -> Found:
    """Look for a pattern in some ranges or mappings, or wherever it can be. Raises WrongWord."""
    if where and perms is not None:
        raise WrongWord("where and perms do not go together: leave one out")
    _at_most(limit, MOST_MATCHES, "matches")
    space = Space(target)
    found = target.search(
        _pattern(pattern, space),
        ranges=ranges_of(space, where) if where else None,
        mappings=None if perms is None else {"perms": perms},
        limit=limit,
        context=_CONTEXT,
        timeout_s=_SEARCH_S,
        generation=target.generation,
    )
    head: Row = {"target": target.id}
    rows: list[Row] = []
    for item in found:
        if isinstance(item, SearchMatch):
            rows.append(_match(item))
        elif isinstance(item, SearchDone):
            head |= {"searched": item.bytes, "left_alone": item.skipped, "stopped": item.stopped}
    return Found(head, rows)


def _match(match: SearchMatch) -> Row:
    return {
        "address": hex(match.address),
        "length": match.length,
        "mapping": None if match.mapping is None else untrusted(match.mapping.path),
        "perms": None if match.mapping is None else match.mapping.perms,
        "around": untrusted(match.context),
    }


def _pattern(pattern: Pattern, space: Space) -> dict[str, object]:
    match pattern.kind:
        case "pointer_to":
            address = space.address(pattern.value)
            return {"pointer_to": [hex(address), hex(address + 1)]}
        case "text" | "hex" | "regex":
            return {pattern.kind: pattern.value}
        case _:
            return {"number": _number(pattern.value), "type": pattern.kind}


def _number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise WrongWord(f"{text!r} is no number: write it as 7, 0x7, -7 or 0.5")
    return value


def follow_pointers(target: ApprovedTarget, word: str, count: int) -> Found:
    """Follow pointers that lie one behind the other. Raises WrongWord."""
    _at_most(count, MOST_POINTERS, "pointers")
    space = Space(target)
    address = space.address(word)
    if address + count * (target.info.pointer_size or 8) > ADDRESS_LIMIT:
        raise WrongWord(f"{count} pointers from {address:#x} on go past 2^64")
    found = chains.follow(target, Places(space), address, count, None)
    return Found({"target": target.id, "address": hex(address)}, [_chain(each) for each in found])


def _chain(chain: chains.Chain) -> Row:
    links = [
        {
            "value": hex(link.value),
            "kind": None if link.place is None else link.place.kind.value,
            "name": None if link.place is None else untrusted(link.place.name),
        }
        for link in chain.links
    ]
    row: Row = {"address": hex(chain.address), "links": links, "end": chain.end}
    if chain.end == "text":
        row["text"] = untrusted(chain.what)
    elif chain.end == "gap":
        row["missing"] = chain.what
    return row


def describe_address(target: ApprovedTarget, word: str) -> Found:
    """Say what is at an address, or between which mappings it is. Raises WrongWord."""
    space = Space(target)
    address = space.address(word)
    places = Places(space)
    place = places.at(address)
    head: Row = {"target": target.id, "address": hex(address)}
    if place is None:
        around = [each for each in places.neighbours(address) if each is not None]
        head["mapped"] = False
        return Found({**head, "rows_are": "neighbours"}, [_mapping(each) for each in around])
    page = target.readv([(address, 1)], mode="nowait")
    head |= {
        "mapped": True,
        "symbol": untrusted(place.symbol),
        "offset_in_mapping": hex(place.address - place.mapping.start),
        "page": page.gaps[0].reason if page.gaps else "resident",
    }
    return Found(head, [_mapping(place.mapping)])
