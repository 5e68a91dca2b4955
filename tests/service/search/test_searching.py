"""A search finds what a scan of the same bytes does, and leaves alone what is not there."""

from __future__ import annotations

import mmap
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import InvalidRequest, TargetExited, TooBusy
from farpeek.memory import MemoryService
from farpeek.model import Limits, Mode
from farpeek.search.model import (
    MOST_RANGES,
    MOST_WITHIN,
    Encoding,
    Filter,
    Hex,
    MappingKind,
    Number,
    NumberType,
    PointerTo,
    Regex,
    SearchSpec,
    Stopped,
    Text,
)
from support.kinds import disk, swap_file
from support.searching import matches, search, stretch, without
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
PAGE = mmap.PAGESIZE
SIZE = 16 * MIB


@pytest.fixture(scope="module")
def searched() -> Iterator[Target]:
    with start("searched") as target:
        edges = [number * MIB - 3 for number in (1, 2, 3, 4, 6, 7, 8, 9, 11)]
        at_holes = [5 * MIB - 6, 5 * MIB + PAGE, 15 * MIB - 6, 15 * MIB + PAGE, 0, SIZE - 6]
        over_holes = [5 * MIB - 3, 12 * MIB - 3, 15 * MIB - 3]
        for offset in (*edges, *at_holes):
            assert target.command(f"put {offset} needle") == "ok"
        for offset in over_holes:
            assert target.command(f"put {offset} nee") == "ok"
        for offset in (MIB + 100, 10 * MIB):
            assert target.command(f"put {offset} aaaaaaaaaaaa") == "ok"
        assert target.command(f"put {2 * MIB + 57} wide: n~e~e~d~l~e~") == "ok"
        yield target


def area(target: Target) -> tuple[int, int]:
    return target["area"], target["area"] + SIZE


def resident(target: Target) -> list[tuple[int, int]]:
    """Its stretches without those that are closed, untouched or unmapped."""
    first = target["area"]
    holes = [(5 * MIB, 5 * MIB + PAGE), (12 * MIB, 14 * MIB), (15 * MIB, 15 * MIB + PAGE)]
    return without(area(target), [(first + low, first + high) for low, high in holes])


def untouched(target: Target) -> tuple[int, int]:
    return target["area"] + 12 * MIB, target["area"] + 14 * MIB


def readable(target: Target) -> list[tuple[int, int]]:
    """The same with what nobody has touched, which is zeros."""
    first = target["area"]
    holes = [(5 * MIB, 5 * MIB + PAGE), (15 * MIB, 15 * MIB + PAGE)]
    return without(area(target), [(first + low, first + high) for low, high in holes])


FIXED = {
    "text": (Text("needle"), b"needle"),
    "one letter": (Text("n"), b"n"),
    "overlapping": (Text("aaa"), b"aaa"),
    "wide": (Text("needle", Encoding.UTF_16_LE), "needle".encode("utf-16-le")),
    "hex": (Hex("6e ?? 65 64??65"), b"n.ed.e"),
    "begins anyhow": (Hex("?? ?? 6e 65 65 64"), b"..need"),
    "ends anyhow": (Hex("6e 65 65 64 ?? ?? ??"), b"need..."),
    "frequent": (Hex("00 ?? 6e"), rb"\x00.n"),
}


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("mode", Mode)
async def test_it_finds_what_a_scan_of_the_same_bytes_finds(
    service: MemoryService, searched: Target, name: str, mode: Mode
) -> None:
    pattern, by_re = FIXED[name]
    target = (await service.register(searched.pid))[0].id
    spec = SearchSpec(pattern, [area(searched)], mode=mode, limit=1_000_000)
    outcome = await search(service, target, spec)
    stretches = resident(searched) if mode is Mode.NOWAIT else readable(searched)
    expected = matches(searched.pid, stretches, by_re, untouched(searched))
    assert expected
    assert outcome.spans == expected
    assert outcome.stopped is None
    if mode is Mode.WAIT:
        assert outcome.skipped == 0
    else:  # each search of such memory reads a page of it, to ask who handles its faults
        assert 2 * MIB - 64 * PAGE <= outcome.skipped <= 2 * MIB
    assert outcome.bytes + outcome.skipped == outcome.of == SIZE - 2 * PAGE


@pytest.mark.parametrize("mode", Mode)
async def test_matches_of_an_expression_follow_one_another(
    service: MemoryService, searched: Target, mode: Mode
) -> None:
    target = (await service.register(searched.pid))[0].id
    for text in ("n[a-z]+e", "aaa", r"\bneedle\b", "needle$", "a{5,7}", r"\x00[\x01-\x20]{2}n"):
        spec = SearchSpec(Regex(text), [area(searched)], mode=mode, limit=1_000_000)
        outcome = await search(service, target, spec)
        stretches = resident(searched) if mode is Mode.NOWAIT else readable(searched)
        by_re = text.replace("$", "(?m:$)").encode()
        expected = matches(searched.pid, stretches, by_re, untouched(searched), overlap=False)
        assert outcome.spans == expected, text


async def test_numbers_and_pointers_lie_where_their_alignment_says(
    service: MemoryService, searched: Target
) -> None:
    target = (await service.register(searched.pid))[0].id
    first, _ = area(searched)
    word = int.from_bytes(stretch(searched.pid, first + 4 * PAGE, first + 4 * PAGE + 8), "little")
    number = Number(word >> 32, NumberType.U32)
    whole = first, first + 12 * MIB
    spec = SearchSpec(number, [whole], limit=1_000_000)
    assert first + 4 * PAGE + 4 in [
        each.address for each in (await search(service, target, spec)).found
    ]
    odd = int.from_bytes(stretch(searched.pid, first + 8193, first + 8197), "little")
    at_odd = replace(spec, pattern=Number(odd, NumberType.U32, 1))
    assert first + 8193 in [each.address for each in (await search(service, target, at_odd)).found]
    aligned = await search(service, target, replace(spec, pattern=Number(odd, NumberType.U32)))
    assert all(each.address % 4 == 0 for each in aligned.found)
    for low, high in ((word - 5, word + 5), (1 << 40, 1 << 62), (0, 1 << 20)):
        pointers = replace(spec, pattern=PointerTo(low, high))
        outcome = await search(service, target, pointers)
        expected = [
            start + at
            for start, end in without(whole, [(first + 5 * MIB, first + 5 * MIB + PAGE)])
            for data in [stretch(searched.pid, start, end)]
            for at in range(0, len(data), 8)
            if low <= int.from_bytes(data[at : at + 8], "little") < high
        ]
        assert [each.address for each in outcome.found] == expected


async def test_untouched_memory_is_zeros_in_wait_and_makes_no_page(
    service: MemoryService, searched: Target
) -> None:
    target = (await service.register(searched.pid))[0].id
    first, _ = area(searched)
    assert searched.command(f"put {12 * MIB - 4} tail") == "ok"
    # Nearly every byte of it begins a match, and `re` finds all of them: a list of some 10 MB.
    span = (first + 11 * MIB, first + 12 * MIB + 64 * 1024)
    for pattern, by_re in (
        (Text("tail\0\0\0"), b"tail\0\0\0"),
        (Hex("00 00 ?? 00"), rb"\0\0.\0"),
        (Regex(r"tail\x00{900}\x00{900}\x00{900}"), rb"tail\0{2700}"),
    ):
        spec = SearchSpec(pattern, [span], mode=Mode.WAIT, limit=20_000)
        before = searched.command("faults")
        outcome = await search(service, target, spec)
        assert searched.command("faults") == before
        expected = matches(searched.pid, [span], by_re, untouched(searched))
        assert outcome.spans == expected[:20_000]
    assert searched.command(f"put {12 * MIB - 4} ~nee") == "ok"


async def test_a_match_comes_with_its_mapping_and_what_is_around_it(
    service: MemoryService, searched: Target
) -> None:
    target = (await service.register(searched.pid))[0].id
    first, end = area(searched)
    spec = SearchSpec(Text("needle"), [area(searched)], context=100)
    for each in (await search(service, target, spec)).found:
        low, high = next(
            each_ for each_ in resident(searched) if each_[0] <= each.address < each_[1]
        )
        begin = max(low, each.address - 100)
        assert each.before == each.address - begin
        assert each.context == stretch(searched.pid, begin, min(high, each.address + 106))
        assert each.mapping is not None
        assert each.mapping.start <= each.address < each.mapping.end
        assert first <= each.mapping.start
        assert each.mapping.end <= end


async def test_swapped_pages_are_left_alone_and_counted(searched: Target, tmp_path: Path) -> None:
    service = await MemoryService.open(Limits())
    first, _ = area(searched)
    with disk(tmp_path) as mounted, swap_file(mounted), start("searched") as target:
        for offset in (3 * MIB + 10, 3 * MIB + 300_000):
            assert target.command(f"put {offset} needle") == "ok"
        if int(target.command(f"pageout {3 * MIB} {128 * PAGE}")):
            pytest.skip("the kernel keeps the pages in memory")
        held = (await service.register(target.pid))[0].id
        before = target.command("faults")
        spec = SearchSpec(Text("needle"), [(first + 2 * MIB, first + 4 * MIB)])
        outcome = await search(service, held, spec)
        assert target.command("faults") == before
        assert outcome.skipped == 128 * PAGE
        assert outcome.bytes == 2 * MIB - 128 * PAGE
        assert outcome.found == []
        waited = await search(service, held, replace(spec, mode=Mode.WAIT))
        assert [each.address - first for each in waited.found] == [3 * MIB + 10, 3 * MIB + 300_000]
        assert waited.skipped == 0
    await service.close(5)


async def test_only_mappings_that_fit_are_searched(
    service: MemoryService, searched: Target
) -> None:
    target = (await service.register(searched.pid))[0].id
    everything = await search(service, target, SearchSpec(Text("needle")))
    written = await search(service, target, SearchSpec(Text("needle"), filter=Filter("rw")))
    assert 0 < len(written.found) < len(everything.found)
    assert all(each.mapping and each.mapping.perms[:2] == "rw" for each in written.found)
    kinds = Filter(kinds=frozenset({MappingKind.FILE}), path="*/bin/searched")
    elf = await search(service, target, SearchSpec(Hex("7f 45 4c 46"), filter=kinds))
    assert [each.mapping and each.mapping.path.rpartition(b"/")[2] for each in elf.found] == [
        b"searched"
    ]
    stack = Filter(kinds=frozenset({MappingKind.STACK}))
    assert (await search(service, target, SearchSpec(Text("needle"), filter=stack))).of > 0


async def test_earlier_matches_are_narrowed_down(service: MemoryService, searched: Target) -> None:
    target = (await service.register(searched.pid))[0].id
    first, _ = area(searched)
    spec = SearchSpec(Text("needle"), [area(searched)])
    before = [each.address for each in (await search(service, target, spec)).found]
    assert searched.command(f"put {MIB - 3} nEedle") == "ok"
    again = await search(service, target, replace(spec, within=[*before, first + 5 * MIB, 0]))
    assert [each.address for each in again.found] == [
        each for each in before if each != first + MIB - 3
    ]
    assert again.of < MIB
    assert searched.command(f"put {MIB - 3} needle") == "ok"


async def test_it_stops_at_its_limit_and_at_its_time(
    service: MemoryService, searched: Target
) -> None:
    target = (await service.register(searched.pid))[0].id
    limited = await search(service, target, SearchSpec(Text("needle"), limit=3))
    assert (len(limited.found), limited.stopped) == (3, Stopped.LIMIT)
    late = await search(service, target, SearchSpec(Text("needle"), timeout_s=1e-9))
    assert late.stopped is Stopped.DEADLINE


async def test_a_target_that_exits_ends_it(service: MemoryService) -> None:
    with start("searched") as target:
        held = (await service.register(target.pid))[0].id
        spec = SearchSpec(Hex("00"), [area(target)], mode=Mode.WAIT, limit=1_000_000)
        with service.search(held, spec, list) as going:
            await going.begin()
            target.end()
            while not going.is_done:
                await going.next(1.0)
            assert going.stopped is Stopped.TARGET_EXITED
        with pytest.raises(TargetExited):
            service.search(held, spec, list)


async def test_a_search_holds_a_share_of_the_budget_and_gives_it_back(searched: Target) -> None:
    service = await MemoryService.open(Limits(max_inflight_bytes=28 << 20))
    target = (await service.register(searched.pid))[0].id
    spec = SearchSpec(Text("needle"))
    with service.search(target, spec, list, "one") as first:
        await first.begin()
        assert 0 < service.state().held_bytes <= 14 << 20
        with service.search(target, spec, list, "one") as second, pytest.raises(TooBusy):
            await second.begin()
    while service.state().held_bytes:
        await service.target(target)
    await service.close(5)


@pytest.mark.parametrize(
    ("pattern", "member"),
    [
        (Text(""), "text"),
        (Text("x" * 4097), "text"),
        (Text("\N{EURO SIGN}", Encoding.LATIN_1), "text"),
        (Hex("?? ??"), "hex"),
        (Hex("4"), "hex"),
        (Hex("00" * 4097), "hex"),
        (Number(256, NumberType.U8), "number"),
        (Number(1.5, NumberType.I32), "number"),
        (Number(1, NumberType.I32, 8192), "align"),
        (PointerTo(5, 5), "pointer_to"),
        (Regex("a*"), "regex"),
        (Regex("(a"), "regex"),
        (Regex("a)(b"), "regex"),
        (Regex("a" * 4097), "regex"),
        (Regex(r"(a)\1"), "regex"),
        (Regex("((a{100}){10}){900}"), "regex"),
    ],
)
async def test_what_makes_no_pattern_is_refused_by_its_member(
    service: MemoryService, searched: Target, pattern: Text, member: str
) -> None:
    target = (await service.register(searched.pid))[0].id
    going = service.search(target, SearchSpec(pattern), list)
    with going, pytest.raises(InvalidRequest) as refused:
        await going.begin()
    assert refused.value.place == ("pattern", member)


async def test_more_ranges_or_addresses_than_a_search_may_have_are_refused(
    service: MemoryService, searched: Target
) -> None:
    target = (await service.register(searched.pid))[0].id
    for spec in (
        SearchSpec(Text("x"), [(0, 1)] * (MOST_RANGES + 1)),
        SearchSpec(Text("x"), []),
        SearchSpec(Text("x"), [(2, 1)]),
        SearchSpec(Text("x"), within=[1] * (MOST_WITHIN + 1)),
    ):
        with pytest.raises(InvalidRequest):
            service.search(target, spec, list)


def test_the_oracle_knows_overlaps() -> None:
    assert len(re.findall(b"(?=(aa))", b"aaaa")) == 3
