"""Whether an answer is right, by what was true between the question and the answer."""

from __future__ import annotations

import base64
import struct
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from endurance.soak.history import BLOCK_PAGES, DATA, MISSING, SCRATCH_PAGE
from support.pid_reuse import MARKER, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from endurance.soak.actors import Actor
    from endurance.soak.history import Memory

Regions = list[tuple[int, int]]

WORDS = PAGE // 8
STALE_NS = 3 * 10**9
"""Threads that hung are given back, and programs found, so long afterwards on a busy machine."""

_STUCK = frozenset({"deadline", "target-stuck", "too-busy"})
_CHANGING = frozenset({"unmapped", "no_access", "unreadable"})


class Wrong(Exception):
    """An answer that is neither right nor a problem that was to be expected."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a region that lies in one page; ``data`` is None where there is a gap."""

    page: int
    at: int  # in the page
    data: bytes | None
    reason: str | None


@lru_cache(maxsize=4096)
def _page(word: int, number: int) -> bytes:
    first = word + number * WORDS
    return array("Q", range(first, first + WORDS)).tobytes()


def parts(regions: Regions, gaps: Sequence[Mapping[str, Any]], data: bytes) -> Iterator[Part]:
    """Cut an answer up by pages. Raises Wrong where a gap ends within one."""
    holes: dict[int, list[tuple[int, int, str]]] = {}
    for gap in gaps:
        begin = gap["offset"]
        holes.setdefault(gap["region"], []).append((begin, begin + gap["length"], gap["reason"]))
        if int(gap["address"], 16) != regions[gap["region"]][0] + begin:
            raise Wrong(f"a gap is not where it says: {gap}")
    before = 0
    for number, (address, length) in enumerate(regions):
        at = 0
        while at < length:
            page, within = divmod(address + at - MARKER, PAGE)
            end = min(length, at + PAGE - within)
            met = [hole for hole in holes.get(number, []) if hole[0] < end and hole[1] > at]
            if not met:
                yield Part(page, within, data[before + at : before + end], None)
            elif len(met) == 1 and met[0][0] <= at and met[0][1] >= end:
                if any(data[before + at : before + end]):
                    raise Wrong("there are bytes where a gap is")
                yield Part(page, within, None, met[0][2])
            else:
                raise Wrong(f"a gap ends within page {page}: {met}")
            at = end
        before += length


def _fits(part: Part, memory: Memory, mode: str, *, is_changing: bool) -> bool:
    """Tell whether ``part`` was so in that state."""
    kind = memory.page(part.page)
    if part.data is None:
        if part.reason == kind:
            return True
        if (memory.is_loading or is_changing) and part.reason in _CHANGING:
            return True
        return mode == "nowait" and part.reason == "not_resident" and kind in (DATA, MISSING)
    if kind != DATA:
        return False
    if part.page == SCRATCH_PAGE:
        return True  # whoever writes there looks at it
    return part.data == _page(memory.word, part.page)[part.at : part.at + len(part.data)]


def judge_parts(
    actor: Actor, found: Sequence[Part], states: Sequence[Memory], mode: str
) -> set[int]:
    """Return the words of the programs that all of an answer may be of; Wrong if there is none."""
    alive = [state for state in states if state.is_alive]
    words: set[int] = set()
    for word in {state.word for state in alive}:
        candidates = [state for state in alive if state.word == word]
        is_changing = len(candidates) > 1
        if all(
            any(_fits(part, state, mode, is_changing=is_changing) for state in candidates)
            for part in found
        ):
            words.add(word)
    if not words:
        raise Wrong(f"these bytes or gaps were never there, of actor {actor.number}")
    return words


def judge_read(
    actor: Actor, regions: Regions, shown: Mapping[str, Any], data: bytes, mode: str, until: int
) -> None:
    """Look at the object of a read. Raises Wrong."""
    states = actor.history.during(shown["began_ns"], until)
    found = list(parts(regions, shown["gaps"], data))
    words = judge_parts(actor, found, states, mode)
    read = sum(len(part.data) for part in found if part.data is not None)
    if shown["read"] != read or shown["target"] != actor.id:
        raise Wrong(f"it says {shown['read']} bytes of {shown['target']}, and has {read}")
    judge_generation(actor, shown.get("generation"), words)


def judge_generation(actor: Actor, generation: int | None, words: set[int]) -> None:
    """Raise Wrong where a generation is another program than it was."""
    if len(words) == 1 and generation is not None:
        (word,) = words
        of_it = actor.generations.setdefault(generation, word)
        if of_it != word:
            raise Wrong(f"generation {generation} is {word:#x}, and was {of_it:#x}")


def data_of(shown: Mapping[str, Any], encoding: str) -> bytes:
    """Return the bytes of an answer in JSON."""
    text = shown["data"]
    return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text)


def excuse(slug: str, actor: Actor, since: int, until: int) -> None:
    """Raise Wrong unless ``slug`` is what could stand against a read in that time."""
    lately = actor.history.during(since - STALE_NS, until)
    if slug in ("target-exited", "no-such-target"):
        excused = any(not state.is_alive for state in actor.history.during(since, until))
    elif slug in _STUCK:
        # `deadline` also where a process is just about to exit, or executes another program.
        excused = any(state.hangs or state.is_loading or not state.is_alive for state in lately)
    else:
        excused = False
    if not excused:
        raise Wrong(f"nothing that actor {actor.number} did makes it {slug}")


def word_bytes(word: int) -> bytes:
    return struct.pack("<Q", word)


def is_in_block(page: int) -> bool:
    return page < BLOCK_PAGES
