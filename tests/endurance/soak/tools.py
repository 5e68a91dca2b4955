"""Clients of debuggers and profilers: plans, searches, cores, threads, files."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from endurance.soak import judging
from endurance.soak.actors import address_of
from endurance.soak.history import BLOCK_PAGES, DATA
from endurance.soak.judging import WORDS, Part, Wrong
from endurance.soak.users import HANGING_S, User, noted
from support.pid_reuse import MARKER, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from endurance.soak.actors import Actor
    from endurance.soak.history import Memory
    from endurance.soak.users import Heard

_WORD = {"word": {"size": 8, "fields": {"value": [0, "u64"]}}}
_BLOCK = address_of(0), address_of(BLOCK_PAGES)
_LOAD = 1
_ELF_HEADER, _SEGMENT = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")


class Planner(User):
    """Takes words one behind the other, or one of each page, also where some are missing."""

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        mode = self.random.choice(("wait", "nowait"))
        plan = words_plan(self.random, mode, HANGING_S if actor.history.now.hangs else 1.0)
        heard = self.line.ask("POST", f"/v1/targets/{actor.id}/plan", plan)
        self.count("plan")
        with noted(heard, (actor.id, plan)):
            if heard.status != 200:
                judging.excuse(heard.slug, actor, heard.since, heard.until)
            else:
                self._judge(actor, heard, mode)

    def _judge(self, actor: Actor, heard: Heard, mode: str) -> None:
        shown = heard.json
        found = planned_parts(shown)
        if shown["steps"]["words"]["stopped"] == ["budget"]:  # as far as it came in its time
            self.lose("plans that were cut by their time")
        states = actor.history.during(shown["began_ns"], heard.until)
        words = judging.judge_parts(actor, found, states, mode)
        judging.judge_generation(actor, shown["generation"], words)


def words_plan(choices: Random, mode: str, timeout_s: float) -> dict[str, Any]:
    """Make a plan of words one behind the other, or one of each page."""
    page, word = choices.randrange(BLOCK_PAGES + 8), choices.randrange(WORDS)
    count, stride = choices.choice((1, 16, 600)), choices.choice((8, 64, PAGE))
    first = hex(address_of(page) + 8 * word)
    words = {"id": "words", "array": "word", "at": first, "count": count, "max": count}
    limits = {"timeout_s": timeout_s}
    return {"types": _WORD, "steps": [{**words, "stride": stride}], "mode": mode, "limits": limits}


def planned_parts(shown: Mapping[str, Any]) -> list[Part]:
    """Take an answer to it apart."""
    rows, gaps = shown["steps"]["words"], shown["gaps"]
    found = [
        _part(int(address, 16), struct.pack("<Q", value), None)
        for address, value in zip(rows["addresses"], rows["columns"]["value"], strict=True)
    ]
    return found + [_part(int(gap["address"], 16), None, gap["reason"]) for gap in gaps]


def _part(address: int, data: bytes | None, reason: str | None) -> Part:
    page, at = divmod(address - MARKER, PAGE)
    return Part(page, at, data, reason)


class Searcher(User):
    """Looks for a word that is there, or was there."""

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        place = self.random.randrange(BLOCK_PAGES * WORDS)
        number = actor.history.now.word + place
        mode = self.random.choice(("wait", "nowait"))
        pattern = {"number": number, "type": "u64", "align": 8}
        body = {"pattern": pattern, "ranges": [[*map(hex, _BLOCK)]], "mode": mode, "context": 0}
        heard = self.line.ask("POST", f"/v1/targets/{actor.id}/search", body)
        self.count("search")
        with noted(heard, (actor.id, hex(number), mode)):
            if heard.status != 200:
                _excuse(actor, heard)
            else:
                self._judge(actor, heard, number)

    def _judge(self, actor: Actor, heard: Heard, number: int) -> None:
        states = actor.history.during(heard.since, heard.until)
        lines = [json.loads(line) for line in heard.body.splitlines()]
        matches = [int(line["match"]["address"], 16) for line in lines if "match" in line]
        for address in matches:
            page, word = (address - MARKER) // PAGE, number - (address - MARKER) // 8
            if not any(each.word == word and each.page(page) == DATA for each in states):
                raise Wrong(f"{number:#x} was never at {address:#x}")
        if not lines or "done" not in lines[-1]:
            raise Wrong("it was cut off")
        done = lines[-1]["done"]
        _excuse_the_end(done["stopped"], states)
        if len(states) == 1 and done["stopped"] is None and not done["skipped"]:
            (state,) = states
            place = number - state.word
            is_there = state.is_alive and state.page(place // WORDS) == DATA
            if is_there and matches != [MARKER + 8 * place]:
                raise Wrong(f"{number:#x} is at page {place // WORDS}, and was not found once")


def _excuse(actor: Actor, heard: Heard) -> None:
    """Raise Wrong unless what takes long could be refused in that time."""
    states = actor.history.during(heard.since, heard.until)
    if heard.slug != "target-changed" or not any(each.is_loading for each in states):
        judging.excuse(heard.slug, actor, heard.since, heard.until)


def _excuse_the_end(stopped: str | None, states: list[Memory]) -> None:
    """Raise Wrong unless a long transfer could end for that reason."""
    is_excused = {
        None: True,
        "target-exited": any(not each.is_alive for each in states),
        "target-changed": any(each.is_loading for each in states),
        "deadline": any(each.hangs for each in states),
    }
    if not is_excused.get(stopped, False):
        raise Wrong(f"it ends for {stopped}")


class CoreTaker(User):
    """Takes whole cores, and looks at the pages that it knows."""

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        plain = {"Accept-Encoding": "identity"}
        heard = self.line.ask("GET", f"/v1/targets/{actor.id}/core?mode=nowait", headers=plain)
        self.count("core")
        with noted(heard, actor.id):
            if heard.status != 200:
                _excuse(actor, heard)
                return
            states = actor.history.during(heard.since, heard.until)
            if heard.is_cut and all(each.is_alive and not each.is_loading for each in states):
                raise Wrong("it was cut off")
            self._judge(actor, heard.body, states)
        self.stage.over.wait(0.2)  # others read, too

    def _judge(self, actor: Actor, core: bytes, states: list[Memory]) -> None:
        found = core_parts(core)
        there = [each for each in found if each.data]
        if there:
            judging.judge_parts(actor, there, states, "nowait")
        (state,) = states if len(states) == 1 else (None,)
        for each in found:
            if state is not None and not each.data and state.page(each.page) == DATA:
                raise Wrong(f"page {each.page} is there, and zeros in the core")


def core_parts(core: bytes) -> list[Part]:
    """Give the pages of the block that are in a core; without data where it has zeros."""
    found: list[Part] = []
    for address, data in _segments(core):
        for at in range(0, len(data) - PAGE + 1, PAGE):
            page, content = (address + at - MARKER) // PAGE, data[at : at + PAGE]
            if 0 <= page < BLOCK_PAGES:
                found.append(Part(page, 0, content if any(content) else None, None))
    return found


def _segments(core: bytes) -> Iterator[tuple[int, bytes]]:
    """Give what a core has of each mapping, as far as it came."""
    if len(core) < _ELF_HEADER.size:
        return
    fields = _ELF_HEADER.unpack_from(core)
    at, count = fields[5], fields[10]
    if at + count * _SEGMENT.size > len(core):
        return
    for number in range(count):
        kind, _, offset, address, _, size, _, _ = _SEGMENT.unpack_from(
            core, at + number * _SEGMENT.size
        )
        if kind == _LOAD:
            yield address, core[offset : offset + size]


class Onlooker(User):
    """Asks for the threads of a target, and for the file of its program."""

    def act(self) -> None:
        actor = self.choose()
        if actor is not None:
            self.random.choice((self._threads, self._file))(actor)
            self.stage.over.wait(0.01)

    def _threads(self, actor: Actor) -> None:
        heard = self.line.ask("GET", f"/v1/targets/{actor.id}/threads")
        self.count("threads")
        with noted(heard, actor.id):
            if heard.status != 200:
                judging.excuse(heard.slug, actor, heard.since, heard.until)
            elif actor.pid not in [each["tid"] for each in heard.json["threads"]]:
                raise Wrong("its first thread is not among them")

    def _file(self, actor: Actor) -> None:
        maps = self.line.ask("GET", f"/v1/targets/{actor.id}/maps")
        if maps.status != 200:
            return
        mapped: list[Any] = maps.json["mappings"]
        name = str(self.stage.folder)
        starts = [each["start"] for each in mapped if each["path"].startswith(name)]
        if not starts:
            return
        path = f"/v1/targets/{actor.id}/file?address={starts[0]}"
        heard = self.line.ask("GET", path, headers={"Range": "bytes=0-3"})
        self.count("file")
        with noted(heard, (actor.id, starts[0])):
            states = actor.history.during(maps.since, heard.until)
            is_steady = all(each.is_alive and not each.is_loading for each in states)
            if heard.status == 206:
                if heard.body != b"\x7fELF" and (is_steady or not heard.is_cut):
                    raise Wrong("it is another file, or less of it")
            elif is_steady:
                judging.excuse(heard.slug, actor, maps.since, heard.until)


TOOLS = (Planner, Searcher, CoreTaker, Onlooker)
