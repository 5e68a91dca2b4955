"""A client that writes, and looks into the target by itself at what came of it."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

from endurance.soak import judging
from endurance.soak.actors import address_of
from endurance.soak.history import SCRATCH_PAGE
from endurance.soak.judging import WORDS, Wrong, word_bytes
from endurance.soak.users import User, noted
from support.pid_reuse import PAGE
from support.reading import proc_mem
from support.writing import tracers

if TYPE_CHECKING:
    from endurance.soak.actors import Actor
    from endurance.soak.history import Memory
    from endurance.soak.users import Heard

_PLACE = address_of(SCRATCH_PAGE)


class Writer(User):
    """The only one that writes: what it wrote last is what there is."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._written = 0
        self._known: dict[int, dict[int, set[bytes]]] = {}  # program -> slot -> what it may hold

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        memory = actor.history.now
        slot = self.random.randrange(WORDS)
        self._written += 1
        value = word_bytes(0xF << 60 | self._written)
        held = self._slots(memory.word).setdefault(slot, {word_bytes(memory.word)})
        is_dry = self.random.random() < 0.1
        expected = self.random.choice((None, min(held), word_bytes(self._written)))
        body = {
            "addresses": [hex(_PLACE + 8 * slot)],
            "data": [base64.b64encode(value).decode()],
            "dry_run": is_dry,
            "mode": self.random.choice(("wait", "nowait")),
        }
        if expected is not None:
            body["expect"] = [base64.b64encode(expected).decode()]
        heard = self.line.ask("POST", f"/v1/targets/{actor.id}/writev", body)
        self.count("write")
        if not is_dry:
            held.add(value)
        states = actor.history.during(heard.since, heard.until)
        with noted(heard, (actor.id, body, held)):
            if all(_is_settled(state, memory.word) for state in states):
                self._judge(heard, held, value, expected, is_dry=is_dry)
            else:
                for word in {state.word for state in states}:  # into any of them, or into none
                    self._slots(word).setdefault(slot, {word_bytes(word)}).add(value)
                self._excuse(heard, actor)
            self._look(actor, memory.word, heard.since)

    def _slots(self, word: int) -> dict[int, set[bytes]]:
        return self._known.setdefault(word, {})

    def _excuse(self, heard: Heard, actor: Actor) -> None:
        if heard.status != 200 and heard.slug != "expectation-failed":
            judging.excuse(heard.slug, actor, heard.since, heard.until)

    def _judge(
        self, heard: Heard, held: set[bytes], value: bytes, expected: bytes | None, *, is_dry: bool
    ) -> None:
        """Look at the answer to a write to one program, which has lived all along."""
        was = held - {value}
        if heard.status == 409 and heard.slug == "expectation-failed":
            if was == {expected}:
                raise Wrong("what was expected is what is there")
            held.discard(value)
            return
        if heard.status != 200:
            raise Wrong("it is refused")
        shown = heard.json
        before = base64.b64decode(shown["before"])
        if before not in was:
            raise Wrong("what it says was there before was not")
        if expected is not None and before != expected:
            raise Wrong("it wrote although something else was expected")
        if shown["written"] != (0 if is_dry else 8) or not (is_dry or shown["verified"]):
            raise Wrong("it is not written")
        if not is_dry:
            held.clear()
            held.add(value)

    def _look(self, actor: Actor, word: int, since: int) -> None:
        """Look at all of the page from outside, and who traces."""
        try:
            content = proc_mem(actor.pid, _PLACE, PAGE)
            traced_by = tracers(actor.pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return
        states = actor.history.during(since, time.monotonic_ns())
        if content is None or not all(_is_settled(state, word) for state in states):
            return
        if traced_by:
            raise Wrong(f"it is left traced by {traced_by}")
        slots = self._slots(word)
        for slot in range(WORDS):
            there = content[8 * slot : 8 * slot + 8]
            if there not in slots.get(slot, {word_bytes(word)}):
                raise Wrong(f"slot {slot} holds {there.hex()}, which nobody wrote there")


def _is_settled(state: Memory, word: int) -> bool:
    return state.word == word and state.is_alive and not state.is_loading
